//! Ends and beginnings that are no kill: a file cut short, a batch done twice on purpose, a second process.

use hindsight_tests::dump;
use hindsight_tests::generator::DEMO;
use hindsight_tests::oracle;
use hindsight_tests::pipeline::{Pipeline, Place, Rule, TABLE, assert_same, byte, differences, fixture};
use hindsight_tests::program::{Answer, Folder, signal};
use hindsight_tests::say::say;
use rusqlite::Connection;

fn demo(rule: Rule, batch: usize) -> Pipeline<'static> {
    Pipeline { rule, batch, files: vec![fixture("item_assets.binlog")], ..Pipeline::default() }
}

#[test]
fn a_file_that_was_cut_gives_its_whole_transactions_and_the_whole_file_the_rest() {
    let bytes = std::fs::read(fixture("item_assets.binlog")).expect("read the fixture");
    let log = dump::read(&[fixture("item_assets.binlog")]);
    let changes = log.reference();
    let some_end = log.changes[9_000].transaction_end;
    let size = bytes.len() as u64;
    for cut in [200, size / 7, size / 3 + 1, some_end - 1, some_end, some_end + 1, size * 5 / 6, size - 60] {
        for rule in [Rule::ByOwner, Rule::CountChanges] {
            let folder = Folder::new();
            let file = folder.write("item_assets.binlog", &bytes[..cut as usize]);
            let pipeline = Pipeline { files: vec![file.clone()], ..demo(rule, 300) };
            let (place, answer) = pipeline.run();
            let whole = log.changes.iter().filter(|change| change.transaction_end <= cut).count();
            if cut == some_end {
                assert_eq!(answer.exit, Some(0), "it ends between two transactions: {}", answer.err);
            } else {
                assert_eq!(answer.exit, Some(1), "cut at {cut}: {}", answer.err);
                for word in ["item_assets.binlog", "ends inside", "run again"] {
                    assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
                }
            }
            if whole > 0 {
                place.assert_is(rule, &changes[..whole], &format!("cut at {cut}"));
            }
            std::fs::write(&file, &bytes).expect("write the whole file");
            let answer = place.run();
            assert_eq!(answer.count("changes"), (changes.len() - whole) as u64, "cut at {cut}");
            place.assert_is(rule, &changes, &format!("the whole file after a cut at {cut}"));
        }
    }
}

/// A test of exactly-once that stays green here would be no test.
#[test]
fn a_batch_done_twice_on_purpose_is_seen_by_count_changes_and_hidden_by_scd2() {
    for batch in ["0", "7", "40"] {
        let twice = |rule| {
            let place = demo(rule, 400).place();
            let answer: Answer =
                place.command().env("HINDSIGHT_TEST_REPEAT", batch).output().expect("run hindsight").into();
            assert!(answer.count("batches") > 45, "batch {batch} is one of the run");
            place
        };
        let counts = twice(Rule::CountChanges).counts();
        let wrong = differences(&counts, &oracle::count_changes(&DEMO.list()));
        say(&format!(
            "batch {batch} done twice: {} of {} owners are wrong under count-changes",
            wrong.len(),
            counts.len()
        ));
        assert!(wrong.len() > 100, "count-changes shows it: {wrong:?}");
        twice(Rule::ByOwner).assert_is(Rule::ByOwner, &DEMO.list(), "scd2-by-owner hides it");
    }
}

#[test]
fn the_slower_of_two_processes_on_one_history_stops_at_its_next_commit() {
    for rule in [Rule::ByOwner, Rule::CountChanges] {
        let place = demo(rule, 50).place();
        let slow = place.command().spawn().expect("run hindsight");
        // Stopped between two commits: inside of one it would hold the other one up.
        loop {
            if place.checkpoint().is_none() {
                continue;
            }
            signal("STOP", slow.id());
            if is_free(&place) {
                break;
            }
            signal("CONT", slow.id());
        }
        let stopped_at = byte(place.checkpoint().as_deref());
        let quick = place.run();
        assert!(quick.count("changes") > 0, "the stopped one was at byte {stopped_at} already");
        signal("CONT", slow.id());
        let slow: Answer = slow.wait_with_output().expect("wait for hindsight").into();
        assert_eq!(slow.exit, Some(1), "{}", slow.err);
        for word in ["item-assets", "moved by another process", "one process per pipeline"] {
            assert!(slow.err.contains(word), "{word:?} is not in: {}", slow.err);
        }
        place.assert_is(rule, &DEMO.list(), "after both");
    }
}

/// Whether no process is within a transaction of the history.
fn is_free(place: &Place) -> bool {
    let mut connection = Connection::open(place.database()).expect("open the history");
    connection.busy_timeout(std::time::Duration::ZERO).expect("set the timeout");
    connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).is_ok()
}

#[test]
fn a_history_is_not_gone_on_with_by_another_rule_source_table_or_name() {
    let bytes = std::fs::read(fixture("item_assets.binlog")).expect("read the fixture");
    let log = dump::read(&[fixture("item_assets.binlog")]);
    let cut = log.changes[9_000].transaction_end;
    let folder = Folder::new();
    let file = folder.write("item_assets.binlog", &bytes[..cut as usize]);
    let pipeline = Pipeline { files: vec![file.clone()], ..demo(Rule::ByOwner, 8192) };
    let (place, first) = pipeline.run();
    assert_eq!(first.exit, Some(0), "{}", first.err);
    let (history, checkpoint) = (place.history(), place.checkpoint());
    let configured = std::fs::read_to_string(place.0.path().join("hindsight.toml")).expect("read the configuration");
    // There is more to read, so that a rule is asked.
    std::fs::write(&file, &bytes).expect("write the whole file");
    let refused = |exit: i32, words: &[&str]| {
        let answer = place.run();
        assert_eq!(answer.exit, Some(exit), "{}{}", answer.out, answer.err);
        for word in words {
            assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
        }
        assert_same(&place.history(), &history, &format!("after {}", answer.err));
        assert_eq!(place.checkpoint(), checkpoint);
    };

    Pipeline { rule: Rule::CountChanges, ..pipeline.clone() }.configure(&place);
    refused(
        2,
        &["configuration names another rule", "item_asset_history", "is not the one that the rule writes", "changes"],
    );

    Pipeline { table: "shop.*", ..pipeline.clone() }.configure(&place);
    refused(2, &["another source", "shop.item_assets", "shop.*", "another `name`"]);

    let table = format!("table = {TABLE:?}");
    place.0.write("hindsight.toml", configured.replace(&table, "table = \"other_history\""));
    refused(3, &["other_history", "item-assets", "has a checkpoint", TABLE]);

    place.0.write("hindsight.toml", configured.replace("name = \"item-assets\"", "name = \"other\""));
    refused(3, &[TABLE, "is written by pipeline item-assets", "another table"]);

    place.0.write("hindsight.toml", configured);
    assert!(place.run().count("changes") > 0);
    place.assert_is(Rule::ByOwner, &DEMO.list(), "after all refusals");
}
