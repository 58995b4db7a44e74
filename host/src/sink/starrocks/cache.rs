//! A lane's entities as its last loads left them: nobody else writes them, so they need not be read again for each batch.
//!
//! It is dropped wherever that is in doubt: a new lane begins without one, and a load that was not plainly done ends one.

use rustc_hash::FxHashMap;

use super::columns::ColumnType;
use super::rows::TableColumn;
use crate::event::Logical;
use crate::history::{EntityRows, HistorySchema, Scope};
use crate::rows::{Row, Rows, Value};
use crate::sink::Owned;

/// Entities with their rows, the ones that were not used for long forgotten.
pub struct Cache {
    /// What was used since the last turn, and what was used in the one before.
    young: Generation,
    old: Generation,
    scope: Scope,
    bytes_max: usize,
}

#[derive(Default)]
struct Generation {
    /// Of all entities; also rows that are no entity's any more.
    rows: Rows,
    /// By the entity key's encoding.
    entities: FxHashMap<Vec<u8>, Vec<u32>>,
}

impl Generation {
    fn bytes(&self) -> usize {
        // A key with its list, about.
        self.rows.size_bytes() + self.entities.len() * 96
    }
}

/// What of a batch's entities is known.
pub struct Known {
    /// By entity, whether it is.
    is_known: Vec<bool>,
    /// The keys of those that are not.
    pub missing: Rows,
}

impl Cache {
    /// `bytes_max`: about what it may hold in memory.
    pub fn new(bytes_max: usize) -> Self {
        let (young, old) = (Generation::default(), Generation::default());
        Cache { young, old, scope: Scope::CurrentRows, bytes_max }
    }

    pub fn clear(&mut self) {
        (self.young, self.old) = (Generation::default(), Generation::default());
    }

    /// Which of these entities are known with their rows of this scope.
    pub fn look(&mut self, history: &HistorySchema, keys: &Rows, scope: Scope) -> Known {
        if scope != self.scope {
            self.clear();
            self.scope = scope;
        }
        if self.young.bytes() > self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        let (mut is_known, mut missing) = (Vec::with_capacity(keys.len()), Rows::new(keys.width()));
        for key in keys.iter() {
            let known = self.promote(history, encoded(key.values()));
            if !known {
                missing.push_row(key.values());
            }
            is_known.push(known);
        }
        Known { is_known, missing }
    }

    /// Brings an entity into the younger generation; false where neither has it.
    fn promote(&mut self, history: &HistorySchema, key: Vec<u8>) -> bool {
        if self.young.entities.contains_key(&key) {
            return true;
        }
        let Some(rows) = self.old.entities.remove(&key) else { return false };
        let old = std::mem::take(&mut self.old.rows);
        self.put(history, key, rows.iter().map(|&row| old.row(row as usize)));
        self.old.rows = old;
        true
    }

    fn put<'r>(&mut self, history: &HistorySchema, key: Vec<u8>, rows: impl Iterator<Item = Row<'r>>) {
        if self.young.entities.is_empty() {
            self.young.rows = Rows::new(history.columns.len());
        }
        let numbers = rows.map(|row| self.young.rows.push_row(row.values()) as u32).collect();
        self.young.entities.insert(key, numbers);
    }

    /// All entities' rows, of which `found` are those that were not known; and knows them.
    pub fn complete(&mut self, history: &HistorySchema, keys: &Rows, known: &Known, found: &EntityRows) -> EntityRows {
        let mut all = EntityRows { offsets: vec![0], rows: Rows::new(history.columns.len()) };
        let mut next = 0;
        for (key, is_known) in keys.iter().zip(&known.is_known) {
            let key = encoded(key.values());
            if !is_known {
                let range = found.offsets[next] as usize..found.offsets[next + 1] as usize;
                self.put(history, key.clone(), range.map(|row| found.rows.row(row)));
                next += 1;
            }
            for &row in &self.young.entities[&key] {
                all.rows.push_row(self.young.rows.row(row as usize).values());
            }
            all.offsets.push(all.rows.len() as u32);
        }
        all
    }

    /// A load is there: first its deletes, then its upserts.
    pub fn apply(&mut self, history: &HistorySchema, upserts: &Rows, deletes: &Rows) {
        // Where in a primary key the entity's columns are.
        let place =
            |column: &usize| history.primary_key.iter().position(|key| key == column).expect("the plan was checked");
        let in_key: Vec<usize> = history.roles.entity_key.iter().map(place).collect();
        for key in deletes.iter() {
            let entity = encoded(in_key.iter().map(|&place| key.get(place)));
            self.remove(history, &entity, &key.values().collect::<Vec<_>>());
        }
        for row in upserts.iter() {
            let entity = encoded(history.roles.entity_key.iter().map(|&column| row.get(column)));
            let key: Vec<Value<'_>> = history.primary_key.iter().map(|&column| row.get(column)).collect();
            self.remove(history, &entity, &key);
            let shown = self.scope == Scope::AllRows || is_current(history, row);
            if let Some(rows) = self.young.entities.get_mut(&entity).filter(|_| shown) {
                rows.push(self.young.rows.push_row(row.values()) as u32);
                // As a server gives them.
                let all = &self.young.rows;
                let value = |row: u32, column: usize| Owned::from(all.row(row as usize).get(column));
                if rows.len() > 1 {
                    rows.sort_by_cached_key(|&row| -> Vec<Owned> {
                        history.primary_key.iter().map(|&column| value(row, column)).collect()
                    });
                }
            }
        }
    }

    fn remove(&mut self, history: &HistorySchema, entity: &[u8], key: &[Value<'_>]) {
        let Some(rows) = self.young.entities.get_mut(entity) else { return };
        let all = &self.young.rows;
        let is_it = |row: u32| {
            let row = all.row(row as usize);
            history.primary_key.iter().zip(key).all(|(&column, value)| row.get(column) == *value)
        };
        rows.retain(|&row| !is_it(row));
    }
}

/// Whether every value comes back from these columns as it was written.
pub fn comes_back(history: &HistorySchema, table: &[TableColumn]) -> bool {
    history.columns.iter().zip(table).all(|(column, there)| match column.field.logical {
        // In fewer bits, or in another order of its keys.
        Logical::Float64 | Logical::Json => false,
        // With as many digits as the column has.
        Logical::Decimal => ColumnType::of(&column.field) == Ok(there.holds),
        _ => true,
    })
}

fn is_current(history: &HistorySchema, row: Row<'_>) -> bool {
    match history.roles.current {
        Some(current) => row.get(current) == Value::Int(1),
        None => row.get(history.roles.end) == Value::Null,
    }
}

fn encoded<'v>(values: impl Iterator<Item = Value<'v>>) -> Vec<u8> {
    let mut key = Vec::new();
    values.for_each(|value| value.encode(&mut key));
    key
}
