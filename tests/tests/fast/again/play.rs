//! Plays a script of batches through the pipeline into a place for history, with kills: what is not committed is handed
//! out again, as a source does that is opened at the checkpoint. What the rule was given and what was committed of it is
//! written down.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use hindsight::dead_letter::Quarantine;
use hindsight::event::{self, Batch, Position, TableSchema};
use hindsight::failure::Failure;
use hindsight::groups::Groups;
use hindsight::history::{EntityRows, HistorySchema, Load, Scope, Standing};
use hindsight::ledger::{Reason, RuleVersion};
use hindsight::pipeline::{self, Opening, Pipeline, Reading, Rejects, Switches};
use hindsight::rows::{self, Rows, Value};
use hindsight::rule::{Component, Decision, Plan, Rule, RuleError, WasmRule};
use hindsight::sink::{Sink, SinkError};
use hindsight::source::cases::default_table;
use hindsight::source::{Source, SourceError};
use hindsight_tests::components::component;
use hindsight_tests::contract::sink::Home;
use hindsight_tests::oracle::{Change, Op, Row};
use tokio::sync::{mpsc, watch};

use crate::property::player::Played;

/// A rule that plays are made with.
pub struct Shipped {
    component: Component,
    settings: Vec<(String, String)>,
}

impl Shipped {
    pub fn by_owner() -> Self {
        Shipped { component: component("scd2-by-owner"), settings: Vec::new() }
    }

    /// `columns`: what it folds of a change's images.
    pub fn count_changes(columns: &str) -> Self {
        let settings = vec![("columns".to_owned(), columns.to_owned())];
        Shipped { component: component("count-changes"), settings }
    }

    pub fn name(&self) -> &str {
        &self.component.description.name
    }

    pub fn rule(&self) -> WasmRule {
        WasmRule::new(self.component.clone(), self.settings.clone()).unwrap()
    }

    pub fn plan(&self) -> Arc<Plan> {
        self.rule().configure(&[Arc::new(default_table())]).unwrap()
    }
}

/// A kill at a commit of a run, counted from 0.
#[derive(Clone, Copy, Debug)]
pub struct Kill {
    pub commit: usize,
    pub when: When,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// The commit is not made.
    Before,
    /// It is, and nobody learns of it.
    After,
}

/// What plays end with.
#[derive(Default)]
pub struct Heard {
    decided: Vec<Change>,
    /// What the rule was given, of batches that were committed.
    pub emitted: Vec<Change>,
}

/// Plays the script to its end.
///
/// # Errors
/// What stops a run that is not killed.
pub async fn play(
    home: &mut dyn Home,
    shipped: &Shipped,
    script: &[Batch],
    kills: &[Kill],
    repeat_batch: Option<u64>,
) -> Result<Vec<Change>, Failure> {
    let heard = Arc::new(Mutex::new(Heard::default()));
    for kill in kills.iter().copied().map(Some).chain([None]) {
        let mut sink = Killed { sink: home.open(), kill, commits: 0, killed: false, heard: heard.clone() };
        let Standing { checkpoint, ledger, .. } = sink.checkpoint().await.unwrap();
        let start = checkpoint.map(|checkpoint| checkpoint.position);
        let done = start.as_ref().map_or(0, |position| position.0.parse().unwrap());
        let parts = script.iter().enumerate().skip(done);
        let source = Script(parts.map(|(n, batch)| (batch.clone(), Position((n + 1).to_string()))).collect());
        let version = Arc::new(RuleVersion::new("a rule".into(), "a.wasm".into(), Arc::from([]), Vec::new(), "UTC"));
        let opening = Opening {
            rule: Box::new(Recording { rule: shipped.rule(), heard: heard.clone() }),
            configured: version.digest.clone(),
            version,
            previous: None,
            turn: start.is_none().then_some(Reason::Start),
            tables: ledger.tables.unwrap_or_default(),
            cut_by: None,
        };
        let pipeline = Pipeline {
            source: "a script".into(),
            start,
            rejects: Rejects::default(),
            reading: Reading::Ahead,
            repeat_batch,
        };
        let (_stop, stop) = watch::channel(false);
        let (_paused, paused) = watch::channel(false);
        let (_exchanges, exchanges) = mpsc::channel(1);
        let switches = Switches { stop, paused, exchanges };
        let ended =
            pipeline::run(Box::new(source), opening, &mut sink, &pipeline, switches, &mut |_, _, _| Ok(()), |_| {})
                .await;
        let Killed { sink, killed, .. } = sink;
        home.close(sink);
        match ended {
            Err(failure) if !killed => return Err(failure),
            _ => heard.lock().unwrap().decided.clear(),
        }
    }
    Ok(std::mem::take(&mut heard.lock().unwrap().emitted))
}

/// All rows of these owners.
pub async fn table(home: &mut dyn Home, shipped: &Shipped, owners: impl Iterator<Item = i64>) -> Played {
    let mut sink = home.open();
    let history = shipped.plan().history.clone();
    sink.checkpoint().await.unwrap();
    sink.prepare(&history).await.unwrap();
    let mut keys = Rows::new(1);
    for owner in owners {
        keys.push_row([Value::Int(owner)]);
    }
    let rows = sink.entity_rows(&keys, Scope::AllRows).await.unwrap().rows;
    home.close(sink);
    Played::of(rows, history)
}

/// A source that is written down.
pub struct Script(pub VecDeque<(Batch, Position)>);

#[async_trait::async_trait]
impl Source for Script {
    async fn next(&mut self) -> Result<Option<(Batch, Position)>, SourceError> {
        Ok(self.0.pop_front())
    }
}

struct Recording {
    rule: WasmRule,
    heard: Arc<Mutex<Heard>>,
}

impl Rule for Recording {
    fn configure(&mut self, tables: &[Arc<TableSchema>]) -> Result<Arc<Plan>, RuleError> {
        self.rule.configure(tables)
    }

    fn transform(&mut self, groups: &Groups<'_>) -> Result<Decision, RuleError> {
        let batch = groups.batch;
        let changes = batch.changes.iter().map(|change| Change {
            op: match change.op {
                event::Op::Create => Op::Create,
                event::Op::Read => Op::Read,
                event::Op::Update => Op::Update,
                event::Op::Delete => Op::Delete,
            },
            time_us: change.time_us,
            before: batch.before(change).map(row),
            after: batch.after(change).map(row),
        });
        self.heard.lock().unwrap().decided.extend(changes);
        self.rule.transform(groups)
    }
}

/// A row of the default table; what an image lacks is none.
fn row(image: rows::Row<'_>) -> Row {
    let number = |column| match image.get(column) {
        Value::Int(value) => Some(value),
        _ => None,
    };
    let info = match image.get(2) {
        Value::Text(text) => Some(text.to_owned()),
        _ => None,
    };
    Row { id: number(0), owner: number(1), info, registered_us: number(3) }
}

/// Ends a run at one of its commits.
struct Killed {
    sink: Box<dyn Sink>,
    kill: Option<Kill>,
    commits: usize,
    killed: bool,
    heard: Arc<Mutex<Heard>>,
}

#[async_trait::async_trait]
impl Sink for Killed {
    async fn checkpoint(&mut self) -> Result<Standing, SinkError> {
        self.sink.checkpoint().await
    }

    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        self.sink.prepare(history).await
    }

    async fn quarantined(&mut self) -> Result<Arc<Quarantine>, SinkError> {
        self.sink.quarantined().await
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        self.sink.entity_rows(keys, scope).await
    }

    async fn unmet(&mut self, after: Option<rows::Row<'_>>, n_wanted: usize) -> Result<Rows, SinkError> {
        self.sink.unmet(after, n_wanted).await
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        let kill = self.kill.filter(|kill| kill.commit == self.commits).map(|kill| kill.when);
        self.commits += 1;
        self.killed |= kill.is_some();
        let killed = || SinkError::Stop("killed".into());
        if kill == Some(When::Before) {
            return Err(killed());
        }
        self.sink.commit(load).await?;
        let mut heard = self.heard.lock().unwrap();
        let Heard { decided, emitted } = &mut *heard;
        emitted.append(decided);
        kill.map_or(Ok(()), |_| Err(killed()))
    }
}
