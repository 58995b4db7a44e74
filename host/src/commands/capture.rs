//! `hindsight capture`: the source's change events, appended to a file; no sink is opened or made.
//!
//! The rule is configured, as it says by which columns an entity is told, and never decides.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use serde_json::json;
use tracing::info;

use super::progress::{self, Progress};
use super::signals::stop_on_signal;
use crate::assemble::{self, CaptureParts};
use crate::cli::Capture;
use crate::config::Config;
use crate::event::{self, Batch, Snapshot};
use crate::failure::{Failure, Outcome};
use crate::history::Checkpoint;
use crate::output;
use crate::pipeline::{self, Summary};
use crate::source::mysql::End;

/// Goes on to the source's end where it has one, or until SIGINT or SIGTERM, as `run` does.
///
/// # Errors
/// A value that the envelope has no form for yet, and all that `run` stops at but for what the rule decides and the sink.
pub async fn capture(args: &Capture) -> Outcome<()> {
    let started = Instant::now();
    let config = Config::load(&args.file.config)?;
    let end = if args.to_end { End::AsOpened } else { End::Never };
    let parts = assemble::capture_parts(&config, &args.to, end).await?;
    let start = parts.events.checkpoint().map(|checkpoint| checkpoint.position.0.clone());
    info!(
        pipeline = config.name,
        file = %args.to.display(),
        start = start.as_deref().unwrap_or("the beginning"),
        "capturing"
    );
    let progress = Progress::new();
    let captured = follow(parts, &progress).await;
    progress.end();
    let captured = captured?;
    let resumed = if start.is_some() { Begun::Before } else { Begun::Now };
    report(args, &config, &captured, resumed, started.elapsed())
}

struct Captured {
    summary: Summary,
    events: u64,
}

async fn follow(parts: CaptureParts, progress: &Progress) -> Outcome<Captured> {
    let CaptureParts { source, mut rule, mut events, identity } = parts;
    let mut stop = stop_on_signal();
    let mut batches = pipeline::read_ahead(source);
    let mut captured = Captured { summary: Summary::default(), events: 0 };
    let (mut tables, mut plan) = (Vec::new(), None);
    loop {
        let edge = Instant::now();
        let begun = plan.is_some();
        let next = tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => break,
            next = batches.recv() => next.expect("the source's task ends with an end or an error"),
        };
        let Some((batch, position)) = next.map_err(|error| Failure::source(error, begun))? else { break };
        if matches!(batch.snapshot, Some(Snapshot::Again | Snapshot::AgainBegins | Snapshot::AgainEnds { .. })) {
            return Err(Failure::run(anyhow!(
                "a table's rows are read again, and a file cannot be compared with them: begin a new one with --to"
            )));
        }
        if batch.tables != tables {
            plan = Some(rule.configure(&batch.tables).map_err(|error| unfit(&batch, begun, error))?);
            tables.clone_from(&batch.tables);
        }
        let checkpoint = Checkpoint { source: identity.clone(), position };
        let written = events.append(&batch, plan.as_deref(), &checkpoint).map_err(Failure::run)?;
        captured.events += written.events;
        captured.summary.moves += written.moves;
        captured.summary.count_batch(&batch, edge.elapsed());
        progress.show(&captured.summary);
    }
    Ok(captured)
}

fn unfit(batch: &Batch, begun: bool, error: crate::rule::RuleError) -> Failure {
    let mut failure = Failure::rule(error, begun);
    if begun && let Some(change) = batch.changes.first() {
        failure.error = failure.error.context(format!(
            "the source's schema changed at {}. Is: {}",
            batch.place(change),
            event::shapes(&batch.tables)
        ));
    }
    failure
}

/// When the file was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Before,
    Now,
}

fn report(args: &Capture, config: &Config, captured: &Captured, begun: Begun, elapsed: Duration) -> Outcome<()> {
    let Captured { summary, events } = captured;
    let rate = (summary.changes() as f64 / elapsed.as_secs_f64().max(1e-3)) as u64;
    if args.json.json {
        return output::print_json(&json!({
            "batches": summary.batches,
            "transactions": summary.transactions,
            "reads": summary.reads,
            "inserts": summary.inserts,
            "updates": summary.updates,
            "deletes": summary.deletes,
            "moves": summary.moves,
            "changes": summary.changes(),
            "events": events,
            "elapsed_ms": elapsed.as_millis() as u64,
            "changes_per_second": rate,
        }));
    }
    if summary.changes() == 0 {
        let tables = config.source.tables.join(", ");
        return output::print(&match begun {
            Begun::Before => format!("No change of {tables} was left to read: {} is up to date.\n", args.to.display()),
            Begun::Now => format!("The source holds no change of {tables}. Is [source] right?\n"),
        });
    }
    output::print(&format!(
        "{}{} events written to {}\n{:.2} s, {} changes a second\n",
        progress::changes(summary),
        output::grouped(*events),
        args.to.display(),
        elapsed.as_secs_f64(),
        output::grouped(rate),
    ))
}
