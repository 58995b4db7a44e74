//! Every fault that can be played. The numbers are those of the crate's README; where a fault has an effect is said by
//! [`Fault::endpoints`], and a rule for another endpoint is refused.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// 1: the Location is a port at which nobody listens.
    RedirectToDeadBe,
    /// 2: the Location takes connections and never answers.
    RedirectToHungBe,
    /// 3: the 307 comes late.
    SlowRedirect { delay_ms: u64 },
    /// 4: a final reply instead of `100 Continue`.
    RefuseBeforeBody { message: Option<String> },
    /// 5: begun, and then neither `100 Continue` nor a reply.
    NeverContinue,
    /// 6: committed, answered at once, visible later; None: when a test releases it.
    PublishTimeout { visible_after_ms: Option<u64> },
    /// 7
    LabelExistsRunning,
    /// 8
    LabelExistsFinished,
    /// 8b: a used label as plain `Fail`.
    LabelExistsAsFail,
    /// 9
    TxnNotExists,
    /// 10
    TxnInProcessing,
    /// 11: a reply of this status in the middle of the body, and the end of the connection.
    ErrorMidBody { status: u16, after_bytes: usize },
    /// 12 (plain load), 14 (prepare), 16 (commit), and any other: done, and RST instead of the reply.
    LoseReply,
    /// 13: the whole body was read, nothing was committed, RST. The transaction is aborted, or stays in PREPARE.
    ResetNotCommitted {
        #[serde(default)]
        stays: bool,
    },
    /// 15: PREPARED, a reply that it failed, and aborted by the BE a moment later.
    LateAbort { after_ms: u64 },
    /// 17: FAILED `publish timeout`, though COMMITTED.
    CommitPublishTimeout { visible_after_ms: Option<u64> },
    /// 18 (PREPARED), 19 (PREPARE): the label's transaction has just timed out.
    TxnTimedOut,
    /// 20
    LeaderSwitch { to: Option<usize>, turn: Turn },
    /// 21: the BE that handles the call, or that has the label.
    BeRestart { turn: Turn },
    /// 22: the label is forgotten as soon as it is finished, before the reply.
    ForgetLabel,
    /// 23
    TooManyVersions,
    /// 24
    TooManyRunning,
    /// 25: reads slowly, answers late.
    SlowBe { bytes_per_s: Option<u64>, reply_delay_ms: u64 },
    /// 26: 401 at an FE, `Fail` at a BE.
    AuthRefused,
    /// 27
    DiskFull,
    /// 28
    NoBackendAlive,
    /// 29: half a reply, or one that is no JSON.
    BadReply { how: BadReply },
    /// 30, and wherever else: nothing is done.
    Unavailable { how: Outage },
    /// 31: a nullable column becomes NULL, and nobody says so.
    SilentNull { column: String },
    /// 32
    QuotaExceeded,
    /// 33: between begin and load.
    SchemaChanged,
    /// 34
    EmptyLoad,
    /// A proxy in front of the BE answers 100, takes the whole body, and hands both on later, whether the client still
    /// waits or not; None: when a test releases it.
    ProxyBuffers { delay_ms: Option<u64> },
    /// Handled later.
    Delay { delay_ms: u64 },
    /// A MySQL error instead of the statement's result.
    SqlError { code: u16, message: String },
}

/// Before or after the call is handled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turn {
    Before,
    After,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BadReply {
    /// Content-Length says more than comes.
    Truncated,
    /// The length is right, the JSON ends in the middle.
    HalfJson,
    NotJson,
    Empty,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outage {
    Error500,
    Error502,
    Reset,
    /// Until the client goes.
    Hang,
}

/// Every endpoint that a rule can be for. `load` stands for the node that carries the operation out, `fe.load` and
/// `be.load` for one hop.
pub const ENDPOINTS: [&str; 22] = [
    "fe.stream_load",
    "be.stream_load",
    "fe.begin",
    "be.begin",
    "fe.load",
    "be.load",
    "load",
    "fe.prepare",
    "be.prepare",
    "prepare",
    "fe.commit",
    "be.commit",
    "commit",
    "fe.rollback",
    "be.rollback",
    "rollback",
    "get_load_state",
    "cancel",
    "error_log",
    "health",
    "mysql.query",
    "mysql.connect",
];

impl Fault {
    /// Its name in rules and in the log.
    pub fn name(&self) -> String {
        let json = serde_json::to_value(self).unwrap_or_default();
        json.get("fault").and_then(|name| name.as_str()).unwrap_or("?").to_owned()
    }

    /// Whether it has an effect at an endpoint.
    pub fn plays_at(&self, endpoint: &str) -> bool {
        let any_of = |names: &[&str]| names.contains(&endpoint);
        let is_sql = endpoint.starts_with("mysql.");
        match self {
            Fault::RedirectToDeadBe | Fault::RedirectToHungBe | Fault::SlowRedirect { .. } | Fault::NoBackendAlive => {
                endpoint.starts_with("fe.")
            }
            Fault::RefuseBeforeBody { .. } => any_of(&["fe.stream_load", "be.stream_load", "be.load", "load"]),
            Fault::NeverContinue | Fault::ErrorMidBody { .. } | Fault::ProxyBuffers { .. } => {
                any_of(&["be.stream_load", "be.load", "load"])
            }
            Fault::PublishTimeout { .. } => any_of(&["be.stream_load", "be.commit", "commit"]),
            Fault::LabelExistsRunning
            | Fault::LabelExistsFinished
            | Fault::LabelExistsAsFail
            | Fault::TooManyRunning => any_of(&["be.stream_load", "be.begin"]),
            Fault::TxnNotExists | Fault::TxnInProcessing => {
                any_of(&["be.load", "load", "be.prepare", "prepare", "be.commit", "be.rollback", "rollback"])
            }
            Fault::ResetNotCommitted { .. } => any_of(&[
                "be.stream_load",
                "be.load",
                "load",
                "be.prepare",
                "prepare",
                "be.commit",
                "fe.commit",
                "commit",
            ]),
            Fault::LateAbort { .. } => any_of(&["be.prepare", "prepare"]),
            Fault::CommitPublishTimeout { .. } => any_of(&["fe.commit", "commit"]),
            Fault::SilentNull { .. } | Fault::TooManyVersions | Fault::EmptyLoad => {
                any_of(&["be.stream_load", "be.prepare", "prepare", "be.commit"])
            }
            Fault::SchemaChanged => any_of(&["be.stream_load", "be.load", "load"]),
            Fault::DiskFull | Fault::QuotaExceeded => any_of(&["be.stream_load", "be.begin", "be.load", "load"]),
            Fault::SqlError { .. } => endpoint == "mysql.query",
            Fault::LeaderSwitch { .. } | Fault::Delay { .. } | Fault::LoseReply | Fault::Unavailable { .. } => true,
            Fault::TxnTimedOut | Fault::BeRestart { .. } | Fault::ForgetLabel | Fault::SlowBe { .. } => !is_sql,
            Fault::AuthRefused => endpoint != "mysql.query",
            Fault::BadReply { .. } => !is_sql,
        }
    }
}
