//! Changes that were set aside: what a dead letter holds, and which entities wait for theirs.
//!
//! A change that is decided after its successors makes another history. So an entity with a dead letter is in quarantine:
//! its later changes follow it there, in order, until the whole chain is replayed or dropped.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use crate::envelope::read::schema;
use crate::envelope::{Decimals, Envelope, Forms, Times};
use crate::event::{Batch, Change, Op, TableSchema};
use crate::groups::Moved;

/// A change that is not in the history.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// As messages name it: `7`, or `1, "eu"`. None: the change has none, and nothing can follow it.
    pub entity: Option<String>,
    /// The history's columns that the entity is told by: `owner_id`.
    pub entity_key: Arc<str>,
    /// Whether the entity's later changes follow it; not where rejects are passed over.
    pub quarantines: bool,
    pub cause: Cause,
    /// A sentence.
    pub reason: String,
    pub op: Op,
    /// Which entity of a move it is for; the other one's side stands.
    pub moved: Moved,
    /// `binlog.000003:4711 (gtid 3e11…:5)`
    pub place: String,
    /// The digest of the rule version that was active.
    pub rule: String,
    pub schema: Arc<Schema>,
    /// The whole change as Debezium's envelope, in the forms that the schema's document names.
    pub event: String,
}

/// Why a change is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The rule rejects it.
    Rejected,
    /// The rule trapped on it, took too long or too much, answered with an error or broke the contract.
    Failed,
    /// Its entity key is NULL on a side, or on any.
    NoEntity,
    /// Its entity is in quarantine.
    Follows,
}

impl Cause {
    pub const ALL: [Cause; 4] = [Cause::Rejected, Cause::Failed, Cause::NoEntity, Cause::Follows];

    pub fn name(self) -> &'static str {
        match self {
            Cause::Rejected => "rejected",
            Cause::Failed => "failed",
            Cause::NoEntity => "no-entity",
            Cause::Follows => "follows",
        }
    }

    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.name() == name)
    }
}

/// A table's schema as [`schema::document`] writes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    pub hash: String,
    pub document: String,
}

/// The entities that have a dead letter.
#[derive(Clone, Debug, Default)]
pub struct Quarantine {
    /// The history's columns that they are told by; as in [`DeadLetter::entity_key`].
    pub entity_key: Arc<str>,
    entities: FxHashSet<String>,
}

impl Quarantine {
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entities.len()
    }

    pub fn holds(&self, entity: &str) -> bool {
        self.entities.contains(entity)
    }

    pub fn insert(&mut self, entity: &str, entity_key: &Arc<str>) {
        self.entity_key = entity_key.clone();
        self.entities.insert(entity.to_owned());
    }

    /// Takes in what these letters begin.
    pub fn extend(&mut self, letters: &[DeadLetter]) {
        for letter in letters.iter().filter(|letter| letter.quarantines) {
            if let Some(entity) = &letter.entity {
                self.insert(entity, &letter.entity_key);
            }
        }
    }

    /// Why a rule that tells entities by other columns cannot go on beside this.
    pub fn refusal(&self, entity_key: &str) -> Option<String> {
        (!self.is_empty() && *self.entity_key != *entity_key).then(|| {
            format!(
                "{} entities by ({}) are in quarantine, and this rule tells entities by ({entity_key}): their later changes could not \
                 follow them. Replay or drop them first: `hindsight dead-letters list`",
                self.len(),
                self.entity_key
            )
        })
    }
}

/// How changes are written: without loss, and readable.
const FORMS: Forms = Forms { decimals: Decimals::String, times: Times::Iso };

/// Writes changes as dead letters hold them.
pub struct Writer {
    envelope: Envelope,
    schemas: Vec<(Arc<TableSchema>, Arc<Schema>)>,
}

impl Writer {
    /// `pipeline`: its name; `zone`: whose wall clock the batches show.
    pub fn new(pipeline: &str, zone: crate::civil::Zone) -> Self {
        Writer { envelope: Envelope::new(pipeline, zone, FORMS), schemas: Vec::new() }
    }

    /// The change's envelope, and the schema it is read by.
    ///
    /// # Errors
    /// A value is absent or not decoded; the text names it, its place and what to do.
    pub fn write(&mut self, batch: &Batch, change: &Change) -> Result<(String, Arc<Schema>), String> {
        let event = self.envelope.value(batch, change)?;
        let event = String::from_utf8(event.to_vec()).expect("JSON is UTF-8");
        let table = &batch.tables[change.table as usize];
        if let Some((_, schema)) = self.schemas.iter().find(|(known, _)| known == table) {
            return Ok((event, schema.clone()));
        }
        let (hash, document) = schema::document(table, FORMS);
        let schema = Arc::new(Schema { hash, document });
        self.schemas.push((table.clone(), schema.clone()));
        Ok((event, schema))
    }
}
