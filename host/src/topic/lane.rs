//! One partition as a source: its messages in their order, repeats dropped, gaps refused.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use tracing::debug;

use super::inbox::{Held, Inbox, Message, Taken};
use super::schemas::{Order, Schemas};
use super::sequence::{SEQUENCE_HEADER, Sequence};
use crate::envelope::read::{Foreign, Look, Origin, Payloads, Place, ReadError, Reader, Record};
use crate::event::{Batch, Cut, Cuts, Position, Records, Transaction};
use crate::source::{Source, SourceError};

/// How far a partition is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reached {
    /// Of the next message.
    pub offset: u64,
    pub last: Last,
}

/// What is kept of the last message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Last {
    Numbered {
        epoch: u64,
        number: u64,
    },
    /// Of a topic that others write.
    From(Option<Origin>),
}

/// The forms' versions.
const FORMAT: &str = "topic/1";
const FOREIGN: &str = "foreign-topic/1";

impl fmt::Display for Reached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reached { offset, last } = self;
        match last {
            Last::Numbered { epoch, number } => write!(f, "{FORMAT} offset={offset} epoch={epoch} number={number}"),
            Last::From(None) => write!(f, "{FOREIGN} offset={offset}"),
            Last::From(Some(origin)) => write!(f, "{FOREIGN} offset={offset} {origin}"),
        }
    }
}

impl FromStr for Reached {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbered = |rest: &str| {
            let mut words = rest.split_whitespace();
            let mut next = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
            let offset = next("offset")?;
            Some(Reached { offset, last: Last::Numbered { epoch: next("epoch")?, number: next("number")? } })
        };
        let foreign = |rest: &str| {
            let (offset, rest) = rest
                .trim_start()
                .strip_prefix("offset=")?
                .split_once(' ')
                .unwrap_or((rest.trim_start().strip_prefix("offset=")?, ""));
            let origin = if rest.is_empty() { None } else { Some(rest.parse().ok()?) };
            Some(Reached { offset: offset.parse().ok()?, last: Last::From(origin) })
        };
        let reached = match (text.strip_prefix(FORMAT), text.strip_prefix(FOREIGN)) {
            (Some(rest), _) => numbered(rest),
            (_, Some(rest)) => foreign(rest),
            _ => None,
        };
        reached.ok_or_else(|| {
            format!("the checkpoint's position `{text}` is not one of this version ({FORMAT}, {FOREIGN})")
        })
    }
}

/// Who writes the messages, and how a table's schema is found.
pub(super) enum Messages {
    Ours(Arc<Schemas>, Arc<Order>, Payloads),
    Foreign(Foreign),
}

/// Where a message's envelope lies in it, and the schema that it is read by, where no header of ours says it.
struct Placed {
    envelope: Range<usize>,
    schema: Option<Arc<str>>,
}

/// What a lane is, beside its messages.
pub(super) struct Of {
    pub topic: Arc<str>,
    pub partition: u32,
    pub reader: Reader,
    pub messages: Messages,
    pub batch_changes_max: usize,
    pub batch_bytes_max: usize,
    /// Whether it ends where its partition does.
    pub to_end: bool,
    /// Of the topic.
    pub partitions: u32,
    /// Whether batches say what they were made of, and where they can be cut.
    pub accounts: bool,
    /// The first batch ends before this offset, whatever its size.
    pub redo_to: Option<u64>,
}

/// A partition's messages as batches. It ends when its inbox is closed.
pub struct Lane {
    of: Of,
    inbox: Arc<Inbox>,
    reached: Reached,
    /// Begins the next batch.
    held: Option<Held>,
    /// Comes behind the batch that was handed out.
    failed: Option<SourceError>,
    has_ended: bool,
    log: Arc<str>,
    account: Account,
}

/// Why no more messages are taken for now.
enum Stopped {
    /// The batch is full.
    Full,
    /// The next message has another schema.
    Turn(Held),
    /// The next message is not of the batch that comes again.
    Beyond(Held),
    Failed(SourceError),
}

impl Lane {
    pub(super) fn new(of: Of, reached: Reached, inbox: Arc<Inbox>) -> Self {
        let log = format!("topic {}, partition {}, offset", of.topic, of.partition).into();
        Lane { of, inbox, reached, held: None, failed: None, has_ended: false, log, account: Account::default() }
    }

    /// What is kept of this message once it is taken; none of a repeat by its number. A gap before it is an error.
    fn follows(&self, message: &Message<'_>) -> Result<Option<Last>, SourceError> {
        let Last::Numbered { epoch: last_epoch, number: last } = self.reached.last else {
            return Ok(Some(self.reached.last.clone()));
        };
        let Of { topic, partition, .. } = &self.of;
        let place = Place { topic, partition: *partition, offset: message.offset };
        let Some(sequence) = &message.sequence else { return Err(not_ours(place)) };
        let sequence = sequence.as_ref().map_err(|wrong| SourceError::Stop(format!("{place}: {wrong}")))?;
        let &Sequence { epoch, number, previous } = sequence;
        if epoch == last_epoch && number <= last {
            debug!("{place}: a repeat of number {number} in epoch {epoch} is passed over");
            return Ok(None);
        }
        let wanted = if epoch == last_epoch { last } else { 0 };
        if epoch < last_epoch || previous != wanted {
            return Err(SourceError::Stop(format!(
                "{place}: messages are missing before this one: it follows number {previous} in epoch {epoch}, and the last one here \
                 was number {last} in epoch {last_epoch}. Were records deleted before they were applied? Begin a new history from a \
                 new topic"
            )));
        }
        Ok(Some(Last::Numbered { epoch, number }))
    }
}

#[async_trait::async_trait]
impl Source for Lane {
    async fn next(&mut self) -> Result<Option<(Batch, Position)>, SourceError> {
        if let Some(failed) = self.failed.take() {
            return Err(failed);
        }
        let mut batch = None;
        match self.fill(&mut batch).await {
            Ok(true) => {}
            Ok(false) => return Ok(None),
            // What came before it is good.
            Err(error) if batch.is_some() => self.failed = Some(error),
            Err(error) => return Err(error),
        }
        let mut batch = batch.unwrap_or_else(|| self.of.reader.batch());
        if self.of.accounts {
            let account = std::mem::take(&mut self.account);
            batch.records = Some(account.last().records);
            batch.cuts = Some(Arc::new(account));
        }
        self.of.redo_to = None;
        Ok(Some((batch, Position(self.reached.to_string()))))
    }
}

impl Lane {
    /// Takes messages until the batch is full, or none waits; false where there will be none.
    async fn fill(&mut self, batch: &mut Option<Batch>) -> Result<bool, SourceError> {
        loop {
            if let Some(held) = self.held.take() {
                // It begins a batch.
                let message = held.message();
                let placed = self.place(&message)?;
                self.turn_to(schema_of(&message, &placed), message.offset).await?;
                self.take(&message, &placed, batch)?;
            }
            if self.has_ended {
                return Ok(batch.is_some());
            }
            let inbox = self.inbox.clone();
            match inbox.each(|message| self.taken(&Message::of(message), batch)) {
                Taken::Made(Stopped::Full) => return Ok(true),
                Taken::Made(Stopped::Failed(error)) => return Err(error),
                Taken::Made(Stopped::Beyond(held)) => {
                    self.held = Some(held);
                    return Ok(true);
                }
                Taken::Made(Stopped::Turn(held)) => {
                    self.held = Some(held);
                    if batch.as_ref().is_some_and(|batch| !batch.changes.is_empty()) {
                        return Ok(true);
                    }
                    *batch = None;
                }
                // A part of the batch that comes again is not that batch.
                Taken::Closed if self.of.redo_to.is_some() => return Ok(false),
                Taken::Closed => self.has_ended = true,
                Taken::End if self.of.redo_to.is_some() && self.of.to_end => {
                    let Of { topic, partition, redo_to, .. } = &self.of;
                    return Err(SourceError::Stop(format!(
                        "topic {topic}, partition {partition} ends at offset {}, and the load that was under way goes on up to {}",
                        self.reached.offset,
                        redo_to.unwrap_or_default()
                    )));
                }
                // What is missing of it is on its way, or may be on its way to this replica.
                Taken::End | Taken::Nothing if self.of.redo_to.is_some() => inbox.arrived().await,
                Taken::End if self.of.to_end => self.has_ended = true,
                Taken::End | Taken::Nothing if batch.is_some() => return Ok(true),
                Taken::End | Taken::Nothing => inbox.arrived().await,
            }
        }
    }

    /// Takes a message into the batch, where it goes in.
    fn taken(&mut self, message: &Message<'_>, batch: &mut Option<Batch>) -> Option<Stopped> {
        let mut take = || {
            if self.of.redo_to.is_some_and(|to| message.offset >= to) {
                return Ok(Some(Stopped::Beyond(message.held())));
            }
            let placed = self.place(message)?;
            if !placed.envelope.is_empty() && !self.of.reader.has_turned_to(schema_of(message, &placed)) {
                return Ok(Some(Stopped::Turn(message.held())));
            }
            self.take(message, &placed, batch)?;
            Ok(batch.as_ref().is_some_and(|batch| self.is_full(batch)).then_some(Stopped::Full))
        };
        take().unwrap_or_else(|error| Some(Stopped::Failed(error)))
    }

    fn is_full(&self, batch: &Batch) -> bool {
        if let Some(to) = self.of.redo_to {
            return self.reached.offset >= to;
        }
        batch.changes.len() >= self.of.batch_changes_max || batch.size_bytes() >= self.of.batch_bytes_max
    }

    /// Finds a message's envelope; none lies in a tombstone or a heartbeat.
    fn place(&mut self, message: &Message<'_>) -> Result<Placed, SourceError> {
        let Of { topic, partition, reader, messages, .. } = &mut self.of;
        let place = Place { topic, partition: *partition, offset: message.offset };
        let nothing = Placed { envelope: 0..0, schema: None };
        match (messages, message.value) {
            (_, None) => Ok(nothing),
            (Messages::Ours(..), _) if message.sequence.is_none() => Err(not_ours(place)),
            (Messages::Ours(_, _, payloads), Some(value)) => match payloads.find(value) {
                Ok(envelope) => Ok(Placed { envelope, schema: None }),
                Err(wrong) => Err(SourceError::Stop(format!("{place}: {wrong}"))),
            },
            (Messages::Foreign(foreign), Some(value)) => match foreign.look(message.key, value, reader) {
                Ok(Look::Change { schema, envelope }) => Ok(Placed { envelope, schema: Some(schema) }),
                Ok(Look::Nothing) => Ok(nothing),
                Err(wrong) => Err(SourceError::Stop(format!("{place}: {wrong}"))),
            },
        }
    }

    /// Learns a schema where it is new, and has batches in its shape.
    async fn turn_to(&mut self, hash: &str, offset: u64) -> Result<(), SourceError> {
        let topic = self.of.topic.clone();
        let place = Place { topic: &topic, partition: self.of.partition, offset };
        let reader = &mut self.of.reader;
        if reader.turn_to(hash, place).is_ok() {
            return Ok(());
        }
        let Messages::Ours(schemas, order, _) = &self.of.messages else {
            return Err(SourceError::Stop(format!("{place}: its table is not known")));
        };
        let (schemas, order, wanted) = (schemas.clone(), order.clone(), hash.to_owned());
        let found = tokio::task::spawn_blocking(move || schemas.document(&wanted, &order));
        let document = found.await.expect("looking for a schema does not panic");
        let document = document.map_err(|error| SourceError::Stop(format!("{place}: {error}")))?;
        let known = reader.know(hash, &document);
        known.map_err(|wrong| SourceError::Stop(format!("{place}: the schema {hash} cannot be read: {wrong}")))?;
        reader.turn_to(hash, place).map_err(stop)
    }

    fn take(&mut self, message: &Message<'_>, placed: &Placed, batch: &mut Option<Batch>) -> Result<(), SourceError> {
        let Placed { envelope, .. } = placed;
        let schema = schema_of(message, placed);
        let batch = batch.get_or_insert_with(|| {
            let transactions = vec![Transaction { log: self.log.clone(), gtid: None }];
            Batch { transactions, ..self.of.reader.batch() }
        });
        let follows = self.follows(message)?;
        // A tombstone says nothing; where others write, neither does a heartbeat.
        if let (Some(value), Some(_)) = (message.value.filter(|_| !envelope.is_empty()), &follows) {
            let Of { topic, partition, reader, .. } = &mut self.of;
            let place = Place { topic, partition: *partition, offset: message.offset };
            let last = match &mut self.reached.last {
                Last::From(last) => Some(last),
                Last::Numbered { .. } => None,
            };
            let record = Record { value: &value[envelope.clone()], schema, sides: message.sides, place };
            reader.read_after(batch, &record, last).map_err(stop)?;
        }
        if let Some(last @ Last::Numbered { .. }) = follows {
            self.reached.last = last;
        }
        self.reached.offset = message.offset + 1;
        if self.of.accounts {
            let sequence = self.sequence();
            self.account.add(message, batch.changes.len(), &self.reached, sequence);
        }
        Ok(())
    }

    /// Of what was taken last, in a sequence column. A number of ours is another for each message of the topic; an offset is the
    /// partition's own.
    fn sequence(&self) -> u64 {
        match self.reached.last {
            Last::Numbered { epoch, number } => epoch << 48 | number,
            Last::From(_) => self.reached.offset * u64::from(self.of.partitions) + u64::from(self.of.partition),
        }
    }
}

/// What a batch was made of, message by message.
#[derive(Debug, Default)]
struct Account(Vec<(usize, Records, Reached)>);

impl Account {
    fn add(&mut self, message: &Message<'_>, n_changes: usize, reached: &Reached, sequence: u64) {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&message.offset.to_le_bytes());
        for part in [message.key, message.value] {
            // Nothing is another thing than an empty text.
            hasher.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hasher.update(part.unwrap_or_default());
        }
        let Records { count, sum, .. } = self.last().records;
        let sum = sum.wrapping_add(hasher.finalize().into());
        self.0.push((n_changes, Records { count: count + 1, sum, sequence }, reached.clone()));
    }

    fn last(&self) -> Cut {
        self.at(self.0.len())
    }
}

impl Cuts for Account {
    fn n_records(&self) -> usize {
        self.0.len()
    }

    fn at(&self, record: usize) -> Cut {
        match record.checked_sub(1).and_then(|before| self.0.get(before)) {
            None => Cut { n_changes: 0, records: Records::default(), position: Position(String::new()) },
            Some((n_changes, records, reached)) => {
                Cut { n_changes: *n_changes, records: *records, position: Position(reached.to_string()) }
            }
        }
    }
}

/// The offset that a lane's position goes on at.
///
/// # Errors
/// It is no position of a lane.
pub fn offset_of(position: &Position) -> Result<u64, String> {
    Ok(position.0.parse::<Reached>()?.offset)
}

fn schema_of<'a>(message: &Message<'a>, placed: &'a Placed) -> &'a str {
    placed.schema.as_deref().or(message.schema).unwrap_or_default()
}

fn not_ours(place: Place<'_>) -> SourceError {
    SourceError::Stop(format!(
        "{place}: a message without the header {SEQUENCE_HEADER}: somebody else writes this topic, and its order cannot be told. End \
         that, and name another [topic] name"
    ))
}

fn stop(error: ReadError) -> SourceError {
    SourceError::Stop(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back() {
        let reached = Reached { offset: 17, last: Last::Numbered { epoch: 2, number: 9 } };
        assert_eq!(reached.to_string(), "topic/1 offset=17 epoch=2 number=9");
        assert_eq!(reached.to_string().parse(), Ok(reached));
        let origin = Origin { server: 1, file: "b.000001".into(), pos: 4, row: 0, is_second: false, time_us: 9 };
        for last in [None, Some(origin)] {
            let reached = Reached { offset: 17, last: Last::From(last) };
            assert_eq!(reached.to_string().parse(), Ok(reached));
        }
        assert!("mysql/1 skip=0".parse::<Reached>().unwrap_err().contains("mysql/1"));
    }
}
