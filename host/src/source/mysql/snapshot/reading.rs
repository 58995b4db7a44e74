//! The phase in which rows are read: chunk by chunk, each brought to its high watermark by what the log says meanwhile.
//!
//! Readers say what they have read; the log is followed only as far as a chunk needs it. A chunk is a batch, so that all of
//! it is handed out or none, and the place that goes with it says so. A table that is read whole goes out in pieces: all
//! entities at once that the log did not touch while the view was opened, the others at the end.

use std::sync::Arc;

use mysql_async::Row as Sent;
use mysql_async::prelude::Queryable;
use rustc_hash::FxHashSet;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::info;

use super::progress::{Chunk, Progress, Stage};
use super::reader::{self, High, Mark, Opened, Order, Pace, Range, Read};
use super::tables::{self, Collation, Cut, Table};
use super::weights::{KeyColumns, Weights};
use super::window::{self, Span, Window};
use super::{statements, values};
use crate::event::{self, Batch, Change, Op, Sides, Snapshot, TableSchema, Transaction};
use crate::rows::{Row, Rows};
use crate::source::SourceError;
use crate::source::mysql::connect::Unusable;
use crate::source::mysql::position::Place;
use crate::source::mysql::session::Session;
use crate::source::mysql::walk::{Taken, Walk};
use crate::source::mysql::{GtidSet, MysqlSettings, Trouble, capture};

/// Chunks that wait for their watermark, beside those that are being read.
const WAITING: usize = 1;

/// Views that are opened to find one that nothing changed its table meanwhile, where no key tells rows apart.
const VIEWS_MAX: u32 = 1000;

/// Reads what a place says is still to be read.
pub struct Reading {
    settings: MysqlSettings,
    session: Session,
    /// The log since this session began.
    walk: Walk,
    window: Window,
    weights: Weights,
    high: High,
    pace: Arc<Pace>,
    opened: Opened,
    /// All that are captured, and of each the entity key, as positions in its fields.
    tables: Vec<Arc<Table>>,
    schemas: Vec<Arc<TableSchema>>,
    entity_keys: Vec<Vec<usize>>,
    cut_by: Option<Arc<[String]>>,
    current: Option<Current>,
    /// When rows were read last, as a wall clock in the source's time zone.
    time_us: i64,
    /// That the history begins anew, while it is not handed out.
    news: Option<Snapshot>,
}

/// The table that is being read.
struct Current {
    /// Position in [`Progress::tables`], and in [`Reading::tables`].
    progress: usize,
    table: usize,
    /// The columns that its chunks are cut by.
    key: Vec<usize>,
    collations: Vec<Option<Collation>>,
    told: mpsc::Receiver<Result<Read, Unusable>>,
    task: AbortHandle,
    view: Option<View>,
    n_views: u32,
}

/// A view between two watermarks.
struct View {
    low: GtidSet,
    high: GtidSet,
    time_us: i64,
    /// Entities that the log changed between them, and their rows so far.
    touched: FxHashSet<Box<[u8]>>,
    held: Rows,
}

impl Drop for Current {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reading {
    /// `session` follows the log from now on.
    pub async fn begin(settings: &MysqlSettings, mut session: Session) -> Result<Self, Trouble> {
        let failed = |error: mysql_async::Error| session.of.unusable(&error);
        let now: Option<Sent> = session.conn.exec_first(statements::LOW, ()).await.map_err(failed)?;
        let time_us = now.and_then(|row| values::now(row.as_ref(1)?, &settings.zone)).unwrap_or_default();
        let found = tables::captured(&mut session.conn, &settings.tables).await.map_err(failed)??;
        let tables: Vec<Arc<Table>> = found.into_iter().map(Arc::new).collect();
        let schemas: Vec<Arc<TableSchema>> = tables.iter().map(|table| table.schema.clone()).collect();
        let entity_keys = match schemas.is_empty() {
            true => Vec::new(),
            false => (settings.snapshot.entity_key)(&schemas).map_err(SourceError::Unfit)?,
        };
        let high = reader::how_high(&session.of).await?;
        let place = Place { gtids: session.executed.clone(), ..Place::default() };
        Ok(Reading {
            walk: Walk::new(capture(settings), place, &[]),
            window: Window::default(),
            weights: Weights::default(),
            high,
            pace: Arc::new(Pace::new(settings.snapshot.rows_per_second)),
            opened: Opened::new(session.executed.clone()),
            tables,
            cut_by: super::key_names(&schemas, &entity_keys),
            schemas,
            entity_keys,
            current: None,
            time_us,
            news: None,
            settings: settings.clone(),
            session,
        })
    }

    /// Every captured table.
    pub fn schemas(&self) -> &[Arc<TableSchema>] {
        &self.schemas
    }

    fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.schemas.iter().map(|schema| schema.name.clone())
    }

    /// The next rows, with the place moved behind them; none when all is read.
    pub async fn next(&mut self, place: &mut Place) -> Result<Option<Batch>, Trouble> {
        loop {
            if self.current.is_none() && !self.begin_table(place)? {
                return Ok(self.all_read(place));
            }
            if let Some(news) = self.news.take() {
                return Ok(Some(Batch { snapshot: Some(news), ..self.batch(place) }));
            }
            let current = self.current.as_mut().expect("begun above");
            let Some(read) = current.told.recv().await else {
                let batch = self.table_read(place).await?;
                if batch.is_some() {
                    return Ok(batch);
                }
                continue;
            };
            match read? {
                Read::Chunk { range, low, mark, rows, time_us, opened } => {
                    let high = self.follow(&mark).await?;
                    let rows = self.corrected(&range, Span { low: &low, high: &high }, rows).await?;
                    self.time_us = time_us;
                    self.opened.close(opened);
                    self.window.forget(&self.opened.floor());
                    let n_rows = rows.len() as u64;
                    let chunk = Chunk { from: range.from, to: range.to, high: high.minus(&place.gtids) };
                    let (current, progress) = self.current(place);
                    let table = current.table;
                    progress.add(chunk, n_rows);
                    return Ok(Some(self.rows(place, table, rows, time_us)));
                }
                Read::View { low, mark, time_us, wanted } => {
                    let high = self.follow(&mark).await?;
                    self.open_view(low, high, time_us, wanted)?;
                }
                Read::Rows(rows) => {
                    let batch = self.view_rows(place, rows);
                    if !batch.changes.is_empty() {
                        return Ok(Some(batch));
                    }
                }
            }
        }
    }

    /// False when every table is read.
    fn begin_table(&mut self, place: &mut Place) -> Result<bool, Trouble> {
        let snapshot = place.snapshot.as_mut().expect("a snapshot is being read");
        let is_left = |table: &super::progress::Table| matches!(table.stage, Stage::Asked | Stage::Reading);
        let Some(progress) = snapshot.tables.iter().position(is_left) else { return Ok(false) };
        let name = &snapshot.tables[progress].name;
        let Some(table) = self.schemas.iter().position(|schema| schema.name == *name) else {
            return Err(Trouble::Stop(SourceError::Stop(format!(
                "source {} has no table {name} any more, whose rows were being read. Start with a new history, or put it back",
                self.session.server
            ))));
        };
        let (found, entity_key) = (self.tables[table].clone(), &self.entity_keys[table]);
        let cut = found.cut(entity_key, self.settings.snapshot.consistent);
        let columns = match &cut {
            Cut::Chunks { columns, .. } => columns.clone(),
            Cut::Whole { .. } => Vec::new(),
        };
        let key: Vec<String> = columns.iter().map(|&column| found.schema.fields[column].name.clone()).collect();
        let begun = &snapshot.tables[progress];
        if begun.stage == Stage::Reading && (begun.key != key || key.is_empty()) {
            self.anew(place, progress);
            return self.begin_table(place);
        }
        let snapshot = place.snapshot.as_mut().expect("a snapshot is being read");
        let begun = &mut snapshot.tables[progress];
        begun.stage = Stage::Reading;
        begun.key = key;
        let (told, receiver) = mpsc::channel(WAITING);
        let order = Order {
            server: self.session.of.clone(),
            table: found.clone(),
            zone: self.settings.zone.clone(),
            high: self.high,
            chunk_rows: self.settings.snapshot.chunk_rows,
            readers: self.settings.snapshot.readers,
            pace: self.pace.clone(),
            opened: self.opened.clone(),
        };
        let task = match cut {
            Cut::Chunks { index, .. } => {
                let by = begun.key.join(", ");
                info!(table = begun.name, by, index, rows = found.rows, "reading the rows that are there, in chunks");
                let ranges = begun.gaps().into_iter().map(|(from, to)| Range { from, to }).collect();
                tokio::spawn(reader::chunks(order, index, columns.clone(), ranges, told))
            }
            Cut::Whole { why, remedy } => {
                let remedy = remedy.map(|sql| format!("; this avoids it: {sql}")).unwrap_or_default();
                info!(
                    table = begun.name,
                    rows = found.rows,
                    "reading the rows that are there, all in one read view, which begins anew when it is interrupted: {why}{remedy}"
                );
                tokio::spawn(reader::whole(order, told))
            }
        };
        let collations = columns.iter().map(|&column| found.collations[column].clone()).collect();
        let task = task.abort_handle();
        let current =
            Current { progress, table, key: columns, collations, told: receiver, task, view: None, n_views: 0 };
        self.current = Some(current);
        Ok(true)
    }

    /// What was read in part holds no more: a first snapshot begins with the whole history, another one with the table.
    fn anew(&mut self, place: &mut Place, progress: usize) {
        let snapshot = place.snapshot.as_mut().expect("a snapshot is being read");
        let name = snapshot.tables[progress].name.clone();
        if snapshot.again {
            info!(table = name, "the snapshot of this table begins anew: it was interrupted, and is read at one point");
            let table = &mut snapshot.tables[progress];
            (table.stage, table.rows) = (Stage::Asked, 0);
            table.done.clear();
            self.news = Some(Snapshot::AgainBegins);
        } else {
            info!(table = name, "the snapshot begins anew: it was interrupted, and this table is read at one point");
            let names: Vec<String> = self.names().collect();
            let gtids = self.session.executed.clone();
            *place = Place { gtids, snapshot: Some(Progress::asked(false, true, names)), ..Place::default() };
            self.news = Some(Snapshot::Anew);
        }
    }

    /// Follows the log up to a mark, and gives all that it has seen then.
    async fn follow(&mut self, mark: &Mark) -> Result<GtidSet, Trouble> {
        let Reading { walk, session, window, .. } = self;
        let is_reached = |walk: &Walk| match mark {
            Mark::Gtids(gtids) => gtids.is_subset_of(&walk.place.gtids),
            Mark::Place(file, at) => walk.has_reached(file, *at),
        };
        while walk.in_transaction() || !is_reached(walk) {
            let event = session.stream.wait(None).await?.expect("it waits as long as it takes");
            if walk.take(&event)? == Taken::Again {
                return Err(altered(&self.current, &self.schemas));
            }
            if walk.is_full() {
                window.extend(walk.hand_out_all());
            }
        }
        window.extend(walk.hand_out_whole());
        Ok(match mark {
            Mark::Gtids(gtids) => gtids.clone(),
            Mark::Place(..) => walk.place.gtids.clone(),
        })
    }

    /// A chunk's rows as they are at its high watermark.
    async fn corrected(&mut self, range: &Range, span: Span<'_>, rows: Rows) -> Result<Rows, Trouble> {
        let current = self.current.as_ref().expect("a chunk belongs to a table");
        let table = &self.tables[current.table];
        let changes = || self.window.changes(&table.schema.name, span);
        if changes().any(|(batch, change)| !same_columns(batch.schema(change), &table.schema)) {
            return Err(altered(&self.current, &self.schemas));
        }
        let key = KeyColumns { columns: &current.key, collations: &current.collations };
        let touched: Vec<Row<'_>> =
            changes().flat_map(|(batch, change)| window::sides(batch, change)).flatten().collect();
        self.weights.learn(&self.session.of, &touched, key).await?;
        let weights = &self.weights;
        let is_in = |row: Row<'_>| weights.key(row, key).is_some_and(|key| range.has(&key));
        let identity = table.identity().expect("a table in chunks has a key");
        let latest = window::latest(changes(), identity, is_in);
        Ok(if latest.is_empty() { rows } else { window::corrected(&rows, latest, identity) })
    }

    /// Takes the view if its rows can be brought to its high watermark.
    fn open_view(
        &mut self,
        low: GtidSet,
        high: GtidSet,
        time_us: i64,
        wanted: tokio::sync::oneshot::Sender<bool>,
    ) -> Result<(), Trouble> {
        let current = self.current.as_mut().expect("a view belongs to a table");
        let (table, entity_key) = (&self.tables[current.table], &self.entity_keys[current.table]);
        let span = Span { low: &low, high: &high };
        let mut touched = FxHashSet::default();
        for (batch, change) in self.window.changes(&table.schema.name, span) {
            if !same_columns(batch.schema(change), &table.schema) {
                return Err(altered(&self.current, &self.schemas));
            }
            let rows = window::sides(batch, change).into_iter().flatten();
            touched.extend(rows.map(|row| window::identify(row, entity_key)));
        }
        current.n_views += 1;
        if table.identity().is_none() && !touched.is_empty() {
            if current.n_views >= VIEWS_MAX {
                return Err(Trouble::Stop(SourceError::Stop(format!(
                    "{} has no primary key, and was changed during each of {VIEWS_MAX} looks at it: its rows cannot be told \
                     from those changes. Give it a primary key, or let nobody write to it while the snapshot begins",
                    table.schema.name
                ))));
            }
            self.window.forget(&low);
            // Where nobody listens the reader has failed, and says so itself.
            let _ = wanted.send(false);
            return Ok(());
        }
        let held = Rows::new(table.columns.len());
        current.view = Some(View { low, high, time_us, touched, held });
        let _ = wanted.send(true);
        Ok(())
    }

    /// Rows of the view: those of touched entities are held back.
    fn view_rows(&mut self, place: &mut Place, rows: Rows) -> Batch {
        let current = self.current.as_mut().expect("a view belongs to a table");
        let (table, entity_key) = (current.table, &self.entity_keys[current.table]);
        let view = current.view.as_mut().expect("rows come behind their view");
        let time_us = view.time_us;
        let rows = if view.touched.is_empty() {
            rows
        } else {
            let mut free = Rows::new(rows.width());
            for row in rows.iter() {
                let is_touched = view.touched.contains(&window::identify(row, entity_key));
                let into = if is_touched { &mut view.held } else { &mut free };
                into.push_row(row.values());
            }
            free
        };
        let (_, progress) = self.current(place);
        progress.rows += rows.len() as u64;
        Batch { is_within: true, ..self.rows(place, table, rows, time_us) }
    }

    /// The readers have ended: all rows are here.
    async fn table_read(&mut self, place: &mut Place) -> Result<Option<Batch>, Trouble> {
        let mut current = self.current.take().expect("it is being read");
        let view = current.view.take();
        let again = place.snapshot.as_ref().is_some_and(|snapshot| snapshot.again);
        let progress = &mut place.snapshot.as_mut().expect("it is being read").tables[current.progress];
        progress.stage = if again { Stage::Read } else { Stage::Ended };
        let table = &self.tables[current.table];
        let Some(View { low, high, time_us, held, touched }) = view else {
            if !progress.gaps().is_empty() {
                return Err(Unusable::Away(format!("the readers of {} have ended early", table.schema.name)).into());
            }
            return Ok(None);
        };
        self.time_us = time_us;
        let held = match table.identity() {
            Some(identity) if !touched.is_empty() => {
                let changes = self.window.changes(&table.schema.name, Span { low: &low, high: &high });
                window::corrected(&held, window::latest(changes, identity, |_| true), identity)
            }
            _ => held,
        };
        progress.add(Chunk { from: None, to: None, high: high.minus(&place.gtids) }, held.len() as u64);
        self.window.forget(&low);
        Ok(Some(self.rows(place, current.table, held, time_us)))
    }

    /// Once, when a snapshot that is not the first has read all: what was not met is gone.
    fn all_read(&mut self, place: &mut Place) -> Option<Batch> {
        let snapshot = place.snapshot.as_mut().expect("a snapshot is being read");
        let first = snapshot.tables.iter().position(|table| table.stage == Stage::Read)?;
        snapshot.tables.iter_mut().for_each(|table| table.stage = Stage::Ended);
        let name = &snapshot.tables[first].name;
        let table = self.schemas.iter().position(|schema| schema.name == *name)? as u32;
        let ends = Snapshot::AgainEnds { table, time_us: self.time_us };
        Some(Batch { snapshot: Some(ends), ..self.batch(place) })
    }

    fn current<'a>(&'a self, place: &'a mut Place) -> (&'a Current, &'a mut super::progress::Table) {
        let current = self.current.as_ref().expect("a table is being read");
        let snapshot = place.snapshot.as_mut().expect("a snapshot is being read");
        (current, &mut snapshot.tables[current.progress])
    }

    /// A batch without rows.
    fn batch(&self, place: &Place) -> Batch {
        let snapshot = place.snapshot.as_ref().expect("a snapshot is being read");
        let done_rows = snapshot.tables.iter().map(|table| table.rows).sum();
        let total_rows = self.tables.iter().map(|table| table.rows).sum();
        Batch {
            tables: self.schemas.clone(),
            images: self.schemas.iter().map(|schema| Rows::new(schema.fields.len())).collect(),
            cut_by: self.cut_by.clone(),
            progress: Some(event::Progress::Snapshot { done_rows, total_rows }),
            ..Batch::default()
        }
    }

    fn rows(&self, place: &Place, table: usize, rows: Rows, time_us: i64) -> Batch {
        let snapshot = place.snapshot.as_ref().expect("a snapshot is being read");
        let mut batch = self.batch(place);
        batch.snapshot = snapshot.again.then_some(Snapshot::Again);
        let log = format!("snapshot of {}", self.schemas[table].name);
        batch.transactions.push(Transaction { log: log.into(), gtid: None });
        let change = |row: usize| Change {
            table: table as u32,
            op: Op::Read,
            rekeys: false,
            sides: Sides::Both,
            time_us,
            before: None,
            after: Some(row as u32),
            transaction: 0,
            at: row as u64,
        };
        batch.changes = (0..rows.len()).map(change).collect();
        batch.images[table] = rows;
        batch
    }
}

/// By names and meanings: what the log does not tell is no difference.
fn same_columns(logged: &TableSchema, found: &TableSchema) -> bool {
    let columns = |schema: &TableSchema| -> Vec<_> {
        schema.fields.iter().map(|field| (field.name.clone(), field.logical)).collect()
    };
    columns(logged) == columns(found)
}

fn altered(current: &Option<Current>, schemas: &[Arc<TableSchema>]) -> Trouble {
    let name = current.as_ref().map_or("a table", |current| schemas[current.table].name.as_str());
    Trouble::Stop(SourceError::Stop(format!(
        "{name} was altered while its rows were read. Start again: what was not read yet is read as it is now"
    )))
}
