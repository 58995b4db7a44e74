//! History in memory: for case files, tests and backtests.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Sink, SinkError};
use crate::dead_letter::{DeadLetter, Quarantine};
use crate::history::{EntityRows, HistorySchema, Load, Scope, SnapshotStep, Standing};
use crate::rows::{Row, Rows, Value};

/// Rows by primary key, each entity's together.
#[derive(Default)]
pub struct Memory {
    history: Option<HistorySchema>,
    /// By the entity key's values, whose columns the primary key always has.
    entities: FxHashMap<Vec<Owned>, EntityOfRows>,
    met: Met,
    standing: Standing,
    quarantine: Arc<Quarantine>,
    dead_letters: Vec<DeadLetter>,
}

/// Whole rows by the primary key's values.
type EntityOfRows = BTreeMap<Vec<Owned>, Vec<Owned>>;

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

impl Hash for Owned {
    /// Equal values alone have to hash alike: the two zeros of a float do.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Owned::Null => {}
            Owned::Int(value) => value.hash(state),
            Owned::UInt(value) => value.hash(state),
            Owned::Float(value) => (value + 0.0).to_bits().hash(state),
            Owned::Text(text) => text.hash(state),
            Owned::Bytes(bytes) => bytes.hash(state),
        }
    }
}

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
        let sorted: BTreeMap<_, _> = self.entities.values().flatten().collect();
        for row in sorted.into_values() {
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
            known => {
                if known.as_ref().is_some_and(|known| known.roles.entity_key != history.roles.entity_key) {
                    for (key, row) in std::mem::take(&mut self.entities).into_values().flatten() {
                        self.entities.entry(part(&row, &history.roles.entity_key)).or_default().insert(key, row);
                    }
                }
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
        let mut result = EntityRows { offsets: vec![0], rows: Rows::new(history.columns.len()) };
        for key in keys.iter() {
            let key: Vec<Owned> = key.values().map(Owned::from).collect();
            for row in self.entities.get(&key).into_iter().flat_map(BTreeMap::values) {
                if scope == Scope::AllRows || is_current(row, history) {
                    result.rows.push_row(row.iter().map(Owned::value));
                }
            }
            result.offsets.push(result.rows.len() as u32);
        }
        Ok(result)
    }

    async fn unmet(&mut self, after: Option<Row<'_>>, n_wanted: usize) -> Result<Rows, SinkError> {
        let history = self.history.as_ref().expect("prepare comes first");
        let source_key = history.source_key();
        let is_unmet = |row: &&Vec<Owned>| is_current(row, history) && !self.met.contains(&part(row, &source_key));
        Ok(page(history, self.entities.values().flat_map(BTreeMap::values).filter(is_unmet), after, n_wanted))
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        if let Some(step) = &load.snapshot {
            meet(&mut self.met, step);
            if matches!(step, SnapshotStep::Anew) {
                self.entities.clear();
                self.dead_letters.clear();
                self.quarantine = Arc::default();
            }
        }
        if !load.dead_letters.is_empty() {
            Arc::make_mut(&mut self.quarantine).extend(&load.dead_letters);
            self.dead_letters.extend_from_slice(&load.dead_letters);
        }
        if let Some(history) = &self.history {
            // Where in a delete, which is a primary key, the entity's columns are.
            let place =
                |column| history.primary_key.iter().position(|&key| key == column).expect("the plan was checked");
            let entity_key: Vec<usize> = history.roles.entity_key.iter().copied().map(place).collect();
            for row in load.deletes.iter() {
                if let Some(entity) = self.entities.get_mut(&key(row, &entity_key)) {
                    entity.remove(&row.values().map(Owned::from).collect::<Vec<_>>());
                }
            }
            for row in load.upserts.iter() {
                let entity = self.entities.entry(key(row, &history.roles.entity_key)).or_default();
                entity.insert(key(row, &history.primary_key), row.values().map(Owned::from).collect());
            }
        } else {
            assert!(load.upserts.is_empty() && load.deletes.is_empty(), "prepare comes before rows");
        }
        self.standing.checkpoint = Some(load.checkpoint.clone());
        load.turns.iter().for_each(|turn| self.standing.ledger.turn(turn));
        Ok(())
    }
}
