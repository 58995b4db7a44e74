//! The transport: a server's events as they come, its silence, and what each of its errors means.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use futures_util::Stream as _;
use mysql_async::binlog::events::Event;
use mysql_async::prelude::Queryable;
use mysql_async::{BinlogStream, BinlogStreamRequest, Conn, Error};

use super::GtidSet;
use super::connect::{Server, Unusable};

/// Who this reader is to the server.
#[derive(Clone, Debug)]
pub struct Reader {
    pub server_id: u32,
    /// The same for every process of this pipeline: of two at once the server sends the older one away.
    pub uuid: String,
}

/// A stream of events.
pub struct Stream {
    events: BinlogStream,
    /// So long without a word is a lost connection.
    silence: Duration,
    server: Server,
}

impl Stream {
    /// Asks for the log behind these transactions. A server that cannot send it says so with the first event.
    pub async fn begin(
        mut conn: Conn,
        server: &Server,
        reader: &Reader,
        done: &GtidSet,
        heartbeat: Duration,
    ) -> Result<Self, Unusable> {
        let (uuid, period_ns) = (&reader.uuid, heartbeat.as_nanos());
        // Both names of each, as servers before 8.0.26 know the second one only. Checksums as they stand in the log:
        // without the word the server would take them off.
        let session = format!(
            "SET @source_heartbeat_period = {period_ns}, @master_heartbeat_period = {period_ns}, \
             @replica_uuid = '{uuid}', @slave_uuid = '{uuid}', \
             @source_binlog_checksum = 'CRC32', @master_binlog_checksum = 'CRC32'"
        );
        conn.query_drop(session).await.map_err(|error| server.unusable(&error))?;
        let request = BinlogStreamRequest::new(reader.server_id).with_gtid().with_gtid_set(done.sids());
        let events = conn.get_binlog_stream(request).await.map_err(|error| server.unusable(&error))?;
        Ok(Stream { events, silence: heartbeat * 3, server: server.clone() })
    }

    /// The next event if it is here already.
    ///
    /// # Errors
    /// As [`Stream::wait`].
    pub async fn ready(&mut self) -> Result<Option<Event>, Unusable> {
        // Twice: the first look may only tell the runtime that it should ask the socket again.
        for look in 0..2 {
            if look > 0 {
                tokio::task::yield_now().await;
            }
            // Without the runtime's budget: it would say that nothing is here after so many events.
            let polled = tokio::task::unconstrained(poll_fn(|context| {
                Poll::Ready(match Pin::new(&mut self.events).poll_next(context) {
                    Poll::Ready(next) => Some(next),
                    Poll::Pending => None,
                })
            }));
            if let Some(next) = polled.await {
                return self.taken(next).map(Some);
            }
        }
        Ok(None)
    }

    /// Waits for the next event; none where it does not come in `patience`.
    ///
    /// # Errors
    /// [`Unusable::Away`]: the connection is lost, or silent for too long. [`Unusable::Refused`]: the server will not send
    /// this log.
    pub async fn wait(&mut self, patience: Option<Duration>) -> Result<Option<Event>, Unusable> {
        let limit = patience.map_or(self.silence, |patience| patience.min(self.silence));
        let next = poll_fn(|context| Pin::new(&mut self.events).poll_next(context));
        match tokio::time::timeout(limit, next).await {
            Ok(next) => self.taken(next).map(Some),
            Err(_) if limit < self.silence => Ok(None),
            Err(_) => Err(Unusable::Away(format!(
                "source {} was silent for {:?}, three heartbeats: the connection is taken for lost",
                self.server.name, self.silence
            ))),
        }
    }

    fn taken(&self, next: Option<Result<Event, Error>>) -> Result<Event, Unusable> {
        match next {
            Some(Ok(event)) => Ok(event),
            Some(Err(Error::Server(error))) if error.code == 1236 => Err(refused(&self.server.name, &error.message)),
            Some(Err(error)) => Err(self.server.unusable(&error)),
            None => Err(Unusable::Away(format!("source {} ended the stream", self.server.name))),
        }
    }
}

/// All of the server's reasons have one code; the text tells them apart (`sql/rpl_binlog_sender.cc`, `share/messages_to_error_log.txt`).
fn refused(server: &str, text: &str) -> Unusable {
    let says = |what: &str| text.contains(what);
    Unusable::Refused(if says("same server_uuid/server_id") {
        format!(
            "source {server} ended the stream, because another reader came with this pipeline's identity: {text} \
             Another process of this pipeline runs; end one of them, or give the other one a name and a table of its own"
        )
    } else if says("purged") {
        lost_position(server, text)
    } else if says("anonymous transaction") {
        format!(
            "source {server} has transactions without a GTID in its log, written while gtid_mode was not ON: {text} \
             Begin behind them: start = \"now\", or a GTID set, with a new history"
        )
    } else if says("more GTIDs than") {
        format!(
            "source {server} lacks transactions of its own that were read: {text} It was set back; \
             compare its tables with the history, and start a new history"
        )
    } else {
        format!("source {server} cannot send its log: {text} Look at the server's error log, and at its binlog files")
    })
}

/// The position is no longer in the server's logs.
pub fn lost_position(server: &str, what: &str) -> String {
    format!(
        "source {server} has purged a part of its log that was not read yet: {what}. The changes in it cannot be had any more \
         (source.on-lost-position = \"fail\"). Restore the missing binlog files there, write on-lost-position = \"resnapshot\" to read \
         the tables again and compare them with the history, or start a new history"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_reasons_are_told_apart_by_their_text() {
        for (text, wanted) in [
            (
                "A replica with the same server_uuid/server_id as this replica has connected to the source; the first event 'x' at 4",
                "Another process of this pipeline runs",
            ),
            (
                "Cannot replicate because the source purged required binary logs. Replicate the missing transactions from elsewhere",
                "has purged a part of its log",
            ),
            ("Replica has more GTIDs than the source has, using the source's SERVER_UUID.", "It was set back"),
            (
                "Cannot replicate anonymous transaction when AUTO_POSITION = 1, at file ./binlog.000003, position 198.",
                "Begin behind them",
            ),
            (
                "log event entry exceeded max_allowed_packet; Increase max_allowed_packet on source",
                "cannot send its log",
            ),
        ] {
            let Unusable::Refused(said) = refused("h:3306", text) else { panic!("{text}") };
            assert!(said.contains(wanted) && said.contains("h:3306") && said.contains(text), "{said}");
        }
    }
}
