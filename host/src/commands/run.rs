//! `hindsight run`: the pipeline from the configured start to the end of its source.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::assemble::{self, Parts};
use crate::config::{Config, defaults};
use crate::control::{Control, Port};
use crate::event;
use crate::failure::{Failure, Outcome};
use crate::metrics::Metrics;
use crate::output;
use crate::pipeline::{self, Summary, Switches};
use crate::source::TableFilter;
use crate::source::mysql::End;
use crate::swap::Manager;

/// Runs to the source's end where it has one, or until SIGINT or SIGTERM (the batch in hand is finished first; a second signal ends at once, exit code 130).
pub async fn run(config: &Config, end: End, paused: bool, json: bool) -> Outcome<()> {
    let started = Instant::now();
    // A port that is taken is said before anything is touched.
    let port = match config.control {
        Some(address) => Some(Port::bind(address).await?),
        None => None,
    };
    if paused && port.is_none() {
        return Err(Failure::usage(anyhow!(
            "--paused needs a control port to be resumed by: [control] listen = \"{}\"",
            defaults::CONTROL_LISTEN
        )));
    }
    let Parts { source, source_state, resnapshot, opening, mut sink, pipeline } = assemble::parts(config, end).await?;
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
        });
    }
    let progress = Progress::new();
    let at_edge = |now: pipeline::Status| {
        progress.show(&now.summary);
        metrics.observe(&now);
        status.send_replace(now);
    };
    let outcome = pipeline::run(source, opening, sink.as_mut(), &pipeline, switches, at_edge).await;
    progress.end();
    let summary = outcome?;
    report(config, &summary, pipeline.start.is_some(), started.elapsed(), json);
    Ok(())
}

/// `resumed`: whether an earlier run had read a part of the source.
fn report(config: &Config, summary: &Summary, resumed: bool, elapsed: Duration, json: bool) {
    let rate = (summary.changes() as f64 / elapsed.as_secs_f64().max(1e-3)) as u64;
    if json {
        let mut report = serde_json::to_value(summary).expect("a summary is plain data");
        report["changes"] = summary.changes().into();
        report["elapsed_ms"] = (elapsed.as_millis() as u64).into();
        report["changes_per_second"] = rate.into();
        println!("{report}");
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
    if summary.reads > 0 {
        println!("{} rows of the snapshot: what was in the tables already", output::grouped(summary.reads));
    }
    println!(
        "{} changes in {} transactions: {} inserts, {} updates ({} between entities), {} deletes",
        output::grouped(summary.changes() - summary.reads),
        output::grouped(summary.transactions),
        output::grouped(summary.inserts),
        output::grouped(summary.updates),
        output::grouped(summary.moves),
        output::grouped(summary.deletes),
    );
    println!(
        "{} history rows written to {} in {}{}",
        output::grouped(summary.rows_upserted + summary.rows_deleted),
        config.sink.table,
        config.sink.path.display(),
        match summary.negative_intervals {
            0 => String::new(),
            n => format!("; {} of them end before they start (late changes)", output::grouped(n)),
        }
    );
    println!("{:.2} s, {} changes a second", elapsed.as_secs_f64(), output::grouped(rate));
}

const LOG_BAR: &str = "{bar:32} {percent:>3} %  {bytes}/{total_bytes}  {msg}  {eta} left";
const SNAPSHOT_BAR: &str = "snapshot {bar:32} {percent:>3} %  {human_pos}/{human_len} rows  {per_sec}  {eta} left";

/// A bar on a terminal, nothing elsewhere.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress(None);
        }
        Progress(Some(ProgressBar::new(0)))
    }

    fn show(&self, summary: &Summary) {
        let (Some(bar), Some(progress)) = (&self.0, summary.progress) else { return };
        let (template, done, total) = match progress {
            event::Progress::Log { done_bytes, total_bytes } => (LOG_BAR, done_bytes, total_bytes),
            // The total is an estimate: a bar is never fuller than full.
            event::Progress::Snapshot { done_rows, total_rows } => (SNAPSHOT_BAR, done_rows, total_rows.max(done_rows)),
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(format!("{} changes", output::grouped(summary.changes())));
    }

    fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Turns true at the first SIGINT or SIGTERM; the second one ends the process.
fn stop_on_signal() -> watch::Receiver<bool> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            warn!("cannot listen to signals: SIGINT ends the process at once");
            return;
        };
        let mut signals = 0;
        loop {
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
            signals += 1;
            if signals > 1 {
                std::process::exit(130);
            }
            info!("stopping after the batch in hand; once more to stop at once");
            if sender.send(true).is_err() {
                return;
            }
        }
    });
    receiver
}
