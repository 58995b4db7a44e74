//! What a re-snapshot has met so far: a table, so that a kill in the middle forgets nothing.

use std::path::Path;

use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::table::quoted;
use super::{Prepared, value};
use crate::history::{HistorySchema, SnapshotStep};
use crate::rows::{Row, Rows, Value};
use crate::sink::SinkError;

pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS hindsight_met (
    pipeline TEXT NOT NULL,
    source_key BLOB NOT NULL,   -- the primary key's values without the interval's start
    PRIMARY KEY (pipeline, source_key)
) WITHOUT ROWID;";

/// Writes a load's step; the history itself is emptied elsewhere.
pub fn write(transaction: &Transaction<'_>, pipeline: &str, step: &SnapshotStep) -> rusqlite::Result<()> {
    let SnapshotStep::Met(keys) = step else {
        return transaction.execute("DELETE FROM hindsight_met WHERE pipeline = ?", [pipeline]).map(drop);
    };
    let text = "INSERT INTO hindsight_met (pipeline, source_key) VALUES (?, ?) ON CONFLICT DO NOTHING";
    let mut insert = transaction.prepare_cached(text)?;
    for key in keys.iter() {
        insert.execute(params![pipeline, encoded(key.values())])?;
    }
    Ok(())
}

/// What is looked at, with names for messages.
pub struct History<'a> {
    pub connection: &'a Connection,
    pub prepared: &'a Prepared,
    pub path: &'a Path,
    pub table: &'a str,
    /// Whose notes say what was met; none: nothing was.
    pub pipeline: Option<&'a str>,
}

impl History<'_> {
    /// As [`Sink::unmet`](crate::sink::Sink::unmet).
    pub fn unmet(&self, after: Option<Row<'_>>, n_wanted: usize) -> Result<Rows, SinkError> {
        let History { connection, path, table, .. } = self;
        let failed = |error: rusqlite::Error| SinkError::Stop(format!("read history {}: {error}", path.display()));
        let HistorySchema { columns, roles, .. } = &self.prepared.history;
        let source_key = self.prepared.history.source_key();
        let mut statement =
            connection.prepare(&current_rows(table, &self.prepared.history, after.is_some())).map_err(failed)?;
        for (i, value) in after.iter().flat_map(|after| after.values()).enumerate() {
            value::bind(&mut statement, i + 1, value, &columns[roles.entity_key[i]].field)?;
        }
        let mut found = statement.raw_query();
        let (mut page, mut one) = (Rows::new(columns.len()), Rows::new(columns.len()));
        while let Some(row) = found.next().map_err(failed)? {
            one.truncate(0);
            for (i, column) in columns.iter().enumerate() {
                value::read(row.get_ref(i).map_err(failed)?, &column.field, &mut one)
                    .map_err(|misfit| SinkError::Stop(format!("{table} in {}: {misfit}", path.display())))?;
            }
            one.end_row();
            let one = one.row(0);
            if self.is_met(&mut source_key.iter().map(|&column| one.get(column)))? {
                continue;
            }
            if page.len() >= n_wanted {
                let last = page.row(page.len() - 1);
                if roles.entity_key.iter().any(|&column| last.get(column) != one.get(column)) {
                    break;
                }
            }
            page.push_row(one.values());
        }
        Ok(page)
    }

    pub fn is_met(&self, source_key: &mut dyn Iterator<Item = Value<'_>>) -> Result<bool, SinkError> {
        let Some(pipeline) = self.pipeline else { return Ok(false) };
        let look = || {
            let text = "SELECT 1 FROM hindsight_met WHERE pipeline = ? AND source_key = ?";
            let mut select = self.connection.prepare_cached(text)?;
            let key: &dyn ToSql = &encoded(source_key);
            select.query_row(params![pipeline, key], |_| Ok(())).optional()
        };
        let failed = |error| SinkError::Stop(format!("read history {}: {error}", self.path.display()));
        Ok(look().map_err(failed)?.is_some())
    }
}

fn encoded<'v>(values: impl Iterator<Item = Value<'v>>) -> Vec<u8> {
    let mut key = Vec::new();
    values.for_each(|value| value.encode(&mut key));
    key
}

/// Ordered by entity, behind one where that is asked for: along the table's own key, or along the index by entity.
fn current_rows(table: &str, history: &HistorySchema, after: bool) -> String {
    let HistorySchema { columns, primary_key, roles } = history;
    let list = |columns_of: &mut dyn Iterator<Item = &usize>| {
        columns_of.map(|&column| quoted(&columns[column].field.name)).collect::<Vec<_>>().join(", ")
    };
    let mut text =
        format!("SELECT {} FROM {} WHERE ", list(&mut (0..columns.len()).collect::<Vec<_>>().iter()), quoted(table));
    text += &match roles.current {
        Some(current) => format!("{} = 1", quoted(&columns[current].field.name)),
        None => format!("{} IS NULL", quoted(&columns[roles.end].field.name)),
    };
    if after {
        let marks = vec!["?"; roles.entity_key.len()].join(", ");
        text += &format!(" AND ({}) > ({marks})", list(&mut roles.entity_key.iter()));
    }
    let rest = primary_key.iter().filter(|column| !roles.entity_key.contains(column));
    text + &format!(" ORDER BY {}", list(&mut roles.entity_key.iter().chain(rest)))
}

#[cfg(test)]
mod tests {
    use rusqlite::params_from_iter;

    use super::*;
    use crate::event::{Field, Logical};
    use crate::history::{HistoryColumn, Roles};
    use crate::sink::sqlite::table;

    /// Where it sorted, each page would take the memory of all that is current.
    #[test]
    fn current_rows_are_read_along_an_index() {
        let column = |name: &str, logical| HistoryColumn {
            field: Field { name: name.into(), logical, nullable: name == "end", declared: String::new() },
            source: None,
        };
        let columns = vec![
            column("id", Logical::Int64),
            column("owner", Logical::Int64),
            column("start", Logical::Datetime),
            column("end", Logical::Datetime),
            column("current", Logical::Boolean),
        ];
        for (primary_key, current) in [(vec![0, 1, 2], Some(4)), (vec![1, 0, 2], Some(4)), (vec![1, 0, 2], None)] {
            let roles = Roles { entity_key: vec![1], start: 2, end: 3, current };
            let history = HistorySchema { columns: columns.clone(), primary_key, roles };
            let mut connection = Connection::open_in_memory().unwrap();
            connection
                .execute_batch("CREATE TABLE hindsight_history (name TEXT PRIMARY KEY, pipeline, schema)")
                .unwrap();
            let place = table::Place { path: Path::new("history.db"), table: "history", pipeline: "a pipeline" };
            table::make_or_compare(&mut connection, &place, &history, false).unwrap();
            for after in [false, true] {
                let text = format!("EXPLAIN QUERY PLAN {}", current_rows("history", &history, after));
                let mut statement = connection.prepare(&text).unwrap();
                let owner: &[i64] = if after { &[1] } else { &[] };
                let steps = statement.query_map(params_from_iter(owner), |row| row.get(3)).unwrap();
                let steps: Vec<String> = steps.map(Result::unwrap).collect();
                // Within an entity it may sort.
                assert!(steps.iter().all(|step| !step.contains("TEMP B-TREE FOR ORDER BY")), "{text}: {steps:?}");
            }
        }
    }
}
