//! `information_schema`, made anew from the catalog for each SELECT that reads it: the tables that clients reflect by.

use anyhow::{Context, Result};
use rusqlite::{Connection, params};

use crate::catalog::{ColumnType, Table};
use crate::stand::Stand;

const TABLES: &str = "
    CREATE TABLE s.schemata (CATALOG_NAME, SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, SQL_PATH);
    CREATE TABLE s.tables (TABLE_CATALOG, TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, VERSION, ROW_FORMAT, TABLE_ROWS,
        AVG_ROW_LENGTH, DATA_LENGTH, MAX_DATA_LENGTH, INDEX_LENGTH, DATA_FREE, AUTO_INCREMENT, CREATE_TIME, UPDATE_TIME,
        CHECK_TIME, TABLE_COLLATION, CHECKSUM, CREATE_OPTIONS, TABLE_COMMENT);
    CREATE TABLE s.columns (TABLE_CATALOG, TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, COLUMN_DEFAULT, IS_NULLABLE,
        DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, CHARACTER_OCTET_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION,
        CHARACTER_SET_NAME, COLLATION_NAME, COLUMN_TYPE, COLUMN_KEY, EXTRA, PRIVILEGES, COLUMN_COMMENT, COLUMN_SIZE,
        DECIMAL_DIGITS, GENERATION_EXPRESSION, SRS_ID);
    CREATE TABLE s.tables_config (TABLE_SCHEMA, TABLE_NAME, TABLE_ENGINE, TABLE_MODEL, PRIMARY_KEY, PARTITION_KEY, DISTRIBUTE_KEY,
        DISTRIBUTE_TYPE, DISTRIBUTE_BUCKET, SORT_KEY, PROPERTIES, TABLE_ID);
    CREATE TABLE s.views (TABLE_CATALOG, TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION, CHECK_OPTION, IS_UPDATABLE, DEFINER,
        SECURITY_TYPE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION);
    CREATE TABLE s.materialized_views (MATERIALIZED_VIEW_ID, TABLE_SCHEMA, TABLE_NAME, REFRESH_TYPE, IS_ACTIVE,
        MATERIALIZED_VIEW_DEFINITION);
    CREATE TABLE s.table_constraints (CONSTRAINT_CATALOG, CONSTRAINT_SCHEMA, CONSTRAINT_NAME, TABLE_SCHEMA, TABLE_NAME,
        CONSTRAINT_TYPE);
    CREATE TABLE s.key_column_usage (CONSTRAINT_CATALOG, CONSTRAINT_SCHEMA, CONSTRAINT_NAME, TABLE_CATALOG, TABLE_SCHEMA,
        TABLE_NAME, COLUMN_NAME, ORDINAL_POSITION, POSITION_IN_UNIQUE_CONSTRAINT, REFERENCED_TABLE_SCHEMA,
        REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME);
    CREATE TABLE s.statistics (TABLE_CATALOG, TABLE_SCHEMA, TABLE_NAME, NON_UNIQUE, INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME);
    CREATE TABLE s.referential_constraints (CONSTRAINT_SCHEMA, CONSTRAINT_NAME, TABLE_NAME, REFERENCED_TABLE_NAME);
";

pub fn open(stand: &Stand) -> Result<Connection> {
    let connection = Connection::open_in_memory().context("open the information schema")?;
    connection.execute_batch("ATTACH ':memory:' AS information_schema;")?;
    connection.execute_batch(&TABLES.replace("s.", "information_schema."))?;
    let databases: Vec<(String, Vec<std::sync::Arc<Table>>)> = stand.look(|cluster| {
        let tables = |database: &crate::catalog::Database| database.tables.values().cloned().collect();
        cluster.databases.iter().map(|(name, database)| (name.clone(), tables(database))).collect()
    });
    for (name, tables) in &databases {
        connection.execute(
            "INSERT INTO information_schema.schemata VALUES ('def', ?, 'utf8', 'utf8_general_ci', NULL)",
            params![name],
        )?;
        for table in tables {
            add(&connection, name, table).with_context(|| format!("describe {name}.{}", table.name))?;
        }
    }
    Ok(connection)
}

fn add(connection: &Connection, database: &str, table: &Table) -> Result<()> {
    connection.execute(
        "INSERT INTO information_schema.tables (TABLE_CATALOG, TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_ROWS, \
         TABLE_COLLATION, TABLE_COMMENT) VALUES ('def', ?, ?, 'BASE TABLE', 'StarRocks', 0, 'utf8_general_ci', ?)",
        params![database, table.name, table.comment.as_deref().unwrap_or_default()],
    )?;
    let keys: Vec<&str> = table.keys().iter().map(|column| column.name.as_str()).collect();
    let listed = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let by: Vec<&str> = table.distributed_by.iter().map(String::as_str).collect();
    let order: Vec<&str> = table.order_by.iter().map(String::as_str).collect();
    let properties: serde_json::Map<String, serde_json::Value> =
        table.properties.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    connection.execute(
        "INSERT INTO information_schema.tables_config VALUES (?, ?, 'OLAP', 'PRIMARY_KEYS', ?, '', ?, 'HASH', ?, ?, ?, ?)",
        params![
            database,
            table.name,
            listed(&keys),
            listed(if by.is_empty() { &keys } else { &by }),
            table.buckets.unwrap_or(0),
            listed(if order.is_empty() { &keys } else { &order }),
            serde_json::Value::Object(properties).to_string(),
            table.id as i64,
        ],
    )?;
    connection.execute(
        "INSERT INTO information_schema.table_constraints VALUES ('def', ?1, 'PRIMARY', ?1, ?2, 'PRIMARY KEY')",
        params![database, table.name],
    )?;
    for (at, column) in table.columns.iter().enumerate() {
        let (is_key, ordinal) = (at < table.n_keys, at as i64 + 1);
        let (length, precision, scale) = sizes(column.kind);
        connection.execute(
            "INSERT INTO information_schema.columns VALUES ('def', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL, ?, ?, '', '', ?, \
             ?, ?, '', NULL)",
            params![
                database,
                table.name,
                column.name,
                ordinal,
                column.default,
                if column.nullable { "YES" } else { "NO" },
                column.kind.plain_name(),
                length,
                length,
                precision,
                scale,
                column_type(column.kind),
                if is_key { "PRI" } else { "" },
                column.comment.as_deref().unwrap_or_default(),
                length.or(precision),
                scale,
            ],
        )?;
        if is_key {
            connection.execute(
                "INSERT INTO information_schema.key_column_usage VALUES ('def', ?1, 'PRIMARY', 'def', ?1, ?2, ?3, ?4, NULL, NULL, \
                 NULL, NULL)",
                params![database, table.name, column.name, ordinal],
            )?;
        }
    }
    Ok(())
}

/// LARGEINT is what MySQL's clients know as the type next to it.
fn column_type(kind: ColumnType) -> String {
    match kind {
        ColumnType::LargeInt => "bigint(20) unsigned".into(),
        ColumnType::Boolean => "tinyint(1)".into(),
        ColumnType::Decimal { precision, scale } => format!("decimal({precision},{scale})"),
        kind => kind.name(),
    }
}

/// Length in bytes, precision and scale, where the type has them.
fn sizes(kind: ColumnType) -> (Option<u32>, Option<u32>, Option<u32>) {
    match kind {
        ColumnType::Char(n) | ColumnType::Varchar(n) | ColumnType::Varbinary(n) => (Some(n), None, None),
        ColumnType::Decimal { precision, scale } => (None, Some(precision), Some(scale)),
        ColumnType::TinyInt => (None, Some(3), Some(0)),
        ColumnType::SmallInt => (None, Some(5), Some(0)),
        ColumnType::Int => (None, Some(10), Some(0)),
        ColumnType::BigInt => (None, Some(19), Some(0)),
        _ => (None, None, None),
    }
}
