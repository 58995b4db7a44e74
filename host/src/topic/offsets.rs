//! A partition's offset in the group, with a text of ours beside it: the one place where a history that has no room for it keeps
//! where it is.
//!
//! Kafka keeps the group's offsets from members that were put out, not from one that has lost a partition alone. So they are
//! written by the polling thread only, between two polls: whoever has been given away is not written by then.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Mutex, PoisonError, Weak};
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::client::Told;
use super::group::Consumer;
use super::{PATIENCE, TopicError, TopicSettings};
use crate::crash;

/// What the group keeps of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub partition: u32,
    pub offset: u64,
    pub metadata: String,
}

/// Why an offset is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// The partition is, or may be, another member's.
    #[error("{0}")]
    Lost(String),
    /// It will not be kept the next time either.
    #[error("{0}")]
    Refused(String),
}

/// A partition's offset, while it is this member's.
pub struct Offsets {
    pub(super) topic: String,
    pub(super) partition: u32,
    pub(super) partitions: u32,
    pub(super) by: By,
}

pub(super) enum By {
    Member {
        consumer: Weak<Consumer>,
        requests: SyncSender<Request>,
    },
    /// Of a group that nobody is a member of.
    Nobody(BaseConsumer<Told>),
}

/// To be written by the polling thread.
pub(super) struct Request {
    partition: u32,
    offset: u64,
    metadata: String,
    reply: oneshot::Sender<Result<(), NotKept>>,
}

impl Offsets {
    /// Of a group without members: nobody else writes it meanwhile, or this is refused.
    ///
    /// # Errors
    /// The client cannot be made.
    pub fn at_rest(settings: &TopicSettings, partition: u32, partitions: u32) -> Result<Self, TopicError> {
        let mut config = settings.reader(super::client::Isolation::Committed);
        config.set("group.id", &settings.pipeline);
        let consumer = settings.create(&config)?;
        Ok(Offsets { topic: settings.name.clone(), partition, partitions, by: By::Nobody(consumer) })
    }

    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// What the group keeps of the topic's partitions, as far as it keeps any.
    ///
    /// # Errors
    /// The group's broker does not say.
    pub fn read(&self) -> Result<Vec<Committed>, TopicError> {
        let mut wanted = TopicPartitionList::new();
        for partition in 0..self.partitions {
            wanted.add_partition(&self.topic, partition as i32);
        }
        let found = match &self.by {
            By::Nobody(consumer) => consumer.committed_offsets(wanted, PATIENCE),
            By::Member { consumer, .. } => match consumer.upgrade() {
                Some(consumer) => consumer.committed_offsets(wanted, PATIENCE),
                None => return Err(TopicError::Stop("the member has left its group".into())),
            },
        };
        let found = found.map_err(|error| self.unread(&error))?;
        let mut committed = Vec::new();
        for element in found.elements() {
            element.error().map_err(|error| self.unread(&error))?;
            if let Offset::Offset(offset) = element.offset() {
                let (partition, metadata) = (element.partition() as u32, element.metadata().to_owned());
                committed.push(Committed { partition, offset: offset as u64, metadata });
            }
        }
        Ok(committed)
    }

    fn unread(&self, error: &KafkaError) -> TopicError {
        TopicError::Unfit(format!("the group's offsets of topic {} cannot be read: {error}", self.topic))
    }

    /// Keeps an offset and its text: returns when the group has it.
    ///
    /// # Errors
    /// As [`NotKept`]; nothing else is ever kept for this partition by this value then.
    pub async fn write(&self, offset: u64, metadata: String) -> Result<(), NotKept> {
        match &self.by {
            By::Member { requests, .. } => {
                let (reply, answer) = oneshot::channel();
                let gone = || NotKept::Lost(format!("partition {} is not this member's any more", self.partition));
                let request = Request { partition: self.partition, offset, metadata, reply };
                requests.try_send(request).map_err(|_| gone())?;
                answer.await.map_err(|_| gone())?
            }
            By::Nobody(consumer) => {
                let mut tries = 0;
                loop {
                    match commit(consumer, &self.topic, self.partition, offset, &metadata) {
                        Ok(()) => return Ok(()),
                        Err(error) if tries == TRIES_MAX && is_lost(&error) => {
                            return Err(NotKept::Lost(format!("the group has members: end them first ({error})")));
                        }
                        Err(error) if tries == TRIES_MAX => return Err(NotKept::Refused(error.to_string())),
                        // Of one with a name of its own it is not said when it ends, but only noticed.
                        Err(error) if tries == 0 && is_lost(&error) => {
                            info!(
                                "the group has members, or had some a moment ago: it is waited until they are missed"
                            );
                        }
                        Err(error) => debug!("the offset is not kept yet: {error}"),
                    }
                    tries += 1;
                    tokio::time::sleep(AGAIN).await;
                }
            }
        }
    }
}

/// The offsets that another group keeps of the topic's partitions.
///
/// # Errors
/// It keeps none, or its broker does not say.
pub fn group_offsets(settings: &TopicSettings, group: &str, partitions: u32) -> Result<BTreeMap<u32, u64>, TopicError> {
    let of_group = TopicSettings { pipeline: group.to_owned(), ..settings.clone() };
    let committed = Offsets::at_rest(&of_group, 0, partitions)?.read()?;
    if committed.is_empty() {
        return Err(TopicError::Usage(format!("group {group} keeps no offsets of topic {}", settings.name)));
    }
    Ok(committed.into_iter().map(|committed| (committed.partition, committed.offset)).collect())
}

/// Longer than a session.
const TRIES_MAX: u32 = 200;
const AGAIN: Duration = Duration::from_millis(250);

/// A member's own end of it: what its lanes ask for, and what the broker has not answered yet.
pub(super) struct Writing(Mutex<Asked>);

struct Asked {
    requests: Receiver<Request>,
    /// In their order.
    unanswered: VecDeque<Request>,
}

impl Writing {
    pub fn of(requests: Receiver<Request>) -> Self {
        Writing(Mutex::new(Asked { requests, unanswered: VecDeque::new() }))
    }

    /// Writes what is asked for; waits for it this long. Called by the polling thread alone.
    pub fn serve(&self, consumer: &Consumer, topic: &str, wait: Duration) {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Asked { requests, unanswered } = &mut *asked;
        if unanswered.is_empty() {
            match requests.recv_timeout(wait) {
                Ok(request) => unanswered.push_back(request),
                Err(RecvTimeoutError::Timeout) => {}
                // Every lane holds one of the senders, and so does the member.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(wait),
            }
        }
        unanswered.extend(requests.try_iter());
        while let Some(request) = unanswered.pop_front() {
            if let Some(request) = write(consumer, topic, request) {
                // The broker is away: that is not waited for once for each of them, without a poll in between.
                unanswered.push_front(request);
                break;
            }
        }
    }
}

/// Gives the request back where it may or may not have been done: the same is written again then, and nothing else.
fn write(consumer: &Consumer, topic: &str, request: Request) -> Option<Request> {
    let Request { partition, offset, metadata, reply } = request;
    if reply.is_closed() {
        return None;
    }
    if let Err(why) = owns(consumer, topic, partition) {
        let _ = reply.send(Err(NotKept::Lost(why)));
        return None;
    }
    crash::point("offsets.asked");
    let answer = match commit(consumer, topic, partition, offset, &metadata) {
        Ok(()) => Ok(()),
        Err(error) if is_lost(&error) => {
            Err(NotKept::Lost(format!("partition {partition} is another member's: {error}")))
        }
        Err(error) if is_refused(&error) => {
            Err(NotKept::Refused(format!("the offset of partition {partition} is not kept: {error}")))
        }
        Err(error) => {
            warn!(partition, "the group has not answered, and is asked again: {error}");
            return Some(Request { partition, offset, metadata, reply });
        }
    };
    crash::point("offsets.written");
    let _ = reply.send(answer);
    None
}

/// Whether what is written now is written as a member, for a partition that is this member's.
fn owns(consumer: &Consumer, topic: &str, partition: u32) -> Result<(), String> {
    // One that has left would write as nobody, which a group without members takes.
    if !has_member_id(consumer) {
        return Err("the member has left its group".into());
    }
    match consumer.assignment() {
        // The last question: to answer the others the client has looked how long it was away.
        Ok(assigned) if assigned.find_partition(topic, partition as i32).is_some() => {
            match consumer.assignment_lost() {
                true => Err("the member was put out of its group".into()),
                false => Ok(()),
            }
        }
        Ok(_) => Err(format!("partition {partition} is not assigned to this member")),
        Err(error) => Err(format!("the client does not say what is assigned: {error}")),
    }
}

#[expect(unsafe_code, reason = "the library has no safe way to ask for it")]
fn has_member_id(consumer: &Consumer) -> bool {
    // SAFETY: the client lives as long as the borrow; what it gives is null or a text of its own making, which ends with a zero and
    // is read before it is given back.
    unsafe {
        let client = consumer.client().native_ptr();
        let id = native::rd_kafka_memberid(client);
        if id.is_null() {
            return false;
        }
        let has = *id != 0;
        native::rd_kafka_mem_free(client, id.cast());
        has
    }
}

fn commit<C: rdkafka::consumer::ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: u32,
    offset: u64,
    metadata: &str,
) -> KafkaResult<()> {
    let mut list = TopicPartitionList::new();
    let mut element = list.add_partition(topic, partition as i32);
    element.set_offset(Offset::Offset(offset as i64))?;
    element.set_metadata(metadata);
    consumer.commit(&list, CommitMode::Sync)
}

fn is_lost(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::IllegalGeneration
                | RDKafkaErrorCode::UnknownMemberId
                | RDKafkaErrorCode::FencedMemberEpoch
                | RDKafkaErrorCode::StaleMemberEpoch
                | RDKafkaErrorCode::AssignmentLost
        )
    )
}

fn is_refused(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::OffsetMetadataTooLarge
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::InvalidCommitOffsetSize
                // Another process has the name that is to be this one's own.
                | RDKafkaErrorCode::FencedInstanceId
                | RDKafkaErrorCode::Fatal
        )
    )
}

/// Lanes that may ask at once, each for one thing.
pub(super) const REQUESTS_MAX: usize = 1 << 14;
