//! A sink that keeps nothing but the rows that are current, by which the rule decides; the pipeline counts what is written.

use std::collections::HashMap;
use std::sync::Arc;

use hindsight::dead_letter::Quarantine;
use hindsight::history::{EntityRows, HistorySchema, Load, Scope, Standing};
use hindsight::rows::{Row, Rows, Value};
use hindsight::sink::{Sink, SinkError};

#[derive(Default)]
pub struct Counting {
    history: Option<HistorySchema>,
    /// By the entity key's encoding.
    entities: HashMap<Vec<u8>, Rows>,
    /// The key in hand.
    key: Vec<u8>,
    standing: Standing,
}

fn encode<'v>(key: &mut Vec<u8>, values: impl Iterator<Item = Value<'v>>) {
    key.clear();
    values.for_each(|value| value.encode(key));
}

#[async_trait::async_trait]
impl Sink for Counting {
    async fn checkpoint(&mut self) -> Result<Standing, SinkError> {
        Ok(self.standing.clone())
    }

    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        self.history = Some(history.clone());
        Ok(())
    }

    async fn quarantined(&mut self) -> Result<Arc<Quarantine>, SinkError> {
        Ok(Arc::default())
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        let history = self.history.as_ref().expect("prepare comes first");
        assert_eq!(scope, Scope::CurrentRows, "others are not kept");
        let mut found = EntityRows { offsets: vec![0], rows: Rows::new(history.columns.len()) };
        for key in keys.iter() {
            encode(&mut self.key, key.values());
            for row in self.entities.get(&self.key).into_iter().flat_map(Rows::iter) {
                found.rows.push_row(row.values());
            }
            found.offsets.push(found.rows.len() as u32);
        }
        Ok(found)
    }

    async fn unmet(&mut self, _: Option<Row<'_>>, _: usize) -> Result<Rows, SinkError> {
        unreachable!("nothing is read again")
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        assert!(load.deletes.is_empty() && load.dead_letters.is_empty(), "the rule closes rows, and rejects none");
        let Counting { history, entities, key, .. } = self;
        let history = history.as_ref().expect("prepare comes first");
        let current = history.roles.current.expect("the rule has a current flag");
        for row in load.upserts.iter() {
            encode(key, history.roles.entity_key.iter().map(|&column| row.get(column)));
            let is_same = |other: &Row<'_>| history.primary_key.iter().all(|&at| other.get(at) == row.get(at));
            let mut rows = Rows::new(history.columns.len());
            for other in entities.get(key).into_iter().flat_map(Rows::iter).filter(|other| !is_same(other)) {
                rows.push_row(other.values());
            }
            if row.get(current) == Value::Int(1) {
                rows.push_row(row.values());
            }
            match entities.get_mut(key) {
                Some(kept) => *kept = rows,
                None => drop(entities.insert(key.clone(), rows)),
            }
        }
        self.standing.checkpoint = Some(load.checkpoint.clone());
        Ok(())
    }
}
