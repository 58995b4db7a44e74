//! Tables without a primary key, which are read at one point or not at all; and tables that come later.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use hindsight_tests::live::{Live, WAIT_MAX};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::say::say;

use super::replay::{Replay, assert_rows, place, selected, wait_until_captured};

const SETTINGS: &str = "owner = \"owner\", columns = \"n\"";

const OBJECT: &str = "'id', id, 'owner', owner, 'registered_at', UNIX_TIMESTAMP(registered_at) * 1000, 'n', n";

fn server(table: &str) -> Mysql {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(&format!("CREATE DATABASE shop; USE shop; {table}"));
    server
}

const KEYLESS: &str = "CREATE TABLE t (id INT, owner INT, registered_at DATETIME NOT NULL, n INT, KEY (owner));
    INSERT INTO t WITH RECURSIVE k (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM k WHERE i < 60)
      SELECT i % 20, i % 7, '2025-01-01', i % 2 FROM k;";

#[test]
fn a_table_without_a_key_is_read_in_one_view_each_row_as_often_as_it_is_there() {
    let server = server(KEYLESS);
    let live =
        Live { table: "shop.t", snapshot: "snapshot = \"initial\"\nsnapshot-chunk-rows = 7", ..Live::of(&server) };
    let place = place(&live, SETTINGS);
    let mut running = place.capture();
    wait_until_captured(&place, &server, &mut running);
    server.sql("UPDATE shop.t SET n = 5 WHERE id = 3; DELETE FROM shop.t WHERE id = 4 LIMIT 1;");
    wait_until_captured(&place, &server, &mut running);
    running.stop();
    let replay = Replay::of(&place.captured(), &["owner"], &[]);
    assert_eq!(replay.reads, 60);
    assert_rows(&replay.rows("t"), &selected(&server, "shop.t", OBJECT), "a table without a key");
}

/// It finds a moment at which nobody has just written, or says what would help. What it reads is right.
#[test]
fn a_table_without_a_key_that_is_written_to_is_right_or_refused() {
    let server = server(KEYLESS);
    let live = Live { table: "shop.t", snapshot: "snapshot = \"initial\"", ..Live::of(&server) };
    let place = place(&live, SETTINGS);
    let stop = AtomicBool::new(false);
    let ended = thread::scope(|scope| {
        for owner in 0..2 {
            let (client, stop) = (server.client(), &stop);
            scope.spawn(move || {
                let written = client.feed(|out| {
                    while !stop.load(Ordering::Relaxed) {
                        writeln!(out, "UPDATE shop.t SET n = n + 1 WHERE owner = {owner} LIMIT 1;")?;
                        out.flush()?;
                    }
                    Ok(())
                });
                written.unwrap_or_else(|error| panic!("a writer: {error}"));
            });
        }
        let mut running = place.capture();
        let begun = Instant::now();
        // It says that it has read all, or it ends.
        while running.is_running() && !running.log().contains("all rows that were there are read") {
            assert!(begun.elapsed() < WAIT_MAX, "neither read nor refused: {}", running.log());
        }
        stop.store(true, Ordering::Relaxed);
        running
    });
    let mut running = ended;
    if running.log().contains("all rows that were there are read") {
        wait_until_captured(&place, &server, &mut running);
        running.stop();
        let replay = Replay::of(&place.captured(), &["owner"], &[]);
        say(&format!("it found a quiet moment; {} events behind it", replay.changes));
        assert_rows(&replay.rows("t"), &selected(&server, "shop.t", OBJECT), "under writes");
        return;
    }
    let answer = running.end();
    say(answer.err.lines().last().unwrap_or_default());
    assert_eq!(answer.exit, Some(1), "{}", answer.err);
    for word in ["shop.t has no primary key", "Give it a primary key"] {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    assert_eq!(place.captured_until().transactions, 0, "nothing was written");
}

#[test]
fn an_empty_table_is_read_and_a_table_that_comes_later_is_in_the_log() {
    let columns =
        "id INT PRIMARY KEY, owner INT NOT NULL, registered_at DATETIME NOT NULL, n INT NOT NULL, KEY (owner)";
    let server = server(&format!("CREATE TABLE t_1 ({columns}); INSERT INTO t_1 VALUES (1, 1, '2025-01-01', 0), (2, 2, '2025-01-01', 0), (3, 3, '2025-01-01', 0);
        CREATE TABLE t_2 ({columns}); CREATE TABLE other (id INT);"));
    let slowly = "snapshot = \"initial\"\nsnapshot-chunk-rows = 1\nsnapshot-rows-per-second = 2";
    let live = Live { table: "shop.t_*", snapshot: slowly, ..Live::of(&server) };
    let places = [place(&live, SETTINGS), place(&Live { table: "shop.later_*", ..live.clone() }, SETTINGS)];
    let mut running = places.each_ref().map(|place| place.capture());
    // While the first one is read, and before there is anything of the second pattern.
    running[0].wait_for_log(&["reading the rows that are there"]);
    running[1].wait_for_log(&["capturing"]);
    let fill = |name: &str| {
        format!(
            "CREATE TABLE {name} ({columns}); INSERT INTO {name} VALUES (1, 1, '2025-01-01', 0), (5, 9, '2025-01-01', 0); UPDATE {name} SET n = 1, owner = 2 WHERE id = 1;"
        )
    };
    server.sql(&format!(
        "USE shop; {}{} INSERT INTO t_2 VALUES (7, 1, '2025-01-01', 0);",
        fill("t_3"),
        fill("later_1")
    ));
    for (place, process) in places.iter().zip(&mut running) {
        wait_until_captured(place, &server, process);
    }
    running.into_iter().for_each(|process| _ = process.stop());
    for (at, name, reads) in [(0, "t_1", 3), (0, "t_2", 1), (0, "t_3", 0), (1, "later_1", 0)] {
        let captured = places[at].captured();
        let found = Replay::of(&captured, &["owner"], &["id"]);
        assert_rows(&found.rows(name), &selected(&server, &format!("shop.{name}"), OBJECT), name);
        let table =
            |event: &serde_json::Value| event["value"]["source"]["table"] == name && event["value"]["op"] == "r";
        let n_reads = captured.events.iter().filter(|(event, _)| table(event)).count();
        // The empty one may have got its row before it was read, or after.
        assert!(n_reads == reads || name == "t_2", "{n_reads} rows of {name} were read");
    }
}
