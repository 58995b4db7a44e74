//! A history that is only looked at, with what would be written to it on top, in memory: for a dry run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::memory::{Met, Owned, is_current, key, meet, page, part};
use super::sqlite::{Known, Snapshot};
use super::{Sink, SinkError};
use crate::dead_letter::Quarantine;
use crate::history::{EntityRows, HistorySchema, Load, Scope, SnapshotStep, Standing};
use crate::rows::{Row, Rows};

/// Commits go to memory and nowhere else.
pub struct Overlay {
    /// None where there is no history yet.
    base: Option<Snapshot>,
    /// Whether what the base holds of the history, and of what was met, is gone.
    hides: Hides,
    history: Option<HistorySchema>,
    /// By primary key: the whole row, or none where it was deleted.
    written: BTreeMap<Vec<Owned>, Option<Vec<Owned>>>,
    met: Met,
    quarantine: Arc<Quarantine>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hides {
    Nothing,
    Met,
    RowsAndMet,
}

impl Overlay {
    pub fn over(base: Option<Snapshot>) -> Self {
        let (written, met) = (BTreeMap::new(), BTreeSet::new());
        let quarantine = base.as_ref().map(|base| base.quarantine.clone()).unwrap_or_default();
        Overlay { base, hides: Hides::Nothing, history: None, written, met, quarantine }
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

    async fn quarantined(&mut self) -> Result<Arc<Quarantine>, SinkError> {
        Ok(self.quarantine.clone())
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        let history = self.history.as_ref().expect("prepare comes first");
        let mut entities: BTreeMap<Vec<Owned>, BTreeMap<Vec<Owned>, Vec<Owned>>> = BTreeMap::new();
        let order: Vec<Vec<Owned>> = keys.iter().map(|key| key.values().map(Owned::from).collect()).collect();
        for entity in &order {
            entities.insert(entity.clone(), BTreeMap::new());
        }
        if let Some(base) = self.base.as_ref().filter(|_| self.hides != Hides::RowsAndMet) {
            let rows = base.entity_rows(keys, scope)?.rows;
            for row in rows.iter().filter(|row| !self.written.contains_key(&key(*row, &history.primary_key))) {
                if let Some(entity) = entities.get_mut(&key(row, &history.roles.entity_key)) {
                    entity.insert(key(row, &history.primary_key), row.values().map(Owned::from).collect());
                }
            }
        }
        for (primary_key, row) in self.written.iter().filter_map(|(key, row)| Some((key, row.as_ref()?))) {
            let entity = part(row, &history.roles.entity_key);
            let shown = scope == Scope::AllRows || is_current(row, history);
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

    async fn unmet(&mut self, after: Option<Row<'_>>, n_wanted: usize) -> Result<Rows, SinkError> {
        let history = self.history.as_ref().expect("prepare comes first");
        let source_key = history.source_key();
        let mut unmet: BTreeMap<Vec<Owned>, Vec<Owned>> = BTreeMap::new();
        let base = self.base.as_ref().filter(|_| self.hides != Hides::RowsAndMet);
        let known = if self.hides == Hides::Nothing { Known::Counts } else { Known::IsForgotten };
        if let Some(base) = base {
            // All of them: a dry run ends soon, and needs no second way to page.
            for row in base.current(known)?.iter() {
                unmet.insert(key(row, &history.primary_key), row.values().map(Owned::from).collect());
            }
        }
        for (primary_key, row) in &self.written {
            unmet.remove(primary_key);
            let Some(row) = row.as_ref().filter(|row| is_current(row, history)) else { continue };
            let counted = base.filter(|_| known == Known::Counts);
            let source_key = || source_key.iter().map(|&column| row[column].value());
            if !counted.map_or(Ok(false), |base| base.is_met(source_key()))? {
                unmet.insert(primary_key.clone(), row.clone());
            }
        }
        unmet.retain(|_, row| !self.met.contains(&part(row, &source_key)));
        Ok(page(history, unmet.values(), after, n_wanted))
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        if let Some(step) = &load.snapshot {
            meet(&mut self.met, step);
            match step {
                SnapshotStep::Met(_) => {}
                SnapshotStep::Ends => self.hides = self.hides.max(Hides::Met),
                SnapshotStep::Anew => {
                    self.hides = Hides::RowsAndMet;
                    self.written.clear();
                    self.quarantine = Arc::default();
                }
            }
        }
        if !load.dead_letters.is_empty() {
            Arc::make_mut(&mut self.quarantine).extend(&load.dead_letters);
        }
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
