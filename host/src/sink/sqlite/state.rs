//! The `hindsight_*` tables: how far each pipeline is, and the shape of what it writes.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::event::Position;
use crate::history::Checkpoint;
use crate::sink::SinkError;

/// Version of what stands in these tables.
const FORMAT: i64 = 1;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS hindsight_checkpoint (
    pipeline TEXT PRIMARY KEY,
    format INTEGER NOT NULL,
    version INTEGER NOT NULL,   -- counts commits; a commit names the one it follows
    source TEXT NOT NULL,       -- kind and tables
    position TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS hindsight_history (
    name TEXT PRIMARY KEY,      -- of the history table
    pipeline TEXT NOT NULL,     -- its writer
    schema TEXT NOT NULL        -- columns, primary key and roles, as JSON
);";

/// Whether any lane of a pipeline has a checkpoint.
pub fn has_moved(connection: &Connection, pipeline: &str, path: &Path) -> Result<bool, SinkError> {
    // A pipeline's name has no character that is more than itself here.
    let text = "SELECT EXISTS (SELECT 1 FROM hindsight_checkpoint WHERE pipeline GLOB ? || '/*')";
    let moved = connection.query_row(text, [pipeline], |row| row.get(0));
    moved.map_err(|error| SinkError::Unfit(format!("open history {}: {error}", path.display())))
}

/// The lanes of a pipeline that have a checkpoint.
///
/// # Errors
/// [`SinkError::Unfit`]: no such file, or it holds no history.
pub fn lanes(path: &Path, pipeline: &str) -> Result<Vec<u32>, SinkError> {
    let connection = super::reader::connect(path)?;
    let unfit = |error: rusqlite::Error| {
        SinkError::Unfit(format!("open history {}: it holds no history of hindsight ({error})", path.display()))
    };
    let text = "SELECT pipeline FROM hindsight_checkpoint WHERE pipeline GLOB ? || '/*'";
    let mut select = connection.prepare(text).map_err(unfit)?;
    let names = select.query_map([pipeline], |row| row.get::<_, String>(0)).map_err(unfit)?;
    let names = names.collect::<Result<Vec<_>, _>>().map_err(unfit)?;
    Ok(names.iter().filter_map(|name| name.rsplit_once('/')?.1.parse().ok()).collect())
}

/// This pipeline's checkpoint, as it was last read or written.
pub struct State {
    pub pipeline: String,
    /// 0 before the first commit.
    version: i64,
    pub checkpoint: Option<Checkpoint>,
}

impl State {
    pub fn open(connection: &Connection, pipeline: &str, path: &Path) -> Result<Self, SinkError> {
        let unfit = |error: rusqlite::Error| SinkError::Unfit(format!("open history {}: {error}", path.display()));
        connection
            .execute_batch(TABLES)
            .and_then(|()| connection.execute_batch(super::ledger::TABLES))
            .and_then(|()| connection.execute_batch(super::met::TABLES))
            .and_then(|()| connection.execute_batch(super::letters::TABLES))
            .and_then(|()| connection.execute_batch(super::untold::TABLES))
            .map_err(unfit)?;
        State::read(connection, pipeline, path)
    }

    /// From tables that are there.
    pub fn read(connection: &Connection, pipeline: &str, path: &Path) -> Result<Self, SinkError> {
        let unfit = |error: rusqlite::Error| SinkError::Unfit(format!("open history {}: {error}", path.display()));
        let row = connection
            .query_row(
                "SELECT format, version, source, position FROM hindsight_checkpoint WHERE pipeline = ?",
                [pipeline],
                |row| {
                    Ok((
                        row.get::<_, i64>(0)?,
                        row.get(1)?,
                        Checkpoint { source: row.get(2)?, position: Position(row.get(3)?) },
                    ))
                },
            )
            .optional()
            .map_err(unfit)?;
        let (version, checkpoint) = match row {
            Some((FORMAT, version, checkpoint)) => (version, Some(checkpoint)),
            Some((format, ..)) => {
                return Err(SinkError::Unfit(format!(
                    "the checkpoint of pipeline {pipeline} in {} has format {format}; this version writes {FORMAT}. Use the version that wrote it",
                    path.display()
                )));
            }
            None => (0, None),
        };
        Ok(State { pipeline: pipeline.to_owned(), version, checkpoint })
    }

    /// Moves the checkpoint on by compare-and-set, within the rows' transaction; gives the new version.
    ///
    /// # Errors
    /// [`SinkError::Fenced`]: another process has moved it since it was read.
    pub fn advance(&self, transaction: &Transaction<'_>, checkpoint: &Checkpoint) -> Result<i64, SinkError> {
        let failed = |error: rusqlite::Error| {
            SinkError::Stop(format!("write the checkpoint of pipeline {}: {error}", self.pipeline))
        };
        let next = self.version + 1;
        let changed = if self.version == 0 {
            transaction
                .prepare_cached(
                    "INSERT INTO hindsight_checkpoint (pipeline, format, version, source, position) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT DO NOTHING",
                )
                .and_then(|mut insert| insert.execute(params![self.pipeline, FORMAT, next, checkpoint.source, checkpoint.position.0]))
        } else {
            transaction
                .prepare_cached("UPDATE hindsight_checkpoint SET version = ?1, source = ?2, position = ?3 WHERE pipeline = ?4 AND version = ?5")
                .and_then(|mut update| update.execute(params![next, checkpoint.source, checkpoint.position.0, self.pipeline, self.version]))
        };
        match changed.map_err(failed)? {
            0 => Err(SinkError::Fenced(format!(
                "the checkpoint of pipeline {} was moved by another process; this one wrote nothing more. Run one process per pipeline, \
                 or give the other one a name and a table of its own",
                self.pipeline
            ))),
            _ => Ok(next),
        }
    }

    /// The transaction of [`State::advance`] was committed.
    pub fn advanced(&mut self, version: i64, checkpoint: Checkpoint) {
        self.version = version;
        self.checkpoint = Some(checkpoint);
    }
}
