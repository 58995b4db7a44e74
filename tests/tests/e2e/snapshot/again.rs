//! A history that lost its position is compared with the tables: what differs becomes a change, what is gone is closed.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use hindsight_tests::events;
use hindsight_tests::generator::{Load, SCHEMA, Transaction, play};
use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::{self, Event, HistoryTable, OnOwnerChange, Op};
use hindsight_tests::pipeline::{Place, assert_same};
use hindsight_tests::program::Answer;
use hindsight_tests::say::say;
use hindsight_tests::wall_clock;

/// Between the steps of the commits of what was read again. Not where its end is committed: there the file may hold more than the history.
const CRASHES: [&str; 8] = [
    "sink.begin:3",
    "sink.met:2",
    "sink.rows:3",
    "sink.committed:2",
    "sink.met:4",
    "sink.committed:5",
    "sink.checkpoint:2",
    "sink.committed:3",
];

#[test]
fn a_history_whose_position_was_purged_ends_as_the_oracle_says_closed_and_deleted_rows_included() {
    let load = Load { seed: 29, changes: 6_000, owners: 300, ..Load::default() };
    let transactions: Vec<Transaction> = load.transactions().collect();
    let part = |from: usize, to: usize| &transactions[transactions.len() * from / 10..transactions.len() * to / 10];
    let server = Mysql::start(&[]);
    server.sql(&format!("{SCHEMA} CREATE INDEX owner_id ON shop.item_assets (owner_id);"));
    server.add_reader();
    let play = |some: &[Transaction]| play(&server, some);
    play(part(0, 4));
    let place = Live::of(&server).place();
    assert_eq!(place.run_with_events().output().expect("run hindsight").status.code(), Some(0));
    let known = oracle_of(&place);
    assert_same(&place.history(), &known, "before anything was lost");

    // Nobody captures this, and then it is gone.
    play(part(4, 7));
    server.sql("FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 HOUR;");
    let answer = Answer::from(place.run_with_events().output().expect("run hindsight"));
    assert!(answer.exit == Some(3) && answer.err.contains("on-lost-position"), "{}", answer.err);
    let snapshot = "snapshot = \"never\"\non-lost-position = \"resnapshot\"\nsnapshot-chunk-rows = 60";
    Live { snapshot, ..Live::of(&server) }.configure(&place);
    for crash in CRASHES {
        let mut command = place.run_with_events();
        let answer = Answer::from(command.env("HINDSIGHT_TEST_CRASH", crash).output().expect("run hindsight"));
        assert_eq!(answer.exit, None, "{crash}: {}", answer.err);
        let position = place.checkpoint().expect("there was one before");
        say(&format!("killed at {crash:<18} {}", position.split(" gtids=").nth(1).unwrap_or_default()));
    }
    // The rest of it while others write.
    thread::scope(|scope| {
        scope.spawn(|| play(part(7, 10)));
        finish(place.run_with_events());
    });
    finish(place.run_with_events());

    let history = place.history();
    assert_same(&history, &oracle_of(&place), "over what was emitted");
    let emitted = events::read(&place.events()).expect("read the events").events;
    let again: Vec<&Event> =
        emitted.iter().filter(|emitted| emitted.gtid.is_none()).map(|emitted| &emitted.event).collect();
    let count = |op: Op| again.iter().filter(|event| event.change.op == op).count();
    say(&format!("read again: {} c, {} u, {} d", count(Op::Create), count(Op::Update), count(Op::Delete)));
    assert!(
        count(Op::Read) == 0 && [Op::Create, Op::Update, Op::Delete].map(count).iter().all(|&n| n > 10),
        "each is met"
    );
    assert_tells_the_source(&history, &source(&server));
}

fn finish(mut command: Command) {
    let answer = Answer::from(command.output().expect("run hindsight"));
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
}

#[track_caller]
fn oracle_of(place: &Place) -> HistoryTable {
    let recorded = events::read(&place.events()).expect("read the events");
    let events: Vec<Event> = recorded.events.into_iter().map(|emitted| emitted.event).collect();
    oracle::scd2_by_owner_of_events(&events, OnOwnerChange::Close).table
}

/// By id: owner, info, and when it was registered.
fn source(server: &Mysql) -> BTreeMap<i64, (i64, String, i64)> {
    let rows = server.sql("SELECT id, owner_id, HEX(asset_info), registered_at FROM shop.item_assets");
    let row = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [id, owner, info, at] = columns[..] else { panic!("four columns: {line}") };
        let bytes =
            (0..info.len()).step_by(2).map(|at| u8::from_str_radix(&info[at..at + 2], 16).expect("hexadecimal"));
        let info = String::from_utf8(bytes.collect()).expect("UTF-8");
        let at = wall_clock::parse(at).expect("a time");
        (id.parse().expect("an INT"), (owner.parse().expect("an INT"), info, at))
    };
    rows.lines().map(row).collect()
}

/// Each row of the source is in the history with its values, and nothing else of it is current.
#[track_caller]
fn assert_tells_the_source(history: &HistoryTable, source: &BTreeMap<i64, (i64, String, i64)>) {
    assert!(source.len() > 100, "there is something to tell");
    for (id, (owner, info, start_us)) in source {
        let key = oracle::HistoryKey { owner_id: *owner, source_id: *id, start_us: *start_us };
        let told = history.get(&key).and_then(|row| row.info.as_ref());
        assert_eq!(told, Some(info), "{key:?}");
    }
    for (key, row) in history.iter().filter(|(_, row)| row.is_current) {
        let known = source.get(&key.source_id).is_some_and(|(owner, ..)| *owner == key.owner_id);
        assert!(known, "{key:?} {row:?} is current and not in the source");
    }
}
