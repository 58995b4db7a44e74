//! Prepare and one-phase commit at a BE: the rows are read now, and the FE is asked. Whatever comes of it, the BE's context
//! is gone afterwards.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plain::{PUBLISH_TIMEOUT, visible};
use super::reply::{self, Outcome};
use super::rows;
use super::transaction::{by_fault, mismatch, not_exists};
use crate::call::{Answer, Call, pause};
use crate::catalog::Table;
use crate::cluster::{CommitRefused, Counts, Hold, Load};
use crate::faults::Fault;
use crate::http::{Reply, Request};
use crate::rows::Format;
use crate::stand::Stand;

struct Taken {
    id: u64,
    table: Option<Arc<Table>>,
    format: Option<Format>,
    bodies: Vec<Vec<u8>>,
}

pub async fn answer(stand: &Arc<Stand>, be: usize, request: &Request, call: &mut Call, is_prepare: bool) -> Answer {
    let started = Instant::now();
    let refused = |outcome: &Outcome| -> Answer { reply::transaction(outcome, &[]).into() };
    if let Some(outcome) = by_fault(call) {
        return refused(&outcome);
    }
    let prepared_timeout_s = match request.header("prepared_timeout").filter(|_| is_prepare) {
        None => None,
        Some(text) => match text.parse().ok().filter(|seconds| *seconds > 0) {
            Some(seconds) => Some(seconds),
            None => return refused(&Outcome::new("INVALID_ARGUMENT", format!("Invalid prepared_timeout: {text}"))),
        },
    };
    let taken = match stand.update(|cluster| take(cluster, be, call)) {
        Ok(taken) => taken,
        Err(outcome) => return refused(&outcome),
    };
    let (database, label) = (call.entry.database.clone(), call.entry.label.clone());
    let loaded = load(stand, be, call, taken).await;
    let _ = stand.update(|cluster| cluster.drop_context(be, &label));
    let (id, load) = match loaded {
        Ok(loaded) => loaded,
        Err((id, outcome, counts)) => {
            stand.abort(&database, id, &outcome.message);
            return reply::transaction(&outcome, &reply::counted(id, &label, counts, started)).into();
        }
    };
    call.entry.rows = load.rows.rows.len() as u64;
    if let Some(Fault::ResetNotCommitted { stays }) = call.fault {
        if !stays {
            stand.abort(&database, id, "cancelled");
        }
        return Answer::Reset;
    }
    let counts = Counts { total: load.rows.n_total, filtered: load.rows.n_filtered, bytes: load.bytes };
    let error_url = load.error_url.clone();
    let concluded = match is_prepare {
        true => stand.update(|cluster| cluster.prepare(&database, id, load, prepared_timeout_s).map(drop)),
        false => commit(stand, call, id, load),
    };
    if let Err(refusal) = concluded {
        stand.abort(&database, id, &refusal.message());
        return refused(&said(&refusal));
    }
    count(stand, call, is_prepare);
    if let Some(Fault::LateAbort { after_ms }) = call.fault {
        late_abort(stand, &database, id, after_ms);
        return refused(&Outcome::new(
            "THRIFT_RPC_ERROR",
            "prepare transaction failed: timeout, transaction status unknown",
        ));
    }
    let mut outcome = Outcome::new("OK", "");
    if !is_prepare {
        let wait = Duration::from_millis(stand.settings.publish_wait_ms);
        let is_late = matches!(call.fault, Some(Fault::PublishTimeout { .. }));
        if is_late || !visible(stand, &database, id, wait).await {
            outcome = Outcome::new("PUBLISH_TIMEOUT", PUBLISH_TIMEOUT);
        }
    }
    outcome.error_url = error_url;
    let reply: Reply = reply::transaction(&outcome, &reply::counted(id, &label, counts, started));
    reply.into()
}

/// What is to be read; the context is busy until it is gone.
fn take(cluster: &mut crate::cluster::Cluster, be: usize, call: &Call) -> Result<Taken, Outcome> {
    let label = &call.entry.label;
    let context = cluster.backends[be].contexts.get_mut(label).ok_or_else(|| not_exists(label))?;
    if let Some(outcome) = mismatch(context, call, false) {
        return Err(outcome);
    }
    context.is_busy = true;
    let table = cluster.databases.get(&context.database).and_then(|database| database.tables.get(&context.table));
    Ok(Taken {
        id: context.transaction,
        table: table.cloned(),
        format: context.format.clone(),
        bodies: std::mem::take(&mut context.bodies),
    })
}

async fn load(stand: &Stand, be: usize, call: &Call, taken: Taken) -> Result<(u64, Load), (u64, Outcome, Counts)> {
    let Taken { id, table, format, bodies } = taken;
    let failed = |outcome| (id, outcome, Counts::default());
    let Some(format) = format else {
        return Err(failed(Outcome::internal(format!("transaction {id} hasn't send any data yet"))));
    };
    let table = table.ok_or_else(|| failed(Outcome::internal(format!("unknown table \"{}\"", call.entry.table))))?;
    let into = rows::Into { be, table, format, fault: call.fault.as_ref(), failure: "INTERNAL_ERROR" };
    let load = rows::read(stand, into, bodies).await.map_err(|(outcome, counts)| (id, outcome, counts))?;
    Ok((id, load))
}

fn commit(stand: &Stand, call: &Call, id: u64, load: Load) -> Result<(), CommitRefused> {
    let hold = match call.fault {
        Some(Fault::PublishTimeout { visible_after_ms }) => visible_after_ms.map_or(Hold::UntilReleased, Hold::UntilMs),
        _ => Hold::No,
    };
    stand.update(|cluster| {
        let hold = if let Hold::UntilMs(ms) = hold { Hold::UntilMs(cluster.now_ms() + ms) } else { hold };
        cluster.commit_loaded(&call.entry.database, id, load, hold).map(drop)
    })
}

fn said(refused: &CommitRefused) -> Outcome {
    match refused {
        CommitRefused::Aborted { .. } => Outcome::new("ABORTED", "transaction is aborted"),
        CommitRefused::Gone(_) => Outcome::new("TXN_NOT_EXISTS", refused.message()),
        other => Outcome::internal(other.message()),
    }
}

fn count(stand: &Stand, call: &Call, is_prepare: bool) {
    stand.log(|log| {
        log.label(&call.entry.database, &call.entry.label, |counts| {
            counts.rows += call.entry.rows;
            if is_prepare {
                counts.prepares += 1;
            } else {
                counts.commits += 1;
            }
        });
    });
}

fn late_abort(stand: &Arc<Stand>, database: &str, id: u64, after_ms: u64) {
    let (stand, database) = (stand.clone(), database.to_owned());
    tokio::spawn(async move {
        pause(after_ms).await;
        stand.abort(&database, id, "prepare failed at the BE");
    });
}
