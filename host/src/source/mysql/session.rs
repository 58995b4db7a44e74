//! Every connect: the courtesy lock, the preflight, whether the server has what was read and what is next, and the stream.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tracing::{info, warn};

use super::connect::{Server, Unusable};
use super::position::Place;
use super::snapshot::{Progress, tables};
use super::stream::{self, Reader, Stream};
use super::{GtidSet, MysqlSettings, SourceError, Start, preflight};

/// How long a new process waits for the lock of one that is going away.
const LOCK_SECONDS: u32 = 5;

/// The same for this process's own connection before, which the server may not have missed yet.
const LOCK_AGAIN_SECONDS: u32 = 1;

/// Rows that `SHOW BINLOG EVENTS` gives at once.
const EVENTS_PAGE: u64 = 20_000;

/// A server that is being read.
pub struct Session {
    pub stream: Stream,
    pub server: String,
    pub of: Server,
    /// What the server had when this session began.
    pub executed: GtidSet,
    /// For queries; it holds the lock for as long as it lives.
    pub conn: Conn,
}

/// Whether this process has read from the source before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connect {
    First,
    Again,
}

impl Session {
    /// Connects, checks, and asks for the log behind `place`, or where `source.start` says. Gives the place it begins at: where
    /// rows are to be read first, from now on, with a snapshot that is asked for.
    pub async fn begin(
        settings: &MysqlSettings,
        server: &Server,
        place: Option<&Place>,
        connect: Connect,
    ) -> Result<(Session, Place), Unusable> {
        let mut conn = server.connect().await?;
        let failed = |error: mysql_async::Error| server.unusable(&error);
        lock(&mut conn, server, &settings.reader, &settings.pipeline, connect).await?;
        let reads_rows = match place {
            Some(place) => place.snapshot.as_ref().is_some_and(Progress::is_reading),
            None => settings.snapshot.initial,
        };
        let checks = preflight::check(&mut conn, &settings.tables, reads_rows).await.map_err(failed)?;
        if let Some(text) = preflight::unfit(&server.name, &checks) {
            return Err(Unusable::Refused(text));
        }
        let known: Option<(String, String, u32)> = conn
            .query_first("SELECT @@global.gtid_executed, @@global.gtid_purged, @@global.server_id")
            .await
            .map_err(failed)?;
        let (executed, purged, server_id) = known.unwrap_or_default();
        let (executed, purged) = (set(server, &executed)?, set(server, &purged)?);
        let mut place = match place {
            Some(place) => place.clone(),
            None if settings.snapshot.initial => snapshot(&mut conn, server, settings, &executed, false).await?,
            None => start(&mut conn, server, &settings.start, &executed, &purged).await?,
        };
        // Rows of a snapshot hold more than the log was read.
        let held = place.snapshot.as_ref().map_or_else(GtidSet::default, Progress::high);
        let lacking = place.gtids.union(&held).minus(&executed);
        if !lacking.is_empty() {
            return Err(Unusable::Behind(format!(
                "source {} does not have the transactions {lacking}, which were read from the source before: it is another server, \
                 was set back, or is a replica that is behind. Connect to a server that has them, or start a new history",
                server.name
            )));
        }
        let lost = purged.minus(&place.gtids);
        if !lost.is_empty() {
            let lost = stream::lost_position(&server.name, &format!("the transactions {lost}"));
            if !settings.snapshot.on_lost_position {
                return Err(Unusable::Refused(lost));
            }
            warn!(reason = lost, "the tables are read again");
            place = snapshot(&mut conn, server, settings, &executed, true).await?;
        }
        let mut reader = settings.reader.clone();
        if reader.server_id == server_id {
            // A source must not read from itself.
            reader.server_id = reader.server_id.checked_add(1).unwrap_or(1);
        }
        let log = server.connect().await?;
        // While rows are read the log is followed from now on; what came before is read when they are here.
        let reads_now = place.is_reading_from(&executed);
        let behind = if reads_now { &executed } else { &place.gtids };
        let stream = Stream::begin(log, server, &reader, behind, settings.heartbeat).await?;
        Ok((Session { stream, server: server.name.clone(), of: server.clone(), executed, conn }, place))
    }
}

/// From now on, with all captured tables to be read.
async fn snapshot(
    conn: &mut Conn,
    server: &Server,
    settings: &MysqlSettings,
    executed: &GtidSet,
    again: bool,
) -> Result<Place, Unusable> {
    let found = tables::captured(conn, &settings.tables).await.map_err(|error| server.unusable(&error))?;
    let found = found.map_err(|error| Unusable::Refused(error.to_string()))?;
    let names: Vec<String> = found.into_iter().map(|table| table.schema.name.clone()).collect();
    if names.is_empty() {
        warn!(source = server.name, "none of the captured tables is there yet: there are no rows to read");
    }
    let snapshot = (!names.is_empty()).then(|| Progress::asked(again, true, names));
    Ok(Place { gtids: executed.clone(), snapshot, ..Place::default() })
}

/// The pipeline's lock, held before the source is opened.
pub struct Claim(Conn);

impl Claim {
    /// Takes the lock at the first of the servers that answers. `pipeline`: its name, for messages.
    ///
    /// # Errors
    /// Another process of this pipeline holds it there, or no server answers.
    pub async fn take(servers: &[Server], reader: &Reader, pipeline: &str) -> Result<Self, SourceError> {
        let mut reasons = Vec::new();
        for server in servers {
            let claimed = async {
                let mut conn = server.connect().await?;
                lock(&mut conn, server, reader, pipeline, Connect::First).await?;
                Ok(Claim(conn))
            };
            match claimed.await {
                Ok(claim) => return Ok(claim),
                // It answered: another one, whose lock would be free, is no way round it.
                Err(Unusable::Refused(reason)) => return Err(SourceError::Unfit(reason)),
                Err(reason) => reasons.push(reason.text().to_owned()),
            }
        }
        Err(SourceError::Unfit(reasons.join("\n")))
    }

    /// Gives it back, for the source to take it.
    pub async fn release(self) {
        // A connection that is broken holds no lock.
        let _ = self.0.disconnect().await;
    }
}

/// One process a pipeline: a word between processes, while the sink's checkpoint is what holds.
async fn lock(
    conn: &mut Conn,
    server: &Server,
    reader: &Reader,
    pipeline: &str,
    connect: Connect,
) -> Result<(), Unusable> {
    let failed = |error: mysql_async::Error| server.unusable(&error);
    // The lock goes with its connection, which is silent for days.
    conn.query_drop("SET SESSION wait_timeout = 31536000").await.map_err(failed)?;
    let seconds = if connect == Connect::First { LOCK_SECONDS } else { LOCK_AGAIN_SECONDS };
    let lock = format!("hindsight-{}", reader.uuid);
    let got: Option<Option<u8>> = conn.exec_first("SELECT GET_LOCK(?, ?)", (&lock, seconds)).await.map_err(failed)?;
    if got.flatten() == Some(1) {
        return Ok(());
    }
    let holder: Option<Option<u64>> = conn.exec_first("SELECT IS_USED_LOCK(?)", (&lock,)).await.map_err(failed)?;
    let holder = holder.flatten().map_or("unknown".to_owned(), |id| id.to_string());
    match connect {
        Connect::First => Err(Unusable::Refused(format!(
            "pipeline {pipeline} runs already: connection {holder} of source {} holds its lock. End that process \
             (or, where it is lost, run there: KILL {holder}), or give this pipeline a name and a table of its own",
            server.name
        ))),
        Connect::Again => {
            warn!(
                source = server.name,
                connection = holder,
                "the pipeline's lock is held by another connection; going on, the history's checkpoint decides"
            );
            Ok(())
        }
    }
}

/// Where to begin without a checkpoint.
async fn start(
    conn: &mut Conn,
    server: &Server,
    start: &Start,
    executed: &GtidSet,
    purged: &GtidSet,
) -> Result<Place, Unusable> {
    let refused = |text: String| Unusable::Refused(text);
    let gtids = match start {
        Start::Earliest => {
            if purged.is_empty() {
                info!(source = server.name, "no checkpoint: starting with the first transaction of the source's log");
            } else {
                info!(source = server.name, gtid_purged = %purged, "no checkpoint: starting with the oldest transaction that the source still has; it has purged those of gtid_purged");
            }
            purged.clone()
        }
        Start::Now => executed.clone(),
        Start::After(set) => {
            let lacking = set.minus(executed);
            if !lacking.is_empty() {
                return Err(refused(format!(
                    "source {} does not have the transactions {lacking} that source.start names; its gtid_executed is {executed}",
                    server.name
                )));
            }
            set.clone()
        }
        Start::At { file, at } => gtids_before(conn, server, file, *at).await?,
    };
    Ok(Place { gtids, ..Place::default() })
}

/// The transactions before a place of a binlog file, from the server's own list of its events.
async fn gtids_before(conn: &mut Conn, server: &Server, file: &str, at: u64) -> Result<GtidSet, Unusable> {
    let refused = |text: String| Unusable::Refused(format!("source.start = \"{file}:{at}\": {text}"));
    let mut before: Option<GtidSet> = None;
    // Where the events listed so far end; a transaction may begin behind the head, and behind each transaction.
    let mut end = 4;
    loop {
        let page = format!("SHOW BINLOG EVENTS IN '{}' FROM {end} LIMIT {EVENTS_PAGE}", file.replace(['\'', '\\'], ""));
        let rows: Vec<(String, u64, String, u32, u64, String)> =
            conn.query(page).await.map_err(|error| match &error {
                mysql_async::Error::Server(error) => {
                    refused(format!("{}. SHOW BINARY LOGS lists the source's files", error.message))
                }
                _ => server.unusable(&error),
            })?;
        let n_rows = rows.len() as u64;
        for (_, begin, kind, _, event_end, info) in rows {
            let begins = kind.to_ascii_lowercase().starts_with("gtid") || matches!(kind.as_str(), "Rotate" | "Stop");
            match (kind.as_str(), &mut before) {
                ("Previous_gtids", _) => before = Some(set(server, &info)?),
                (_, Some(gtids)) if begins && begin >= at => {
                    // Of the file's head no transaction is a part.
                    if begin == at || at <= 4 {
                        return Ok(gtids.clone());
                    }
                    return Err(refused(format!("no transaction begins there; one begins at {begin}")));
                }
                (_, Some(gtids)) if begins => {
                    if let Some(gtid) = info.split('\'').nth(1) {
                        *gtids = gtids.union(&set(server, gtid)?);
                    }
                }
                _ => {}
            }
            // Inner events of a compressed transaction are listed with the place of their envelope.
            end = end.max(event_end);
        }
        if n_rows < EVENTS_PAGE {
            return match before {
                Some(gtids) if end == at => Ok(gtids),
                _ => Err(refused(format!("no transaction begins there; the file ends at {end}"))),
            };
        }
    }
}

fn set(server: &Server, text: &str) -> Result<GtidSet, Unusable> {
    text.parse().map_err(|wrong: String| {
        Unusable::Refused(format!("source {} names a GTID set that is not understood: {wrong}", server.name))
    })
}
