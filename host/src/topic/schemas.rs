//! Schemas of the side topic, by their hash.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;

use super::client::{Isolation, Onlooker, Told, TopicSettings, ends};
use super::document::{BY_PRIMARY_KEY, CHECKPOINT_KEY, Checkpoint, SCHEMA_KEY};
use super::{TopicError, tail};
use crate::envelope::read::schema;
use crate::event::{EntityKey, TableSchema};

/// Looked up once each; shared by all who read the topic in this process.
pub(super) struct Schemas {
    settings: TopicSettings,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By their hashes.
    documents: HashMap<String, Vec<u8>>,
    /// By what the topic's messages are keyed; not looked up for a topic of one partition, where all are in order.
    key: Option<String>,
}

/// How a topic's messages are in order, where it has several partitions.
pub(super) struct Order {
    /// By which columns entities are told.
    pub entity_key: EntityKey,
    pub partitions: u32,
}

impl Schemas {
    pub fn new(settings: &TopicSettings) -> Self {
        Schemas { settings: settings.clone(), known: Mutex::default() }
    }

    /// The document of a schema. Blocks.
    ///
    /// # Errors
    /// The side topic cannot be read, or does not hold it. [`TopicError::Usage`]: the topic is keyed by something else than this
    /// table's entities, so that changes of one lie in several partitions.
    pub fn document(&self, hash: &str, order: &Order) -> Result<Vec<u8>, TopicError> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(document) = known.documents.get(hash) {
            return Ok(document.clone());
        }
        let Schemas { settings, .. } = self;
        let consumer: Onlooker<BaseConsumer<Told>> =
            Onlooker::new(settings.create(&settings.reader(Isolation::Committed))?);
        let document = self.last(&consumer, &format!("{SCHEMA_KEY}{hash}"))?.ok_or_else(|| {
            TopicError::Stop(format!(
                "topic {} at {} does not hold the schema {hash} that a message of {} names: was it emptied, or made anew? The \
                 capture half writes it again when it is started again",
                settings.side(),
                settings.address(),
                settings.name
            ))
        })?;
        if known.key.is_none()
            && order.partitions > 1
            && let Some(checkpoint) = self.last(&consumer, CHECKPOINT_KEY)?
        {
            // Before the first message of all it is none.
            let Checkpoint { key, .. } = Checkpoint::from_json(&checkpoint, &settings.side())?;
            known.key = Some(key).filter(|key| !key.is_empty());
        }
        // A document that cannot be read is told by who reads it.
        if let (Some(key), Ok((table, _))) = (&known.key, schema::read(&document)) {
            self.check_order(key, &table, order)?;
        }
        known.documents.insert(hash.to_owned(), document.clone());
        Ok(document)
    }

    /// Refuses a rule whose entities' changes lie in several partitions.
    fn check_order(&self, key: &str, table: &Arc<TableSchema>, order: &Order) -> Result<(), TopicError> {
        let columns = (order.entity_key)(std::slice::from_ref(table)).map_err(TopicError::Usage)?;
        let names = |columns: &[usize]| {
            columns.iter().map(|&column| table.fields[column].name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let entity_key = columns.first().map(Vec::as_slice).unwrap_or_default();
        let is_ordered = match key {
            BY_PRIMARY_KEY => entity_key == table.primary_key,
            key => names(entity_key) == key,
        };
        if is_ordered {
            return Ok(());
        }
        Err(TopicError::Usage(format!(
            "topic {} has {} partitions and is keyed by {key}, and the rule tells entities of {} by ({}): the changes of one entity lie \
             in several partitions, in no order, and no sorting brings that back. Configure the rule that the topic was made for, or \
             capture into another topic for this one",
            self.settings.name,
            order.partitions,
            table.name,
            names(entity_key)
        )))
    }

    /// The last record of the side topic under a key.
    fn last(&self, consumer: &BaseConsumer<Told>, key: &str) -> Result<Option<Vec<u8>>, TopicError> {
        let Schemas { settings, .. } = self;
        let side = settings.side();
        let of_side = ends(consumer, &side, 0).map_err(|error| {
            settings.unreached(&format!("topic {side} could not be looked at"), &error, consumer.context())
        })?;
        let wanted = |message: &BorrowedMessage<'_>| {
            let is_it = message.key() == Some(key.as_bytes());
            is_it.then(|| message.payload().map(<[u8]>::to_vec)).flatten()
        };
        tail::last(settings, consumer, (&side, 0), of_side, wanted)
    }
}
