//! Labels are forgotten, first finished first.

use starrocks_stand_in::{Action, Settings};

use crate::raw::{ROW, cluster, cluster_with};

#[test]
fn labels_are_forgotten_by_count_first_finished_first_and_free_afterwards() {
    let cluster = cluster_with(Settings { label_keep_max_num: 2, ..Settings::default() });
    cluster.done("open", &["begin"]);
    for label in ["a", "b", "c"] {
        cluster.loaded(label, ROW);
    }
    // One that runs counts as well, and is not forgotten.
    assert_eq!(cluster.act(Action::Clean)["forgotten"], 2);
    let states = ["open", "a", "b", "c"].map(|label| cluster.state(label));
    assert_eq!(states, ["PREPARE", "UNKNOWN", "UNKNOWN", "VISIBLE"]);
    cluster.loaded("a", ROW);
    assert_eq!(cluster.counts("a").visible, 2);
}

#[test]
fn labels_are_forgotten_by_age() {
    let cluster = cluster();
    cluster.loaded("a", ROW);
    cluster.act(Action::Skip { ms: 3 * 24 * 3_600_000 + 1_000 });
    cluster.loaded("b", ROW);
    assert_eq!(cluster.act(Action::Clean)["forgotten"], 1);
    assert_eq!((cluster.state("a").as_str(), cluster.state("b").as_str()), ("UNKNOWN", "VISIBLE"));
}

#[test]
fn each_database_has_labels_of_its_own() {
    let cluster = cluster_with(Settings { label_keep_max_num: 1, ..Settings::default() });
    cluster.it.sql("CREATE DATABASE e").unwrap();
    cluster.it.sql("CREATE TABLE e.t (k BIGINT) PRIMARY KEY (k) DISTRIBUTED BY HASH (k)").unwrap();
    cluster.loaded("a", ROW);
    let mut other = cluster.plain("a", ROW);
    other.path = "/api/e/t/_stream_load".into();
    assert_eq!(other.follow().status(), "Success");
    assert_eq!(cluster.act(Action::Clean)["forgotten"], 0);
}

#[test]
fn a_follower_shows_the_rows_of_a_label_that_was_forgotten_meanwhile() {
    let cluster = cluster_with(Settings { follower_delay_ms: 3_600_000, label_keep_max_num: 0, ..Settings::default() });
    cluster.loaded("a", ROW);
    cluster.act(Action::Clean);
    assert_eq!((cluster.state("a").as_str(), cluster.shown(1, "k").len()), ("UNKNOWN", 0));
    cluster.act(Action::SwitchLeader { to: Some(1) });
    assert_eq!(cluster.shown(1, "k").len(), 1);
}
