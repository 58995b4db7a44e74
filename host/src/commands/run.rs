//! `hindsight run`: the pipeline from the configured start to the end of its source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::{mpsc, watch};
use tracing::info;

use super::progress::{self, Progress};
use super::signals::stop_on_signal;
use super::{run_apply, run_both, run_capture};
use crate::assemble::{self, Parts};
use crate::cli::{self, Run};
use crate::config::{Config, SinkKind, SourceKind, defaults};
use crate::control::{CaptureHalf, Control, Port};
use crate::event::Batch;
use crate::failure::{Failure, Outcome};
use crate::history::Checkpoint;
use crate::metrics::Metrics;
use crate::output;
use crate::pipeline::{self, Status, Summary, Switches};
use crate::rule::Plan;
use crate::source::mysql::End;
use crate::source::{SourceState, TableFilter};
use crate::swap::Manager;

/// Runs to the source's end where it has one, or until SIGINT or SIGTERM (the batch in hand is finished first; a second signal ends at once, exit code 130).
pub async fn run(config: &Config, args: &Run) -> Outcome<()> {
    match (&config.topic, args.only) {
        (None, None) => direct(config, args).await,
        (Some(_), Some(cli::Half::Capture)) if matches!(config.source.kind, SourceKind::Topic { .. }) => {
            Err(Failure::usage(anyhow!(
                "with source.kind = \"topic\" somebody else captures the source: leave out --only capture"
            )))
        }
        (Some(topic), Some(cli::Half::Capture)) => run_capture::run(config, topic, args).await,
        (Some(topic), Some(cli::Half::Apply)) => run_apply::run(config, topic, args).await,
        (Some(topic), None) => match config.source.kind {
            SourceKind::Topic { .. } => run_apply::run(config, topic, args).await,
            _ => run_both::run(config, topic, args).await,
        },
        (None, Some(_)) => Err(Failure::usage(anyhow!(
            "--only runs one half of a pipeline with a topic, and {} has no [topic]: add brokers = \"127.0.0.1:9092\" and name = \
             \"item_asset_changes\" there, or leave out --only",
            config.file.display()
        ))),
    }
}

/// A start would not find the rule that was swapped in.
const NO_SWAP: &str =
    "a history in StarRocks does not keep components: a rule is changed by the configuration and a restart";

/// How far a run goes.
pub(super) fn end(args: &Run) -> End {
    if args.to_end { End::AsOpened } else { End::Never }
}

/// What a half is told from outside. Clones share it.
#[derive(Clone)]
pub(super) struct Course {
    pub started: Instant,
    pub end: End,
    pub stop: watch::Receiver<bool>,
    /// Held until the end: without a control port nobody else does.
    pub paused: watch::Sender<bool>,
}

impl Course {
    pub fn of(args: &Run) -> Self {
        let paused = watch::Sender::new(args.paused);
        Course { started: Instant::now(), end: end(args), stop: stop_on_signal(), paused }
    }
}

/// The control port, bound before anything is touched: one that is taken is said first.
pub(super) async fn port(config: &Config, args: &Run) -> Outcome<Option<Port>> {
    let port = match config.control {
        Some(address) => Some(Port::bind(address).await?),
        None => None,
    };
    if args.paused && port.is_none() {
        return Err(Failure::usage(anyhow!(
            "--paused needs a control port to be resumed by: [control] listen = \"{}\"",
            defaults::CONTROL_LISTEN
        )));
    }
    Ok(port)
}

/// What is behind the control port of a half, which exchanges no rule and reads no table again.
pub(super) struct Half<'a> {
    pub config: &'a Config,
    pub started: Instant,
    pub status: watch::Receiver<Status>,
    pub source: watch::Receiver<SourceState>,
    pub paused: watch::Sender<bool>,
    pub metrics: Arc<Metrics>,
    /// Why no rule is exchanged.
    pub no_swap: &'static str,
    /// The capture half of the same process.
    pub capture: Option<CaptureHalf>,
}

impl Half<'_> {
    /// Serves the port, where there is one.
    pub fn serve(self, port: Option<Port>) -> Outcome<()> {
        let Half { config, started, status, source, paused, metrics, no_swap, capture } = self;
        let Some(port) = port else { return Ok(()) };
        let tables = TableFilter::parse(&config.source.tables).map_err(|error| Failure::usage(anyhow!(error)))?;
        let (limits, time_zone) = (assemble::limits(&config.rule.limits), config.source.time_zone.clone());
        let manager = Manager::new(limits, time_zone, status.clone(), mpsc::channel(1).0).refusing(no_swap);
        let (pipeline, resnapshot) = (config.name.clone(), None);
        port.serve(Control {
            pipeline,
            started,
            status,
            source,
            paused,
            manager,
            resnapshot,
            tables,
            metrics,
            capture,
        });
        Ok(())
    }
}

/// From source to history, in one process.
async fn direct(config: &Config, args: &Run) -> Outcome<()> {
    let started = Instant::now();
    let port = port(config, args).await?;
    let (paused, json, end) = (args.paused, args.json.json, end(args));
    let events = args.events.as_deref();
    let Parts { source, source_state, resnapshot, opening, mut sink, pipeline } = assemble::parts(config, end).await?;
    let mut events = events.map(|file| assemble::events_beside(config, file, &pipeline)).transpose()?;
    info!(
        pipeline = config.name,
        rule = %opening.version,
        start = pipeline.start.as_ref().map_or("the beginning", |position| position.0.as_str()),
        "running"
    );
    let (status, standing) = watch::channel(opening.status(&pipeline, paused));
    let (paused, is_paused) = watch::channel(paused);
    let (exchange, exchanges) = mpsc::channel(1);
    let switches = Switches { stop: stop_on_signal(), paused: is_paused, exchanges };
    let metrics = Arc::new(Metrics::new(&config.name));
    // Held until the end: without a control port nobody else does.
    let _held = (paused.clone(), exchange.clone());
    if let Some(port) = port {
        let limits = assemble::limits(&config.rule.limits);
        let tables = TableFilter::parse(&config.source.tables).map_err(|error| Failure::usage(anyhow!(error)))?;
        let manager = Manager::new(limits, config.source.time_zone.clone(), standing.clone(), exchange);
        let (manager, resnapshot) = match config.sink.kind {
            SinkKind::Sqlite { .. } => (manager, resnapshot),
            SinkKind::StarRocks(_) => (manager.refusing(NO_SWAP), None),
        };
        port.serve(Control {
            pipeline: config.name.clone(),
            started,
            status: standing,
            source: source_state,
            paused,
            manager,
            resnapshot,
            tables,
            metrics: metrics.clone(),
            capture: None,
        });
    }
    let progress = Progress::new();
    let at_edge = |now: pipeline::Status| {
        progress.show(&now.summary);
        metrics.observe(&now);
        status.send_replace(now);
    };
    let mut tap = |batch: &Batch, plan: Option<&Plan>, checkpoint: &Checkpoint| match &mut events {
        Some(events) => events.append(batch, plan, checkpoint).map(|_| ()).map_err(Failure::run),
        None => Ok(()),
    };
    let outcome = pipeline::run(source, opening, sink.as_mut(), &pipeline, switches, &mut tap, at_edge).await;
    progress.end();
    let summary = outcome?;
    report(config, &summary, pipeline.start.is_some(), started.elapsed(), json);
    Ok(())
}

/// `resumed`: whether an earlier run had read a part of the source.
pub(super) fn report(config: &Config, summary: &Summary, resumed: bool, elapsed: Duration, json: bool) {
    if json {
        println!("{}", report_json(summary, elapsed));
        return;
    }
    if summary.batches == 0 || summary.changes() == 0 {
        let tables = config.source.tables.join(", ");
        match resumed {
            true => println!("No change of {tables} was left to read: the history is up to date."),
            false => println!("The source holds no change of {tables}. Is [source] right?"),
        }
        return;
    }
    print!("{}", progress::changes(summary));
    println!(
        "{} history rows written to {} in {}{}",
        output::grouped(summary.rows_upserted + summary.rows_deleted),
        config.sink.table,
        config.sink.place(),
        match summary.negative_intervals {
            0 => String::new(),
            n => format!("; {} of them end before they start (late changes)", output::grouped(n)),
        }
    );
    if summary.dead_letters > 0 {
        println!(
            "{} changes are set aside and not in the history: `hindsight dead-letters list {}` says why",
            output::grouped(summary.dead_letters),
            config.file.display()
        );
    }
    println!("{:.2} s, {} changes a second", elapsed.as_secs_f64(), output::grouped(rate(summary, elapsed)));
}

pub(super) fn report_json(summary: &Summary, elapsed: Duration) -> serde_json::Value {
    let mut report = serde_json::to_value(summary).expect("a summary is plain data");
    report["changes"] = summary.changes().into();
    report["elapsed_ms"] = (elapsed.as_millis() as u64).into();
    report["changes_per_second"] = rate(summary, elapsed).into();
    report
}

fn rate(summary: &Summary, elapsed: Duration) -> u64 {
    (summary.changes() as f64 / elapsed.as_secs_f64().max(1e-3)) as u64
}
