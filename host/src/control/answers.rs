//! What the control port answers, as both of its ends hold it.

use serde::{Deserialize, Serialize};

use crate::ledger::RuleVersion;
use crate::pipeline::Exchanged;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusAnswer {
    pub pipeline: String,
    /// `running` or `paused`.
    pub state: String,
    /// Of the program.
    pub version: String,
    pub uptime_s: u64,
    pub rule: RuleAnswer,
    pub previous: Option<RuleAnswer>,
    pub source: SourceAnswer,
    /// What the history has durably; none before the first commit of all.
    pub position: Option<String>,
    /// Since the start, and all the figures below too.
    pub changes: u64,
    /// Rows of a snapshot.
    pub reads: u64,
    pub inserts: u64,
    pub updates: u64,
    pub deletes: u64,
    pub moves: u64,
    pub transactions: u64,
    pub batches: u64,
    pub history_rows: u64,
    pub negative_intervals: u64,
    /// Changes that were set aside since the start, and the entities that are in quarantine now.
    pub dead_letters: u64,
    pub quarantined: u64,
    /// Rows of the snapshot that are done, and about how many there are; none where none is being read.
    pub snapshot_rows: Option<[u64; 2]>,
    /// Over the last 5 to 10 seconds.
    pub changes_per_second: u64,
    /// Age of the last source transaction when its history was committed; none where the source does not say.
    pub lag_ms: Option<i64>,
    /// Events that wait: of a topic, messages that are not in the history yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_events: Option<u64>,
    /// Of a process with both halves of a topic; all above is then of the apply half.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<CaptureAnswer>,
}

/// What the capture half has in the topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CaptureAnswer {
    pub position: Option<String>,
    pub changes: u64,
    pub transactions: u64,
    pub changes_per_second: u64,
    pub lag_ms: Option<i64>,
}

/// A rule version without its settings, which may hold secrets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleAnswer {
    pub name: String,
    pub digest: String,
    pub origin: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SourceAnswer {
    pub connected: bool,
    /// Where to, or why not.
    pub about: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExchangeAnswer {
    pub from: RuleAnswer,
    pub to: RuleAnswer,
    /// From here on the new rule decides; none: from the beginning.
    pub since: Option<String>,
    pub pause_us: u64,
    /// False where no table of the source was known yet: the rule is configured at the first captured row.
    pub verified: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResnapshotAnswer {
    /// `database.table`
    pub table: String,
    /// What will happen, for people.
    pub about: String,
}

/// Why something was not done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorAnswer {
    pub error: String,
}

impl From<&RuleVersion> for RuleAnswer {
    fn from(version: &RuleVersion) -> Self {
        let RuleVersion { name, digest, origin, .. } = version;
        RuleAnswer { name: name.clone(), digest: digest.clone(), origin: origin.clone() }
    }
}

impl From<Exchanged> for ExchangeAnswer {
    fn from(exchanged: Exchanged) -> Self {
        ExchangeAnswer {
            from: exchanged.from.as_ref().into(),
            to: exchanged.to.as_ref().into(),
            since: exchanged.since.map(|position| position.0),
            pause_us: exchanged.pause.as_micros() as u64,
            verified: exchanged.verified,
        }
    }
}
