//! What would stay green here could not be trusted in the other tests: a batch done twice on purpose.

use std::collections::BTreeMap;

use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::program::Answer;
use hindsight_tests::say::say;
use hindsight_tests::writers::Writing;

#[test]
fn a_batch_done_twice_on_purpose_is_seen_by_count_changes_both_of_a_snapshot_and_behind_it() {
    let writing = Writing { seed: 5, rows: 600, ..Writing::default() };
    let server = Mysql::start(&[]);
    server.add_reader();
    writing.fill(&server);
    let snapshot = "snapshot = \"initial\"\nsnapshot-chunk-rows = 50";
    let live = Live { rule: Rule::CountChanges, snapshot, batch: 50, ..Live::of(&server) };
    let (right, wrong) = (live.place(), live.place());
    run_to_end(&right, None);
    run_to_end(&wrong, Some("3"));
    let differ = differing_counts(&right, &wrong);
    say(&format!("a batch of a snapshot done twice: {differ} owners are wrong under count-changes"));
    assert!(differ > 10, "count-changes shows a doubled batch of a snapshot: {differ}");

    // The same again behind a snapshot that was right.
    let wrong = live.place();
    run_to_end(&wrong, None);
    server.sql("UPDATE shop.item_assets SET asset_info = 'another' WHERE id <= 300");
    run_to_end(&right, None);
    run_to_end(&wrong, Some("0"));
    let differ = differing_counts(&right, &wrong);
    say(&format!("a batch behind a snapshot done twice: {differ} owners are wrong under count-changes"));
    assert!(differ > 10, "count-changes shows a doubled batch behind a snapshot: {differ}");
}

fn run_to_end(place: &Place, repeat: Option<&str>) {
    let mut command = place.0.command(&["run", "--json", "--to-end"]);
    if let Some(batch) = repeat {
        command.env("HINDSIGHT_TEST_REPEAT", batch);
    }
    let answer: Answer = command.output().expect("run hindsight").into();
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
}

/// Owners whose rows tell another number of changes: the digests also hold when a snapshot was made.
fn differing_counts(right: &Place, wrong: &Place) -> usize {
    let counts = |place: &Place| -> BTreeMap<i64, i64> {
        place.counts().into_iter().map(|(owner, row)| (owner, row.changes)).collect()
    };
    let (right, wrong) = (counts(right), counts(wrong));
    assert_eq!(right.keys().collect::<Vec<_>>(), wrong.keys().collect::<Vec<_>>());
    right.iter().filter(|(owner, n)| wrong[owner] != **n).count()
}
