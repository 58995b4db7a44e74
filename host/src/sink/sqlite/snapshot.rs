//! A history file as it is at one moment. Nothing is made or changed in it or beside it, and a pipeline that writes it
//! goes on meanwhile.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};

use super::state::State;
use super::table::{self, Statements};
use super::{Prepared, ledger, letters, met, read_entities};
use crate::dead_letter::Quarantine;
use crate::history::{EntityRows, HistorySchema, Scope, Standing};
use crate::rows::{Rows, Value};
use crate::sink::SinkError;

pub struct Snapshot {
    connection: Connection,
    path: PathBuf,
    table: String,
    pipeline: String,
    /// Whether a pipeline has written to the file before.
    pub is_ours: bool,
    /// As it was when the snapshot was taken.
    pub standing: Standing,
    pub quarantine: Arc<Quarantine>,
    /// Whether it has a place for what a re-snapshot has met: an older version made none.
    notes_met: bool,
    /// Nobody had it open then, so no lock is held: whoever begins to write makes this a picture of nothing.
    unlocked: bool,
    prepared: Option<Prepared>,
}

/// What was met, to a look at the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    Counts,
    IsForgotten,
}

impl Snapshot {
    /// None where there is no such file.
    ///
    /// # Errors
    /// [`SinkError::Unfit`]: not readable, or no SQLite database.
    pub fn open(path: &Path, table: &str, pipeline: &str) -> Result<Option<Self>, SinkError> {
        if !path.exists() {
            return Ok(None);
        }
        let unfit = |error: rusqlite::Error| SinkError::Unfit(format!("open history {}: {error}", path.display()));
        // Without a write-ahead log there is nobody who writes. To open the file as usual would make one.
        let unlocked = !log_of(path).exists();
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(address(path, unlocked), flags).map_err(unfit)?;
        // One transaction until the end: checkpoint and rows belong together.
        connection.execute_batch("BEGIN").map_err(unfit)?;
        let is_ours = connection.table_exists(None, "hindsight_checkpoint").map_err(unfit)?;
        let mut standing = Standing::default();
        if is_ours {
            standing.checkpoint = State::read(&connection, pipeline, path)?.checkpoint;
        }
        if connection.table_exists(None, "hindsight_ledger").map_err(unfit)? {
            standing.ledger = ledger::read(&connection, pipeline, path)?;
        }
        let mut quarantine = Arc::default();
        if connection.table_exists(None, "hindsight_dead_letters").map_err(unfit)? {
            quarantine = Arc::new(letters::quarantine(&connection, pipeline).map_err(unfit)?);
        }
        let notes_met = connection.table_exists(None, "hindsight_met").map_err(unfit)?;
        let (path, table, pipeline) = (path.to_owned(), table.to_owned(), pipeline.to_owned());
        Ok(Some(Snapshot {
            connection,
            path,
            table,
            pipeline,
            is_ours,
            standing,
            quarantine,
            notes_met,
            unlocked,
            prepared: None,
        }))
    }

    /// Refuses a table that the rule does not write, as a pipeline would; one that is not there yet is an empty one.
    pub fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        let place = table::Place { path: &self.path, table: &self.table, pipeline: &self.pipeline };
        let there = table::compare(&self.connection, &place, history, self.standing.checkpoint.is_some())?;
        self.prepared =
            there.then(|| Prepared { history: history.clone(), statements: Statements::new(&self.table, history) });
        Ok(())
    }

    /// As [`Sink::entity_rows`](crate::sink::Sink::entity_rows).
    pub fn entity_rows(&self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        let Some(prepared) = &self.prepared else {
            return Ok(EntityRows { offsets: vec![0; keys.len() + 1], rows: Rows::default() });
        };
        let rows = read_entities(&self.connection, prepared, (&self.path, &self.table), keys, scope)?;
        self.still_holds()?;
        Ok(rows)
    }

    /// All current rows, or those only that a re-snapshot has not met.
    pub fn current(&self, met: Known) -> Result<Rows, SinkError> {
        let Some(history) = self.history(met) else { return Ok(Rows::default()) };
        let rows = history.unmet(None, usize::MAX)?;
        self.still_holds()?;
        Ok(rows)
    }

    /// Whether a re-snapshot has met a source key.
    pub fn is_met<'v>(&self, mut source_key: impl Iterator<Item = Value<'v>>) -> Result<bool, SinkError> {
        self.history(Known::Counts).map_or(Ok(false), |history| history.is_met(&mut source_key))
    }

    fn history(&self, met: Known) -> Option<met::History<'_>> {
        let pipeline = (self.notes_met && met == Known::Counts).then_some(self.pipeline.as_str());
        let (connection, path, table) = (&self.connection, self.path.as_path(), self.table.as_str());
        self.prepared.as_ref().map(|prepared| met::History { connection, prepared, path, table, pipeline })
    }

    fn still_holds(&self) -> Result<(), SinkError> {
        if self.unlocked && log_of(&self.path).exists() {
            return Err(SinkError::Stop(format!(
                "a pipeline began to write {} while it was looked at: run this again",
                self.path.display()
            )));
        }
        Ok(())
    }
}

/// The write-ahead log beside a database file.
fn log_of(path: &Path) -> PathBuf {
    let mut log = OsString::from(path);
    log.push("-wal");
    log.into()
}

/// The file as SQLite's URI; only there can it be said that nobody writes it.
fn address(path: &Path, unlocked: bool) -> String {
    let mut address = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => address.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => address.push(char::from(*byte)),
            byte => address += &format!("%{byte:02X}"),
        }
    }
    address += if unlocked { "?immutable=1" } else { "?mode=ro" };
    address
}
