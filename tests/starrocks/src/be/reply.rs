//! A BE's two forms of reply: a plain load's, and that of the transaction interface.

use std::time::Instant;

use serde_json::{Value, json};

use crate::cluster::Counts;
use crate::http::Reply;

/// A refusal, or how a load ended.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// `Fail` and its kin; in the transaction interface the name of a thrift code.
    pub status: &'static str,
    pub message: String,
    /// `RUNNING`, `FINISHED`
    pub existing: Option<&'static str>,
    pub error_url: Option<String>,
}

impl Outcome {
    pub fn new(status: &'static str, message: impl Into<String>) -> Self {
        Outcome { status, message: message.into(), ..Outcome::default() }
    }

    pub fn fail(message: impl Into<String>) -> Self {
        Outcome::new("Fail", message)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Outcome::new("INTERNAL_ERROR", message)
    }
}

/// A plain load's reply; without a transaction its id is -1.
pub fn plain(label: &str, id: Option<u64>, outcome: &Outcome, counts: Counts, started: Instant) -> Reply {
    let mut members: Vec<(&str, Value)> = vec![
        ("TxnId", id.map_or(json!(-1), |id| json!(id))),
        ("Label", json!(label)),
        ("Status", json!(outcome.status)),
    ];
    if let Some(existing) = outcome.existing {
        members.push(("ExistingJobStatus", json!(existing)));
    }
    members.push(("Message", json!(outcome.message)));
    members.extend(n_rows(counts));
    members.push(("LoadBytes", json!(counts.bytes)));
    let ms = started.elapsed().as_millis() as u64;
    for name in [
        "LoadTimeMs",
        "BeginTxnTimeMs",
        "StreamLoadPlanTimeMs",
        "ReadDataTimeMs",
        "WriteDataTimeMs",
        "CommitAndPublishTimeMs",
    ] {
        members.push((name, json!(if name == "LoadTimeMs" { ms } else { 0 })));
    }
    if let Some(url) = &outcome.error_url {
        members.push(("ErrorURL", json!(url)));
    }
    Reply::pretty(&members)
}

/// A reply of the transaction interface, with what the operation adds.
pub fn transaction(outcome: &Outcome, added: &[(&str, Value)]) -> Reply {
    let mut members: Vec<(&str, Value)> = vec![("Status", json!(outcome.status)), ("Message", json!(outcome.message))];
    if let Some(existing) = outcome.existing {
        members.push(("ExistingJobStatus", json!(existing)));
    }
    members.extend(added.iter().cloned());
    if let Some(url) = &outcome.error_url {
        members.push(("ErrorURL", json!(url)));
    }
    Reply::pretty(&members)
}

/// What prepare and commit say of the rows.
pub fn counted(id: u64, label: &str, counts: Counts, started: Instant) -> Vec<(&'static str, Value)> {
    let mut members = vec![("TxnId", json!(id)), ("Label", json!(label))];
    members.extend(n_rows(counts));
    members.push(("LoadBytes", json!(counts.bytes)));
    members.push(("LoadTimeMs", json!(started.elapsed().as_millis() as u64)));
    for name in ["StreamLoadPlanTimeMs", "ReceivedDataTimeMs", "WriteDataTimeMs", "CommitAndPublishTimeMs"] {
        members.push((name, json!(0)));
    }
    members
}

fn n_rows(counts: Counts) -> [(&'static str, Value); 4] {
    [
        ("NumberTotalRows", json!(counts.total)),
        ("NumberLoadedRows", json!(counts.total - counts.filtered)),
        ("NumberFilteredRows", json!(counts.filtered)),
        ("NumberUnselectedRows", json!(0)),
    ]
}
