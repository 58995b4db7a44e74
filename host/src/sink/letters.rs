//! What was set aside, for whoever looks at it, decides it or gives it up: wherever the history is.

use std::sync::Arc;

use super::SinkError;
use crate::dead_letter::DeadLetter;
use crate::history::{EntityRows, HistorySchema, Scope};
use crate::ledger::RuleVersion;
use crate::rows::Rows;

/// A letter and where it is kept.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The pipeline's name, `/` and a partition behind it where it has lanes.
    pub lane: String,
    pub n: i64,
    pub letter: DeadLetter,
    pub at: String,
}

/// An entity's letters, or a single one that has no entity or that nothing follows.
#[derive(Clone, Debug)]
pub struct Chain {
    pub lane: String,
    pub n_letters: u64,
    /// The first one, because of which the others are there.
    pub first: Kept,
}

/// What became of letters.
pub struct Settled<'a> {
    pub lane: &'a str,
    /// They go.
    pub letters: &'a [i64],
    pub upserts: &'a Rows,
    pub deletes: &'a Rows,
}

/// A pipeline's dead letters, whether it runs or not.
///
/// `chains` and `letters` look; a replay calls `begin` once, and then for each step `prepare`, `entity_rows` and `settle`.
#[async_trait::async_trait]
pub trait LetterBox: Send {
    /// In the order of their first letters.
    async fn chains(&mut self) -> Result<Vec<Chain>, SinkError>;

    /// A chain's letters behind one, in the source's order; at most so many.
    async fn letters(&mut self, chain: &Chain, after: i64, n_max: usize) -> Result<Vec<Kept>, SinkError>;

    /// Finishes what a replay before has left half-way.
    async fn begin(&mut self) -> Result<(), SinkError>;

    /// The rule version that decides a lane's changes now; none where that is the configuration's.
    async fn active_rule(&mut self, lane: &str) -> Result<Option<Arc<RuleVersion>>, SinkError>;

    /// As [`Sink::prepare`](super::Sink::prepare), of a table that is there.
    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError>;

    /// As [`Sink::entity_rows`](super::Sink::entity_rows).
    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError>;

    /// Takes letters away, and writes what they came to: both or neither.
    ///
    /// # Errors
    /// One of the letters is gone: somebody else settled it, and nothing is written.
    async fn settle(&mut self, settled: &Settled<'_>) -> Result<(), SinkError>;
}
