//! Dead letters, in a table beside the history: they are committed with the rows and the checkpoint.
//!
//! A pipeline writes them, and only ever adds to them; `hindsight dead-letters` takes them away, also while the pipeline
//! runs. That needs no word between the two: as long as an entity has a letter the pipeline does not touch its rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::anyhow;
use rusqlite::{Connection, Row as SqlRow, Transaction, TransactionBehavior, named_params, params};

use super::table::{self, Statements};
use super::{BUSY_TIMEOUT, Prepared, Write, ledger, read_entities, reader, untold, write_rows};
use crate::dead_letter::{Cause, DeadLetter, Quarantine, Schema};
use crate::event::Op;
use crate::groups::Moved;
use crate::history::{EntityRows, HistorySchema, Load, Scope, SnapshotStep};
use crate::ledger::RuleVersion;
use crate::rows::Rows;
use crate::sink::{Chain, Kept, LetterBox, Settled, SinkError};

pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS hindsight_dead_letters (
    pipeline TEXT NOT NULL,
    n INTEGER NOT NULL,         -- in the source's order
    entity TEXT,                -- its key's values; NULL: the change has none
    entity_key TEXT NOT NULL,   -- the history's columns that it is told by
    quarantines INTEGER NOT NULL,   -- 1: the entity's later changes follow
    cause TEXT NOT NULL,        -- rejected, failed, no-entity, follows
    reason TEXT NOT NULL,
    op TEXT NOT NULL,
    side TEXT,                  -- leaves, arrives: of a change that moves a row between entities
    place TEXT NOT NULL,        -- in the source's log, or in the topic
    rule TEXT NOT NULL,         -- digest of the rule version that was active
    schema TEXT NOT NULL,       -- hash of the table's schema
    event TEXT NOT NULL,        -- the whole change, as Debezium's envelope
    at TEXT NOT NULL,           -- the host's clock, UTC
    PRIMARY KEY (pipeline, n)
);
CREATE INDEX IF NOT EXISTS hindsight_dead_letters_by_entity ON hindsight_dead_letters (pipeline, entity, n);
CREATE TABLE IF NOT EXISTS hindsight_dead_letter_schemas (
    hash TEXT PRIMARY KEY,
    document TEXT NOT NULL      -- the table's columns, and how events write them, as JSON
);";

pub fn write(transaction: &Transaction<'_>, pipeline: &str, letters: &[DeadLetter]) -> rusqlite::Result<()> {
    let last = "SELECT coalesce(max(n), 0) FROM hindsight_dead_letters WHERE pipeline = ?";
    let mut n: i64 = transaction.query_row(last, [pipeline], |row| row.get(0))?;
    let mut know = transaction.prepare_cached(
        "INSERT INTO hindsight_dead_letter_schemas (hash, document) VALUES (?, ?) ON CONFLICT DO NOTHING",
    )?;
    let mut insert = transaction.prepare_cached(
        "INSERT INTO hindsight_dead_letters
             (pipeline, n, entity, entity_key, quarantines, cause, reason, op, side, place, rule, schema, event, at)
         VALUES (:pipeline, :n, :entity, :entity_key, :quarantines, :cause, :reason, :op, :side, :place, :rule, :schema, :event,
             strftime('%Y-%m-%d %H:%M:%S', 'now'))",
    )?;
    for letter in letters {
        n += 1;
        know.execute(params![letter.schema.hash, letter.schema.document])?;
        insert.execute(named_params! {
            ":pipeline": pipeline,
            ":n": n,
            ":entity": letter.entity,
            ":entity_key": &*letter.entity_key,
            ":quarantines": letter.quarantines,
            ":cause": letter.cause.name(),
            ":reason": letter.reason,
            ":op": letter.op.letter().to_string(),
            ":side": letter.moved.side(),
            ":place": letter.place,
            ":rule": letter.rule,
            ":schema": letter.schema.hash,
            ":event": letter.event,
        })?;
        untold::note(transaction, pipeline, n)?;
    }
    Ok(())
}

/// The history begins anew, and what was set aside of it comes again.
pub fn empty(transaction: &Transaction<'_>, pipeline: &str) -> rusqlite::Result<()> {
    untold::note_all(transaction, pipeline)?;
    transaction.execute("DELETE FROM hindsight_dead_letters WHERE pipeline = ?", [pipeline]).map(drop)
}

/// The entities of a pipeline, or of one of its lanes, that have a letter to follow.
pub fn quarantine(connection: &Connection, pipeline: &str) -> rusqlite::Result<Quarantine> {
    let text = "SELECT DISTINCT entity, entity_key FROM hindsight_dead_letters
                WHERE pipeline = ? AND entity IS NOT NULL AND quarantines = 1";
    let mut select = connection.prepare_cached(text)?;
    let mut found = select.query([pipeline])?;
    let mut quarantine = Quarantine::default();
    while let Some(row) = found.next()? {
        let (entity, entity_key): (String, String) = (row.get(0)?, row.get(1)?);
        quarantine.insert(&entity, &entity_key.into());
    }
    Ok(quarantine)
}

/// What is in quarantine, read again only when somebody else wrote to the file.
pub struct Watched {
    quarantine: Arc<Quarantine>,
    /// `PRAGMA data_version`, which other connections' commits change.
    seen: i64,
}

impl Watched {
    pub fn read(connection: &Connection, pipeline: &str) -> rusqlite::Result<Self> {
        let seen = data_version(connection)?;
        Ok(Watched { quarantine: Arc::new(quarantine(connection, pipeline)?), seen })
    }

    /// As it is now.
    pub fn look(&mut self, connection: &Connection, pipeline: &str) -> rusqlite::Result<Arc<Quarantine>> {
        // Nobody else adds to it.
        if !self.quarantine.is_empty() && data_version(connection)? != self.seen {
            *self = Self::read(connection, pipeline)?;
        }
        Ok(self.quarantine.clone())
    }

    pub fn committed(&mut self, load: &Load) {
        if matches!(load.snapshot, Some(SnapshotStep::Anew)) {
            self.quarantine = Arc::default();
        }
        if !load.dead_letters.is_empty() {
            Arc::make_mut(&mut self.quarantine).extend(&load.dead_letters);
        }
    }
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}

/// A pipeline's dead letters, whether it runs or not.
pub struct DeadLetters {
    pub(super) connection: Connection,
    path: PathBuf,
    table: String,
    pub(super) pipeline: String,
    prepared: Option<Prepared>,
}

impl DeadLetters {
    /// # Errors
    /// [`SinkError::Unfit`]: no such file, or it cannot be opened.
    pub fn open(path: &Path, table: &str, pipeline: &str) -> Result<Self, SinkError> {
        let unfit = |error: rusqlite::Error| SinkError::Unfit(format!("open history {}: {error}", path.display()));
        let connection = reader::connect(path)?;
        connection.busy_timeout(BUSY_TIMEOUT).map_err(unfit)?;
        // Of a file that an older version made, too.
        connection.pragma_update(None, "query_only", false).map_err(unfit)?;
        if !connection.table_exists(None, "hindsight_dead_letters_untold").map_err(unfit)? {
            connection.execute_batch(TABLES).map_err(unfit)?;
            connection.execute_batch(untold::TABLES).map_err(unfit)?;
        }
        let (path, table, pipeline) = (path.to_owned(), table.to_owned(), pipeline.to_owned());
        Ok(DeadLetters { connection, path, table, pipeline, prepared: None })
    }

    pub(super) fn failed(&self, what: &str, error: rusqlite::Error) -> SinkError {
        SinkError::Stop(format!("{what} the dead letters in {}: {error}", self.path.display()))
    }
}

#[async_trait::async_trait]
impl LetterBox for DeadLetters {
    async fn chains(&mut self) -> Result<Vec<Chain>, SinkError> {
        let text = format!(
            "SELECT {COLUMNS}, chain.n_letters
             FROM (SELECT pipeline, min(n) AS n, count(*) AS n_letters FROM hindsight_dead_letters
                   WHERE {MINE} GROUP BY pipeline, CASE WHEN quarantines = 1 AND entity IS NOT NULL THEN entity ELSE -n END) AS chain
             JOIN hindsight_dead_letters AS letter ON letter.pipeline = chain.pipeline AND letter.n = chain.n
             JOIN hindsight_dead_letter_schemas ON hash = letter.schema
             ORDER BY letter.at, letter.pipeline, letter.n"
        );
        let chain = |row: &SqlRow<'_>| {
            let first = kept(row)?;
            let n_letters: i64 = row.get("n_letters")?;
            Ok(Chain { lane: first.lane.clone(), n_letters: n_letters as u64, first })
        };
        let mut select = self.connection.prepare_cached(&text).map_err(|error| self.failed("read", error))?;
        let found = select.query_map([&self.pipeline], chain).and_then(Iterator::collect);
        found.map_err(|error| self.failed("read", error))
    }

    async fn letters(&mut self, chain: &Chain, after: i64, n_max: usize) -> Result<Vec<Kept>, SinkError> {
        let follows = chain.first.letter.quarantines && chain.first.letter.entity.is_some();
        let text = format!(
            "SELECT {COLUMNS} FROM hindsight_dead_letters AS letter JOIN hindsight_dead_letter_schemas ON hash = letter.schema
             WHERE pipeline = ?1 AND letter.n > ?2 AND {} ORDER BY letter.n LIMIT ?4",
            if follows { "entity = ?3 AND quarantines = 1" } else { "letter.n = ?3" }
        );
        let entity: &dyn rusqlite::ToSql = if follows { &chain.first.letter.entity } else { &chain.first.n };
        let mut select = self.connection.prepare_cached(&text).map_err(|error| self.failed("read", error))?;
        let found = select.query_map(params![chain.lane, after, entity, n_max as i64], kept);
        found.and_then(Iterator::collect).map_err(|error| self.failed("read", error))
    }

    async fn begin(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn active_rule(&mut self, lane: &str) -> Result<Option<Arc<RuleVersion>>, SinkError> {
        Ok(ledger::read(&self.connection, lane, &self.path)?.active)
    }

    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        let place = table::Place { path: &self.path, table: &self.table, pipeline: &self.pipeline };
        table::make_or_compare(&mut self.connection, &place, history, true)?;
        self.prepared = Some(Prepared { history: history.clone(), statements: Statements::new(&self.table, history) });
        Ok(())
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        let prepared = self.prepared.as_ref().expect("prepare comes before entity_rows");
        read_entities(&self.connection, prepared, (&self.path, &self.table), keys, scope)
    }

    async fn settle(&mut self, settled: &Settled<'_>) -> Result<(), SinkError> {
        let Settled { lane, letters, upserts, deletes } = settled;
        let path = self.path.clone();
        let failed = |error: rusqlite::Error| SinkError::Stop(format!("write history {}: {error}", path.display()));
        let transaction = Transaction::new(&mut self.connection, TransactionBehavior::Immediate).map_err(failed)?;
        {
            let text = "DELETE FROM hindsight_dead_letters WHERE pipeline = ? AND n = ?";
            let mut delete = transaction.prepare_cached(text).map_err(failed)?;
            for n in *letters {
                if delete.execute(params![lane, n]).map_err(failed)? == 0 {
                    return Err(SinkError::Stop(format!(
                        "dead letter {n} of {lane} is gone: another command settles them. Nothing was written; look again with \
                         `hindsight dead-letters list`"
                    )));
                }
                untold::note(&transaction, lane, *n).map_err(failed)?;
            }
        }
        if !upserts.is_empty() || !deletes.is_empty() {
            let prepared = self.prepared.as_ref().expect("prepare comes before rows");
            write_rows(&transaction, prepared, upserts, deletes).map_err(|error| match error {
                Write::Sqlite(error) => failed(error),
                Write::Value(error) => error,
            })?;
        }
        crate::crash::point("dead-letters.settled");
        transaction.commit().map_err(failed)
    }
}

pub(super) const COLUMNS: &str =
    "letter.pipeline, letter.n, entity, entity_key, quarantines, cause, reason, op, side, place, rule, hash, document,
     event, at";

/// Of a pipeline and its lanes; a pipeline's name has no character that is more than itself here.
pub(super) const MINE: &str = "(pipeline = ?1 OR pipeline GLOB ?1 || '/*')";

pub(super) fn kept(row: &SqlRow<'_>) -> rusqlite::Result<Kept> {
    let text = |column: &str| row.get::<_, String>(column);
    let unknown = |column: &str, value: String| {
        let why = anyhow!("a dead letter's {column} {value:?} is not known to this version");
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, why.into())
    };
    let cause = text("cause")?;
    let cause = Cause::of(&cause).ok_or_else(|| unknown("cause", cause))?;
    let op = text("op")?;
    let op = Op::ALL.into_iter().find(|known| known.letter().to_string() == op).ok_or_else(|| unknown("op", op))?;
    let side: Option<String> = row.get("side")?;
    let moved = Moved::of_side(side.as_deref()).ok_or_else(|| unknown("side", side.unwrap_or_default()))?;
    let letter = DeadLetter {
        entity: row.get("entity")?,
        entity_key: text("entity_key")?.into(),
        quarantines: row.get("quarantines")?,
        cause,
        reason: text("reason")?,
        op,
        moved,
        place: text("place")?,
        rule: text("rule")?,
        schema: Arc::new(Schema { hash: text("hash")?, document: text("document")? }),
        event: text("event")?,
    };
    Ok(Kept { lane: text("pipeline")?, n: row.get("n")?, letter, at: text("at")? })
}
