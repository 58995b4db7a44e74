//! The captured tables as the server has them now, and how each is cut into chunks.

use std::sync::Arc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use rustc_hash::FxHashMap;

use super::statements::{self, quoted};
use crate::event::TableSchema;
use crate::source::binlog::catalog::{self, CatalogColumn};
use crate::source::binlog::charset::Text;
use crate::source::binlog::row::Column;
use crate::source::{SourceError, TableFilter};

/// A captured table.
#[derive(Clone, Debug)]
pub struct Table {
    pub database: String,
    pub name: String,
    pub schema: Arc<TableSchema>,
    /// How each column's value stands in the log, and so what is made of it here.
    pub columns: Arc<[Column]>,
    pub collations: Vec<Option<Collation>>,
    pub indexes: Vec<Index>,
    /// The server's estimate.
    pub rows: u64,
}

/// How the server compares a column's texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collation {
    pub name: String,
    pub charset: String,
    /// The weight of a blank where trailing ones do not count: the shorter of two texts is compared as if it had them. Else empty.
    pub pad: Vec<u8>,
}

/// An index whose order rows can be read in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    pub name: String,
    /// Positions in the table's fields, in the index's order.
    pub columns: Vec<usize>,
    pub unique: bool,
}

/// How a table is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In chunks by these columns, in the order of this index.
    Chunks { index: String, columns: Vec<usize> },
    /// Whole, in one read view; with the reason, and the statement that would avoid it.
    Whole { why: String, remedy: Option<String> },
}

impl Table {
    /// `database.table` quoted, for statements.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quoted(&self.database), quoted(&self.name))
    }

    /// The columns by which a row is found again; none where no key tells it.
    pub fn identity(&self) -> Option<&[usize]> {
        let key = &self.schema.primary_key;
        let is_decoded = |column: &usize| !matches!(self.columns[*column], Column::Undecoded(_));
        (!key.is_empty() && key.iter().all(is_decoded)).then_some(key.as_slice())
    }

    /// By the entity key where an index has it: all rows of an entity are then in one chunk.
    pub fn cut(&self, entity_key: &[usize], consistent: bool) -> Cut {
        let whole = |why: String, remedy| Cut::Whole { why, remedy };
        let names = |columns: &[usize]| {
            let names: Vec<&str> = columns.iter().map(|&column| self.schema.fields[column].name.as_str()).collect();
            names.join(", ")
        };
        if consistent {
            return whole("snapshot-mode = \"consistent\"".into(), None);
        }
        if self.identity().is_none() {
            return whole("it has no primary key that tells its rows apart".into(), None);
        }
        if let Some(&column) = entity_key.iter().find(|&&column| !is_ordered(&self.columns[column])) {
            let field = &self.schema.fields[column];
            return whole(
                format!("the order of {} ({}) is known to the server only", field.name, field.declared),
                None,
            );
        }
        let begins_with_key = |index: &&Index| {
            index.columns.len() >= entity_key.len()
                && entity_key.iter().all(|column| index.columns[..entity_key.len()].contains(column))
        };
        // The rows themselves lie in the primary key's order.
        let found = self.indexes.iter().filter(begins_with_key).min_by_key(|index| index.name != "PRIMARY");
        match found {
            Some(index) => {
                Cut::Chunks { index: index.name.clone(), columns: index.columns[..entity_key.len()].to_vec() }
            }
            None => {
                let columns: Vec<String> =
                    entity_key.iter().map(|&column| quoted(&self.schema.fields[column].name)).collect();
                let name = format!(
                    "hindsight_{}",
                    entity_key
                        .iter()
                        .map(|&column| self.schema.fields[column].name.as_str())
                        .collect::<Vec<_>>()
                        .join("_")
                );
                let remedy = format!("CREATE INDEX {} ON {} ({});", quoted(&name), self.quoted(), columns.join(", "));
                whole(format!("no index begins with the rule's entity key ({})", names(entity_key)), Some(remedy))
            }
        }
    }
}

/// Whether this program knows the order of the column's values, for texts with the server's help.
fn is_ordered(column: &Column) -> bool {
    match column {
        Column::Signed(_) | Column::Unsigned(_) | Column::UnsignedAsInt(_) => true,
        Column::Utf8Short | Column::Utf8Long | Column::Binary { .. } => true,
        Column::Char1(encoding) | Column::String { encoding, .. } => *encoding != Text::Unknown,
        _ => false,
    }
}

const SYSTEM: &str = "'mysql', 'sys', 'information_schema', 'performance_schema'";

/// Every table that is captured, by name.
///
/// # Errors
/// The connection's own, or what makes a table unreadable for a snapshot.
pub async fn captured(
    conn: &mut Conn,
    filter: &TableFilter,
) -> Result<Result<Vec<Table>, SourceError>, mysql_async::Error> {
    // The estimate of rows is else up to a day old.
    conn.query_drop("SET SESSION information_schema_stats_expiry = 0").await?;
    let names: Vec<(String, String, Option<u64>, Option<String>)> = conn
        .query(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS, ENGINE FROM information_schema.TABLES
             WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN ({SYSTEM}) ORDER BY TABLE_SCHEMA, TABLE_NAME"
        ))
        .await?;
    let mut tables = Vec::new();
    for (database, name, rows, engine) in names {
        if !filter.matches(&database, &name) {
            continue;
        }
        let engine = engine.unwrap_or_default();
        if engine != "InnoDB" {
            return Ok(Err(SourceError::Unfit(format!(
                "{database}.{name} is of engine {engine}: its rows cannot be read at one point while others write. \
                 Run ALTER TABLE {}.{} ENGINE = InnoDB, or write snapshot = \"never\"",
                quoted(&database),
                quoted(&name)
            ))));
        }
        match one(conn, database, name, rows.unwrap_or(0)).await? {
            Ok(table) => tables.push(table),
            Err(text) => return Ok(Err(SourceError::Unfit(text))),
        }
    }
    Ok(Ok(tables))
}

async fn one(
    conn: &mut Conn,
    database: String,
    name: String,
    rows: u64,
) -> Result<Result<Table, String>, mysql_async::Error> {
    type ColumnRow =
        (String, String, String, String, Option<u64>, Option<u64>, Option<u64>, Option<u64>, Option<String>);
    let found: Vec<ColumnRow> = conn
        .exec(
            "SELECT COLUMN_NAME, LOWER(DATA_TYPE), COLUMN_TYPE, IS_NULLABLE, CHARACTER_OCTET_LENGTH,
                    NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION, COLLATION_NAME
             FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = ? AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION",
            (&database, &name),
        )
        .await?;
    let known: Vec<(String, u64, String, String)> = conn
        .query("SELECT COLLATION_NAME, ID, CHARACTER_SET_NAME, PAD_ATTRIBUTE FROM information_schema.COLLATIONS")
        .await?;
    let known: FxHashMap<String, (u64, String, String)> =
        known.into_iter().map(|(name, id, charset, pad)| (name, (id, charset, pad))).collect();
    let mut columns = Vec::new();
    let mut collations = Vec::new();
    for (name, data_type, column_type, nullable, octets, precision, scale, digits, collation) in found {
        let known = collation.and_then(|name| known.get(&name).map(|known| (name, known)));
        columns.push(CatalogColumn {
            name,
            data_type,
            column_type,
            nullable: nullable == "YES",
            octets,
            precision,
            scale,
            digits,
            collation: known.as_ref().map(|(_, (id, ..))| *id),
        });
        collations.push(match known {
            Some((name, (_, charset, pad))) => {
                let mut collation = Collation { name, charset: charset.clone(), pad: Vec::new() };
                if pad == "PAD SPACE" {
                    let blank: Option<Vec<u8>> = conn.query_first(statements::weights([" "], &collation)).await?;
                    collation.pad = blank.unwrap_or_default();
                }
                Some(collation)
            }
            None => None,
        });
    }
    let indexes = indexes(conn, &database, &name, &columns).await?;
    let primary = indexes.iter().find(|index| index.name == "PRIMARY");
    // Without a primary key the log calls the first unique one so whose columns are never NULL.
    let is_key = |index: &&Index| index.unique && index.columns.iter().all(|&column| !columns[column].nullable);
    let primary_key = primary.or(indexes.iter().find(is_key)).map(|index| index.columns.clone()).unwrap_or_default();
    Ok(catalog::shape(format!("{database}.{name}"), &columns, primary_key).map(|shape| Table {
        database,
        name,
        schema: Arc::new(shape.schema),
        columns: shape.columns.into(),
        collations,
        indexes,
        rows,
    }))
}

/// Those that whole columns are in, in the server's own order.
async fn indexes(
    conn: &mut Conn,
    database: &str,
    table: &str,
    columns: &[CatalogColumn],
) -> Result<Vec<Index>, mysql_async::Error> {
    let rows: Vec<Row> = conn.query(format!("SHOW INDEX FROM {}.{}", quoted(database), quoted(table))).await?;
    let mut indexes: Vec<Index> = Vec::new();
    let mut unfit = Vec::new();
    for row in rows {
        let text = |column: &str| row.get::<Option<String>, _>(column).flatten();
        let name = text("Key_name").unwrap_or_default();
        let place = text("Column_name").and_then(|name| columns.iter().position(|column| column.name == name));
        let whole = text("Sub_part").is_none() && text("Index_type").is_some_and(|kind| kind == "BTREE");
        // The server does not use an index that is invisible, and one that is read backwards has another order.
        let used = text("Visible").is_none_or(|visible| visible == "YES")
            && text("Collation").is_none_or(|order| order == "A");
        match place {
            Some(place) if whole && used => {
                if indexes.last().is_none_or(|index| index.name != name) {
                    let unique = text("Non_unique").is_some_and(|not| not == "0");
                    indexes.push(Index { name, unique, ..Index::default() });
                }
                indexes.last_mut().expect("pushed").columns.push(place);
            }
            _ => unfit.push(name),
        }
    }
    indexes.retain(|index| !unfit.contains(&index.name));
    Ok(indexes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Field, Logical};

    fn table(indexes: &[(&str, &[usize])]) -> Table {
        let field =
            |name: &str| Field { name: name.into(), logical: Logical::Int64, nullable: false, declared: "int".into() };
        let schema = TableSchema {
            name: "shop.assets".into(),
            fields: ["id", "owner", "region", "price"].map(field).into(),
            primary_key: vec![0],
        };
        let index = |(name, columns): &(&str, &[usize])| Index {
            name: (*name).into(),
            columns: columns.to_vec(),
            unique: false,
        };
        Table {
            database: "shop".into(),
            name: "assets".into(),
            schema: Arc::new(schema),
            columns: [Column::Signed(4), Column::Signed(4), Column::Signed(4), Column::Double].into(),
            collations: vec![None; 4],
            indexes: indexes.iter().map(index).collect(),
            rows: 0,
        }
    }

    #[test]
    fn a_table_is_cut_by_an_index_that_begins_with_the_entity_key_in_any_order() {
        let chunks = |index: &str, columns: &[usize]| Cut::Chunks { index: index.into(), columns: columns.to_vec() };
        let all = table(&[("PRIMARY", &[0]), ("by_price", &[3]), ("by_owner", &[1, 2, 0])]);
        assert_eq!(all.cut(&[0], false), chunks("PRIMARY", &[0]));
        assert_eq!(all.cut(&[1], false), chunks("by_owner", &[1]));
        assert_eq!(all.cut(&[2, 1], false), chunks("by_owner", &[1, 2]), "in the index's order");
        let Cut::Whole { why, remedy } = all.cut(&[2], false) else { panic!("no index begins with region") };
        assert!(why.contains("(region)"), "{why}");
        assert_eq!(remedy.as_deref(), Some("CREATE INDEX `hindsight_region` ON `shop`.`assets` (`region`);"));
        for (key, consistent, words) in [(vec![3], false, "price (int)"), (vec![0], true, "consistent")] {
            let Cut::Whole { why, remedy: None } = all.cut(&key, consistent) else { panic!("{words}") };
            assert!(why.contains(words), "{why}");
        }
    }
}
