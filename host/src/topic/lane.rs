//! One partition as a source: its messages in their order, repeats dropped, gaps refused.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tracing::debug;

use super::TopicError;
use super::schemas::Schemas;
use super::sequence::{SEQUENCE_HEADER, Sequence};
use crate::envelope::read::{Place, ReadError, Reader, Record};
use crate::event::{Batch, Position, Sides, Transaction};
use crate::source::{Source, SourceError};

/// A message, as the consumer gave it.
pub(super) struct Message {
    pub offset: u64,
    pub value: Option<Vec<u8>>,
    pub sequence: Option<String>,
    pub schema: Option<String>,
    pub sides: Sides,
}

/// Where the lane's next messages come from.
pub(super) struct Feed {
    pub messages: mpsc::UnboundedSender<Message>,
    /// Bytes that wait in it.
    pub waiting: Arc<AtomicUsize>,
}

impl Message {
    pub fn bytes(&self) -> usize {
        size_of::<Message>() + self.value.as_ref().map_or(0, Vec::len)
    }
}

/// How far a partition is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reached {
    /// Of the next message.
    pub offset: u64,
    /// Of the last one.
    pub epoch: u64,
    pub number: u64,
}

/// The form's version.
const FORMAT: &str = "topic/1";

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FORMAT} offset={} epoch={} number={}", self.offset, self.epoch, self.number)
    }
}

impl FromStr for Reached {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut words = text.strip_prefix(FORMAT)?.split_whitespace();
            let mut next = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
            Some(Reached { offset: next("offset")?, epoch: next("epoch")?, number: next("number")? })
        };
        parse().ok_or_else(|| format!("the checkpoint's position `{text}` is not one of this version ({FORMAT})"))
    }
}

/// What a lane is, beside its messages.
pub(super) struct Of {
    pub topic: Arc<str>,
    pub partition: u32,
    pub reader: Reader,
    pub schemas: Arc<Schemas>,
    pub batch_changes_max: usize,
    pub batch_bytes_max: usize,
}

/// A partition's messages as batches. It ends when nobody feeds it any more.
pub struct Lane {
    of: Of,
    messages: mpsc::UnboundedReceiver<Message>,
    waiting: Arc<AtomicUsize>,
    reached: Reached,
    /// Begins the next batch.
    held: Option<Message>,
    log: Arc<str>,
}

impl Lane {
    pub(super) fn new(of: Of, reached: Reached) -> (Self, Feed) {
        let (sender, messages) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let feed = Feed { messages: sender, waiting: waiting.clone() };
        let log = format!("topic {}, partition {}, offset", of.topic, of.partition).into();
        (Lane { of, messages, waiting, reached, held: None, log }, feed)
    }

    /// Whether this message is a repeat; a gap before it is an error.
    fn is_repeat(&mut self, message: &Message) -> Result<bool, SourceError> {
        let Of { topic, partition, .. } = &self.of;
        let place = Place { topic, partition: *partition, offset: message.offset };
        let Some(text) = &message.sequence else {
            return Err(SourceError::Stop(format!(
                "{place}: a message without the header {SEQUENCE_HEADER}: somebody else writes this topic, and its order cannot be \
                 told. End that, and name another [topic] name"
            )));
        };
        let Sequence { epoch, number, previous } =
            text.parse().map_err(|wrong| SourceError::Stop(format!("{place}: {wrong}")))?;
        let Reached { epoch: last_epoch, number: last, .. } = self.reached;
        if epoch == last_epoch && number <= last {
            debug!("{place}: a repeat of number {number} in epoch {epoch} is passed over");
            return Ok(true);
        }
        let wanted = if epoch == last_epoch { last } else { 0 };
        if epoch < last_epoch || previous != wanted {
            return Err(SourceError::Stop(format!(
                "{place}: messages are missing before this one: it follows number {previous} in epoch {epoch}, and the last one here \
                 was number {last} in epoch {last_epoch}. Were records deleted before they were applied? Begin a new history from a \
                 new topic"
            )));
        }
        (self.reached.epoch, self.reached.number) = (epoch, number);
        Ok(false)
    }
}

#[async_trait::async_trait]
impl Source for Lane {
    async fn next(&mut self) -> Result<Option<(Batch, Position)>, SourceError> {
        let mut batch: Option<Batch> = None;
        loop {
            let message = match (self.held.take(), &batch) {
                (Some(message), _) => message,
                (None, None) => match self.messages.recv().await {
                    Some(message) => message,
                    None => return Ok(None),
                },
                (None, Some(_)) => match self.messages.try_recv() {
                    Ok(message) => message,
                    Err(_) => break,
                },
            };
            let schema = message.schema.as_deref().unwrap_or_default();
            if !self.of.reader.has_turned_to(schema) && message.value.is_some() {
                if batch.as_ref().is_some_and(|batch| !batch.changes.is_empty()) {
                    self.held = Some(message);
                    break;
                }
                self.turn_to(schema, message.offset).await?;
                batch = None;
            }
            self.waiting.fetch_sub(message.bytes(), Ordering::Relaxed);
            self.take(&message, schema, &mut batch)?;
            if batch.as_ref().is_some_and(|batch| self.is_full(batch)) {
                break;
            }
        }
        let batch = batch.unwrap_or_else(|| self.of.reader.batch());
        Ok(Some((batch, Position(self.reached.to_string()))))
    }
}

impl Lane {
    fn is_full(&self, batch: &Batch) -> bool {
        batch.changes.len() >= self.of.batch_changes_max || batch.size_bytes() >= self.of.batch_bytes_max
    }

    /// Learns a schema where it is new, and has batches in its shape.
    async fn turn_to(&mut self, hash: &str, offset: u64) -> Result<(), SourceError> {
        let topic = self.of.topic.clone();
        let place = Place { topic: &topic, partition: self.of.partition, offset };
        let reader = &mut self.of.reader;
        if reader.turn_to(hash, place).is_ok() {
            return Ok(());
        }
        let (schemas, wanted) = (self.of.schemas.clone(), hash.to_owned());
        let found = tokio::task::spawn_blocking(move || schemas.document(&wanted)).await;
        let document = found.expect("looking for a schema does not panic");
        let document = document.map_err(|error: TopicError| SourceError::Stop(format!("{place}: {error}")))?;
        let known = reader.know(hash, &document);
        known.map_err(|wrong| SourceError::Stop(format!("{place}: the schema {hash} cannot be read: {wrong}")))?;
        reader.turn_to(hash, place).map_err(stop)
    }

    fn take(&mut self, message: &Message, schema: &str, batch: &mut Option<Batch>) -> Result<(), SourceError> {
        let batch = batch.get_or_insert_with(|| {
            let transactions = vec![Transaction { log: self.log.clone(), gtid: None }];
            Batch { transactions, ..self.of.reader.batch() }
        });
        // A tombstone says nothing, and has no number.
        if let Some(value) = &message.value
            && !self.is_repeat(message)?
        {
            let Of { topic, partition, reader, .. } = &mut self.of;
            let place = Place { topic, partition: *partition, offset: message.offset };
            reader.read(batch, &Record { value, schema, sides: message.sides, place }).map_err(stop)?;
        }
        self.reached.offset = message.offset + 1;
        Ok(())
    }
}

fn stop(error: ReadError) -> SourceError {
    SourceError::Stop(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back() {
        let reached = Reached { offset: 17, epoch: 2, number: 9 };
        assert_eq!(reached.to_string(), "topic/1 offset=17 epoch=2 number=9");
        assert_eq!(reached.to_string().parse(), Ok(reached));
        assert!("mysql/1 skip=0".parse::<Reached>().unwrap_err().contains("mysql/1"));
    }
}
