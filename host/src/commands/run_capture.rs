//! `hindsight run --only capture`: from the source into the topic, from the topic's checkpoint on.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use super::captured::{Begun, Report};
use super::progress::Progress;
use super::run::{self, Course, Half};
use crate::assemble::{self, TopicParts};
use crate::capture::{self, Captured, Edge, LogError, Switches};
use crate::cli;
use crate::config::{Config, TopicConfig};
use crate::failure::{Exit, Failure, Outcome};
use crate::metrics::Metrics;
use crate::pipeline::Status;
use crate::source::SourceState;
use crate::source::mysql::End;

/// The first wait before a topic is opened again that broke; each one more is twice as long, up to the second.
const WAITS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

const NO_SWAP: &str = "the capture half only asks the rule by which columns an entity is told; with a topic, a rule is changed by the \
                       configuration and a restart of both halves";

/// Goes on to the source's end where it has one, or until SIGINT or SIGTERM.
pub async fn run(config: &Config, topic: &TopicConfig, args: &cli::Run) -> Outcome<()> {
    if args.events.is_some() {
        return Err(Failure::usage(anyhow!(
            "--events writes what is decided, and --only capture decides nothing: `hindsight capture --to FILE` writes the same \
             events to a file"
        )));
    }
    let port = run::port(config, args).await?;
    let capturing = Capturing::open(config, topic, Course::of(args)).await?;
    capturing.half().serve(port)?;
    let report = capturing.follow().await?;
    report.print(args.json.json)
}

/// The capture half, opened.
pub(super) struct Capturing<'c> {
    config: &'c Config,
    topic: &'c TopicConfig,
    course: Course,
    parts: TopicParts,
    status: watch::Sender<Status>,
    source: watch::Sender<SourceState>,
    metrics: Arc<Metrics>,
}

impl<'c> Capturing<'c> {
    /// Opens topic and source.
    pub async fn open(config: &'c Config, topic: &'c TopicConfig, course: Course) -> Outcome<Self> {
        let parts = assemble::topic_parts(config, topic, course.end).await.map_err(stopped)?;
        info!(
            pipeline = config.name,
            topic = topic.name,
            start = parts.start.as_ref().map_or("the beginning", |position| position.0.as_str()),
            "capturing"
        );
        let status = Status::new(parts.version.clone(), parts.start.clone(), *course.paused.borrow());
        let (status, source) = (watch::Sender::new(status), watch::Sender::new(parts.source_state.borrow().clone()));
        Ok(Capturing {
            config,
            topic,
            course,
            parts,
            status,
            source,
            metrics: Arc::new(Metrics::of_capture(&config.name)),
        })
    }

    /// What the control port shows of it.
    pub fn half(&self) -> Half<'c> {
        Half {
            config: self.config,
            started: self.course.started,
            status: self.status.subscribe(),
            source: self.source.subscribe(),
            paused: self.course.paused.clone(),
            metrics: self.metrics.clone(),
            no_swap: NO_SWAP,
            capture: None,
        }
    }

    /// Goes on to the source's end where it has one, or until it is told to stop.
    pub async fn follow(self) -> Outcome<Report<'c>> {
        let Capturing { config, topic, course, mut parts, status, source: source_state, metrics } = self;
        let Course { started, end, stop, paused } = course;
        let start = parts.start.clone();
        let progress = Progress::new();
        let mut so_far = Captured::default();
        let captured = loop {
            let TopicParts { source, source_state: state, rule, version, mut log, start } = parts;
            tokio::spawn(forward(state, source_state.clone()));
            let before = so_far.clone();
            let at_edge = |edge: Edge<'_>| {
                progress.show(&edge.captured.summary);
                so_far = edge.captured.clone();
                let now = Status {
                    summary: edge.captured.summary.clone(),
                    position: edge.position.cloned(),
                    tables: edge.tables.to_vec(),
                    plan: edge.plan.cloned(),
                    ..Status::new(version.clone(), None, edge.paused)
                };
                metrics.observe(&now);
                status.send_replace(now);
            };
            let switches = Switches { stop: stop.clone(), paused: paused.subscribe() };
            let ended = capture::follow(source, rule, &mut log, start, before, switches, at_edge).await;
            // It is fenced by the next one, and may have to wait for the broker.
            drop(log);
            match ended {
                Ok(captured) => break captured,
                Err(LogError::Stop(failure)) => {
                    progress.end();
                    return Err(failure);
                }
                Err(LogError::Again(why)) => warn!("the topic is opened again: {why}"),
            }
            match open_again(config, topic, end, stop.clone()).await {
                Ok(Some(again)) => parts = again,
                Ok(None) => break so_far,
                Err(failure) => {
                    progress.end();
                    return Err(failure);
                }
            }
        };
        progress.end();
        let begun = if start.is_some() { Begun::Before } else { Begun::Now };
        Ok(Report { config, to: format!("topic {}", topic.name), captured, begun, elapsed: started.elapsed() })
    }
}

/// Waits for the broker as long as it takes; none when it was told to stop.
async fn open_again(
    config: &Config,
    topic: &TopicConfig,
    end: End,
    mut stop: watch::Receiver<bool>,
) -> Outcome<Option<TopicParts>> {
    let mut wait = WAITS[0];
    loop {
        let jitter = wait.mul_f64(0.5 + 0.5 * fastrand::f64());
        if timeout(jitter, stop.wait_for(|stop| *stop)).await.is_ok() {
            return Ok(None);
        }
        match assemble::topic_parts(config, topic, end).await {
            Ok(parts) => return Ok(Some(parts)),
            Err(LogError::Stop(failure)) if failure.exit != Exit::Outside => return Err(failure),
            Err(error) => warn!("the topic cannot be opened yet: {error}"),
        }
        wait = (wait * 2).min(WAITS[1]);
    }
}

fn stopped(error: LogError) -> Failure {
    match error {
        LogError::Stop(failure) => failure,
        LogError::Again(why) => Failure::outside(anyhow!(why)),
    }
}

/// What the source in hand says of its server, to who asks for the whole time.
async fn forward(mut state: watch::Receiver<SourceState>, to: watch::Sender<SourceState>) {
    loop {
        let now = state.borrow_and_update().clone();
        to.send_replace(now);
        if state.changed().await.is_err() {
            return;
        }
    }
}
