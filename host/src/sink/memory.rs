//! History in memory: for case files, tests and backtests.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Sink, SinkError};
use crate::dead_letter::{DeadLetter, Quarantine};
use crate::history::{EntityRows, HistorySchema, Load, Scope, SnapshotStep, Standing};
use crate::rows::{Row, Rows, Value};

/// Rows by primary key.
#[derive(Default)]
pub struct Memory {
    history: Option<HistorySchema>,
    /// By the primary key's values.
    rows: BTreeMap<Vec<Owned>, Vec<Owned>>,
    met: Met,
    standing: Standing,
    quarantine: Arc<Quarantine>,
    dead_letters: Vec<DeadLetter>,
}

/// Source keys that a re-snapshot has met.
pub(super) type Met = BTreeSet<Vec<Owned>>;

/// A value that outlives its rows. Ordered as one column's values are: of one kind, NULL first.
#[derive(Clone, Debug, PartialEq)]
pub enum Owned {
    Null,
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

impl Eq for Owned {}

impl PartialOrd for Owned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Owned {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Owned::Int(one), Owned::Int(two)) => one.cmp(two),
            (Owned::UInt(one), Owned::UInt(two)) => one.cmp(two),
            (Owned::Float(one), Owned::Float(two)) => one.total_cmp(two),
            (Owned::Text(one), Owned::Text(two)) => one.cmp(two),
            (Owned::Bytes(one), Owned::Bytes(two)) => one.cmp(two),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl Owned {
    /// NULL first; two kinds in one column do not occur, but have an order all the same.
    fn rank(&self) -> u8 {
        match self {
            Owned::Null => 0,
            Owned::Int(_) => 1,
            Owned::UInt(_) => 2,
            Owned::Float(_) => 3,
            Owned::Text(_) => 4,
            Owned::Bytes(_) => 5,
        }
    }

    pub fn value(&self) -> Value<'_> {
        match self {
            Owned::Null => Value::Null,
            Owned::Int(value) => Value::Int(*value),
            Owned::UInt(value) => Value::UInt(*value),
            Owned::Float(value) => Value::Float(*value),
            Owned::Text(text) => Value::Text(text),
            Owned::Bytes(bytes) => Value::Bytes(bytes),
        }
    }
}

impl From<Value<'_>> for Owned {
    fn from(value: Value<'_>) -> Self {
        match value {
            // A rule's output has neither: they are refused before.
            Value::Null | Value::Absent | Value::Undecoded => Owned::Null,
            Value::Int(value) => Owned::Int(value),
            Value::UInt(value) => Owned::UInt(value),
            Value::Float(value) => Owned::Float(value),
            Value::Text(text) => Owned::Text(text.to_owned()),
            Value::Bytes(bytes) => Owned::Bytes(bytes.to_owned()),
        }
    }
}

impl Memory {
    /// All of them, in the source's order.
    pub fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }

    /// Whole rows in the order of the primary key.
    pub fn rows(&self) -> Rows {
        let width = self.history.as_ref().map_or(0, |history| history.columns.len());
        let mut rows = Rows::new(width);
        for row in self.rows.values() {
            rows.push_row(row.iter().map(Owned::value));
        }
        rows
    }
}

pub(super) fn key(row: Row<'_>, columns: &[usize]) -> Vec<Owned> {
    columns.iter().map(|&column| row.get(column).into()).collect()
}

pub(super) fn part(row: &[Owned], columns: &[usize]) -> Vec<Owned> {
    columns.iter().map(|&column| row[column].clone()).collect()
}

pub(super) fn is_current(row: &[Owned], history: &HistorySchema) -> bool {
    match history.roles.current {
        Some(current) => row[current] == Owned::Int(1),
        None => row[history.roles.end] == Owned::Null,
    }
}

pub(super) fn meet(met: &mut Met, step: &SnapshotStep) {
    match step {
        SnapshotStep::Met(keys) => met.extend(keys.iter().map(|key| key.values().map(Owned::from).collect::<Vec<_>>())),
        SnapshotStep::Anew | SnapshotStep::Ends => met.clear(),
    }
}

/// A page of [`Sink::unmet`] out of all that is unmet.
pub(super) fn page<'r>(
    history: &HistorySchema,
    unmet: impl Iterator<Item = &'r Vec<Owned>>,
    after: Option<Row<'_>>,
    n_wanted: usize,
) -> Rows {
    let after: Option<Vec<Owned>> = after.map(|key| key.values().map(Owned::from).collect());
    let mut entities: BTreeMap<Vec<Owned>, Vec<&Vec<Owned>>> = BTreeMap::new();
    for row in unmet {
        entities.entry(part(row, &history.roles.entity_key)).or_default().push(row);
    }
    let mut page = Rows::new(history.columns.len());
    for (_, rows) in entities.into_iter().filter(|(entity, _)| after.as_ref().is_none_or(|after| entity > after)) {
        if page.len() >= n_wanted {
            break;
        }
        for row in rows {
            page.push_row(row.iter().map(Owned::value));
        }
    }
    page
}

#[async_trait::async_trait]
impl Sink for Memory {
    async fn checkpoint(&mut self) -> Result<Standing, SinkError> {
        Ok(self.standing.clone())
    }

    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        match &self.history {
            Some(known) if known.columns != history.columns || known.primary_key != history.primary_key => {
                Err(SinkError::OtherTable("the history in memory has other columns".into()))
            }
            _ => {
                self.history = Some(history.clone());
                Ok(())
            }
        }
    }

    async fn quarantined(&mut self) -> Result<Arc<Quarantine>, SinkError> {
        Ok(self.quarantine.clone())
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        let history = self.history.as_ref().expect("prepare comes first");
        let wanted: BTreeMap<Vec<Owned>, usize> =
            keys.iter().enumerate().map(|(entity, key)| (key.values().map(Owned::from).collect(), entity)).collect();
        let mut found = vec![Vec::new(); keys.len()];
        for row in self.rows.values() {
            let entity = part(row, &history.roles.entity_key);
            let shown = scope == Scope::AllRows || is_current(row, history);
            if let Some(&entity) = wanted.get(&entity).filter(|_| shown) {
                found[entity].push(row);
            }
        }
        let mut result = EntityRows { offsets: vec![0], rows: Rows::new(history.columns.len()) };
        for rows in found {
            for row in rows {
                result.rows.push_row(row.iter().map(Owned::value));
            }
            result.offsets.push(result.rows.len() as u32);
        }
        Ok(result)
    }

    async fn unmet(&mut self, after: Option<Row<'_>>, n_wanted: usize) -> Result<Rows, SinkError> {
        let history = self.history.as_ref().expect("prepare comes first");
        let source_key = history.source_key();
        let is_unmet = |row: &&Vec<Owned>| is_current(row, history) && !self.met.contains(&part(row, &source_key));
        Ok(page(history, self.rows.values().filter(is_unmet), after, n_wanted))
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        if let Some(step) = &load.snapshot {
            meet(&mut self.met, step);
            if matches!(step, SnapshotStep::Anew) {
                self.rows.clear();
                self.dead_letters.clear();
                self.quarantine = Arc::default();
            }
        }
        if !load.dead_letters.is_empty() {
            Arc::make_mut(&mut self.quarantine).extend(&load.dead_letters);
            self.dead_letters.extend_from_slice(&load.dead_letters);
        }
        for row in load.deletes.iter() {
            self.rows.remove(&row.values().map(Owned::from).collect::<Vec<_>>());
        }
        for row in load.upserts.iter() {
            let history = self.history.as_ref().expect("prepare comes before rows");
            self.rows.insert(key(row, &history.primary_key), row.values().map(Owned::from).collect());
        }
        self.standing.checkpoint = Some(load.checkpoint.clone());
        load.turns.iter().for_each(|turn| self.standing.ledger.turn(turn));
        Ok(())
    }
}
