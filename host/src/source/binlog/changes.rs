//! The batch being made, and the source transaction in hand.
//!
//! A transaction's changes count only when it ends; what a batch holds beyond its mark is cut away where it must not be
//! handed out. A transaction that is larger than a batch goes out in parts, each with its count of changes done.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::frame::{Bytes, Short};
use super::header::{self, Payload, kind};
use super::log::Placed;
use super::row::{self, Column};
use super::statement::{self, Statement};
use super::table_map::{ShapeError, TableMap};
use crate::civil::Zone;
use crate::event::{Batch, Gtid, Op, RowChange, TableSchema, Transaction};
use crate::rows::Rows;
use crate::source::{SourceError, TableFilter};

/// What an event asks of the walk over the log.
pub enum Step<'a> {
    Next,
    Unpack(Payload<'a>),
    Rotate(String),
    /// The server stopped here.
    Stopped,
    Committed,
    RolledBack,
    /// The batch must end before this transaction, which is then read again.
    Reread,
}

/// What is captured, and how much at once.
pub struct Capture {
    pub tables: TableFilter,
    /// The zone whose wall clock DATETIME columns show.
    pub zone: Zone,
    pub batch_changes_max: usize,
    /// Memory of a batch's images.
    pub batch_bytes_max: usize,
    /// What to do where the log is damaged, and how to begin behind a place: ends of messages.
    pub damaged: &'static str,
    pub later: &'static str,
}

/// How much of the next transaction is done: row changes, and the CRC-32 of the last one's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    pub skip: u64,
    pub crc: u32,
}

pub struct Changes {
    capture: Capture,
    log_name: Arc<str>,
    batch: Batch,
    /// How much of the batch belongs to whole transactions.
    mark: Mark,
    /// Where the transaction in hand begins, or the next one will.
    begin: u64,
    /// Whether the place behind the last whole transaction is another one than was handed out.
    moved: bool,
    transaction: Option<InHand>,
    /// Changes of the first transaction to pass over: they were handed out before.
    done: Part,
    /// Commit time of the last whole transaction, microseconds since 1970, UTC.
    committed_us: Option<i64>,
    /// Table maps by table id.
    maps: FxHashMap<u64, Mapped>,
}

#[derive(Default)]
struct Mark {
    changes: usize,
    transactions: usize,
    rows: Vec<usize>,
}

/// The transaction being read.
#[derive(Default)]
struct InHand {
    /// BEGIN was met: it lasts until XID, COMMIT or ROLLBACK.
    begun: bool,
    gtid: Option<Gtid>,
    /// Commit time, UTC, and as a wall clock; the row event's own where the GTID event has none.
    commit_us: Option<i64>,
    time_us: Option<i64>,
    /// Row changes of captured tables so far, and the CRC-32 of the last one's bytes.
    n_rows: u64,
    crc: u32,
    /// It has an entry in the batch.
    listed: bool,
}

struct Mapped {
    /// The event's bytes: an equal map needs no second parse.
    raw: Vec<u8>,
    name: String,
    /// Position in the batch's tables and the columns; none where the table is not captured.
    captured: Option<(u32, Arc<[Column]>)>,
}

/// Why an event's rows cannot be taken.
enum Flaw {
    Short,
    /// The image carries no column.
    NoColumns,
    /// A resumed transaction is not the one that was begun.
    OtherLog,
}

impl From<Short> for Flaw {
    fn from(_: Short) -> Self {
        Flaw::Short
    }
}

const OTHER_LOG: &str = "the changes before this place are not those that the checkpoint counted; the log is another one. Start a new history";

impl Changes {
    pub fn new(capture: Capture) -> Self {
        Changes {
            capture,
            log_name: Arc::default(),
            batch: Batch::default(),
            mark: Mark::default(),
            begin: 0,
            moved: false,
            transaction: None,
            done: Part::default(),
            committed_us: None,
            maps: FxHashMap::default(),
        }
    }

    /// The same where these tables were met before.
    pub fn with_tables(capture: Capture, tables: Vec<Arc<TableSchema>>) -> Self {
        let mut changes = Changes::new(capture);
        changes.batch.images = tables.iter().map(|table| Rows::new(table.fields.len())).collect();
        changes.mark.rows = vec![0; tables.len()];
        changes.batch.tables = tables;
        changes
    }

    /// The tables met so far.
    pub fn tables(&self) -> &[Arc<TableSchema>] {
        &self.batch.tables
    }

    /// Begins where this much of the next transaction is done: a place that need not be handed out again.
    pub fn resume(&mut self, done: Part) {
        self.done = done;
        self.moved = false;
    }

    /// Reading goes on in this log, from this place on: its first one, or a next one.
    pub fn enter(&mut self, log_name: &str, begin: u64) {
        self.log_name = log_name.into();
        self.begin = begin;
        self.maps.clear();
    }

    /// The same where a log was left behind: a place worth handing out.
    pub fn reached(&mut self, log_name: &str, begin: u64) {
        self.enter(log_name, begin);
        self.moved = true;
    }

    /// Forgets what was read of the transaction in hand: it will come again, from its beginning.
    pub fn rewind(&mut self) {
        self.cut();
        self.transaction = None;
        self.maps.clear();
    }

    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Of the transaction in hand.
    pub fn gtid(&self) -> Option<&Gtid> {
        self.transaction.as_ref()?.gtid.as_ref()
    }

    /// Commit time of the last whole transaction, microseconds since 1970, UTC.
    pub fn committed_us(&self) -> Option<i64> {
        self.committed_us
    }

    /// Whether whole transactions with changes are at hand.
    pub fn has_whole(&self) -> bool {
        self.mark.changes > 0
    }

    /// Whether there is a place to hand out.
    pub fn has_moved(&self) -> bool {
        self.moved
    }

    /// Where the transaction in hand begins, or the next one will.
    pub fn begin(&self) -> u64 {
        self.begin
    }

    /// `the transaction at binlog.000001:4711 (gtid …)`
    pub fn transaction_name(&self) -> String {
        let gtid = self.transaction.as_ref().and_then(|transaction| transaction.gtid.as_ref());
        let gtid = gtid.map(|gtid| format!(" (gtid {gtid})")).unwrap_or_default();
        format!("the transaction at {}:{}{gtid}", self.log_name, self.begin)
    }

    /// The transaction in hand is whole; the next one begins at `begin`. Gives the GTID of the one that is done.
    pub fn commit(&mut self, begin: u64) -> Result<Option<Gtid>, SourceError> {
        // What was done before is passed over in the first transaction, which has it all.
        if std::mem::take(&mut self.done).skip > self.transaction.as_ref().map_or(0, |transaction| transaction.n_rows) {
            return Err(self.stop(begin, OTHER_LOG));
        }
        let transaction = self.transaction.take().unwrap_or_default();
        self.committed_us = transaction.commit_us.or(self.committed_us);
        self.mark.changes = self.batch.changes.len();
        self.mark.transactions = self.batch.transactions.len();
        self.mark.rows.clear();
        self.mark.rows.extend(self.batch.images.iter().map(Rows::len));
        self.begin = begin;
        self.moved = true;
        Ok(transaction.gtid)
    }

    pub fn roll_back(&mut self, begin: u64) -> Result<Option<Gtid>, SourceError> {
        if self.done.skip > 0 {
            return Err(SourceError::Stop(format!(
                "{} was rolled back after a part of it was handed out; raise limits.batch above its size and start a new history",
                self.transaction_name()
            )));
        }
        self.cut();
        self.commit(begin)
    }

    /// Whether it is time to hand out: enough whole transactions, or one transaction larger than a batch.
    pub fn is_full(&self) -> bool {
        let changes_max = self.capture.batch_changes_max;
        let too_large = || self.batch.size_bytes() >= self.capture.batch_bytes_max;
        if self.in_transaction() {
            let own = self.batch.changes.len() - self.mark.changes;
            own > changes_max || (own > 0 && too_large())
        } else {
            self.mark.changes >= changes_max || too_large()
        }
    }

    /// Everything up to the last whole transaction; none where nothing is new.
    pub fn hand_out_whole(&mut self) -> Option<(Batch, Part)> {
        self.cut();
        if self.mark.changes == 0 && !self.moved {
            return None;
        }
        self.transaction = None;
        Some(self.hand_out(Part::default()))
    }

    /// The same with the part of the transaction in hand that was read.
    pub fn hand_out_all(&mut self) -> Option<(Batch, Part)> {
        let Some(transaction) = &mut self.transaction else { return self.hand_out_whole() };
        transaction.listed = false;
        self.done = Part { skip: transaction.n_rows, crc: transaction.crc };
        Some(self.hand_out(self.done))
    }

    fn hand_out(&mut self, part: Part) -> (Batch, Part) {
        let images = self.batch.tables.iter().map(|table| Rows::new(table.fields.len())).collect();
        let next = Batch { tables: self.batch.tables.clone(), images, ..Batch::default() };
        let mut batch = std::mem::replace(&mut self.batch, next);
        batch.committed_us = self.committed_us;
        self.mark = Mark { rows: vec![0; self.batch.tables.len()], ..Mark::default() };
        self.moved = false;
        (batch, part)
    }

    /// Forgets what belongs to no whole transaction.
    fn cut(&mut self) {
        self.batch.changes.truncate(self.mark.changes);
        self.batch.transactions.truncate(self.mark.transactions);
        for (i, images) in self.batch.images.iter_mut().enumerate() {
            images.truncate(self.mark.rows.get(i).copied().unwrap_or(0));
        }
    }

    /// Takes one event in.
    pub fn step<'a>(&mut self, placed: &Placed<'a>) -> Result<Step<'a>, SourceError> {
        let event = &placed.event;
        let short =
            |_: Short| self.stop(placed.at, &format!("the event is shorter than its format; {}", self.capture.damaged));
        match event.kind {
            kind::GTID | kind::ANONYMOUS_GTID | kind::GTID_TAGGED => {
                if self.in_transaction() {
                    return Err(self.stop(
                        placed.at,
                        &format!(
                            "another transaction begins here, before {} has ended; {}",
                            self.transaction_name(),
                            self.capture.damaged
                        ),
                    ));
                }
                let header::GtidEvent { gtid, commit_us } = header::gtid(event).map_err(short)?;
                let time_us = commit_us.map(|instant| self.capture.zone.wall_clock(instant));
                self.transaction = Some(InHand { gtid, commit_us, time_us, ..InHand::default() });
                Ok(Step::Next)
            }
            kind::TABLE_MAP => self.table_map(placed),
            kind::WRITE_ROWS | kind::WRITE_ROWS_V1 => self.rows(placed, Op::Create),
            kind::UPDATE_ROWS | kind::UPDATE_ROWS_V1 => self.rows(placed, Op::Update),
            kind::DELETE_ROWS | kind::DELETE_ROWS_V1 => self.rows(placed, Op::Delete),
            kind::XID => Ok(Step::Committed),
            kind::QUERY => {
                let (database, text) = header::query(event.body).map_err(short)?;
                self.query(placed.at, &String::from_utf8_lossy(database), text)
            }
            kind::TRANSACTION_PAYLOAD => Ok(Step::Unpack(header::payload(event.body).map_err(short)?)),
            kind::ROTATE => {
                let name = event.body.get(8..).unwrap_or_default();
                Ok(Step::Rotate(String::from_utf8_lossy(name).into_owned()))
            }
            kind::STOP => Ok(Step::Stopped),
            kind::XA_PREPARE => self.xa_prepare(placed),
            kind::PARTIAL_UPDATE_ROWS => self.partial_update(placed),
            kind::INCIDENT => Err(self.stop(
                placed.at,
                "an INCIDENT: the server lost changes before it could log them. Compare the source with the history, and start a new history from a snapshot",
            )),
            kind::FORMAT_DESCRIPTION | kind::PREVIOUS_GTIDS | kind::ROWS_QUERY | kind::HEARTBEAT | 41 => Ok(Step::Next),
            // Values for a statement's replay; the statement itself decides. Group replication's own notes.
            kind::INTVAR | kind::RAND | kind::USER_VAR | 28 | 36 | 37 => Ok(Step::Next),
            mariadb if mariadb >= kind::MARIADB_FIRST => Err(SourceError::Unfit(format!(
                "{}:{}: an event of type {mariadb}, which only MariaDB writes; hindsight reads MySQL's binlog (8.0.14 and later)",
                self.log_name, placed.at
            ))),
            _ if event.flags & header::FLAG_IGNORABLE != 0 => Ok(Step::Next),
            unknown => Err(self.stop(placed.at, &format!("an event of type {unknown} is not known; it may hold changes. Use a newer version of hindsight"))),
        }
    }

    fn query<'a>(&mut self, at: u64, database: &str, text: &[u8]) -> Result<Step<'a>, SourceError> {
        let begun = self.transaction.as_ref().is_some_and(|transaction| transaction.begun);
        match statement::classify(text, database, &self.capture.tables) {
            Statement::Begin | Statement::XaStart => {
                self.transaction.get_or_insert_default().begun = true;
                Ok(Step::Next)
            }
            Statement::Commit => Ok(Step::Committed),
            Statement::Rollback => Ok(Step::RolledBack),
            Statement::Savepoint => Ok(Step::Next),
            Statement::Destroys(table) => {
                let text = String::from_utf8_lossy(text);
                let shown: String = text.chars().take(200).collect();
                Err(self.stop(
                    at,
                    &format!(
                        "the captured table {table} is changed by a statement, not by rows: `{shown}`. Its rows are not in the log. \
                         If it is DML, set binlog_format=ROW on the source; then start a new history after this statement"
                    ),
                ))
            }
            Statement::XaOther | Statement::Other if begun => Ok(Step::Next),
            // A statement that commits by itself.
            Statement::XaOther | Statement::Other => Ok(Step::Committed),
        }
    }

    /// One phase: it is the commit. Two phases: what becomes of the rows is written elsewhere.
    fn xa_prepare<'a>(&mut self, placed: &Placed<'a>) -> Result<Step<'a>, SourceError> {
        let one_phase = placed.event.body.first() == Some(&1);
        let has_rows = self.transaction.as_ref().is_some_and(|transaction| transaction.n_rows > 0);
        if has_rows && !one_phase {
            let table =
                self.batch.changes.last().map(|change| self.batch.schema(change).name.clone()).unwrap_or_default();
            return Err(self.stop(
                placed.at,
                &format!("XA PREPARE of a transaction with rows of {table}: whether they are committed stands elsewhere. XA transactions on captured tables are not supported; use plain ones"),
            ));
        }
        Ok(Step::Committed)
    }

    fn partial_update<'a>(&mut self, placed: &Placed<'a>) -> Result<Step<'a>, SourceError> {
        let id = Bytes(placed.event.body).le(6).unwrap_or_default();
        match self.maps.get(&id) {
            Some(Mapped { captured: None, .. }) => Ok(Step::Next),
            map => Err(self.stop(
                placed.at,
                &format!(
                    "an update of {} is logged in part (PARTIAL_UPDATE_ROWS); set binlog_row_value_options='' on the source and start a new history after it",
                    map.map_or("a table", |map| map.name.as_str())
                ),
            )),
        }
    }

    fn table_map<'a>(&mut self, placed: &Placed<'a>) -> Result<Step<'a>, SourceError> {
        let raw = placed.event.body;
        let mut body = Bytes(raw);
        let damaged = &format!("the table map is damaged; {}", self.capture.damaged);
        let id = body.le(6).and_then(|id| body.take(2).map(|_| id)).map_err(|_| self.stop(placed.at, damaged))?;
        if self.maps.get(&id).is_some_and(|map| map.raw == raw) {
            return Ok(Step::Next);
        }
        let map = TableMap::parse(body.0).map_err(|_| self.stop(placed.at, damaged))?;
        let (database, table) = (String::from_utf8_lossy(map.database), String::from_utf8_lossy(map.table));
        let name = format!("{database}.{table}");
        let mut captured = None;
        if self.capture.tables.matches(&database, &table) {
            let shape = map.shape(name.clone()).map_err(|error| self.shapeless(placed.at, &name, error))?;
            let known = self.batch.tables.iter().position(|known| known.name == name);
            let index = match known {
                Some(index) if *self.batch.tables[index] == shape.schema => index,
                Some(_) if self.mark.changes > 0 => return Ok(Step::Reread),
                Some(index) if self.batch.changes.iter().any(|change| change.table as usize == index) => {
                    return Err(self.stop(
                        placed.at,
                        &format!(
                            "{name} takes another shape inside a transaction, which no server writes; {}",
                            self.capture.damaged
                        ),
                    ));
                }
                Some(index) => {
                    self.batch.images[index] = Rows::new(shape.schema.fields.len());
                    self.batch.tables[index] = Arc::new(shape.schema);
                    // Under other table ids the table may still have its old shape.
                    self.maps.retain(|_, map| map.captured.as_ref().is_none_or(|(table, _)| *table as usize != index));
                    index
                }
                None => {
                    self.batch.images.push(Rows::new(shape.schema.fields.len()));
                    self.batch.tables.push(Arc::new(shape.schema));
                    self.mark.rows.push(0);
                    self.batch.tables.len() - 1
                }
            };
            captured = Some((index as u32, shape.columns.into()));
        }
        self.maps.insert(id, Mapped { raw: raw.to_vec(), name, captured });
        Ok(Step::Next)
    }

    fn rows<'a>(&mut self, placed: &Placed<'a>, op: Op) -> Result<Step<'a>, SourceError> {
        let mut body = Bytes(placed.event.body);
        let Ok(id) = body.le(6) else { return Err(self.stop(placed.at, "the rows event is too short")) };
        let Some(map) = self.maps.get(&id) else {
            return Err(self.stop(
                placed.at,
                &format!("rows of table id {id} without a table map before them; the file is damaged or was cut"),
            ));
        };
        let Some((table, columns)) = map.captured.clone() else { return Ok(Step::Next) };
        let Err(flaw) = self.decode(placed, body, op, table, &columns) else { return Ok(Step::Next) };
        let name = &self.batch.tables[table as usize].name;
        let text = match flaw {
            Flaw::OtherLog => OTHER_LOG.to_owned(),
            Flaw::Short => {
                format!("a row of {name} is shorter than its table map says; {}", self.capture.damaged)
            }
            Flaw::NoColumns => format!(
                "a row image of {name} has no column at all; set binlog_row_image=FULL on the source and {}",
                self.capture.later
            ),
        };
        Err(self.stop(placed.at, &text))
    }

    /// Decodes an event's rows.
    fn decode(
        &mut self,
        placed: &Placed<'_>,
        mut body: Bytes<'_>,
        op: Op,
        table: u32,
        columns: &[Column],
    ) -> Result<(), Flaw> {
        let event = &placed.event;
        body.take(2)?;
        if event.kind >= kind::WRITE_ROWS {
            let extra = body.le(2)? as usize;
            body.take(extra.checked_sub(2).ok_or(Short)?)?;
        }
        if body.lenenc()? != columns.len() as u64 {
            return Err(Flaw::Short);
        }
        let mut bitmap = || {
            let bits = body.take(columns.len().div_ceil(8))?;
            let mut present = (0..columns.len()).filter(|&i| row::bit(bits, i));
            // Rows without a byte cannot be counted: binlog_row_image=MINIMAL writes such for a row of defaults.
            present.next().ok_or(Flaw::NoColumns)?;
            Ok::<_, Flaw>((bits, present.count() + 1 == columns.len()))
        };
        let first = bitmap()?;
        let second = if op == Op::Update { bitmap()? } else { first };
        let transaction = self.transaction.get_or_insert_default();
        let header_us = i64::from(event.timestamp) * 1_000_000;
        transaction.commit_us.get_or_insert(header_us);
        let time_us = *transaction.time_us.get_or_insert_with(|| self.capture.zone.wall_clock(header_us));
        let images = table as usize;
        let mut last = body.0;
        while !body.0.is_empty() {
            last = body.0;
            let rows = &mut self.batch.images[images];
            let zone = &self.capture.zone;
            let one = row::decode(&mut body, columns, first.0, first.1, zone, rows)?;
            let two = match op {
                Op::Update => Some(row::decode(&mut body, columns, second.0, second.1, zone, rows)?),
                _ => None,
            };
            last = &last[..last.len() - body.0.len()];
            transaction.n_rows += 1;
            if transaction.n_rows <= self.done.skip {
                if transaction.n_rows == self.done.skip && crc32fast::hash(last) != self.done.crc {
                    return Err(Flaw::OtherLog);
                }
                rows.truncate(one as usize);
                continue;
            }
            if !transaction.listed {
                transaction.listed = true;
                self.batch
                    .transactions
                    .push(Transaction { log: self.log_name.clone(), gtid: transaction.gtid.clone() });
            }
            let (before, after) = match op {
                Op::Create | Op::Read => (None, Some(one)),
                Op::Update => (Some(one), two),
                Op::Delete => (Some(one), None),
            };
            self.batch.push(RowChange { table, op, time_us, before, after, at: placed.at });
        }
        // Positions are handed out between events, so the last row's is the only one that is ever needed.
        transaction.crc = crc32fast::hash(last);
        Ok(())
    }

    fn shapeless(&self, at: u64, table: &str, error: ShapeError) -> SourceError {
        match error {
            ShapeError::Corrupt => {
                self.stop(at, &format!("the table map of {table} is damaged; {}", self.capture.damaged))
            }
            ShapeError::UnknownType(code) => self.stop(
                at,
                &format!("{table} has a column of type {code}, which is not known; use a newer version of hindsight"),
            ),
            ShapeError::Minimal => SourceError::Unfit(format!(
                "{}:{at}: {table} was written with binlog_row_metadata=MINIMAL: its column names and keys are not in the log. \
                 Run on the source: SET PERSIST binlog_row_metadata='FULL' (it holds for transactions from then on), and {}",
                self.log_name, self.capture.later
            )),
        }
    }

    fn stop(&self, at: u64, text: &str) -> SourceError {
        let gtid = self.transaction.as_ref().and_then(|transaction| transaction.gtid.as_ref());
        let gtid = gtid.map(|gtid| format!(" (gtid {gtid})")).unwrap_or_default();
        SourceError::Stop(format!("{}:{at}{gtid}: {text}", self.log_name))
    }
}
