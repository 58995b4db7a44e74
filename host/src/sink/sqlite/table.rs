//! The history table: made from the rule's plan, or compared with it.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::value;
use crate::history::{HistorySchema, Scope};
use crate::sink::SinkError;

/// Which table is meant, for messages.
pub struct Place<'a> {
    pub path: &'a Path,
    pub table: &'a str,
    pub pipeline: &'a str,
}

/// Makes the table with its index, or compares the one that is there; notes the schema for readers. `moved`: whether this
/// pipeline has a checkpoint.
pub fn make_or_compare(
    connection: &mut Connection,
    place: &Place<'_>,
    history: &HistorySchema,
    moved: bool,
) -> Result<(), SinkError> {
    let failed = |error: rusqlite::Error| {
        SinkError::Unfit(format!("prepare table {} in {}: {error}", place.table, place.path.display()))
    };
    // It writes in any case; begun as a reader it could not wait for another pipeline's commit.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
    if !compare(&transaction, place, history, moved)? {
        transaction.execute_batch(&create(place.table, history)).map_err(failed)?;
    }
    transaction.execute_batch(&index(place.table, history)).map_err(failed)?;
    let schema = serde_json::to_string(&super::reader::Stored::from(history)).expect("a schema is plain data");
    transaction
        .execute(
            "INSERT INTO hindsight_history (name, pipeline, schema) VALUES (?1, ?2, ?3)
             ON CONFLICT (name) DO UPDATE SET pipeline = ?2, schema = ?3",
            params![place.table, place.pipeline, schema],
        )
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Removes all rows, where the table is there and this pipeline's.
pub fn empty(connection: &Connection, table: &str, pipeline: &str) -> rusqlite::Result<()> {
    let text = "SELECT EXISTS (SELECT 1 FROM hindsight_history WHERE name = ? AND pipeline = ?)";
    let is_ours: bool = connection.query_row(text, [table, pipeline], |row| row.get(0))?;
    if is_ours {
        connection.execute(&format!("DELETE FROM {}", quoted(table)), [])?;
    }
    Ok(())
}

/// Whether this pipeline has a history table, this one or another.
fn has_written(connection: &Connection, place: &Place<'_>) -> rusqlite::Result<bool> {
    let text = "SELECT EXISTS (SELECT 1 FROM hindsight_history WHERE pipeline = ?)";
    connection.query_row(text, [place.pipeline], |row| row.get(0))
}

/// Whether the table is there. Refuses one that is not what the rule writes, one whose rows no checkpoint explains, and a
/// pipeline that has a checkpoint (`moved`) and wrote another table.
pub fn compare(
    connection: &Connection,
    place: &Place<'_>,
    history: &HistorySchema,
    moved: bool,
) -> Result<bool, SinkError> {
    let failed = |error: rusqlite::Error| {
        SinkError::Unfit(format!("look at table {} in {}: {error}", place.table, place.path.display()))
    };
    let columns = existing(connection, place.table).map_err(failed)?;
    // A checkpoint alone may come from before the first captured row.
    let begun = moved && has_written(connection, place).map_err(failed)?;
    if columns.is_empty() {
        return if begun { Err(lost_table(connection, place).map_err(failed)?) } else { Ok(false) };
    }
    let differences = differences(&columns, history);
    if !differences.is_empty() {
        return Err(SinkError::OtherTable(format!(
            "table {} in {} is not the one that the rule writes:\n{}\nName another table in sink.table, or move this one away",
            place.table,
            place.path.display(),
            differences.join("\n")
        )));
    }
    refuse_foreign_rows(connection, place, moved, begun).map_err(failed)?.map_or(Ok(true), Err)
}

/// A new table would begin in the middle of the log.
fn lost_table(connection: &Connection, place: &Place<'_>) -> rusqlite::Result<SinkError> {
    let mut written = connection.prepare("SELECT name FROM hindsight_history WHERE pipeline = ? ORDER BY name")?;
    let written = written.query_map([place.pipeline], |row| row.get(0))?.collect::<Result<Vec<String>, _>>()?;
    Ok(SinkError::Unfit(format!(
        "pipeline {} has a checkpoint in {}, but table {} is not there: its rows so far went to {}. \
         Put that back into sink.table, or start a new history with another `name`",
        place.pipeline,
        place.path.display(),
        place.table,
        written.join(", ")
    )))
}

/// Rows that no checkpoint of this pipeline explains would be mixed with its own.
fn refuse_foreign_rows(
    connection: &Connection,
    place: &Place<'_>,
    moved: bool,
    begun: bool,
) -> rusqlite::Result<Option<SinkError>> {
    let writer: Option<String> = connection
        .query_row("SELECT pipeline FROM hindsight_history WHERE name = ?", [place.table], |row| row.get(0))
        .optional()?;
    let refuse = |why: String| {
        Some(SinkError::Unfit(format!(
            "table {} in {} {why}. Name another table in sink.table, or move this one away",
            place.table,
            place.path.display()
        )))
    };
    if let Some(writer) = writer.filter(|writer| writer != place.pipeline) {
        return Ok(refuse(format!("is written by pipeline {writer}; one history table has one writer")));
    }
    let has_rows =
        connection
            .query_row(&format!("SELECT EXISTS (SELECT 1 FROM {})", quoted(place.table)), [], |row| row.get(0))?;
    Ok(if has_rows && !begun {
        let lacks = if moved { "written nothing" } else { "no checkpoint" };
        refuse(format!("holds rows, but pipeline {} has {lacks} here", place.pipeline))
    } else {
        None
    })
}

struct Existing {
    name: String,
    declared: String,
    not_null: bool,
    /// Place in the primary key, from 1; 0 outside.
    key: usize,
}

fn existing(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Existing>> {
    let mut statement =
        connection.prepare("SELECT name, type, \"notnull\", pk FROM pragma_table_info(?) ORDER BY cid")?;
    let rows = statement.query_map([table], |row| {
        Ok(Existing {
            name: row.get(0)?,
            declared: row.get(1)?,
            not_null: row.get(2)?,
            key: row.get::<_, i64>(3)? as usize,
        })
    })?;
    rows.collect()
}

/// Column by column, as lines; empty where the table can be used.
fn differences(columns: &[Existing], history: &HistorySchema) -> Vec<String> {
    let mut lines = Vec::new();
    for i in 0..columns.len().max(history.columns.len()) {
        let wanted = history.columns.get(i).map(|column| &column.field);
        let key = history.primary_key.iter().position(|&column| column == i).map_or(0, |place| place + 1);
        let show = |name: &str, declared: &str, not_null: bool, key: usize| {
            let not_null = if not_null { " NOT NULL" } else { "" };
            let key = if key > 0 { format!(", key {key}") } else { String::new() };
            format!("{name} {declared}{not_null}{key}")
        };
        match (columns.get(i), wanted) {
            (Some(there), Some(field)) => {
                let fits = there.name == field.name
                    && value::keeps(&there.declared, field.logical)
                    && !(there.not_null && field.nullable)
                    && there.key == key;
                if !fits {
                    let is = show(&there.name, &there.declared, there.not_null, there.key);
                    let should = show(&field.name, value::column_type(field.logical), !field.nullable, key);
                    lines.push(format!("  column {}: is {is}; the rule writes {should}", i + 1));
                }
            }
            (Some(there), None) => lines.push(format!("  column {}: {} is not written by the rule", i + 1, there.name)),
            (None, Some(field)) => lines.push(format!(
                "  column {}: {} {} is missing",
                i + 1,
                field.name,
                value::column_type(field.logical)
            )),
            (None, None) => {}
        }
    }
    lines
}

fn create(table: &str, history: &HistorySchema) -> String {
    let columns: Vec<String> = history
        .columns
        .iter()
        .map(|column| {
            let not_null = if column.field.nullable { "" } else { " NOT NULL" };
            format!("{} {}{not_null}", quoted(&column.field.name), value::column_type(column.field.logical))
        })
        .collect();
    let key = list(history, &history.primary_key);
    // The rows lie in the primary key itself: half the writing of a table with an index beside it.
    format!("CREATE TABLE {} (\n  {},\n  PRIMARY KEY ({key})\n) WITHOUT ROWID;", quoted(table), columns.join(",\n  "))
}

/// What [`Statements::entity`] and a query by key search: by entity, its current rows together.
fn index(table: &str, history: &HistorySchema) -> String {
    let key = &history.roles.entity_key;
    if history.primary_key.starts_with(key) {
        return String::new();
    }
    let columns: Vec<usize> = key.iter().copied().chain(history.roles.current).collect();
    // Named by its columns: another rule may write the same table under another entity key.
    let names: Vec<&str> = key.iter().map(|&column| history.columns[column].field.name.as_str()).collect();
    let name = quoted(&format!("{table}_by_{}", names.join("_")));
    format!("CREATE INDEX IF NOT EXISTS {name} ON {} ({});", quoted(table), list(history, &columns))
}

fn list(history: &HistorySchema, columns: &[usize]) -> String {
    columns.iter().map(|&column| quoted(&history.columns[column].field.name)).collect::<Vec<_>>().join(", ")
}

/// The statements of the hot path.
pub struct Statements {
    current: String,
    all: String,
    pub upsert: String,
    pub delete: String,
}

impl Statements {
    pub fn new(table: &str, history: &HistorySchema) -> Self {
        let names: Vec<String> = history.columns.iter().map(|column| quoted(&column.field.name)).collect();
        let equal = |columns: &[usize]| {
            columns.iter().map(|&column| format!("{} = ?", names[column])).collect::<Vec<_>>().join(" AND ")
        };
        let (entity, key) = (equal(&history.roles.entity_key), list(history, &history.primary_key));
        let all = format!("SELECT {} FROM {} WHERE {entity}", names.join(", "), quoted(table));
        let current = history.roles.current.map(|current| format!(" AND {} = 1", names[current])).unwrap_or_default();
        let marks = vec!["?"; names.len()].join(", ");
        let others = (0..names.len()).filter(|column| !history.primary_key.contains(column));
        let set: Vec<String> = others.map(|column| format!("{0} = excluded.{0}", names[column])).collect();
        // Not REPLACE, which would delete the row and all its index entries first.
        let conflict = if set.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", set.join(", ")) };
        Statements {
            current: format!("{all}{current} ORDER BY {key}"),
            all: format!("{all} ORDER BY {key}"),
            upsert: format!(
                "INSERT INTO {} ({}) VALUES ({marks}) ON CONFLICT ({key}) DO {conflict}",
                quoted(table),
                names.join(", ")
            ),
            delete: format!("DELETE FROM {} WHERE {}", quoted(table), equal(&history.primary_key)),
        }
    }

    pub fn entity(&self, scope: Scope) -> &str {
        match scope {
            Scope::CurrentRows => &self.current,
            Scope::AllRows => &self.all,
        }
    }
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
