//! The topic as what captured batches are appended to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::document::BY_PRIMARY_KEY;
use super::writer::Writer;
use super::{TopicError, TopicSettings};
use crate::capture::{EventLog, LogError};
use crate::civil::Zone;
use crate::envelope::read::schema;
use crate::envelope::{Envelope, Event, Forms, KeyedBy, Unwritten, Written};
use crate::event::{Batch, Op, Position, Snapshot, TableSchema};
use crate::failure::Failure;
use crate::rule::Plan;

/// Events of batches, into a topic.
pub struct TopicLog {
    envelope: Envelope,
    key: KeyedBy,
    forms: Forms,
    writer: Writer,
    /// The tables of the last batch, each with its schema's hash.
    schemas: Vec<(Arc<TableSchema>, String)>,
    /// Hashes of those that this writer has sent.
    sent: BTreeSet<String>,
    /// Behind what was appended last.
    position: Option<Position>,
    has_begun: bool,
    /// Changes were appended: what is wrong before the first one is wrong outside.
    has_changes: bool,
}

impl TopicLog {
    /// `zone`: whose wall clock the batches show. For the rest see [`Writer::open`].
    ///
    /// # Errors
    /// Broker, topics or checkpoint do not serve.
    pub async fn open(settings: &TopicSettings, source: &str, zone: Zone) -> Result<Self, LogError> {
        let writer = Writer::open(settings, source).await.map_err(|error| log_error(error, false))?;
        let mut envelope = Envelope::new(&settings.pipeline, zone, settings.forms).keyed_by(settings.key);
        if settings.schemas {
            envelope = envelope.with_schemas(&settings.name);
        }
        let key = settings.key;
        let (forms, schemas, sent) = (settings.forms, Vec::new(), BTreeSet::new());
        Ok(TopicLog {
            envelope,
            key,
            forms,
            writer,
            schemas,
            sent,
            position: None,
            has_begun: false,
            has_changes: false,
        })
    }

    /// Where the source goes on; none before the first commit of all.
    pub fn start(&self) -> Option<Position> {
        self.writer.position()
    }
}

impl EventLog for TopicLog {
    fn append(&mut self, batch: &Batch, plan: Option<&Plan>, position: &Position) -> Result<Written, LogError> {
        if batch.snapshot == Some(Snapshot::Anew) {
            self.take_back()?;
        }
        let begun = self.has_changes;
        let failed = |error| log_error(error, begun);
        if let Some(plan) = plan {
            self.orders_entities(batch, plan).map_err(failed)?;
            self.writer.keyed_by(&self.key_of(batch, plan)).map_err(failed)?;
        }
        self.writer.begin().map_err(failed)?;
        self.meet(&batch.tables).map_err(failed)?;
        let TopicLog { envelope, key, writer, schemas, .. } = self;
        let has_tombstones = *key == KeyedBy::PrimaryKey { tombstones: true };
        let send = |event: &Event<'_>| {
            let schema = &schemas[event.table as usize].1;
            writer.send(event, schema)?;
            match (event.op, event.key) {
                (Op::Delete, Some(key)) if has_tombstones => writer.send_tombstone(key),
                _ => Ok(()),
            }
        };
        let written = envelope.events(batch, plan, send);
        let written = written.map_err(|error| match error {
            Unwritten::Value(text) => LogError::Stop(Failure::run(anyhow::anyhow!(text))),
            Unwritten::Taker(error) => failed(error),
        })?;
        self.position = Some(position.clone());
        self.has_changes |= written.events > 0;
        Ok(written)
    }

    fn is_full(&self) -> bool {
        self.writer.is_full()
    }

    fn commit(&mut self) -> Result<(), LogError> {
        let Some(position) = self.position.take() else { return Ok(()) };
        self.writer.commit(&position).map_err(|error| log_error(error, self.has_changes))?;
        self.has_begun = true;
        Ok(())
    }
}

impl TopicLog {
    /// As the checkpoint says it: the entity key's columns by their names, which are the same in every table.
    fn key_of(&self, batch: &Batch, plan: &Plan) -> String {
        if self.key != KeyedBy::Entity {
            return BY_PRIMARY_KEY.to_owned();
        }
        let first = batch.tables.iter().zip(&plan.tables).next();
        first.map_or(String::new(), |(table, planned)| names(table, &planned.entity_key))
    }

    /// Keyed by rows, an entity's changes meet in one partition only where each row is an entity, or there is one partition.
    fn orders_entities(&self, batch: &Batch, plan: &Plan) -> Result<(), TopicError> {
        let partitions = self.writer.partitions();
        let differs =
            batch.tables.iter().zip(&plan.tables).find(|(table, planned)| planned.entity_key != table.primary_key);
        match differs.filter(|_| self.key != KeyedBy::Entity && partitions > 1) {
            None => Ok(()),
            Some((table, planned)) => Err(TopicError::Usage(format!(
                "key = \"primary-key\" of [topic] with {partitions} partitions: the rule tells entities of {} by ({}), and the changes of \
                 one entity would lie in several partitions, in no order. Write key = \"entity\", or name a topic of one partition \
                 (partitions = 1)",
                table.name,
                names(table, &planned.entity_key)
            ))),
        }
    }

    /// The side topic gets each schema before the first message that names it, in the same transaction.
    fn meet(&mut self, tables: &[Arc<TableSchema>]) -> Result<(), TopicError> {
        for (number, table) in tables.iter().enumerate() {
            if self.schemas.get(number).is_some_and(|(known, _)| known == table) {
                continue;
            }
            let (hash, document) = schema::document(table, self.forms);
            if self.sent.insert(hash.clone()) {
                self.writer.send_schema(&hash, &document)?;
            }
            self.schemas.truncate(number);
            self.schemas.push((table.clone(), hash));
        }
        Ok(())
    }

    /// The snapshot begins anew: what is committed of it would come a second time.
    fn take_back(&mut self) -> Result<(), LogError> {
        if self.position.is_some() || self.has_begun {
            self.writer.abort().map_err(|error| log_error(error, true))?;
            return Err(LogError::Again("the rows of a table are read anew, which was interrupted".into()));
        }
        match self.writer.position() {
            None => Ok(()),
            Some(_) => Err(LogError::Stop(Failure::run(anyhow::anyhow!(
                "the snapshot would have to begin anew, as a table is no longer cut as it was, and a part of its rows is in the \
                 topic already. Restore the table's index and source.snapshot-mode, or name another [topic] name"
            )))),
        }
    }
}

fn names(table: &TableSchema, columns: &[usize]) -> String {
    let names: Vec<&str> = columns.iter().map(|&column| table.fields[column].name.as_str()).collect();
    names.join(", ")
}

fn log_error(error: TopicError, begun: bool) -> LogError {
    match error {
        TopicError::Again(why) => LogError::Again(why),
        error => LogError::Stop(Failure::topic(error, begun)),
    }
}
