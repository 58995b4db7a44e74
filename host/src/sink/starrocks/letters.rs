//! Dead letters, in a table of the history's database: loaded before the load that passes their changes.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hyper::body::Bytes;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::letter_box;
use super::load::{Loader, Target};
use super::progress::Mark;
use super::sql;
use crate::civil;
use crate::dead_letter::{DeadLetter, Quarantine};
use crate::history::Load;
use crate::sink::{Kept, SinkError};

/// The table's name.
pub const TABLE: &str = "hindsight_dead_letters";

/// Its columns, in order.
pub const COLUMNS: [(&str, &str); 16] = [
    ("pipeline", "VARCHAR(80) NOT NULL COMMENT \"and the partition\""),
    ("n", "BIGINT NOT NULL COMMENT \"in the source's order\""),
    ("entity", "VARCHAR(1048576) NULL COMMENT \"its key's values; NULL: the change has none\""),
    ("entity_key", "VARCHAR(1048576) NOT NULL COMMENT \"the history's columns that it is told by\""),
    ("quarantines", "BOOLEAN NOT NULL COMMENT \"the entity's later changes follow\""),
    ("cause", "VARCHAR(16) NOT NULL COMMENT \"rejected, failed, no-entity, follows\""),
    ("reason", "VARCHAR(1048576) NOT NULL"),
    ("op", "VARCHAR(1) NOT NULL"),
    ("side", "VARCHAR(8) NULL COMMENT \"leaves, arrives: of a change that moves a row between entities\""),
    ("place", "VARCHAR(1048576) NOT NULL COMMENT \"in the topic\""),
    ("rule", "VARCHAR(64) NOT NULL COMMENT \"digest of the rule version that was active\""),
    ("schema_hash", "VARCHAR(64) NOT NULL"),
    (
        "schema_document",
        "VARCHAR(1048576) NOT NULL COMMENT \"the table's columns, and how events write them, as JSON\"",
    ),
    ("event", "VARCHAR(1048576) NOT NULL COMMENT \"the whole change, as Debezium's envelope\""),
    ("at", "DATETIME NOT NULL COMMENT \"the host's clock, UTC\""),
    ("replayed_by", "VARCHAR(128) NULL COMMENT \"the load that a replay has begun, whose rows it is\""),
];

/// Of these columns, which hold a text of the source's, and how many bytes.
const TEXT_MAX: usize = 1_048_576;

/// Letters of one batch are numbered from the lane's next mark on: so many have room.
const OF_ONE_MARK: u64 = 1 << 20;

/// How often it is looked whether a command took some away: nobody else adds to them.
const LOOK: Duration = Duration::from_secs(1);

/// A lane's dead letters.
pub struct Letters {
    pub loader: Loader,
    lane: String,
    quarantine: Arc<Quarantine>,
    looked: Instant,
}

impl Letters {
    /// In the database of the history's table.
    pub fn new(history: &Target, lane: &str) -> Self {
        let loader = Loader::new(Target { table: TABLE.into(), sequence: None, ..history.clone() });
        Letters { loader, lane: lane.to_owned(), quarantine: Arc::default(), looked: Instant::now() }
    }

    /// The number of the first letter of a mark's.
    pub fn first(mark: u64) -> u64 {
        mark * OF_ONE_MARK
    }

    /// Reads who is in quarantine by what is certain, where the lane's last load can be seen.
    pub async fn read(&mut self, cluster: &mut Cluster, mark: &Mark) -> Result<(), SinkError> {
        let certain = mark.letters.map(|first| format!(" AND n < {first}")).unwrap_or_default();
        let question = format!(
            "SELECT DISTINCT entity, entity_key FROM {TABLE} WHERE pipeline = {} AND quarantines = true AND entity IS NOT NULL{certain}",
            sql::text(&self.lane)
        );
        let rows = cluster.where_shown(mark.prev.as_deref(), &question).await?;
        let mut quarantine = Quarantine::default();
        for row in &rows {
            quarantine.insert(&sql::told(row, "entity"), &sql::told(row, "entity_key").into());
        }
        (self.quarantine, self.looked) = (Arc::new(quarantine), Instant::now());
        Ok(())
    }

    /// As it is now, or was a moment ago.
    pub async fn look(&mut self, cluster: &mut Cluster, mark: &Mark) -> Result<Arc<Quarantine>, SinkError> {
        if !self.quarantine.is_empty() && self.looked.elapsed() > LOOK {
            self.read(cluster, mark).await?;
        }
        Ok(self.quarantine.clone())
    }

    /// Entities in quarantine, as they were last seen.
    pub fn quarantined(&self) -> usize {
        self.quarantine.len()
    }

    pub fn committed(&mut self, load: &Load) {
        if !load.dead_letters.is_empty() {
            Arc::make_mut(&mut self.quarantine).extend(&load.dead_letters);
        }
    }

    /// The numbers that are there, from this one on.
    pub async fn numbers_from(
        &self,
        cluster: &mut Cluster,
        shows: Option<&str>,
        first: u64,
    ) -> Result<Vec<i64>, SinkError> {
        let question = format!("SELECT n FROM {TABLE} WHERE pipeline = {} AND n >= {first}", sql::text(&self.lane));
        let rows = cluster.where_shown(shows, &question).await?;
        Ok(rows.iter().filter_map(|row| sql::told(row, "n").parse().ok()).collect())
    }

    /// A load's body that adds letters.
    ///
    /// # Errors
    /// One has no room.
    pub fn upserts(&self, first: u64, letters: &[DeadLetter]) -> Result<Bytes, SinkError> {
        let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64);
        let mut at = String::new();
        civil::write_datetime(&mut at, now_us);
        let mut body = Vec::with_capacity(letters.len());
        for (number, letter) in letters.iter().enumerate() {
            for (what, text) in [("event", &letter.event), ("reason", &letter.reason), ("place", &letter.place)] {
                if text.len() > TEXT_MAX {
                    return Err(SinkError::Stop(format!(
                        "a change at {} has to be set aside ({}), and its {what} has {} bytes: more than {TABLE} can hold",
                        letter.place,
                        letter.reason,
                        text.len()
                    )));
                }
            }
            let (lane, n) = (self.lane.clone(), (first + number as u64) as i64);
            body.push(letter_box::object(&Kept { lane, n, letter: letter.clone(), at: at.clone() }, None));
        }
        Ok(Value::from(body).to_string().into())
    }
}

/// A load's body that takes a lane's letters away.
pub fn deletes(lane: &str, numbers: &[i64]) -> Bytes {
    let key = |n: &i64| json!({ "pipeline": lane, "n": n, "__op": 1 });
    Value::from(numbers.iter().map(key).collect::<Vec<_>>()).to_string().into()
}

/// The statement that makes the table.
pub fn create_table(replication_num: u32) -> String {
    let columns: Vec<String> = COLUMNS.iter().map(|(name, kind)| format!("  `{name}` {kind}")).collect();
    format!(
        "CREATE TABLE `{TABLE}` (\n{}\n) ENGINE=OLAP\nPRIMARY KEY(`pipeline`, `n`)\nDISTRIBUTED BY HASH(`pipeline`) BUCKETS 1\n\
         PROPERTIES (\"replication_num\" = \"{replication_num}\")",
        columns.join(",\n")
    )
}
