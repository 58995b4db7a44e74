//! Whatever goes wrong with a load: its rows are there once, no label is sent twice, and what is to be done is told.

use std::collections::BTreeMap;

use hindsight::history::Scope;
use hindsight::rows::{Rows, Value};
use hindsight::sink::starrocks::attempt::Outcome;
use hindsight::sink::starrocks::http::Access;
use hindsight::sink::starrocks::load::Loader;
use hindsight::sink::starrocks::reply::{LabelState, Reply};
use hindsight_tests::starrocks::faults::{Then, faults};
use hyper::body::Bytes;
use starrocks_stand_in::{Action, LabelCounts, Rule, Settings, StandIn};

use super::{DATABASE, PASSWORD, body, cluster, door, history, loader, make, row, started};

/// Attempts of a load at the most: each rule plays once.
const ATTEMPTS_MAX: usize = 6;

/// Loads of a case.
const LOADS: i64 = 3;

/// Loads until it is there; gives how often somebody had to be asked, and what was said on the way.
async fn carried_out(loader: &Loader, name: &str, body: &Bytes, prev: &str) -> (String, Vec<String>) {
    let mut said = Vec::new();
    for attempt in 0..ATTEMPTS_MAX {
        let label = format!("{name}-{attempt}");
        let begun = loader.begin(&label).await;
        if begun != Reply::Done {
            said.push(format!("begin: {begun:?}"));
            continue;
        }
        match loader.send(&label, body.clone()).await {
            Outcome::Applied => return (label, said),
            // Labels are forgotten first finished first: while the one before is known, this one was not finished.
            Outcome::Unknown(why) => {
                assert!(prev.is_empty() || loader.state(prev).await == LabelState::Visible, "{why}");
                said.push(format!("unknown: {why}"));
            }
            other => said.push(format!("{other:?}")),
        }
    }
    panic!("{name} is not there after {ATTEMPTS_MAX} attempts: {said:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_each_load_is_there_once() {
    let cluster = started(Settings { transaction_clean_interval_ms: 100, ..Settings::default() });
    let history = history();
    make(&cluster, "faults", &history);
    let (mut door, loader) = (door(&cluster), loader(&cluster, "faults"));
    let (mut keys, mut n_played) = (Rows::new(1), 0);
    for (case, (endpoint, fault, then)) in faults().into_iter().enumerate() {
        for nth in [1, 2] {
            let name = format!("case-{case}-{nth}");
            let played = format!("{endpoint} {fault:?}, call {nth}");
            cluster.fault(Rule::new(endpoint, fault.clone()).nth(nth).label(&name)).expect("the rule");
            let owner = case as i64 * 10 + nth as i64;
            keys.push_row([Value::Int(owner)]);
            let (mut prev, mut all) = (String::new(), Vec::new());
            for load in 0..LOADS {
                let mut rows = Rows::new(7);
                for id in 0..20 {
                    rows.push_row(row(load * 100 + id, owner, 0));
                }
                let body = body(&mut door, "faults", &history, &rows).await;
                let (label, said) = carried_out(&loader, &format!("{name}-{load}"), &body, &prev).await;
                (prev, all) = (label, [all, said].concat());
            }
            let stops = all.iter().any(|said| said.contains("Stop("));
            assert_eq!(stops, then == Then::Stops, "{played}: {all:#?}");
            n_played += cluster.faults().iter().map(|rule| rule.played).sum::<u64>();
            assert_eq!(cluster.faults().iter().map(|rule| rule.played).sum::<u64>(), 1, "{played} was played");
            cluster.clear_faults(None);
        }
    }
    assert_each_once(&cluster, "case-", keys.len() * LOADS as usize);
    let found = door.entity_rows("faults", &history, &keys, Scope::AllRows, None).await.expect("read");
    assert_eq!(found.rows.len(), keys.len() * 20 * LOADS as usize);
    println!("{n_played} faults, {} labels", cluster.labels().len());
}

/// By the log of the stand-in alone: labels that begin so, each sent once at the most, and of each load one visible.
#[track_caller]
fn assert_each_once(cluster: &StandIn, begins: &str, n_loads: usize) {
    let mut loads: BTreeMap<String, u64> = BTreeMap::new();
    for (_, label, LabelCounts { begun, bodies, visible, .. }) in cluster.labels() {
        let Some((load, _)) = label.rsplit_once('-').filter(|_| label.starts_with(begins)) else { continue };
        assert!(begun <= 1 && bodies <= 1 && visible <= 1, "{label}: begun {begun}, sent {bodies}, visible {visible}");
        *loads.entry(load.to_owned()).or_default() += visible;
    }
    assert_eq!(loads.len(), n_loads);
    let others: Vec<_> = loads.iter().filter(|(_, visible)| **visible != 1).collect();
    assert!(others.is_empty(), "loads that are there not once: {others:?}");
}

#[tokio::test]
async fn rows_that_are_refused_are_told_with_the_backends_reason() {
    let history = history();
    make(cluster(), "refused", &history);
    let loader = loader(cluster(), "refused");
    let body = r#"[{"source_id":1,"owner_id":null,"effective_start_ts":"2025-01-01 00:00:00","is_current":true,"op_type":"c"}]"#;
    assert_eq!(loader.begin("refused-1").await, Reply::Done);
    let outcome = loader.send("refused-1", Bytes::from_static(body.as_bytes())).await;
    let Outcome::Rejected(rejection) = outcome else { panic!("{outcome:?}") };
    let reasons = loader.reasons(&rejection).await;
    assert!(reasons.contains("too many filtered rows") && reasons.contains("owner_id"), "{reasons}");
}

#[tokio::test]
async fn a_password_is_told_to_the_clusters_own_hosts_only() {
    let history = history();
    make(cluster(), "astray", &history);
    let mut target = super::target(cluster(), "astray");
    target.access = Access::new("loader", PASSWORD, vec!["fe.example".into()], None);
    let stopped = Loader::new(target.clone()).begin("astray-1").await;
    assert!(
        matches!(&stopped, Reply::Stop(why) if why.contains("SHOW BACKENDS") && why.contains("redirect-host")),
        "{stopped:?}"
    );
    let asked = |label: &str| cluster().log("be.", label).len();
    assert_eq!(asked("astray-1"), 0, "no backend was asked");
    // Where servers name themselves by addresses that cannot be reached, the host is another.
    target.access = Access::new("loader", PASSWORD, Vec::new(), Some("127.0.0.1".into()));
    assert_eq!(Loader::new(target).begin("astray-2").await, Reply::Done);
    assert_eq!(asked("astray-2"), 1);
}

#[tokio::test]
async fn a_frontend_that_is_away_is_passed_over() {
    let cluster = started(Settings::default());
    let history = history();
    make(&cluster, "away", &history);
    let (mut door, loader) = (door(&cluster), loader(&cluster, "away"));
    let mut rows = Rows::new(7);
    rows.push_row(row(1, 7, 0));
    let body = body(&mut door, "away", &history, &rows).await;
    assert_eq!(loader.begin("away-1").await, Reply::Done);
    assert_eq!(loader.send("away-1", body.clone()).await, Outcome::Applied);
    cluster.act(Action::StopFe { fe: 0 }).await.unwrap();
    assert_eq!(loader.begin("away-2").await, Reply::Done);
    assert_eq!(loader.send("away-2", body.clone()).await, Outcome::Applied);
    assert_eq!(loader.state("away-1").await, LabelState::Visible);
    let labels = cluster.labels();
    assert!(labels.iter().all(|(database, _, counts)| database == DATABASE && counts.visible == 1), "{labels:?}");
}

#[tokio::test]
async fn what_is_committed_and_not_visible_is_waited_for() {
    let cluster = started(Settings { publish_delay_ms: 400, publish_wait_ms: 50, ..Settings::default() });
    let history = history();
    make(&cluster, "later", &history);
    let (mut door, loader) = (door(&cluster), loader(&cluster, "later"));
    let (mut rows, mut keys) = (Rows::new(7), Rows::new(1));
    rows.push_row(row(1, 7, 0));
    keys.push_row([Value::Int(7)]);
    let body = body(&mut door, "later", &history, &rows).await;
    assert_eq!(loader.begin("later-1").await, Reply::Done);
    assert_eq!(loader.send("later-1", body).await, Outcome::Applied);
    let found = door.entity_rows("later", &history, &keys, Scope::AllRows, None).await.unwrap();
    assert_eq!(found.rows.len(), 1, "what is applied can be read");
}
