//! A configured rule: takes batches apart into entities and packs what was decided.

use crate::bindings::exports::hindsight::transform::transformer::{
    self as wit, Batch, Deletes, Output, Revisions, Upserts,
};
use crate::bindings::hindsight::transform::types::{Column, LogicalType, Table};
use crate::columns::{View, Writer};
use crate::entity::{Decisions, Entity, Reader, RowState};
use crate::plan::Settings;
use crate::{Cell, Rule};

/// A rule configured for some tables.
pub struct Instance<R> {
    rule: R,
    /// Logical types of the plan's columns, in its orders.
    keys: Vec<LogicalType>,
    history: Vec<LogicalType>,
    read: Vec<LogicalType>,
    revise: Vec<LogicalType>,
    /// Per table.
    before: Vec<Vec<LogicalType>>,
    after: Vec<Vec<LogicalType>>,
}

impl<R: Rule> Instance<R> {
    /// # Errors
    /// The rule's own sentence.
    pub fn configure(tables: &[Table], settings: Vec<(String, String)>) -> Result<(Self, wit::Plan), String> {
        let (rule, plan) = R::configure(tables, &Settings::new(R::describe(), settings))?;
        let plan = plan.finish(tables)?;
        let history: Vec<LogicalType> = plan.history.iter().map(|column| column.field.logical).collect();
        let pick = |columns: &[u32]| columns.iter().map(|&column| history[column as usize]).collect();
        let of_table = |columns: fn(&wit::TableUse) -> &[u32]| -> Vec<Vec<LogicalType>> {
            let pairs = plan.tables.iter().zip(tables);
            pairs
                .map(|(uses, table)| {
                    columns(uses).iter().map(|&column| table.fields[column as usize].logical).collect()
                })
                .collect()
        };
        let instance = Instance {
            rule,
            keys: of_table(|uses| &uses.entity_key).into_iter().next().unwrap_or_default(),
            read: pick(&plan.read),
            revise: pick(&plan.revise),
            before: of_table(|uses| &uses.before),
            after: of_table(|uses| &uses.after),
            history,
        };
        Ok((instance, plan))
    }

    /// # Errors
    /// What the rule said of an entity.
    pub fn transform(&self, batch: &Batch) -> Result<Output, String> {
        let reader = Reader {
            batch,
            keys: views(&batch.keys, &self.keys)?,
            history: views(&batch.history, &self.read)?,
            before: self.images(batch, |images| &images.before, &self.before)?,
            after: self.images(batch, |images| &images.after, &self.after)?,
        };
        let n_shown = batch.history_offsets.last().map_or(0, |&rows| rows as usize);
        let n_changes = batch.changes.op.len();
        let mut decisions = Decisions {
            width: self.history.len(),
            opened: Vec::with_capacity(n_changes * self.history.len()),
            causes: Vec::with_capacity(n_changes),
            revise_width: self.revise.len(),
            revised: Vec::with_capacity(n_shown * self.revise.len()),
            revisions: Vec::with_capacity(n_shown),
            deletes: Vec::new(),
            row_state: vec![RowState::Untouched; n_shown],
            rejects: Vec::new(),
        };
        self.decide(&reader, &mut decisions)?;
        Ok(self.pack(decisions))
    }

    fn decide<'a>(&self, reader: &'a Reader<'a>, decisions: &mut Decisions<'a>) -> Result<(), String> {
        for group in 0..reader.batch.change_offsets.len().saturating_sub(1) {
            let mut entity = Entity { batch: reader, group, out: decisions };
            self.rule.entity(&mut entity)?;
        }
        Ok(())
    }

    fn pack(&self, decisions: Decisions<'_>) -> Output {
        let mut revisions = Revisions { cause: Vec::new(), row: Vec::new(), columns: Vec::new() };
        let mut revised = writers(&self.revise, decisions.revisions.len());
        for (number, &(row, cause)) in decisions.revisions.iter().enumerate() {
            // A row that was revised first and deleted then is only deleted.
            if matches!(decisions.row_state[row as usize], RowState::Revised(_)) {
                revisions.row.push(row);
                revisions.cause.push(cause);
                push_row(&mut revised, &decisions.revised, number);
            }
        }
        let mut opened = writers(&self.history, decisions.causes.len());
        for row in 0..decisions.causes.len() {
            push_row(&mut opened, &decisions.opened, row);
        }
        revisions.columns = finish(revised);
        let (row, cause) = decisions.deletes.into_iter().unzip();
        Output {
            upserts: Upserts { cause: decisions.causes, columns: finish(opened) },
            revisions,
            deletes: Deletes { cause, row },
            rejects: decisions.rejects,
        }
    }

    fn images<'a>(
        &self,
        batch: &'a Batch,
        side: fn(&wit::Images) -> &Vec<Column>,
        logicals: &[Vec<LogicalType>],
    ) -> Result<Vec<Vec<View<'a>>>, String> {
        batch.images.iter().zip(logicals).map(|(images, logicals)| views(side(images), logicals)).collect()
    }
}

/// Columns may be left out where there is no row.
fn views<'a>(columns: &'a [Column], logicals: &[LogicalType]) -> Result<Vec<View<'a>>, String> {
    if columns.is_empty() {
        return Ok(logicals.iter().map(|_| View::empty()).collect());
    }
    columns.iter().zip(logicals).map(|(column, &logical)| View::new(column, logical)).collect()
}

fn writers(logicals: &[LogicalType], rows: usize) -> Vec<Writer> {
    logicals.iter().map(|&logical| Writer::new(logical, rows)).collect()
}

#[inline]
fn push_row(writers: &mut [Writer], cells: &[Cell<'_>], row: usize) {
    let width = writers.len();
    for (writer, cell) in writers.iter_mut().zip(&cells[row * width..(row + 1) * width]) {
        writer.push(cell);
    }
}

fn finish(writers: Vec<Writer>) -> Vec<Column> {
    writers.into_iter().map(Writer::finish).collect()
}
