//! A member of the pipeline's consumer group: a lane for each partition that it is assigned.
//!
//! One thread polls; a partition's messages go to its lane's feed. A lane that has enough is paused, so that memory stays
//! bounded. Offsets are kept where the history is; what is committed to Kafka is for who looks at the group's lag.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::statistics::{Statistics, Topic};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message as _};
use tracing::{debug, info, warn};

use super::client::{Told, TopicSettings};
use super::lane::{Feed, Lane, Last, Message, Messages, Of, Reached};
use super::schemas::{Order, Schemas};
use super::sequence::{MOVE_HEADER, SCHEMA_HEADER, SEQUENCE_HEADER};
use super::{TopicError, admin, foreign};
use crate::civil::Zone;
use crate::envelope::read::{Foreign, ForeignSettings, Payloads, Reader};
use crate::event::{EntityKey, Position, Sides};

/// Bytes of messages that wait in a lane's feed before it is paused, and below which it goes on.
const WAITING_MAX: usize = 4 << 20;
const WAITING_FEW: usize = 1 << 20;

/// How long a poll waits for a message before paused lanes are looked at again.
const POLL: Duration = Duration::from_millis(20);

/// How often offsets are said to the group.
const SAY_OFFSETS: Duration = Duration::from_secs(1);

/// What partitions are taken to, and where it keeps their positions. All calls come from the polling thread and may block.
pub trait Lanes: Send + Sync {
    /// A partition is assigned: where it goes on; none at its beginning.
    ///
    /// # Errors
    /// It cannot be taken: the whole member ends.
    fn begin(&self, partition: u32) -> Result<Option<Position>, TopicError>;

    /// Takes its messages from now on.
    fn run(&self, partition: u32, lane: Lane);

    /// No partition is fed any more: returns when nothing of any is written any more.
    fn end(&self, how: Ending);

    /// Whether a lane was kept from writing since this was asked last: its partition is, or was, another member's.
    fn was_fenced(&self) -> bool;

    /// How far each is that runs.
    fn positions(&self) -> Vec<(u32, Position)>;

    /// So many messages of their partitions are not done; about once a second.
    fn lag(&self, n_messages: u64);
}

/// How a lane ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Behind the batch in hand: somebody else goes on there.
    Now,
    /// Behind all that it was fed.
    Through,
}

/// How batches are made of messages.
#[derive(Clone)]
pub struct LaneSettings {
    /// Whose wall clock times become.
    pub zone: Zone,
    pub batch_changes_max: usize,
    pub batch_bytes_max: usize,
    /// End a lane where its partition ends now.
    pub to_end: bool,
    /// What is known of a topic that others write.
    pub foreign: Option<ForeignSettings>,
    /// By which columns the rule tells entities: a topic of several partitions has to be keyed by them.
    pub entity_key: EntityKey,
}

/// A member of the group, until it is dropped.
pub struct Group {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Group {
    /// Joins. `ended` is called once, when the member has left by an error, or, of one that goes `to_end`, when all its
    /// partitions have ended.
    ///
    /// # Errors
    /// Broker or topics do not serve.
    pub async fn join(
        settings: &TopicSettings,
        lane_settings: LaneSettings,
        lanes: Arc<dyn Lanes>,
        ended: impl FnOnce(Result<(), TopicError>) + Send + 'static,
    ) -> Result<Self, TopicError> {
        let partitions = match &lane_settings.foreign {
            None => admin::see_to(settings).await?,
            Some(foreign) => foreign::see_to(settings, foreign).await?,
        };
        let to_end = lane_settings.to_end;
        let assigned = Arc::new(Assigned {
            told: Told::default(),
            topic: settings.name.as_str().into(),
            partitions,
            schemas: Arc::new(Schemas::new(settings)),
            settings: lane_settings,
            lanes,
            fed: Mutex::default(),
            failed: Mutex::default(),
            has_lanes: AtomicBool::new(false),
        });
        let mut member = Member::join(settings, &assigned)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, settings) = (stop.clone(), settings.clone());
        let thread = thread::spawn(move || {
            let polled = loop {
                let polled = poll(&settings, &member, &stopped);
                // Its lanes end before it leaves the group.
                let is_through = matches!(polled, Ok(Polled::Ended)) && to_end && !stopped.load(Ordering::Relaxed);
                assigned.end_all(if is_through { Ending::Through } else { Ending::Now });
                drop(member);
                match polled {
                    Ok(Polled::Ended) => break Ok(()),
                    Err(error) => break Err(error),
                    // As a new member: whatever is assigned then goes on where the history is by then.
                    Ok(Polled::Fenced) => info!(topic = &*assigned.topic, "joining the group again"),
                }
                member = match Member::join(&settings, &assigned) {
                    Ok(member) => member,
                    Err(error) => break Err(error),
                };
            };
            ended(polled);
        });
        Ok(Group { stop, thread: Some(thread) })
    }
}

type Consumer = BaseConsumer<Member>;

/// How polling ends.
enum Polled {
    /// It was told to, or its partitions have ended.
    Ended,
    /// A lane was kept from writing.
    Fenced,
}

/// One stay in the group: what the client calls back.
struct Member(Arc<Assigned>);

impl Member {
    fn join(settings: &TopicSettings, assigned: &Arc<Assigned>) -> Result<Consumer, TopicError> {
        let consumer: Consumer = settings.create_with(&settings.member(), Member(assigned.clone()))?;
        consumer
            .subscribe(&[&settings.name])
            .map_err(|error| TopicError::Unfit(format!("topic {} cannot be read: {error}", settings.name)))?;
        Ok(consumer)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic was printed.
            let _ = thread.join();
        }
    }
}

fn poll(settings: &TopicSettings, consumer: &Consumer, stop: &AtomicBool) -> Result<Polled, TopicError> {
    let context = &*consumer.context().0;
    let to_end = context.settings.to_end;
    let mut said = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(POLL) {
            Some(Ok(message)) => context.feed(consumer, &message),
            Some(Err(KafkaError::PartitionEOF(partition))) if to_end => drop(context.fed().remove(&(partition as u32))),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                context.fed().entry(partition as u32).and_modify(|lane| lane.is_at_end = true);
            }
            Some(Err(error)) => check(settings, context, &error)?,
            None => {}
        }
        if let Some(error) = context.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        if context.lanes.was_fenced() {
            return Ok(Polled::Fenced);
        }
        context.resume(consumer);
        if said.elapsed() > SAY_OFFSETS {
            say_offsets(consumer);
            said = Instant::now();
        }
        if to_end && context.has_lanes.load(Ordering::Relaxed) && context.fed().is_empty() {
            break;
        }
    }
    Ok(Polled::Ended)
}

/// Whether an error of the consumer ends it.
fn check(settings: &TopicSettings, context: &Assigned, error: &KafkaError) -> Result<(), TopicError> {
    let topic = &settings.name;
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => Err(TopicError::Stop(format!(
            "topic {topic} does not hold the offset any more where the history goes on ({error}): its messages were deleted before they \
             were applied. Begin a new history from a new topic"
        ))),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            Err(TopicError::Stop(format!("topic {topic} is not there any more: {error}")))
        }
        Some(
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::FencedInstanceId,
        ) => Err(settings.unreached(&format!("topic {topic} cannot be read"), error, &context.told)),
        Some(RDKafkaErrorCode::Fatal) => {
            Err(TopicError::Stop(format!("the consumer of topic {topic} has failed: {error}")))
        }
        // The client finds a broker again by itself.
        _ => {
            debug!("kafka: {error}");
            Ok(())
        }
    }
}

/// For who looks at the group's lag: nobody here reads them back.
fn say_offsets(consumer: &Consumer) {
    let context = &*consumer.context().0;
    let mut list = TopicPartitionList::new();
    for (partition, Position(text)) in context.lanes.positions() {
        if let Ok(Reached { offset, .. }) = text.parse::<Reached>() {
            let _ = list.add_partition_offset(&context.topic, partition as i32, Offset::Offset(offset as i64));
        }
    }
    if list.count() > 0
        && let Err(error) = consumer.commit(&list, CommitMode::Async)
    {
        debug!("offsets could not be said to the group: {error}");
    }
}

/// What the polling thread knows of its partitions.
struct Assigned {
    told: Told,
    topic: Arc<str>,
    partitions: u32,
    schemas: Arc<Schemas>,
    settings: LaneSettings,
    lanes: Arc<dyn Lanes>,
    fed: Mutex<HashMap<u32, Fed>>,
    failed: Mutex<Option<TopicError>>,
    /// Lanes have begun, and were not ended from here.
    has_lanes: AtomicBool,
}

struct Fed {
    feed: Feed,
    is_paused: bool,
    /// The offset behind the last message that it was fed.
    next: u64,
    /// No message lies behind that.
    is_at_end: bool,
    /// Of the last message: most have the same.
    schema: Option<Arc<str>>,
}

impl Assigned {
    fn fed(&self) -> MutexGuard<'_, HashMap<u32, Fed>> {
        self.fed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed(&self, consumer: &Consumer, message: &BorrowedMessage<'_>) {
        let partition = message.partition() as u32;
        let mut fed = self.fed();
        // One that is no longer ours, or has ended.
        let Some(lane) = fed.get_mut(&partition) else { return };
        (lane.next, lane.is_at_end) = (message.offset() as u64 + 1, false);
        let message = taken(message, &mut lane.schema, self.settings.foreign.is_some());
        let bytes = message.bytes();
        let waiting = lane.feed.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if lane.feed.messages.send(message).is_err() {
            // The lane has ended by itself, and says why where it is waited for.
            fed.remove(&partition);
            return;
        }
        if waiting > WAITING_MAX && !lane.is_paused {
            lane.is_paused = consumer.pause(&self.list([partition])).is_ok();
        }
    }

    fn resume(&self, consumer: &Consumer) {
        for (partition, lane) in self.fed().iter_mut().filter(|(_, lane)| lane.is_paused) {
            if lane.feed.waiting.load(Ordering::Relaxed) < WAITING_FEW {
                lane.is_paused = consumer.resume(&self.list([*partition])).is_err();
            }
        }
    }

    fn list(&self, partitions: impl IntoIterator<Item = u32>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition as i32);
        }
        list
    }

    /// Begins lanes, and says where each goes on.
    fn assign(&self, list: &mut TopicPartitionList) -> Result<(), TopicError> {
        // The protocol is an eager one: whatever was assigned before is not any more, also where nobody said so.
        self.end_all(Ending::Now);
        let partitions: Vec<u32> = list.elements().iter().map(|element| element.partition() as u32).collect();
        for partition in partitions {
            let start = self.lanes.begin(partition)?;
            let LaneSettings { zone, batch_changes_max, batch_bytes_max, foreign, entity_key, .. } =
                self.settings.clone();
            let reached = match &start {
                Some(Position(text)) => text.parse::<Reached>().map_err(TopicError::Stop)?,
                None if foreign.is_some() => Reached { offset: 0, last: Last::From(None) },
                None => Reached { offset: 0, last: Last::Numbered { epoch: 0, number: 0 } },
            };
            let messages = match foreign {
                Some(foreign) => Messages::Foreign(Foreign::new(foreign, self.partitions)),
                None => {
                    let order = Order { entity_key, partitions: self.partitions };
                    Messages::Ours(self.schemas.clone(), Arc::new(order), Payloads::default())
                }
            };
            let offset = reached.offset;
            let of = Of {
                topic: self.topic.clone(),
                partition,
                reader: Reader::new(zone),
                messages,
                batch_changes_max,
                batch_bytes_max,
            };
            let (lane, feed) = Lane::new(of, reached);
            let fed = Fed { feed, is_paused: false, next: offset, is_at_end: false, schema: None };
            self.fed().insert(partition, fed);
            self.has_lanes.store(true, Ordering::Relaxed);
            info!(topic = &*self.topic, partition, offset, "a partition is assigned");
            self.lanes.run(partition, lane);
            let offset = if start.is_some() { Offset::Offset(offset as i64) } else { Offset::Beginning };
            let set = list.set_partition_offset(&self.topic, partition as i32, offset);
            set.map_err(|error| TopicError::Stop(format!("topic {}, partition {partition}: {error}", self.topic)))?;
        }
        Ok(())
    }

    fn end_all(&self, how: Ending) {
        self.fed().clear();
        self.has_lanes.store(false, Ordering::Relaxed);
        self.lanes.end(how);
    }

    /// Messages that are not done. Offsets of marks that end transactions are counted as messages as long as a lane is not at
    /// its partition's end.
    fn behind(&self, of_topic: &Topic) -> u64 {
        let reached: HashMap<u32, u64> = self
            .lanes
            .positions()
            .into_iter()
            .filter_map(|(partition, Position(text))| Some((partition, text.parse::<Reached>().ok()?.offset)))
            .collect();
        let behind = |(partition, lane): (&u32, &Fed)| {
            let Some(told) = of_topic.partitions.get(&(*partition as i32)) else { return 0 };
            let done = reached.get(partition).copied().unwrap_or(0);
            // What lies in an open transaction is behind too: one that is never ended must not look like nothing.
            let end = if lane.is_at_end && told.hi_offset == told.ls_offset {
                lane.next
            } else {
                told.hi_offset.max(0) as u64
            };
            end.saturating_sub(done)
        };
        self.fed().iter().map(behind).sum()
    }

    fn fail(&self, error: TopicError) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

fn taken(message: &BorrowedMessage<'_>, last_schema: &mut Option<Arc<str>>, with_key: bool) -> Message {
    let (mut sequence, mut schema, mut sides) = (None, None, Sides::Both);
    for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
        let Some(value) = header.value.map(String::from_utf8_lossy) else { continue };
        match header.key {
            SEQUENCE_HEADER => sequence = Some(value.parse()),
            SCHEMA_HEADER => {
                if last_schema.as_deref() != Some(&*value) {
                    *last_schema = Some((&*value).into());
                }
                schema.clone_from(last_schema);
            }
            MOVE_HEADER if value == "leaves" => sides = Sides::Before,
            MOVE_HEADER if value == "arrives" => sides = Sides::After,
            _ => {}
        }
    }
    let (offset, value) = (message.offset() as u64, message.payload().map(<[u8]>::to_vec));
    let key = message.key().filter(|_| with_key).map(<[u8]>::to_vec);
    Message { offset, key, value, sequence, schema, sides }
}

impl ClientContext for Member {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        self.0.told.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.told.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        if let Some(topic) = statistics.topics.get(&*self.0.topic) {
            self.0.lanes.lag(self.0.behind(topic));
        }
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &Consumer, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => match self.0.assign(list) {
                Ok(()) => consumer.assign(list),
                Err(error) => {
                    self.0.fail(error);
                    consumer.unassign()
                }
            },
            _ => {
                let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
                info!(topic = &*self.0.topic, ?partitions, "partitions are given away");
                self.0.end_all(Ending::Now);
                consumer.unassign()
            }
        };
        if let Err(error) = done {
            warn!("kafka: the assignment could not be taken: {error}");
        }
    }
}
