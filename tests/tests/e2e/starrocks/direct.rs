//! Without a topic: from the server into StarRocks in one process, whose progress is a table there.

use std::thread;
use std::time::Duration;

use hindsight_tests::generator::{play, served};
use hindsight_tests::live::{Live, Running};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::program::signal;
use hindsight_tests::say::say;
use hindsight_tests::starrocks::{Cluster, Table};

use super::kills::{is_stopped, until};
use super::{BATCH, RULES, lines, list, load};

/// In the order in which a load passes them; a mark is a load of its own.
const POINTS: [&str; 8] = [
    "starrocks.decided",
    "starrocks.begun",
    "starrocks.sending",
    "starrocks.loaded",
    "starrocks.committed",
    "starrocks.intended",
    "starrocks.visible",
    "recovery.settled",
];

fn direct(cluster: &Cluster, server: &Mysql, rule: Rule) -> (Place, Table) {
    let table = cluster.table(&format!("{}interval = \"50ms\"\n", lines(rule)));
    let live = Live { rule, batch: BATCH, name: &table.pipeline, sink: &table.sink, ..Live::of(server) };
    let place = live.place();
    cluster.make(&place, str::to_owned);
    (place, table)
}

/// The frozen one holds the lock of the source: another one says so, and how it is ended where it is lost.
#[track_caller]
fn take_over(place: &Place, server: &Mysql) -> Running {
    let refused = follow(place, "HINDSIGHT_TEST_NOTHING", "").end();
    assert_eq!(refused.exit, Some(3), "{}", refused.err);
    let remedy = refused.err.split("KILL ").nth(1).and_then(|rest| rest.split(')').next());
    server.sql(&format!("KILL {}", remedy.unwrap_or_else(|| panic!("no remedy in {}", refused.err))));
    follow(place, "HINDSIGHT_TEST_NOTHING", "")
}

fn follow(place: &Place, variable: &str, point: &str) -> Running {
    place.start(&["run", "--json", "--log-format", "json"], |command| _ = command.env(variable, point))
}

/// Without a topic a pipeline has no lanes, and its letters are its own all the same.
#[test]
fn what_is_set_aside_without_a_topic_is_listed_and_dropped() {
    let (server, cluster) = (served(), Cluster::start());
    let table = cluster.table("");
    let place = Live { name: &table.pipeline, sink: &table.sink, ..Live::of(&server) }.place();
    cluster.make(&place, |statement| statement.replace("VARCHAR(1020)", "VARCHAR(40)"));
    server.sql(
        "INSERT INTO shop.item_assets VALUES (1, 7, REPEAT('x', 41), '2025-01-01 00:00:00'), (2, 8, 'short', '2025-01-01 00:00:00');",
    );
    let answer = place.run_to_end();
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let listed = place.0.hindsight(&["dead-letters", "list", "--json"]);
    let chains = listed.json();
    assert_eq!(chains.as_array().map(Vec::len), Some(1), "{}", listed.out);
    assert_eq!(chains[0]["entity"], "7", "{}", listed.out);
    // It does not fit now either: it stays, and nothing is taken away.
    let replayed = place.0.hindsight(&["dead-letters", "replay"]);
    assert_eq!(replayed.exit, Some(1), "{}", replayed.err);
    assert_eq!(cluster.n_dead_letters(), 1);
    let dropped = place.0.hindsight(&["dead-letters", "drop", "--key", "7", "--json"]);
    assert_eq!(dropped.json()["dropped"], 1, "{}", dropped.err);
    assert_eq!(cluster.n_dead_letters(), 0);
}

#[test]
fn kills_without_a_topic_lose_and_double_nothing() {
    let (server, cluster) = (served(), Cluster::start());
    let transactions = load(761, 8_000);
    play(&server, &transactions);
    let places = RULES.map(|rule| direct(&cluster, &server, rule));
    thread::scope(|scope| {
        for ((place, table), rule) in places.iter().zip(RULES) {
            let cluster = &cluster;
            scope.spawn(move || {
                for (number, point) in POINTS.into_iter().chain(POINTS).enumerate() {
                    // What a start finds of the one before, it finds once.
                    let nth = if point.starts_with("recovery") { 1 } else { 1 + number % 7 };
                    let before = cluster.n_marks(table);
                    let answer = follow(place, "HINDSIGHT_TEST_CRASH", &format!("{point}:{nth}")).end();
                    assert_eq!(answer.exit, None, "{rule:?} falls at {point}: {}", answer.err);
                    say(&format!("{rule:?} {point}:{nth} {before} -> {} marks", cluster.n_marks(table)));
                }
            });
        }
    });
    for ((place, table), rule) in places.iter().zip(RULES) {
        let answer = place.run_to_end();
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
        cluster.assert_is(table, rule, &list(&transactions), &format!("{rule:?} after kills"));
    }
    cluster.assert_each_label_sent_once();
}

/// One is frozen at a place, another goes on for a while, the first one is thawed: it finds that it is not the newest, and ends.
#[test]
fn a_second_process_without_a_topic_takes_over_and_the_first_one_ends() {
    let (server, cluster) = (served(), Cluster::start());
    let transactions = load(769, 9_000);
    play(&server, &transactions);
    let places = RULES.map(|rule| direct(&cluster, &server, rule));
    thread::scope(|scope| {
        for ((place, table), rule) in places.iter().zip(RULES) {
            let (server, cluster) = (&server, &cluster);
            scope.spawn(move || {
                for (number, point) in POINTS[..7].iter().enumerate() {
                    let freeze = format!("{point}:{}", 1 + number % 3);
                    let frozen = follow(place, "HINDSIGHT_TEST_FREEZE", &freeze);
                    until(|| is_stopped(&frozen), &freeze);
                    let before = cluster.n_marks(table);
                    let mut other = take_over(place, server);
                    other.wait_until(|| cluster.n_marks(table) > before + 4, "another process goes on");
                    signal("CONT", frozen.id());
                    let ended = frozen.end();
                    assert!(ended.exit.is_some_and(|exit| exit != 0), "{rule:?} {freeze}: {}", ended.err);
                    thread::sleep(Duration::from_millis(50));
                    other.stop();
                    say(&format!("{rule:?} {freeze}: {} -> {} marks", before, cluster.n_marks(table)));
                }
            });
        }
    });
    for ((place, table), rule) in places.iter().zip(RULES) {
        let answer = place.run_to_end();
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
        cluster.assert_is(table, rule, &list(&transactions), &format!("{rule:?} by two processes"));
    }
}
