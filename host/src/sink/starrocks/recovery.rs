//! What became of the load that was under way when the process before ended.
//!
//! It is looked at once, and ended where it is open; no other label is touched. So two processes that both believe they own a lane
//! cannot end each other's loads for ever: whoever lost it is refused its next mark.

use tracing::{info, warn};

use super::attempt::Outcome;
use super::progress::{Intent, Kept};
use super::reply::LabelState;
use super::sink::StarRocks;
use super::sql;
use crate::crash;
use crate::sink::SinkError;

/// A load that has to be made again.
#[derive(Clone, Debug)]
pub(super) struct Redo {
    pub intent: Intent,
    /// The rule that decided it.
    pub digest: String,
    /// Whether it is certain that it was not applied.
    pub is_certain: bool,
}

/// What is known of a load whose label tells no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    Applied,
    /// And it never will be.
    NotApplied,
    /// Forgotten, with everything that could tell.
    Unknown,
}

impl StarRocks {
    /// Reads where the lane is; gives what has to be done again.
    pub(super) async fn recover(&mut self) -> Result<Option<Redo>, SinkError> {
        // The table first: rows that are there by now were announced before.
        let rows = self.cluster.once(&sql::any_row(&self.settings.table, None)).await;
        let has_rows = !rows.map_err(|error| self.no_table(error))?.is_empty();
        let kept = self.progress.read().await?;
        crash::point("recovery.read");
        match kept {
            Kept::Mark(mark) if mark.source != self.settings.source => {
                return Err(SinkError::Unfit(format!(
                    "lane {} was applied from `{}`, and the configuration says `{}`: give this pipeline another `name` and a table of \
                     its own",
                    self.settings.lane, mark.source, self.settings.source
                )));
            }
            Kept::Mark(mark) if mark.lanes != self.settings.lanes => {
                return Err(SinkError::Unfit(format!(
                    "lane {} was one of {}, and the topic has {} partitions now: keys lie in other partitions than before, and the order \
                     of their changes is lost. Begin a new history from a new topic",
                    self.settings.lane, mark.lanes, self.settings.lanes
                )));
            }
            Kept::Mark(mark) => self.mark = *mark,
            Kept::New => return Ok(None),
            Kept::Nothing | Kept::Foreign(_) if !has_rows || self.is_moved => return Ok(None),
            Kept::Nothing => return Err(self.lost("nothing is kept of where it is".into())),
            Kept::Foreign(what) => return Err(self.lost(format!("what is kept of where it is is {what}"))),
        }
        if self.is_moved {
            // A look changes nothing.
            return Ok(None);
        }
        if let Some(label) = self.mark.letters_load.take()
            && self.rows.settle(&label, true).await == Outcome::Applied
        {
            self.mark.prev = Some(label);
        }
        let Some(intent) = self.mark.load.clone() else { return Ok(None) };
        let became = match self.rows.settle(&intent.label, true).await {
            Outcome::Applied => Became::Applied,
            Outcome::NotApplied(_) | Outcome::NotNow(_) | Outcome::Rejected(_) | Outcome::Stop(_) => Became::NotApplied,
            Outcome::Unknown(_) => self.ask_others(&intent).await?,
        };
        crash::point("recovery.settled");
        info!(lane = self.settings.lane, label = intent.label, ?became, "the last load of the process before");
        if became == Became::Applied {
            self.applied(&intent);
            return Ok(None);
        }
        let is_certain = became == Became::NotApplied;
        Ok(Some(Redo { intent, digest: self.mark.digest.clone(), is_certain }))
    }

    /// Of a label that the leader does not know: whether it never led to anything, or was forgotten.
    pub(super) async fn ask_others(&mut self, intent: &Intent) -> Result<Became, SinkError> {
        // Labels are forgotten in the order in which they end. As long as the one before is known, this one was not.
        if let Some(prev) = &self.mark.prev
            && self.rows.known_state(prev).await != LabelState::Unknown
        {
            return Ok(Became::NotApplied);
        }
        let Some(column) = self.settings.sequence.clone() else { return Ok(Became::Unknown) };
        // Nothing of this lane came later, so none of its rows was replaced.
        let question = sql::any_row(&self.settings.table, Some((&column, self.mark.sequence(intent.sequence))));
        let found = self.cluster.of_leader(&question).await?;
        Ok(if found.is_empty() { Became::NotApplied } else { Became::Applied })
    }

    /// A batch that comes again has to be the one that was under way.
    pub(super) fn check_redo(&mut self, load: &crate::history::Load) -> Result<(), SinkError> {
        let Some(Redo { intent, digest, is_certain }) = self.redo.take() else { return Ok(()) };
        self.is_redoing = true;
        let lane = &self.settings.lane;
        // A source that keeps no account goes on from before it in batches of any size: repeats change nothing.
        if let Some(records) = load.records
            && (load.checkpoint.position != intent.to || records != intent.records())
        {
            return Err(SinkError::Stop(format!(
                "lane {lane}: the batch that was under way when the process before ended comes with other messages: it had {} up to \
                 `{}`, and now has {} up to `{}`. Were messages deleted, or was the topic made anew? `hindsight rewind` goes on \
                 elsewhere",
                intent.count, intent.to.0, records.count, load.checkpoint.position.0
            )));
        }
        if is_certain || load.upserts.is_empty() && load.deletes.is_empty() {
            return Ok(());
        }
        let from = self.mark.at.as_ref().map_or("the beginning", |position| position.0.as_str());
        let unknown = format!(
            "lane {lane}: StarRocks has forgotten what became of the last load ({}), and of the one before it: the batch from {from} to \
             {} is in the table, or is not",
            intent.label, intent.to.0
        );
        if digest != load.decided_by.digest {
            return Err(SinkError::Stop(format!(
                "{unknown}. To decide it again takes the same rule ({}), and the configuration names another: name that one, and change \
                 it afterwards",
                crate::ledger::short(&digest)
            )));
        }
        if !load.decided_by.replay_safe {
            return Err(SinkError::Stop(format!(
                "{unknown}, and the rule does not say that deciding it a second time changes nothing. Look into the table, and go on \
                 behind it or before it: `hindsight rewind --to PARTITION=OFFSET --accept`. With sink.sequence-column the table itself \
                 would tell; FE's label_keep_max_num says how many labels it keeps"
            )));
        }
        warn!("{unknown}. It is decided once more, which under this rule changes nothing of it");
        Ok(())
    }

    fn lost(&self, what: String) -> SinkError {
        SinkError::Unfit(format!(
            "lane {}: the table {} has rows, and {what}: where it goes on cannot be told. A history of another program is taken over \
             by `hindsight adopt`; `hindsight rewind --to … --accept` says where it goes on; else begin with an empty table",
            self.settings.lane, self.settings.table
        ))
    }

    fn no_table(&self, error: SinkError) -> SinkError {
        match &error {
            SinkError::Unfit(why) if why.contains("nknown table") || why.contains("doesn't exist") => {
                SinkError::Unfit(format!(
                    "there is no table {} in database {} of StarRocks: make it with what `hindsight ddl` prints ({why})",
                    self.settings.table,
                    self.cluster.database()
                ))
            }
            _ => error,
        }
    }
}
