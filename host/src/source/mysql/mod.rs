//! A live MySQL server as a source, followed for ever: through lost connections, silence and failover.
//!
//! [`Mysql`] keeps a connection; `session` is every connect, `stream` the transport, `walk` the events, `gtid_set` what
//! is done. Events are parsed and rows decoded by `binlog`, as they are from files.

mod connect;
mod gtid_set;
mod position;
pub mod preflight;
mod session;
mod snapshot;
mod start;
mod stream;
mod walk;

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tracing::{info, warn};
use uuid::Uuid;

use super::binlog::changes::Capture;
use super::{Resnapshot, Source, SourceError, SourceState, TableFilter};
use crate::civil::Zone;
use crate::event::{Batch, Position};
pub use connect::{Server, Tls, Unusable};
pub use gtid_set::GtidSet;
pub use position::{Place, behind, read_again};
pub use session::Claim;
use session::{Connect, Session};
use snapshot::filter::Filter;
use snapshot::reading::Reading;
pub use snapshot::{Explained, SnapshotSettings, explain, schemas};
use snapshot::{Progress, tables};
pub use start::Start;
use stream::Reader;
use walk::{Taken, Walk};

/// What is read, from where, and how much at once.
#[derive(Clone)]
pub struct MysqlSettings {
    /// Tried in order.
    pub servers: Vec<Server>,
    pub tables: TableFilter,
    /// The zone whose wall clock DATETIME columns show.
    pub zone: Zone,
    /// Where to begin without a checkpoint.
    pub start: Start,
    pub snapshot: SnapshotSettings,
    pub heartbeat: Duration,
    pub reader: Reader,
    /// The pipeline's name, for messages.
    pub pipeline: String,
    pub end: End,
    pub batch_changes_max: usize,
    /// Memory of a batch's images.
    pub batch_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Never,
    /// With the last transaction that the server had when it was opened.
    AsOpened,
}

/// Where only other tables change, the place is handed out so often.
const IDLE: Duration = Duration::from_secs(1);

/// Between two rounds over the servers: doubled after each, and cut at random, so that many readers do not come at once.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(10);

/// How long a server may lack what was read elsewhere: after a failover a replica may still be applying it.
const BEHIND_MAX: Duration = Duration::from_secs(30);

/// A live server.
pub struct Mysql {
    settings: MysqlSettings,
    walk: Walk,
    session: Option<Session>,
    /// Where reading ends, as [`End::AsOpened`] says.
    last: Option<GtidSet>,
    handed_out: Instant,
    /// The place it begins at is not handed out yet.
    begins: bool,
    /// While rows are read that are in the tables already.
    reading: Option<Reading>,
    /// Until the log is behind them.
    filter: Option<Filter>,
    /// What was read and is not handed out yet.
    at_hand: Option<(Batch, Position)>,
    /// Troubles since the last batch.
    n_troubles: u32,
    asked: Option<mpsc::Receiver<Resnapshot>>,
    asks: mpsc::Sender<Resnapshot>,
    failed: Option<SourceError>,
    state: watch::Sender<SourceState>,
}

impl MysqlSettings {
    /// `identity`: a text that is the same for every process of this pipeline, and for no other pipeline.
    pub fn reader(identity: &str, server_id: Option<u32>) -> Reader {
        let hash = Sha256::digest(format!("hindsight reader {identity}"));
        let (uuid, number) = (&hash[..16], &hash[16..20]);
        let uuid = uuid::Builder::from_sha1_bytes(uuid.try_into().expect("sixteen bytes")).into_uuid();
        // Small numbers are what people give to servers.
        let number = u32::from_le_bytes(number.try_into().expect("four bytes")) | 1 << 31;
        Reader { server_id: server_id.unwrap_or(number), uuid: Uuid::to_string(&uuid) }
    }
}

impl Mysql {
    /// Connects to the first server that can be read, at a position or where `start` says.
    ///
    /// # Errors
    /// [`SourceError::Unfit`]: none of them can be, with the reason of each.
    pub async fn open(settings: MysqlSettings, start: Option<&Position>) -> Result<Self, SourceError> {
        let place = match start {
            Some(position) => Some(position.0.parse::<Place>().map_err(SourceError::Unfit)?),
            None => None,
        };
        let mut reasons = Vec::new();
        for server in &settings.servers {
            match Session::begin(&settings, server, place.as_ref(), Connect::First).await {
                Ok((session, begin)) => {
                    info!(source = session.server, gtids = %begin.gtids, "connected");
                    let mut walk = Walk::new(capture(&settings), begin, &[]);
                    if place.as_ref() != Some(&walk.place) {
                        walk.begins_here();
                    }
                    let last = (settings.end == End::AsOpened).then(|| session.executed.clone());
                    let state = watch::Sender::new(SourceState::Connected(session.server.clone()));
                    let (asks, asked) = mpsc::channel(1);
                    let begins = place.as_ref() != Some(&walk.place);
                    return Ok(Mysql {
                        settings,
                        walk,
                        session: Some(session),
                        last,
                        handed_out: Instant::now(),
                        begins,
                        reading: None,
                        filter: None,
                        at_hand: None,
                        n_troubles: 0,
                        asked: Some(asked),
                        asks,
                        failed: None,
                        state,
                    });
                }
                Err(reason) => reasons.push(reason.text().to_owned()),
            }
        }
        Err(SourceError::Unfit(reasons.join("\n")))
    }

    /// Whether the source is connected, as it changes.
    pub fn state(&self) -> watch::Receiver<SourceState> {
        self.state.subscribe()
    }

    /// Takes requests to read a table again.
    pub fn resnapshot(&self) -> mpsc::Sender<Resnapshot> {
        self.asks.clone()
    }

    /// Reads until a batch is full, or the server has nothing more right now, or the log ends here. Nothing is lost where it is
    /// given up while it waits.
    async fn fill(&mut self) -> Result<Option<(Batch, Position)>, Trouble> {
        let session = self.session.as_mut().expect("connected before it reads");
        let walk = &mut self.walk;
        // A snapshot that is asked for begins where the server was then.
        let waits = walk.place.snapshot.as_ref().is_some_and(Progress::is_reading);
        let until = if waits { Some(&session.executed) } else { self.last.as_ref() };
        loop {
            let event = match session.stream.ready().await? {
                Some(event) => event,
                // What is here goes out at once: nothing waits for more. Inside a transaction there is more, and soon: a
                // server sends up to its buffer's end, not to a transaction's.
                None if walk.has_whole() && !walk.in_transaction() => return Ok(walk.hand_out_whole()),
                None => {
                    let between = walk.has_moved() && !walk.in_transaction();
                    let patience = between.then(|| IDLE.saturating_sub(self.handed_out.elapsed()));
                    match session.stream.wait(patience).await? {
                        Some(event) => event,
                        None => return Ok(walk.hand_out_whole()),
                    }
                }
            };
            match walk.take(&event)? {
                Taken::Again => return Err(Trouble::OtherShape),
                Taken::Whole if until.is_some_and(|until| until.is_subset_of(&walk.place.gtids)) => {
                    return Ok(walk.hand_out_whole());
                }
                Taken::Next | Taken::Whole => {}
            }
            if walk.is_full() {
                return Ok(walk.hand_out_all());
            }
        }
    }

    /// Connects again, for as long as it takes.
    async fn reconnect(&mut self) -> Result<(), SourceError> {
        let begun = Instant::now();
        let mut back_off = BACK_OFF_MIN;
        loop {
            let mut refused = false;
            let mut reasons = Vec::new();
            for server in &self.settings.servers {
                match Session::begin(&self.settings, server, Some(&self.walk.place), Connect::Again).await {
                    Ok((session, place)) => {
                        info!(source = session.server, "connected again");
                        self.state.send_replace(SourceState::Connected(session.server.clone()));
                        self.session = Some(session);
                        if place != self.walk.place {
                            // Its position was lost.
                            self.walk = Walk::new(capture(&self.settings), place, self.walk.tables());
                            self.walk.begins_here();
                            (self.begins, self.filter) = (true, None);
                        }
                        return Ok(());
                    }
                    Err(reason) => {
                        refused |= match &reason {
                            Unusable::Away(_) => false,
                            Unusable::Refused(_) => true,
                            Unusable::Behind(_) => begun.elapsed() > BEHIND_MAX,
                        };
                        reasons.push(reason.text().to_owned());
                    }
                }
            }
            let reasons = reasons.join("\n");
            if refused {
                return Err(SourceError::Stop(reasons));
            }
            let pause = back_off.mul_f64(0.5 + fastrand::f64() / 2.0);
            warn!(reason = reasons, retry_ms = pause.as_millis() as u64, "no source can be read");
            self.state.send_replace(SourceState::Away(reasons));
            tokio::time::sleep(pause).await;
            back_off = (back_off * 2).min(BACK_OFF_MAX);
        }
    }

    fn is_done(&self) -> bool {
        let done = |last: &GtidSet| last.is_subset_of(&self.walk.place.gtids);
        let reads = self.walk.place.snapshot.as_ref().is_some_and(Progress::is_reading);
        // Until the log is behind a snapshot, or it is known that it is, the position still says so.
        let is_open = self.walk.place.snapshot.is_some() && self.filter.is_none();
        self.last.as_ref().is_some_and(done) && !reads && !is_open && !self.walk.has_whole() && !self.walk.has_moved()
    }

    /// The next rows that are in the tables already; none when all are read.
    async fn read_rows(&mut self) -> Result<Option<(Batch, Position)>, Trouble> {
        if self.reading.is_none() {
            let snapshot = self.walk.place.snapshot.as_mut().expect("it is being read");
            if !std::mem::replace(&mut snapshot.begun, true) {
                // This session follows the log from the place on; the readers need one that follows it from now on.
                self.session = None;
                return Ok(None);
            }
            let session = self.session.take().expect("connected before it reads");
            self.reading = Some(Reading::begin(&self.settings, session).await?);
        }
        let reading = self.reading.as_mut().expect("begun above");
        if let Some(batch) = reading.next(&mut self.walk.place).await? {
            return Ok(Some((batch, Position::from(&self.walk.place))));
        }
        // The log is read from where the first row was read, by a session of its own.
        self.walk = Walk::new(capture(&self.settings), self.walk.place.clone(), reading.schemas());
        self.reading = None;
        Ok(None)
    }

    /// From where the log is behind the snapshot's beginning: what its rows hold is left out.
    async fn leave_out(&mut self) -> Result<(), Trouble> {
        let session = self.session.as_mut().expect("connected before it reads");
        let snapshot = self.walk.place.snapshot.as_ref().expect("a snapshot has ended");
        if self.settings.end == End::AsOpened {
            // Rows may hold what was committed since it was opened.
            self.last = Some(session.executed.union(&snapshot.high()));
        }
        let failed = |error: mysql_async::Error| session.of.unusable(&error);
        let tables = tables::captured(&mut session.conn, &self.settings.tables).await.map_err(failed)??;
        let cut_by = snapshot::fits(snapshot, &tables, &self.settings.snapshot).map_err(SourceError::Unfit)?;
        self.filter = Filter::new(snapshot, &tables, cut_by);
        match &self.filter {
            Some(filter) if !filter.high.is_subset_of(&self.walk.place.gtids) => {
                self.walk.held = Some(filter.high.clone());
            }
            _ => {
                (self.filter, self.walk.place.snapshot) = (None, None);
                self.walk.begins_here();
            }
        }
        info!("all rows that were there are read; going on with the log behind them");
        Ok(())
    }

    /// What was read, without what the snapshot's rows hold already.
    async fn filtered(&mut self) -> Result<(Batch, Position), Trouble> {
        if let (Some(filter), Some((batch, _))) = (&mut self.filter, &mut self.at_hand) {
            let server = self.session.as_ref().map_or(&self.settings.servers[0], |session| &session.of);
            filter.apply(batch, server).await?;
            batch.cut_by.clone_from(&filter.cut_by);
        }
        if self.walk.held.is_none() {
            self.filter = None;
        }
        Ok(self.at_hand.take().expect("something is at hand"))
    }

    /// Reads on: rows that are there, or the log.
    async fn read(&mut self) -> Result<(), Trouble> {
        let session = self.session.as_ref();
        let reads_rows = |session: &Session| self.walk.place.is_reading_from(&session.executed);
        if self.reading.is_some() || session.is_some_and(reads_rows) {
            while let Some(wish) = self.asked.as_mut().and_then(|asked| asked.try_recv().ok()) {
                self.ask_again(wish);
            }
            self.at_hand = self.read_rows().await?;
            return Ok(());
        }
        let snapshot = self.walk.place.snapshot.as_ref();
        if self.filter.is_none() && snapshot.is_some_and(|snapshot| !snapshot.is_reading()) {
            self.leave_out().await?;
        }
        let mut asked = self.asked.take().expect("put back below");
        let wish = tokio::select! {
            biased;
            Some(wish) = asked.recv() => Ok(Some(wish)),
            read = self.fill() => read.map(|read| {
                self.at_hand = read;
                None
            }),
        };
        self.asked = Some(asked);
        if let Some(wish) = wish? {
            self.ask_again(wish);
        }
        Ok(())
    }

    /// After a trouble: what was read before it is at hand, what comes next is read by another session or is an error.
    async fn stumble(&mut self, trouble: Trouble) -> Result<(), SourceError> {
        self.reading = None;
        let unfiltered = self.at_hand.is_some();
        if !unfiltered {
            self.at_hand = self.walk.hand_out_whole();
        }
        match trouble {
            Trouble::Connection(Unusable::Refused(reason)) => self.failed = Some(SourceError::Stop(reason)),
            Trouble::Stop(error) => self.failed = Some(error),
            Trouble::Connection(unusable) => {
                warn!(reason = unusable.text(), "the connection to the source is lost");
                self.state.send_replace(SourceState::Away(unusable.text().to_owned()));
                self.session = None;
                self.walk.rewind();
                // The server may answer, and fail in the same way again.
                self.n_troubles += 1;
                if self.n_troubles > 1 && self.at_hand.is_none() {
                    tokio::time::sleep((BACK_OFF_MIN * (1 << self.n_troubles.min(7))).min(BACK_OFF_MAX)).await;
                }
            }
            // The transaction is read again, now as the first of its batch.
            Trouble::OtherShape => {
                self.session = None;
                self.walk.rewind();
            }
        }
        if unfiltered {
            // Only a server can say what of it is to be left out.
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            self.reconnect().await?;
        }
        Ok(())
    }

    /// Keeps the wish in the position, before it is answered.
    fn ask_again(&mut self, Resnapshot { table, reply }: Resnapshot) {
        let asked = self.walk.place.ask_again(&table).map(|()| {
            // Where the server is now is known to a new session.
            self.session = None;
            self.walk.rewind();
            self.walk.begins_here();
            format!("{table} is read again as soon as the log is read up to now; what differs becomes a change")
        });
        // Who asked may have gone.
        let _ = reply.send(asked);
    }
}

/// Why reading stopped.
enum Trouble {
    Connection(Unusable),
    /// A table has another shape from the transaction in hand on: a batch has one shape.
    OtherShape,
    Stop(SourceError),
}

impl From<Unusable> for Trouble {
    fn from(unusable: Unusable) -> Self {
        Trouble::Connection(unusable)
    }
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        Trouble::Stop(error)
    }
}

#[async_trait::async_trait]
impl Source for Mysql {
    async fn next(&mut self) -> Result<Option<(Batch, Position)>, SourceError> {
        loop {
            // Kept before anything is read: "now" must be the same now after a restart.
            if std::mem::take(&mut self.begins) {
                self.at_hand = self.walk.hand_out_whole();
            }
            // What was read goes out before it is said why there is no more.
            let trouble = if self.at_hand.is_some() {
                match self.filtered().await {
                    Ok(batch) => {
                        (self.handed_out, self.n_troubles) = (Instant::now(), 0);
                        return Ok(Some(batch));
                    }
                    Err(trouble) => trouble,
                }
            } else if let Some(error) = self.failed.take() {
                return Err(error);
            } else if self.is_done() {
                return Ok(None);
            } else if self.session.is_none() && self.reading.is_none() {
                self.reconnect().await?;
                continue;
            } else {
                match self.read().await {
                    Ok(()) => continue,
                    Err(trouble) => trouble,
                }
            };
            self.stumble(trouble).await?;
        }
    }
}

fn capture(settings: &MysqlSettings) -> Capture {
    Capture {
        tables: settings.tables.clone(),
        zone: settings.zone.clone(),
        batch_changes_max: settings.batch_changes_max,
        batch_bytes_max: settings.batch_bytes_max,
        damaged: walk::DAMAGED,
        later: "begin behind it (start = \"now\", or a GTID set) with a new history",
    }
}
