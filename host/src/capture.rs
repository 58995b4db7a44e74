//! The loop of the capture half: batches from a source into a log of events. Nothing is decided here; the rule only says
//! by which columns an entity is told.
//!
//! ```text
//! source ──batch──▶ events ──▶ log (a topic, a file)
//! ```

use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use tokio::sync::watch;
use tokio::task::block_in_place;

use crate::envelope::Written;
use crate::event::{self, Batch, Position, Snapshot, TableSchema};
use crate::failure::Failure;
use crate::pipeline::{Summary, read_ahead};
use crate::rule::{Plan, Rule, RuleError};
use crate::source::Source;

/// Takes events, in order, with positions between them.
///
/// The loop appends batches one after the other and commits when none waits, when the log is full, and at the end: what is
/// appended counts from the commit on, with the position of its last batch, or not at all. After an error there is no next
/// call. Calls block. What [`Snapshot::Anew`] voids is the log's to take back.
pub trait EventLog: Send {
    /// `position`: behind the batch.
    ///
    /// # Errors
    /// A value cannot be written, or the log is broken.
    fn append(&mut self, batch: &Batch, plan: Option<&Plan>, position: &Position) -> Result<Written, LogError>;

    /// Whether it is time to commit although more waits.
    fn is_full(&self) -> bool;

    /// Makes what was appended count.
    ///
    /// # Errors
    /// As of `append`; whether it counts is known when the log is opened again.
    fn commit(&mut self) -> Result<(), LogError>;
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Nothing of what was appended since the last commit counts: open source and log again where the log says.
    #[error("{0}")]
    Again(String),
    #[error("{0}")]
    Stop(Failure),
}

impl From<Failure> for LogError {
    fn from(failure: Failure) -> Self {
        LogError::Stop(failure)
    }
}

/// What was captured so far.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    pub summary: Summary,
    pub events: u64,
}

/// Where the loop stands, between two commits.
pub struct Edge<'a> {
    pub captured: &'a Captured,
    /// What the log has durably; none before the first commit of all.
    pub position: Option<&'a Position>,
    pub tables: &'a [Arc<TableSchema>],
    pub plan: Option<&'a Arc<Plan>>,
    pub paused: bool,
}

/// What the loop goes by.
pub struct Switches {
    /// True: end, with a commit.
    pub stop: watch::Receiver<bool>,
    /// True: take no further batch until it is false again. Whoever holds the sender must outlive the run.
    pub paused: watch::Receiver<bool>,
}

/// Runs until the source ends or is told to stop. `position`: where both were opened; `captured`: what came before. `watch` is called after every commit, and when it was paused or resumed.
///
/// # Errors
/// What the source, the rule's plan or the log cannot do; everything before the last commit is in the log.
pub async fn follow(
    source: Box<dyn Source>,
    rule: Box<dyn Rule>,
    log: &mut dyn EventLog,
    position: Option<Position>,
    captured: Captured,
    switches: Switches,
    watch: impl FnMut(Edge<'_>),
) -> Result<Captured, LogError> {
    let Switches { mut stop, mut paused } = switches;
    let mut batches = read_ahead(source);
    let mut capture = Capture { rule, log, tables: Vec::new(), plan: None, captured, position, behind: None, watch };
    loop {
        let edge = Instant::now();
        let is_paused = *paused.borrow_and_update();
        capture.tell(is_paused);
        let next = tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => break,
            Ok(()) = paused.changed() => {
                capture.commit()?;
                continue;
            }
            next = batches.recv(), if !is_paused => next.expect("the source's task ends with an end or an error"),
        };
        capture.captured.summary.stages.source += edge.elapsed();
        match next {
            Ok(Some((batch, position))) => capture.take(&batch, position, edge)?,
            Ok(None) => break,
            Err(error) => {
                // What it handed out before is good.
                capture.commit()?;
                return Err(Failure::source(error, capture.has_begun()).into());
            }
        }
        if capture.log.is_full() || batches.is_empty() {
            capture.commit()?;
        }
    }
    capture.commit()?;
    capture.tell(false);
    Ok(capture.captured)
}

struct Capture<'a, W> {
    rule: Box<dyn Rule>,
    log: &'a mut dyn EventLog,
    tables: Vec<Arc<TableSchema>>,
    plan: Option<Arc<Plan>>,
    captured: Captured,
    position: Option<Position>,
    /// Behind what was appended since the last commit.
    behind: Option<Behind>,
    watch: W,
}

struct Behind {
    position: Position,
    /// Whether a commit there would split what must not be split.
    is_within: bool,
}

impl<W: FnMut(Edge<'_>)> Capture<'_, W> {
    /// Only a batch with a plan has rows; before the first one, what is wrong is wrong outside.
    fn has_begun(&self) -> bool {
        self.plan.is_some()
    }

    fn take(&mut self, batch: &Batch, position: Position, edge: Instant) -> Result<(), LogError> {
        let begun = self.has_begun();
        if let Some(Snapshot::Again | Snapshot::AgainBegins | Snapshot::AgainEnds { .. }) = batch.snapshot {
            return Err(LogError::Stop(Failure::run(anyhow!(
                "a table's rows are read again, and events cannot be compared with them: begin where there are none yet, with \
                 another file or topic"
            ))));
        }
        if batch.tables != self.tables {
            let plan = self.rule.configure(&batch.tables).map_err(|error| unfit(batch, begun, error))?;
            self.plan = Some(plan);
            self.tables.clone_from(&batch.tables);
        }
        let written = block_in_place(|| self.log.append(batch, self.plan.as_deref(), &position))?;
        self.captured.events += written.events;
        self.captured.summary.moves += written.moves;
        self.captured.summary.count_batch(batch, edge.elapsed());
        self.behind = Some(Behind { position, is_within: batch.is_within });
        Ok(())
    }

    /// Where something was appended, and may be committed there.
    fn commit(&mut self) -> Result<(), LogError> {
        let Some(Behind { position, .. }) = self.behind.take_if(|behind| !behind.is_within) else { return Ok(()) };
        let committing = Instant::now();
        block_in_place(|| self.log.commit())?;
        self.captured.summary.stages.commit += committing.elapsed();
        self.position = Some(position);
        Ok(())
    }

    /// Says where it stands, unless something is still to be committed.
    fn tell(&mut self, paused: bool) {
        if self.behind.is_none() {
            (self.watch)(Edge {
                captured: &self.captured,
                position: self.position.as_ref(),
                tables: &self.tables,
                plan: self.plan.as_ref(),
                paused,
            });
        }
    }
}

fn unfit(batch: &Batch, begun: bool, error: RuleError) -> Failure {
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
