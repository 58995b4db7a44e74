//! What a pipeline has done so far, and where its time went.

use std::time::Duration;

use crate::event::{Batch, Op, Progress};
use crate::history::{HistorySchema, Load};
use crate::rows::Value;
use crate::rule::Plan;

/// What happened so far.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Summary {
    pub batches: u64,
    pub transactions: u64,
    /// Rows of a snapshot.
    pub reads: u64,
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
    /// Changes that were set aside: rejected, failed, or those of entities in quarantine.
    pub dead_letters: u64,
    #[serde(skip)]
    pub progress: Option<Progress>,
    /// Of the last batch, where its source says it; see [`Batch::committed_us`].
    #[serde(skip)]
    pub committed_us: Option<i64>,
    /// How long the last batch took, waiting for it included.
    #[serde(skip)]
    pub last_batch: Duration,
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

impl Stages {
    fn add(&mut self, other: &Stages) {
        self.source += other.source;
        self.group += other.group;
        self.read += other.read;
        self.rule += other.rule;
        self.commit += other.commit;
    }
}

impl Summary {
    pub fn changes(&self) -> u64 {
        self.reads + self.inserts + self.updates + self.deletes
    }

    /// Adds what another pipeline did, of the same history.
    pub fn add(&mut self, other: &Summary) {
        self.batches += other.batches;
        self.transactions += other.transactions;
        self.reads += other.reads;
        self.inserts += other.inserts;
        self.updates += other.updates;
        self.deletes += other.deletes;
        self.moves += other.moves;
        self.rows_upserted += other.rows_upserted;
        self.rows_deleted += other.rows_deleted;
        self.negative_intervals += other.negative_intervals;
        self.dead_letters += other.dead_letters;
        self.progress = other.progress.or(self.progress);
        // The one that is furthest behind.
        self.committed_us = self.committed_us.into_iter().chain(other.committed_us).min();
        self.last_batch = self.last_batch.max(other.last_batch);
        self.stages.add(&other.stages);
    }

    /// `busy`: from the edge before the batch to the end of its commit.
    pub fn count_batch(&mut self, batch: &Batch, busy: Duration) {
        self.batches += 1;
        // A chunk of a snapshot is none.
        let is_logged = !batch.changes.iter().any(|change| change.op == Op::Read);
        self.transactions += if is_logged { batch.transactions.len() as u64 } else { 0 };
        self.progress = batch.progress;
        self.committed_us = batch.committed_us.or(self.committed_us);
        self.last_batch = busy;
        let count = |wanted: Op| batch.changes.iter().filter(|change| change.op == wanted).count() as u64;
        let rekeyed =
            |wanted: Op| batch.changes.iter().filter(|change| change.rekeys && change.op == wanted).count() as u64;
        // Of a changed key a snapshot may hold the delete or the create already.
        let key_changes = rekeyed(Op::Create).max(rekeyed(Op::Delete));
        self.reads += count(Op::Read);
        self.inserts += count(Op::Create) - rekeyed(Op::Create);
        self.updates += count(Op::Update) + key_changes;
        self.deletes += count(Op::Delete) - rekeyed(Op::Delete);
    }

    pub(super) fn count_load(&mut self, load: &Load, plan: Option<&Plan>) {
        self.dead_letters += load.dead_letters.len() as u64;
        let Some(HistorySchema { roles, .. }) = plan.map(|plan| &plan.history) else { return };
        self.rows_upserted += load.upserts.len() as u64;
        self.rows_deleted += load.deletes.len() as u64;
        let ends_early = |row: &crate::rows::Row<'_>| match (row.get(roles.start), row.get(roles.end)) {
            (Value::Int(start), Value::Int(end)) => end < start,
            _ => false,
        };
        self.negative_intervals += load.upserts.iter().filter(ends_early).count() as u64;
    }
}

fn as_millis<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_millis() as u64)
}
