//! SIGTERM and SIGINT: the batch in hand is finished and nothing is lost; the second one ends at once.

use std::time::{Duration, Instant};

use hindsight_tests::generator::{Load, served};
use hindsight_tests::live::Live;
use hindsight_tests::pipeline::Rule;
use hindsight_tests::program::signal;
use rusqlite::{Connection, TransactionBehavior};

#[test]
fn a_signal_in_the_midst_of_a_backlog_ends_well_and_loses_nothing_and_a_second_one_ends_at_once() {
    let server = served();
    let load = Load { seed: 23, changes: 20_000, owners: 500, ..Load::default() };
    server.feed(|client| load.write_sql(client)).unwrap_or_else(|error| panic!("play the load: {error}"));
    let places =
        [Rule::ByOwner, Rule::CountChanges].map(|rule| (rule, Live { rule, batch: 100, ..Live::of(&server) }.place()));
    for (rule, place) in &places {
        let mut last = 0;
        for name in ["TERM", "INT", "TERM"] {
            let mut running = place.follow();
            let begun = Instant::now();
            while place.reached().transactions < last + 100 {
                running.assert_runs();
                assert!(begun.elapsed() < Duration::from_secs(30), "{}", running.log());
            }
            signal(name, running.id());
            let answer = running.end();
            assert_eq!(answer.exit, Some(0), "SIG{name}: {}", answer.err);
            last = place.reached().transactions;
            assert!(!server.has_all_executed_in(&place.reached().gtids), "SIG{name} fell behind the backlog");
        }

        // A commit that cannot go on: another connection holds the history.
        let mut holder = Connection::open(place.database()).expect("open the history");
        let held = holder.transaction_with_behavior(TransactionBehavior::Immediate).expect("hold the history");
        let mut running = place.follow();
        running.wait_for_log(&["running"]);
        let kept = place.checkpoint();
        signal("TERM", running.id());
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            running.assert_runs();
        }
        signal("INT", running.id());
        let answer = running.end();
        assert_eq!(answer.exit, Some(130), "{}", answer.err);
        assert!(begun.elapsed() < Duration::from_secs(2), "it took {:?}", begun.elapsed());
        assert_eq!(place.checkpoint(), kept);
        drop(held);

        let mut running = place.follow();
        place.wait_until_all_is_done(&server, &mut running);
        running.stop();
        place.assert_is(*rule, &load.list(), &format!("{rule:?} after signals"));
    }
}
