//! Answers requests to the control port.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::answers::{CaptureAnswer, ErrorAnswer, ExchangeAnswer, ResnapshotAnswer, SourceAnswer, StatusAnswer};
use super::{COMPONENT_BYTES_MAX, CONSENT, ORIGIN, PIPELINE, SETTINGS, TABLE};
use crate::event::Progress;
use crate::failure::{Failure, Outcome};
use crate::ledger::Reason;
use crate::metrics::{self, Metrics};
use crate::pipeline::{self, Exchanged, Status};
use crate::source::{Resnapshot, SourceState, TableFilter};
use crate::swap::{Candidate, Manager, Refusal};

/// How long `pause`, `resume` and `resnapshot` wait for the end of the batch in hand.
const EDGE_TIMEOUT: Duration = Duration::from_secs(60);

/// What the port shows and moves.
pub struct Control {
    pub pipeline: String,
    pub started: Instant,
    pub status: watch::Receiver<Status>,
    pub source: watch::Receiver<SourceState>,
    pub paused: watch::Sender<bool>,
    pub manager: Manager,
    /// None: the source has no tables to read again, only logs.
    pub resnapshot: Option<mpsc::Sender<Resnapshot>>,
    /// What is captured.
    pub tables: TableFilter,
    pub metrics: Arc<Metrics>,
    /// Of a process that applies what it captures itself; all else is then of the apply half.
    pub capture: Option<CaptureHalf>,
}

/// The capture half of a process that has both.
pub struct CaptureHalf {
    pub status: watch::Receiver<Status>,
    pub metrics: Arc<Metrics>,
}

/// A port that is ours, and not served yet.
pub struct Port {
    listener: TcpListener,
    /// With the port that was chosen where 0 was asked for.
    pub address: SocketAddr,
}

impl Port {
    /// # Errors
    /// Exit code 3: another process has it.
    pub async fn bind(address: SocketAddr) -> Outcome<Self> {
        let taken = |error: std::io::Error| {
            Failure::outside(anyhow!(
                "listen on the control port {address}: {error}. Another pipeline may be running there; give this one an \
                 address of its own: [control] listen = \"127.0.0.1:8788\" (port 0: any that is free, the log says which)"
            ))
        };
        let listener = TcpListener::bind(address).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        Ok(Port { listener, address })
    }

    /// Serves until the runtime ends.
    pub fn serve(self, control: Control) {
        info!("control port at http://{}", self.address);
        let router = router(Arc::new(control));
        tokio::spawn(async move {
            if let Err(error) = axum::serve(self.listener, router).await {
                warn!("the control port is closed: {error}");
            }
        });
    }
}

fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/health", get(async || "alive\n"))
        .route("/ready", get(ready))
        .route("/metrics", get(text))
        .route("/status", get(status))
        .route("/pause", post(async |State(control): Held| set_paused(&control, true).await))
        .route("/resume", post(async |State(control): Held| set_paused(&control, false).await))
        .route("/swap", post(swap))
        .route("/rollback", post(rollback))
        .route("/resnapshot", post(resnapshot))
        .layer(DefaultBodyLimit::max(COMPONENT_BYTES_MAX))
        .layer(middleware::from_fn_with_state(control.clone(), guard))
        .with_state(control)
}

type Held = State<Arc<Control>>;

async fn guard(State(control): Held, request: Request, next: Next) -> Response {
    match refusal(&control, request.method(), request.headers()) {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

/// Refuses what a web page could send, and what is meant for another pipeline.
fn refusal(control: &Control, method: &Method, headers: &HeaderMap) -> Option<Response> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // A page whose host name was made to point here (DNS rebinding) still sends that name.
    if !header(header::HOST.as_str()).is_some_and(is_local) {
        let why = "the control port answers to 127.0.0.1, [::1] and localhost only";
        return Some(refuse(StatusCode::FORBIDDEN, why));
    }
    if method != Method::GET && header(CONSENT) != Some("1") {
        let why = format!("a request that changes something needs the header `{CONSENT}: 1`");
        return Some(refuse(StatusCode::FORBIDDEN, &why));
    }
    let wanted = header(PIPELINE).filter(|wanted| *wanted != control.pipeline)?;
    let why = format!(
        "pipeline {} runs here, not {wanted}: give each its own address ([control] listen = \"127.0.0.1:8788\")",
        control.pipeline
    );
    Some(refuse(StatusCode::MISDIRECTED_REQUEST, &why))
}

/// A `Host` header that names this machine.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn ready(State(control): Held) -> Response {
    match &*control.source.borrow() {
        _ if control.status.has_changed().is_err() => refuse(StatusCode::SERVICE_UNAVAILABLE, "the pipeline is ending"),
        SourceState::Connected(_) => "ready\n".into_response(),
        SourceState::Away(why) => refuse(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn text(State(control): Held) -> Response {
    let connected = matches!(*control.source.borrow(), SourceState::Connected(_));
    control.metrics.observe_source(connected);
    let mut text = control.metrics.text();
    if let Some(capture) = &control.capture {
        capture.metrics.observe_source(connected);
        // One document, with one end.
        text.truncate(text.len() - metrics::END.len());
        text += &capture.metrics.text();
    }
    ([(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response()
}

async fn status(State(control): Held) -> Response {
    Json(control.answer()).into_response()
}

impl Control {
    fn answer(&self) -> StatusAnswer {
        let Status { summary, position, version, previous, paused, quarantined, lag_events, .. } =
            self.status.borrow().clone();
        let source = match self.source.borrow().clone() {
            SourceState::Connected(about) => SourceAnswer { connected: true, about },
            SourceState::Away(about) => SourceAnswer { connected: false, about },
        };
        StatusAnswer {
            pipeline: self.pipeline.clone(),
            state: if paused { "paused" } else { "running" }.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_s: self.started.elapsed().as_secs(),
            rule: version.as_ref().into(),
            previous: previous.as_deref().map(Into::into),
            source,
            position: position.map(|position| position.0),
            changes: summary.changes(),
            reads: summary.reads,
            inserts: summary.inserts,
            updates: summary.updates,
            deletes: summary.deletes,
            moves: summary.moves,
            transactions: summary.transactions,
            batches: summary.batches,
            history_rows: summary.rows_upserted + summary.rows_deleted,
            negative_intervals: summary.negative_intervals,
            dead_letters: summary.dead_letters,
            quarantined: quarantined as u64,
            snapshot_rows: match summary.progress {
                Some(Progress::Snapshot { done_rows, total_rows }) => Some([done_rows, total_rows]),
                _ => None,
            },
            changes_per_second: self.metrics.rate(),
            lag_ms: self.metrics.lag_ms(),
            lag_events,
            capture: self.capture.as_ref().map(CaptureHalf::answer),
        }
    }
}

impl CaptureHalf {
    fn answer(&self) -> CaptureAnswer {
        let Status { summary, position, .. } = self.status.borrow().clone();
        CaptureAnswer {
            position: position.map(|position| position.0),
            changes: summary.changes(),
            transactions: summary.transactions,
            changes_per_second: self.metrics.rate(),
            lag_ms: self.metrics.lag_ms(),
        }
    }
}

/// Answered when it is so: when the batch in hand is committed.
async fn set_paused(control: &Control, paused: bool) -> Response {
    control.paused.send_replace(paused);
    let mut status = control.status.clone();
    let reached = status.wait_for(|status| status.paused == paused);
    match tokio::time::timeout(EDGE_TIMEOUT, reached).await {
        Ok(Ok(_)) => {}
        Ok(Err(_)) => return refuse(StatusCode::SERVICE_UNAVAILABLE, "the pipeline has ended"),
        Err(_) => {
            let why = format!("the batch in hand has not ended in {EDGE_TIMEOUT:?}; it will when it does");
            return refuse(StatusCode::GATEWAY_TIMEOUT, &why);
        }
    }
    let answer = control.answer();
    info!("{}", if paused { "paused" } else { "resumed" });
    Json(answer).into_response()
}

async fn swap(State(control): Held, headers: HeaderMap, body: Bytes) -> Response {
    let settings = match headers.get(SETTINGS).map(|value| serde_json::from_slice(value.as_bytes())) {
        None => None,
        Some(Ok(settings)) => Some(settings),
        Some(Err(error)) => {
            let why = format!("the header `{SETTINGS}` is a JSON object of texts: {error}");
            return refuse(StatusCode::BAD_REQUEST, &why);
        }
    };
    let settings = settings.map(|settings: std::collections::BTreeMap<String, String>| settings.into_iter().collect());
    let origin = headers.get(ORIGIN).map_or("a request".into(), |value| String::from_utf8_lossy(value.as_bytes()));
    let candidate = Candidate { origin: origin.into_owned(), component: body.into(), settings };
    let outcome = control.manager.swap(candidate).await;
    exchanged(&control, Reason::Swap, outcome)
}

async fn rollback(State(control): Held) -> Response {
    let outcome = control.manager.rollback().await;
    exchanged(&control, Reason::Rollback, outcome)
}

/// Answered when the source has taken it into its position, or refuses.
async fn resnapshot(State(control): Held, headers: HeaderMap) -> Response {
    let Some(table) = headers.get(TABLE).and_then(|value| value.to_str().ok()).map(str::to_owned) else {
        return refuse(
            StatusCode::BAD_REQUEST,
            &format!("the header `{TABLE}: DATABASE.TABLE` says what to read again"),
        );
    };
    let Some(asks) = &control.resnapshot else {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, "this source has no tables to read again, only logs");
    };
    let refusal = {
        let status = control.status.borrow();
        // Before the first captured row there is no plan to compare by: the pipeline looks then.
        let unfit = || status.plan.as_ref().and_then(|plan| pipeline::resnapshot_refusal(plan, &status.tables));
        control.tables.resnapshot_refusal(&table).or_else(unfit)
    };
    if let Some(why) = refusal {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, &why);
    }
    let (reply, answer) = oneshot::channel();
    let asking = async {
        asks.send(Resnapshot { table: table.clone(), reply }).await.ok()?;
        answer.await.ok()
    };
    match tokio::time::timeout(EDGE_TIMEOUT, asking).await {
        Ok(Some(Ok(about))) => {
            info!(table, "is read again: {about}");
            Json(ResnapshotAnswer { table, about }).into_response()
        }
        Ok(Some(Err(why))) => {
            warn!(table, "re-snapshot refused: {why}");
            refuse(StatusCode::CONFLICT, &why)
        }
        Ok(None) => refuse(StatusCode::SERVICE_UNAVAILABLE, "the pipeline has ended"),
        Err(_) => {
            let why = format!(
                "the source has not come to it in {EDGE_TIMEOUT:?}: it is away, or the pipeline is paused. It may still be done"
            );
            refuse(StatusCode::GATEWAY_TIMEOUT, &why)
        }
    }
}

fn exchanged(control: &Control, reason: Reason, outcome: Result<Exchanged, Refusal>) -> Response {
    match outcome {
        Ok(exchanged) => {
            control.metrics.observe_exchange(reason, &exchanged);
            info!(
                since = exchanged.since.as_ref().map_or("the beginning", |position| position.0.as_str()),
                pause_us = exchanged.pause.as_micros() as u64,
                "{}: rule {} goes on from {}",
                reason.name(),
                exchanged.to,
                exchanged.from
            );
            Json(ExchangeAnswer::from(exchanged)).into_response()
        }
        Err(refusal) => {
            warn!("{} refused: {refusal}", reason.name());
            let code = match refusal {
                Refusal::Unfit(_) => StatusCode::UNPROCESSABLE_ENTITY,
                Refusal::NotNow(_) => StatusCode::CONFLICT,
                Refusal::Ended => StatusCode::SERVICE_UNAVAILABLE,
            };
            refuse(code, &refusal.to_string())
        }
    }
}

fn refuse(code: StatusCode, why: &str) -> Response {
    (code, Json(ErrorAnswer { error: why.to_owned() })).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_local() {
        for host in ["127.0.0.1:8787", "127.0.0.1", "localhost:1", "[::1]:8787"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["evil.example:8787", "127.0.0.1.evil.example", "10.0.0.1:8787", "", "[::2]:1"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
