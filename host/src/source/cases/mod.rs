//! Case files: changes written down by a person, with the history that must follow from them.
//!
//! A [`Case`] is read here; its changes go through production's own [`Batch::push`] as a [`Source`]. Which history
//! columns there are, only the rule's plan says, so history and expectation are read once the plan is known.

mod draft;
mod read;
mod source;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::document::{self, Fault, Faults, Keys, Node, NodeValue};
use crate::event::{Field, Op, TableSchema};
use crate::history::HistorySchema;
use crate::rows::Rows;

pub use draft::Draft;
pub use read::default_table;
pub use source::CaseSource;
pub use values::Cell;
use values::{Reading, read_row};

/// One case: a table, its history before, changes, and what must be there afterwards.
#[derive(Clone, Debug)]
pub struct Case {
    /// The sentence that the file's name is: `a-delete-closes-….toml` without dashes and ending.
    pub name: String,
    pub path: PathBuf,
    /// For the rule; numbers and booleans as text.
    pub settings: Vec<(String, String)>,
    pub tables: Vec<Arc<TableSchema>>,
    pub changes: Vec<CaseChange>,
    /// In the order of the file.
    pub expected_rejects: Vec<ExpectedReject>,
    history: Vec<Node>,
    expected_history: Vec<Node>,
    /// Without any: the text, for faults found once the plan is known.
    faults: Faults,
}

/// A change, in the columns of its table.
#[derive(Clone, Debug)]
pub struct CaseChange {
    /// Position in [`Case::tables`].
    pub table: usize,
    pub op: Op,
    /// Microseconds, wall clock.
    pub time_us: i64,
    pub before: Option<Vec<Cell>>,
    pub after: Option<Vec<Cell>>,
}

/// `reason`: none stands for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedReject {
    /// Position in [`Case::changes`].
    pub change: usize,
    pub reason: Option<String>,
}

impl Case {
    /// # Errors
    /// The file cannot be read, or [`Faults`].
    pub fn load(path: &Path) -> anyhow::Result<Case> {
        use anyhow::Context;
        let text = std::fs::read_to_string(path).with_context(|| format!("read case file {}", path.display()))?;
        Ok(Case::parse(path, &text)?)
    }

    pub fn parse(path: &Path, text: &str) -> Result<Case, Faults> {
        let (root, mut faults) = document::parse(&path.display().to_string(), text)?;
        let unharmed = Faults::new(&path.display().to_string(), text);
        let name = path.file_stem().map_or(String::new(), |stem| stem.to_string_lossy().replace(['-', '_'], " "));
        let mut keys = Keys::new(&root, "the case", &mut faults);
        let settings = keys.table("settings").map_or(Vec::new(), |table| read::settings(table, &mut keys));
        let tables = read::tables(&mut keys);
        let history = read::rows(&mut keys, "history");
        let changes = read::changes(&mut keys, &tables);
        let expect = keys.require("expect", "write [expect] with history = [ … ], the whole table after the changes");
        let (expected_history, expected_rejects) = match expect.map(|node| &node.value) {
            Some(NodeValue::Table(table)) => read::expectation(table, changes.len(), keys.faults),
            Some(_) => {
                keys.table("expect");
                (Vec::new(), Vec::new())
            }
            None => (Vec::new(), Vec::new()),
        };
        keys.end();
        let path = path.to_owned();
        let tables = tables.into_iter().map(Arc::new).collect();
        faults.or(Some(Case {
            name,
            path,
            settings,
            tables,
            changes,
            expected_rejects,
            history,
            expected_history,
            faults: unharmed,
        }))
    }

    /// The history before the changes: whole rows, all columns of the schema.
    pub fn history(&self, schema: &HistorySchema) -> Result<Rows, Faults> {
        let mut faults = self.faults.clone();
        let mut rows = Rows::new(schema.columns.len());
        for (number, cells) in self.history_rows(&self.history, "history", schema, Reading::History, &mut faults) {
            for &key in &schema.primary_key {
                if cells[key] == Cell::Null {
                    let column = &schema.columns[key].field.name;
                    let message = format!("history row {number} has no `{column}`, which is part of the primary key");
                    faults.push(Fault::new(self.history[number].span.clone(), message));
                }
            }
            rows.push_row(cells.iter().map(Cell::value));
        }
        faults.or(Some(rows))
    }

    /// The rows that must be there after the changes, in the order of the file.
    pub fn expected_history(&self, schema: &HistorySchema) -> Result<Vec<Vec<Cell>>, Faults> {
        let mut faults = self.faults.clone();
        let rows =
            self.history_rows(&self.expected_history, "expect.history", schema, Reading::Expectation, &mut faults);
        faults.or(Some(rows.into_iter().map(|(_, cells)| cells).collect()))
    }

    fn history_rows(
        &self,
        nodes: &[Node],
        what: &str,
        schema: &HistorySchema,
        reading: Reading,
        faults: &mut Faults,
    ) -> Vec<(usize, Vec<Cell>)> {
        let fields: Vec<&Field> = schema.columns.iter().map(|column| &column.field).collect();
        let mut rows = Vec::new();
        for (number, node) in nodes.iter().enumerate() {
            let NodeValue::Table(table) = &node.value else { unreachable!("only tables were kept") };
            rows.push((number, read_row(table, &fields, &format!("{what} row {number}"), reading, faults)));
        }
        rows
    }
}

#[cfg(test)]
mod tests;
