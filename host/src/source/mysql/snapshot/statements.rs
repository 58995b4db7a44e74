//! What a snapshot says to the server, as text: the same statements that are run and that `--explain` shows.

use super::key::{Key, Part, hex};
use super::tables::{Collation, Table};
use crate::source::binlog::row::Column;

/// The low watermark and the server's clock. `gtid_executed` never names what is not visible yet.
pub const LOW: &str = "SELECT @@global.gtid_executed, UTC_TIMESTAMP(6)";

/// The high watermark for an account with BACKUP_ADMIN.
pub const HIGH_STATUS: &str =
    "SELECT JSON_UNQUOTE(JSON_EXTRACT(LOCAL, '$.gtid_executed')) FROM performance_schema.log_status";

/// The same without: a place of the log, behind all that is visible.
pub const HIGH_PLACE: &str = "SHOW BINARY LOG STATUS";
/// Before MySQL 8.2.
pub const HIGH_PLACE_OLD: &str = "SHOW MASTER STATUS";

/// Values come as they are stored: times as UTC, texts in their column's character set, nothing padded, no time limit.
pub const SESSION: &str = "SET SESSION time_zone = '+00:00', character_set_results = NULL, sql_mode = '', \
     max_execution_time = 0, net_write_timeout = 3600, transaction_isolation = 'REPEATABLE-READ'";

pub const OPEN_VIEW: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// A name between backticks.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A part of a key as a literal of its column.
fn literal(part: &Part, collation: Option<&Collation>) -> String {
    match part {
        Part::Null => "NULL".into(),
        Part::Int(number) => number.to_string(),
        Part::UInt(number) => number.to_string(),
        Part::Bytes(bytes) => format!("_binary X'{}'", hex(bytes)),
        Part::Text { raw, .. } => {
            let charset = collation.map_or("binary", |collation| collation.charset.as_str());
            format!("_{charset} X'{}'", hex(raw))
        }
    }
}

/// A column's text's weight: what the server sorts by.
pub fn weight(expression: &str) -> String {
    format!("WEIGHT_STRING({expression})")
}

/// Weights of texts that come from the log, as UTF-8.
pub fn weights<'a>(texts: impl IntoIterator<Item = &'a str>, collation: &Collation) -> String {
    let one = |text: &str| {
        let Collation { name, charset, .. } = collation;
        weight(&format!("CONVERT(_utf8mb4 X'{}' USING {charset}) COLLATE {name}", hex(text.as_bytes())))
    };
    format!("SELECT {}", texts.into_iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A table that is cut into chunks: by these columns, in this index.
pub struct Chunks<'a> {
    pub table: &'a Table,
    pub index: &'a str,
    pub columns: &'a [usize],
}

impl Chunks<'_> {
    /// The key that `skip` rows behind `from` has (from the beginning: behind nothing), with the weights of texts.
    pub fn boundary(&self, from: Option<&Key>, skip: usize) -> String {
        let not_null: Vec<String> = self.names().map(|name| format!("{name} IS NOT NULL")).collect();
        let begins = match from {
            Some(from) => self.not_before(from),
            None => not_null.join(" AND "),
        };
        format!("{} WHERE {begins} ORDER BY {} LIMIT 1 OFFSET {skip}", self.select_key(), self.order())
    }

    /// The key that comes after this one, where that has more rows than a chunk.
    pub fn next(&self, key: &Key) -> String {
        format!("{} WHERE {} ORDER BY {} LIMIT 1", self.select_key(), self.behind(key), self.order())
    }

    /// The rows of a chunk.
    pub fn rows(&self, from: Option<&Key>, to: Option<&Key>) -> String {
        let from = from.map(|from| self.not_before(from));
        let to = to.map(|to| self.before(to));
        let conditions: Vec<String> = from.into_iter().chain(to).map(|condition| format!("({condition})")).collect();
        let conditions =
            if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        format!(
            "SELECT {} FROM {} FORCE INDEX ({}){conditions}",
            columns(self.table),
            self.table.quoted(),
            quoted(self.index)
        )
    }

    fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.columns.iter().map(|&column| quoted(&self.table.schema.fields[column].name))
    }

    fn order(&self) -> String {
        self.names().collect::<Vec<_>>().join(", ")
    }

    fn select_key(&self) -> String {
        let with_weights = self.columns.iter().zip(self.names()).flat_map(|(&column, name)| {
            let weight = self.collation(column).map(|_| weight(&name));
            std::iter::once(name).chain(weight)
        });
        let expressions: Vec<String> = with_weights.collect();
        format!("SELECT {} FROM {} FORCE INDEX ({})", expressions.join(", "), self.table.quoted(), quoted(self.index))
    }

    pub fn collation(&self, column: usize) -> Option<&Collation> {
        self.table.collations[column].as_ref()
    }

    /// `a > 1 OR (a = 1 AND b >= 2)`: the form that the index is used for.
    fn not_before(&self, key: &Key) -> String {
        self.compare(key, ">", ">=", false)
    }

    fn behind(&self, key: &Key) -> String {
        self.compare(key, ">", ">", false)
    }

    /// NULL is before everything.
    fn before(&self, key: &Key) -> String {
        self.compare(key, "<", "<", true)
    }

    fn compare(&self, key: &Key, strict: &str, last: &str, with_null: bool) -> String {
        let parts: Vec<(String, String, bool)> = self
            .columns
            .iter()
            .zip(self.names())
            .zip(&key.0)
            .map(|((&column, name), part)| {
                let nullable = self.table.schema.fields[column].nullable;
                (name, literal(part, self.collation(column)), nullable)
            })
            .collect();
        let mut text = String::new();
        for (i, (name, value, nullable)) in parts.iter().enumerate().rev() {
            let operator = if i + 1 == parts.len() { last } else { strict };
            let mut one = format!("{name} {operator} {value}");
            if with_null && *nullable {
                one = format!("{one} OR {name} IS NULL");
            }
            text = if text.is_empty() { one } else { format!("{one} OR ({name} = {value} AND ({text}))") };
        }
        text
    }
}

/// All rows, in the order in which the server has them.
pub fn all_rows(table: &Table) -> String {
    format!("SELECT {} FROM {}", columns(table), table.quoted())
}

/// Of a column that is not decoded only whether it is NULL; of a choice its number, as the log has it.
fn columns(table: &Table) -> String {
    let columns: Vec<String> = table
        .schema
        .fields
        .iter()
        .zip(table.columns.iter())
        .map(|(field, column)| match column {
            Column::Undecoded(_) => format!("{} IS NULL", quoted(&field.name)),
            Column::Enum { .. } | Column::Set { .. } => format!("CAST({} AS UNSIGNED)", quoted(&field.name)),
            _ => quoted(&field.name),
        })
        .collect();
    columns.join(", ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Field, Logical, TableSchema};

    fn table(nullable: bool) -> Table {
        let field = |name: &str| Field { name: name.into(), logical: Logical::Int64, nullable, declared: "int".into() };
        let collation = Collation { name: "latin1_swedish_ci".into(), charset: "latin1".into(), pad: vec![0x20] };
        Table {
            database: "shop".into(),
            name: "a`b".into(),
            schema: Arc::new(TableSchema {
                name: "shop.a`b".into(),
                fields: ["region", "owner", "doc"].map(field).into(),
                primary_key: vec![1],
            }),
            columns: [Column::Utf8Short, Column::Signed(4), Column::Undecoded(4)].into(),
            collations: vec![Some(collation), None, None],
            indexes: Vec::new(),
            rows: 0,
        }
    }

    #[test]
    fn statements_compare_part_by_part_in_the_columns_own_character_set() {
        let key = |raw: &[u8], owner| {
            Key(vec![Part::Text { raw: raw.into(), weight: vec![], pad: vec![] }, Part::Int(owner)])
        };
        let table = table(false);
        let chunks = Chunks { table: &table, index: "k", columns: &[0, 1] };
        assert_eq!(
            chunks.rows(Some(&key(b"eu", 7)), Some(&key(b"us", 9))),
            "SELECT `region`, `owner`, `doc` IS NULL FROM `shop`.`a``b` FORCE INDEX (`k`) \
             WHERE (`region` > _latin1 X'6575' OR (`region` = _latin1 X'6575' AND (`owner` >= 7))) \
             AND (`region` < _latin1 X'7573' OR (`region` = _latin1 X'7573' AND (`owner` < 9)))"
        );
        assert_eq!(
            chunks.boundary(None, 100),
            "SELECT `region`, WEIGHT_STRING(`region`), `owner` FROM `shop`.`a``b` FORCE INDEX (`k`) \
             WHERE `region` IS NOT NULL AND `owner` IS NOT NULL ORDER BY `region`, `owner` LIMIT 1 OFFSET 100"
        );
        assert_eq!(
            chunks.next(&key(b"", -1)).split(" WHERE ").nth(1),
            Some(
                "`region` > _latin1 X'' OR (`region` = _latin1 X'' AND (`owner` > -1)) ORDER BY `region`, `owner` LIMIT 1"
            )
        );
    }

    #[test]
    fn rows_without_a_key_are_before_all_others() {
        let table = table(true);
        let chunks = Chunks { table: &table, index: "k", columns: &[1] };
        assert!(chunks.rows(None, Some(&Key(vec![Part::Int(5)]))).ends_with("WHERE (`owner` < 5 OR `owner` IS NULL)"));
        assert!(chunks.rows(Some(&Key(vec![Part::Int(5)])), None).ends_with("WHERE (`owner` >= 5)"));
        assert!(chunks.rows(None, None).ends_with("FORCE INDEX (`k`)"));
    }
}
