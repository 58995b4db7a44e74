//! The loop: batches from a source, decided by a rule, committed by a sink. READ FIRST.
//!
//! It names the three traits only. One batch is decided and committed at a time, so every decision sees the rows of
//! the one before; the source alone runs ahead, by a batch. Between two batches, at the edge, the pipeline can
//! be paused, and its rule exchanged.

mod again;
pub mod deciding;
mod exchange;
mod reading;
mod rejects;
mod slot;
mod summary;
mod undecided;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::{mpsc, watch};

use crate::crash;
use crate::dead_letter::{DeadLetter, Quarantine};
use crate::event::{Batch, Position, Snapshot, TableSchema};
use crate::failure::{Failure, Outcome};
use crate::history::{Checkpoint, Load, SnapshotStep};
use crate::ledger::RuleVersion;
use crate::rows::Rows;
use crate::rule::{Decision, Plan};
use crate::sink::{Sink, SinkError};
use crate::source::Source;

use again::Gone;
pub use again::refusal as resnapshot_refusal;
pub use deciding::OnReject;
use deciding::Undecided;
pub use exchange::{Exchange, Exchanged};
use reading::Batches;
pub use reading::Reading;
pub(crate) use reading::read_ahead;
use rejects::Desk;
pub use rejects::{AMONG_CHANGES, Rejects};
pub use slot::Opening;
use slot::Slot;
pub use summary::{Stages, Summary};

/// How long nothing has to come until the sink is told so.
const IDLE: Duration = Duration::from_millis(100);

/// What a pipeline is, beside its three parts.
pub struct Pipeline {
    /// Written into the checkpoint: source kind and tables.
    pub source: String,
    /// Where the source was opened; none at its beginning.
    pub start: Option<Position>,
    pub rejects: Rejects,
    pub reading: Reading,
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
    /// Entities in quarantine.
    pub quarantined: usize,
    /// How many events of the source are not done, where that is known.
    pub lag_events: Option<u64>,
}

impl Status {
    /// Before anything was read.
    pub fn new(version: Arc<RuleVersion>, position: Option<Position>, paused: bool) -> Self {
        let summary = Summary::default();
        let (tables, quarantined) = (Vec::new(), 0);
        Status { summary, position, version, previous: None, tables, plan: None, paused, quarantined, lag_events: None }
    }
}

/// Sees what is decided.
pub type Tap<'a> = &'a mut (dyn FnMut(&Batch, Option<&Plan>, &Checkpoint) -> Outcome<()> + Send);

/// Runs until the source ends or is told to stop. `watch` is called at every batch edge: at the start, after every
/// commit, and when the pipeline was paused, resumed or given another rule. `tap` is called with what was decided, before
/// it is committed: after a kill it may have been given one more than the sink.
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
    tap: Tap<'_>,
    mut watch: impl FnMut(Status),
) -> Outcome<Summary> {
    let Switches { mut stop, mut paused, mut exchanges } = switches;
    let mut batches = Batches::of(source, pipeline.reading);
    let (slot, position) = (Slot::new(opening), pipeline.start.clone());
    let desk = Desk::new(&pipeline.rejects);
    // What a sink has found out of its last load is said too.
    let is_idle = pipeline.reading == Reading::Ahead;
    let mut run =
        Run { slot, sink, pipeline, position, summary: Summary::default(), desk, quarantined: 0, is_idle, tap };
    run.quarantine(false).await?;
    loop {
        let edge = Instant::now();
        let is_paused = *paused.borrow_and_update();
        watch(Status { quarantined: run.quarantined, ..run.slot.status(&run.summary, &run.position, is_paused) });
        // Only a batch with a plan has rows; before the first one, what is wrong is wrong outside.
        let begun = run.slot.plan().is_some();
        let next = tokio::select! {
            biased;
            Ok(()) = stopped(&mut stop) => break,
            Some(exchange) = exchanges.recv() => {
                let quarantine = run.quarantine(begun).await?;
                if run.position.is_none() && is_paused {
                    exchange.refuse("nothing of the source has been read yet: resume first");
                } else if let Some(why) = exchange.entity_key().and_then(|key| quarantine.refusal(&key)) {
                    exchange.refuse(&why);
                } else if let Some(history) = run.slot.exchange(exchange, &run.position, edge) {
                    run.sink.prepare(&history).await.map_err(|error| Failure::sink(error, begun))?;
                }
                crash::point("pipeline.exchanged");
                // With a batch at hand the turn is committed with it; otherwise at once, as nobody knows when one comes.
                if is_paused || batches.is_empty() {
                    run.settle().await?;
                }
                continue;
            }
            Ok(()) = paused.changed() => continue,
            next = batches.next(), if !is_paused => next,
            () = for_a_while(pipeline.reading), if !run.is_idle => {
                run.rest(begun).await?;
                continue;
            }
        };
        run.summary.stages.source += edge.elapsed();
        let Some((batch, after)) = next.map_err(|error| Failure::source(error, begun))? else { break };

        run.slot.may_begin();
        if let Some(history) = run.slot.configure(&batch, begun)? {
            run.sink.prepare(&history).await.map_err(|error| run.slot.unfit(error, begun))?;
        }
        run.slot.bind(&batch)?;
        run.take(&batch, &after, begun).await?;
        run.position = Some(after);
        run.summary.count_batch(&batch, edge.elapsed());
    }
    // An exchange that was accepted is not undone by the end.
    run.settle().await?;
    run.rest(true).await?;
    Ok(run.summary)
}

async fn for_a_while(reading: Reading) {
    let interval = match reading {
        Reading::Ahead => Duration::ZERO,
        Reading::Between(interval) => interval,
    };
    tokio::time::sleep(interval + IDLE).await;
}

/// Waits until it is told to. What the channel lends is given back at once: no thread may hold it while it waits.
async fn stopped(stop: &mut watch::Receiver<bool>) -> Result<(), watch::error::RecvError> {
    stop.wait_for(|stop| *stop).await.map(drop)
}

/// What goes on from batch to batch.
struct Run<'a> {
    slot: Slot,
    sink: &'a mut dyn Sink,
    pipeline: &'a Pipeline,
    /// What is committed.
    position: Option<Position>,
    summary: Summary,
    desk: Desk,
    quarantined: usize,
    /// The sink knows that nothing follows the last commit for now.
    is_idle: bool,
    tap: Tap<'a>,
}

/// What the sink has not taken of a decision: what makes it so is set aside.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refusing<'w> {
    Nothing,
    /// Rows that do not fit their columns.
    Misfits,
    /// All rows, for this reason.
    All(&'w str),
}

/// What a commit comes to.
enum Committed {
    All,
    /// The sink does not take one of the rows, for this reason.
    NotIts(String),
}

/// What a batch comes to, in the form of a load.
struct Decided {
    upserts: Rows,
    deletes: Rows,
    dead_letters: Vec<DeadLetter>,
}

impl Run<'_> {
    /// Decides and commits a batch as what it is to the history.
    async fn take(&mut self, batch: &Batch, after: &Position, begun: bool) -> Outcome<()> {
        if let Some(Snapshot::Again | Snapshot::AgainBegins | Snapshot::AgainEnds { .. }) = batch.snapshot {
            rejects::compares(&*self.quarantine(begun).await?)?;
        }
        match batch.snapshot {
            None => self.commit(batch, None, after, begun).await,
            Some(Snapshot::Anew) => self.commit(batch, Some(SnapshotStep::Anew), after, begun).await,
            Some(Snapshot::AgainBegins) => self.commit(batch, Some(SnapshotStep::Ends), after, begun).await,
            Some(Snapshot::Again) => {
                let Some(plan) = self.slot.shared_plan() else { return self.commit(batch, None, after, begun).await };
                let found = again::compare(batch, &plan, self.sink).await?;
                self.commit(&found.batch, Some(found.step), after, begun).await
            }
            Some(Snapshot::AgainEnds { table, time_us }) => {
                let mut gone = Gone::new(batch, table, time_us);
                // Their own place: after a kill the end comes again, and finds what is left.
                let here = self.position.clone().expect("a re-snapshot goes on from a checkpoint");
                while let Some(plan) = self.slot.shared_plan()
                    && let Some(found) = gone.next(&plan, self.sink).await?
                {
                    self.commit(&found.batch, Some(found.step), &here, begun).await?;
                }
                self.commit(batch, Some(SnapshotStep::Ends), after, begun).await
            }
        }
    }

    /// One decision, one commit.
    async fn commit(
        &mut self,
        batch: &Batch,
        mut step: Option<SnapshotStep>,
        after: &Position,
        begun: bool,
    ) -> Outcome<()> {
        let repeats = if self.pipeline.repeat_batch == Some(self.summary.batches) { 2 } else { 1 };
        for _ in 0..repeats {
            match self.commit_once(batch, step.take(), after, begun, Refusing::Nothing).await? {
                Committed::All => {}
                Committed::NotIts(why) => self.commit_in_parts(batch, after, begun, &why).await?,
            }
        }
        Ok(())
    }

    /// `refusing`: what of the rule's decision is refused, as far as it is known of the batch.
    async fn commit_once(
        &mut self,
        batch: &Batch,
        step: Option<SnapshotStep>,
        after: &Position,
        begun: bool,
        mut refusing: Refusing<'_>,
    ) -> Outcome<Committed> {
        let checkpoint = Checkpoint { source: self.pipeline.source.clone(), position: after.clone() };
        let mut load = Load { snapshot: step, records: batch.records, ..Load::empty(checkpoint) };
        let mut is_first = true;
        loop {
            // Without a plan no captured row was ever met, and there is nothing to decide.
            if self.slot.plan().is_some() {
                let decided = self.decide(batch, load.snapshot.as_ref(), begun, refusing).await?;
                (load.upserts, load.deletes) = (decided.upserts, decided.deletes);
                load.dead_letters = decided.dead_letters;
                load.decided_by = self.slot.decided_by();
            }
            if is_first {
                if self.slot.plan().is_some() || self.slot.has_exchanged() {
                    load.turns = self.slot.turns(&self.position);
                }
                (self.tap)(batch, self.slot.plan(), &load.checkpoint)?;
            }
            let committing = Instant::now();
            self.is_idle = self.pipeline.reading == Reading::Ahead;
            let committed = self.sink.commit(&load).await;
            self.summary.stages.commit += committing.elapsed();
            match committed {
                Ok(()) => break,
                // Decided once more, and so that no row is in it that has no place.
                Err(SinkError::Misfit(_)) if refusing == Refusing::Nothing => refusing = Refusing::Misfits,
                Err(SinkError::Rejected(why)) if load.snapshot.is_none() => return Ok(Committed::NotIts(why)),
                Err(error) => return Err(Failure::sink(error, begun)),
            }
            is_first = false;
        }
        self.slot.committed(&load.turns);
        self.summary.count_load(&load, self.slot.plan());
        if !load.dead_letters.is_empty() {
            self.quarantine(begun).await?;
        }
        Ok(Committed::All)
    }

    /// Commits a batch whose rows were not all taken, in halves, down to the record that is at fault: that one is set aside.
    async fn commit_in_parts(&mut self, batch: &Batch, after: &Position, begun: bool, why: &str) -> Outcome<()> {
        let Some(cuts) = batch.cuts.clone() else {
            let stop = SinkError::Stop(format!("{why}. Nothing of this batch was written"));
            return Err(Failure::sink(stop, begun));
        };
        // Ranges of records that are still to be committed, the first one last; with those that were refused, why.
        let mut parts = vec![(0..cuts.n_records(), Some(why.to_owned()))];
        while let Some((part, refused)) = parts.pop() {
            if refused.is_some() && part.len() > 1 {
                let middle = part.start + part.len() / 2;
                parts.extend([(middle..part.end, None), (part.start..middle, None)]);
                continue;
            }
            let refusing = refused.as_deref().map_or(Refusing::Nothing, Refusing::All);
            let (some, at) = batch.part(&*cuts, part.clone());
            let at = if part.end == cuts.n_records() { after.clone() } else { at };
            match self.commit_once(&some, None, &at, begun, refusing).await? {
                Committed::All => {
                    self.position = Some(at);
                    crash::point("pipeline.part");
                }
                Committed::NotIts(why) if refusing == Refusing::Nothing => parts.push((part, Some(why))),
                Committed::NotIts(why) => return Err(Failure::sink(SinkError::Stop(why), begun)),
            }
        }
        Ok(())
    }

    /// Tells the sink that nothing follows for now.
    async fn rest(&mut self, begun: bool) -> Outcome<()> {
        self.sink.idle().await.map_err(|error| Failure::sink(error, begun))?;
        self.is_idle = true;
        Ok(())
    }

    /// Commits an exchange without a batch, where one waits and there is a checkpoint to commit it with.
    async fn settle(&mut self) -> Outcome<()> {
        let Some(at) = self.position.clone().filter(|_| self.slot.has_exchanged()) else { return Ok(()) };
        let checkpoint = Checkpoint { source: self.pipeline.source.clone(), position: at };
        let load = Load { turns: self.slot.turns(&self.position), ..Load::empty(checkpoint) };
        self.sink.commit(&load).await.map_err(|error| Failure::sink(error, self.slot.plan().is_some()))?;
        self.slot.may_begin();
        self.slot.committed(&load.turns);
        Ok(())
    }

    /// One batch: its groups, their history, the rule's decision, and what is set aside.
    async fn decide(
        &mut self,
        batch: &Batch,
        step: Option<&SnapshotStep>,
        begun: bool,
        refusing: Refusing<'_>,
    ) -> Outcome<Decided> {
        let outside = |error| Failure::sink(error, begun);
        // What is emptied in the same commit is no history to decide by, and has no dead letters.
        let is_anew = matches!(step, Some(SnapshotStep::Anew));
        let quarantine = if is_anew { Arc::default() } else { self.quarantine(begun).await? };
        // What is compared with the history comes whole, or not at all.
        let on_reject = match step {
            Some(SnapshotStep::Met(_)) => OnReject::Stop,
            _ => self.pipeline.rejects.on_reject,
        };
        let (rule, plan, version) = self.slot.deciding();
        let entity_key = plan.history.entity_key();
        if let Some(refusal) = quarantine.refusal(&entity_key) {
            return Err(Failure::run(anyhow!(refusal)));
        }
        let grouping = Instant::now();
        let sorted = deciding::sort(batch, plan, &quarantine, on_reject);
        let mut sorted = sorted.map_err(|text| Failure::run(anyhow!(text)))?;
        let reading = Instant::now();
        if !is_anew {
            sorted.groups.history = self.sink.entity_rows(&sorted.groups.keys, plan.scope).await.map_err(outside)?;
        }
        let deciding = Instant::now();
        let (n_moves, left) = (sorted.n_moves, self.desk.left());
        let refuses = |decision: &Decision| match refusing {
            Refusing::Nothing => None,
            Refusing::Misfits => self.sink.misfit(&decision.upserts, &decision.deletes),
            Refusing::All(why) => {
                (!decision.upserts.is_empty() || !decision.deletes.is_empty()).then(|| why.to_owned())
            }
        };
        let decided = match deciding::decide(rule, sorted, on_reject, left, &refuses) {
            Ok(decided) => decided,
            Err(Undecided::Rule(error)) => return Err(Failure::rule(error, true)),
            Err(Undecided::TooMany(aside)) if on_reject == OnReject::Stop => {
                return Err(undecided::stopped(&aside, batch, &version.name));
            }
            Err(Undecided::TooMany(aside)) => return Err(self.desk.overflow(&aside, batch, &version.name)),
        };
        self.summary.stages.group += reading - grouping;
        self.summary.stages.read += deciding - reading;
        self.summary.stages.rule += deciding.elapsed();
        self.summary.moves += n_moves;
        self.desk.count(batch.changes.len(), decided.n_rejects);
        let dead_letters = self.desk.letters(decided.aside, batch, entity_key, version)?;
        Ok(Decided { upserts: decided.upserts, deletes: decided.deletes, dead_letters })
    }

    async fn quarantine(&mut self, begun: bool) -> Outcome<Arc<Quarantine>> {
        let quarantine = self.sink.quarantined().await.map_err(|error| Failure::sink(error, begun))?;
        self.quarantined = quarantine.len();
        Ok(quarantine)
    }
}
