//! History in an SQLite file: rows and checkpoint in one transaction, readable by plain `sqlite3`.
//!
//! `table` makes and compares the history table, `value` holds the text forms, `state` the checkpoint, `ledger` the rule
//! versions, `letters` the dead letters, `untold` those that a topic is still to be told of, `met` what a re-snapshot has met, `backfill` keeps the write-ahead log small, `reader` answers queries without
//! the rule, `snapshot` is for a dry run.

mod backfill;
mod ledger;
mod letters;
mod met;
mod reader;
mod snapshot;
mod state;
mod table;
mod untold;
mod value;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::Mutex;

use super::{Sink, SinkError};
use crate::crash;
use crate::dead_letter::Quarantine;
use crate::history::{EntityRows, HistorySchema, Load, Scope, SnapshotStep, Standing};
use crate::rows::{Row, Rows};
use backfill::Backfill;
use letters::Watched;
use state::State;
use table::Statements;

pub use ledger::read_entries;
pub use letters::DeadLetters;
pub use reader::Reader;
pub use snapshot::{Known, Snapshot};
pub use state::lanes;

/// How long a commit waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Page cache, KiB: with the batches it is most of the program's memory (of 150 MB for the reference table).
const CACHE_KIB: i64 = 80 << 10;

/// An SQLite history, written by one pipeline.
pub struct Sqlite {
    /// Ends before the connection does.
    backfill: Backfill,
    connection: Connection,
    path: PathBuf,
    table: String,
    state: State,
    prepared: Option<Prepared>,
    quarantine: Watched,
    /// One of several that write this history at once.
    lane: Option<LaneOf>,
}

/// A part of a pipeline that has a checkpoint of its own, as its changes come in an order of their own.
#[derive(Clone, Debug)]
pub struct LaneOf {
    /// The partition.
    pub number: u32,
    /// How many share this process's memory.
    pub n_lanes: u32,
    /// Whose turn it is to commit: SQLite has one writer at a time, and lets others wait without an order.
    pub turn: Arc<Mutex<()>>,
}

struct Prepared {
    history: HistorySchema,
    statements: Statements,
}

impl Sqlite {
    /// Opens or creates the file. `pipeline`: the name that the checkpoint is kept under.
    ///
    /// # Errors
    /// [`SinkError::Unfit`]: not writable, no SQLite database, or of a newer format.
    pub fn open(path: &Path, table: &str, pipeline: &str) -> Result<Self, SinkError> {
        Self::open_as(path, table, pipeline, None)
    }

    /// The same for a lane, whose checkpoint is kept under `pipeline/number`.
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub fn open_lane(path: &Path, table: &str, pipeline: &str, lane: LaneOf) -> Result<Self, SinkError> {
        Self::open_as(path, table, pipeline, Some(lane))
    }

    fn open_as(path: &Path, table: &str, pipeline: &str, lane: Option<LaneOf>) -> Result<Self, SinkError> {
        let unfit = |error: rusqlite::Error| SinkError::Unfit(format!("open history {}: {error}", path.display()));
        let mut connection = Connection::open(path).map_err(unfit)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(unfit)?;
        for (pragma, value) in [("journal_mode", "WAL"), ("synchronous", "NORMAL"), ("temp_store", "MEMORY")] {
            connection.pragma_update(None, pragma, value).map_err(unfit)?;
        }
        let n_sharing = lane.as_ref().map_or(1, |lane| i64::from(lane.n_lanes.max(1)));
        connection.pragma_update(None, "cache_size", -CACHE_KIB / n_sharing).map_err(unfit)?;
        let backfill = Backfill::of(&mut connection, path).map_err(unfit)?;
        connection.set_prepared_statement_cache_capacity(32);
        let name = match &lane {
            Some(lane) => format!("{pipeline}/{}", lane.number),
            None => pipeline.to_owned(),
        };
        let state = State::open(&connection, &name, path)?;
        let quarantine = Watched::read(&connection, &name).map_err(unfit)?;
        let (path, table) = (path.to_owned(), table.to_owned());
        Ok(Sqlite { backfill, connection, path, table, state, prepared: None, quarantine, lane })
    }

    fn prepared(&self) -> &Prepared {
        self.prepared.as_ref().expect("prepare comes before entity_rows")
    }
}

#[async_trait::async_trait]
impl Sink for Sqlite {
    async fn checkpoint(&mut self) -> Result<Standing, SinkError> {
        let ledger = ledger::read(&self.connection, &self.state.pipeline, &self.path)?;
        Ok(Standing { checkpoint: self.state.checkpoint.clone(), ledger, redo_to: None })
    }

    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        let turn = self.lane.as_ref().map(|lane| lane.turn.clone());
        let _held = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        // The history is the pipeline's, whichever of its lanes has come how far.
        let (pipeline, moved) = match (&self.lane, self.state.pipeline.rsplit_once('/')) {
            (Some(_), Some((pipeline, _))) => (pipeline, state::has_moved(&self.connection, pipeline, &self.path)?),
            _ => (self.state.pipeline.as_str(), self.state.checkpoint.is_some()),
        };
        let place = table::Place { path: &self.path, table: &self.table, pipeline };
        table::make_or_compare(&mut self.connection, &place, history, moved)?;
        self.prepared = Some(Prepared { history: history.clone(), statements: Statements::new(&self.table, history) });
        Ok(())
    }

    async fn quarantined(&mut self) -> Result<Arc<Quarantine>, SinkError> {
        let failed = |error: rusqlite::Error| SinkError::Stop(format!("read history {}: {error}", self.path.display()));
        self.quarantine.look(&self.connection, &self.state.pipeline).map_err(failed)
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        // One transaction for all entities: each statement by itself would lock the file anew.
        let failed = |error: rusqlite::Error| SinkError::Stop(format!("read history {}: {error}", self.path.display()));
        let reading = self.connection.unchecked_transaction().map_err(failed)?;
        let rows = read_entities(&reading, self.prepared(), (&self.path, &self.table), keys, scope)?;
        reading.commit().map_err(failed)?;
        Ok(rows)
    }

    async fn unmet(&mut self, after: Option<Row<'_>>, n_wanted: usize) -> Result<Rows, SinkError> {
        let failed = |error: rusqlite::Error| SinkError::Stop(format!("read history {}: {error}", self.path.display()));
        // Rows and what was met of them are of one moment; and one lock serves them all.
        let reading = self.connection.unchecked_transaction().map_err(failed)?;
        let history = met::History {
            connection: &reading,
            prepared: self.prepared(),
            path: &self.path,
            table: &self.table,
            pipeline: Some(&self.state.pipeline),
        };
        let rows = history.unmet(after, n_wanted)?;
        reading.commit().map_err(failed)?;
        Ok(rows)
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        let path = &self.path;
        let failed = |error: rusqlite::Error| SinkError::Stop(format!("write history {}: {error}", path.display()));
        let turn = self.lane.as_ref().map(|lane| lane.turn.clone());
        let _held = match &turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        crash::point("sink.begin");
        self.backfill.wait().map_err(failed)?;
        let transaction = Transaction::new(&mut self.connection, TransactionBehavior::Immediate).map_err(failed)?;
        let version = self.state.advance(&transaction, &load.checkpoint)?;
        crash::point("sink.checkpoint");
        if matches!(load.snapshot, Some(SnapshotStep::Anew)) {
            table::empty(&transaction, &self.table, &self.state.pipeline).map_err(failed)?;
            letters::empty(&transaction, &self.state.pipeline).map_err(failed)?;
        }
        if !load.upserts.is_empty() || !load.deletes.is_empty() {
            let prepared = self.prepared.as_ref().expect("prepare comes before rows");
            write_rows(&transaction, prepared, &load.upserts, &load.deletes).map_err(|error| match error {
                Write::Sqlite(error) => failed(error),
                Write::Value(error) => error,
            })?;
        }
        crash::point("sink.rows");
        if let Some(step) = &load.snapshot {
            met::write(&transaction, &self.state.pipeline, step).map_err(failed)?;
            crash::point("sink.met");
        }
        if !load.dead_letters.is_empty() {
            letters::write(&transaction, &self.state.pipeline, &load.dead_letters).map_err(failed)?;
            crash::point("sink.dead-letters");
        }
        if !load.turns.is_empty() {
            ledger::write(&transaction, &self.state.pipeline, &load.turns).map_err(failed)?;
            crash::point("sink.turn");
        }
        transaction.commit().map_err(failed)?;
        crash::point("sink.committed");
        self.state.advanced(version, load.checkpoint.clone());
        self.quarantine.committed(load);
        self.backfill.begin_if_due();
        Ok(())
    }
}

/// As [`Sink::entity_rows`], from the transaction that the connection is in. `path` and `table` are for messages.
fn read_entities(
    connection: &Connection,
    Prepared { history, statements }: &Prepared,
    (path, table): (&Path, &str),
    keys: &Rows,
    scope: Scope,
) -> Result<EntityRows, SinkError> {
    let failed = |error: rusqlite::Error| SinkError::Stop(format!("read history {}: {error}", path.display()));
    let mut result = EntityRows { offsets: Vec::with_capacity(keys.len() + 1), rows: Rows::new(history.columns.len()) };
    result.offsets.push(0);
    let mut statement = connection.prepare_cached(statements.entity(scope)).map_err(failed)?;
    for key in keys.iter() {
        for (i, &column) in history.roles.entity_key.iter().enumerate() {
            value::bind(&mut statement, i + 1, key.get(i), &history.columns[column].field)?;
        }
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next().map_err(failed)? {
            for (i, column) in history.columns.iter().enumerate() {
                let cell = row.get_ref(i).map_err(failed)?;
                value::read(cell, &column.field, &mut result.rows)
                    .map_err(|misfit| SinkError::Stop(format!("{table} in {}: {misfit}", path.display())))?;
            }
            result.rows.end_row();
        }
        result.offsets.push(result.rows.len() as u32);
    }
    Ok(result)
}

enum Write {
    Sqlite(rusqlite::Error),
    Value(SinkError),
}

impl From<rusqlite::Error> for Write {
    fn from(error: rusqlite::Error) -> Self {
        Write::Sqlite(error)
    }
}

impl From<SinkError> for Write {
    fn from(error: SinkError) -> Self {
        Write::Value(error)
    }
}

/// Deletes first.
fn write_rows(transaction: &Transaction<'_>, prepared: &Prepared, upserts: &Rows, deletes: &Rows) -> Result<(), Write> {
    let Prepared { history, statements } = prepared;
    if !deletes.is_empty() {
        let mut delete = transaction.prepare_cached(&statements.delete)?;
        for row in deletes.iter() {
            for (i, &column) in history.primary_key.iter().enumerate() {
                value::bind(&mut delete, i + 1, row.get(i), &history.columns[column].field)?;
            }
            delete.raw_execute()?;
        }
    }
    let mut upsert = transaction.prepare_cached(&statements.upsert)?;
    for row in upserts.iter() {
        for (i, column) in history.columns.iter().enumerate() {
            value::bind(&mut upsert, i + 1, row.get(i), &column.field)?;
        }
        upsert.raw_execute()?;
    }
    Ok(())
}
