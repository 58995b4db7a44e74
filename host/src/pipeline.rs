//! The loop: batches from a source, decided by a rule, committed by a sink. READ FIRST.
//!
//! It names the three traits only. One batch is decided and committed at a time, so every decision sees the rows of
//! the one before; the source alone runs ahead, by [`BATCHES_AHEAD`]. Between two batches, at the edge, the pipeline can
//! be paused, and its rule exchanged.

mod exchange;
mod slot;
mod summary;
mod undecided;

use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use tokio::sync::{mpsc, watch};

use crate::crash;
use crate::event::{Batch, Position, TableSchema};
use crate::failure::{Failure, Outcome};
use crate::groups::{self, Moved};
use crate::history::{Checkpoint, Load};
use crate::ledger::RuleVersion;
use crate::rule::{Decision, Plan};
use crate::sink::Sink;
use crate::source::{Source, SourceError};

pub use exchange::{Exchange, Exchanged};
pub use slot::Opening;
use slot::Slot;
pub use summary::{Stages, Summary};

/// Batches that a source may have ready beside the one being decided: with `limits.batch` this bounds memory.
const BATCHES_AHEAD: usize = 1;

/// What a pipeline is, beside its three parts.
pub struct Pipeline {
    /// Written into the checkpoint: source kind and tables.
    pub source: String,
    /// Where the source was opened; none at its beginning.
    pub start: Option<Position>,
    /// Tests only: the batch (from 0) to decide and commit a second time, which a test of exactly-once must notice.
    pub repeat_batch: Option<u64>,
}

/// What can be done to a pipeline while it runs. All of it waits for the end of the batch in hand.
pub struct Switches {
    /// True: end.
    pub stop: watch::Receiver<bool>,
    /// True: take no further batch until it is false again. Whoever holds the sender must outlive the run.
    pub paused: watch::Receiver<bool>,
    /// Rules to go on with.
    pub exchanges: mpsc::Receiver<Exchange>,
}

/// Where a pipeline stands, at a batch edge.
#[derive(Clone)]
pub struct Status {
    pub summary: Summary,
    /// What the sink has durably; none before the first commit of all.
    pub position: Option<Position>,
    /// The rule that decides the next batch, and the one that a rollback goes back to.
    pub version: Arc<RuleVersion>,
    pub previous: Option<Arc<RuleVersion>>,
    /// The source tables that were met since the start.
    pub tables: Vec<Arc<TableSchema>>,
    /// None before the first table.
    pub plan: Option<Arc<Plan>>,
    pub paused: bool,
}

/// Runs until the source ends or is told to stop. `watch` is called at every batch edge: at the start, after every
/// commit, and when the pipeline was paused, resumed or given another rule. `tap` is called with what was decided, before
/// it is committed: whatever it writes is ahead of the sink by one batch at the most.
///
/// # Errors
/// Everything that cannot be decided or committed stops the pipeline at its last commit; nothing of the failing batch
/// is in the sink.
pub async fn run(
    source: Box<dyn Source>,
    opening: Opening,
    sink: &mut dyn Sink,
    pipeline: &Pipeline,
    switches: Switches,
    mut tap: impl FnMut(&Batch, Option<&Plan>, &Checkpoint) -> Outcome<()>,
    mut watch: impl FnMut(Status),
) -> Outcome<Summary> {
    let Switches { mut stop, mut paused, mut exchanges } = switches;
    let mut batches = read_ahead(source);
    let mut slot = Slot::new(opening);
    let mut position = pipeline.start.clone();
    let mut summary = Summary::default();
    loop {
        let edge = Instant::now();
        let is_paused = *paused.borrow_and_update();
        watch(slot.status(&summary, &position, is_paused));
        // Only a batch with a plan has rows; before the first one, what is wrong is wrong outside.
        let begun = slot.plan().is_some();
        let next = tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => break,
            Some(exchange) = exchanges.recv() => {
                if position.is_none() && is_paused {
                    exchange.refuse("nothing of the source has been read yet: resume first");
                } else if let Some(history) = slot.exchange(exchange, &position, edge) {
                    sink.prepare(&history).await.map_err(|error| Failure::sink(error, begun))?;
                }
                crash::point("pipeline.exchanged");
                // With a batch at hand the turn is committed with it; otherwise at once, as nobody knows when one comes.
                if is_paused || batches.is_empty() {
                    settle(&mut slot, sink, pipeline, &position).await?;
                }
                continue;
            }
            Ok(()) = paused.changed() => continue,
            next = batches.recv(), if !is_paused => next.expect("the source's task ends with an end or an error"),
        };
        summary.stages.source += edge.elapsed();
        let Some((batch, after)) = next.map_err(|error| Failure::source(error, begun))? else { break };

        slot.may_begin();
        if let Some(history) = slot.configure(&batch, begun)? {
            sink.prepare(&history).await.map_err(|error| slot.unfit(error, begun))?;
        }
        let repeats = if pipeline.repeat_batch == Some(summary.batches) { 2 } else { 1 };
        for _ in 0..repeats {
            let checkpoint = Checkpoint { source: pipeline.source.clone(), position: after.clone() };
            let mut load = Load::empty(checkpoint);
            // Without a plan no captured row was ever met, and there is nothing to decide.
            if slot.plan().is_some() {
                let decision = decide(&batch, &mut slot, sink, &mut summary, begun).await?;
                (load.upserts, load.deletes) = (decision.upserts, decision.deletes);
            }
            if slot.plan().is_some() || slot.has_exchanged() {
                load.turns = slot.turns(&position);
            }
            tap(&batch, slot.plan(), &load.checkpoint)?;
            let committing = Instant::now();
            sink.commit(&load).await.map_err(|error| Failure::sink(error, begun))?;
            summary.stages.commit += committing.elapsed();
            slot.committed(&load.turns);
            summary.count_load(&load, slot.plan());
        }
        position = Some(after);
        summary.count_batch(&batch, edge.elapsed());
    }
    // An exchange that was accepted is not undone by the end.
    settle(&mut slot, sink, pipeline, &position).await?;
    Ok(summary)
}

/// Commits an exchange without a batch, where one waits and there is a checkpoint to commit it with.
async fn settle(slot: &mut Slot, sink: &mut dyn Sink, pipeline: &Pipeline, position: &Option<Position>) -> Outcome<()> {
    let Some(at) = position.clone().filter(|_| slot.has_exchanged()) else { return Ok(()) };
    let checkpoint = Checkpoint { source: pipeline.source.clone(), position: at };
    let load = Load { turns: slot.turns(position), ..Load::empty(checkpoint) };
    sink.commit(&load).await.map_err(|error| Failure::sink(error, slot.plan().is_some()))?;
    slot.may_begin();
    slot.committed(&load.turns);
    Ok(())
}

/// One batch: its groups, their history, the rule's decision.
async fn decide(
    batch: &Batch,
    slot: &mut Slot,
    sink: &mut dyn Sink,
    summary: &mut Summary,
    begun: bool,
) -> Outcome<Decision> {
    let (rule, plan, name) = slot.deciding();
    let grouping = Instant::now();
    let (mut groups, no_entity) = groups::group(batch, plan).map_err(|text| Failure::run(anyhow!(text)))?;
    if let Some(reject) = no_entity.first() {
        return Err(undecided::without_entity(reject, batch));
    }
    let reading = Instant::now();
    groups.history = sink.entity_rows(&groups.keys, plan.scope).await.map_err(|error| Failure::sink(error, begun))?;
    let deciding = Instant::now();
    let decision = rule.transform(&groups).map_err(|error| undecided::failed(error, rule, &groups, name))?;
    summary.stages.group += reading - grouping;
    summary.stages.read += deciding - reading;
    summary.stages.rule += deciding.elapsed();
    if let Some(reject) = decision.rejects.first() {
        return Err(undecided::rejected(reject, &groups, name));
    }
    summary.moves += groups.entries.iter().filter(|entry| entry.moved == Moved::Leaves).count() as u64;
    Ok(decision)
}

/// What a source gives, or none at its end.
pub type Next = Result<Option<(Batch, Position)>, SourceError>;

/// The source in a task of its own, so that reading and committing overlap.
pub fn read_ahead(mut source: Box<dyn Source>) -> mpsc::Receiver<Next> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    tokio::spawn(async move {
        loop {
            let next = source.next().await;
            let last = !matches!(next, Ok(Some(_)));
            if sender.send(next).await.is_err() || last {
                break;
            }
        }
    });
    receiver
}
