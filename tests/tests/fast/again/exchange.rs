//! A snapshot's chunks are cut, and the log filtered, by one entity key: no rule with another one may decide them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use hindsight::event::{Batch, Position, TableSchema};
use hindsight::groups::Groups;
use hindsight::ledger::{Reason, RuleVersion};
use hindsight::pipeline::{self, Exchange, Exchanged, Opening, Pipeline, Reading, Rejects, Status, Switches};
use hindsight::rule::{Decision, Plan, Rule, RuleError, WasmRule};
use hindsight::sink::{Memory, Sink};
use hindsight::source::cases::default_table;
use hindsight::source::{Source, SourceError};
use hindsight_tests::oracle::{Change, Op, Row};
use tokio::sync::{mpsc, oneshot, watch};

use super::play::Shipped;
use crate::property::player;

/// The default rule's plan with the asset as its entity. It decides nothing.
struct ByAsset(WasmRule);

impl Rule for ByAsset {
    fn configure(&mut self, tables: &[Arc<TableSchema>]) -> Result<Arc<Plan>, RuleError> {
        let mut plan = Plan::clone(&*self.0.configure(tables)?);
        plan.history.roles.entity_key = vec![0];
        plan.tables.iter_mut().for_each(|uses| uses.entity_key = vec![0]);
        Ok(Arc::new(plan))
    }

    fn transform(&mut self, _: &Groups<'_>) -> Result<Decision, RuleError> {
        Ok(Decision::default())
    }
}

/// Hands out each batch when it is let.
struct Gated(VecDeque<(Batch, Position)>, mpsc::Receiver<()>);

#[async_trait::async_trait]
impl Source for Gated {
    async fn next(&mut self) -> Result<Option<(Batch, Position)>, SourceError> {
        self.1.recv().await;
        Ok(self.0.pop_front())
    }
}

/// A pipeline by owner, while it runs.
struct Driver {
    gate: mpsc::Sender<()>,
    exchanges: mpsc::Sender<Exchange>,
    status: watch::Receiver<Option<Status>>,
}

impl Driver {
    /// Lets one batch through and waits for its commit.
    async fn let_one(&mut self) {
        let before = self.batches();
        self.gate.send(()).await.unwrap();
        self.status
            .wait_for(|status| status.as_ref().is_some_and(|status| status.summary.batches > before))
            .await
            .unwrap();
    }

    async fn exchange(&mut self) -> Result<Exchanged, String> {
        let (reply, answer) = oneshot::channel();
        let mut rule = ByAsset(Shipped::by_owner().rule());
        let tables = self.status.borrow().as_ref().map(|status| status.tables.clone()).unwrap_or_default();
        let configured = (!tables.is_empty()).then(|| {
            let plan = rule.configure(&tables).unwrap();
            (tables, plan)
        });
        let (rule, reason, asked) = (Box::new(rule), Reason::Swap, Instant::now());
        let exchange = Exchange { rule, version: version("by asset"), configured, reason, asked, reply };
        self.exchanges.send(exchange).await.unwrap();
        answer.await.unwrap()
    }

    fn batches(&self) -> u64 {
        self.status.borrow().as_ref().map_or(0, |status| status.summary.batches)
    }
}

fn version(name: &str) -> Arc<RuleVersion> {
    Arc::new(RuleVersion::new(name.into(), "a.wasm".into(), name.as_bytes().into(), Vec::new(), "UTC"))
}

fn by_owner() -> Option<Arc<[String]>> {
    Some(["owner_id".to_owned()].into())
}

/// Runs `drive` beside a pipeline of one batch for each `cut_by`, which ends with it; gives how it ended, and the sink.
/// `opened`: what its source was opened with.
async fn run(
    opened: Option<Arc<[String]>>,
    cut_by: &[Option<Arc<[String]>>],
    drive: impl AsyncFnOnce(&mut Driver),
) -> (Result<(), String>, Memory) {
    let row = Row { id: Some(1), owner: Some(1), info: None, registered_us: Some(0) };
    let change = [Change { op: Op::Create, time_us: 0, before: None, after: Some(row) }];
    let table = Arc::new(default_table());
    let batch =
        |cut_by: &Option<Arc<[String]>>| Batch { cut_by: cut_by.clone(), ..player::batch(&table, &change, 0..1) };
    let parts = cut_by.iter().enumerate().map(|(n, cut_by)| (batch(cut_by), Position((n + 1).to_string()))).collect();
    let (gate, gated) = mpsc::channel(1);
    let opening = Opening {
        rule: Box::new(Shipped::by_owner().rule()),
        version: version("by owner"),
        previous: None,
        configured: version("by owner").digest.clone(),
        turn: Some(Reason::Start),
        tables: String::new(),
        cut_by: opened,
    };
    let (exchanges, exchanged) = mpsc::channel(1);
    let (status, shown) = watch::channel(None);
    let (_stop, stop) = watch::channel(false);
    let (_paused, paused) = watch::channel(false);
    let switches = Switches { stop, paused, exchanges: exchanged };
    let start = Some(Position("0".into()));
    let pipeline = Pipeline {
        source: "a script".into(),
        start,
        rejects: Rejects::default(),
        reading: Reading::Ahead,
        repeat_batch: None,
    };
    let mut sink = Memory::default();
    let mut driver = Driver { gate, exchanges, status: shown };
    let source = Box::new(Gated(parts, gated));
    let mut tap = |_: &_, _: Option<&_>, _: &_| Ok(());
    let running = pipeline::run(source, opening, &mut sink, &pipeline, switches, &mut tap, |now| {
        status.send_replace(Some(now));
    });
    let driving = async {
        drive(&mut driver).await;
        drop(driver);
    };
    let (ended, ()) = tokio::join!(running, driving);
    (ended.map(drop).map_err(|failure| failure.to_string()), sink)
}

#[tokio::test]
async fn a_rule_with_another_entity_key_waits_until_the_log_is_behind_the_snapshot() {
    let (ended, mut sink) = run(by_owner(), &[by_owner(), by_owner(), None], async |driver| {
        let refusal = driver.exchange().await.unwrap_err();
        assert!(refusal.contains("(owner_id)") && refusal.contains("no captured row was met"), "{refusal}");
        for _ in 0..2 {
            driver.let_one().await;
            let refusal = driver.exchange().await.unwrap_err();
            assert!(refusal.contains("(owner_id)") && refusal.contains("this rule's is (id)"), "{refusal}");
        }
        driver.let_one().await;
        driver.exchange().await.expect("the log is behind it");
    })
    .await;
    assert_eq!(ended, Ok(()));
    let standing = sink.checkpoint().await.unwrap();
    assert_eq!(standing.checkpoint.unwrap().position.0, "3");
    assert_eq!(standing.ledger.active.unwrap().name, "by asset");
}

/// The source had cut it when the rules were exchanged.
#[tokio::test]
async fn a_chunk_that_was_cut_for_the_rule_before_stops_the_pipeline_and_nothing_of_it_is_written() {
    let (ended, mut sink) = run(None, &[None, by_owner()], async |driver| {
        driver.let_one().await;
        driver.exchange().await.expect("no snapshot yet");
        driver.gate.send(()).await.unwrap();
        // It ends by itself, or goes wrong.
        tokio::select! {
            () = driver.exchanges.closed() => {}
            _ = driver.status.wait_for(|status| status.as_ref().is_some_and(|status| status.summary.batches > 1)) => {}
        }
    })
    .await;
    let error = ended.unwrap_err();
    for words in ["by asset", "(owner_id)", "(id)", "start again"] {
        assert!(error.contains(words), "{error}");
    }
    let standing = sink.checkpoint().await.unwrap();
    assert_eq!(standing.checkpoint.unwrap().position.0, "1");
}
