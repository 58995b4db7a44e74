//! Marks in a table of the history's database, for a pipeline without a topic: a row each, under a label that only one can have.
//!
//! The label of a mark is fixed, so of two processes that write the same one StarRocks takes the first: that is the compare-and-set.
//! Calls name a label and nothing more, so a process that was away can still reach what another has begun under it, and an old
//! label may be forgotten. Therefore a mark is one's own only when the table's newest row says so.

use std::time::Duration;

use mysql_async::Row;
use serde_json::json;
use tracing::debug;

use super::attempt::Outcome;
use super::cluster::{Cluster, Waiting};
use super::labels::Labels;
use super::load::{Loader, Target};
use super::progress::{Kept, Mark, Progress};
use super::reply::{LabelState, Reply};
use super::sql;
use crate::sink::SinkError;

/// The table's name.
pub const TABLE: &str = "hindsight_progress";

/// Numbers that are passed over, at the most, where a backend holds on to their labels; and how long that is waited for.
const PASSED_MAX: u64 = 3;
const HELD_MAX: Duration = Duration::from_secs(1);

/// A pipeline's marks.
pub struct InTable {
    cluster: Cluster,
    loader: Loader,
    pipeline: String,
    labels: Labels,
    /// This process, and no other one.
    owner: String,
}

impl InTable {
    /// `history`: the table beside which it is.
    pub fn new(cluster: Cluster, history: &Target, pipeline: &str) -> Self {
        let loader = Loader::new(Target { table: TABLE.into(), sequence: None, ..history.clone() });
        let owner = format!("{:016x}", fastrand::u64(..));
        InTable { cluster, loader, pipeline: pipeline.to_owned(), labels: Labels::of_progress(pipeline), owner }
    }

    fn newest(&self) -> String {
        let pipeline = sql::text(&self.pipeline);
        format!("SELECT n, owner, mark FROM {TABLE} WHERE pipeline = {pipeline} ORDER BY n DESC LIMIT 1")
    }

    /// Whether the newest mark is this one, where its load can be seen.
    async fn is_mine(&mut self, n: u64, label: &str) -> Result<(), SinkError> {
        let question = self.newest();
        let rows = self.cluster.where_shown(Some(label), &question).await?;
        let found = rows.first().map(|row| (number(row), sql::told(row, "owner")));
        match found {
            Some((Some(newest), owner)) if newest == n && owner == self.owner => Ok(()),
            _ => Err(SinkError::Fenced(format!(
                "another process applies pipeline {}: mark {n} is its own ({found:?}), and this one wrote nothing more. Run one process \
                 per pipeline, or give the other one a name and a table of its own",
                self.pipeline
            ))),
        }
    }
}

fn number(row: &Row) -> Option<u64> {
    sql::told(row, "n").parse().ok()
}

#[async_trait::async_trait]
impl Progress for InTable {
    async fn read(&mut self) -> Result<Kept, SinkError> {
        let question = self.newest();
        let mut waiting = Waiting::new();
        loop {
            let rows = self.cluster.once(&question).await.map_err(|error| {
                SinkError::Unfit(format!("{error}. Is there a table {TABLE}? `hindsight ddl` prints it"))
            })?;
            let newest = rows.first().and_then(number).unwrap_or(0);
            // A frontend may be behind the leader, which knows whether there is another one; one that was begun and not written is
            // ended, so that nobody writes it later.
            let mut newer = None;
            for n in newest + 1..=newest + 1 + PASSED_MAX {
                if self.loader.settle(&self.labels.fixed(n), true).await == Outcome::Applied {
                    newer = Some(n);
                }
            }
            if let Some(newer) = newer {
                waiting.again(|| format!("a frontend shows mark {newest}, and there is mark {newer}")).await;
                continue;
            }
            let Some(row) = rows.first() else { return Ok(Kept::Nothing) };
            return Ok(match Mark::parse(&sql::told(row, "mark")) {
                Ok(mark) if mark.n == newest => Kept::Mark(Box::new(mark)),
                Ok(mark) => Kept::Foreign(format!("mark {newest}, which says that it is mark {}", mark.n)),
                Err(what) => Kept::Foreign(what),
            });
        }
    }

    async fn write(&mut self, mark: &mut Mark) -> Result<(), SinkError> {
        let (mut waiting, first) = (Waiting::new(), mark.n);
        loop {
            let label = self.labels.fixed(mark.n);
            let row = json!([{ "pipeline": self.pipeline, "n": mark.n, "owner": self.owner, "mark": mark.text() }]);
            let body = row.to_string();
            let why = match self.loader.begin(&label).await {
                Reply::Done => match self.loader.send(&label, body.clone().into()).await {
                    Outcome::Applied => return self.is_mine(mark.n, &label).await,
                    Outcome::Rejected(rejection) => {
                        return Err(SinkError::Stop(format!("mark {} is not taken: {}", mark.n, rejection.message)));
                    }
                    outcome => format!("{outcome:?}"),
                },
                reply => format!("{reply:?}"),
            };
            debug!(label, why, "a mark was not plainly written");
            match self.loader.known_state(&label).await {
                LabelState::Visible => return self.is_mine(mark.n, &label).await,
                // Somebody's, who may have fallen: it is waited for as long as a load may take, and then ended.
                LabelState::Open if waiting.has_lasted(self.loader.load_max()) => {
                    let ended = self.loader.roll_back(&label).await;
                    debug!(label, ?ended, "a mark that was begun and not written is ended");
                }
                // A backend holds on to it for somebody who stands still: the next one does as well.
                LabelState::Aborted(_) if waiting.has_lasted(HELD_MAX) && mark.n < first + PASSED_MAX => mark.n += 1,
                _ => {}
            }
            waiting.again(|| format!("mark {} is not written: {why}", mark.n)).await;
        }
    }
}

/// The statement that makes the table.
pub fn create_table(replication_num: u32) -> String {
    format!(
        "CREATE TABLE `{TABLE}` (\n  `pipeline` VARCHAR(64) NOT NULL,\n  `n` BIGINT NOT NULL COMMENT \"counts marks\",\n  `owner` \
         VARCHAR(16) NOT NULL COMMENT \"the process that wrote it\",\n  `mark` VARCHAR(1048576) NOT NULL COMMENT \"how far the pipeline \
         is, and what is under way, as JSON\"\n) ENGINE=OLAP\nPRIMARY KEY(`pipeline`, `n`)\nDISTRIBUTED BY HASH(`pipeline`) BUCKETS \
         1\nPROPERTIES (\"replication_num\" = \"{replication_num}\")"
    )
}
