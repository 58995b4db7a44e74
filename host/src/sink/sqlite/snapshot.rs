//! A history file as it is at one moment. Nothing is made or changed in it or beside it, and a pipeline that writes it
//! goes on meanwhile.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::ledger;
use super::table::{self, Statements};
use super::{Prepared, read_entities};
use crate::event::Position;
use crate::history::{Checkpoint, EntityRows, HistorySchema, Scope, Standing};
use crate::ledger::Ledger;
use crate::rows::Rows;
use crate::sink::SinkError;

pub struct Snapshot {
    connection: Connection,
    path: PathBuf,
    table: String,
    pipeline: String,
    /// As it was when the snapshot was taken.
    pub checkpoint: Option<Checkpoint>,
    /// Nobody had it open then, so no lock is held: whoever begins to write makes this a picture of nothing.
    unlocked: bool,
    prepared: Option<Prepared>,
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
        let checkpoint = checkpoint(&connection, pipeline).map_err(unfit)?;
        let (path, table, pipeline) = (path.to_owned(), table.to_owned(), pipeline.to_owned());
        Ok(Some(Snapshot { connection, path, table, pipeline, checkpoint, unlocked, prepared: None }))
    }

    /// As [`Sink::checkpoint`](crate::sink::Sink::checkpoint).
    pub fn standing(&self) -> Result<Standing, SinkError> {
        let unfit = |error: rusqlite::Error| SinkError::Unfit(format!("open history {}: {error}", self.path.display()));
        let ledger = match self.connection.table_exists(None, "hindsight_ledger").map_err(unfit)? {
            true => ledger::read(&self.connection, &self.pipeline, &self.path)?,
            false => Ledger::default(),
        };
        Ok(Standing { checkpoint: self.checkpoint.clone(), ledger })
    }

    /// Whether a pipeline has written to the file before.
    pub fn is_ours(&self) -> Result<bool, SinkError> {
        let unfit = |error| SinkError::Unfit(format!("look at history {}: {error}", self.path.display()));
        self.connection.table_exists(None, "hindsight_checkpoint").map_err(unfit)
    }

    /// Refuses a table that the rule does not write, as a pipeline would; one that is not there yet is an empty one.
    pub fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        let place = table::Place { path: &self.path, table: &self.table, pipeline: &self.pipeline };
        let there = table::compare(&self.connection, &place, history, self.checkpoint.is_some())?;
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
        if self.unlocked && log_of(&self.path).exists() {
            return Err(SinkError::Stop(format!(
                "a pipeline began to write {} while it was looked at: run this again",
                self.path.display()
            )));
        }
        Ok(rows)
    }
}

fn checkpoint(connection: &Connection, pipeline: &str) -> rusqlite::Result<Option<Checkpoint>> {
    if !connection.table_exists(None, "hindsight_checkpoint")? {
        return Ok(None);
    }
    let read = "SELECT source, position FROM hindsight_checkpoint WHERE pipeline = ?";
    let row = connection
        .query_row(read, [pipeline], |row| Ok(Checkpoint { source: row.get(0)?, position: Position(row.get(1)?) }));
    row.optional()
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
