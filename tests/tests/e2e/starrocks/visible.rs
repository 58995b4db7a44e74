//! Rows that are committed and not visible yet, and a follower that shows them later still: no batch is decided without the one
//! before.

use hindsight_tests::generator::{play, served};
use hindsight_tests::kafka;
use hindsight_tests::live::Live;
use hindsight_tests::starrocks::Cluster;
use hindsight_tests::topic::Topic;
use starrocks_stand_in::Settings;

use super::{BATCH, RULES, lines, list, load, member, run, start};

/// From a commit until the leader shows its rows, and from then until a follower does.
const PUBLISH_MS: u64 = 60;
const FOLLOWER_MS: u64 = 120;

#[test]
fn a_follower_that_is_behind_shows_no_batch_without_the_one_before() {
    let cluster = Cluster::with(Settings {
        publish_delay_ms: PUBLISH_MS,
        follower_delay_ms: FOLLOWER_MS,
        publish_wait_ms: 20,
        label_keep_max_num: 1_000_000,
        ..Settings::default()
    });
    let (server, topic) = (served(), Topic::on(kafka::shared()));
    let transactions = load(809, 2_400);
    play(&server, &transactions);
    let section = member(&topic);
    // The follower alone.
    let mysql = cluster.stand.ports().mysql[1];
    let places = RULES.map(|rule| {
        let table = cluster.table_at(&[mysql], lines(rule));
        let live = Live { rule, batch: BATCH, topic: &section, ..Live::of(&server) };
        let place = Live { name: &table.pipeline, sink: &table.sink, ..live }.place();
        cluster.make(&place, str::to_owned);
        (place, table)
    });
    run(&places[0].0, "capture");
    std::thread::scope(|scope| {
        for (place, _) in &places {
            scope.spawn(|| {
                // What the next process reads first is what this one has only just committed.
                for point in
                    ["starrocks.loaded:2", "starrocks.committed:3", "starrocks.visible:2", "starrocks.committed:4"]
                {
                    let answer = start(place, "apply", Some(point)).end();
                    assert_eq!(answer.exit, None, "it falls at {point}: {}", answer.err);
                }
                run(place, "apply");
            });
        }
    });
    for ((_, table), rule) in places.iter().zip(RULES) {
        cluster.assert_is(table, rule, &list(&transactions), &format!("{rule:?} by way of a follower"));
    }
    cluster.assert_each_label_sent_once();
}
