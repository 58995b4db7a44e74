//! Batches into the topic: a transaction of some batches' messages and the checkpoint behind the last of them.

use std::fmt::Write as _;

use rdkafka::message::{Header, OwnedHeaders};

use super::client::TopicSettings;
use super::document::{CHECKPOINT_KEY, Checkpoint, SCHEMA_KEY};
use super::partition::partition_of;
use super::producer::{Message, Transactions};
use super::sequence::{MOVE_HEADER, SCHEMA_HEADER, SEQUENCE_HEADER, Sequence};
use super::{TopicError, admin, continuity};
use crate::crash;
use crate::envelope::Event;
use crate::event::Position;

/// What one transaction may hold before it is committed, also when more waits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub messages: u64,
    pub bytes: u64,
}

impl Default for Limits {
    /// A commit costs some milliseconds and a reader sees nothing before it; at 300,000 messages a second this is 1/6 s.
    fn default() -> Self {
        Limits { messages: 50_000, bytes: 32 << 20 }
    }
}

/// The topic's write end. Batches are handed to it event by event, and are in the topic after [`Writer::commit`].
pub struct Writer {
    transactions: Transactions,
    topic: String,
    side: String,
    limits: Limits,
    /// Behind the last message that was sent; [`Writer::begin`] writes the transaction's.
    checkpoint: Checkpoint,
    /// The last sequence of the epoch.
    last: u64,
    open: Option<Open>,
    /// Text of the header in hand.
    sequence: String,
}

/// The transaction in hand.
#[derive(Clone, Copy, Debug)]
struct Open {
    messages: u64,
    bytes: u64,
}

impl Writer {
    /// Makes or checks the topics, fences earlier writers, and finds the checkpoint to go on from.
    ///
    /// `source`: as checkpoints name it.
    ///
    /// # Errors
    /// Broker, topics or checkpoint do not serve.
    pub async fn open(settings: &TopicSettings, source: &str) -> Result<Self, TopicError> {
        let partitions = admin::see_to(settings).await?;
        let (settings, source) = (settings.clone(), source.to_owned());
        let opened = tokio::task::spawn_blocking(move || {
            let transactions = Transactions::begin_session(&settings)?;
            let checkpoint = continuity::look(&settings, &transactions, &source, partitions)?;
            Ok(Writer {
                transactions,
                topic: settings.name.clone(),
                side: settings.side(),
                limits: Limits::default(),
                last: checkpoint.last(),
                checkpoint,
                open: None,
                sequence: String::new(),
            })
        });
        opened.await.expect("looking at a topic does not panic")
    }

    /// Where the source goes on; none before the first commit of all.
    pub fn position(&self) -> Option<Position> {
        let position = &self.checkpoint.position;
        (!position.is_empty()).then(|| Position(position.clone()))
    }

    pub fn partitions(&self) -> u32 {
        self.checkpoint.sent.len() as u32
    }

    /// Says by which columns the following messages are keyed.
    ///
    /// # Errors
    /// Those that are there are keyed by others.
    pub fn keyed_by(&mut self, key: &str) -> Result<(), TopicError> {
        let Checkpoint { key: known, .. } = &mut self.checkpoint;
        if known.is_empty() {
            key.clone_into(known);
        } else if known != key {
            return Err(TopicError::Usage(format!(
                "topic {} holds messages under the key `{known}`, and the rule now makes it `{key}`: changes of one entity would lie \
                 in two partitions, in no order. Restore the rule and its settings, or name another [topic] name",
                self.topic
            )));
        }
        Ok(())
    }

    /// Opens a transaction, where none is open.
    ///
    /// # Errors
    /// As of [`Writer::send`].
    pub fn begin(&mut self) -> Result<(), TopicError> {
        if self.open.is_none() {
            self.transactions.begin()?;
            self.open = Some(Open { messages: 0, bytes: 0 });
        }
        Ok(())
    }

    /// Sends a schema's document within the open transaction; the side topic keeps it under its hash.
    ///
    /// # Errors
    /// As of [`Writer::send`].
    pub fn send_schema(&mut self, hash: &str, document: &str) -> Result<(), TopicError> {
        let key = format!("{SCHEMA_KEY}{hash}");
        let (topic, key, value) = (self.side.as_str(), Some(key.as_bytes()), Some(document.as_bytes()));
        self.transactions.send(Message { topic, partition: 0, key, value, headers: None })
    }

    /// Sends an event within the open transaction. `schema`: the hash of its table's.
    ///
    /// # Errors
    /// Nothing of the transaction is in the topic, and this writer is of no use any more.
    pub fn send(&mut self, event: &Event<'_>, schema: &str) -> Result<(), TopicError> {
        let Event { key, value, moved, .. } = *event;
        let mut headers = OwnedHeaders::new_with_capacity(3);
        headers = headers.insert(Header { key: SCHEMA_HEADER, value: Some(schema) });
        if let Some(side) = moved.side() {
            headers = headers.insert(Header { key: MOVE_HEADER, value: Some(side) });
        }
        self.send_numbered(key, Some(value), headers)
    }

    /// Sends a message without a value: the key's row is gone.
    ///
    /// # Errors
    /// As of [`Writer::send`].
    pub fn send_tombstone(&mut self, key: &[u8]) -> Result<(), TopicError> {
        self.send_numbered(Some(key), None, OwnedHeaders::new_with_capacity(1))
    }

    fn send_numbered(
        &mut self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: OwnedHeaders,
    ) -> Result<(), TopicError> {
        let partition = partition_of(key, self.partitions());
        self.last += 1;
        let previous = std::mem::replace(&mut self.checkpoint.sent[partition as usize], self.last);
        let sequence = Sequence { epoch: self.checkpoint.epoch, number: self.last, previous };
        self.sequence.clear();
        let _ = write!(self.sequence, "{sequence}");
        let headers = Some(headers.insert(Header { key: SEQUENCE_HEADER, value: Some(&self.sequence) }));
        self.transactions.send(Message { topic: &self.topic, partition, key, value, headers })?;
        let open = self.open.as_mut().expect("begin comes first");
        open.messages += 1;
        open.bytes += (value.map_or(0, <[u8]>::len) + key.map_or(0, <[u8]>::len)) as u64;
        Ok(())
    }

    /// Whether the open transaction holds enough to be committed, also when more waits.
    pub fn is_full(&self) -> bool {
        self.open.is_some_and(|open| open.messages >= self.limits.messages || open.bytes >= self.limits.bytes)
    }

    /// Commits what was sent, with the position behind it.
    ///
    /// # Errors
    /// As of [`Writer::send`]; where the connection breaks while it is being committed it may be in the topic all the same,
    /// which is found out when the topic is opened again.
    pub fn commit(&mut self, position: &Position) -> Result<(), TopicError> {
        self.checkpoint.position.clone_from(&position.0);
        let checkpoint = self.checkpoint.to_json();
        let (topic, key) = (self.side.as_str(), Some(CHECKPOINT_KEY.as_bytes()));
        self.transactions.send(Message { topic, partition: 0, key, value: Some(&checkpoint), headers: None })?;
        self.transactions.wait_for_messages();
        crash::point("topic.sent");
        self.transactions.commit()?;
        crash::point("topic.committed");
        self.open = None;
        Ok(())
    }

    /// Takes back what was sent since the last commit.
    ///
    /// # Errors
    /// The broker ends the transaction in time.
    pub fn abort(&mut self) -> Result<(), TopicError> {
        if self.open.take().is_some() {
            self.transactions.abort()?;
        }
        Ok(())
    }
}
