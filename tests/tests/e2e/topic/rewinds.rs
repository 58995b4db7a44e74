//! `hindsight rewind`: the topic applied again, at rest and while it runs, and on from where messages were deleted.

use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::kafka;
use hindsight_tests::live::Live;
use hindsight_tests::oracle::{Change, count_changes};
use hindsight_tests::pipeline::{Rule, differences};
use hindsight_tests::topic::{PARTITIONS, Topic};

use super::apply::QUICK;

#[test]
fn a_topic_is_applied_again_from_where_it_is_told() {
    let server = served();
    let transactions: Vec<Transaction> =
        Load { seed: 381, changes: 2_000, owners: 100, ..Load::default() }.transactions().collect();
    let changes: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    play(&server, &transactions);
    let topic = Topic::on(kafka::shared());
    let section = topic.section() + QUICK;
    let places = [Rule::ByOwner, Rule::CountChanges]
        .map(|rule| Live { rule, batch: 100, topic: &section, ..Live::of(&server) }.place());
    let run = |place: &hindsight_tests::pipeline::Place, half: &str| {
        let answer = place.0.hindsight(&["run", "--only", half, "--to-end"]);
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
    };
    run(&places[0], "capture");
    places.iter().for_each(|place| run(place, "apply"));
    let [by_owner, counted] = &places;
    let end = by_owner.lanes();

    let rewind = |arguments: &[&str]| by_owner.0.hindsight(&[&["rewind"], arguments].concat());
    let looked = rewind(&["--to", "start", "--dry-run", "--json"]);
    assert_eq!(looked.exit, Some(0), "{}", looked.err);
    assert_eq!(looked.json().as_array().map(Vec::len), Some(PARTITIONS as usize));
    let unsure = rewind(&["--to", "start"]);
    assert_eq!(unsure.exit, Some(2));
    assert!(
        unsure.err.contains("add --accept") && unsure.out.contains("offsets again"),
        "{}{}",
        unsure.out,
        unsure.err
    );
    assert_eq!(by_owner.lanes(), end, "nothing was moved");
    for (place, words) in [
        ("yesterday", "is none of: start; a time"),
        ("9=1", "has 3 partitions, and none 9"),
        ("0=99999999", "holds the offsets 0 to"),
    ] {
        let answer = rewind(&["--to", place, "--accept"]);
        assert_eq!(answer.exit, Some(2), "{}", answer.err);
        assert!(answer.err.contains(words), "{}", answer.err);
    }

    // Under a rule that is replay-safe nothing changes; under one that counts each change counts twice.
    for (place, rule) in [(by_owner, Rule::ByOwner), (counted, Rule::CountChanges)] {
        let middle = format!("1={}", end[&1] / 2);
        for to in ["start", "2020-01-01 00:00:00", &middle] {
            let moved = place.0.hindsight(&["rewind", "--to", to, "--accept", "--json"]);
            assert_eq!(moved.exit, Some(0), "{}", moved.err);
            assert!(place.lanes()[&1] < end[&1], "{to}: {:?}", place.lanes());
            run(place, "apply");
            assert_eq!(place.lanes(), end, "all the way again");
        }
        match rule {
            Rule::ByOwner => place.assert_is(rule, &changes, "applied again"),
            Rule::CountChanges => {
                let wrong = differences(&place.counts(), &count_changes(&changes));
                assert!(wrong.len() > 10, "it was decided again: {} owners", wrong.len());
            }
        }
    }

    // While it runs it goes on there by itself.
    let mut running = by_owner.start(&["run", "--only", "apply", "--json", "--log-format", "json"], |_| {});
    let logged = running.wait_for_log(&["a partition is assigned"]);
    assert_eq!(rewind(&["--to", "start", "--accept"]).exit, Some(0));
    play(&server, &[]);
    server.sql("INSERT INTO shop.item_assets VALUES (1000001, 1, 'one more', '2025-01-01')");
    run(&places[0], "capture");
    running.wait_for_log_after(logged, &["applied by another process"]);
    running.wait_for_log_after(logged, &["a partition is assigned"]);
    running.stop();
    run(by_owner, "apply");
    assert!(by_owner.lanes().values().sum::<u64>() > end.values().sum(), "{:?}", by_owner.lanes());

    // What was deleted before it was applied is passed over only with a word.
    let other = Live { rule: Rule::CountChanges, topic: &section, ..Live::of(&server) }.place();
    let cut = end[&0] / 2;
    topic.client.delete_records(&topic.name, 0, cut as i64);
    let stopped = other.0.hindsight(&["run", "--only", "apply", "--to-end"]);
    assert_eq!(stopped.exit, Some(1), "{}", stopped.err);
    let accepted = other.0.hindsight(&["rewind", "--to", "start", "--accept"]);
    assert_eq!(accepted.exit, Some(0), "{}", accepted.err);
    assert!(accepted.out.contains("messages before it were deleted, and are in no history"), "{}", accepted.out);
    run(&other, "apply");
}
