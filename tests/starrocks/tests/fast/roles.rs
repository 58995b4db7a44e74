//! Leaders that change, nodes that end, freeze and come back.

use starrocks_stand_in::Action;

use crate::raw::{Ask, Got, ROW, SILENCE, cluster};

#[test]
fn a_new_leader_knows_what_was_prepared_and_not_what_was_only_begun() {
    let cluster = cluster();
    cluster.done("begun", &["begin", "load"]);
    cluster.done("prepared", &["begin", "load", "prepare"]);
    cluster.act(Action::SwitchLeader { to: Some(1) });
    assert_eq!((cluster.state("begun").as_str(), cluster.state("prepared").as_str()), ("UNKNOWN", "PREPARED"));
    let lost = cluster.transaction("prepare", "begun", None).follow();
    assert!(lost.message().contains("FE leader is started or switched"), "{lost:?}");
    cluster.done("prepared", &["commit"]);
    assert_eq!((cluster.state("prepared").as_str(), cluster.shown(1, "k").len()), ("VISIBLE", 1));
}

#[test]
fn a_backend_that_restarts_has_lost_its_contexts_and_the_frontend_does_not_know() {
    let cluster = cluster();
    cluster.done("a", &["begin", "load"]);
    let ask = cluster.transaction("prepare", "a", None);
    for be in [0, 1] {
        cluster.act(Action::RestartBe { be });
    }
    assert_eq!(ask.follow().status(), "TXN_NOT_EXISTS");
    assert_eq!(cluster.state("a"), "PREPARE");
    assert_eq!(cluster.transaction("rollback", "a", None).follow().status(), "TXN_NOT_EXISTS");
    assert_eq!(cluster.ask("POST", "/api/d/a/_cancel").send().status(), "OK");
}

#[test]
fn a_dead_backend_aborts_what_it_was_loading_and_gets_nothing_more() {
    let cluster = cluster();
    cluster.done("a", &["begin", "load"]);
    let be = cluster.it.transaction("d", "a").unwrap().coordinator;
    cluster.done("b", &["begin", "load", "prepare"]);
    cluster.act(Action::KillBe { be });
    assert_eq!((cluster.state("a").as_str(), cluster.state("b").as_str()), ("ABORTED", "PREPARED"));
    let direct = Ask { port: cluster.it.ports().be[be], ..cluster.plain("c", ROW) };
    while direct.send() != Got::Refused {}
    cluster.loaded("d1", ROW);
    cluster.loaded("d2", ROW);
    cluster.act(Action::KillBe { be: 1 - be });
    let none = cluster.plain("e", ROW).follow();
    assert!(none.message().ends_with("No backend alive."), "{none:?}");
    cluster.act(Action::ReviveBe { be });
    while direct.send() == Got::Refused {}
    assert_eq!(cluster.plain("f", ROW).follow().status(), "Success");
}

#[test]
fn a_frozen_backend_takes_connections_and_answers_when_it_is_thawed() {
    let cluster = cluster();
    cluster.act(Action::FreezeBe { be: 0 });
    let direct = Ask { port: cluster.it.ports().be[0], wait: Some(SILENCE), ..cluster.plain("a", ROW) };
    assert_eq!(direct.send(), Got::Nothing);
    cluster.act(Action::ThawBe { be: 0 });
    let direct = Ask { wait: None, ..direct };
    assert_eq!(Ask { port: direct.port, ..cluster.plain("b", ROW) }.send().status(), "Success");
}

#[test]
fn a_frontend_that_is_stopped_refuses_and_another_one_leads() {
    let cluster = cluster();
    cluster.act(Action::StopFe { fe: 0 });
    while cluster.ask("GET", "/api/health").send() != Got::Refused {}
    let other = Ask { port: cluster.it.ports().fe[1], ..cluster.plain("a", ROW) };
    assert_eq!(other.follow().status(), "Success");
    cluster.act(Action::StartFe { fe: 0 });
    while cluster.ask("GET", "/api/health").send() == Got::Refused {}
    assert_eq!(cluster.state("a"), "VISIBLE");
}
