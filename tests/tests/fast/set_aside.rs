//! What cannot be decided is set aside, change by change, and nothing else: over random logs with NULLs, and with a rule
//! that traps on some changes, against the oracle.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};

use hindsight::civil::Zone;
use hindsight::event::{Position, TableSchema};
use hindsight::failure::Failure;
use hindsight::groups::{Groups, Moved};
use hindsight::ledger::{Reason, RuleVersion};
use hindsight::pipeline::{self, OnReject, Opening, Pipeline, Reading, Rejects, Summary, Switches};
use hindsight::rows::{Rows, Value};
use hindsight::rule::{Component, Decision, Plan, Rule, RuleError, WasmRule};
use hindsight::sink::{Memory, Sink};
use hindsight::source::cases::default_table;
use hindsight_tests::components::component;
use hindsight_tests::oracle::{Change, OnOwnerChange, SetAside, Side, scd2_by_owner_set_aside};
use hindsight_tests::say::say;
use tokio::sync::{mpsc, watch};

use crate::again::play::Script;
use crate::property::player::{Played, batch};
use crate::property::{check, differ, log::Log};

/// Fails on every batch with a change to an empty text.
struct Trapping(WasmRule);

fn traps_on(change: &Change) -> bool {
    change.after.as_ref().is_some_and(|row| row.info.as_deref() == Some(""))
}

impl Rule for Trapping {
    fn configure(&mut self, tables: &[Arc<TableSchema>]) -> Result<Arc<Plan>, RuleError> {
        self.0.configure(tables)
    }

    fn transform(&mut self, groups: &Groups<'_>) -> Result<Decision, RuleError> {
        let is_empty = |entry| {
            let after = groups.batch.after(groups.change(entry));
            after.is_some_and(|row| row.get(2) == Value::Text(""))
        };
        if (0..groups.entries.len() as u32).any(is_empty) {
            return Err(RuleError::Batch("unreachable".into()));
        }
        self.0.transform(groups)
    }
}

fn rule(on_owner_change: OnOwnerChange) -> Trapping {
    let setting = match on_owner_change {
        OnOwnerChange::Close => "close",
        OnOwnerChange::Ignore => "ignore",
    };
    static COMPONENT: OnceLock<Component> = OnceLock::new();
    let component = COMPONENT.get_or_init(|| component("scd2-by-owner")).clone();
    Trapping(WasmRule::new(component, vec![("on-owner-change".into(), setting.into())]).unwrap())
}

/// Runs the log's batches through the pipeline.
fn run(log: &Log, edges: &[usize], on_reject: OnReject, max: usize) -> (Memory, Result<Summary, Failure>) {
    let table = Arc::new(default_table());
    let starts = std::iter::once(0).chain(edges.iter().copied());
    let ends = edges.iter().copied().chain([log.changes.len()]);
    let parts = starts
        .zip(ends)
        .enumerate()
        .map(|(n, (start, end))| (batch(&table, &log.changes, start..end), Position((n + 1).to_string())))
        .collect();
    let version = Arc::new(RuleVersion::new("a rule".into(), "a.wasm".into(), Arc::from([]), Vec::new(), "UTC"));
    let opening = Opening {
        rule: Box::new(rule(log.on_owner_change)),
        configured: version.digest.clone(),
        version,
        previous: None,
        turn: Some(Reason::Start),
        tables: String::new(),
        cut_by: None,
    };
    let rejects = Rejects { on_reject, max, pipeline: "a".into(), zone: Zone::UTC };
    let pipeline =
        Pipeline { source: "a script".into(), start: None, rejects, reading: Reading::Ahead, repeat_batch: None };
    let (_stop, stop) = watch::channel(false);
    let (_paused, paused) = watch::channel(false);
    let (_exchanges, exchanges) = mpsc::channel(1);
    let switches = Switches { stop, paused, exchanges };
    let mut sink = Memory::default();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let source = Box::new(Script(parts));
    let mut tap = |_: &_, _: Option<&_>, _: &_| Ok(());
    let ended = runtime.block_on(async {
        sink.checkpoint().await.unwrap();
        pipeline::run(source, opening, &mut sink, &pipeline, switches, &mut tap, |_| {}).await
    });
    (sink, ended)
}

/// As the oracle says it.
fn aside(sink: &Memory) -> Vec<(usize, Side, Option<i64>)> {
    let letter = |letter: &hindsight::dead_letter::DeadLetter| {
        let side = match letter.moved {
            Moved::Stays => Side::Stays,
            Moved::Leaves => Side::Leaves,
            Moved::Arrives => Side::Arrives,
        };
        let change = letter.place.strip_prefix("random:").unwrap().parse().unwrap();
        (change, side, letter.entity.as_ref().map(|entity| entity.parse().unwrap()))
    };
    sink.dead_letters().iter().map(letter).collect()
}

#[test]
fn what_a_rule_rejects_or_traps_on_is_set_aside_with_all_that_follows_it_and_nothing_else() {
    let (n_aside, n_chains) = (Cell::new(0), Cell::new(0));
    let cases = check("set aside = the oracle's", 500, |log| {
        for (on_reject, waits) in [(OnReject::Quarantine, true), (OnReject::Skip, false)] {
            let SetAside { table, aside: wanted } =
                scd2_by_owner_set_aside(&log.changes, log.on_owner_change, waits, traps_on);
            for (how, edges) in [("in these batches", &log.edges), ("in one batch", &Vec::new())] {
                let (sink, ended) = run(log, edges, on_reject, usize::MAX);
                let summary = ended.unwrap_or_else(|failure| panic!("{failure}"));
                let how = format!("{on_reject:?} {how}");
                differ(&how, aside(&sink), wanted.clone())?;
                assert_eq!(summary.dead_letters, wanted.len() as u64);
                let rows = sink.rows();
                let rows = if rows.width() == 0 { Rows::new(7) } else { rows };
                differ(&how, Played::of(rows, plan(log).history.clone()).history(), table.clone())?;
            }
            n_aside.set(n_aside.get() + wanted.len());
            n_chains.set(n_chains.get() + usize::from(waits && wanted.len() > 2));
        }
        Ok(())
    });
    say(&format!("{} changes set aside in {cases} logs, {} with chains", n_aside.get(), n_chains.get()));
    assert!(n_chains.get() * 4 > cases as usize, "few of the logs have a chain");
}

fn plan(log: &Log) -> Arc<Plan> {
    rule(log.on_owner_change).configure(&[Arc::new(default_table())]).unwrap()
}

#[test]
fn a_pipeline_that_stops_at_rejects_or_has_too_many_writes_nothing_of_the_batch() {
    check("stops at the first", 150, |log| {
        let SetAside { aside: wanted, .. } =
            scd2_by_owner_set_aside(&log.changes, log.on_owner_change, false, traps_on);
        let Some((first, ..)) = wanted.first() else { return Ok(()) };
        let before = log.edges.iter().filter(|edge| **edge <= *first).max().copied().unwrap_or(0);
        let table = scd2_by_owner_set_aside(&log.changes[..before], log.on_owner_change, false, traps_on).table;
        for (on_reject, max, words) in [
            (OnReject::Stop, usize::MAX, "Nothing of this batch was written"),
            (OnReject::Skip, 0, "more than 0 of the last 10000 changes cannot be decided"),
            (OnReject::Quarantine, 0, "more than 0 of the last 10000 changes cannot be decided"),
        ] {
            let (sink, ended) = run(log, &log.edges, on_reject, max);
            let failure = ended.map(drop).expect_err("it stops").to_string();
            assert!(failure.contains(words), "{failure}");
            assert!(sink.dead_letters().is_empty());
            if sink.rows().width() > 0 {
                differ("up to the batch", Played::of(sink.rows(), plan(log).history.clone()).history(), table.clone())?;
            }
        }
        Ok(())
    });
}
