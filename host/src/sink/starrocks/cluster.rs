//! The cluster as a sink reads it: over the MySQL port of whichever frontend is there, and only where that shows what was loaded.

use std::time::{Duration, Instant};

use mysql_async::Row;
use tracing::{debug, warn};

use super::ddl;
use super::http::Address;
use super::rows::TableColumn;
use super::sql::{self, Login, Session, SqlError};
use crate::history::{EntityRows, HistorySchema, Scope};
use crate::rows::Rows;
use crate::sink::SinkError;

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(5);
const AGAIN_LONGER: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(1);
const AGAIN_LONGER_MAX: Duration = Duration::from_secs(10);

/// After so long without an answer it is said in the log, and goes on.
const SAY_AFTER: Duration = Duration::from_secs(10);

/// A question that is refused for so long will be refused for ever.
const REFUSED_MAX: Duration = Duration::from_secs(60);

/// Where a cluster's frontends are asked, and by whom.
#[derive(Clone, Debug)]
pub struct Door {
    /// MySQL ports, tried in turn; never empty.
    pub at: Vec<Address>,
    pub user: String,
    pub password: String,
    pub database: String,
    /// In place of a frontend's own name.
    pub redirect_host: Option<String>,
}

/// A cluster that is asked.
pub struct Cluster {
    door: Door,
    /// Which of the door's addresses is asked next.
    next: usize,
    session: Option<Session>,
}

impl Cluster {
    pub fn new(door: Door) -> Self {
        Cluster { door, next: 0, session: None }
    }

    pub fn database(&self) -> &str {
        &self.door.database
    }

    /// The first answer of a frontend that is there.
    ///
    /// # Errors
    /// [`SinkError::Unfit`]: none is there, or one refuses the login or the question.
    pub async fn once(&mut self, question: &str) -> Result<Vec<Row>, SinkError> {
        let mut failed = None;
        for _ in 0..=self.door.at.len() {
            match self.ask(question).await {
                Ok(answer) => return Ok(answer),
                Err(error @ SqlError::Refused { .. }) => return Err(unfit(&error)),
                Err(error) => failed = Some(error),
            }
        }
        Err(unfit(&failed.expect("it was asked")))
    }

    /// The same, waiting for as long as none is there; an error where one refuses the question, and why.
    ///
    /// # Errors
    /// One refuses the question.
    pub async fn answer(&mut self, question: &str) -> Result<Vec<Row>, SqlError> {
        let mut waiting = Waiting::new();
        loop {
            match self.ask(question).await {
                Err(error @ SqlError::Unreached { .. }) => {
                    waiting.again(|| format!("StarRocks does not answer: {error}")).await;
                }
                answer => return answer,
            }
        }
    }

    /// As [`Cluster::answer`].
    ///
    /// # Errors
    /// [`SinkError::Stop`]: one refuses the question.
    pub async fn until(&mut self, question: &str) -> Result<Vec<Row>, SinkError> {
        self.answer(question).await.map_err(|error| SinkError::Stop(error.to_string()))
    }

    async fn ask(&mut self, question: &str) -> Result<Vec<Row>, SqlError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => {
                let at = self.door.at[self.next % self.door.at.len()].clone();
                self.next += 1;
                self.open(at).await?
            }
        };
        let answer = session.rows(question).await;
        if !matches!(answer, Err(SqlError::Unreached { .. })) {
            self.session = Some(session);
        }
        answer
    }

    async fn open(&self, at: Address) -> Result<Session, SqlError> {
        let Door { user, password, database, .. } = self.door.clone();
        Session::open(&Login { at, user, password, database }).await
    }

    /// The table's columns and the names of its primary key, in key order; none where there is no such table.
    ///
    /// # Errors
    /// As [`Cluster::once`]; a column has a type that is not known here.
    pub async fn table(&mut self, name: &str) -> Result<Option<(Vec<TableColumn>, Vec<String>)>, SinkError> {
        let [is_there, described] = sql::table_questions(name);
        if self.once(&is_there).await?.is_empty() {
            return Ok(None);
        }
        let rows = self.once(&described).await?;
        sql::columns(&rows).map(Some).map_err(|why| SinkError::Unfit(format!("table {name} in StarRocks: {why}")))
    }

    /// The columns of the table that takes this history's rows, in the history's order.
    ///
    /// # Errors
    /// As [`Cluster::table`]; it is not there, or does not take them.
    pub async fn history_columns(
        &mut self,
        table: &str,
        history: &HistorySchema,
        sequence: Option<&str>,
    ) -> Result<Vec<TableColumn>, SinkError> {
        let (columns, key) = self.table(table).await?.ok_or_else(|| {
            SinkError::Unfit(format!("there is no table {table}: make it with what `hindsight ddl` prints"))
        })?;
        ddl::compare(history, &columns, &key, sequence).map_err(|differences| {
            SinkError::OtherTable(format!(
                "the table {table} in StarRocks is not the one that the rule writes:\n  {}\n`hindsight ddl` prints the one that is",
                differences.join("\n  ")
            ))
        })
    }

    /// The hosts of the cluster's own servers, as far as this user is told.
    pub async fn hosts(&mut self) -> Vec<String> {
        let mut hosts = Vec::new();
        for question in sql::HOSTS {
            match self.once(question).await {
                Ok(rows) => hosts.extend(sql::hosts(&rows)),
                Err(error) => debug!("the cluster's own hosts are not told: {error}"),
            }
        }
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// A frontend's setting; none where it has none of this name, or does not tell this user.
    pub async fn setting(&mut self, name: &str) -> Option<String> {
        let rows = self.answer(&sql::setting(name)).await.ok()?;
        rows.iter().find(|row| sql::told(row, "Key") == name).map(|row| sql::told(row, "Value"))
    }

    /// The answer of a frontend that shows the load of this label.
    ///
    /// # Errors
    /// As [`Cluster::until`].
    pub async fn where_shown(&mut self, label: Option<&str>, question: &str) -> Result<Vec<Row>, SinkError> {
        let mut waiting = Waiting::new();
        loop {
            if let Some(label) = label {
                match self.status(label).await? {
                    Some(status) if status == "VISIBLE" => {}
                    Some(status) => {
                        waiting.again(|| format!("a frontend does not show {label} yet ({status})")).await;
                        continue;
                    }
                    // Not there yet, or forgotten: the leader has said itself that it is visible.
                    None => {
                        debug!(label, "a frontend does not know the last load: the leader is asked");
                        if let Err(error) = self.go_to_leader().await {
                            if matches!(error, SqlError::Refused { .. }) && waiting.has_lasted(REFUSED_MAX) {
                                return Err(SinkError::Stop(format!(
                                    "the load {label} is not known to a frontend any more, and which one leads is not told: {error}. Give \
                                     the user the right to see the frontends (GRANT OPERATE ON SYSTEM), or raise label_keep_max_num"
                                )));
                            }
                            waiting.again(|| format!("the leader is not reached: {error}")).await;
                            continue;
                        }
                    }
                }
            }
            match self.ask(question).await {
                Ok(answer) => return Ok(answer),
                // As while a backend is away.
                Err(error @ SqlError::Refused { .. }) if waiting.has_lasted(REFUSED_MAX) => {
                    return Err(SinkError::Stop(error.to_string()));
                }
                Err(error @ SqlError::Refused { .. }) => {
                    waiting.again(|| format!("a question is refused: {error}")).await
                }
                // Another frontend may not show the load.
                Err(error) => waiting.again(|| format!("StarRocks does not answer: {error}")).await,
            }
        }
    }

    /// The leader's answer: what is not there according to it is not there.
    ///
    /// # Errors
    /// As [`Cluster::until`].
    pub async fn of_leader(&mut self, question: &str) -> Result<Vec<Row>, SinkError> {
        let mut waiting = Waiting::new();
        loop {
            match self.go_to_leader().await {
                Ok(()) => match self.ask(question).await {
                    Err(SqlError::Unreached { .. }) => {}
                    answer => return answer.map_err(|error| SinkError::Stop(error.to_string())),
                },
                Err(error @ SqlError::Refused { .. }) => {
                    return Err(SinkError::Stop(format!("which frontend leads has to be known: {error}")));
                }
                Err(_) => {}
            }
            waiting.again(|| "StarRocks' leader does not answer".into()).await;
        }
    }

    /// What a frontend knows of a label's transaction.
    async fn status(&mut self, label: &str) -> Result<Option<String>, SinkError> {
        match self.answer(&sql::transaction(label)).await {
            Ok(rows) => Ok(rows.first().map(|row| sql::told(row, "TransactionStatus"))),
            // Some releases answer so, others with nothing.
            Err(SqlError::Refused { why, .. }) if why.contains("does not exist") => Ok(None),
            Err(error) => Err(SinkError::Stop(error.to_string())),
        }
    }

    /// The rows of each entity, as [`Sink::entity_rows`](crate::sink::Sink::entity_rows) gives them, where the load of this label
    /// can be seen.
    ///
    /// # Errors
    /// As [`Cluster::until`].
    pub async fn entity_rows(
        &mut self,
        table: &str,
        history: &HistorySchema,
        keys: &Rows,
        scope: Scope,
        shows: Option<&str>,
    ) -> Result<EntityRows, SinkError> {
        let mut found = EntityRows { offsets: vec![0], rows: Rows::new(history.columns.len()) };
        for (entities, question) in sql::entity_questions(table, history, keys, scope) {
            let rows = self.where_shown(shows, &question).await?;
            sql::sort_in(&mut found, history, keys, entities, &rows)
                .map_err(|why| SinkError::Stop(format!("table {table} in StarRocks: {why}")))?;
        }
        Ok(found)
    }

    /// Asks the leader from now on.
    async fn go_to_leader(&mut self) -> Result<(), SqlError> {
        let rows = self.ask(sql::FRONTENDS).await?;
        let none = || SqlError::Unreached { at: self.door.at[0].clone(), why: "no frontend leads".into() };
        let mut leader = sql::leader(&rows).ok_or_else(none)?;
        if let Some(host) = &self.door.redirect_host {
            leader.host.clone_from(host);
        }
        self.session = Some(self.open(leader).await?);
        Ok(())
    }
}

/// What is tried again, less and less often.
pub(super) struct Waiting {
    begun: Instant,
    pause: Duration,
    said: Duration,
}

impl Waiting {
    pub fn new() -> Self {
        Waiting { begun: Instant::now(), pause: AGAIN, said: SAY_AFTER }
    }

    /// Whether it is tried for so long by now.
    pub fn has_lasted(&self, time: Duration) -> bool {
        self.begun.elapsed() > time
    }

    /// The server has too much to do: from here on there is more time between two tries.
    pub fn longer(&mut self) {
        self.pause = self.pause.max(AGAIN_LONGER);
    }

    /// Waits before the next try; why it is one is said where that takes long.
    pub async fn again(&mut self, why: impl FnOnce() -> String) {
        let why = why();
        if self.begun.elapsed() > self.said {
            warn!("{why}; tried for {} s by now", self.begun.elapsed().as_secs());
            self.said *= 2;
        } else {
            debug!("{why}");
        }
        tokio::time::sleep(self.pause).await;
        let most = if self.pause < AGAIN_LONGER { AGAIN_MAX } else { AGAIN_LONGER_MAX };
        self.pause = (self.pause * 2).min(most);
    }
}

fn unfit(error: &SqlError) -> SinkError {
    SinkError::Unfit(format!(
        "StarRocks at {error}; is [sink] mysql a frontend's port 9030, and do database, user and password fit?"
    ))
}
