//! Whether the topic holds what the checkpoint says: nothing less, nothing more, and nobody else's.
//!
//! It is looked at after every earlier writer of the pipeline was fenced: what is there now stays as it is.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use tracing::{info, warn};

use super::client::{Ends, Isolation, Onlooker, Told, TopicSettings, ends};
use super::document::{CHECKPOINT_KEY, Checkpoint};
use super::producer::Transactions;
use super::sequence::{SEQUENCE_HEADER, Sequence};
use super::{PATIENCE, TopicError, tail};

/// How long the end of a transaction may take to be seen, that the broker said was ended.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2);

/// What a partition's end is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Last {
    /// Nothing was ever written.
    Nothing,
    /// All that was ever written is there, and was taken back: a process was killed within its first transaction.
    TakenBack,
    /// What was written is gone: too old.
    Gone,
    Message(Sequence),
    /// A record that is not ours, by its offset.
    Foreign(i64),
}

/// The checkpoint to go on from; a new one where topic and side topic are empty.
///
/// # Errors
/// Topic and checkpoint do not go together: which way, and what to do.
pub(super) fn look(
    settings: &TopicSettings,
    transactions: &Transactions,
    source: &str,
    partitions: u32,
) -> Result<Checkpoint, TopicError> {
    let onlooker = |isolation| Ok::<_, TopicError>(Onlooker::new(settings.create(&settings.reader(isolation))?));
    let (committed, uncommitted) = (onlooker(Isolation::Committed)?, onlooker(Isolation::Uncommitted)?);
    let look = Look { settings, transactions, committed, uncommitted };
    let checkpoint = look.checkpoint()?;
    if let Some(checkpoint) = &checkpoint {
        fits(settings, checkpoint, source, partitions)?;
    }
    let lasts = (0..partitions).map(|partition| look.last(partition)).collect::<Result<Vec<_>, _>>()?;
    let Some(mut checkpoint) = checkpoint else {
        return match lasts.iter().all(|last| matches!(last, Last::Nothing | Last::TakenBack)) {
            true => Ok(Checkpoint::new(source, partitions)),
            false => Err(TopicError::Stop(format!(
                "topic {} has records, and {} has no checkpoint: it was lost, or somebody else writes this topic. From where the \
                 source would have to go on is not known. Name another [topic] name and begin there; or, where nobody reads the \
                 topic any more, delete both topics and start again",
                settings.name,
                settings.side()
            ))),
        };
    };
    let mut doubt = false;
    for (partition, last) in lasts.iter().enumerate() {
        doubt |= !is_continued(settings, &checkpoint, partition, last)?;
    }
    if doubt {
        checkpoint.begin_epoch();
        warn!(
            epoch = checkpoint.epoch,
            "the last messages of topic {} are gone, so it is not proven that nothing is missing: a new epoch begins",
            settings.name
        );
    }
    Ok(checkpoint)
}

/// Whether the checkpoint was written for what is configured.
fn fits(settings: &TopicSettings, checkpoint: &Checkpoint, source: &str, partitions: u32) -> Result<(), TopicError> {
    let (topic, side) = (&settings.name, settings.side());
    if checkpoint.source != source {
        return Err(TopicError::Usage(format!(
            "topic {topic} holds changes of another source: the checkpoint in {side} was written for `{}`, and the configuration \
             says `{source}`. Restore the configuration, or name another [topic] name",
            checkpoint.source
        )));
    }
    if checkpoint.sent.len() != partitions as usize {
        return Err(TopicError::Stop(format!(
            "topic {topic} has {partitions} partitions, and had {} when its last message was written: changes of one entity would \
             lie in two partitions, in no order. A topic never gets fewer again: name another [topic] name, which is made with \
             [topic] partitions, once all of this one is applied",
            checkpoint.sent.len()
        )));
    }
    Ok(())
}

/// Whether a partition ends with what the checkpoint says of it; false where that cannot be known.
fn is_continued(
    settings: &TopicSettings,
    checkpoint: &Checkpoint,
    partition: usize,
    last: &Last,
) -> Result<bool, TopicError> {
    let TopicSettings { name, .. } = settings;
    let Checkpoint { epoch, sent, .. } = checkpoint;
    let sent = sent[partition];
    let side = settings.side();
    let ahead = |what: &str| {
        TopicError::Stop(format!(
            "topic {name}, partition {partition} is ahead of its checkpoint: {what}, and {side} says epoch {epoch}, number {sent}. \
             The checkpoint is an old one (was {side} restored, or cut?): going on from it would write changes a second time. \
             Restore the newer side topic, or name another [topic] name and begin there"
        ))
    };
    let behind = |what: &str| {
        TopicError::Stop(format!(
            "topic {name}, partition {partition} has lost messages: {what}, and {side} says epoch {epoch}, number {sent}. Were \
             records deleted, or the topic made anew? Name another [topic] name and begin there, with the rows that are in the \
             tables now"
        ))
    };
    match *last {
        Last::Foreign(offset) => Err(TopicError::Stop(format!(
            "topic {name}, partition {partition} has a record at offset {offset} that is not ours (no header {SEQUENCE_HEADER}): \
             somebody else writes this topic. End that, and name another [topic] name"
        ))),
        Last::Message(at) if (at.epoch, at.number) == (*epoch, sent) => Ok(true),
        // Nothing of this epoch is in this partition yet.
        Last::Message(at) if at.epoch < *epoch && sent == 0 => Ok(true),
        Last::Message(at) => {
            let what = format!("its last message has epoch {}, number {}", at.epoch, at.number);
            match (at.epoch, at.number) > (*epoch, sent) {
                true => Err(ahead(&what)),
                false => Err(behind(&what)),
            }
        }
        Last::Nothing if sent > 0 => Err(behind("it is empty")),
        Last::TakenBack if sent > 0 => Err(behind("no message was ever committed to it")),
        Last::Nothing | Last::TakenBack => Ok(true),
        Last::Gone => Ok(sent == 0),
    }
}

struct Look<'a> {
    settings: &'a TopicSettings,
    /// Between two of them.
    transactions: &'a Transactions,
    committed: Onlooker<BaseConsumer<Told>>,
    uncommitted: Onlooker<BaseConsumer<Told>>,
}

impl Look<'_> {
    /// The last one of the side topic; none where it holds none.
    fn checkpoint(&self) -> Result<Option<Checkpoint>, TopicError> {
        let side = self.settings.side();
        let ends = self.settled(&side, 0)?;
        let wanted = |message: &BorrowedMessage<'_>| {
            let is_checkpoint = message.key() == Some(CHECKPOINT_KEY.as_bytes());
            is_checkpoint.then(|| (message.offset(), message.payload().map(<[u8]>::to_vec)))
        };
        let last = tail::last(self.settings, &self.committed, (&side, 0), ends, wanted)?;
        let Some((offset, Some(bytes))) = last else { return Ok(None) };
        Checkpoint::from_json(&bytes, &format!("{side} at offset {offset}")).map(Some)
    }

    fn last(&self, partition: u32) -> Result<Last, TopicError> {
        let topic = &self.settings.name;
        let ends = self.settled(topic, partition)?;
        let wanted = |message: &BorrowedMessage<'_>| Some((message.offset(), sequence_of(message)));
        let last = tail::last(self.settings, &self.committed, (topic, partition), ends, wanted)?;
        Ok(match last {
            Some((_, Some(sequence))) => Last::Message(sequence),
            Some((offset, None)) => Last::Foreign(offset),
            None if ends.high == 0 => Last::Nothing,
            None if ends.low == 0 => Last::TakenBack,
            None => Last::Gone,
        })
    }

    /// A partition's ends, once no transaction is open in it: what is behind an open one cannot be read, and would be later.
    fn settled(&self, topic: &str, partition: u32) -> Result<Ends, TopicError> {
        let begun = Instant::now();
        let what = || format!("topic {topic}, partition {partition} could not be looked at");
        let ends_of = |consumer: &BaseConsumer<Told>| {
            ends(consumer, topic, partition)
                .map_err(|error| self.settings.unreached(&what(), &error, consumer.context()))
        };
        let all = ends_of(&self.uncommitted)?;
        let (mut said, mut has_tried) = (false, false);
        loop {
            let stable = ends_of(&self.committed)?;
            if stable.high >= all.high {
                if has_tried {
                    warn!(
                        topic,
                        partition, "a transaction of an earlier process that the broker has forgotten was taken back"
                    );
                }
                return Ok(all);
            }
            // The session began when all that the broker knew of the earlier ones was ended. What is lost by it is missed below.
            if begun.elapsed() > FORGOTTEN_AFTER && !has_tried {
                self.transactions.end_forgotten(topic, partition)?;
                has_tried = true;
                continue;
            }
            if begun.elapsed() > PATIENCE {
                let address = self.settings.address();
                return Err(TopicError::Unfit(format!(
                    "topic {topic}, partition {partition} has an open transaction of another producer from offset {} on, for more than \
                     {} s: nothing behind it can be read. If its producer lives, end it; else the broker ends the transaction in \
                     time. One that hangs is found by kafka-transactions.sh --bootstrap-server {address} describe-producers --topic \
                     {topic} --partition {partition}, and ended by kafka-transactions.sh --bootstrap-server {address} abort --topic \
                     {topic} --partition {partition} --start-offset {}",
                    stable.high,
                    PATIENCE.as_secs(),
                    stable.high
                )));
            }
            if !said {
                info!(topic, partition, "waiting for the end of a transaction that is open there");
                said = true;
            }
            // The broker is asked again: nothing tells when a transaction ends.
            thread::sleep(Duration::from_millis(100));
        }
    }
}

pub(super) fn sequence_of(message: &BorrowedMessage<'_>) -> Option<Sequence> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == SEQUENCE_HEADER)?;
    std::str::from_utf8(header.value?).ok()?.parse().ok()
}
