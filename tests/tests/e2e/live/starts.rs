//! Where following begins, and what becomes of a position: `start`, GTID sets with gaps and tags, idle tables, purged logs.

use std::time::Instant;

use hindsight_tests::live::{Live, WAIT_MAX};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::Change;
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::steps::Steps;

fn server() -> Mysql {
    let server = Mysql::start(&[]);
    server.add_reader();
    renew(&server);
    server
}

/// As after its first start: no transactions, an empty table, which is in the log.
fn renew(server: &Mysql) {
    server.sql(&format!("DROP DATABASE IF EXISTS shop; RESET BINARY LOGS AND GTIDS; {}", Steps::SCHEMA));
}

/// Steps whose log position is known.
fn position(server: &Mysql) -> (String, u64) {
    let status = server.sql("SHOW BINARY LOG STATUS");
    let mut words = status.split('\t');
    let (file, at) = (words.next().expect("a file"), words.next().expect("a position"));
    (file.to_owned(), at.parse().expect("a number"))
}

/// Both rules from there to the log's end: the history of just these changes. Gives one of the places.
#[track_caller]
fn starts_at(server: &Mysql, start: &str, changes: &[Change]) -> Place {
    let places = [Rule::ByOwner, Rule::CountChanges].map(|rule| {
        let live = Live { rule, start, ..Live::of(server) };
        let (place, answer) = live.run_to_end();
        assert_eq!(answer.count("changes"), changes.len() as u64, "start = {start:?}: {}", answer.err);
        place.assert_is(rule, changes, &format!("start = {start:?}"));
        place
    });
    places.into_iter().next().expect("two places")
}

#[test]
fn a_pipeline_starts_at_the_oldest_log_now_at_a_file_and_position_or_after_a_gtid_set() {
    let server = server();
    let mut steps = Steps::default();
    server.sql(&steps.mixed(1, 20));
    let (first, set, (file, at)) = (steps.changes.len(), server.executed(), position(&server));
    server.sql(&steps.mixed(101, 20));
    starts_at(&server, "earliest", &steps.changes);
    starts_at(&server, &set, &steps.changes[first..]);
    starts_at(&server, &format!("{file}:{at}"), &steps.changes[first..]);
    starts_at(&server, &format!("{file}:4"), &steps.changes);

    // Now: what is there already is not read, and what comes next is.
    let place = Live { start: "now", ..Live::of(&server) }.place();
    let mut running = place.follow();
    // Which transactions are there already was asked before this was logged.
    running.wait_for_log(&["connected"]);
    let seen = steps.changes.len();
    server.sql(&steps.mixed(201, 5));
    place.wait_until_all_is_done(&server, &mut running);
    running.stop();
    place.assert_is(Rule::ByOwner, &steps.changes[seen..], "start = now");
    // From then on the checkpoint counts, whatever `start` says.
    server.sql(&steps.mixed(301, 5));
    let answer = place.run_to_end();
    assert_eq!(answer.count("changes"), 5);
    place.assert_is(Rule::ByOwner, &steps.changes[seen..], "after a second start");

    // Also where nothing was captured yet: killed and started again, it is the same now.
    let place = Live { start: "now", ..Live::of(&server) }.place();
    let mut running = place.follow();
    let begun = Instant::now();
    while place.checkpoint().is_none() {
        running.assert_runs();
        assert!(begun.elapsed() < WAIT_MAX, "no checkpoint without a change");
    }
    running.kill();
    let seen = steps.changes.len();
    server.sql(&steps.mixed(401, 5));
    assert_eq!(place.run_to_end().exit, Some(0));
    place.assert_is(Rule::ByOwner, &steps.changes[seen..], "start = now, killed before the first change");

    // A transaction begins nowhere else.
    for wrong in [at + 1, at + 80, at - 1] {
        let (place, answer) = Live { start: &format!("{file}:{wrong}"), ..Live::of(&server) }.run_to_end();
        assert_eq!(answer.exit, Some(3), "{file}:{wrong}: {}{}", answer.out, answer.err);
        assert!(answer.err.contains(&format!("{file}:{wrong}")), "{file}:{wrong}: {}", answer.err);
        assert!(place.checkpoint().is_none());
    }
    for (wrong, word) in [("binlog.000099:4", "binlog.000099"), ("binlog.000001:999999999", "999999999")] {
        let (place, answer) = Live { start: wrong, ..Live::of(&server) }.run_to_end();
        assert_eq!(answer.exit, Some(3), "{wrong}: {}{}", answer.out, answer.err);
        assert!(answer.err.contains(word), "{wrong}: {}", answer.err);
        assert!(place.checkpoint().is_none());
    }
}

#[test]
fn the_earliest_start_says_what_the_server_has_purged() {
    let server = server();
    let mut steps = Steps::default();
    server.sql(&steps.mixed(1, 20));
    let first = steps.changes.len();
    server.sql("FLUSH BINARY LOGS");
    server.sql(&format!("PURGE BINARY LOGS TO '{}'", position(&server).0));
    let purged = server.gtid_set("SELECT @@global.gtid_purged");
    assert_eq!(purged, format!("{}:1-{}", server.uuid(), 2 + first), "the table and the steps");
    server.sql(&steps.mixed(101, 20));
    let place = starts_at(&server, "earliest", &steps.changes[first..]);
    let (again, answer) = Live::of(&server).run_to_end();
    assert!(answer.err.lines().any(|line| line.contains(&purged)), "{purged} is not in: {}", answer.err);
    assert_eq!(again.reached().gtids, server.executed());
    assert_eq!(place.reached().gtids, server.executed(), "what was purged counts as done");

    // A set that begins before that cannot be had.
    let set = format!("{}:1-5", server.uuid());
    let (place, answer) = Live { start: &set, ..Live::of(&server) }.run_to_end();
    assert_eq!(answer.exit, Some(3), "{}", answer.err);
    let missing = format!("{}:6-{}", server.uuid(), 2 + first);
    for word in ["purged", &missing, "new history"] {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    assert!(place.checkpoint().is_none());
}

#[test]
fn gaps_and_tags_of_gtid_sets_are_followed_and_kept() {
    let server = server();
    let uuid = server.uuid();
    let mut steps = Steps::default();
    // Two transactions made the table. A gap: numbers that are used later, as several writers leave them for a moment.
    let gap: Vec<String> = (0..6).map(|id| steps.insert(1 + id, 1, "before")).collect();
    for (number, sql) in [(3, &gap[0]), (5, &gap[1]), (9, &gap[2])] {
        server.sql(&format!("SET gtid_next = '{uuid}:{number}'; {sql}"));
    }
    let with_gaps = server.executed();
    assert_eq!(with_gaps, format!("{uuid}:1-3:5:9"));
    let place = starts_at(&server, "earliest", &steps.changes[..3]);
    assert_eq!(place.reached().gtids, with_gaps);
    // The gap is filled, out of order.
    for (number, sql) in [(7, &gap[3]), (4, &gap[4]), (8, &gap[5])] {
        server.sql(&format!("SET gtid_next = '{uuid}:{number}'; {sql}"));
    }
    assert_eq!(place.run_to_end().count("changes"), 3);
    place.assert_is(Rule::ByOwner, &steps.changes, "with the gap filled");
    assert_eq!(place.reached().gtids, server.executed());

    // Tags.
    let middle = steps.changes.len();
    for (tag, first) in [("billing", 101), ("audit_2", 111), ("billing", 121)] {
        server.sql(&format!("SET gtid_next = 'AUTOMATIC:{tag}'; {}", steps.mixed(first, 4)));
    }
    server.sql(&steps.mixed(131, 4));
    let executed = server.executed();
    assert!(executed.contains(":billing:1-8") && executed.contains(":audit_2:1-4"), "{executed}");
    assert_eq!(place.run_to_end().count("changes"), (steps.changes.len() - middle) as u64);
    place.assert_is(Rule::ByOwner, &steps.changes, "with tags");
    assert_eq!(place.reached().gtids, executed, "in the server's own form");
    // Goes on from there, and a set with tags can be a start.
    let end = steps.changes.len();
    server.sql(&format!("SET gtid_next = 'AUTOMATIC:billing'; {}", steps.mixed(141, 3)));
    assert_eq!(place.run_to_end().count("changes"), 3);
    starts_at(&server, &executed, &steps.changes[end..]);
}

#[test]
fn the_traffic_of_other_tables_moves_the_checkpoint_so_that_a_purge_takes_nothing() {
    let server = server();
    let mut steps = Steps::default();
    let place = Live::of(&server).place();
    let mut running = place.follow();
    server.sql(&steps.mixed(1, 8));
    place.wait_until_all_is_done(&server, &mut running);
    // Hours of other tables' work, in short.
    let others = "INSERT INTO other.t (j) VALUES (1); UPDATE other.t SET j = j + 1; FLUSH BINARY LOGS;".repeat(5);
    server.sql(&format!(
        "CREATE DATABASE other; CREATE TABLE other.t (id INT AUTO_INCREMENT PRIMARY KEY, j INT); {others}"
    ));
    place.wait_until_all_is_done(&server, &mut running);
    running.stop();
    server.sql(&format!("PURGE BINARY LOGS TO '{}'", position(&server).0));
    server.sql(&steps.mixed(101, 8));
    assert_eq!(place.run_to_end().count("changes"), 8);
    place.assert_is(Rule::ByOwner, &steps.changes, "after a purge");
}

#[test]
fn a_position_that_was_purged_is_told_with_what_is_missing() {
    let server = server();
    let mut steps = Steps::default();
    server.sql(&steps.mixed(1, 8));
    let (place, answer) = Live::of(&server).run_to_end();
    assert_eq!(answer.count("changes"), 8);
    let kept = (place.checkpoint(), server.executed(), steps.clone());
    server.sql(&steps.mixed(101, 8));
    server.sql("FLUSH BINARY LOGS");
    server.sql(&format!("PURGE BINARY LOGS TO '{}'", position(&server).0));
    server.sql(&steps.mixed(201, 8));
    let missing = server.gtid_set(&format!("SELECT GTID_SUBTRACT(@@global.gtid_purged, '{}')", kept.1));
    for _ in 0..2 {
        let answer = place.run_to_end();
        assert_eq!(answer.exit, Some(3), "{}", answer.err);
        for word in ["purged", &missing, "on-lost-position", "new history"] {
            assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
        }
        assert_eq!(place.checkpoint(), kept.0);
        place.assert_is(Rule::ByOwner, &kept.2.changes, "what was read before");
    }
}
