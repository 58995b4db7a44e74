//! One transaction and its states.

use std::sync::Arc;

use serde::Serialize;

use super::Load;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum State {
    Prepare,
    Prepared,
    Committed,
    Visible,
    Aborted,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Prepare => "PREPARE",
            State::Prepared => "PREPARED",
            State::Committed => "COMMITTED",
            State::Visible => "VISIBLE",
            State::Aborted => "ABORTED",
        }
    }

    pub fn is_running(self) -> bool {
        matches!(self, State::Prepare | State::Prepared)
    }
}

/// By which interface it was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Plain,
    Interface,
}

/// How long a publish is kept back, beside the FE's own delay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    #[default]
    No,
    UntilMs(u64),
    /// Until a test lets it go.
    UntilReleased,
}

/// What a reply says of the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub total: u64,
    pub filtered: u64,
    pub bytes: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Transaction {
    pub id: u64,
    pub label: String,
    pub table: String,
    pub table_id: u64,
    pub kind: Kind,
    pub state: State,
    /// Why it was aborted.
    pub reason: String,
    /// The BE that has it.
    pub coordinator: usize,
    pub timeout_s: u64,
    /// Without a call for so long; 0: does not matter.
    pub idle_timeout_s: u64,
    pub prepared_timeout_s: u64,
    pub begun_ms: u64,
    pub touched_ms: u64,
    pub prepared_ms: Option<u64>,
    pub committed_ms: Option<u64>,
    pub visible_ms: Option<u64>,
    pub finished_ms: Option<u64>,
    pub counts: Counts,
    /// Of its table, from the commit.
    pub version: Option<u64>,
    /// Which FEs show it.
    pub shown_by: Vec<bool>,
    /// From prepare to commit.
    #[serde(skip)]
    pub load: Option<Arc<Load>>,
}

impl Transaction {
    /// The state as an FE knows it: a follower hears later that it is visible.
    pub fn state_at(&self, frontend: usize, leader: usize) -> State {
        let is_shown = frontend == leader || self.shown_by.get(frontend).copied().unwrap_or(true);
        if self.state == State::Visible && !is_shown { State::Committed } else { self.state }
    }
}
