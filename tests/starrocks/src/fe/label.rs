//! What becomes of a label: `get_load_state` and `_cancel`, which only the leader answers.

use serde_json::json;

use super::{rest_result, unauthorized};
use crate::call::{Answer, Call};
use crate::http::{Connection, Reply, Request};
use crate::stand::Stand;

pub async fn state(
    stand: &Stand,
    fe: usize,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
) -> Answer {
    if let Some(answer) = begun(stand, fe, connection, request, call).await {
        return answer;
    }
    let label = &call.entry.label;
    if label.is_empty() {
        return Reply::json(&rest_result(Err("No label selected."))).into();
    }
    let known = stand.look(|cluster| {
        let found = cluster.label(&call.entry.database, label)?;
        Some(found.map_or(("UNKNOWN", String::new()), |found| (found.state.name(), found.reason.clone())))
    });
    let Some((state, reason)) = known else { return Reply::json(&unknown_database(&call.entry.database)).into() };
    let mut reply = rest_result(Ok(()));
    if let Some(members) = reply.as_object_mut() {
        members.insert("state".into(), json!(state));
        members.insert("reason".into(), json!(reason));
    }
    call.entry.status = state.into();
    Reply::json(&reply).into()
}

pub async fn cancel(
    stand: &Stand,
    fe: usize,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
) -> Answer {
    if let Some(answer) = begun(stand, fe, connection, request, call).await {
        return answer;
    }
    let done = stand.update(|cluster| cluster.cancel(&call.entry.database, &call.entry.label));
    if done.is_ok() {
        stand.log(|log| {
            log.label(&call.entry.database, &call.entry.label, |counts| {
                counts.cancels += 1;
                counts.aborted += 1;
            });
        });
    }
    Reply::json(&rest_result(done.as_ref().copied().map_err(String::as_str))).into()
}

/// What both begin with; an answer ends the call.
async fn begun(
    stand: &Stand,
    fe: usize,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
) -> Option<Answer> {
    call.pick(stand, None);
    if let Some(answer) = call.before(stand, connection).await {
        return Some(answer);
    }
    if call.is_authorized(stand, request) != Some(true) {
        return Some(unauthorized().into());
    }
    if stand.look(|cluster| cluster.leader) != fe {
        return Some(Reply::redirect(&stand.leader_address(), &request.target).into());
    }
    None
}

fn unknown_database(name: &str) -> serde_json::Value {
    rest_result(Err(&format!("Database[{name}] does not exist.")))
}
