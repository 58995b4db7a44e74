//! The history table, and what is written to it. Knows no client crate.

use crate::dead_letter::DeadLetter;
use crate::event::{Field, Position, Records};
use crate::ledger::{Ledger, Turn};
use crate::rows::Rows;

/// The history table's shape and what its columns are for, as the rule's plan says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistorySchema {
    pub columns: Vec<HistoryColumn>,
    /// Positions in `columns`, in key order.
    pub primary_key: Vec<usize>,
    pub roles: Roles,
}

impl HistorySchema {
    /// The primary key without the interval's start, positions in `columns`: by it a source row is known in the history.
    pub fn source_key(&self) -> Vec<usize> {
        self.primary_key.iter().copied().filter(|&column| column != self.roles.start).collect()
    }

    /// `owner_id`, or `owner_id, region`: the columns that an entity is told by.
    pub fn entity_key(&self) -> String {
        let names = self.roles.entity_key.iter().map(|&column| self.columns[column].field.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryColumn {
    pub field: Field,
    /// The source column whose value this one carries; none where the rule makes the value.
    pub source: Option<String>,
}

/// What columns are for: by them the host reads an entity's rows, audits, and answers "as of". Positions in `columns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    pub entity_key: Vec<usize>,
    pub start: usize,
    pub end: usize,
    pub current: Option<usize>,
}

/// Which history rows of an entity a rule needs to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    CurrentRows,
    AllRows,
}

/// History rows of several entities: entity `e` has rows `offsets[e]..offsets[e + 1]`, in the order of the primary key.
#[derive(Clone, Debug, Default)]
pub struct EntityRows {
    pub offsets: Vec<u32>,
    pub rows: Rows,
}

/// What one commit writes: first the deletes, then the upserts in their order (of two with one primary key the later
/// stands), and with them the checkpoint and the ledger's turns; all or nothing.
#[derive(Clone, Debug)]
pub struct Load {
    /// Whole rows, all columns of the history table.
    pub upserts: Rows,
    /// Primary keys, in the order of [`HistorySchema::primary_key`].
    pub deletes: Rows,
    pub checkpoint: Checkpoint,
    /// What becomes true with this load, in order: mostly nothing.
    pub turns: Vec<Turn>,
    pub snapshot: Option<SnapshotStep>,
    /// Changes that are set aside, in the source's order.
    pub dead_letters: Vec<DeadLetter>,
    /// What was decided, where the source keeps account of it.
    pub records: Option<Records>,
    pub decided_by: DecidedBy,
}

/// What a sink that may have to load a batch again has to know of the rule.
#[derive(Clone, Debug, Default)]
pub struct DecidedBy {
    /// See [`RuleVersion::digest`](crate::ledger::RuleVersion).
    pub digest: String,
    /// Whether a batch that is decided a second time, over its own outcome, comes to the same.
    pub replay_safe: bool,
}

/// What a load does for a snapshot, beside its rows.
#[derive(Clone, Debug)]
pub enum SnapshotStep {
    /// Before anything is written the history is emptied, and what was met or set aside is forgotten.
    Anew,
    /// A re-snapshot has met these source keys (columns of [`HistorySchema::source_key`]): remembered until it ends.
    Met(Rows),
    /// A re-snapshot has ended: what was met is forgotten.
    Ends,
}

impl Load {
    /// Moves the checkpoint on, and nothing else: there need be no history table yet.
    pub fn empty(checkpoint: Checkpoint) -> Self {
        let (upserts, deletes) = (Rows::default(), Rows::default());
        let (turns, dead_letters) = (Vec::new(), Vec::new());
        let (snapshot, records, decided_by) = (None, None, DecidedBy::default());
        Load { upserts, deletes, checkpoint, turns, snapshot, dead_letters, records, decided_by }
    }
}

/// How far the sink is, written together with the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Source kind and tables, as [`assemble`](crate::assemble) writes them; another text is another source.
    pub source: String,
    pub position: Position,
}

/// What a sink knows of a pipeline when it starts.
#[derive(Clone, Debug, Default)]
pub struct Standing {
    /// None when it has never committed.
    pub checkpoint: Option<Checkpoint>,
    pub ledger: Ledger,
    /// The first batch has to end here: it was under way when the process before ended.
    pub redo_to: Option<Position>,
}
