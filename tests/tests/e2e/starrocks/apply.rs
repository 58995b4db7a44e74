//! The apply half into StarRocks while nothing falls.

use hindsight_tests::generator::{play, served};
use hindsight_tests::kafka;
use hindsight_tests::pipeline::Rule;
use hindsight_tests::starrocks::Cluster;
use hindsight_tests::topic::Topic;

use super::{RULES, list, load, place, run};

#[test]
fn the_table_is_the_oracles() {
    let (server, cluster, topic) = (served(), Cluster::start(), Topic::on(kafka::shared()));
    let transactions = load(701, 6_000);
    let (first, second) = transactions.split_at(transactions.len() / 2);
    let places = RULES.map(|rule| place(&cluster, &server, &topic.section(), rule, ""));
    for part in [first, second] {
        play(&server, part);
        run(&places[0].0, "capture");
        places.iter().for_each(|(place, _)| run(place, "apply"));
    }
    for ((_, table), rule) in places.iter().zip(RULES) {
        cluster.assert_is(table, rule, &list(&transactions), &format!("{rule:?}"));
    }
    // Nothing is left to do.
    let n_labels = cluster.assert_each_label_sent_once();
    run(&places[0].0, "apply");
    assert_eq!(cluster.assert_each_label_sent_once(), n_labels);
    cluster.assert_is(&places[0].1, Rule::ByOwner, &list(&transactions), "again");
    assert_eq!(cluster.n_dead_letters(), 0);
}
