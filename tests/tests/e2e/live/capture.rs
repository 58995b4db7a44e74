//! `capture` and `run --events` on real servers: the file is the server's own account of its log, event by event, also after
//! kills and cuts; the table beside it is the oracle's.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::captured::{assert_events, wanted};
use hindsight_tests::dump;
use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::live::{Live, Reached, WAIT_MAX};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::Change;
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::program::Answer;
use hindsight_tests::say::say;

/// Changes a batch: every large transaction is several of them long.
const BATCH: usize = 60;

const KILLS: usize = 24;

/// A load of which every fifth transaction is larger than a batch.
fn load(seed: u64, changes: usize) -> Vec<Transaction> {
    let all: Vec<Transaction> =
        Load { seed, changes, owners: changes as u64 / 20, ..Load::default() }.transactions().collect();
    let with_a_large_one = |some: &[Transaction]| {
        let (merged, others) = some.split_at(some.len().min(BATCH / 3));
        std::iter::once(Transaction::merged(merged.to_vec())).chain(others.to_vec()).collect::<Vec<_>>()
    };
    all.chunks(BATCH / 3 + 4).flat_map(with_a_large_one).collect()
}

/// The server's own account of all that it has logged.
#[track_caller]
fn account(server: &Mysql) -> Vec<Change> {
    dump::read(&server.finished_logs()).reference()
}

#[test]
fn a_captured_file_is_the_servers_own_account() {
    let server = served();
    let transactions = load(61, 6_000);
    play(&server, &transactions);
    let changes = account(&server);
    let list: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    assert_eq!(changes.len(), list.len());
    let place = Live { batch: BATCH, ..Live::of(&server) }.place();
    let answer = place.capture_to_end();
    let captured = place.captured();
    let wanted = wanted(&changes);
    assert_events(&captured.reference(), &wanted, "captured");

    assert_eq!(answer.count("changes"), changes.len() as u64);
    assert_eq!(answer.count("events"), wanted.len() as u64);
    let n_moves = wanted.iter().filter(|event| event.moved.as_deref() == Some("leaves")).count();
    let n_rekeys = changes.iter().filter(|change| rekeys(change)).count();
    let n_parts = captured.checkpoints.iter().filter(|position| Reached::parse(position).skip > 0).count();
    say(&format!(
        "{} events, {n_moves} moves, {n_rekeys} changed keys, {} checkpoints, {n_parts} of them inside a transaction",
        wanted.len(),
        captured.checkpoints.len()
    ));
    assert!(n_moves > 100 && n_rekeys > 50 && n_parts > 20, "the load has what is to be shown");
    assert_eq!(answer.count("moves"), n_moves as u64);
    assert!(!place.database().exists(), "no history is made");

    // Where each comes from: one GTID for each transaction, one after the other.
    let mut gtids: Vec<_> = captured.events.iter().map(|(event, _)| event["value"]["source"]["gtid"].clone()).collect();
    gtids.dedup();
    let uuid = server.uuid();
    let numbers: Vec<u64> = gtids
        .iter()
        .map(|gtid| {
            gtid.as_str().and_then(|gtid| gtid.strip_prefix(&format!("{uuid}:"))?.parse().ok()).expect("a GTID")
        })
        .collect();
    assert_eq!(numbers.len(), transactions.len());
    assert!(numbers.is_sorted(), "in the log's order");

    // Nothing is left: the file stays as it is, to the byte.
    let kept = fs::read(place.events()).expect("read the file");
    assert_eq!(place.capture_to_end().count("events"), 0);
    assert_eq!(fs::read(place.events()).expect("read the file"), kept);
}

fn rekeys(change: &Change) -> bool {
    matches!((&change.before, &change.after), (Some(old), Some(new)) if old.id != new.id)
}

#[test]
fn each_event_stands_once_after_kills_and_cuts_at_every_kind_of_place() {
    let server = served();
    let transactions = load(67, 24_000);
    let place = Live { batch: BATCH, ..Live::of(&server) }.place();
    let (mut inside, mut within_transaction) = (0, 0);
    for kill in 0..KILLS {
        let part = &transactions[transactions.len() * kill / KILLS..transactions.len() * (kill + 1) / KILLS];
        let before = place.captured_until();
        let size = fs::metadata(place.events()).map_or(0, |file| file.len());
        let mut running = place.capture();
        thread::scope(|scope| {
            let writing = scope.spawn(|| play(&server, part));
            // Somewhere while this part is written: an event has about 600 bytes.
            let grown = size + 600 * (1 + kill as u64 * 97 % 700);
            let begun = Instant::now();
            while fs::metadata(place.events()).map_or(0, |file| file.len()) < grown {
                running.assert_runs();
                assert!(begun.elapsed() < WAIT_MAX, "the file does not grow: {}", running.log());
            }
            spin(Duration::from_micros(kill as u64 * 379 % 4_000));
            assert_eq!(running.kill().exit, None, "SIGKILL ends it");
            let after = place.captured_until();
            let cut = cut(&place, kill);
            let left = place.captured_until();
            say(&format!("kill {kill:>2}: {before} -> {after}; {cut}: {left}"));
            assert!(after.order() >= before.order(), "a checkpoint was lost by a start");
            writing.join().expect("play a part of the load");
            inside += usize::from(after.order() > before.order() && !server.has_all_executed_in(&after.gtids));
            within_transaction += usize::from(left.skip > 0);
        });
    }
    let answer = place.capture_to_end();
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let captured = place.captured();
    let account = account(&server);
    say(&format!(
        "{} changes; {inside} of {KILLS} kills inside, {within_transaction} inside a transaction",
        account.len()
    ));
    assert_events(&captured.reference(), &wanted(&account), "after kills");
    assert!(inside * 4 >= KILLS * 3 && within_transaction >= 3, "too few kills fell where they can show anything");
}

/// Leaves the file as a kill within a write would. Every place that it is cut at lies behind the last checkpoint but one.
fn cut(place: &Place, kill: usize) -> &'static str {
    let text = fs::read(place.events()).expect("read the file");
    let lines: Vec<usize> = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1).collect();
    let begins = |at: &usize| text[*at..].starts_with(b"{\"checkpoint\":");
    let Some(checkpoint) = lines.iter().copied().rfind(begins) else { return "nothing to cut" };
    let last_event = lines.iter().copied().rfind(|at| *at < checkpoint).unwrap_or(0);
    let mut file = OpenOptions::new().append(true).open(place.events()).expect("open the file");
    let (end, what) = match kill % 6 {
        0 => return "as it is",
        1 => (checkpoint, "cut before the checkpoint"),
        2 => (checkpoint + 20, "cut inside the checkpoint"),
        3 => ((last_event + checkpoint) / 2, "cut inside the last event"),
        4 => {
            // An event that was handed out and not checkpointed.
            file.write_all(&text[last_event..checkpoint]).expect("write to the file");
            return "another event behind";
        }
        _ => {
            file.write_all(&text[last_event..(last_event + checkpoint) / 2]).expect("write to the file");
            return "half an event behind";
        }
    };
    file.set_len(end as u64).expect("cut the file");
    what
}

fn spin(moment: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < moment {
        std::hint::spin_loop();
    }
}

#[test]
fn run_writes_what_it_decides_also_after_kills_and_the_table_is_the_oracles() {
    const POINTS: [&str; 4] = ["sink.begin", "sink.checkpoint", "sink.rows", "sink.committed"];
    let server = served();
    play(&server, &load(71, 6_000));
    let changes = account(&server);
    for rule in [Rule::ByOwner, Rule::CountChanges] {
        let place = Live { rule, batch: BATCH, ..Live::of(&server) }.place();
        let mut ahead = 0;
        for kill in 0..20 {
            let mut command = place.run_with_events();
            command.env("HINDSIGHT_TEST_CRASH", format!("{}:{}", POINTS[kill % POINTS.len()], 2 + kill % 3));
            let answer = Answer::from(command.output().expect("run hindsight"));
            assert_eq!(answer.exit, None, "it crashes where it was told to: {}", answer.err);
            let (kept, written) = (place.reached(), place.captured_until());
            say(&format!("{rule:?} kill {kill:>2}: the history is at {kept}, the file at {written}"));
            assert!(written.order() >= kept.order(), "the file is never behind the history");
            if written.order() > kept.order() {
                ahead += 1;
                // What is ahead may end anywhere.
                cut(&place, ahead);
            }
        }
        assert!(ahead >= 10, "the file was ahead of the history {ahead} times");
        let answer = Answer::from(place.run_with_events().output().expect("run hindsight"));
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
        assert_events(&place.captured().reference(), &wanted(&changes), &format!("{rule:?}"));
        place.assert_is(rule, &changes, &format!("{rule:?}"));
    }
}

#[test]
fn a_file_that_cannot_go_on_is_refused_by_name() {
    let server = served();
    let transactions = load(73, 400);
    let (first, second) = transactions.split_at(transactions.len() / 2);
    play(&server, first);
    let live = Live::of(&server);
    let refused = |place: &Place, arguments: &[&str], exit: i32, words: &[&str]| {
        let kept = fs::read(place.events()).expect("read the file");
        let answer = place.0.hindsight(arguments);
        assert_eq!(answer.exit, Some(exit), "{}", answer.err);
        for word in words {
            assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
        }
        assert_eq!(fs::read(place.events()).expect("read the file"), kept, "it is left as it is");
    };
    let (capture, run) =
        (["capture", "--to", "events.jsonl", "--to-end"], ["run", "--events", "events.jsonl", "--to-end"]);

    let place = live.place();
    place.0.write("events.jsonl", "id,owner_id\n1,7\n");
    refused(&place, &capture, 2, &["events.jsonl", "holds no events of hindsight", "another file"]);
    refused(&place, &run, 2, &["events.jsonl", "holds no events of hindsight", "another file"]);

    // A history that went on without the file.
    let place = live.place();
    assert_eq!(place.0.hindsight(&run).exit, Some(0));
    play(&server, second);
    assert_eq!(place.run_to_end().exit, Some(0));
    refused(&place, &run, 2, &["events.jsonl", "does not hold the history's checkpoint `mysql/1 ", "another file"]);
    // Another file begins at the history's checkpoint.
    fs::remove_file(place.events()).expect("remove the file");
    assert_eq!(place.0.hindsight(&run).exit, Some(0));
    assert_eq!(place.captured().events.len(), 0);
    assert_eq!(place.captured().checkpoints, [place.checkpoint().expect("there is one")]);

    // The file of another source.
    Live { table: "shop.other", ..live.clone() }.configure(&place);
    refused(&place, &capture, 2, &["mysql shop.item_assets", "mysql shop.other", "another file"]);

    // A file that another process writes.
    let place = live.place();
    let mut running = place.capture();
    running.wait_for_log(&["capturing"]);
    let begun = Instant::now();
    while !server.has_all_executed_in(&place.captured_until().gtids) {
        running.assert_runs();
        assert!(begun.elapsed() < WAIT_MAX, "not all was captured: {}", running.log());
    }
    // It has nothing more to write.
    refused(&place, &capture, 3, &["another process writes events.jsonl", "another file"]);
    running.stop();
    assert_events(&place.captured().reference(), &wanted(&account(&server)), "stopped by SIGTERM");
}

#[test]
fn a_value_that_the_envelope_has_no_form_for_stops_by_name() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; CREATE TABLE shop.odd (id INT PRIMARY KEY, owner_id INT, asset_info VARCHAR(9), registered_at DATETIME, bi VARCHAR(9) CHARACTER SET utf32);
         INSERT INTO shop.odd VALUES (1, 7, 'a', '2025-01-01', NULL); INSERT INTO shop.odd VALUES (2, 7, 'a', '2025-01-01', 'a');",
    );
    let place = Live { table: "shop.odd", batch: 1, ..Live::of(&server) }.place();
    let answer = place.capture_to_end();
    assert_eq!(answer.exit, Some(1), "{}", answer.err);
    for word in
        ["binlog.0000", "shop.odd.bi (varchar(9))", "after image", "cannot be written in the envelope", "source.tables"]
    {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    assert_eq!(place.captured().events.len(), 1, "what came before stands");
}

/// A row without an owner: under the other side's key, or under none.
#[test]
fn a_change_without_an_entity_on_a_side_is_one_event() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.item_assets (id INT PRIMARY KEY, owner_id INT, asset_info VARCHAR(9), registered_at DATETIME);
         INSERT INTO shop.item_assets VALUES (1, NULL, 'a', '2025-01-01'); UPDATE shop.item_assets SET owner_id = 7;
         UPDATE shop.item_assets SET owner_id = NULL; UPDATE shop.item_assets SET asset_info = 'b'; DELETE FROM shop.item_assets;",
    );
    let place = Live::of(&server).place();
    assert_eq!(place.capture_to_end().count("events"), 5);
    let events = place.captured().reference();
    let seen: Vec<_> = events.iter().map(|event| (event.op.as_str(), event.owner, event.moved.as_deref())).collect();
    let wanted = [("c", None, None), ("u", Some(7), None), ("u", Some(7), None), ("u", None, None), ("d", None, None)];
    assert_eq!(seen, wanted);
    let keys: Vec<_> = place.captured().events.iter().map(|(event, _)| event["key"].to_string()).collect();
    assert_eq!(keys, ["null", "{\"owner_id\":7}", "{\"owner_id\":7}", "null", "null"]);
}
