//! The `Sink` seam: where history is kept.

mod letters;
mod memory;
mod overlay;
mod sqlite;
pub mod starrocks;

use std::sync::Arc;

use crate::dead_letter::Quarantine;
use crate::history::{EntityRows, HistorySchema, Load, Scope, Standing};
use crate::rows::{Row, Rows};

pub use letters::{Chain, Kept, LetterBox, Settled};
pub use memory::{Memory, Owned};
pub use overlay::Overlay;
pub use sqlite::{DeadLetters, LaneOf, Reader, Snapshot, Sqlite, lanes, read_entries};

/// Keeps history rows, the checkpoint and the ledger; they move together or not at all.
///
/// `checkpoint` is called once, before anything else; `prepare` by the pipeline when the rule's plan is known, before the
/// first `entity_rows` or a `commit` with rows, and again when the rule was configured anew or another took its place (its
/// table has the same columns and keys then); `entity_rows` and `commit` in turn, one batch at a time; `unmet` at the end of
/// a re-snapshot; `quarantined` before each decision. A load without rows, also one that empties the history, may come before `prepare`.
#[async_trait::async_trait]
pub trait Sink: Send {
    /// How far this pipeline has come, and which rule has brought it there.
    async fn checkpoint(&mut self) -> Result<Standing, SinkError>;

    /// Makes the history table, or compares the one that is there and refuses with the difference column by column.
    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError>;

    /// The entities that have a dead letter. From outside they only ever become fewer.
    async fn quarantined(&mut self) -> Result<Arc<Quarantine>, SinkError>;

    /// The whole history rows of each entity, as the last commit left them. `keys` has a row for each entity, columns
    /// in the order of `roles.entity_key`, no entity twice, no NULL.
    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError>;

    /// Current rows (without `roles.current`: those without an end) whose source key no load has met since the last
    /// re-snapshot ended. Whole entities in the order of their keys, behind the entity `after` (columns in the order of
    /// `roles.entity_key`): as many as it takes to have `n_wanted` rows, or what is left.
    async fn unmet(&mut self, after: Option<Row<'_>>, n_wanted: usize) -> Result<Rows, SinkError>;

    /// Writes rows, checkpoint, turns, dead letters and what was met in one transaction: after an error nothing of the load is there.
    async fn commit(&mut self, load: &Load) -> Result<(), SinkError>;

    /// Why the table does not take these rows; none where it does. Asked after [`SinkError::Misfit`], to find the change.
    fn misfit(&self, _upserts: &Rows, _deletes: &Rows) -> Option<String> {
        None
    }

    /// Nothing comes for a while, or ever: what a next commit would say of the last one has to be said now.
    async fn idle(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The place cannot be used (not writable, another table, not a database): exit code 3 before the first batch, 1 afterwards.
    #[error("{0}")]
    Unfit(String),
    /// The table that is there is not the one that the rule writes. As [`SinkError::Unfit`], but exit code 2 where it is
    /// the configuration that names another rule than the table's.
    #[error("{0}")]
    OtherTable(String),
    /// Another process has moved the checkpoint: this one stops and must not write again.
    #[error("{0}")]
    Fenced(String),
    /// The load was not applied: exit code 1.
    #[error("{0}")]
    Stop(String),
    /// A value does not fit its column, and nothing was written: the caller finds the change by [`Sink::misfit`], sets it aside, and
    /// commits the rest.
    #[error("{0}")]
    Misfit(String),
    /// The server does not take one of the rows, without saying which; nothing was written: the caller commits the batch in parts.
    #[error("{0}")]
    Rejected(String),
}
