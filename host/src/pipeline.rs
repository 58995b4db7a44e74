//! The loop: batches from a source, decided by a rule, committed by a sink. READ FIRST.
//!
//! It names the three traits only. One batch is decided and committed at a time, so every decision sees the rows of
//! the one before; the source alone runs ahead, by [`BATCHES_AHEAD`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::{mpsc, watch};

use crate::event::{Batch, Op, Position, TableSchema};
use crate::failure::{Failure, Outcome};
use crate::groups::{self, Groups, Moved, NoEntity};
use crate::history::{Checkpoint, HistorySchema, Load};
use crate::rows::Value;
use crate::rule::{self, Decision, Plan, Reject, Rule, RuleError};
use crate::sink::Sink;
use crate::source::{Source, SourceError};

/// Batches that a source may have ready beside the one being decided: with `limits.batch` this bounds memory.
const BATCHES_AHEAD: usize = 1;

/// What a pipeline is, beside its three parts.
pub struct Pipeline {
    /// Name of the rule, for messages.
    pub rule: String,
    /// Written into the checkpoint: source kind and tables.
    pub source: String,
    /// Tests only: the batch (from 0) to decide and commit a second time, which a test of exactly-once must notice.
    pub repeat_batch: Option<u64>,
}

/// What happened so far.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Summary {
    pub batches: u64,
    pub transactions: u64,
    /// Row changes as the source's log counts them: an update that changes the primary key is one update.
    pub inserts: u64,
    pub updates: u64,
    pub deletes: u64,
    /// Updates that moved a row from one entity to another.
    pub moves: u64,
    pub rows_upserted: u64,
    pub rows_deleted: u64,
    /// Upserted rows that end before they start: late changes, done as the rule says.
    pub negative_intervals: u64,
    #[serde(skip)]
    pub progress: Option<crate::event::Progress>,
    pub stages: Stages,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Stages {
    #[serde(rename = "waiting_for_source_ms", serialize_with = "as_millis")]
    pub source: Duration,
    #[serde(rename = "grouping_ms", serialize_with = "as_millis")]
    pub group: Duration,
    #[serde(rename = "reading_history_ms", serialize_with = "as_millis")]
    pub read: Duration,
    #[serde(rename = "rule_ms", serialize_with = "as_millis")]
    pub rule: Duration,
    #[serde(rename = "commit_ms", serialize_with = "as_millis")]
    pub commit: Duration,
}

/// Runs until the source ends or `stop` turns true (the batch in hand is then finished first). `watch` is called after
/// every commit.
///
/// # Errors
/// Everything that cannot be decided or committed stops the pipeline at its last commit; nothing of the failing batch
/// is in the sink.
pub async fn run(
    source: Box<dyn Source>,
    rule: &mut dyn Rule,
    sink: &mut dyn Sink,
    pipeline: &Pipeline,
    mut stop: watch::Receiver<bool>,
    mut watch: impl FnMut(&Summary),
) -> Outcome<Summary> {
    let mut batches = read_ahead(source);
    let mut tables = Tables::default();
    let mut summary = Summary::default();
    loop {
        // Only a batch with a plan is committed; before the first one, what is wrong is wrong outside.
        let begun = tables.plan.is_some();
        let waiting = Instant::now();
        let next = tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => break,
            next = batches.recv() => next.expect("the source's task ends with an end or an error"),
        };
        summary.stages.source += waiting.elapsed();
        let Some((batch, position)) = next.map_err(|error| Failure::source(error, begun))? else { break };

        if let Some(history) = tables.configure(&batch, rule, pipeline, begun)? {
            sink.prepare(history).await.map_err(|error| Failure::sink(error, begun))?;
        }
        // Without a plan no captured row was ever met, and there is no history table whose checkpoint could move.
        if let Some(plan) = &tables.plan {
            let repeats = if pipeline.repeat_batch == Some(summary.batches) { 2 } else { 1 };
            for _ in 0..repeats {
                let decision = decide(&batch, plan, rule, sink, pipeline, &mut summary, begun).await?;
                let checkpoint = Checkpoint { source: pipeline.source.clone(), position: position.clone() };
                let load = Load { upserts: decision.upserts, deletes: decision.deletes, checkpoint };
                let committing = Instant::now();
                sink.commit(&load).await.map_err(|error| Failure::sink(error, begun))?;
                summary.stages.commit += committing.elapsed();
                summary.count_load(&load, &plan.history);
            }
        }
        summary.count_batch(&batch);
        watch(&summary);
    }
    Ok(summary)
}

/// One batch: its groups, their history, the rule's decision.
async fn decide(
    batch: &Batch,
    plan: &Plan,
    rule: &mut dyn Rule,
    sink: &mut dyn Sink,
    pipeline: &Pipeline,
    summary: &mut Summary,
    begun: bool,
) -> Outcome<Decision> {
    let grouping = Instant::now();
    let (mut groups, no_entity) = groups::group(batch, plan).map_err(|text| Failure::run(anyhow!(text)))?;
    if let Some(reject) = no_entity.first() {
        return Err(without_entity(reject, batch));
    }
    let reading = Instant::now();
    groups.history = sink.entity_rows(&groups.keys, plan.scope).await.map_err(|error| Failure::sink(error, begun))?;
    let deciding = Instant::now();
    let decision = rule.transform(&groups).map_err(|error| failed(error, rule, &groups, pipeline))?;
    summary.stages.group += reading - grouping;
    summary.stages.read += deciding - reading;
    summary.stages.rule += deciding.elapsed();
    if let Some(reject) = decision.rejects.first() {
        return Err(rejected(reject, &groups, pipeline));
    }
    summary.moves += groups.entries.iter().filter(|entry| entry.moved == Moved::Leaves).count() as u64;
    Ok(decision)
}

type Next = Result<Option<(Batch, Position)>, SourceError>;

/// The source in a task of its own, so that reading and committing overlap.
fn read_ahead(mut source: Box<dyn Source>) -> mpsc::Receiver<Next> {
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

/// The tables that the rule is configured for, and its plan for them.
#[derive(Default)]
struct Tables {
    schemas: Vec<Arc<TableSchema>>,
    plan: Option<Arc<Plan>>,
}

impl Tables {
    /// Configures the rule where this batch brings a table or a schema it does not know yet; gives the history table
    /// where that is so. The table written must stay the same.
    fn configure(
        &mut self,
        batch: &Batch,
        rule: &mut dyn Rule,
        pipeline: &Pipeline,
        begun: bool,
    ) -> Outcome<Option<&HistorySchema>> {
        if batch.tables.is_empty() || batch.tables == self.schemas {
            return Ok(None);
        }
        let first = || batch.changes.first().map(|change| batch.place(change)).unwrap_or_default();
        let plan = rule.configure(&batch.tables).map_err(|error| {
            let mut failure = Failure::rule(error, begun);
            if begun {
                failure.error = failure.error.context(format!("the source's schema changed at {}", first()));
            }
            failure
        })?;
        if let Some(old) = &self.plan {
            let differences = rule::compare_plans(old, &plan);
            if !differences.is_empty() {
                return Err(Failure::run(anyhow!(
                    "the source's schema changed at {}, and with it the history table that rule {} writes: {}. \
                     Was: {}. Is: {}. Change the rule's settings, or start a new history table for the new schema",
                    first(),
                    pipeline.rule,
                    differences.join("; "),
                    shapes(&self.schemas),
                    shapes(&batch.tables),
                )));
            }
        }
        self.schemas.clone_from(&batch.tables);
        Ok(Some(&self.plan.insert(plan).history))
    }
}

impl Summary {
    pub fn changes(&self) -> u64 {
        self.inserts + self.updates + self.deletes
    }

    fn count_batch(&mut self, batch: &Batch) {
        self.batches += 1;
        self.transactions += batch.transactions.len() as u64;
        self.progress = batch.progress;
        let count = |wanted: &[Op]| batch.changes.iter().filter(|change| wanted.contains(&change.op)).count() as u64;
        let key_changes = batch.changes.iter().filter(|change| change.rekeys).count() as u64 / 2;
        self.inserts += count(&[Op::Create, Op::Read]) - key_changes;
        self.updates += count(&[Op::Update]) + key_changes;
        self.deletes += count(&[Op::Delete]) - key_changes;
    }

    fn count_load(&mut self, load: &Load, history: &HistorySchema) {
        self.rows_upserted += load.upserts.len() as u64;
        self.rows_deleted += load.deletes.len() as u64;
        let ends_early = |row: &crate::rows::Row<'_>| match (row.get(history.roles.start), row.get(history.roles.end)) {
            (Value::Int(start), Value::Int(end)) => end < start,
            _ => false,
        };
        self.negative_intervals += load.upserts.iter().filter(ends_early).count() as u64;
    }
}

/// Names the entity that cannot be done, by deciding ever smaller parts of the batch.
fn failed(error: RuleError, rule: &mut dyn Rule, groups: &Groups<'_>, pipeline: &Pipeline) -> Failure {
    let RuleError::Batch(whole) = &error else { return Failure::rule(error, true) };
    let (group, reason) = match rule::poison::find(rule, groups) {
        Some((group, reason)) => (group, reason.to_string()),
        None if groups.len() == 1 => (0, whole.clone()),
        None => {
            let (first, last) = (groups.change(0), groups.change(groups.entries.len() as u32 - 1));
            return Failure::run(anyhow!(
                "rule {} failed on a batch of {} changes from {} to {}, though on none of its entities alone: {whole}",
                pipeline.rule,
                groups.entries.len(),
                groups.batch.place(first),
                groups.batch.place(last),
            ));
        }
    };
    let entries = groups.offsets[group]..groups.offsets[group + 1];
    let (first, last) = (groups.change(entries.start), groups.change(entries.end - 1));
    let n_changes = match entries.len() {
        1 => format!("change {} at {}", first.op.letter(), groups.batch.place(first)),
        n => format!("{n} changes from {} to {}", groups.batch.place(first), groups.batch.place(last)),
    };
    Failure::run(anyhow!(
        "rule {} failed on entity {} ({n_changes}): {reason}. Nothing of this batch was written",
        pipeline.rule,
        groups.entity(group),
    ))
}

fn rejected(reject: &Reject, groups: &Groups<'_>, pipeline: &Pipeline) -> Failure {
    let change = groups.change(reject.entry);
    let side = match groups.entries[reject.entry as usize].moved {
        Moved::Stays => "",
        Moved::Leaves => ", the entity it leaves",
        Moved::Arrives => ", the entity it arrives at",
    };
    Failure::run(anyhow!(
        "rule {} rejects change {} of entity {}{side} at {}: {}. Nothing of this batch was written",
        pipeline.rule,
        change.op.letter(),
        groups.entity(groups.group_of(reject.entry)),
        groups.batch.place(change),
        reject.reason,
    ))
}

fn without_entity(reject: &NoEntity, batch: &Batch) -> Failure {
    let change = &batch.changes[reject.change as usize];
    let entity = reject.entity.as_ref().map(|entity| format!(" of entity {entity}")).unwrap_or_default();
    Failure::run(anyhow!(
        "change {}{entity} at {} cannot be given to the rule: {}. Nothing of this batch was written",
        change.op.letter(),
        batch.place(change),
        reject.reason,
    ))
}

fn shapes(tables: &[Arc<TableSchema>]) -> String {
    let shape = |table: &Arc<TableSchema>| {
        let fields: Vec<String> =
            table.fields.iter().map(|field| format!("{} {}", field.name, field.declared)).collect();
        format!("{}({})", table.name, fields.join(", "))
    };
    tables.iter().map(shape).collect::<Vec<_>>().join(", ")
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_millis() as u64)
}
