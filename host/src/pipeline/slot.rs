//! Where the active rule sits: the tables it is configured for, its plan, and the turns that wait for the next commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::sync::oneshot;

use super::{Exchange, Exchanged, Pipeline, Status, Summary};
use crate::event::{Batch, Position, TableSchema, shapes};
use crate::failure::{Exit, Failure, Outcome};
use crate::history::{DecidedBy, HistorySchema};
use crate::ledger::{Reason, RuleVersion, Turn};
use crate::rule::plan::TableUse;
use crate::rule::{self, Plan, Rule};
use crate::sink::SinkError;

/// The rule that a run begins with.
pub struct Opening {
    /// Not yet configured.
    pub rule: Box<dyn Rule>,
    pub version: Arc<RuleVersion>,
    /// What a rollback goes back to.
    pub previous: Option<Arc<RuleVersion>>,
    /// Digest of the rule that the configuration names.
    pub configured: String,
    /// Why the ledger gets a turn with the first batch that is decided; none where it goes on as it stands.
    pub turn: Option<Reason>,
    /// The source tables as the ledger knows them; empty where it does not.
    pub tables: String,
    /// As [`Batch::cut_by`] says it: of a snapshot that is not behind the log where the source was opened.
    pub cut_by: Option<Arc<[String]>>,
}

impl Opening {
    /// Where the pipeline stands before it runs.
    pub fn status(&self, pipeline: &Pipeline, paused: bool) -> Status {
        let new = Status::new(self.version.clone(), pipeline.start.clone(), paused);
        Status { previous: self.previous.clone(), ..new }
    }
}

pub struct Slot {
    rule: Box<dyn Rule>,
    version: Arc<RuleVersion>,
    previous: Option<Arc<RuleVersion>>,
    configured: String,
    schemas: Vec<Arc<TableSchema>>,
    plan: Option<Arc<Plan>>,
    /// As the ledger's last turn says.
    tables: String,
    /// The tables' shapes, until the ledger says them too.
    news: Option<String>,
    /// See [`Batch::cut_by`].
    cut_by: Option<Arc<[String]>>,
    turns: Vec<Pending>,
    answers: Vec<Answer>,
}

/// A turn that is not committed yet. Its tables and where it begins are known only then.
struct Pending {
    version: Arc<RuleVersion>,
    previous: Option<Arc<RuleVersion>>,
    reason: Reason,
}

/// Waits for the commit of an exchange.
struct Answer {
    exchanged: Exchanged,
    /// Since when no batch can begin; none once one could.
    pausing: Option<Instant>,
    reply: oneshot::Sender<Result<Exchanged, String>>,
}

impl Slot {
    pub fn new(opening: Opening) -> Self {
        let Opening { rule, version, previous, configured, turn, tables, cut_by } = opening;
        let pending = |reason| Pending { version: version.clone(), previous: previous.clone(), reason };
        let turns = turn.map(pending).into_iter().collect();
        let (schemas, plan, news, answers) = (Vec::new(), None, None, Vec::new());
        Slot { rule, version, previous, configured, schemas, plan, tables, news, cut_by, turns, answers }
    }

    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_deref()
    }

    pub fn shared_plan(&self) -> Option<Arc<Plan>> {
        self.plan.clone()
    }

    /// The rule with its plan, and which one it is.
    pub fn deciding(&mut self) -> (&mut dyn Rule, &Plan, &RuleVersion) {
        let plan = self.plan.as_deref().expect("a batch with changes was configured for");
        (self.rule.as_mut(), plan, &self.version)
    }

    pub fn decided_by(&self) -> DecidedBy {
        let replay_safe = self.plan.as_ref().is_some_and(|plan| plan.replay_safe);
        DecidedBy { digest: self.version.digest.clone(), replay_safe }
    }

    pub fn status(&self, summary: &Summary, position: &Option<Position>, paused: bool) -> Status {
        Status {
            summary: summary.clone(),
            position: position.clone(),
            version: self.version.clone(),
            previous: self.previous.clone(),
            tables: self.schemas.clone(),
            plan: self.plan.clone(),
            paused,
            quarantined: 0,
            lag_events: None,
        }
    }

    /// Configures the rule where this batch brings a table or a schema it does not know yet; gives the history table
    /// where that is so. The table written must stay the same.
    pub fn configure(&mut self, batch: &Batch, begun: bool) -> Outcome<Option<HistorySchema>> {
        if batch.tables.is_empty() || batch.tables == self.schemas {
            return Ok(None);
        }
        let first = || batch.changes.first().map(|change| batch.place(change)).unwrap_or_default();
        let plan = self.rule.configure(&batch.tables).map_err(|error| {
            let mut failure = Failure::rule(error, begun);
            if begun {
                failure.error = failure.error.context(format!(
                    "the source's schema changed at {}. Was: {}. Is: {}",
                    first(),
                    shapes(&self.schemas),
                    shapes(&batch.tables),
                ));
            } else {
                let why = self.change_while_down(&batch.tables).or_else(|| self.swapped_unseen());
                failure.error = why.into_iter().fold(failure.error, anyhow::Error::context);
            }
            failure
        })?;
        if let Some(old) = &self.plan {
            let differences = rule::compare_plans(old, &plan);
            if !differences.is_empty() {
                return Err(Failure::run(anyhow!(
                    "the source's schema changed at {}, and with it the history table that rule {} writes: {}. \
                     Was: {}. Is: {}. Change the rule's settings, or start a new history table for the new schema",
                    first(),
                    self.version.name,
                    differences.join("; "),
                    shapes(&self.schemas),
                    shapes(&batch.tables),
                )));
            }
        }
        self.schemas.clone_from(&batch.tables);
        self.news = self.news(&self.schemas);
        Ok(Some(self.plan.insert(plan).history.clone()))
    }

    /// Refuses what a snapshot has cut by another entity key: the rule was exchanged while that was under way to the pipeline.
    pub fn bind(&mut self, batch: &Batch) -> Outcome<()> {
        self.cut_by.clone_from(&batch.cut_by);
        let Some(refusal) = self.plan.as_deref().and_then(|plan| self.refusal(plan)) else { return Ok(()) };
        Err(Failure::run(anyhow!(
            "rule {} cannot decide this batch: {refusal}. Nothing of it was written; start again",
            self.version.name
        )))
    }

    /// Why a plan cannot decide what comes next of a snapshot.
    fn refusal(&self, plan: &Plan) -> Option<String> {
        let cut_by = self.cut_by.as_deref()?;
        let key = |(uses, table): (&TableUse, &Arc<TableSchema>)| -> Vec<String> {
            uses.entity_key.iter().map(|&column| table.fields[column].name.clone()).collect()
        };
        let other = plan.tables.iter().zip(&self.schemas).map(key).find(|key| key != cut_by)?;
        Some(format!(
            "until the log is behind the snapshot, its changes are filtered by the entity key ({}), and this rule's is ({})",
            cut_by.join(", "),
            other.join(", ")
        ))
    }

    /// What to say where the sink does not take the table that the rule writes.
    pub fn unfit(&self, error: SinkError, begun: bool) -> Failure {
        let by_configuration = self.turns.iter().any(|turn| turn.reason == Reason::Configuration);
        let is_other_table = matches!(error, SinkError::OtherTable(_));
        let mut failure = Failure::sink(error, begun);
        if !begun && is_other_table {
            if by_configuration {
                failure.exit = Exit::Usage;
                failure.error = failure.error.context(format!(
                    "the configuration names another rule than at the start before ({}), and it does not fit the history",
                    self.version.name
                ));
            }
            let why = self.change_while_down(&self.schemas).or_else(|| self.swapped_unseen());
            failure.error = why.into_iter().fold(failure.error, anyhow::Error::context);
        }
        failure
    }

    /// Another shape than the ledger's: the source was altered while nothing ran.
    fn change_while_down(&self, schemas: &[Arc<TableSchema>]) -> Option<String> {
        let is = self.news(schemas).filter(|_| !self.tables.is_empty())?;
        Some(format!("the source's schema changed since the last commit. Was: {}. Is: {is}", self.tables))
    }

    /// Before the first captured row a candidate's plan cannot be compared: here it turns out that it does not fit.
    fn swapped_unseen(&self) -> Option<String> {
        let previous = self.previous.as_ref().filter(|_| self.version.digest != self.configured)?;
        Some(format!(
            "rule {} was swapped in before its plan could be compared, and does not fit the history. To go back to {previous}: \
             `hindsight run --paused`, `hindsight rollback`, `hindsight resume`",
            self.version
        ))
    }

    /// The shapes, where the ledger does not have them all. A table that was not met again since the start is no news.
    fn news(&self, schemas: &[Arc<TableSchema>]) -> Option<String> {
        let known = schemas.iter().all(|table| self.tables.contains(&table.shape()));
        (!known).then(|| shapes(schemas))
    }

    /// Puts the candidate in the old rule's place, or refuses it; gives the history table where it is not quite the same
    /// (another entity key). `edge`: the end of the last batch.
    pub fn exchange(&mut self, exchange: Exchange, since: &Option<Position>, edge: Instant) -> Option<HistorySchema> {
        let pausing = exchange.asked.max(edge);
        let mut exchange = exchange;
        let is_current = exchange.configured.as_ref().is_some_and(|(tables, _)| *tables == self.schemas);
        if !is_current && !self.schemas.is_empty() {
            // The tables changed while the candidate was made ready.
            match exchange.rule.configure(&self.schemas) {
                Ok(plan) => exchange.configured = Some((self.schemas.clone(), plan)),
                Err(error) => {
                    exchange.refuse(&error.to_string());
                    return None;
                }
            }
        }
        let plan = exchange.configured.take().map(|(_, plan)| plan);
        let refusal = match &plan {
            Some(plan) => self.refusal(plan),
            None => self.cut_by.as_ref().map(|key| {
                format!(
                    "a snapshot by the entity key ({}) is under way, and no captured row was met yet that would show the rule's",
                    key.join(", ")
                )
            }),
        };
        if let Some(refusal) = refusal {
            exchange.refuse(&format!(
                "{refusal}. Ask again later: `hindsight status` shows a position without a snapshot then"
            ));
            return None;
        }
        let mut history = None;
        if let (Some(old), Some(new)) = (&self.plan, &plan) {
            let differences = rule::compare_plans(old, new);
            if !differences.is_empty() {
                exchange.refuse(&differences.join("; "));
                return None;
            }
            history = (old.history != new.history).then(|| new.history.clone());
        }
        let Exchange { rule, version, reason, reply, .. } = exchange;
        let verified = plan.is_some();
        self.plan = plan;
        let old = std::mem::replace(&mut self.rule, rule);
        // Giving an instance's memory back takes longer than all the rest.
        std::thread::spawn(move || drop(old));
        let from = std::mem::replace(&mut self.version, version.clone());
        self.previous = Some(from.clone());
        self.turns.push(Pending { version: version.clone(), previous: self.previous.clone(), reason });
        let exchanged = Exchanged { from, to: version, since: since.clone(), pause: Duration::ZERO, verified };
        self.answers.push(Answer { exchanged, pausing: Some(pausing), reply });
        history
    }

    /// Whether an exchange waits for its commit.
    pub fn has_exchanged(&self) -> bool {
        !self.answers.is_empty()
    }

    /// A batch could begin now: pauses end.
    pub fn may_begin(&mut self) {
        for answer in &mut self.answers {
            if let Some(pausing) = answer.pausing.take() {
                answer.exchanged.pause = pausing.elapsed();
            }
        }
    }

    /// What the next commit tells the ledger: what decides the rows behind `since`.
    pub fn turns(&mut self, since: &Option<Position>) -> Vec<Turn> {
        let news = self.news.take();
        if news.is_some() && self.turns.is_empty() {
            let (version, previous) = (self.version.clone(), self.previous.clone());
            self.turns.push(Pending { version, previous, reason: Reason::Schema });
        }
        let tables = news.unwrap_or_else(|| self.tables.clone());
        let turn = |Pending { version, previous, reason }| Turn {
            version,
            since: since.clone(),
            reason,
            previous,
            configured: self.configured.clone(),
            tables: tables.clone(),
        };
        self.turns.drain(..).map(turn).collect()
    }

    /// The turns are durable: answers go out.
    pub fn committed(&mut self, turns: &[Turn]) {
        if let Some(turn) = turns.last() {
            self.tables.clone_from(&turn.tables);
        }
        for Answer { exchanged, reply, .. } in self.answers.drain(..) {
            let _ = reply.send(Ok(exchanged));
        }
    }
}
