//! The transaction interface at an FE: to the leader, and from it to the BE of the label; what is PREPARED the leader
//! commits and aborts itself.

use std::time::Duration;

use serde_json::{Value, json};

use super::{failed, named, to_backend, unauthorized};
use crate::call::{Answer, Call};
use crate::cluster::{Hold, State};
use crate::faults::Fault;
use crate::http::{Connection, Reply, Request};
use crate::stand::Stand;

const OPERATIONS: [&str; 5] = ["begin", "load", "prepare", "commit", "rollback"];
const EXCEPTION: &str = "class com.starrocks.common.StarRocksException: ";
/// For a commit's locks and publish.
const COMMIT_TIMEOUT_S: u64 = 20;

pub async fn answer(
    stand: &Stand,
    fe: usize,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
    operation: &str,
) -> Answer {
    let header = |name: &str| request.header(name).unwrap_or_default();
    named(call, &format!("fe.{operation}"), header("db"), header("table"), header("label"));
    let is_leader = stand.look(|cluster| cluster.leader) == fe;
    // Only what is PREPARED, or over, is the leader's to commit or abort.
    let decides = matches!(operation, "commit" | "rollback")
        && is_leader
        && stand.look(|cluster| {
            let found = cluster.label(&call.entry.database, &call.entry.label).flatten();
            found.is_none_or(|found| found.state != State::Prepare)
        });
    call.pick(stand, decides.then_some(operation));
    if let Some(answer) = call.before(stand, connection).await {
        return answer;
    }
    if call.is_authorized(stand, request) != Some(true) {
        return unauthorized().into();
    }
    // A fault may have changed who leads.
    if stand.look(|cluster| cluster.leader) != fe {
        return Reply::redirect(&stand.leader_address(), &request.target).into();
    }
    if let Err(message) = check(stand, request, call, operation) {
        return failed(&message).into();
    }
    match operation {
        "begin" => begin(stand, request, call),
        "commit" | "rollback" => decide(stand, request, call, operation == "commit").await,
        _ => to_label(stand, request, call),
    }
}

fn check(stand: &Stand, request: &Request, call: &Call, operation: &str) -> Result<(), String> {
    if !OPERATIONS.contains(&operation) {
        return Err(format!("{EXCEPTION}Unknown transaction operation: {operation}"));
    }
    if call.entry.label.trim().is_empty() {
        return Err(format!("{EXCEPTION}Empty label."));
    }
    let database = &call.entry.database;
    if database.trim().is_empty() {
        return Err(format!("{EXCEPTION}No database selected."));
    }
    if !stand.look(|cluster| cluster.databases.contains_key(database)) {
        return Err(format!("{EXCEPTION}Database[{database}] does not exist."));
    }
    for header in ["channel_num", "channel_id", "transaction_type"] {
        if let Some(value) = request.header(header) {
            return Err(format!("{EXCEPTION}the stand-in does not play the header {header}: {value}"));
        }
    }
    Ok(())
}

fn begin(stand: &Stand, request: &Request, call: &Call) -> Answer {
    let (database, label) = (call.entry.database.clone(), call.entry.label.clone());
    // The BE that has the label open answers a repeated begin.
    let open = stand.look(|cluster| {
        let backend = *cluster.routes.get(&(database.clone(), label.clone()))?;
        let known = &cluster.backends[backend];
        (known.is_alive && known.contexts.contains_key(&label)).then_some(backend)
    });
    let Some(backend) = open.or_else(|| stand.update(|cluster| cluster.choose_backend())) else {
        return no_backend().into();
    };
    match to_backend(stand, call, request, Some(backend)) {
        None => no_backend().into(),
        Some(reply) => {
            stand.update(|cluster| cluster.remember_route(database, label, backend));
            reply.into()
        }
    }
}

fn no_backend() -> Reply {
    failed(&format!("{EXCEPTION}No backend alive."))
}

fn to_label(stand: &Stand, request: &Request, call: &Call) -> Answer {
    let (database, label) = (&call.entry.database, &call.entry.label);
    let Some(backend) = stand.look(|cluster| cluster.route(database, label)) else {
        return failed(&format!(
            "{EXCEPTION}Can't find the transaction with db [{database}] and label[{label}]. The possible reasons: 1. FE leader is \
             started or switched; 2. The transaction timeouts and is cleaned."
        ))
        .into();
    };
    to_backend(stand, call, request, Some(backend)).unwrap_or_else(no_backend).into()
}

/// Commit and rollback, by the state of the label.
async fn decide(stand: &Stand, request: &Request, call: &Call, is_commit: bool) -> Answer {
    let (database, label) = (&call.entry.database, &call.entry.label);
    let known = stand.look(|cluster| cluster.label(database, label).flatten().map(|found| (found.id, found.state)));
    let Some((id, state)) = known else {
        return failed(&format!("{EXCEPTION}No transaction found with db {database} and label {label}")).into();
    };
    match (state, is_commit) {
        (State::Prepare, _) => to_label(stand, request, call),
        (State::Prepared, true) => commit(stand, request, call, id).await,
        (State::Prepared, false) => {
            stand.abort(database, id, "User Aborted");
            ok(id, label, "").into()
        }
        (State::Committed | State::Visible, true) => {
            ok(id, label, &format!("Transaction {id} has already committed, label is {label}")).into()
        }
        (State::Aborted, true) => {
            failed(&format!("{EXCEPTION}Can not commit ABORTED transaction {id}, label is {label}")).into()
        }
        (State::Aborted, false) => {
            ok(id, label, &format!("Transaction {id} has already aborted, label is {label}")).into()
        }
        (state, false) => {
            failed(&format!("{EXCEPTION}Can not abort {} transaction {id}, label is {label}", state.name())).into()
        }
    }
}

async fn commit(stand: &Stand, request: &Request, call: &Call, id: u64) -> Answer {
    let (database, label) = (&call.entry.database, &call.entry.label);
    if let Some(Fault::ResetNotCommitted { stays }) = call.fault {
        if !stays {
            stand.abort(database, id, "commit failed");
        }
        return Answer::Reset;
    }
    let held = match call.fault {
        Some(Fault::CommitPublishTimeout { visible_after_ms } | Fault::PublishTimeout { visible_after_ms }) => {
            Some(visible_after_ms)
        }
        _ => None,
    };
    let committed = stand.update(|cluster| {
        let hold = match held {
            None => Hold::No,
            Some(None) => Hold::UntilReleased,
            Some(Some(ms)) => Hold::UntilMs(cluster.now_ms() + ms),
        };
        cluster.commit_prepared(database, id, hold)
    });
    if let Err(refused) = committed {
        return failed(&format!("{EXCEPTION}{}", refused.message())).into();
    }
    stand.log(|log| log.label(database, label, |counts| counts.commits += 1));
    let timeout_s = request.header("timeout").and_then(|text| text.parse().ok()).unwrap_or(COMMIT_TIMEOUT_S);
    let is_visible = stand.until(Duration::from_secs(timeout_s), |cluster| {
        let is_gone = cluster.transaction(database, id).is_none_or(|found| found.state == State::Visible);
        is_gone.then_some(())
    });
    // The fault is an answer, however soon the rows are visible.
    match held.is_none() && is_visible.await.is_some() {
        true => ok(id, label, "").into(),
        false => failed(&format!("{EXCEPTION}publish timeout: {}", timeout_s * 1_000)).into(),
    }
}

fn ok(id: u64, label: &str, message: &str) -> Reply {
    let members: [(&str, Value); 4] =
        [("Status", json!("OK")), ("Message", json!(message)), ("TxnId", json!(id)), ("Label", json!(label))];
    Reply::pretty(&members)
}
