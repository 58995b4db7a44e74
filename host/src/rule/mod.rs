//! The `Rule` seam: the business decision, and nothing else.

pub mod bindings;
mod check;
mod component;
mod engine;
pub mod plan;
mod trap;
mod wasm;
mod wire;

use std::sync::Arc;

use crate::event::TableSchema;
use crate::groups::Groups;
use crate::rows::Rows;

pub use component::{Component, Description, Setting};
pub use engine::{Instance, Limits};
pub use plan::{Plan, compare as compare_plans};
pub use wasm::WasmRule;

/// Decides how history follows from changes. Synchronous and pure: the same groups give the same decision.
///
/// The pipeline calls `configure` before the first `transform` and again whenever a table's schema changes or another
/// table appears; `transform` once per batch.
pub trait Rule: Send {
    /// Tells the rule the source tables (in the order of the batch's `tables`) and returns its checked plan. On an error
    /// the rule as configured before is still in place.
    fn configure(&mut self, tables: &[Arc<TableSchema>]) -> Result<Arc<Plan>, RuleError>;

    /// The net effect of the changes on the history table, as whole rows. Never a partial result: after an error
    /// nothing of the batch is decided.
    fn transform(&mut self, groups: &Groups<'_>) -> Result<Decision, RuleError>;
}

/// What a rule decided: rows to delete and to upsert, each with the entry of the groups that caused it.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// Whole history rows, in the order in which they are to be written.
    pub upserts: Rows,
    /// One entry number (position in [`Groups::entries`]) per upsert.
    pub upsert_causes: Vec<u32>,
    /// Primary keys of rows to delete; deletes come before upserts.
    pub deletes: Rows,
    pub delete_causes: Vec<u32>,
    pub rejects: Vec<Reject>,
}

/// A change that the rule cannot decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Position in [`Groups::entries`].
    pub entry: u32,
    pub reason: String,
}

#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The component, its settings or its plan do not fit: exit code 2 before the first batch, 1 afterwards.
    #[error("{0}")]
    Unfit(String),
    /// A trap, a deadline, a memory breach, an error text or an output that breaks the contract. It concerns the batch:
    /// the caller halves it until it has the entity that cannot be done.
    #[error("{0}")]
    Batch(String),
    /// The rule cannot be trusted any further (it keeps state): stop.
    #[error("{0}")]
    Stop(String),
}
