//! A rule to go on with: what is handed to a running pipeline, and what it answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::event::{Position, TableSchema};
use crate::ledger::{Reason, RuleVersion};
use crate::rule::{Plan, Rule};

/// A candidate that was verified beside the running rule. Who made it waits for `reply`, which comes when the exchange is
/// durable, with a refusal where it was not made, or never where the pipeline ended.
pub struct Exchange {
    pub rule: Box<dyn Rule>,
    pub version: Arc<RuleVersion>,
    /// What the rule is configured for: the pipeline's tables when the candidate was made. None where none was met yet.
    pub configured: Option<(Vec<Arc<TableSchema>>, Arc<Plan>)>,
    /// Swap or rollback.
    pub reason: Reason,
    pub asked: Instant,
    pub reply: oneshot::Sender<Result<Exchanged, String>>,
}

/// What an exchange came to.
#[derive(Clone, Debug)]
pub struct Exchanged {
    pub from: Arc<RuleVersion>,
    pub to: Arc<RuleVersion>,
    /// From here on the new rule decides; none: from the beginning.
    pub since: Option<Position>,
    /// How long no batch could be decided for its sake: from the end of the last batch under the old rule (or from the
    /// question, where it came later) to the moment when the first one under the new rule could begin.
    pub pause: Duration,
    /// Whether the new rule was configured for the source's tables and its history table compared; not before the first
    /// captured row.
    pub verified: bool,
}

impl Exchange {
    /// The history's columns that the candidate tells entities by; none where no table was met yet.
    pub(super) fn entity_key(&self) -> Option<String> {
        self.configured.as_ref().map(|(_, plan)| plan.history.entity_key())
    }

    pub(super) fn refuse(self, why: &str) {
        // Who asked may have gone away.
        let _ = self.reply.send(Err(why.to_owned()));
    }
}
