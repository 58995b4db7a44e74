//! The transaction interface.

use starrocks_stand_in::Action;

use crate::raw::{Ask, Got, ROW, cluster};

#[test]
fn prepared_rows_are_seen_after_the_commit_and_not_before() {
    let cluster = cluster();
    cluster.done("a", &["begin"]);
    assert_eq!(cluster.state("a"), "PREPARE");
    cluster.done("a", &["load", "load", "prepare"]);
    assert_eq!((cluster.state("a").as_str(), cluster.shown(0, "k").len()), ("PREPARED", 0));
    cluster.done("a", &["commit"]);
    assert_eq!((cluster.state("a").as_str(), cluster.shown(0, "k").len()), ("VISIBLE", 1));
    let again = cluster.transaction("commit", "a", None).follow();
    assert_eq!(again.status(), "OK");
    assert!(again.message().contains("has already committed"), "{again:?}");
    let rollback = cluster.transaction("rollback", "a", None).follow();
    assert!(rollback.message().contains("Can not abort VISIBLE transaction"), "{rollback:?}");
}

#[test]
fn a_commit_without_prepare_is_one_phase_and_a_rollback_ends_either() {
    let cluster = cluster();
    cluster.done("a", &["begin", "load", "commit"]);
    assert_eq!(cluster.state("a"), "VISIBLE");
    cluster.done("b", &["begin", "load", "rollback"]);
    cluster.done("c", &["begin", "load", "prepare", "rollback"]);
    assert_eq!((cluster.state("b").as_str(), cluster.state("c").as_str()), ("ABORTED", "ABORTED"));
    let commit = cluster.transaction("commit", "c", None).follow();
    assert_eq!(commit.status(), "FAILED");
    assert!(commit.message().contains("Can not commit ABORTED transaction"), "{commit:?}");
    // Whose transactions were all aborted is free.
    cluster.done("b", &["begin"]);
}

#[test]
fn a_follower_sends_every_operation_to_the_leader() {
    let cluster = cluster();
    let follower = cluster.it.ports().fe[1];
    for operation in ["begin", "load", "prepare", "commit"] {
        let rows = (operation == "load").then_some(ROW);
        let ask = Ask { port: follower, ..cluster.transaction(operation, "a", rows) };
        let Got::Reply { status, location, .. } = ask.send() else { panic!("no reply") };
        assert_eq!(
            (status, location),
            (307, Some(format!("http://127.0.0.1:{}/api/transaction/{operation}", cluster.fe())))
        );
        assert_eq!(ask.follow().status(), "OK");
    }
}

#[test]
fn a_context_is_gone_after_prepare_and_repeats_find_none() {
    let cluster = cluster();
    cluster.done("a", &["begin", "load", "prepare"]);
    assert_eq!(cluster.transaction("prepare", "a", None).follow().status(), "TXN_NOT_EXISTS");
    assert_eq!(cluster.transaction("load", "a", Some(ROW)).follow().status(), "TXN_NOT_EXISTS");
    assert_eq!(cluster.state("a"), "PREPARED");
    let unknown = cluster.transaction("load", "never", Some(ROW)).follow();
    assert!(unknown.message().contains("Can't find the transaction with db [d] and label[never]"), "{unknown:?}");
}

#[test]
fn a_begin_of_a_used_label_says_what_it_is() {
    let cluster = cluster();
    cluster.done("a", &["begin"]);
    let open = cluster.transaction("begin", "a", None).follow();
    assert_eq!((open.status().as_str(), open.message().as_str()), ("LABEL_ALREADY_EXISTS", ""));
    cluster.done("a", &["load", "prepare"]);
    let running = cluster.transaction("begin", "a", None).follow();
    assert_eq!(
        (running.status().as_str(), &running.json()["ExistingJobStatus"]),
        ("LABEL_ALREADY_EXISTS", &"RUNNING".into())
    );
    cluster.done("a", &["commit"]);
    let finished = cluster.transaction("begin", "a", None).follow();
    assert_eq!(finished.json()["ExistingJobStatus"], "FINISHED");
}

#[test]
fn calls_that_do_not_fit_their_transaction_are_refused() {
    let cluster = cluster();
    cluster.done("a", &["begin"]);
    let empty = cluster.transaction("prepare", "a", None).follow();
    assert_eq!((empty.status().as_str(), cluster.state("a").as_str()), ("INTERNAL_ERROR", "ABORTED"));
    assert!(empty.message().contains("hasn't send any data yet"));
    cluster.done("b", &["begin"]);
    let mut other = cluster.transaction("load", "b", Some(ROW));
    other.headers.retain(|(name, _)| *name != "table");
    other.headers.push(("table", "u".into()));
    assert_eq!(other.follow().message(), "Request table u not equal transaction table t");
    cluster.done("b", &["load"]);
    let mut other = cluster.transaction("load", "b", Some(ROW));
    other.headers.push(("strict_mode", "true".into()));
    assert_eq!(other.follow().message(), "load request not equal last.");
    assert_eq!(cluster.state("b"), "ABORTED");
    let nobody = cluster.transaction("begin", "", None).follow();
    assert!(nobody.message().ends_with("Empty label."), "{nobody:?}");
}

#[test]
fn a_cancel_ends_what_is_being_loaded_and_nothing_else() {
    let cluster = cluster();
    let cancel = |label: &str| cluster.ask("POST", &format!("/api/d/{label}/_cancel")).send();
    cluster.done("a", &["begin", "load"]);
    assert_eq!(cancel("a").status(), "OK");
    assert_eq!(cluster.transaction("prepare", "a", None).follow().status(), "ABORTED");
    cluster.done("b", &["begin", "load", "prepare"]);
    assert_eq!(cancel("b").message(), "running transaction not found, label=b");
    assert_eq!(cancel("c").message(), "transaction not found, label=c");
}

#[test]
fn timeouts_abort_what_is_late() {
    let cluster = cluster();
    cluster.done("a", &["begin", "load"]);
    let mut prepare = cluster.transaction("prepare", "b", None);
    prepare.headers.push(("prepared_timeout", "5".into()));
    cluster.done("b", &["begin", "load"]);
    assert_eq!(prepare.follow().status(), "OK");
    cluster.act(Action::Skip { ms: 6_000 });
    cluster.act(Action::Clean);
    assert_eq!((cluster.state("a").as_str(), cluster.state("b").as_str()), ("PREPARE", "ABORTED"));
    cluster.act(Action::Skip { ms: 600_000 });
    cluster.act(Action::Clean);
    assert_eq!(cluster.state("a"), "ABORTED");
    assert_eq!(cluster.it.transaction("d", "a").unwrap().reason, "timeout by txn manager");
}
