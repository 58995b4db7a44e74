//! The `Sink` seam: where history is kept.

mod memory;
mod overlay;
mod sqlite;

use crate::history::{Checkpoint, EntityRows, HistorySchema, Load, Scope};
use crate::rows::Rows;

pub use memory::{Memory, Owned};
pub use overlay::Overlay;
pub use sqlite::{Reader, Snapshot, Sqlite};

/// Keeps history rows and the checkpoint; they move together or not at all.
///
/// The pipeline calls `checkpoint` once, before anything else; `prepare` when the rule's plan is known, before the
/// first `entity_rows` or `commit`, and again (with an equal schema) when the rule was configured anew; then
/// `entity_rows` and `commit` in turn, one batch at a time.
#[async_trait::async_trait]
pub trait Sink: Send {
    /// How far this pipeline has come, none when it has never committed.
    async fn checkpoint(&mut self) -> Result<Option<Checkpoint>, SinkError>;

    /// Makes the history table, or compares the one that is there and refuses with the difference column by column.
    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError>;

    /// The whole history rows of each entity, as the last commit left them. `keys` has a row for each entity, columns
    /// in the order of `roles.entity_key`, no entity twice, no NULL.
    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError>;

    /// Writes rows and checkpoint in one transaction: after an error nothing of the load is there.
    async fn commit(&mut self, load: &Load) -> Result<(), SinkError>;
}

#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The place cannot be used (not writable, another table, not a database): exit code 3 before the first batch, 1 afterwards.
    #[error("{0}")]
    Unfit(String),
    /// Another process has moved the checkpoint: this one stops and must not write again.
    #[error("{0}")]
    Fenced(String),
    /// The load was not applied: exit code 1.
    #[error("{0}")]
    Stop(String),
}
