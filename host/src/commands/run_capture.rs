//! `hindsight run --only capture`: from the source into the topic, from the topic's checkpoint on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{info, warn};

use super::captured::{Begun, Report};
use super::progress::Progress;
use super::run::{self, Half};
use super::signals::stop_on_signal;
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
    let started = Instant::now();
    let port = run::port(config, args).await?;
    let end = run::end(args);
    let opened = assemble::topic_parts(config, topic, end).await;
    let mut parts = opened.map_err(stopped)?;
    let start = parts.start.clone();
    info!(
        pipeline = config.name,
        topic = topic.name,
        start = start.as_ref().map_or("the beginning", |position| position.0.as_str()),
        "capturing"
    );
    let status = Status::new(parts.version.clone(), start.clone(), args.paused);
    let (status, standing) = watch::channel(status);
    let (source_state, source_standing) = watch::channel(parts.source_state.borrow().clone());
    let (paused, is_paused) = watch::channel(args.paused);
    let stop = stop_on_signal();
    let metrics = Arc::new(Metrics::new(&config.name));
    // Held until the end: without a control port nobody else does.
    let _held = paused.clone();
    let half = Half {
        config,
        started,
        status: standing,
        source: source_standing,
        paused,
        metrics: metrics.clone(),
        no_swap: NO_SWAP,
    };
    half.serve(port)?;
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
        let switches = Switches { stop: stop.clone(), paused: is_paused.clone() };
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
    let to = format!("topic {}", topic.name);
    Report { config, to: &to, captured: &captured, begun, elapsed: started.elapsed() }.print(args.json.json)
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
