//! StarRocks' own Java SDK, by the program of `sdk-check`.

use std::process::Command;

use starrocks_stand_in::{Fault, LabelCounts, Outage, Rule, StandIn};

use crate::clients::{below_target, cluster, n_rows};

/// What the check prints. None: it is not there.
fn check(cluster: &StandIn, mode: &str, options: &str) -> Option<String> {
    let program = below_target("starrocks-clients/bin/sdk")?;
    let mut sdk = Command::new(program);
    sdk.env("SDK_JAVA_OPTIONS", options).args([mode, &format!("http://127.0.0.1:{}", cluster.ports().fe[0])]);
    let output = sdk.args(["root", "", "d", "t", "10"]).output().expect("run the check");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The counts of its one label.
fn counts(cluster: &StandIn) -> LabelCounts {
    let labels = cluster.labels();
    assert_eq!(labels.len(), 1, "{labels:?}");
    labels[0].2.clone()
}

#[test]
fn the_sdk_loads_in_each_of_its_modes() {
    for (mode, options, n_expected) in [
        ("plain", "", "10"),
        ("txn", "", "10"),
        ("txn-abort", "", "0"),
        ("plain", "-Dsr.compression=lz4_frame", "10"),
        ("txn", "-Dsr.compression=lz4_frame", "10"),
        ("txn", "-Dsr.commitTwice=true", "10"),
    ] {
        let cluster = cluster();
        let Some(said) = check(&cluster, mode, options) else { return };
        assert!(said.ends_with("RESULT OK\n"), "{mode} {options}: {said}");
        assert_eq!(n_rows(&cluster), n_expected, "{mode} {options}");
        let counts = counts(&cluster);
        assert_eq!((counts.begun, counts.bodies), (1, 1), "{mode} {options}");
    }
}

#[test]
fn the_sdk_asks_for_the_state_when_a_commit_fails() {
    let cluster = cluster();
    cluster.fault(Rule::new("commit", Fault::CommitPublishTimeout { visible_after_ms: Some(0) })).unwrap();
    let Some(said) = check(&cluster, "txn", "") else { return };
    assert!(said.contains("COMMIT true") && said.ends_with("RESULT OK\n"), "{said}");
    assert!(!cluster.log("get_load_state", "").is_empty());
}

#[test]
fn the_sdk_takes_prepared_for_done_where_the_context_is_gone_and_nothing_else() {
    let cluster = cluster();
    // Done, and the reply is that of a repeat.
    cluster.fault(Rule::new("prepare", Fault::LoseReply).nth(1)).unwrap();
    let Some(said) = check(&cluster, "txn", "") else { return };
    assert!(said.contains("PREPARE true") && said.ends_with("RESULT OK\n"), "{said}");
    let statuses: Vec<String> = cluster.log("be.prepare", "").into_iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, ["", "TXN_NOT_EXISTS"]);
    assert_eq!(counts(&cluster).prepares, 1);
    // Not prepared, and the state is another one.
    let other = self::cluster();
    other.fault(Rule::new("prepare", Fault::TxnNotExists)).unwrap();
    let Some(said) = check(&other, "txn", "") else { return };
    assert!(said.contains("RESULT ERROR"), "{said}");
}

#[test]
fn the_sdk_repeats_a_prepare_whose_reply_is_lost_three_times_at_the_backend() {
    let cluster = cluster();
    cluster.fault(Rule::new("prepare", Fault::LoseReply)).unwrap();
    let Some(said) = check(&cluster, "txn", "") else { return };
    assert!(said.contains("RESULT ERROR"), "{said}");
    let log = cluster.log("be.prepare", "");
    assert_eq!(log.len(), 4);
    assert!(log.iter().all(|entry| entry.state == "PREPARED"), "{log:?}");
    assert_eq!(cluster.log("fe.prepare", "").len(), 1);
}

#[test]
fn the_sdk_does_not_look_for_another_backend_behind_a_redirect() {
    let cluster = cluster();
    cluster.fault(Rule::new("fe.begin", Fault::RedirectToDeadBe)).unwrap();
    let Some(said) = check(&cluster, "txn", "") else { return };
    assert!(said.contains("RESULT ERROR") && said.contains("Connection refused"), "{said}");
}

#[test]
fn the_sdk_says_that_a_commit_is_in_doubt_when_no_state_can_be_had() {
    let cluster = cluster();
    cluster.fault(Rule::new("commit", Fault::CommitPublishTimeout { visible_after_ms: Some(0) })).unwrap();
    cluster.fault(Rule::new("get_load_state", Fault::Unavailable { how: Outage::Error500 })).unwrap();
    let Some(said) = check(&cluster, "txn", "") else { return };
    assert!(said.contains("RESULT ERROR") || said.contains("COMMIT false"), "{said}");
    assert_eq!(n_rows(&cluster), "10");
}
