//! The apply half killed at every named place on its way into StarRocks.

use hindsight_tests::generator::{play, served};
use hindsight_tests::kafka;
use hindsight_tests::say::say;
use hindsight_tests::starrocks::{Cluster, offsets};
use hindsight_tests::topic::Topic;

use super::{RULES, list, load, place, run, start};

/// In the order in which a load passes them.
const POINTS: [&str; 9] = [
    "starrocks.decided",
    "starrocks.begun",
    "offsets.asked",
    "offsets.written",
    "starrocks.intended",
    "starrocks.sending",
    "starrocks.loaded",
    "starrocks.committed",
    "starrocks.visible",
];

/// Passes at which one ends itself, at each place.
const KILLS_EACH: usize = 3;

#[test]
fn kills_lose_and_double_nothing() {
    let (server, cluster, topic) = (served(), Cluster::start(), Topic::on(kafka::shared()));
    let transactions = load(709, 12_000);
    play(&server, &transactions);
    let places = RULES.map(|rule| place(&cluster, &server, &topic.section(), rule, ""));
    run(&places[0].0, "capture");
    for ((place, table), rule) in places.iter().zip(RULES) {
        let reached = || offsets(&topic.client, &table.pipeline, &topic.name);
        let mut inside = 0;
        for kill in 0..POINTS.len() * KILLS_EACH {
            let before = reached();
            let point = format!("{}:{}", POINTS[kill % POINTS.len()], 1 + kill % 5);
            let answer = start(place, "apply", Some(&point)).end();
            assert_eq!(answer.exit, None, "it crashes where it was told to: {}", answer.err);
            let after = reached();
            say(&format!("{rule:?} kill {kill:>2} {point:<22} {before:?} -> {after:?}"));
            inside += usize::from(after != before);
        }
        assert!(inside * 2 >= POINTS.len() * KILLS_EACH, "{inside} kills moved the offsets");
        run(place, "apply");
        say(&format!("{rule:?} ends at {:?}", reached()));
        cluster.assert_is(table, rule, &list(&transactions), &format!("{rule:?} after kills"));
    }
    cluster.assert_each_label_sent_once();
    assert_eq!(cluster.n_dead_letters(), 0);
}
