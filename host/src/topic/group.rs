//! A member of the pipeline's consumer group: a lane for each partition that it is assigned.
//!
//! One thread polls, for what concerns the group; a partition's messages wait in its inbox until its lane takes them. Where
//! offsets are kept with the history, what is committed to Kafka is for who looks at the group's lag; else it is all that there is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::{Statistics, Topic};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, Message as _};
use tracing::{debug, info, warn};

use super::client::{Told, TopicSettings};
use super::inbox::Inbox;
use super::lane::{Lane, Last, Messages, Of, Reached};
use super::offsets::{By, Offsets, REQUESTS_MAX, Request, Writing};
use super::schemas::{Order, Schemas};
use super::{TopicError, admin, foreign};
use crate::civil::Zone;
use crate::crash;
use crate::envelope::read::{Foreign, ForeignSettings, Payloads, Reader};
use crate::event::{EntityKey, Position};

/// Between two polls.
const POLL: Duration = Duration::from_millis(20);

/// The same while lanes end.
const POLL_ENDING: Duration = Duration::from_millis(2);

/// How often offsets are said to the group.
const SAY_OFFSETS: Duration = Duration::from_secs(1);

/// Where a partition goes on.
#[derive(Clone, Debug, Default)]
pub struct Begin {
    /// None: at its beginning.
    pub at: Option<Position>,
    /// Its first batch has to end here.
    pub redo_to: Option<Position>,
}

/// Where the positions of partitions are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeps {
    /// With the history: Kafka is told of them.
    Elsewhere,
    /// In the group's offsets, and nowhere else.
    Offsets,
}

/// What partitions are taken to, and where it keeps their positions. Calls come from the polling thread and may block, where
/// nothing else is said.
pub trait Lanes: Send + Sync {
    /// A partition is assigned, and its offset in the group: where it goes on.
    ///
    /// # Errors
    /// It cannot be taken: the whole member ends.
    fn begin(&self, offsets: Offsets) -> Result<Begin, TopicError>;

    /// Takes its messages from now on.
    fn run(&self, partition: u32, lane: Lane);

    /// No partition has messages any more: returns when nothing of any is written any more. One that takes longer than this is
    /// ended where it is. Called by another thread, beside the polling one.
    fn end(&self, how: Ending, within: Duration);

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
    /// Where its partition ends.
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
    pub keeps: Keeps,
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
        let (requests, asked) = sync_channel(REQUESTS_MAX);
        let assigned = Arc::new(Assigned {
            told: Told::default(),
            topic: settings.name.as_str().into(),
            partitions,
            schemas: Arc::new(Schemas::new(settings)),
            settings: lane_settings,
            lanes,
            inboxes: Mutex::default(),
            failed: Mutex::default(),
            has_lanes: AtomicBool::new(false),
            requests,
            writing: Writing::of(asked),
            end_max: settings.poll_max() / 3,
        });
        let mut member = Member::join(settings, &assigned)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, settings) = (stop.clone(), settings.clone());
        let thread = thread::spawn(move || {
            let polled = loop {
                let polled = poll(&settings, &member, &stopped);
                // Its lanes end before it leaves the group.
                let is_through = matches!(polled, Ok(Polled::Ended)) && to_end && !stopped.load(Ordering::Relaxed);
                assigned.end_all(&member, if is_through { Ending::Through } else { Ending::Now });
                drop(member);
                // One that was kept from writing at its end is not through.
                let polled = match polled {
                    Ok(Polled::Ended) if is_through && assigned.lanes.was_fenced() => Ok(Polled::Fenced),
                    polled => polled,
                };
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

pub(super) type Consumer = BaseConsumer<Member>;

/// How polling ends.
enum Polled {
    /// It was told to, or its partitions have ended.
    Ended,
    /// A lane was kept from writing.
    Fenced,
}

/// One stay in the group: what the client calls back.
pub(super) struct Member {
    assigned: Arc<Assigned>,
    /// Itself: a partition's queue holds it.
    consumer: OnceLock<Weak<Consumer>>,
}

impl Member {
    fn join(settings: &TopicSettings, assigned: &Arc<Assigned>) -> Result<Arc<Consumer>, TopicError> {
        let member = Member { assigned: assigned.clone(), consumer: OnceLock::new() };
        let consumer: Consumer = settings.create_with(&settings.member(assigned.partitions), member)?;
        let consumer = Arc::new(consumer);
        consumer.context().consumer.set(Arc::downgrade(&consumer)).expect("it is set here only");
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
    let context = &*consumer.context().assigned;
    let mut said = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(Duration::ZERO) {
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                return Err(TopicError::Stop(format!(
                    "topic {}, partition {partition}, offset {offset}: a message came outside of its partition's queue. Start again: \
                     nothing of it is written",
                    settings.name
                )));
            }
            Some(Err(error)) => check(settings, context, &error)?,
            None => {}
        }
        for error in context.inboxes().values().flat_map(|inbox| inbox.errors()) {
            check(settings, context, &error)?;
        }
        if let Some(error) = context.failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        if context.lanes.was_fenced() {
            return Ok(Polled::Fenced);
        }
        // Here it waits: what lanes ask for is not to wait for a poll.
        context.writing.serve(consumer, &context.topic, POLL);
        if said.elapsed() > SAY_OFFSETS && context.settings.keeps == Keeps::Elsewhere {
            say_offsets(consumer);
            said = Instant::now();
        }
        if context.settings.to_end && context.are_all_at_their_ends() {
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
    let context = &*consumer.context().assigned;
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
    /// By partition.
    inboxes: Mutex<HashMap<u32, Arc<Inbox>>>,
    failed: Mutex<Option<TopicError>>,
    /// Lanes have begun, and were not ended from here.
    has_lanes: AtomicBool,
    requests: SyncSender<Request>,
    writing: Writing,
    /// How long lanes may take to end: a third of what a rebalance waits for this member.
    end_max: Duration,
}

impl Assigned {
    fn inboxes(&self) -> MutexGuard<'_, HashMap<u32, Arc<Inbox>>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_all_at_their_ends(&self) -> bool {
        self.has_lanes.load(Ordering::Relaxed) && self.inboxes().values().all(|inbox| inbox.is_at_end())
    }

    /// Begins lanes, and says where each goes on.
    fn assign(&self, consumer: &Arc<Consumer>, list: &mut TopicPartitionList) -> Result<(), TopicError> {
        // The protocol is an eager one: whatever was assigned before is not any more, also where nobody said so.
        self.end_all(consumer, Ending::Now);
        let partitions: Vec<u32> = list.elements().iter().map(|element| element.partition() as u32).collect();
        for partition in partitions {
            if partition >= self.partitions {
                return Err(TopicError::Stop(format!(
                    "topic {} had {} partitions when this process began, and has partition {partition} now: keys lie in other partitions \
                     than before, and the order of their changes is lost. Begin a new history from a new topic",
                    self.topic, self.partitions
                )));
            }
            let by = By::Member { consumer: Arc::downgrade(consumer), requests: self.requests.clone() };
            let (topic, partitions) = (self.topic.to_string(), self.partitions);
            let Begin { at: start, redo_to } = self.lanes.begin(Offsets { topic, partition, partitions, by })?;
            let LaneSettings { zone, batch_changes_max, batch_bytes_max, foreign, entity_key, to_end, keeps } =
                self.settings.clone();
            let redo_to = match redo_to {
                Some(Position(text)) => Some(text.parse::<Reached>().map_err(TopicError::Stop)?.offset),
                None => None,
            };
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
                to_end,
                partitions: self.partitions,
                accounts: keeps == Keeps::Offsets,
                redo_to,
            };
            // Before it is assigned: so none of its messages goes elsewhere.
            let queue = consumer.split_partition_queue(&self.topic, partition as i32);
            let queue = queue.ok_or_else(|| {
                TopicError::Stop(format!("topic {}, partition {partition}: the client has no queue of it", self.topic))
            })?;
            let inbox = Inbox::of(queue, offset);
            self.inboxes().insert(partition, inbox.clone());
            let lane = Lane::new(of, reached, inbox);
            self.has_lanes.store(true, Ordering::Relaxed);
            info!(topic = &*self.topic, partition, offset, "a partition is assigned");
            self.lanes.run(partition, lane);
            let offset = if start.is_some() { Offset::Offset(offset as i64) } else { Offset::Beginning };
            let set = list.set_partition_offset(&self.topic, partition as i32, offset);
            set.map_err(|error| TopicError::Stop(format!("topic {}, partition {partition}: {error}", self.topic)))?;
        }
        Ok(())
    }

    /// What lanes that end still ask for is done meanwhile.
    fn end_all(&self, consumer: &Consumer, how: Ending) {
        self.inboxes().drain().for_each(|(_, inbox)| inbox.close());
        self.has_lanes.store(false, Ordering::Relaxed);
        crash::point("group.ending");
        thread::scope(|scope| {
            let ending = scope.spawn(|| self.lanes.end(how, self.end_max));
            while !ending.is_finished() {
                self.writing.serve(consumer, &self.topic, POLL_ENDING);
            }
        });
        crash::point("group.ended");
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
        let behind = |(partition, inbox): (&u32, &Arc<Inbox>)| {
            let Some(told) = of_topic.partitions.get(&(*partition as i32)) else { return 0 };
            let done = reached.get(partition).copied().unwrap_or(0);
            // What lies in an open transaction is behind too: one that is never ended must not look like nothing.
            let end = if inbox.is_at_end() && told.hi_offset == told.ls_offset {
                inbox.next()
            } else {
                told.hi_offset.max(0) as u64
            };
            end.saturating_sub(done)
        };
        self.inboxes().iter().map(behind).sum()
    }

    fn fail(&self, error: TopicError) {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

impl ClientContext for Member {
    fn log(&self, level: rdkafka::config::RDKafkaLogLevel, facility: &str, message: &str) {
        self.assigned.told.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.assigned.told.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        if let Some(topic) = statistics.topics.get(&*self.assigned.topic) {
            self.assigned.lanes.lag(self.assigned.behind(topic));
        }
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &Consumer, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let done = match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                // It may be on its way out.
                let itself = self.consumer.get().and_then(Weak::upgrade);
                match itself.map(|itself| self.assigned.assign(&itself, list)) {
                    Some(Ok(())) => consumer.assign(list),
                    Some(Err(error)) => {
                        self.assigned.fail(error);
                        consumer.unassign()
                    }
                    None => consumer.unassign(),
                }
            }
            _ => {
                let partitions: Vec<i32> = list.elements().iter().map(|element| element.partition()).collect();
                info!(topic = &*self.assigned.topic, ?partitions, "partitions are given away");
                self.assigned.end_all(consumer, Ending::Now);
                consumer.unassign()
            }
        };
        if let Err(error) = done {
            warn!("kafka: the assignment could not be taken: {error}");
        }
    }
}
