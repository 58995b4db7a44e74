//! Schemas of the side topic, by their hash.

use std::collections::HashMap;
use std::sync::Mutex;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::BorrowedMessage;

use super::client::{Isolation, Told, TopicSettings, ends};
use super::document::SCHEMA_KEY;
use super::{TopicError, tail};

/// Looked up once each; shared by all who read the topic in this process.
pub(super) struct Schemas {
    settings: TopicSettings,
    found: Mutex<HashMap<String, Vec<u8>>>,
}

impl Schemas {
    pub fn new(settings: &TopicSettings) -> Self {
        Schemas { settings: settings.clone(), found: Mutex::default() }
    }

    /// The document of a schema. Blocks.
    ///
    /// # Errors
    /// The side topic cannot be read, or does not hold it.
    pub fn document(&self, hash: &str) -> Result<Vec<u8>, TopicError> {
        let mut found = self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(document) = found.get(hash) {
            return Ok(document.clone());
        }
        let Schemas { settings, .. } = self;
        let side = settings.side();
        let consumer: BaseConsumer<Told> = settings.create(&settings.reader(Isolation::Committed))?;
        let of_side = ends(&consumer, &side, 0).map_err(|error| {
            settings.unreached(&format!("topic {side} could not be looked at"), &error, consumer.context())
        })?;
        let key = format!("{SCHEMA_KEY}{hash}");
        let wanted = |message: &BorrowedMessage<'_>| {
            let is_it = message.key() == Some(key.as_bytes());
            is_it.then(|| message.payload().map(<[u8]>::to_vec)).flatten()
        };
        let document = tail::last(settings, &consumer, (&side, 0), of_side, wanted)?;
        let document = document.ok_or_else(|| {
            TopicError::Stop(format!(
                "topic {side} at {} does not hold the schema {hash} that a message of {} names: was it emptied, or made anew? The \
                 capture half writes it again when it is started again",
                settings.address(),
                settings.name
            ))
        })?;
        found.insert(hash.to_owned(), document.clone());
        Ok(document)
    }
}
