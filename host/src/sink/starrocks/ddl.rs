//! The history table: how it is made, and how the one that is there differs from what the rule writes.

use std::fmt::Write as _;

use super::columns::{ColumnType, NoType};
use super::rows::TableColumn;
use crate::history::{HistoryColumn, HistorySchema};

/// What a table is made with, beside its columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableOptions {
    pub buckets: u32,
    /// Copies of each tablet; as many backends are needed.
    pub replication_num: u32,
    /// A BIGINT that keeps which change wrote a row: by it a load that comes late changes nothing.
    pub sequence: Option<String>,
}

/// The statement that makes a table, as StarRocks prints it.
///
/// # Errors
/// A column has no type there.
pub fn create_table(name: &str, history: &HistorySchema, options: &TableOptions) -> Result<String, NoType> {
    let types: Vec<ColumnType> =
        history.columns.iter().map(|column| ColumnType::of(&column.field)).collect::<Result<_, _>>()?;
    let quoted = |columns: &[usize]| {
        columns.iter().map(|&column| quote(&history.columns[column].field.name)).collect::<Vec<_>>().join(", ")
    };
    let mut lines = Vec::new();
    // A primary key's columns have to come first, in its order.
    let others = (0..history.columns.len()).filter(|column| !history.primary_key.contains(column));
    for column in history.primary_key.iter().copied().chain(others) {
        let field = &history.columns[column].field;
        let is_key = history.primary_key.contains(&column);
        let null = if field.nullable && !is_key { "NULL" } else { "NOT NULL" };
        lines.push(format!("  {} {} {null}", quote(&field.name), types[column]));
    }
    if let Some(sequence) = &options.sequence {
        lines.push(format!("  {} BIGINT NOT NULL COMMENT \"which change wrote the row\"", quote(sequence)));
    }
    let mut statement = format!("CREATE TABLE {} (\n{}\n) ENGINE=OLAP\n", quote(name), lines.join(",\n"));
    let _ = writeln!(statement, "PRIMARY KEY({})", quoted(&history.primary_key));
    // An entity's rows lie together: they are read by its key for each batch.
    let _ =
        writeln!(statement, "DISTRIBUTED BY HASH({}) BUCKETS {}", quoted(&history.roles.entity_key), options.buckets);
    let mut order = history.roles.entity_key.clone();
    order.push(history.roles.start);
    let _ = writeln!(statement, "ORDER BY({})", quoted(&order));
    let _ = write!(statement, "PROPERTIES (\"replication_num\" = \"{}\")", options.replication_num);
    Ok(statement)
}

/// What keeps a table from taking this history's rows, a line each; and, where nothing does, its columns in the history's
/// order. `primary_key`: names, in key order.
///
/// # Errors
/// The differences.
pub fn compare(
    history: &HistorySchema,
    columns: &[TableColumn],
    primary_key: &[String],
    sequence: Option<&str>,
) -> Result<Vec<TableColumn>, Vec<String>> {
    let mut differences = Vec::new();
    let mut found = Vec::new();
    for column in &history.columns {
        let field = &column.field;
        let wanted = match ColumnType::of(field) {
            Ok(wanted) => wanted,
            Err(no_type) => {
                differences.push(no_type.to_string());
                continue;
            }
        };
        // Names of columns have no case.
        let Some(there) = columns.iter().find(|there| there.name.eq_ignore_ascii_case(&field.name)) else {
            differences.push(format!("column {} ({wanted}) is missing", field.name));
            continue;
        };
        // A text that is longer than its column is told row by row: such a table is there, and its texts may be short.
        let is_text = matches!((there.holds, wanted), (ColumnType::Varchar(_), ColumnType::Varchar(_)));
        if !is_text && !there.holds.holds(wanted) {
            differences.push(format!("column {} is {}, and the rule writes {wanted}", field.name, there.holds));
        }
        if field.nullable && !there.nullable && !history.primary_key.iter().any(|&key| history.columns[key] == *column)
        {
            differences.push(format!("column {} is NOT NULL, and the rule may write NULL", field.name));
        }
        found.push(there.clone());
    }
    let known = |name: &str| {
        let of_history = history.columns.iter().any(|column| column.field.name.eq_ignore_ascii_case(name));
        of_history || sequence.is_some_and(|sequence| sequence.eq_ignore_ascii_case(name))
    };
    for other in columns.iter().filter(|column| !column.nullable && !known(&column.name)) {
        differences.push(format!("column {} is NOT NULL, and the rule does not write it", other.name));
    }
    match sequence.map(|sequence| (sequence, columns.iter().find(|column| column.name.eq_ignore_ascii_case(sequence))))
    {
        Some((sequence, None)) => {
            differences.push(format!("column {sequence} (BIGINT), sink.sequence-column, is missing"));
        }
        Some((sequence, Some(column))) if !column.holds.holds(ColumnType::BigInt) => {
            differences.push(format!("column {sequence} is {}, and keeps sequences, which need BIGINT", column.holds));
        }
        _ => {}
    }
    let wanted: Vec<&str> =
        history.primary_key.iter().map(|&column| history.columns[column].field.name.as_str()).collect();
    let is_same = wanted.len() == primary_key.len()
        && wanted.iter().zip(primary_key).all(|(wanted, there)| wanted.eq_ignore_ascii_case(there));
    if !is_same {
        let there = if primary_key.is_empty() { "none".into() } else { format!("({})", primary_key.join(", ")) };
        differences.push(format!("the primary key is {there}, and the rule's is ({})", wanted.join(", ")));
    }
    if differences.is_empty() { Ok(found) } else { Err(differences) }
}

/// The texts whose column may be too short for them, of columns that [`compare`] has found.
pub fn narrow(history: &HistorySchema, found: &[TableColumn]) -> Vec<String> {
    let pair = |(column, there): (&HistoryColumn, &TableColumn)| {
        let wanted = ColumnType::of(&column.field).ok()?;
        let is_narrow = matches!(there.holds, ColumnType::Varchar(_)) && !there.holds.holds(wanted);
        is_narrow.then(|| {
            format!("{} is {}, and {wanted} holds every text of {}", there.name, there.holds, column.field.declared)
        })
    };
    history.columns.iter().zip(found).filter_map(pair).collect()
}

/// As an identifier.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Field, Logical};
    use crate::history::{HistoryColumn, Roles};

    fn history() -> HistorySchema {
        let column = |name: &str, logical, declared: &str, nullable| HistoryColumn {
            field: Field { name: name.into(), logical, nullable, declared: declared.into() },
            source: None,
        };
        HistorySchema {
            columns: vec![
                column("source_id", Logical::Int64, "int", false),
                column("owner_id", Logical::Int64, "int", false),
                column("effective_start_ts", Logical::Datetime, "datetime", false),
                column("asset_info", Logical::Text, "varchar(255)", true),
                column("effective_end_ts", Logical::Datetime, "datetime(6)", true),
                column("is_current", Logical::Boolean, "boolean", false),
                column("op_type", Logical::Text, "varchar(1)", false),
            ],
            primary_key: vec![0, 1, 2],
            roles: Roles { entity_key: vec![1], start: 2, end: 4, current: Some(5) },
        }
    }

    fn table() -> Vec<TableColumn> {
        let column = |name: &str, holds: &str, nullable| TableColumn {
            name: name.into(),
            holds: ColumnType::parse(holds).unwrap(),
            nullable,
        };
        vec![
            column("source_id", "int", false),
            column("owner_id", "int", false),
            column("effective_start_ts", "datetime", false),
            column("asset_info", "varchar(255)", true),
            column("effective_end_ts", "datetime", true),
            column("is_current", "boolean", true),
            column("op_type", "varchar(1)", true),
        ]
    }

    fn key() -> Vec<String> {
        ["source_id", "owner_id", "effective_start_ts"].map(String::from).to_vec()
    }

    #[test]
    fn a_table_is_made_with_its_key_first() {
        let options = TableOptions { buckets: 4, replication_num: 1, sequence: Some("seq".into()) };
        assert_eq!(
            create_table("item_asset_history", &history(), &options).unwrap(),
            "CREATE TABLE `item_asset_history` (\n  `source_id` INT NOT NULL,\n  `owner_id` INT NOT NULL,\n  \
             `effective_start_ts` DATETIME NOT NULL,\n  `asset_info` VARCHAR(1020) NULL,\n  `effective_end_ts` DATETIME NULL,\n  \
             `is_current` BOOLEAN NOT NULL,\n  `op_type` VARCHAR(4) NOT NULL,\n  `seq` BIGINT NOT NULL COMMENT \"which change wrote \
             the row\"\n) ENGINE=OLAP\nPRIMARY KEY(`source_id`, `owner_id`, `effective_start_ts`)\nDISTRIBUTED BY HASH(`owner_id`) \
             BUCKETS 4\nORDER BY(`owner_id`, `effective_start_ts`)\nPROPERTIES (\"replication_num\" = \"1\")"
        );
    }

    #[test]
    fn the_table_of_the_flink_jobs_is_taken_as_it_is() {
        let found = compare(&history(), &table(), &key(), None).unwrap();
        assert_eq!(found, table());
    }

    #[test]
    fn every_difference_is_told() {
        let mut table = table();
        table.remove(3);
        table[0].holds = ColumnType::SmallInt;
        table[3].nullable = false;
        table.push(TableColumn { name: "loaded_at".into(), holds: ColumnType::DateTime, nullable: false });
        let differences = compare(&history(), &table, &["source_id".into()], Some("seq")).unwrap_err();
        assert_eq!(
            differences,
            [
                "column source_id is SMALLINT, and the rule writes INT",
                "column asset_info (VARCHAR(1020)) is missing",
                "column effective_end_ts is NOT NULL, and the rule may write NULL",
                "column loaded_at is NOT NULL, and the rule does not write it",
                "column seq (BIGINT), sink.sequence-column, is missing",
                "the primary key is (source_id), and the rule's is (source_id, owner_id, effective_start_ts)",
            ]
        );
    }
}
