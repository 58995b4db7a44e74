//! Rows that were changed behind the log's back, and read again while eight writers go on: what differs becomes events.

use std::collections::{BTreeMap, BTreeSet};

use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::{self, Event, OnOwnerChange, Op};
use hindsight_tests::pipeline::{Rule, assert_same};
use hindsight_tests::say::say;
use hindsight_tests::writers::{SLOW_COMMITS, Writing};

use super::follower::{Command, Follower, Phase};
use super::killing::{Plan, kill_again_and_again};

/// Rows that no writer touches begin here, each of an owner of its own; of each kind so many.
const FIRST_ID: i64 = 1_000_000;
const FIRST_OWNER: i64 = 500_000;
const EACH: i64 = 40;

#[test]
fn what_was_changed_behind_the_log_becomes_events_when_a_table_is_read_again_under_writers_and_kills() {
    let writing = Writing { seed: 23, rows: 1_500, ..Writing::default() };
    let server = Mysql::start(SLOW_COMMITS);
    server.add_reader();
    writing.fill(&server);
    // To be updated, deleted, moved, and left as they are.
    let rows = (0..4 * EACH).map(|n| format!("({}, {}, 'before', '2025-01-01')", FIRST_ID + n, FIRST_OWNER + n));
    server.sql(&format!("INSERT INTO shop.item_assets VALUES {}", rows.collect::<Vec<_>>().join(",")));
    let snapshot = "snapshot = \"initial\"\nsnapshot-chunk-rows = 40";
    let live = Live { snapshot, batch: 60, source: "heartbeat = \"1s\"", ..Live::of(&server) };
    let follower = Follower::new(Command::Run(Rule::ByOwner), &live);
    let writers = writing.start(&server);
    let mut running = follower.start(|_| {});
    follower.wait_until(&mut running, |stands| stands.phase == Phase::Behind);

    let id = |n: i64| FIRST_ID + n;
    let inserted = (4 * EACH..5 * EACH).map(|n| format!("({}, {}, 'new', '2025-01-01')", id(n), FIRST_OWNER + n));
    server.sql(&format!(
        "SET sql_log_bin = 0;
         UPDATE shop.item_assets SET asset_info = 'after' WHERE id >= {} AND id < {};
         DELETE FROM shop.item_assets WHERE id >= {} AND id < {};
         UPDATE shop.item_assets SET owner_id = owner_id + 1000 WHERE id >= {} AND id < {};
         INSERT INTO shop.item_assets VALUES {};",
        id(0),
        id(EACH),
        id(EACH),
        id(2 * EACH),
        id(2 * EACH),
        id(3 * EACH),
        inserted.collect::<Vec<_>>().join(",")
    ));
    let log = running.log();
    let (_, port) = log.split_once("control port at http://").expect("it logs its port");
    let port = port.split('"').next().expect("a piece at least");
    let asked = follower.place.0.hindsight(&["resnapshot", "shop.item_assets", "--control", port]);
    assert_eq!(asked.exit, Some(0), "{}{}", asked.out, asked.err);
    follower.wait_until(&mut running, |stands| stands.phase == Phase::Reading);
    running.kill();
    let kills =
        kill_again_and_again(&follower, Plan { reading: 10, filtering: 2, behind: 2, rows: 40, starts_over: false });
    let mut running = follower.start(|_| {});
    writers.stop();
    follower.wait_until_all_is_done(&server, &mut running);
    running.stop();

    let recorded = follower.recorded();
    let events: Vec<Event> = recorded.events.into_iter().map(|emitted| emitted.event).collect();
    let mut of_owner: BTreeMap<i64, Vec<(Op, Option<String>)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event.owner() >= Some(FIRST_OWNER)) {
        let info = event.change.after.as_ref().and_then(|row| row.info.clone());
        of_owner.entry(event.owner().expect("it is a number")).or_default().push((event.change.op, info));
    }
    let after = |op, info: &str| (op, Some(info.to_owned()));
    let (read, gone) = (after(Op::Read, "before"), (Op::Delete, None));
    let mut wanted = BTreeMap::new();
    for n in 0..EACH {
        let owner = |kind: i64| FIRST_OWNER + kind * EACH + n;
        wanted.insert(owner(0), vec![read.clone(), after(Op::Update, "after")]);
        wanted.insert(owner(1), vec![read.clone(), gone.clone()]);
        wanted.insert(owner(2), vec![read.clone(), gone.clone()]);
        wanted.insert(owner(2) + 1_000, vec![after(Op::Create, "before")]);
        wanted.insert(owner(3), vec![read.clone()]);
        wanted.insert(owner(4), vec![after(Op::Create, "new")]);
    }
    assert_same(&of_owner, &wanted, "events of what was changed behind the log");

    let history = follower.place.history();
    let replay = oracle::scd2_by_owner_of_events(&events, OnOwnerChange::Close);
    assert_same(&history, &replay.table, "the table");
    let rows = server.sql("SELECT id, owner_id FROM shop.item_assets");
    let rows: BTreeSet<(i64, i64)> = rows
        .lines()
        .map(|line| line.split_once('\t').expect("two columns"))
        .map(|(id, owner)| (id.parse().expect("an id"), owner.parse().expect("an owner")))
        .collect();
    let current = history.iter().filter(|(_, row)| row.is_current);
    let current: Vec<_> = current.map(|(key, _)| (key.source_id, key.owner_id)).collect();
    say(&format!("{} kills, {} events, {} current rows of {}", kills.len(), events.len(), current.len(), rows.len()));
    let gone: Vec<_> = current.iter().filter(|key| !rows.contains(key)).collect();
    assert!(gone.is_empty(), "current rows that the source does not have: {gone:?}");
}
