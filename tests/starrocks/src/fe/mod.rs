//! An FE's HTTP port: it checks who asks, and sends nearly everybody elsewhere.

mod label;
mod transaction;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::call::{Answer, Call, Name};
use crate::faults::Fault;
use crate::http::{Connection, Length, Next, Node, Reply, Request};
use crate::stand::Stand;

pub async fn serve(stand: Arc<Stand>, fe: usize, stream: TcpStream, node: Node) {
    let mut connection = Connection::new(stream, node);
    let mut next = Next::Close;
    while let Ok(Some(request)) = connection.request().await {
        let mut call = Call::new(Name::Fe(fe), "fe.other");
        let answer = answer(&stand, fe, &mut connection, &request, &mut call).await;
        let answer = match answer {
            // A body that nobody will read must not be taken for the next request.
            Answer::Reply(reply) if request.length() != Length::None => Answer::Reply(reply.closing()),
            other => other,
        };
        next = call.finish(&stand, &mut connection, answer).await.unwrap_or(Next::Close);
        if next != Next::KeepAlive {
            break;
        }
    }
    connection.end(next).await;
}

async fn answer(
    stand: &Arc<Stand>,
    fe: usize,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
) -> Answer {
    let parts = request.parts();
    let method = request.method.as_str();
    match (method, parts.as_slice()) {
        (_, ["api", "health"]) => {
            call.entry.endpoint = "health".into();
            call.pick(stand, None);
            match call.before(stand, connection).await {
                Some(answer) => answer,
                None => Reply::json(
                    &json!({ "online_backend_num": stand.look(n_alive), "total_backend_num": stand.backends.len() }),
                )
                .into(),
            }
        }
        ("PUT", ["api", database, table, "_stream_load"]) => {
            named(call, "fe.stream_load", database, table, request.header("label").unwrap_or_default());
            call.pick(stand, None);
            if let Some(answer) = call.before(stand, connection).await {
                return answer;
            }
            stream_load(stand, request, call).closing().into()
        }
        (_, ["api", "transaction", operation]) => {
            transaction::answer(stand, fe, connection, request, call, operation).await
        }
        ("GET", ["api", database, "get_load_state"]) => {
            named(call, "get_load_state", database, "", request.parameter("label").unwrap_or_default());
            label::state(stand, fe, connection, request, call).await
        }
        ("POST", ["api", database, label, "_cancel"]) => {
            // The newest connector names a table in the path and the label in the query.
            let label = request.parameter("label").unwrap_or(label);
            named(call, "cancel", database, "", label);
            label::cancel(stand, fe, connection, request, call).await
        }
        _ => Reply::text(404, "Not Found").into(),
    }
}

fn n_alive(cluster: &crate::cluster::Cluster) -> usize {
    cluster.backends.iter().filter(|backend| backend.is_alive).count()
}

fn named(call: &mut Call, endpoint: &str, database: &str, table: &str, label: &str) {
    call.entry.endpoint = endpoint.to_owned();
    call.entry.database = database.to_owned();
    call.entry.table = table.to_owned();
    call.entry.label = label.to_owned();
}

/// The 307 of a plain load, or why there is none. No body is read here, and no 100 is sent.
fn stream_load(stand: &Stand, request: &Request, call: &Call) -> Reply {
    if call.is_authorized(stand, request) != Some(true) {
        return unauthorized();
    }
    if request.minor > 0 && !request.expects_continue() {
        return failed("class com.starrocks.common.DdlException: There is no 100-continue header");
    }
    match to_backend(stand, call, request, None) {
        Some(reply) => reply,
        None => failed("class com.starrocks.common.DdlException: No backend alive."),
    }
}

/// To a BE, this one or the next; or to where a fault says.
fn to_backend(stand: &Stand, call: &Call, request: &Request, backend: Option<usize>) -> Option<Reply> {
    match call.fault {
        Some(Fault::RedirectToDeadBe) => return Some(local(stand.dead_port, request)),
        Some(Fault::RedirectToHungBe) => return Some(local(stand.hung_port, request)),
        Some(Fault::NoBackendAlive) => return None,
        _ => {}
    }
    let backend = backend.or_else(|| stand.update(|cluster| cluster.choose_backend()))?;
    Some(local(stand.ports.be[backend], request))
}

fn local(port: u16, request: &Request) -> Reply {
    Reply::redirect(&format!("127.0.0.1:{port}"), &request.target)
}

/// An FE's refusal of a plain load or a transaction.
fn failed(message: &str) -> Reply {
    Reply::pretty(&[("Status", Value::from("FAILED")), ("Message", Value::from(message))])
}

fn unauthorized() -> Reply {
    let mut reply = Reply::json(&rest_result(Err("Access denied for user (using password: YES)")));
    reply.status = 401;
    reply.headers.push(("WWW-Authenticate", "Basic realm=\"\"".into()));
    reply.closing()
}

/// `RestBaseResult`
fn rest_result(result: Result<(), &str>) -> Value {
    match result {
        Ok(()) => json!({ "status": "OK", "code": "0", "msg": "Success", "message": "OK" }),
        Err(message) => json!({ "status": "FAILED", "code": "1", "msg": message, "message": message }),
    }
}
