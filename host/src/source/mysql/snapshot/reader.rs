//! The connections that read rows: one cuts a table into chunks, some read them, or one reads it whole in a view.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinSet;

use super::key::Key;
use super::statements::{self, Chunks};
use super::tables::Table;
use super::values;
use crate::civil::Zone;
use crate::rows::Rows;
use crate::source::mysql::GtidSet;
use crate::source::mysql::connect::{Server, Unusable};

/// What is read, and how.
#[derive(Clone)]
pub struct Order {
    pub server: Server,
    pub table: Arc<Table>,
    pub zone: Zone,
    pub high: High,
    pub chunk_rows: usize,
    pub readers: usize,
    pub pace: Arc<Pace>,
    pub opened: Opened,
}

/// How the high watermark is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum High {
    Status,
    Place(&'static str),
}

/// Up to where rows that were just read may hold the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    Gtids(GtidSet),
    /// A file's name and a place in it.
    Place(String, u64),
}

/// A range of keys.
#[derive(Clone, Debug)]
pub struct Range {
    pub from: Option<Key>,
    pub to: Option<Key>,
}

impl Range {
    pub fn has(&self, key: &Key) -> bool {
        self.from.as_ref().is_none_or(|from| key.cmp_known(from).is_ge())
            && self.to.as_ref().is_none_or(|to| key.cmp_known(to).is_lt())
    }
}

/// The low watermarks of chunks that are open: what is behind all of them need not be remembered of the log.
#[derive(Clone)]
pub struct Opened(Arc<std::sync::Mutex<Lows>>);

struct Lows {
    /// The last one that was read. On one server they only grow.
    last: GtidSet,
    n_opened: u64,
    open: BTreeMap<u64, GtidSet>,
}

impl Opened {
    pub fn new(low: GtidSet) -> Self {
        Opened(Arc::new(std::sync::Mutex::new(Lows { last: low, n_opened: 0, open: BTreeMap::new() })))
    }

    /// Before the low watermark is asked for: it will be the last one or more.
    fn open(&self) -> u64 {
        let mut lows = self.0.lock().expect("nothing panics with it");
        lows.n_opened += 1;
        let (number, last) = (lows.n_opened, lows.last.clone());
        lows.open.insert(number, last);
        number
    }

    fn at(&self, number: u64, low: &GtidSet) {
        let mut lows = self.0.lock().expect("nothing panics with it");
        lows.open.insert(number, low.clone());
        lows.last = low.clone();
    }

    pub fn close(&self, number: u64) {
        self.0.lock().expect("nothing panics with it").open.remove(&number);
    }

    /// In all of them.
    pub fn floor(&self) -> GtidSet {
        let lows = self.0.lock().expect("nothing panics with it");
        let least = lows.open.values().fold(&lows.last, |least, low| if low.is_subset_of(least) { low } else { least });
        least.clone()
    }
}

/// What the readers tell.
pub enum Read {
    Chunk {
        range: Range,
        low: GtidSet,
        mark: Mark,
        rows: Rows,
        /// When it was begun, as a wall clock in the source's time zone.
        time_us: i64,
        /// See [`Opened`].
        opened: u64,
    },
    /// A read view was opened between these; the answer says whether its rows are wanted, or another view.
    View { low: GtidSet, mark: Mark, time_us: i64, wanted: oneshot::Sender<bool> },
    /// Some of the view's rows.
    Rows(Rows),
}

type Told = mpsc::Sender<Result<Read, Unusable>>;

/// Rows a second, by all readers together.
pub struct Pace {
    rows_per_second: Option<u64>,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    pub fn new(rows_per_second: Option<u64>) -> Self {
        Pace { rows_per_second, next: Mutex::new(None) }
    }

    /// Waits until so many rows more may be read.
    async fn take(&self, rows: usize) {
        let Some(per_second) = self.rows_per_second else { return };
        let until = {
            let mut next = self.next.lock().await;
            let begin = next.unwrap_or_else(Instant::now).max(Instant::now());
            *next = Some(begin + Duration::from_secs_f64(rows as f64 / per_second as f64));
            begin
        };
        tokio::time::sleep_until(until.into()).await;
    }
}

/// Reads the ranges in chunks, in the order of this index, and ends with them or when nobody listens any more.
pub async fn chunks(order: Order, index: String, columns: Vec<usize>, ranges: Vec<Range>, told: Told) {
    let (planned, plan) = mpsc::channel(order.readers);
    let plan = Arc::new(Mutex::new(plan));
    let shared = Arc::new((order, index, columns));
    // They end with this task.
    let mut tasks = JoinSet::new();
    for _ in 0..shared.0.readers {
        let (shared, plan, told) = (shared.clone(), plan.clone(), told.clone());
        tasks.spawn(async move {
            let (order, index, columns) = &*shared;
            if let Err(unusable) = read_planned(order, index, columns, &plan, &told).await {
                // Where nobody listens it ends anyway.
                let _ = told.send(Err(unusable)).await;
            }
        });
    }
    let (order, index, columns) = &*shared;
    if let Err(unusable) = cut(order, index, columns, ranges, planned).await {
        let _ = told.send(Err(unusable)).await;
    }
    tasks.join_all().await;
}

/// Walks over the index from boundary to boundary.
async fn cut(
    order: &Order,
    index: &str,
    columns: &[usize],
    ranges: Vec<Range>,
    planned: mpsc::Sender<Range>,
) -> Result<(), Unusable> {
    let chunks = Chunks { table: &order.table, index, columns };
    let mut reader = Reader::connect(order).await?;
    for Range { from, to } in ranges {
        let mut from = from;
        loop {
            let mut boundary = reader.key(&chunks, &chunks.boundary(from.as_ref(), order.chunk_rows)).await?;
            if let (Some(found), Some(from)) = (&boundary, &from)
                && found.cmp_known(from).is_le()
            {
                // One key has more rows than a chunk: they stay together.
                boundary = reader.key(&chunks, &chunks.next(from)).await?;
            }
            let ends = |found: &Key| to.as_ref().is_some_and(|to| found.cmp_known(to).is_ge());
            let next = boundary.filter(|found| !ends(found));
            let range = Range { from, to: next.clone().or_else(|| to.clone()) };
            if planned.send(range).await.is_err() {
                return Ok(());
            }
            match next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
    }
    Ok(())
}

async fn read_planned(
    order: &Order,
    index: &str,
    columns: &[usize],
    plan: &Mutex<mpsc::Receiver<Range>>,
    told: &Told,
) -> Result<(), Unusable> {
    let chunks = Chunks { table: &order.table, index, columns };
    let mut reader = Reader::connect(order).await?;
    loop {
        let Some(range) = plan.lock().await.recv().await else { return Ok(()) };
        order.pace.take(order.chunk_rows).await;
        let opened = order.opened.open();
        let (low, time_us) = reader.low().await?;
        order.opened.at(opened, &low);
        let mut rows = Rows::new(order.table.columns.len());
        let mut reading = reader.rows(&chunks.rows(range.from.as_ref(), range.to.as_ref())).await?;
        while let Some(row) = reading.next().await.map_err(|error| altered(order, &error))? {
            order.push(&row, &mut rows)?;
        }
        drop(reading);
        let mark = reader.high().await?;
        if told.send(Ok(Read::Chunk { range, low, mark, rows, time_us, opened })).await.is_err() {
            return Ok(());
        }
    }
}

/// Reads the table whole: a view that is wanted, and its rows in pieces.
pub async fn whole(order: Order, told: Told) {
    if let Err(unusable) = read_whole(&order, &told).await {
        let _ = told.send(Err(unusable)).await;
    }
}

async fn read_whole(order: &Order, told: &Told) -> Result<(), Unusable> {
    let mut reader = Reader::connect(order).await?;
    loop {
        let (low, time_us) = reader.low().await?;
        reader.conn.query_drop(statements::OPEN_VIEW).await.map_err(|error| order.server.unusable(&error))?;
        let mark = reader.high().await?;
        let (wanted, is_wanted) = oneshot::channel();
        if told.send(Ok(Read::View { low, mark, time_us, wanted })).await.is_err() {
            return Ok(());
        }
        match is_wanted.await {
            Ok(true) => break,
            Ok(false) => reader.conn.query_drop("ROLLBACK").await.map_err(|error| order.server.unusable(&error))?,
            Err(_) => return Ok(()),
        }
    }
    let width = order.table.columns.len();
    let mut reading = reader.rows(&statements::all_rows(&order.table)).await?;
    loop {
        order.pace.take(order.chunk_rows).await;
        let mut rows = Rows::new(width);
        while rows.len() < order.chunk_rows {
            let Some(row) = reading.next().await.map_err(|error| altered(order, &error))? else { break };
            order.push(&row, &mut rows)?;
        }
        let is_last = rows.len() < order.chunk_rows;
        if told.send(Ok(Read::Rows(rows))).await.is_err() || is_last {
            return Ok(());
        }
    }
}

impl Order {
    fn push(&self, row: &Row, rows: &mut Rows) -> Result<(), Unusable> {
        values::push(row, &self.table.columns, &self.zone, rows).map_err(|unlike| {
            let field = &self.table.schema.fields[unlike.column];
            Unusable::Refused(format!(
                "source {} sent {} for column {}.{} ({}), which does not hold such values: the table was altered while its \
                 rows were read. Start again",
                self.server.name, unlike.sent, self.table.schema.name, field.name, field.declared
            ))
        })
    }
}

/// How an account learns the high watermark: by a look at whether it may.
pub async fn how_high(server: &Server) -> Result<High, Unusable> {
    let failed = |error: &Error| server.unusable(error);
    let mut conn = server.connect().await?;
    match conn.query_drop(statements::HIGH_STATUS).await {
        Ok(()) => return Ok(High::Status),
        // Not allowed, or nothing to be allowed: 1142, 1227; 1146 without the performance schema.
        Err(Error::Server(_)) => {}
        Err(error) => return Err(failed(&error)),
    }
    match conn.query_drop(statements::HIGH_PLACE).await {
        Ok(()) => Ok(High::Place(statements::HIGH_PLACE)),
        Err(Error::Server(error)) if error.code == SYNTAX => Ok(High::Place(statements::HIGH_PLACE_OLD)),
        Err(error) => Err(failed(&error)),
    }
}

/// The server does not know a statement.
const SYNTAX: u16 = 1064;

/// A connection that reads rows.
struct Reader<'a> {
    conn: Conn,
    order: &'a Order,
}

impl<'a> Reader<'a> {
    async fn connect(order: &'a Order) -> Result<Self, Unusable> {
        let mut conn = order.server.connect().await?;
        conn.query_drop(statements::SESSION).await.map_err(|error| order.server.unusable(&error))?;
        Ok(Reader { conn, order })
    }

    /// The low watermark, and when that was, as a wall clock in the source's time zone.
    async fn low(&mut self) -> Result<(GtidSet, i64), Unusable> {
        let server = &self.order.server;
        let row: Option<Row> =
            self.conn.exec_first(statements::LOW, ()).await.map_err(|error| server.unusable(&error))?;
        let read = row.and_then(|row| {
            let executed: String = row.get(0)?;
            Some((executed.parse().ok()?, values::now(row.as_ref(1)?, &self.order.zone)?))
        });
        read.ok_or_else(|| not_understood(server, statements::LOW))
    }

    async fn high(&mut self) -> Result<Mark, Unusable> {
        let server = &self.order.server;
        let failed = |error: Error| server.unusable(&error);
        match self.order.high {
            High::Status => {
                let executed: Option<String> = self.conn.query_first(statements::HIGH_STATUS).await.map_err(failed)?;
                let executed = executed.and_then(|executed| executed.parse().ok());
                executed.map(Mark::Gtids).ok_or_else(|| not_understood(server, statements::HIGH_STATUS))
            }
            High::Place(statement) => {
                let row: Option<Row> = self.conn.query_first(statement).await.map_err(failed)?;
                let place = row.and_then(|row| Some(Mark::Place(row.get(0)?, row.get(1)?)));
                place.ok_or_else(|| not_understood(server, statement))
            }
        }
    }

    async fn key(&mut self, chunks: &Chunks<'_>, statement: &str) -> Result<Option<Key>, Unusable> {
        let row: Option<Row> =
            self.conn.exec_first(statement, ()).await.map_err(|error| altered(self.order, &error))?;
        let Some(row) = row else { return Ok(None) };
        values::key(&row, chunks).map(Some).ok_or_else(|| not_understood(&self.order.server, statement))
    }

    async fn rows(
        &mut self,
        statement: &str,
    ) -> Result<mysql_async::QueryResult<'_, 'static, mysql_async::BinaryProtocol>, Unusable> {
        self.conn.exec_iter(statement, ()).await.map_err(|error| altered(self.order, &error))
    }
}

fn not_understood(server: &Server, statement: &str) -> Unusable {
    Unusable::Refused(format!("source {} gives an answer to `{statement}` that is not understood", server.name))
}

/// What an error of a statement that reads the table means.
fn altered(order: &Order, error: &Error) -> Unusable {
    match error {
        // No such table, column, key; a definition that is newer than the view.
        Error::Server(server) if [1146, 1051, 1054, 1176, 1412].contains(&server.code) => Unusable::Refused(format!(
            "{} was altered while its rows were read: {} (error {}). Start again: it is read as it is now",
            order.table.schema.name, server.message, server.code
        )),
        _ => order.server.unusable(error),
    }
}
