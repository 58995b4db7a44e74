//! A rule's answer to the source's schema: what it wants to see, and the history table it writes.

use crate::history::{HistorySchema, Scope};

/// A plan that has passed [`check`](self) against the tables it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One for each table given to `configure`, in that order.
    pub tables: Vec<TableUse>,
    pub history: HistorySchema,
    pub scope: Scope,
    /// History columns that `transform` wants to see, positions in `history.columns`.
    pub read: Vec<usize>,
    /// History columns that a revision may set; none of the primary key.
    pub revise: Vec<usize>,
    /// transform(transform(S, b), b) = transform(S, b).
    pub replay_safe: bool,
    /// Every source row has a current history row (an audit may ask it).
    pub complete: bool,
}

/// What the rule wants of one source table: positions in its `fields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUse {
    pub entity_key: Vec<usize>,
    pub after: Vec<usize>,
    pub before: Vec<usize>,
}
