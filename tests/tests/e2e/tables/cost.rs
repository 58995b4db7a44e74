//! What a snapshot may cost the server: rows a second, and connections.

use std::collections::BTreeSet;

use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::Place;
use hindsight_tests::say::say;
use hindsight_tests::steps::Steps;
use serde_json::Value;

const ROWS: usize = 300;

fn server() -> Mysql {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(Steps::SCHEMA);
    let mut steps = Steps::default();
    let rows: String = (0..ROWS as i64).map(|id| steps.insert(id, id / 2, "an asset")).collect();
    server.sql(&format!("{rows} ALTER TABLE shop.item_assets ADD KEY (owner_id);"));
    server
}

#[test]
fn rows_are_read_no_faster_than_the_limit_says_in_chunks_and_in_one_view() {
    let server = server();
    for mode in ["chunks", "consistent"] {
        let snapshot = format!(
            "snapshot = \"initial\"\nsnapshot-mode = {mode:?}\nsnapshot-chunk-rows = 10\nsnapshot-readers = 4\nsnapshot-rows-per-second = 100"
        );
        let place = Live { snapshot: &snapshot, ..Live::of(&server) }.place();
        let mut running = place.follow();
        running.wait_for_log(&["reading the rows that are there"]);
        running.wait_for_log(&["all rows that were there are read"]);
        let seconds =
            seconds_between(&running.log(), "reading the rows that are there", "all rows that were there are read");
        let answer = running.stop();
        assert_eq!(answer.count("reads"), ROWS as u64);
        say(&format!("{mode}: {ROWS} rows in {seconds:.2} s, at most 100 a second"));
        // A chunk is paid for before the next is begun; what the last one owes nobody waits for.
        assert!(seconds > 2.5, "{mode}: {ROWS} rows in {seconds:.2} s are more than 100 a second");
    }
}

/// By the program's own clock, which no other process makes late.
fn seconds_between(log: &str, first: &str, second: &str) -> f64 {
    let at = |words: &str| {
        let line = log.lines().find(|line| line.contains(words)).expect("it was logged");
        let line: Value = serde_json::from_str(line).expect("a line is JSON");
        let clock = line["timestamp"].as_str().and_then(|text| text.split_once('T')).expect("a time").1.to_owned();
        let parts: Vec<f64> =
            clock.trim_end_matches('Z').split(':').map(|part| part.parse().expect("a number")).collect();
        parts[0] * 3600.0 + parts[1] * 60.0 + parts[2]
    };
    (at(second) - at(first)).rem_euclid(86_400.0)
}

fn connections(server: &Mysql) -> BTreeSet<String> {
    let seen = server.sql("SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'repl'");
    seen.lines().map(str::to_owned).collect()
}

/// Of the snapshot, as the checkpoint has it.
fn rows_done(place: &Place) -> u64 {
    let position = place.checkpoint().unwrap_or_default();
    let Some((_, snapshot)) = position.split_once(" snapshot=") else { return 0 };
    let snapshot: Value = serde_json::from_str(snapshot).expect("it is JSON");
    snapshot["tables"][0]["rows"].as_u64().expect("a number")
}

#[test]
fn readers_are_so_many_connections_beside_those_that_follow_the_log() {
    let server = server();
    for readers in [1, 3] {
        let snapshot = format!(
            "snapshot = \"initial\"\nsnapshot-chunk-rows = 5\nsnapshot-readers = {readers}\nsnapshot-rows-per-second = 200"
        );
        let place = Live { snapshot: &snapshot, ..Live::of(&server) }.place();
        // A server misses the reader of its log only when it has something to send.
        let left = connections(&server);
        let mut running = place.follow();
        running.wait_for_log(&["reading the rows that are there"]);
        let mut most = BTreeSet::new();
        // Behind the last row the log is read by connections of its own, while these are still closed.
        while rows_done(&place) < ROWS as u64 / 2 {
            running.assert_runs();
            let seen = &connections(&server) - &left;
            if seen.len() > most.len() {
                most = seen;
            }
        }
        running.stop();
        say(&format!("{readers} readers: {} connections at the most", most.len()));
        // One holds the lock, one gets the log, one cuts the table into chunks.
        assert!(most.len() <= readers + 3, "{} connections", most.len());
        assert!(most.len() > readers, "no more than one was seen");
    }
}
