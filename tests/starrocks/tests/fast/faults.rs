//! Each fault once. The numbers in the names are those of the README's table.

use std::time::{Duration, Instant};

use starrocks_stand_in::{BadReply, Fault, Outage, Rule, Turn, When};

use crate::raw::{Cluster, Got, ROW, SILENCE, cluster};

const DELAY_MS: u64 = 300;

/// A plain load under a fault.
fn plain(endpoint: &str, fault: Fault) -> (Cluster, Got) {
    let cluster = cluster();
    cluster.fault(endpoint, fault);
    let got = cluster.plain("a", ROW).follow();
    (cluster, got)
}

/// Operations before, and one under a fault.
fn transaction(before: &[&str], operation: &str, endpoint: &str, fault: Fault) -> (Cluster, Got) {
    let cluster = cluster();
    cluster.done("a", before);
    cluster.fault(endpoint, fault);
    let got = cluster.transaction(operation, "a", (operation == "load").then_some(ROW)).follow();
    (cluster, got)
}

const LOADED: [&str; 2] = ["begin", "load"];
const PREPARED: [&str; 3] = ["begin", "load", "prepare"];

#[test]
fn n01_to_03_redirects_lead_nowhere_or_come_late() {
    assert_eq!(plain("fe.stream_load", Fault::RedirectToDeadBe).1, Got::Refused);
    let hung = cluster();
    hung.fault("fe.stream_load", Fault::RedirectToHungBe);
    let mut ask = hung.plain("a", ROW);
    ask.wait = Some(SILENCE);
    assert_eq!(ask.follow(), Got::Nothing);
    let begun = Instant::now();
    let (_, got) = plain("fe.stream_load", Fault::SlowRedirect { delay_ms: DELAY_MS });
    assert!(begun.elapsed() >= Duration::from_millis(DELAY_MS));
    assert_eq!(got.status(), "Success");
}

#[test]
fn n04_and_05_a_body_is_not_asked_for() {
    let (cluster, got) = plain("be.stream_load", Fault::RefuseBeforeBody { message: Some("no".into()) });
    assert_eq!((got.status().as_str(), got.message().as_str(), got.continued()), ("Fail", "no", false));
    assert_eq!(cluster.counts("a").bodies, 0);
    let cluster = crate::raw::cluster();
    cluster.fault("be.stream_load", Fault::NeverContinue);
    let mut ask = cluster.plain("a", ROW);
    ask.wait = Some(SILENCE);
    assert_eq!(ask.follow(), Got::Nothing);
    // It was begun, and is given up when the client goes.
    assert_eq!(cluster.counts("a").begun, 1);
    cluster.until_state("a", "ABORTED");
}

#[test]
fn n06_a_publish_that_is_late_is_answered_at_once() {
    let (cluster, got) = plain("be.stream_load", Fault::PublishTimeout { visible_after_ms: Some(DELAY_MS) });
    assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("Publish Timeout", "COMMITTED"));
    cluster.until_state("a", "VISIBLE");
    assert_eq!(cluster.shown(0, "k"), ["1"]);
}

#[test]
fn n07_and_08_a_label_exists_in_each_of_three_ways() {
    let (_, got) = plain("be.stream_load", Fault::LabelExistsRunning);
    assert_eq!((got.status().as_str(), &got.json()["ExistingJobStatus"]), ("Label Already Exists", &"RUNNING".into()));
    let (_, got) = plain("be.stream_load", Fault::LabelExistsFinished);
    assert_eq!(got.json()["ExistingJobStatus"], "FINISHED");
    let (_, got) = plain("be.stream_load", Fault::LabelExistsAsFail);
    assert_eq!((got.status().as_str(), got.message().as_str()), ("Fail", "Label [a] has already been used."));
    let (_, got) = transaction(&[], "begin", "be.begin", Fault::LabelExistsRunning);
    assert_eq!((got.status().as_str(), &got.json()["ExistingJobStatus"]), ("LABEL_ALREADY_EXISTS", &"RUNNING".into()));
}

#[test]
fn n09_a_backend_does_not_know_the_transaction() {
    for (before, operation) in [(&LOADED[..1], "load"), (&LOADED[..], "prepare"), (&LOADED[..], "rollback")] {
        let (cluster, got) = transaction(before, operation, operation, Fault::TxnNotExists);
        assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("TXN_NOT_EXISTS", "PREPARE"));
    }
}

#[test]
fn n10_a_transaction_is_busy_so_many_times() {
    let cluster = cluster();
    cluster.done("a", &LOADED);
    cluster.rule(Rule::new("prepare", Fault::TxnInProcessing).times(2));
    let statuses: Vec<String> = (0..3).map(|_| cluster.transaction("prepare", "a", None).follow().status()).collect();
    assert_eq!(statuses, ["TXN_IN_PROCESSING", "TXN_IN_PROCESSING", "OK"]);
}

#[test]
fn n11_an_http_error_comes_in_the_middle_of_a_body() {
    let (cluster, got) = plain("be.stream_load", Fault::ErrorMidBody { status: 502, after_bytes: 10 });
    assert!(matches!(got, Got::Reply { status: 502, continued: true, .. }), "{got:?}");
    assert_eq!((cluster.state("a").as_str(), cluster.counts("a").bodies), ("ABORTED", 0));
}

#[test]
fn n12_and_13_a_reset_after_the_body_tells_nothing_of_the_commit() {
    let (cluster, got) = plain("be.stream_load", Fault::LoseReply);
    assert_eq!((got, cluster.state("a").as_str()), (Got::Reset, "VISIBLE"));
    let (cluster, got) = plain("be.stream_load", Fault::ResetNotCommitted { stays: false });
    assert_eq!((got, cluster.state("a").as_str()), (Got::Reset, "ABORTED"));
    let (cluster, got) = plain("be.stream_load", Fault::ResetNotCommitted { stays: true });
    assert_eq!((got, cluster.state("a").as_str()), (Got::Reset, "PREPARE"));
}

#[test]
fn n14_and_16_a_reply_of_prepare_or_commit_is_lost() {
    let (cluster, got) = transaction(&LOADED, "prepare", "prepare", Fault::LoseReply);
    assert_eq!((got, cluster.state("a").as_str()), (Got::Reset, "PREPARED"));
    let (cluster, got) = transaction(&PREPARED, "commit", "commit", Fault::LoseReply);
    assert_eq!((got, cluster.state("a").as_str()), (Got::Reset, "VISIBLE"));
}

#[test]
fn n15_what_was_prepared_is_aborted_a_moment_later() {
    let (cluster, got) = transaction(&LOADED, "prepare", "prepare", Fault::LateAbort { after_ms: DELAY_MS });
    assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("THRIFT_RPC_ERROR", "PREPARED"));
    cluster.until_state("a", "ABORTED");
}

#[test]
fn n17_a_commit_fails_by_its_words_and_not_in_fact() {
    let fault = Fault::CommitPublishTimeout { visible_after_ms: None };
    let (cluster, got) = transaction(&PREPARED, "commit", "commit", fault);
    assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("FAILED", "COMMITTED"));
    assert!(got.message().ends_with("publish timeout: 20000"), "{got:?}");
    cluster.act(starrocks_stand_in::Action::Release);
    cluster.until_state("a", "VISIBLE");
}

#[test]
fn n18_and_19_a_transaction_has_timed_out_when_it_is_called() {
    let (cluster, got) = transaction(&PREPARED, "commit", "commit", Fault::TxnTimedOut);
    assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("FAILED", "ABORTED"));
    let (cluster, got) = transaction(&LOADED, "prepare", "prepare", Fault::TxnTimedOut);
    assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("ABORTED", "ABORTED"));
    let (_, got) = transaction(&LOADED[..1], "load", "load", Fault::TxnTimedOut);
    assert_eq!(got.message(), "current transaction is aborted");
}

#[test]
fn n20_a_leader_switch_loses_what_is_in_prepare_and_keeps_what_is_prepared() {
    let switch = |turn| Fault::LeaderSwitch { to: Some(1), turn };
    let (cluster, got) = transaction(&LOADED, "prepare", "be.prepare", switch(Turn::Before));
    assert_ne!(got.status(), "OK");
    assert_eq!(cluster.state("a"), "UNKNOWN");
    let (cluster, got) = transaction(&PREPARED, "commit", "fe.commit", switch(Turn::Before));
    assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("OK", "VISIBLE"));
    let (cluster, got) = plain("be.stream_load", switch(Turn::After));
    assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("Success", "VISIBLE"));
}

#[test]
fn n21_a_backend_restarts_and_its_contexts_are_gone() {
    let fault = Fault::BeRestart { turn: Turn::Before };
    let (cluster, got) = transaction(&LOADED, "prepare", "be.prepare", fault);
    assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("TXN_NOT_EXISTS", "PREPARE"));
}

#[test]
fn n22_a_label_is_forgotten_after_its_rows_are_visible() {
    let (cluster, got) = plain("be.stream_load", Fault::ForgetLabel);
    assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("Success", "UNKNOWN"));
    assert_eq!(cluster.shown(0, "k"), ["1"]);
}

#[test]
fn n23_24_27_32_33_34_loads_are_refused_for_reasons_of_the_cluster() {
    let cases = [
        (Fault::TooManyVersions, "because of too many versions"),
        (Fault::TooManyRunning, "current running txns on db d is 1000, larger than limit 1000"),
        (Fault::DiskFull, "exceed limit usage"),
        (Fault::QuotaExceeded, "data size exceeds quota"),
        (Fault::SchemaChanged, "schema"),
        (Fault::EmptyLoad, "all partitions have no load data"),
    ];
    for (fault, words) in cases {
        let (cluster, got) = plain("be.stream_load", fault.clone());
        assert_eq!(got.status(), "Fail", "{fault:?}");
        assert!(got.message().contains(words), "{fault:?}: {got:?}");
        assert!(["ABORTED", "UNKNOWN"].contains(&cluster.state("a").as_str()));
    }
    let (_, got) = transaction(&LOADED[..1], "load", "load", Fault::SchemaChanged);
    assert_eq!(got.status(), "INTERNAL_ERROR");
    let (_, got) = transaction(&LOADED, "prepare", "prepare", Fault::EmptyLoad);
    assert_eq!(got.message(), "all partitions have no load data");
}

#[test]
fn n24_the_limit_of_running_transactions_is_the_clusters_own_as_well() {
    let cluster = cluster();
    let config = |value: &str| starrocks_stand_in::Action::Config {
        name: "max_running_txn_num_per_db".into(),
        value: value.into(),
    };
    cluster.act(config("1"));
    cluster.done("a", &["begin"]);
    let got = cluster.plain("b", ROW).follow();
    assert_eq!(got.message(), "current running txns on db d is 1, larger than limit 1");
}

#[test]
fn n25_a_slow_backend_reads_and_answers_slowly() {
    let begun = Instant::now();
    let (_, got) = plain("be.stream_load", Fault::SlowBe { bytes_per_s: Some(100), reply_delay_ms: 50 });
    assert_eq!(got.status(), "Success");
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
}

#[test]
fn n26_a_user_is_refused_by_frontend_and_backend_each_in_its_way() {
    let (_, got) = plain("fe.stream_load", Fault::AuthRefused);
    assert!(matches!(got, Got::Reply { status: 401, .. }), "{got:?}");
    let (_, got) = plain("be.stream_load", Fault::AuthRefused);
    assert_eq!(got.status(), "Fail");
    let (_, got) = transaction(&[], "begin", "be.begin", Fault::AuthRefused);
    assert_eq!(got.status(), "ANALYSIS_ERROR");
}

#[test]
fn n28_no_backend_is_alive() {
    let (_, got) = plain("fe.stream_load", Fault::NoBackendAlive);
    assert_eq!(got.status(), "FAILED");
    assert!(got.message().ends_with("No backend alive."));
}

#[test]
fn n29_a_reply_is_no_json_or_only_half_of_it() {
    let bad = |how| plain("be.stream_load", Fault::BadReply { how });
    let (cluster, got) = bad(BadReply::Truncated);
    assert_eq!((got, cluster.state("a").as_str()), (Got::Closed, "VISIBLE"));
    for how in [BadReply::HalfJson, BadReply::NotJson, BadReply::Empty] {
        let (_, got) = bad(how);
        let Got::Reply { status: 200, body, .. } = got else { panic!("no reply") };
        assert!(serde_json::from_str::<serde_json::Value>(&body).is_err(), "{body}");
    }
}

#[test]
fn n30_get_load_state_cannot_be_had() {
    let cluster = cluster();
    let ask = || cluster.ask("GET", "/api/d/get_load_state?label=a").send();
    cluster.rule(Rule::new("get_load_state", Fault::Unavailable { how: Outage::Error500 }).nth(1));
    cluster.rule(Rule::new("get_load_state", Fault::Unavailable { how: Outage::Reset }).nth(2));
    assert!(matches!(ask(), Got::Reply { status: 500, .. }));
    assert_eq!(ask(), Got::Reset);
    assert_eq!(cluster.state("a"), "UNKNOWN");
}

#[test]
fn n31_a_value_becomes_null_and_nobody_says_so() {
    let (cluster, got) = plain("be.stream_load", Fault::SilentNull { column: "name".into() });
    assert_eq!((got.status().as_str(), got.json()["NumberFilteredRows"].as_u64()), ("Success", Some(0)));
    assert_eq!(cluster.shown(0, "name"), ["NULL"]);
}

#[test]
fn a_proxy_takes_a_body_of_its_own_accord_and_hands_it_on_when_the_client_is_gone() {
    let cluster = cluster();
    cluster.fault("be.stream_load", Fault::ProxyBuffers { delay_ms: None });
    let mut ask = cluster.plain("a", ROW);
    ask.wait = Some(SILENCE);
    assert_eq!(ask.follow(), Got::Nothing);
    // The body is on its way, and nothing was begun: the label is free, and is taken by another load.
    assert_eq!((cluster.state("a").as_str(), cluster.counts("a").bodies, cluster.counts("a").begun), ("UNKNOWN", 1, 0));
    cluster.act(starrocks_stand_in::Action::Release);
    cluster.until_state("a", "VISIBLE");
    assert_eq!(cluster.shown(0, "k"), ["1"]);
}

#[test]
fn chance_is_the_same_for_the_same_seed() {
    let outcomes = || {
        let cluster = cluster();
        let mut rule = Rule::new("get_load_state", Fault::Unavailable { how: Outage::Error502 });
        rule.when = When::Probability { p: 0.5, seed: 7 };
        cluster.rule(rule);
        let ask =
            || matches!(cluster.ask("GET", "/api/d/get_load_state?label=a").send(), Got::Reply { status: 502, .. });
        (0..20).map(|_| ask()).collect::<Vec<bool>>()
    };
    let first = outcomes();
    assert_eq!(first, outcomes());
    assert!(first.contains(&true) && first.contains(&false));
}

#[test]
fn the_control_port_adds_rules_does_actions_and_shows_the_log() {
    let cluster = cluster();
    let control = |method: &'static str, path: &str, body: Option<&'static str>| {
        let mut ask = cluster.ask(method, path);
        (ask.port, ask.body) = (cluster.it.ports().control, body.map(str::as_bytes));
        ask.send()
    };
    let rule = r#"{"endpoint": "commit", "fault": "commit_publish_timeout", "visible_after_ms": 5, "when": {"nth": 1}, "label": "a"}"#;
    assert_eq!(control("POST", "/faults", Some(rule)).json()["id"], 1);
    let wrong = control("POST", "/faults", Some(r#"{"endpoint": "commit", "fault": "no_such"}"#));
    assert!(matches!(wrong, Got::Reply { status: 400, .. }), "{wrong:?}");
    cluster.done("a", &PREPARED);
    assert_eq!(cluster.transaction("commit", "a", None).follow().status(), "FAILED");
    assert_eq!(control("GET", "/faults", None).json()[0]["played"], 1);
    control("POST", "/actions", Some(r#"{"action": "switch_leader"}"#)).json();
    cluster.until_state("a", "VISIBLE");
    let log = control("GET", "/log?endpoint=fe.commit&label=a", None).json();
    assert_eq!((&log[0]["fault"], &log[0]["status"]), (&"commit_publish_timeout".into(), &"FAILED".into()));
    assert_eq!(control("GET", "/labels", None).json()[0]["visible"], 1);
    assert_eq!(control("GET", "/transactions?db=d", None).json()[0]["state"], "VISIBLE");
    control("DELETE", "/faults", None).json();
    assert!(cluster.it.faults().is_empty());
}

#[test]
fn the_mysql_port_has_faults_as_well() {
    use mysql_async::prelude::Queryable;
    let cluster = cluster();
    cluster.rule(Rule::new("mysql.query", Fault::SqlError { code: 1064, message: "Backend not found".into() }).nth(1));
    cluster.rule(Rule::new("mysql.query", Fault::LoseReply).nth(2));
    let port = cluster.it.ports().mysql[0];
    cluster.block_on(async {
        // What is asked at the connect is told beforehand, so that the first query is ours.
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some("root"))
            .prefer_socket(false)
            .max_allowed_packet(Some(1 << 24))
            .wait_timeout(Some(60));
        let mut conn = mysql_async::Conn::new(options).await.expect("connect");
        let error = conn.query_drop("SELECT 1").await.unwrap_err().to_string();
        assert!(error.contains("Backend not found"), "{error}");
        conn.query_drop("SELECT 1").await.expect_err("the connection is reset");
    });
}
