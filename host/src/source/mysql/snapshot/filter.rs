//! Leaves out of the log what the snapshot's rows hold already: each side of a change by its own entity's chunk.

use std::sync::Arc;

use super::progress::{Chunk, Progress};
use super::tables::{Collation, Table};
use super::weights::{KeyColumns, Weights};
use super::window::{gtid, sides};
use crate::event::{Batch, Change, Sides, TableSchema};
use crate::rows::Row;
use crate::source::SourceError;
use crate::source::mysql::connect::Server;
use crate::source::mysql::{GtidSet, Trouble};

pub struct Filter {
    tables: Vec<Filtered>,
    /// Behind these nothing is left out any more.
    pub high: GtidSet,
    /// The rule's entity key.
    pub cut_by: Option<Arc<[String]>>,
    weights: Weights,
}

struct Filtered {
    name: String,
    /// The columns that its chunks are cut by.
    key: Vec<String>,
    collations: Vec<Option<Collation>>,
    chunks: Vec<Chunk>,
}

impl Filter {
    /// `tables`: as the server has them now, for the order of texts. None where nothing is to be left out.
    pub fn new(progress: &Progress, tables: &[Table], cut_by: Option<Arc<[String]>>) -> Option<Self> {
        let high = progress.high();
        let collation = |table: &str, column: &str| {
            let table = tables.iter().find(|known| known.schema.name == table)?;
            let place = table.schema.fields.iter().position(|field| field.name == column)?;
            table.collations[place].clone()
        };
        let filtered = |table: &super::progress::Table| Filtered {
            name: table.name.clone(),
            collations: table.key.iter().map(|column| collation(&table.name, column)).collect(),
            key: table.key.clone(),
            chunks: table.done.clone(),
        };
        let tables = progress.tables.iter().map(filtered).collect();
        (!high.is_empty()).then(|| Filter { tables, high, cut_by, weights: Weights::default() })
    }

    /// Takes out changes, or one of their sides.
    pub async fn apply(&mut self, batch: &mut Batch, server: &Server) -> Result<(), Trouble> {
        let schemas: Vec<Arc<TableSchema>> = batch.tables.clone();
        let mut keeps = vec![Some(Sides::Both); batch.changes.len()];
        for filtered in &self.tables {
            let Some(table) = schemas.iter().position(|schema| schema.name == filtered.name) else { continue };
            let columns: Option<Vec<usize>> = filtered
                .key
                .iter()
                .map(|name| schemas[table].fields.iter().position(|field| field.name == *name))
                .collect();
            let Some(columns) = columns else { return Err(lacks(filtered).into()) };
            let key = KeyColumns { columns: &columns, collations: &filtered.collations };
            let judged: Vec<usize> = (0..batch.changes.len())
                .filter(|&i| {
                    let change = &batch.changes[i];
                    change.table as usize == table && gtid(batch, change).is_some_and(|gtid| self.high.contains(gtid))
                })
                .collect();
            let rows: Vec<Row<'_>> = judged.iter().flat_map(|&i| sides(batch, &batch.changes[i])).flatten().collect();
            self.weights.learn(server, &rows, key).await?;
            for i in judged {
                let change = &batch.changes[i];
                let gtid = gtid(batch, change).expect("judged by it");
                let held = |row: Row<'_>| {
                    let key = self.weights.key(row, key)?;
                    let is_before = |chunk: &Chunk| chunk.to.as_ref().is_some_and(|to| to.cmp_known(&key).is_le());
                    let chunk = filtered.chunks.get(filtered.chunks.partition_point(is_before));
                    Some(chunk.is_some_and(|chunk| chunk.high.contains(gtid)))
                };
                let unread = || Trouble::from(unread(batch, change));
                keeps[i] = match sides(batch, change) {
                    [Some(before), Some(after)] => {
                        let held = (held(before).ok_or_else(unread)?, held(after).ok_or_else(unread)?);
                        match held {
                            (true, true) => None,
                            (true, false) => Some(Sides::After),
                            (false, true) => Some(Sides::Before),
                            (false, false) => Some(Sides::Both),
                        }
                    }
                    [Some(row), None] | [None, Some(row)] => (!held(row).ok_or_else(unread)?).then_some(Sides::Both),
                    [None, None] => Some(Sides::Both),
                };
            }
        }
        let mut keeps = keeps.into_iter();
        batch.changes.retain_mut(|change| match keeps.next().flatten() {
            Some(sides) => {
                change.sides = sides;
                true
            }
            None => false,
        });
        Ok(())
    }
}

fn lacks(table: &Filtered) -> SourceError {
    SourceError::Stop(format!(
        "{} has lost a column of ({}) by which its snapshot was cut into chunks, before the log was behind the snapshot: which \
         changes its rows hold cannot be told any more. Start a new history, or run `hindsight resnapshot {}` once the \
         column is there again",
        table.name,
        table.key.join(", "),
        table.name
    ))
}

fn unread(batch: &Batch, change: &Change) -> SourceError {
    SourceError::Stop(format!(
        "{}: the entity key of a row of {} is not in its image or cannot be decoded, so whether the snapshot holds this change \
         is not known; set binlog_row_image=FULL on the source, and start a new history",
        batch.place(change),
        batch.schema(change).name
    ))
}
