//! The control port: faults, actions, and what the log has. Its own port, so that no fault is in its way.
//!
//! JSON in, JSON out; what cannot be done is 400 with `{"error": …}`.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::actions::Action;
use crate::ddl;
use crate::faults::Rule;
use crate::http::{Connection, Next, Node, Pace, Reply, Request};
use crate::stand::Stand;
use crate::view::locked;

const BODY_BYTES_MAX: usize = 1 << 20;

const HELP: &str = "\
GET    /ports                     all ports
POST   /faults                    add a rule: {\"endpoint\": \"load\", \"fault\": \"lose_reply\", \"when\": {\"nth\": 2}, \"times\": 1}
GET    /faults                    rules, how often each was asked and played
DELETE /faults[/ID]               one rule, or all
POST   /actions                   {\"action\": \"switch_leader\"}
POST   /sql                       a statement that changes the catalog: {\"sql\": \"CREATE DATABASE d\"}
GET    /transactions?db=D         with their states
GET    /labels                    what each label has seen: begun, bodies, prepares, commits, visible
GET    /log?after=N&endpoint=be.&label=L
GET    /counters
DELETE /log                       entries, labels and counters
GET    /settings
";

pub async fn serve(stand: Arc<Stand>, stream: TcpStream, node: Node) {
    let mut connection = Connection::new(stream, node);
    let mut next = Next::Close;
    while let Ok(Some(request)) = connection.request().await {
        let pace = Pace { bytes_max: BODY_BYTES_MAX, bytes_per_s: None, stop_after: None };
        if request.expects_continue() && connection.say_continue().await.is_err() {
            break;
        }
        let reply = match connection.body(&request, pace).await {
            Ok(body) => answer(&stand, &request, &body).await.unwrap_or_else(|error| refused(&error)),
            Err(_) => refused("the body did not come whole").closing(),
        };
        next = connection.reply(&reply).await.unwrap_or(Next::Close);
        if next != Next::KeepAlive {
            break;
        }
    }
    connection.end(next).await;
}

fn refused(error: &str) -> Reply {
    let mut reply = Reply::json(&json!({ "error": error }));
    reply.status = 400;
    reply
}

async fn answer(stand: &Stand, request: &Request, body: &[u8]) -> Result<Reply, String> {
    let parts = request.parts();
    let parameter = |name: &str| request.parameter(name).unwrap_or_default();
    Ok(match (request.method.as_str(), parts.as_slice()) {
        ("GET", [] | ["help"]) => Reply::text(200, HELP),
        ("GET", ["ports"]) => Reply::json(&json(&stand.ports)?),
        ("GET", ["settings"]) => Reply::json(&json(&stand.settings)?),
        ("POST", ["faults"]) => {
            let rule: Rule = read(body)?;
            Reply::json(&json!({ "id": locked(&stand.faults).add(rule)? }))
        }
        ("GET", ["faults"]) => Reply::json(&json(&locked(&stand.faults).list())?),
        ("DELETE", ["faults"]) => {
            locked(&stand.faults).clear(None);
            Reply::json(&json!({}))
        }
        ("DELETE", ["faults", id]) => {
            let id = id.parse().map_err(|_| format!("{id} is no rule's number"))?;
            locked(&stand.faults).clear(Some(id));
            Reply::json(&json!({}))
        }
        ("POST", ["actions"]) => {
            let action: Action = read(body)?;
            Reply::json(&action.run(stand).await?)
        }
        ("POST", ["sql"]) => {
            let asked: Value = read(body)?;
            let sql = asked.get("sql").and_then(Value::as_str).ok_or("{\"sql\": …} is missing")?;
            ddl::run(stand, asked.get("db").and_then(Value::as_str), sql)?;
            Reply::json(&json!({}))
        }
        ("GET", ["transactions"]) => Reply::json(&transactions(stand, parameter("db"))?),
        ("GET", ["labels"]) => Reply::json(&labels(stand)?),
        ("GET", ["log"]) => {
            let after = parameter("after").parse().unwrap_or(0);
            Reply::json(&json(&stand.log(|log| log.entries(after, parameter("endpoint"), parameter("label"))))?)
        }
        ("DELETE", ["log"]) => {
            stand.log(|log| log.clear());
            Reply::json(&json!({}))
        }
        ("GET", ["counters"]) => Reply::json(&json(&stand.log(|log| log.counters()))?),
        (method, _) => return Err(format!("there is no {method} {}; GET / says what there is", request.path)),
    })
}

fn read<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

fn json(value: &impl serde::Serialize) -> Result<Value, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

/// Of one database, or of all.
fn transactions(stand: &Stand, database: &str) -> Result<Value, String> {
    stand.look(|cluster| {
        let mut all = Vec::new();
        for (name, transactions) in &cluster.transactions {
            if !database.is_empty() && name != database {
                continue;
            }
            for transaction in transactions.by_id.values() {
                let mut shown = json(transaction)?;
                shown["database"] = name.as_str().into();
                all.push(shown);
            }
        }
        Ok(Value::from(all))
    })
}

fn labels(stand: &Stand) -> Result<Value, String> {
    let mut all = Vec::new();
    for (database, label, counts) in stand.log(|log| log.labels()) {
        let mut shown = json(&counts)?;
        shown["database"] = database.into();
        shown["label"] = label.into();
        all.push(shown);
    }
    Ok(Value::from(all))
}
