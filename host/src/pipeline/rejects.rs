//! What is set aside becomes dead letters, and how much may.

use std::collections::VecDeque;
use std::sync::Arc;

use anyhow::anyhow;

use super::deciding::{Aside, OnReject};
use super::undecided;
use crate::civil::Zone;
use crate::dead_letter::{Cause, DeadLetter, Quarantine, Writer};
use crate::event::Batch;
use crate::failure::{Failure, Outcome};
use crate::ledger::RuleVersion;

/// A rule that rejects everything is at fault, not its changes: rejects are counted among so many.
pub const AMONG_CHANGES: usize = 10_000;

/// What becomes of changes that cannot be decided.
#[derive(Clone, Debug)]
pub struct Rejects {
    pub on_reject: OnReject,
    /// More than so many among [`AMONG_CHANGES`] end the pipeline.
    pub max: usize,
    /// The pipeline's name, as the dead letters' events have it.
    pub pipeline: String,
    /// Whose wall clock the batches show.
    pub zone: Zone,
}

impl Default for Rejects {
    fn default() -> Self {
        Rejects {
            on_reject: OnReject::default(),
            max: AMONG_CHANGES / 100,
            pipeline: "hindsight".into(),
            zone: Zone::UTC,
        }
    }
}

/// Where dead letters are written, before they are committed with their batch.
pub(super) struct Desk {
    on_reject: OnReject,
    max: usize,
    writer: Writer,
    /// Changes and rejects of the last batches, as few as hold [`AMONG_CHANGES`].
    recent: VecDeque<(usize, usize)>,
}

impl Desk {
    pub fn new(rejects: &Rejects) -> Self {
        let writer = Writer::new(&rejects.pipeline, rejects.zone.clone());
        Desk { on_reject: rejects.on_reject, max: rejects.max, writer, recent: VecDeque::new() }
    }

    /// How many of the next changes may be set aside for the rule's sake.
    pub fn left(&self) -> usize {
        self.max.saturating_sub(self.recent.iter().map(|(_, n_rejects)| n_rejects).sum())
    }

    pub fn count(&mut self, n_changes: usize, n_rejects: usize) {
        self.recent.push_back((n_changes, n_rejects));
        let mut n_recent: usize = self.recent.iter().map(|(n_changes, _)| n_changes).sum();
        while let Some(&(n_oldest, _)) = self.recent.front()
            && n_recent - n_oldest >= AMONG_CHANGES
        {
            n_recent -= n_oldest;
            self.recent.pop_front();
        }
    }

    pub fn overflow(&self, aside: &Aside, batch: &Batch, rule: &str) -> Failure {
        undecided::too_many(aside, batch, rule, self.max, AMONG_CHANGES)
    }

    /// In the source's order. `entity_key`: as the plan has it.
    pub fn letters(
        &mut self,
        mut aside: Vec<Aside>,
        batch: &Batch,
        entity_key: String,
        version: &RuleVersion,
    ) -> Outcome<Vec<DeadLetter>> {
        if aside.is_empty() {
            return Ok(Vec::new());
        }
        aside.sort_by_key(|aside| (aside.change, aside.moved as u8));
        let entity_key: Arc<str> = entity_key.into();
        let mut letters = Vec::with_capacity(aside.len());
        for Aside { change, moved, entity, cause, reason } in aside {
            let change = &batch.changes[change as usize];
            let written = self.writer.write(batch, change);
            let (event, schema) = written.map_err(|text| {
                Failure::run(anyhow!(text).context("a change that has to be set aside cannot be written"))
            })?;
            letters.push(DeadLetter {
                entity,
                entity_key: entity_key.clone(),
                quarantines: cause == Cause::Follows || self.on_reject != OnReject::Skip,
                cause,
                reason,
                op: change.op,
                moved,
                place: batch.place(change),
                rule: version.digest.clone(),
                schema,
                event,
            });
        }
        Ok(letters)
    }
}

/// A table that is read again is compared with the history, which of an entity in quarantine is behind.
pub(super) fn compares(quarantine: &Quarantine) -> Outcome<()> {
    if quarantine.is_empty() {
        return Ok(());
    }
    Err(Failure::run(anyhow!(
        "a table is read again, and {} entities are in quarantine, whose history cannot be compared: replay or drop them first \
         (`hindsight dead-letters list`), then start again",
        quarantine.len()
    )))
}
