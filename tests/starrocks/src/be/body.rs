//! Reading a load's body, with what faults do to it.

use crate::call::{Answer, Call, pause};
use crate::faults::Fault;
use crate::http::{BodyLost, Connection, Pace, Reply, Request};
use crate::stand::Stand;

/// The body, after the 100 that the client waits for; or how the call ends without it.
pub async fn read(
    stand: &Stand,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
) -> Result<Vec<u8>, Lost> {
    let mut pace = Pace { bytes_max: stand.settings.body_bytes_max, bytes_per_s: None, stop_after: None };
    match &call.fault {
        Some(Fault::NeverContinue) => {
            connection.until_closed().await;
            return Err(Lost::Broken);
        }
        Some(Fault::SlowBe { bytes_per_s, .. }) => pace.bytes_per_s = *bytes_per_s,
        Some(Fault::ErrorMidBody { after_bytes, .. }) => pace.stop_after = Some(*after_bytes),
        _ => {}
    }
    if request.expects_continue() && connection.say_continue().await.is_err() {
        return Err(Lost::Broken);
    }
    match connection.body(request, pace).await {
        Ok(body) => {
            call.entry.bytes = body.len() as u64;
            stand.log(|log| {
                log.label(&call.entry.database, &call.entry.label, |counts| {
                    counts.bodies += 1;
                    counts.bytes += body.len() as u64;
                });
            });
            // A body that ends before it is asked to stop ends with the fault all the same.
            match &call.fault {
                Some(Fault::ErrorMidBody { status, .. }) => Err(Lost::Fault(http_error(*status))),
                _ => Ok(body),
            }
        }
        Err(BodyLost::Stopped(n)) => {
            call.entry.bytes = n as u64;
            let status = if let Some(Fault::ErrorMidBody { status, .. }) = &call.fault { *status } else { 500 };
            Err(Lost::Fault(http_error(status)))
        }
        Err(BodyLost::TooLong { bytes, limit }) => Err(Lost::Refused(format!(
            "body size {bytes} exceed limit: {limit}, You can increase the limit by setting streaming_load_max_mb in be.conf."
        ))),
        Err(BodyLost::Malformed) => Err(Lost::Refused("the chunks of the body are malformed".into())),
        Err(BodyLost::Broken(n)) => {
            call.entry.bytes = n as u64;
            Err(Lost::Broken)
        }
    }
}

/// How a body did not come.
#[derive(Debug)]
pub enum Lost {
    /// The client is gone.
    Broken,
    Refused(String),
    Fault(Answer),
}

fn http_error(status: u16) -> Answer {
    Reply::text(status, "error").closing().into()
}

/// The body as a proxy in front of the BE has it, where one is played: the 100 is its own, and both go on when it pleases.
pub async fn buffered_by_proxy(
    stand: &Stand,
    connection: &mut Connection,
    request: &Request,
    call: &mut Call,
) -> Result<Option<Vec<u8>>, Lost> {
    let Some(Fault::ProxyBuffers { delay_ms }) = call.fault else { return Ok(None) };
    let mut releases = stand.releases.subscribe();
    let body = read(stand, connection, request, call).await?;
    match delay_ms {
        Some(ms) => pause(ms).await,
        None => {
            // The sender lives as long as the stand-in.
            let _ = releases.changed().await;
        }
    }
    Ok(Some(body))
}
