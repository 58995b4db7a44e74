//! The ledger's tables: which rule version decides from where on, and the components that a start or a rollback needs.
//!
//! A component's bytes are kept once, and only those of the active and of the previous version; every version's digests,
//! name, origin and settings stay.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::ledger::{Entry, Ledger, RuleVersion, Turn};
use crate::sink::SinkError;

pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS hindsight_ledger (
    pipeline TEXT NOT NULL,
    n INTEGER NOT NULL,         -- counts turns
    since TEXT,                 -- the checkpoint's position before the first batch it decides; NULL: the beginning
    digest TEXT NOT NULL,       -- of the rule version that decides from there on
    previous TEXT,              -- what a rollback goes back to
    configured TEXT NOT NULL,   -- digest of the version that the configuration named
    reason TEXT NOT NULL,       -- start, swap, rollback, configuration, schema
    tables TEXT NOT NULL,       -- the source tables' shapes
    at TEXT NOT NULL,           -- the host's clock, UTC
    PRIMARY KEY (pipeline, n)
);
CREATE TABLE IF NOT EXISTS hindsight_rules (
    pipeline TEXT NOT NULL,
    digest TEXT NOT NULL,
    component TEXT NOT NULL,    -- the component's own digest
    name TEXT NOT NULL,
    origin TEXT NOT NULL,
    settings TEXT NOT NULL,     -- names and values, as JSON
    PRIMARY KEY (pipeline, digest)
);
CREATE TABLE IF NOT EXISTS hindsight_components (
    pipeline TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (pipeline, digest)
);";

/// Where the ledger stands.
pub fn read(connection: &Connection, pipeline: &str, path: &Path) -> Result<Ledger, SinkError> {
    let unfit = |error: rusqlite::Error| {
        SinkError::Unfit(format!("read the ledger of pipeline {pipeline} in {}: {error}", path.display()))
    };
    let last = connection
        .query_row(
            "SELECT digest, previous, configured, tables FROM hindsight_ledger WHERE pipeline = ? ORDER BY n DESC LIMIT 1",
            [pipeline],
            |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get(2)?, row.get(3)?)),
        )
        .optional()
        .map_err(unfit)?;
    let Some((active, previous, configured, tables)) = last else { return Ok(Ledger::default()) };
    let version = |digest: &str| -> Result<Arc<RuleVersion>, SinkError> {
        let found = version(connection, pipeline, digest).map_err(unfit)?;
        found.map(Arc::new).ok_or_else(|| {
            SinkError::Unfit(format!(
                "the ledger of pipeline {pipeline} in {} names rule {digest}, whose component is not there or is another one: \
                 somebody changed the hindsight_ tables. Restore the file",
                path.display()
            ))
        })
    };
    let previous = previous.map(|digest| version(&digest)).transpose()?;
    Ok(Ledger { active: Some(version(&active)?), previous, configured: Some(configured), tables: Some(tables) })
}

/// None where it is not whole.
fn version(connection: &Connection, pipeline: &str, digest: &str) -> rusqlite::Result<Option<RuleVersion>> {
    let found = connection
        .query_row(
            "SELECT r.component, r.name, r.origin, r.settings, c.bytes FROM hindsight_rules r
             JOIN hindsight_components c ON c.pipeline = r.pipeline AND c.digest = r.component
             WHERE r.pipeline = ? AND r.digest = ?",
            [pipeline, digest],
            |row| {
                Ok(RuleVersion {
                    digest: digest.to_owned(),
                    component_digest: row.get(0)?,
                    name: row.get(1)?,
                    origin: row.get(2)?,
                    settings: serde_json::from_str(&row.get::<_, String>(3)?).unwrap_or_default(),
                    component: row.get::<_, Vec<u8>>(4)?.into(),
                })
            },
        )
        .optional()?;
    Ok(found.filter(RuleVersion::is_whole))
}

/// Adds turns, within the transaction of the rows that they decide.
pub fn write(transaction: &Transaction<'_>, pipeline: &str, turns: &[Turn]) -> rusqlite::Result<()> {
    for turn in turns {
        for version in std::iter::once(&turn.version).chain(&turn.previous) {
            keep(transaction, pipeline, version)?;
        }
        let mut insert = transaction.prepare_cached(
            "INSERT INTO hindsight_ledger (pipeline, n, since, digest, previous, configured, reason, tables, at)
             SELECT ?1, COALESCE(MAX(n), 0) + 1, ?2, ?3, ?4, ?5, ?6, ?7, strftime('%Y-%m-%d %H:%M:%S', 'now')
             FROM hindsight_ledger WHERE pipeline = ?1",
        )?;
        insert.execute(params![
            pipeline,
            turn.since.as_ref().map(|position| &position.0),
            turn.version.digest,
            turn.previous.as_ref().map(|previous| &previous.digest),
            turn.configured,
            turn.reason.name(),
            turn.tables,
        ])?;
    }
    if let Some(last) = turns.last() {
        let previous = last.previous.as_ref().unwrap_or(&last.version);
        let delete = "DELETE FROM hindsight_components WHERE pipeline = ? AND digest NOT IN (?, ?)";
        let kept = [pipeline, &last.version.component_digest, &previous.component_digest];
        transaction.prepare_cached(delete)?.execute(kept)?;
    }
    Ok(())
}

fn keep(transaction: &Transaction<'_>, pipeline: &str, version: &RuleVersion) -> rusqlite::Result<()> {
    let settings = serde_json::to_string(&version.settings).expect("settings are texts");
    let mut rule = transaction.prepare_cached(
        "INSERT INTO hindsight_rules (pipeline, digest, component, name, origin, settings) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (pipeline, digest) DO UPDATE SET origin = excluded.origin",
    )?;
    rule.execute(params![pipeline, version.digest, version.component_digest, version.name, version.origin, settings])?;
    let mut component = transaction.prepare_cached(
        "INSERT INTO hindsight_components (pipeline, digest, bytes) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
    )?;
    component.execute(params![pipeline, version.component_digest, &version.component[..]])?;
    Ok(())
}

/// All turns of a pipeline, or of each of its lanes, the oldest first; it may be running.
///
/// # Errors
/// [`SinkError::Unfit`]: no such file, or no database.
pub fn read_entries(path: &Path, pipeline: &str) -> Result<Vec<Entry>, SinkError> {
    let connection = super::reader::connect(path)?;
    entries(&connection, pipeline).map_err(|error| {
        SinkError::Unfit(format!("open history {}: it holds no ledger of hindsight ({error})", path.display()))
    })
}

fn entries(connection: &Connection, pipeline: &str) -> rusqlite::Result<Vec<Entry>> {
    let mut statement = connection.prepare(
        "SELECT l.n, l.since, l.digest, l.previous, l.reason, l.tables, l.at, r.name, r.origin, l.pipeline
         FROM hindsight_ledger l JOIN hindsight_rules r ON r.pipeline = l.pipeline AND r.digest = l.digest
         WHERE l.pipeline = ?1 OR l.pipeline GLOB ?1 || '/*' ORDER BY l.pipeline, l.n",
    )?;
    let rows = statement.query_map([pipeline], |row| {
        let lane: String = row.get(9)?;
        Ok(Entry {
            partition: lane.strip_prefix(pipeline).and_then(|rest| rest.strip_prefix('/')?.parse().ok()),
            n: row.get(0)?,
            since: row.get(1)?,
            digest: row.get(2)?,
            previous: row.get(3)?,
            reason: row.get(4)?,
            tables: row.get(5)?,
            at: row.get(6)?,
            name: row.get(7)?,
            origin: row.get(8)?,
        })
    })?;
    rows.collect()
}
