//! A re-snapshot: the source's rows become changes by what the history holds of them.
//!
//! Each row is compared with the latest history row, current or closed, of its source key: equal is nothing, other values
//! an update, none at all a create. What was not met when all rows are in is deleted.

use std::sync::Arc;

use anyhow::anyhow;
use rustc_hash::FxHashMap;

use super::undecided;
use crate::event::{Batch, Change, Op, Sides, TableSchema, Transaction};
use crate::failure::{Failure, Outcome};
use crate::groups;
use crate::history::{HistorySchema, Scope, SnapshotStep};
use crate::rows::{Row, Rows, Value};
use crate::rule::Plan;
use crate::sink::Sink;

/// How many rows that are gone are decided at once, in whole entities.
const GONE_ROWS: usize = 1_000;

/// Changes that a re-snapshot came to, and what it has met with them.
pub struct Found {
    pub batch: Batch,
    pub step: SnapshotStep,
}

/// Why the rows of these tables cannot be compared with the history that the plan writes: all reasons, and what to do.
pub fn refusal(plan: &Plan, tables: &[Arc<TableSchema>]) -> Option<String> {
    Carried::of(plan, tables).err()
}

/// Compares a batch of [`Snapshot::Again`](crate::event::Snapshot::Again).
pub async fn compare(batch: &Batch, plan: &Plan, sink: &mut dyn Sink) -> Outcome<Found> {
    let carried = Carried::of(plan, &batch.tables).map_err(|text| Failure::run(anyhow!(text)))?;
    let (groups, no_entity) = groups::group(batch, plan).map_err(|text| Failure::run(anyhow!(text)))?;
    if let Some(reject) = no_entity.first() {
        return Err(undecided::without_entity(reject, batch));
    }
    let history =
        sink.entity_rows(&groups.keys, Scope::AllRows).await.map_err(|error| Failure::sink(error, true))?.rows;
    let latest = carried.latest(&history, &plan.history);

    let mut found = Batch { changes: Vec::new(), snapshot: None, ..batch.clone() };
    let mut met = Rows::new(carried.source_key.len());
    for change in &batch.changes {
        let Some(row) = batch.after(change).filter(|_| change.op == Op::Read) else {
            found.changes.push(*change);
            continue;
        };
        let fields = &carried.fields[change.table as usize];
        let source_key = || carried.source_key.iter().map(|&column| carried.value(change.table, row, column));
        // No history row has a key without a value.
        if source_key().all(|value| value.is_known() && value != Value::Null) {
            met.push_row(source_key());
        }
        let known = latest.get(&encoded(source_key())).map(|&row| history.row(row));
        let equals = |known: &Row<'_>| {
            let mut columns = fields.iter().enumerate().filter_map(|(column, field)| Some((column, (*field)?)));
            columns.all(|(column, field)| known.get(column) == row.get(field))
        };
        match known {
            None => found.changes.push(Change { op: Op::Create, ..*change }),
            Some(known) if equals(&known) => {}
            Some(known) => {
                let before = Some(carried.push(known, change.table, &mut found));
                found.changes.push(Change { op: Op::Update, before, ..*change });
            }
        }
    }
    Ok(Found { batch: found, step: SnapshotStep::Met(met) })
}

/// What the history holds as current and no row of the source was: page by page, in whole entities, as one delete may
/// close all rows of its entity.
pub struct Gone<'a> {
    /// That of [`Snapshot::AgainEnds`](crate::event::Snapshot::AgainEnds), which these values are of.
    ends: &'a Batch,
    table: u32,
    time_us: i64,
    /// The last entity that was looked at; empty before the first.
    after: Rows,
}

impl<'a> Gone<'a> {
    pub fn new(ends: &'a Batch, table: u32, time_us: i64) -> Self {
        Gone { ends, table, time_us, after: Rows::default() }
    }

    /// The next page, or none when nothing is left. What it deletes counts as met with its commit: a rule need not close
    /// what is deleted, and it must not be found again after a kill.
    pub async fn next(&mut self, plan: &Plan, sink: &mut dyn Sink) -> Outcome<Option<Found>> {
        let Gone { ends, table, time_us, .. } = *self;
        let carried = Carried::of(plan, &ends.tables).map_err(|text| Failure::run(anyhow!(text)))?;
        let after = (!self.after.is_empty()).then(|| self.after.row(0));
        let rows = sink.unmet(after, GONE_ROWS).await.map_err(|error| Failure::sink(error, true))?;
        let Some(last) = rows.len().checked_sub(1).map(|last| rows.row(last)) else { return Ok(None) };

        let log = format!("the re-snapshot of {}", ends.tables[table as usize].name).into();
        let mut batch = Batch {
            tables: ends.tables.clone(),
            images: ends.tables.iter().map(|table| Rows::new(table.fields.len())).collect(),
            transactions: vec![Transaction { log, gtid: None }],
            ..Batch::default()
        };
        let mut met = Rows::new(carried.source_key.len());
        for (number, row) in rows.iter().enumerate() {
            met.push_row(carried.source_key.iter().map(|&column| row.get(column)));
            let before = Some(carried.push(row, table, &mut batch));
            let (op, rekeys, sides, after, transaction) = (Op::Delete, false, Sides::Both, None, 0);
            let at = number as u64;
            batch.changes.push(Change { table, op, rekeys, sides, time_us, before, after, transaction, at });
        }
        self.after = Rows::new(plan.history.roles.entity_key.len());
        self.after.push_row(plan.history.roles.entity_key.iter().map(|&column| last.get(column)));
        Ok(Some(Found { batch, step: SnapshotStep::Met(met) }))
    }
}

/// What the history carries of the source's rows.
struct Carried {
    /// For each table and each history column: the table's field whose value it is; none where the rule makes it.
    fields: Vec<Vec<Option<usize>>>,
    /// History columns by which a source row is known there.
    source_key: Vec<usize>,
}

impl Carried {
    fn of(plan: &Plan, tables: &[Arc<TableSchema>]) -> Result<Self, String> {
        let HistorySchema { columns, roles, .. } = &plan.history;
        let source_key = plan.history.source_key();
        let mut fields = Vec::new();
        let mut faults = Vec::new();
        for (uses, table) in plan.tables.iter().zip(tables) {
            let field = |column: usize| match roles.entity_key.iter().position(|&key| key == column) {
                Some(place) => Some(uses.entity_key[place]),
                None => {
                    let name = columns[column].source.as_ref()?;
                    table.fields.iter().position(|field| field.name == *name)
                }
            };
            let carried: Vec<Option<usize>> = (0..columns.len()).map(field).collect();
            for &column in source_key.iter().filter(|&&column| carried[column].is_none()) {
                let name = &columns[column].field.name;
                faults.push(format!("{name} of its primary key carries no column of {}", table.name));
            }
            for &column in uses.before.iter().filter(|&&column| !carried.contains(&Some(column))) {
                let name = &table.fields[column].name;
                faults.push(format!(
                    "the rule asks for {name} of a row of {} before its change, and the history does not carry it",
                    table.name
                ));
            }
            fields.push(carried);
        }
        if faults.is_empty() {
            return Ok(Carried { fields, source_key });
        }
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        Err(format!(
            "the rows of {} cannot be compared with the history that this rule writes: {}. Leave such columns out of the \
             rule's settings where it has any for them, or read the source into a new history",
            names.join(", "),
            faults.join("; ")
        ))
    }

    /// The value of a source row that a history column would carry; absent where the rule makes it.
    fn value<'r>(&self, table: u32, row: Row<'r>, column: usize) -> Value<'r> {
        self.fields[table as usize][column].map_or(Value::Absent, |field| row.get(field))
    }

    /// The rows with the greatest start, by their encoded source key.
    fn latest(&self, rows: &Rows, history: &HistorySchema) -> FxHashMap<Vec<u8>, usize> {
        let mut latest = FxHashMap::default();
        for (number, row) in rows.iter().enumerate() {
            let place = latest.entry(encoded(self.source_key.iter().map(|&column| row.get(column)))).or_insert(number);
            if start(row, history) > start(rows.row(*place), history) {
                *place = number;
            }
        }
        latest
    }

    /// Appends the image that a history row is of; what it does not carry is absent.
    fn push(&self, row: Row<'_>, table: u32, batch: &mut Batch) -> u32 {
        let carried = &self.fields[table as usize];
        let column_of = |field: usize| carried.iter().position(|&carried| carried == Some(field));
        let n_fields = batch.tables[table as usize].fields.len();
        let values = (0..n_fields).map(|field| column_of(field).map_or(Value::Absent, |column| row.get(column)));
        batch.images[table as usize].push_row(values) as u32
    }
}

/// Dates and datetimes alike.
fn start(row: Row<'_>, history: &HistorySchema) -> Option<i64> {
    match row.get(history.roles.start) {
        Value::Int(start) => Some(start),
        _ => None,
    }
}

/// What has no value equals nothing that is stored.
fn encoded<'v>(values: impl Iterator<Item = Value<'v>>) -> Vec<u8> {
    let mut key = Vec::new();
    values.map(|value| if value.is_known() { value } else { Value::Null }).for_each(|value| value.encode(&mut key));
    key
}
