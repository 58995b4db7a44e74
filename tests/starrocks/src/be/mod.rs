//! A BE's HTTP port: it checks a load's headers before it asks for the body, reads it, and has the FE commit it.

mod body;
mod conclude;
mod plain;
mod reply;
mod rows;
mod transaction;

use std::sync::Arc;

use serde_json::Value;
use tokio::net::TcpStream;

use crate::call::{Answer, Call, Name};
use crate::http::{Connection, Next, Node, Reply, Request};
use crate::stand::Stand;

pub async fn serve(stand: Arc<Stand>, be: usize, stream: TcpStream, node: Node) {
    let mut connection = Connection::new(stream, node);
    let mut next = Next::Close;
    while let Ok(Some(request)) = connection.request().await {
        let mut call = Call::new(Name::Be(be), "be.other");
        let answer = answer(&stand, be, &mut connection, &request, &mut call).await;
        next = call.finish(&stand, &mut connection, answer).await.unwrap_or(Next::Close);
        if next != Next::KeepAlive {
            break;
        }
    }
    connection.end(next).await;
}

async fn answer(
    stand: &Arc<Stand>,
    be: usize,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
) -> Answer {
    let parts = request.parts();
    let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
    match (request.method.as_str(), parts.as_slice()) {
        (_, ["api", "health"]) => {
            call.entry.endpoint = "health".into();
            call.pick(stand, None);
            match call.before(stand, connection).await {
                Some(answer) => answer,
                None => Reply::json(&serde_json::json!({ "status": "OK", "msg": "To Be Added" })).into(),
            }
        }
        ("GET", ["api", "_load_error_log"]) => {
            call.entry.endpoint = "error_log".into();
            call.pick(stand, None);
            if let Some(answer) = call.before(stand, connection).await {
                return answer;
            }
            let name = request.parameter("file").unwrap_or_default();
            stand.error_log(name).map_or_else(|| Reply::text(404, "Not Found"), |log| Reply::text(200, &log)).into()
        }
        ("PUT", ["api", database, table, "_stream_load"]) => {
            call.entry.endpoint = "be.stream_load".into();
            call.entry.database = (*database).to_owned();
            call.entry.table = (*table).to_owned();
            // Without a label it gets one, as from a BE of the real one.
            let label = request.header("label").filter(|label| !label.is_empty());
            call.entry.label = label.map_or_else(random_label, str::to_owned);
            plain::stream_load(stand, be, connection, request, call).await
        }
        (_, ["api", "transaction", "list"]) => list(stand, be).into(),
        (_, ["api", "transaction", operation @ ("begin" | "load" | "prepare" | "commit" | "rollback")]) => {
            call.entry.endpoint = format!("be.{operation}");
            (call.entry.database, call.entry.table, call.entry.label) =
                (header("db"), header("table"), header("label"));
            transaction::answer(stand, be, connection, request, call, operation).await
        }
        _ => Reply::text(404, "Not Found").closing().into(),
    }
}

fn random_label() -> String {
    let random = format!("{:032x}", fastrand::u128(..));
    format!("{}-{}-{}-{}-{}", &random[..8], &random[8..12], &random[12..16], &random[16..20], &random[20..])
}

fn list(stand: &Stand, be: usize) -> Reply {
    let open = stand.look(|cluster| {
        let contexts = cluster.backends[be].contexts.iter();
        let shown = contexts.map(|(label, context)| {
            serde_json::json!({
                "label": label, "db": context.database, "table": context.table, "txnId": context.transaction,
                "receivedBytes": context.bytes,
            })
        });
        shown.collect::<Vec<Value>>()
    });
    let text: Vec<String> = open.iter().map(|shown| serde_json::to_string_pretty(shown).unwrap_or_default()).collect();
    Reply::new(200, "application/json", text.join("\n"))
}
