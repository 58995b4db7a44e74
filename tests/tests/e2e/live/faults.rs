//! A server that falls silent, and one that is replaced by its replica.

use std::time::{Duration, Instant};

use hindsight_tests::generator::{Load, Transaction, write_transactions};
use hindsight_tests::live::Live;
use hindsight_tests::mysql::{Mysql, OUTLIVES_KILLS};
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::program::signal;
use hindsight_tests::steps::Steps;

const RULES: [Rule; 2] = [Rule::ByOwner, Rule::CountChanges];

#[test]
fn a_silent_server_is_noticed_after_three_heartbeats_and_followed_again_when_it_speaks() {
    let server = Mysql::start(&[]);
    server.sql(Steps::SCHEMA);
    server.add_reader();
    let places = RULES.map(|rule| Live { rule, source: "heartbeat = \"300ms\"", ..Live::of(&server) }.place());
    let mut running = places.each_ref().map(Place::follow);
    let mut steps = Steps::default();
    for round in 0..2 {
        server.sql(&steps.mixed(1 + 100 * round, 40));
        for (place, process) in places.iter().zip(&mut running) {
            place.wait_until_all_is_done(&server, process);
        }
        let seen = running.each_ref().map(|process| process.log().lines().count());
        server.freeze();
        let begun = Instant::now();
        for (process, seen) in running.iter_mut().zip(seen) {
            process.wait_for_log_after(seen, &["silent", &server.port().to_string()]);
        }
        let noticed = begun.elapsed();
        // Three periods, less what had passed of the last one; the machine may be busy.
        assert!(noticed >= Duration::from_millis(550), "noticed after {noticed:?}");
        assert!(noticed < Duration::from_secs(5), "noticed after {noticed:?}");
        server.thaw();
    }
    server.sql(&steps.mixed(1_000, 40));
    for ((place, mut process), rule) in places.iter().zip(running).zip(RULES) {
        place.wait_until_all_is_done(&server, &mut process);
        process.stop();
        place.assert_is(rule, &steps.changes, &format!("{rule:?} after two silences"));
    }
}

/// A quiet server is not a silent one: its heartbeats are enough.
#[test]
fn a_quiet_server_is_no_silent_one_and_a_signal_ends_the_wait_for_it_at_once() {
    let server = Mysql::start(&[]);
    server.sql(Steps::SCHEMA);
    server.add_reader();
    let place = Live { source: "heartbeat = \"100ms\"", ..Live::of(&server) }.place();
    let mut running = place.follow();
    let mut steps = Steps::default();
    server.sql(&steps.mixed(1, 10));
    place.wait_until_all_is_done(&server, &mut running);
    // Many times three periods of the server's own time.
    server.sql("DO SLEEP(1.5)");
    assert!(!running.log().contains("silent"), "{}", running.log());
    running.stop();
    for name in ["INT", "TERM"] {
        let mut running = place.follow();
        place.wait_until_all_is_done(&server, &mut running);
        running.wait_for_log(&["running"]);
        let begun = Instant::now();
        signal(name, running.id());
        let answer = running.end();
        assert_eq!(answer.exit, Some(0), "SIG{name}: {}", answer.err);
        assert!(begun.elapsed() < Duration::from_secs(2), "SIG{name} took {:?}", begun.elapsed());
    }
    place.assert_is(Rule::ByOwner, &steps.changes, "a quiet server");
}

#[test]
fn a_replica_takes_over_when_its_source_is_killed() {
    let mut first = Mysql::start(OUTLIVES_KILLS);
    first.sql(Steps::SCHEMA);
    first.add_reader();
    let second = Mysql::start(&["--server-id=2"]);
    assert_ne!(first.uuid(), second.uuid());
    second.follow(&first);
    let urls = vec![first.url(), second.url()];
    let places = RULES.map(|rule| Live { rule, urls: urls.clone(), ..Live::default() }.place());
    let mut running = places.each_ref().map(Place::follow);
    let mut steps = Steps::default();
    first.sql(&steps.mixed(1, 60));
    for (place, process) in places.iter().zip(&mut running) {
        place.wait_until_all_is_done(&first, process);
    }
    // Some more, which the program may have read or not.
    first.sql(&steps.mixed(101, 60));
    second.wait_until_executed(&first.executed());
    let uuids = [first.uuid(), second.uuid()];
    first.kill();
    second.stop_following();
    second.sql(&steps.mixed(201, 60));
    for ((place, mut process), rule) in places.iter().zip(running).zip(RULES) {
        place.wait_until_all_is_done(&second, &mut process);
        process.wait_for_log(&[&second.port().to_string()]);
        process.stop();
        place.assert_is(rule, &steps.changes, &format!("{rule:?} after the failover"));
        let gtids = place.reached().gtids;
        assert!(uuids.iter().all(|uuid| gtids.contains(uuid)), "both servers' transactions: {gtids}");
    }
}

/// The replica writes a log of its own: other files, other events, the same rows in the same order.
#[test]
fn a_failover_inside_a_large_transaction_goes_on_behind_the_changes_that_are_done() {
    let mut first = Mysql::start(OUTLIVES_KILLS);
    first.sql(Steps::SCHEMA);
    first.add_reader();
    let second = Mysql::start(&["--server-id=2", "--binlog-row-event-max-size=1024"]);
    second.follow(&first);
    let load = Load { seed: 37, changes: 3_000, owners: 100, ..Load::default() };
    let large = Transaction::merged(load.transactions().collect());
    let written = first.feed(|client| {
        writeln!(client, "SET SESSION binlog_transaction_compression = ON;")?;
        write_transactions([&large], client)
    });
    written.unwrap_or_else(|error| panic!("write a large transaction: {error}"));
    second.wait_until_executed(&first.executed());
    let urls = vec![first.url(), second.url()];
    let places = RULES.map(|rule| Live { rule, urls: urls.clone(), batch: 100, ..Live::default() }.place());
    for place in &places {
        let crashed = place.follow_with(|command| _ = command.env("HINDSIGHT_TEST_CRASH", "sink.committed:9")).end();
        assert_eq!(crashed.exit, None, "{}", crashed.err);
        assert!(place.reached().skip > 500, "the checkpoint is inside the transaction: {:?}", place.checkpoint());
    }
    first.kill();
    second.stop_following();
    for (place, rule) in places.iter().zip(RULES) {
        let mut running = place.follow();
        place.wait_until_all_is_done(&second, &mut running);
        running.stop();
        place.assert_is(rule, &large.changes(), &format!("{rule:?} after a failover inside a transaction"));
    }
}

#[test]
fn a_replica_that_lacks_what_was_read_is_refused_with_the_transactions() {
    let mut first = Mysql::start(OUTLIVES_KILLS);
    first.sql(Steps::SCHEMA);
    first.add_reader();
    let second = Mysql::start(&["--server-id=2"]);
    second.follow(&first);
    let live = Live { urls: vec![first.url(), second.url()], ..Live::default() };
    let place = live.place();
    let mut running = place.follow();
    let mut steps = Steps::default();
    first.sql(&steps.mixed(1, 30));
    second.wait_until_executed(&first.executed());
    second.stop_following();
    // These only the first one has.
    let uuid = first.uuid();
    let last_on_both = first.executed();
    first.sql(&steps.mixed(101, 7));
    place.wait_until_all_is_done(&first, &mut running);
    let lost = first.gtid_set(&format!("SELECT GTID_SUBTRACT(@@global.gtid_executed, '{last_on_both}')"));
    assert!(lost.starts_with(&uuid), "{lost}");
    first.kill();
    let kept = place.checkpoint();
    // It may be behind only: for a while that is waited for.
    running.wait_for_log(&["no source can be read", &lost, &second.port().to_string()]);
    if std::env::var_os("HINDSIGHT_TEST_LONG").is_some() {
        let answer = running.end();
        assert_eq!(answer.exit, Some(1), "{}", answer.err);
        assert!(answer.err.contains(&lost), "{lost} is not in: {}", answer.err);
    } else {
        running.kill();
    }
    // A new start says so at once, and writes nothing.
    second.sql(&Steps::default().mixed(901, 3));
    let answer = place.follow().end();
    assert_eq!(answer.exit, Some(3), "{}", answer.err);
    for word in [&lost, &second.port().to_string()] {
        assert!(answer.err.contains(word.as_str()), "{word:?} is not in: {}", answer.err);
    }
    assert_eq!(place.checkpoint(), kept);
    place.assert_is(Rule::ByOwner, &steps.changes, "what the first server had");
}

#[test]
fn a_replica_that_is_behind_is_waited_for() {
    let mut first = Mysql::start(OUTLIVES_KILLS);
    first.sql(Steps::SCHEMA);
    first.add_reader();
    let second = Mysql::start(&["--server-id=2"]);
    second.follow(&first);
    let place = Live { urls: vec![first.url(), second.url()], ..Live::default() }.place();
    let mut running = place.follow();
    let mut steps = Steps::default();
    first.sql(&steps.mixed(1, 30));
    second.wait_until_executed(&first.executed());
    // It has the next ones, and has not executed them.
    second.lag();
    first.sql(&steps.mixed(101, 30));
    place.wait_until_all_is_done(&first, &mut running);
    second.wait_until_received(&first.executed());
    first.kill();
    running.wait_for_log(&["no source can be read", &second.port().to_string()]);
    second.stop_lagging();
    second.wait_until_executed(&place.reached().gtids);
    second.stop_following();
    second.sql(&steps.mixed(201, 30));
    place.wait_until_all_is_done(&second, &mut running);
    running.stop();
    place.assert_is(Rule::ByOwner, &steps.changes, "after the replica had caught up");
}

#[test]
fn a_replica_is_held_to_the_same_settings_when_it_takes_over() {
    let mut first = Mysql::start(OUTLIVES_KILLS);
    first.sql(Steps::SCHEMA);
    first.add_reader();
    let second = Mysql::start(&["--server-id=2", "--binlog-row-metadata=MINIMAL"]);
    second.follow(&first);
    let place = Live { urls: vec![first.url(), second.url()], ..Live::default() }.place();
    let mut running = place.follow();
    let mut steps = Steps::default();
    first.sql(&steps.mixed(1, 30));
    place.wait_until_all_is_done(&first, &mut running);
    second.wait_until_executed(&first.executed());
    first.kill();
    let answer = running.end();
    assert_eq!(answer.exit, Some(1), "{}", answer.err);
    for word in ["SET PERSIST binlog_row_metadata", "FULL", &second.port().to_string()] {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    // With the statement done it goes on: what the replica wrote before is older than the checkpoint.
    second.stop_following();
    second.sql(&format!("SET PERSIST binlog_row_metadata = 'FULL'; {}", steps.mixed(101, 10)));
    let mut running = place.follow();
    place.wait_until_all_is_done(&second, &mut running);
    running.stop();
    place.assert_is(Rule::ByOwner, &steps.changes, "after the remedy");
}
