//! A history that is only looked at, with what would be written to it on top, in memory: for a dry run.

use std::collections::BTreeMap;

use super::memory::{Owned, key};
use super::sqlite::Snapshot;
use super::{Sink, SinkError};
use crate::history::{EntityRows, HistorySchema, Load, Scope, Standing};
use crate::rows::Rows;

/// Commits go to memory and nowhere else.
pub struct Overlay {
    /// None where there is no history yet.
    base: Option<Snapshot>,
    history: Option<HistorySchema>,
    /// By primary key: the whole row, or none where it was deleted.
    written: BTreeMap<Vec<Owned>, Option<Vec<Owned>>>,
}

impl Overlay {
    pub fn over(base: Option<Snapshot>) -> Self {
        Overlay { base, history: None, written: BTreeMap::new() }
    }
}

#[async_trait::async_trait]
impl Sink for Overlay {
    async fn checkpoint(&mut self) -> Result<Standing, SinkError> {
        Ok(self.base.as_ref().map(|base| base.standing.clone()).unwrap_or_default())
    }

    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        self.history = Some(history.clone());
        self.base.as_mut().map_or(Ok(()), |base| base.prepare(history))
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        let history = self.history.as_ref().expect("prepare comes first");
        let mut entities: BTreeMap<Vec<Owned>, BTreeMap<Vec<Owned>, Vec<Owned>>> = BTreeMap::new();
        let order: Vec<Vec<Owned>> = keys.iter().map(|key| key.values().map(Owned::from).collect()).collect();
        for entity in &order {
            entities.insert(entity.clone(), BTreeMap::new());
        }
        if let Some(base) = &self.base {
            let rows = base.entity_rows(keys, scope)?.rows;
            for row in rows.iter().filter(|row| !self.written.contains_key(&key(*row, &history.primary_key))) {
                if let Some(entity) = entities.get_mut(&key(row, &history.roles.entity_key)) {
                    entity.insert(key(row, &history.primary_key), row.values().map(Owned::from).collect());
                }
            }
        }
        for (primary_key, row) in self.written.iter().filter_map(|(key, row)| Some((key, row.as_ref()?))) {
            let entity: Vec<Owned> = history.roles.entity_key.iter().map(|&column| row[column].clone()).collect();
            let shown = match (scope, history.roles.current) {
                (Scope::CurrentRows, Some(current)) => row[current] == Owned::Int(1),
                _ => true,
            };
            if let Some(entity) = entities.get_mut(&entity).filter(|_| shown) {
                entity.insert(primary_key.clone(), row.clone());
            }
        }
        let mut result = EntityRows { offsets: vec![0], rows: Rows::new(history.columns.len()) };
        for entity in order {
            for row in entities[&entity].values() {
                result.rows.push_row(row.iter().map(Owned::value));
            }
            result.offsets.push(result.rows.len() as u32);
        }
        Ok(result)
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        for row in load.deletes.iter() {
            self.written.insert(row.values().map(Owned::from).collect(), None);
        }
        for row in load.upserts.iter() {
            let history = self.history.as_ref().expect("prepare comes before rows");
            self.written.insert(key(row, &history.primary_key), Some(row.values().map(Owned::from).collect()));
        }
        Ok(())
    }
}
