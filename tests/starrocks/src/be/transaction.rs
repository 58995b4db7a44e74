//! The transaction interface at a BE: begin, load, rollback. How it is concluded is in `conclude.rs`.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::body::{self, Lost};
use super::plain::{Refused, SCHEMA_CHANGED, refused_by, seconds};
use super::reply::{self, Outcome};
use super::{conclude, rows};
use crate::call::{Answer, Call};
use crate::cluster::{Begin, BeginRefused, Context, Kind, State};
use crate::faults::Fault;
use crate::http::{Connection, Reply, Request};
use crate::rows::Format;
use crate::stand::Stand;

pub async fn answer(
    stand: &Arc<Stand>,
    be: usize,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
    operation: &str,
) -> Answer {
    // A commit at a BE is always carried out there: the FE sends only what is in PREPARE.
    call.pick(stand, (operation != "begin").then_some(operation));
    if let Some(answer) = call.before(stand, connection).await {
        return answer;
    }
    match call.is_authorized(stand, request) {
        None => return refused(&Outcome::internal("no valid Basic authorization")).closing().into(),
        Some(false) => {
            return refused(&Outcome::new("ANALYSIS_ERROR", "Access denied for user (using password: YES)"))
                .closing()
                .into();
        }
        Some(true) => {}
    }
    if request.header("transaction_type").is_some_and(|kind| kind.eq_ignore_ascii_case("multi")) {
        let message = "Multi-statement transaction requests can only be sent to FE nodes, not BE nodes";
        return refused(&Outcome::new("INVALID_ARGUMENT", message)).closing().into();
    }
    match operation {
        "begin" => begin(stand, be, request, call).into(),
        "load" => load(stand, be, connection, request, call).await,
        "rollback" => rollback(stand, be, call).into(),
        _ => conclude::answer(stand, be, request, call, operation == "prepare").await,
    }
}

fn refused(outcome: &Outcome) -> Reply {
    reply::transaction(outcome, &[])
}

fn begin(stand: &Stand, be: usize, request: &Request, call: &Call) -> Reply {
    let started = Instant::now();
    let (database, label) = (&call.entry.database, &call.entry.label);
    let timeouts =
        seconds(request, "timeout").and_then(|timeout| Ok((timeout, seconds(request, "idle_transaction_timeout")?)));
    let (timeout_s, idle_timeout_s) = match timeouts {
        Ok(timeouts) => timeouts,
        Err(_) => return refused(&Outcome::new("INVALID_ARGUMENT", "Invalid timeout format")),
    };
    if stand.look(|cluster| cluster.backends[be].contexts.contains_key(label)) {
        // Without a word, as the BE's own list of contexts has none.
        return refused(&Outcome { existing: Some(""), ..Outcome::new("LABEL_ALREADY_EXISTS", "") });
    }
    let asked = Begin {
        database,
        table: &call.entry.table,
        label,
        kind: Kind::Interface,
        coordinator: be,
        timeout_s,
        idle_timeout_s: idle_timeout_s.unwrap_or(0),
    };
    let begun = match refused_by(call, &asked) {
        Some(refused) => Err(refused),
        None => stand.update(|cluster| {
            let id = cluster.begin(&asked).map_err(Refused::Begin)?;
            let context = Context {
                transaction: id,
                database: database.clone(),
                table: call.entry.table.clone(),
                format: None,
                bodies: Vec::new(),
                bytes: 0,
                is_busy: false,
            };
            cluster.backends[be].contexts.insert(label.clone(), context);
            Ok(id)
        }),
    };
    match begun {
        Ok(id) => {
            stand.log(|log| log.label(database, label, |counts| counts.begun += 1));
            let ms = started.elapsed().as_millis() as u64;
            let added = [("Label", json!(label)), ("TxnId", json!(id)), ("BeginTxnTimeMs", json!(ms))];
            reply::transaction(&Outcome::new("OK", ""), &added)
        }
        Err(Refused::Begin(used @ BeginRefused::LabelUsed { is_finished, .. })) => refused(&Outcome {
            existing: Some(if is_finished { "FINISHED" } else { "RUNNING" }),
            ..Outcome::new("LABEL_ALREADY_EXISTS", used.message())
        }),
        Err(Refused::Begin(other)) => refused(&Outcome::new("ANALYSIS_ERROR", other.message())),
        Err(Refused::Fault(message) | Refused::UsedAsFail(message)) => {
            refused(&Outcome::new("ANALYSIS_ERROR", message))
        }
    }
}

/// What is wrong with a call for this label, by the BE's own context; it stays as it is.
pub fn mismatch(context: &Context, call: &Call, has_table: bool) -> Option<Outcome> {
    if context.database != call.entry.database {
        return Some(Outcome::new(
            "INVALID_ARGUMENT",
            format!("Request db {} not equal transaction db {}", call.entry.database, context.database),
        ));
    }
    if has_table && context.table != call.entry.table {
        return Some(Outcome::new(
            "INVALID_ARGUMENT",
            format!("Request table {} not equal transaction table {}", call.entry.table, context.table),
        ));
    }
    context.is_busy.then(|| {
        Outcome::new(
            "TXN_IN_PROCESSING",
            format!("Transaction in processing, please retry later: {}", call.entry.label),
        )
    })
}

/// A refusal that faults play on any operation with a context.
pub fn by_fault(call: &Call) -> Option<Outcome> {
    match call.fault {
        Some(Fault::TxnNotExists) => Some(not_exists(&call.entry.label)),
        Some(Fault::TxnInProcessing) => Some(Outcome::new(
            "TXN_IN_PROCESSING",
            format!("Transaction in processing, please retry later: {}", call.entry.label),
        )),
        _ => None,
    }
}

pub fn not_exists(label: &str) -> Outcome {
    Outcome::new("TXN_NOT_EXISTS", format!("transaction with label {label} not exists"))
}

async fn load(
    stand: &Arc<Stand>,
    be: usize,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
) -> Answer {
    let Ok(early) = body::buffered_by_proxy(stand, connection, request, call).await else { return Answer::Close };
    let label = call.entry.label.clone();
    let labelled = [("Label", json!(label))];
    let (id, format) = match admit(stand, be, request, call) {
        Ok(admitted) => admitted,
        Err(outcome) => return reply::transaction(&outcome, &labelled).closing().into(),
    };
    let body = match early {
        Some(body) => Ok(body),
        None => body::read(stand, connection, request, call).await,
    };
    let database = call.entry.database.clone();
    // Any error at load aborts the transaction.
    let abort = |reason: &str| {
        let _ = stand.update(|cluster| cluster.drop_context(be, &label));
        stand.abort(&database, id, reason);
    };
    let body = match body {
        Ok(body) => rows::unpack(stand, body, &format).await.map_err(Lost::Refused),
        Err(lost) => Err(lost),
    };
    let body = match body {
        Ok(body) => body,
        Err(Lost::Broken) => {
            abort("the connection was broken");
            return Answer::Close;
        }
        Err(Lost::Fault(answer)) => {
            abort("cancelled");
            return answer;
        }
        Err(Lost::Refused(message)) => {
            abort(&message);
            return reply::transaction(&Outcome::internal(message), &labelled).closing().into();
        }
    };
    if let Some(Fault::ResetNotCommitted { stays }) = call.fault {
        match stays {
            true => stand.update(|cluster| idle(cluster, be, &label)),
            false => abort("cancelled"),
        }
        return Answer::Reset;
    }
    let n_bytes = body.len();
    let is_kept = stand.update(|cluster| keep(cluster, stand.settings.open_bytes_max, be, &label, format, body));
    if let Err(outcome) = is_kept {
        abort(&outcome.message);
        return reply::transaction(&outcome, &labelled).into();
    }
    let added = [
        ("Label", json!(label)),
        ("TxnId", json!(id)),
        ("LoadBytes", json!(n_bytes)),
        ("StreamLoadPlanTimeMs", json!(0)),
        ("ReceivedDataTimeMs", json!(0)),
    ];
    reply::transaction(&Outcome::new("OK", ""), &added).into()
}

/// The checks before a body; the context is busy from here on.
fn admit(stand: &Stand, be: usize, request: &Request, call: &Call) -> Result<(u64, Format), Outcome> {
    if let Some(outcome) = by_fault(call) {
        return Err(outcome);
    }
    let (database, label) = (&call.entry.database, &call.entry.label);
    let checked = stand.update(|cluster| {
        let context = cluster.backends[be].contexts.get_mut(label).ok_or((None, not_exists(label)))?;
        if let Some(outcome) = mismatch(context, call, true) {
            return Err((None, outcome));
        }
        let id = context.transaction;
        let fails = |outcome| Err((Some(id), outcome));
        let message = match &call.fault {
            Some(Fault::RefuseBeforeBody { message }) => {
                Some(message.clone().unwrap_or_else(|| "Service is shutting down, please retry later!".into()))
            }
            Some(Fault::SchemaChanged) => Some(SCHEMA_CHANGED.into()),
            Some(Fault::DiskFull) => Some("disk 8391429134 on backend 10001 exceed limit usage".into()),
            Some(Fault::QuotaExceeded) => Some(format!("Database[{database}] data size exceeds quota[8388608.000 TB]")),
            _ => None,
        };
        if let Some(message) = message {
            return fails(Outcome::internal(message));
        }
        let format = match Format::of_headers(|name| request.header(name)) {
            Ok(format) => format,
            Err(message) => return fails(Outcome::internal(message)),
        };
        if context.format.as_ref().is_some_and(|first| !first.is_same_request(&format)) {
            return fails(Outcome::internal("load request not equal last."));
        }
        context.is_busy = true;
        let is_aborted = cluster.transaction(database, id).is_some_and(|found| found.state == State::Aborted);
        if is_aborted {
            return fails(Outcome::new("ABORTED", "current transaction is aborted"));
        }
        Ok((id, format))
    });
    checked.map_err(|(failed, outcome)| {
        if let Some(id) = failed {
            let _ = stand.update(|cluster| cluster.drop_context(be, label));
            stand.abort(database, id, &outcome.message);
        }
        outcome
    })
}

fn idle(cluster: &mut crate::cluster::Cluster, be: usize, label: &str) {
    if let Some(context) = cluster.backends[be].contexts.get_mut(label) {
        context.is_busy = false;
    }
}

fn keep(
    cluster: &mut crate::cluster::Cluster,
    bytes_max: usize,
    be: usize,
    label: &str,
    format: Format,
    body: Vec<u8>,
) -> Result<(), Outcome> {
    if cluster.open_bytes + body.len() > bytes_max {
        return Err(Outcome::new("MEM_LIMIT_EXCEEDED", format!("bodies exceed limit: {bytes_max}")));
    }
    let now_ms = cluster.now_ms();
    // The BE was restarted in between.
    let context = cluster.backends[be].contexts.get_mut(label).ok_or_else(|| not_exists(label))?;
    context.is_busy = false;
    context.format.get_or_insert(format);
    context.bytes += body.len();
    let (n_bytes, id, database) = (body.len(), context.transaction, context.database.clone());
    context.bodies.push(body);
    cluster.open_bytes += n_bytes;
    cluster.touch(&database, id, now_ms);
    Ok(())
}

fn rollback(stand: &Stand, be: usize, call: &Call) -> Reply {
    let label = &call.entry.label;
    if let Some(outcome) = by_fault(call) {
        return refused(&outcome);
    }
    let dropped = stand.update(|cluster| {
        let context = cluster.backends[be].contexts.get(label).ok_or_else(|| not_exists(label))?;
        match mismatch(context, call, false) {
            Some(outcome) => Err(outcome),
            None => Ok(cluster.drop_context(be, label).map_or(0, |context| context.transaction)),
        }
    });
    match dropped {
        Err(outcome) => refused(&outcome),
        Ok(id) => {
            stand.abort(&call.entry.database, id, "User Aborted");
            reply::transaction(&Outcome::new("OK", ""), &[("Label", json!(label)), ("TxnId", json!(id))])
        }
    }
}
