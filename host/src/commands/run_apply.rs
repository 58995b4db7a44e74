//! `hindsight run --only apply`: from the topic into the history, a lane for each partition that the group gives to this process.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::anyhow;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tracing::{info, warn};

use super::progress::Progress;
use super::run::{self, Course, Half, report};
use super::telling::Telling;
use crate::assemble::{self, LaneParts};
use crate::cli;
use crate::config::{Config, SinkKind, TopicConfig};
use crate::event::Position;
use crate::failure::{Failure, Outcome};
use crate::ledger::RuleVersion;
use crate::metrics::Metrics;
use crate::pipeline::{self, Exchange, Status, Summary, Switches};
use crate::rule::Component;
use crate::sink::SinkError;
use crate::source::SourceState;
use crate::topic::{Begin, Ending, Group, Lane, Lanes, Offsets, TopicError};

/// Until a partition has begun: a third of what its group waits.
const BEGIN_MAX: Duration = Duration::from_secs(100);

const NO_SWAP: &str = "with a topic, several processes decide: a rule is changed by the configuration and a restart of each; an exchange that \
                       reaches all of them is not built yet";

/// Goes on until SIGINT or SIGTERM; with `--to-end` until every partition has ended.
pub async fn run(config: &Config, topic: &TopicConfig, args: &cli::Run) -> Outcome<()> {
    if args.events.is_some() {
        return Err(Failure::usage(anyhow!("--events is not for --only apply: the topic holds the events already")));
    }
    let port = run::port(config, args).await?;
    let applying = Applying::new(config, topic, Course::of(args))?;
    applying.half().serve(port)?;
    let started = applying.course.started;
    let summary = applying.follow().await?;
    report(config, &summary, false, started.elapsed(), args.json.json);
    Ok(())
}

/// The apply half, not yet a member of its group.
pub(super) struct Applying<'c> {
    config: &'c Config,
    topic: &'c TopicConfig,
    course: Course,
    history: Arc<History>,
    failures: mpsc::UnboundedReceiver<Failure>,
    source: watch::Receiver<SourceState>,
    metrics: Arc<Metrics>,
}

impl<'c> Applying<'c> {
    /// Loads the rule, before anything is asked of a broker.
    pub fn new(config: &'c Config, topic: &'c TopicConfig, course: Course) -> Outcome<Self> {
        let configured = assemble::configured(config)?;
        info!(pipeline = config.name, topic = topic.name, rule = %configured.1, "applying");
        let status = watch::Sender::new(Status::new(configured.1.clone(), None, *course.paused.borrow()));
        let (_, source) = watch::channel(SourceState::Connected(format!("topic {}", topic.name)));
        let metrics = Arc::new(Metrics::new(&config.name));
        let (progress, observed) = (Progress::new(), metrics.clone());
        let at_edge = move |status: &Status| {
            progress.show(&status.summary);
            observed.observe(status);
        };
        let (failed, failures) = mpsc::unbounded_channel();
        let history = Arc::new(History {
            config: config.clone(),
            topic: topic.clone(),
            configured,
            runtime: Handle::current(),
            paused: course.paused.clone(),
            failed,
            fenced: AtomicBool::new(false),
            turn: Arc::default(),
            stop: course.stop.clone(),
            held: Mutex::default(),
            status,
            at_edge: Box::new(at_edge),
        });
        Ok(Applying { config, topic, course, history, failures, source, metrics })
    }

    /// What the control port shows of it.
    pub fn half(&self) -> Half<'c> {
        Half {
            config: self.config,
            started: self.course.started,
            status: self.history.status.subscribe(),
            source: self.source.clone(),
            paused: self.course.paused.clone(),
            metrics: self.metrics.clone(),
            no_swap: NO_SWAP,
            capture: None,
        }
    }

    /// Joins the group; goes on until it is told to stop, or where it goes to the end until every partition has ended.
    pub async fn follow(self) -> Outcome<Summary> {
        let Applying { config, topic, course, history: lanes, mut failures, .. } = self;
        let Course { mut stop, end, .. } = course;
        let settings = assemble::topic_settings(config, topic);
        let (ended, mut has_ended) = mpsc::unbounded_channel();
        let tell = move |result| drop(ended.send(result));
        let lane_settings = assemble::lane_settings(config, end, assemble::foreign(config, topic).await?)?;
        let group = Group::join(&settings, lane_settings, Arc::new(lanes.clone()), tell).await;
        let group = group.map_err(|error| Failure::topic(error, false))?;
        // In StarRocks they are in a table that anybody can look into.
        let telling = match config.sink.kind {
            SinkKind::Sqlite { .. } => Some(Telling::begin(config, topic)),
            SinkKind::StarRocks(_) => None,
        };
        let outcome = tokio::select! {
            Ok(_) = stop.wait_for(|stop| *stop) => Ok(()),
            Some(failure) = failures.recv() => Err(failure),
            Some(ended) = has_ended.recv() => ended.map_err(|error| Failure::topic(error, lanes.held().summary().batches > 0)),
        };
        // Its lanes finish the batch in hand.
        tokio::task::block_in_place(|| drop(group));
        if let Some(telling) = telling {
            telling.end().await;
        }
        outcome?;
        if let Ok(failure) = failures.try_recv() {
            return Err(failure);
        }
        Ok(lanes.held().summary())
    }
}

/// The history as what partitions are taken to: a pipeline of its own for each.
struct History {
    config: Config,
    topic: TopicConfig,
    /// What the configuration names; a lane's ledger may know better.
    configured: (Component, Arc<RuleVersion>),
    runtime: Handle,
    paused: watch::Sender<bool>,
    failed: mpsc::UnboundedSender<Failure>,
    /// A lane was kept from writing.
    fenced: AtomicBool,
    turn: Arc<tokio::sync::Mutex<()>>,
    /// True: end.
    stop: watch::Receiver<bool>,
    /// Also held while its figures are told: what is told only ever grows.
    held: Mutex<Held>,
    /// Of all lanes.
    status: watch::Sender<Status>,
    at_edge: Box<dyn Fn(&Status) + Send + Sync>,
}

/// The lanes by partition, and what others did that are no longer here.
#[derive(Default)]
struct Held {
    lanes: BTreeMap<u32, Running>,
    before: Summary,
    /// Messages that are not done.
    lag_events: Option<u64>,
}

/// A lane's pipeline.
struct Running {
    /// Until it runs.
    parts: Option<LaneParts>,
    stop: watch::Sender<bool>,
    /// No exchange ever comes.
    _exchanges: Option<mpsc::Sender<Exchange>>,
    task: Option<JoinHandle<()>>,
    /// Ends it within its batch.
    abort: Option<AbortHandle>,
    summary: Summary,
    position: Option<Position>,
    /// Entities in quarantine.
    quarantined: usize,
}

impl Held {
    /// Of all lanes, also of those that are gone.
    fn summary(&self) -> Summary {
        let mut all = self.before.clone();
        self.lanes.values().for_each(|lane| all.add(&lane.summary));
        all
    }

    /// How far each lane is, by partition.
    fn positions(&self) -> Vec<(u32, Position)> {
        self.lanes.iter().filter_map(|(partition, lane)| Some((*partition, lane.position.clone()?))).collect()
    }
}

impl History {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observe(&self, partition: u32, now: Status) {
        let mut held = self.held();
        if let Some(lane) = held.lanes.get_mut(&partition) {
            lane.summary = now.summary.clone();
            lane.position.clone_from(&now.position);
            lane.quarantined = now.quarantined;
        }
        let positions: Vec<String> =
            held.positions().into_iter().map(|(partition, position)| format!("{partition}: {}", position.0)).collect();
        let position = (!positions.is_empty()).then(|| Position(positions.join(", ")));
        let quarantined = held.lanes.values().map(|lane| lane.quarantined).sum();
        let all = Status { summary: held.summary(), position, quarantined, lag_events: held.lag_events, ..now };
        (self.at_edge)(&all);
        self.status.send_replace(all);
    }
}

impl Lanes for Arc<History> {
    fn begin(&self, offsets: Offsets) -> Result<Begin, TopicError> {
        let partition = offsets.partition();
        let (turn, configured) = (self.turn.clone(), self.configured.clone());
        let parts = assemble::lane_parts(&self.config, &self.topic, offsets, turn, configured);
        let mut stop = self.stop.clone();
        // The group waits for it.
        let parts = self.runtime.block_on(async {
            tokio::select! {
                parts = parts => parts.map_err(|failure| TopicError::Unfit(failure.to_string())),
                Ok(_) = stop.wait_for(|stop| *stop) => Err(TopicError::Stop(format!("it was told to end before partition {partition} began"))),
                () = tokio::time::sleep(BEGIN_MAX) => Err(TopicError::Unfit(format!(
                    "partition {partition} cannot begin: what became of its last load is not known after {} s",
                    BEGIN_MAX.as_secs()
                ))),
            }
        })?;
        let position = parts.pipeline.start.clone();
        let begin = Begin { at: position.clone(), redo_to: parts.redo_to.clone() };
        let parts = Some(parts);
        let (stop, _) = watch::channel(false);
        let (summary, quarantined) = (Summary::default(), 0);
        let running =
            Running { parts, stop, _exchanges: None, task: None, abort: None, summary, position, quarantined };
        self.held().lanes.insert(partition, running);
        Ok(begin)
    }

    fn run(&self, partition: u32, lane: Lane) {
        let history = self.clone();
        let mut held = self.held();
        let Some(running) = held.lanes.get_mut(&partition) else { return };
        let Some(LaneParts { opening, mut sink, pipeline, .. }) = running.parts.take() else { return };
        let (exchange, exchanges) = mpsc::channel(1);
        running._exchanges = Some(exchange);
        let switches = Switches { stop: running.stop.subscribe(), paused: self.paused.subscribe(), exchanges };
        let lane = self.runtime.spawn(async move {
            let watch = |now: Status| history.observe(partition, now);
            let mut tap = |_: &_, _: Option<&_>, _: &_| Ok(());
            let ended =
                pipeline::run(Box::new(lane), opening, sink.as_mut(), &pipeline, switches, &mut tap, watch).await;
            match ended {
                Ok(_) => {}
                // Its partition is another member's, and this process may have been still for a while.
                Err(failure) if matches!(failure.error.downcast_ref(), Some(SinkError::Fenced(_))) => {
                    warn!(partition, "the partition is applied by another process: {failure}");
                    history.fenced.store(true, Ordering::Relaxed);
                }
                Err(failure) => drop(history.failed.send(failure)),
            }
        });
        running.abort = Some(lane.abort_handle());
        // A lane that panics must not be a partition that stands still.
        let failed = self.failed.clone();
        running.task = Some(self.runtime.spawn(async move {
            if let Err(error) = lane.await
                && !error.is_cancelled()
            {
                let _ = failed.send(Failure::run(anyhow!("partition {partition} is not applied any more: {error}")));
            }
        }));
    }

    fn end(&self, how: Ending, within: Duration) {
        let tasks: Vec<(JoinHandle<()>, Option<AbortHandle>)> = {
            let mut held = self.held();
            if how == Ending::Now {
                held.lanes.values().for_each(|lane| _ = lane.stop.send_replace(true));
            }
            held.lanes.values_mut().filter_map(|lane| Some((lane.task.take()?, lane.abort.take()))).collect()
        };
        let mut until = tokio::time::Instant::now() + within;
        for (mut task, abort) in tasks {
            self.runtime.block_on(async {
                if how == Ending::Through {
                    // Until it is, or it is told to end.
                    let mut stop = self.stop.clone();
                    tokio::select! {
                        ended = &mut task => return ended.expect("it only waits for the lane"),
                        Ok(_) = stop.wait_for(|stop| *stop) => until = tokio::time::Instant::now() + within,
                    }
                    self.held().lanes.values().for_each(|lane| _ = lane.stop.send_replace(true));
                }
                if tokio::time::timeout_at(until, &mut task).await.is_err() {
                    // Whoever gets the partition finds by its mark what is under way, and ends it.
                    warn!("a lane that does not come to an end is left where it is");
                    abort.inspect(AbortHandle::abort);
                    let _ = task.await;
                }
            });
        }
        let mut held = self.held();
        for lane in std::mem::take(&mut held.lanes).into_values() {
            held.before.add(&lane.summary);
        }
    }

    fn was_fenced(&self) -> bool {
        self.fenced.swap(false, Ordering::Relaxed)
    }

    fn positions(&self) -> Vec<(u32, Position)> {
        self.held().positions()
    }

    fn lag(&self, n_messages: u64) {
        let mut held = self.held();
        held.lag_events = Some(n_messages);
        self.status.send_modify(|all| all.lag_events = held.lag_events);
        (self.at_edge)(&self.status.borrow());
    }
}
