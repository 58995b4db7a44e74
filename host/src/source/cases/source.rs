//! A case's changes as a source, through production's own [`Batch::push`].

use std::sync::Arc;

use super::{Case, CaseChange, Cell};
use crate::event::{Batch, Position, RowChange, Transaction};
use crate::rows::Rows;
use crate::source::{Source, SourceError};

/// A case's changes, as a source: each change is a source transaction of its own.
pub struct CaseSource {
    case: Arc<Case>,
    batch_changes: usize,
    done: usize,
}

impl CaseSource {
    /// `batch_changes`: changes of the file in one batch, at least 1.
    ///
    /// # Errors
    /// A position that is not one of this case.
    pub fn open(case: Arc<Case>, batch_changes: usize, start: Option<&Position>) -> Result<Self, SourceError> {
        let done = match start {
            None => 0,
            Some(Position(text)) => {
                let done = text.strip_prefix("case/1 done=").and_then(|done| done.parse().ok());
                done.filter(|&done| done <= case.changes.len()).ok_or_else(|| {
                    SourceError::Unfit(format!("{text:?} is not a position in the case {}", case.path.display()))
                })?
            }
        };
        Ok(CaseSource { case, batch_changes: batch_changes.max(1), done })
    }
}

#[async_trait::async_trait]
impl Source for CaseSource {
    async fn next(&mut self) -> Result<Option<(Batch, Position)>, SourceError> {
        let from = self.done;
        self.done = self.case.changes.len().min(from.saturating_add(self.batch_changes));
        if from == self.done {
            return Ok(None);
        }
        let batch = batch(&self.case, from..self.done);
        Ok(Some((batch, Position(format!("case/1 done={}", self.done)))))
    }
}

/// [`Change::at`](crate::event::Change) is the change's place in the file, also of the two that a changed primary key makes.
fn batch(case: &Case, range: std::ops::Range<usize>) -> Batch {
    let mut batch = Batch {
        tables: case.tables.clone(),
        images: case.tables.iter().map(|table| Rows::new(table.fields.len())).collect(),
        ..Batch::default()
    };
    let log: Arc<str> = case.path.display().to_string().into();
    for (number, change) in case.changes.iter().enumerate().take(range.end).skip(range.start) {
        batch.transactions.push(Transaction { log: log.clone(), gtid: None });
        let images = &mut batch.images[change.table];
        let mut image = |cells: &Option<Vec<Cell>>| {
            cells.as_ref().map(|cells| images.push_row(cells.iter().map(Cell::value)) as u32)
        };
        let (before, after) = (image(&change.before), image(&change.after));
        let CaseChange { table, op, time_us, .. } = *change;
        batch.push(RowChange { table: table as u32, op, time_us, before, after, at: number as u64 });
    }
    batch
}
