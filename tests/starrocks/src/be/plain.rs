//! A plain Stream Load: begun at its headers, before `100 Continue`; read, committed, and answered when it is visible.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::{self, Lost};
use super::reply::{self, Outcome};
use super::rows;
use crate::call::{Answer, Call};
use crate::catalog::Table;
use crate::cluster::{Begin, BeginRefused, Counts, Hold, Kind, State};
use crate::faults::Fault;
use crate::http::{Connection, Reply, Request};
use crate::rows::Format;
use crate::stand::Stand;

struct Begun {
    id: u64,
    table: Arc<Table>,
    format: Format,
    timeout_s: u64,
}

pub async fn stream_load(
    stand: &Arc<Stand>,
    be: usize,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
) -> Answer {
    call.pick(stand, None);
    if let Some(answer) = call.before(stand, connection).await {
        return answer;
    }
    let started = Instant::now();
    let Ok(early) = body::buffered_by_proxy(stand, connection, request, call).await else { return Answer::Close };
    let label = call.entry.label.clone();
    let begun = match begin(stand, be, request, call) {
        Ok(begun) => begun,
        // No 100 was sent, so the body does not come: nothing can follow on this connection.
        Err(outcome) => return reply::plain(&label, None, &outcome, Counts::default(), started).closing().into(),
    };
    let body = match early {
        Some(body) => Ok(body),
        None => body::read(stand, connection, request, call).await,
    };
    let database = call.entry.database.clone();
    let failed = |outcome: &Outcome, counts: Counts| -> Reply {
        stand.abort(&database, begun.id, &outcome.message);
        reply::plain(&label, Some(begun.id), outcome, counts, started)
    };
    let body = match body {
        Ok(body) => body,
        Err(Lost::Broken) => {
            stand.abort(&database, begun.id, "the connection was broken");
            return Answer::Close;
        }
        Err(Lost::Refused(message)) => return failed(&Outcome::fail(message), Counts::default()).closing().into(),
        Err(Lost::Fault(answer)) => {
            stand.abort(&database, begun.id, "cancelled");
            return answer;
        }
    };
    let body = match rows::unpack(stand, body, &begun.format).await {
        Ok(body) => body,
        Err(message) => return failed(&Outcome::fail(message), Counts::default()).into(),
    };
    if call.fault == Some(Fault::SchemaChanged) {
        return failed(&Outcome::fail(SCHEMA_CHANGED), Counts::default()).into();
    }
    let into = rows::Into {
        be,
        table: begun.table.clone(),
        format: begun.format.clone(),
        fault: call.fault.as_ref(),
        failure: "Fail",
    };
    let load = match rows::read(stand, into, vec![body]).await {
        Ok(load) => load,
        Err((outcome, counts)) => return failed(&outcome, counts).into(),
    };
    call.entry.rows = load.rows.rows.len() as u64;
    let counts = Counts { total: load.rows.n_total, filtered: load.rows.n_filtered, bytes: load.bytes };
    let error_url = load.error_url.clone();
    if let Some(Fault::ResetNotCommitted { stays }) = call.fault {
        if !stays {
            stand.abort(&database, begun.id, "cancelled");
        }
        return Answer::Reset;
    }
    let (hold_fault, n_rows) = (call.fault.clone(), call.entry.rows);
    let committed = stand.update(|cluster| {
        let hold = match hold_fault {
            Some(Fault::PublishTimeout { visible_after_ms: None }) => Hold::UntilReleased,
            Some(Fault::PublishTimeout { visible_after_ms: Some(ms) }) => Hold::UntilMs(cluster.now_ms() + ms),
            _ => Hold::No,
        };
        cluster.commit_loaded(&database, begun.id, load, hold)
    });
    if let Err(refused) = committed {
        return failed(&Outcome::fail(refused.message()), counts).into();
    }
    stand.log(|log| {
        log.label(&database, &label, |counts| {
            counts.commits += 1;
            counts.rows += n_rows;
        });
    });
    let wait = Duration::from_millis(stand.settings.publish_wait_ms.min(begun.timeout_s * 500));
    // The fault is an answer, however soon the rows are visible.
    let is_late = matches!(call.fault, Some(Fault::PublishTimeout { .. }));
    let mut outcome = match !is_late && visible(stand, &database, begun.id, wait).await {
        true => Outcome::new("Success", "OK"),
        false => Outcome::new("Publish Timeout", PUBLISH_TIMEOUT),
    };
    outcome.error_url = error_url;
    reply::plain(&label, Some(begun.id), &outcome, counts, started).into()
}

pub const SCHEMA_CHANGED: &str = "schema of the table was changed since the load began";
pub const PUBLISH_TIMEOUT: &str = "Publish timeout. The data will be visible after a while";

/// Whether it becomes visible within that time.
pub async fn visible(stand: &Stand, database: &str, id: u64, wait: Duration) -> bool {
    let seen = stand.until(wait, |cluster| {
        // A label that is forgotten already was visible.
        let is_over = cluster.transaction(database, id).is_none_or(|found| found.state == State::Visible);
        is_over.then_some(())
    });
    seen.await.is_some()
}

/// The checks of the headers, and the begin at the FE.
fn begin(stand: &Stand, be: usize, request: &Request, call: &Call) -> Result<Begun, Outcome> {
    match call.is_authorized(stand, request) {
        None => return Err(Outcome::fail("no valid Basic authorization")),
        Some(false) => return Err(Outcome::fail("Access denied for user (using password: YES)")),
        Some(true) => {}
    }
    let (database, label) = (&call.entry.database, &call.entry.label);
    let format = Format::of_headers(|name| request.header(name)).map_err(Outcome::fail)?;
    let timeout_s = seconds(request, "timeout").map_err(Outcome::fail)?;
    let asked = Begin {
        database,
        table: &call.entry.table,
        label,
        kind: Kind::Plain,
        coordinator: be,
        timeout_s,
        idle_timeout_s: 0,
    };
    let mut begun = begun(stand, call, &asked).map_err(|refused| refused_plain(&refused))?;
    begun.format = format;
    Ok(begun)
}

fn begun(stand: &Stand, call: &Call, asked: &Begin<'_>) -> Result<Begun, Refused> {
    if let Some(refused) = refused_by(call, asked) {
        return Err(refused);
    }
    let begun = stand.update(|cluster| {
        let id = cluster.begin(asked)?;
        let table = cluster.databases[asked.database].tables[asked.table].clone();
        let timeout_s = cluster.transaction(asked.database, id).map_or(0, |found| found.timeout_s);
        Ok((id, table, timeout_s))
    });
    let (id, table, timeout_s) = begun.map_err(Refused::Begin)?;
    stand.log(|log| log.label(asked.database, asked.label, |counts| counts.begun += 1));
    Ok(Begun { id, table, format: Format::default(), timeout_s })
}

/// Why a begin is refused: by the cluster, or by a fault.
pub enum Refused {
    Begin(BeginRefused),
    Fault(String),
    /// 8b
    UsedAsFail(String),
}

/// What a fault says instead of beginning.
pub fn refused_by(call: &Call, asked: &Begin<'_>) -> Option<Refused> {
    let used = |is_finished| Refused::Begin(BeginRefused::LabelUsed { label: asked.label.to_owned(), is_finished });
    Some(match call.fault.as_ref()? {
        Fault::LabelExistsRunning => used(false),
        Fault::LabelExistsFinished => used(true),
        Fault::LabelExistsAsFail => Refused::UsedAsFail(format!("Label [{}] has already been used.", asked.label)),
        Fault::TooManyRunning => {
            Refused::Begin(BeginRefused::TooManyRunning { database: asked.database.to_owned(), n: 1_000, limit: 1_000 })
        }
        Fault::RefuseBeforeBody { message } => {
            let message = message.clone();
            Refused::Fault(
                message.unwrap_or_else(|| "Stream Load exceed http cuncurrent limit 0, please try again later".into()),
            )
        }
        Fault::DiskFull => Refused::Fault("disk 8391429134 on backend 10001 exceed limit usage".into()),
        Fault::QuotaExceeded => {
            Refused::Fault(format!("Database[{}] data size exceeds quota[8388608.000 TB]", asked.database))
        }
        _ => return None,
    })
}

fn refused_plain(refused: &Refused) -> Outcome {
    match refused {
        Refused::Begin(used @ BeginRefused::LabelUsed { is_finished, .. }) => Outcome {
            existing: Some(if *is_finished { "FINISHED" } else { "RUNNING" }),
            ..Outcome::new("Label Already Exists", used.message())
        },
        Refused::Begin(refused) => Outcome::fail(refused.message()),
        Refused::Fault(message) | Refused::UsedAsFail(message) => Outcome::fail(message.clone()),
    }
}

/// A header that is a number of seconds.
pub fn seconds(request: &Request, name: &str) -> Result<Option<u64>, String> {
    let Some(text) = request.header(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("Invalid {name} format: {text}"))
}
