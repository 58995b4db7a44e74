//! A table that another program has written half of: it goes on without a seam, behind a topic and without one.

use hindsight_tests::generator::{play, served};
use hindsight_tests::kafka;
use hindsight_tests::live::Live;
use hindsight_tests::oracle::{self, Change, OnOwnerChange};
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::starrocks::{Cluster, Table};
use hindsight_tests::topic::{PARTITIONS, Topic};

use super::{list, load, member, place, run};

/// The table as the other program leaves it: the oracle is that program.
#[track_caller]
fn half_written(cluster: &Cluster, table: &Table, changes: &[Change]) {
    cluster.write(table, &oracle::scd2_by_owner(changes, OnOwnerChange::Close).table);
}

#[track_caller]
fn adopt(place: &Place, arguments: &[&str]) -> hindsight_tests::program::Answer {
    place.0.hindsight(&[&["adopt"], arguments].concat())
}

#[test]
fn a_table_behind_a_topic_goes_on_where_the_other_program_has_ended() {
    let (server, cluster, topic) = (served(), Cluster::start(), Topic::on(kafka::shared()));
    let transactions = load(773, 4_000);
    let (first, second) = transactions.split_at(transactions.len() / 2);
    let (place, table) = place(&cluster, &server, &member(&topic), Rule::ByOwner, "");
    play(&server, first);
    run(&place, "capture");
    half_written(&cluster, &table, &list(first));
    let ends = topic.client.ends(&topic.name, PARTITIONS);
    play(&server, second);
    run(&place, "capture");

    // Without a word where, the rows that are there are no history of this pipeline's.
    let refused = place.0.hindsight(&["run", "--only", "apply", "--to-end"]);
    assert_eq!(refused.exit, Some(3), "{}", refused.err);
    assert!(refused.err.contains("has rows") && refused.err.contains("hindsight adopt"), "{}", refused.err);

    let to: Vec<String> = ends.iter().map(|(partition, end)| format!("{partition}={end}")).collect();
    let missing = adopt(&place, &["--to", &to[..2].join(","), "--accept"]);
    assert_eq!(missing.exit, Some(2), "{}", missing.err);
    assert!(missing.err.contains("partition 2 is left out"), "{}", missing.err);
    let nobody = adopt(&place, &["--group", "nobody", "--accept"]);
    assert!(nobody.exit == Some(2) && nobody.err.contains("group nobody keeps no offsets"), "{}", nobody.err);
    let unsure = adopt(&place, &["--to", &to.join(",")]);
    assert!(unsure.exit == Some(2) && unsure.err.contains("add --accept"), "{}", unsure.err);

    // As the old program's group keeps it.
    topic.client.keep_offsets("the-flink-job", &topic.name, &ends);
    let answer = adopt(&place, &["--group", "the-flink-job", "--accept", "--json"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let wanted = oracle::scd2_by_owner(&list(first), OnOwnerChange::Close).table;
    assert_eq!(answer.json()["rows"], wanted.len(), "{}", answer.out);
    assert_eq!(answer.json()["current"], wanted.values().filter(|row| row.is_current).count(), "{}", answer.out);
    run(&place, "apply");
    cluster.assert_is(&table, Rule::ByOwner, &list(&transactions), "after it was taken over");

    let again = adopt(&place, &["--group", "the-flink-job", "--accept"]);
    assert!(again.exit == Some(2) && again.err.contains("`hindsight rewind`"), "{}", again.err);
}

#[test]
fn a_table_without_a_topic_goes_on_behind_a_gtid_set_and_behind_debeziums_offset() {
    let (server, cluster) = (served(), Cluster::start());
    let transactions = load(787, 3_000);
    let (first, second) = transactions.split_at(transactions.len() / 2);
    let tables = [cluster.table(""), cluster.table("")];
    let places = tables.each_ref().map(|table| {
        let place = Live { batch: 200, name: &table.pipeline, sink: &table.sink, ..Live::of(&server) }.place();
        cluster.make(&place, str::to_owned);
        place
    });
    play(&server, first);
    let done = server.executed();
    tables.iter().for_each(|table| half_written(&cluster, table, &list(first)));
    play(&server, second);
    let offset = format!(
        "{{\"transaction_id\":null,\"ts_sec\":1,\"file\":\"binlog.000001\",\"pos\":4,\"gtids\":{:?},\"server_id\":1}}",
        done.replace('\n', "")
    );
    let file = places[1].0.path().join("offset.json");
    std::fs::write(&file, offset).expect("write the offset");
    for (place, place_of_it) in places.iter().zip([["--to", &done], ["--debezium", "offset.json"]]) {
        let answer = adopt(place, &[&place_of_it[..], &["--accept"]].concat());
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
        let answer = place.run_to_end();
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
    }
    for table in &tables {
        cluster.assert_is(table, Rule::ByOwner, &list(&transactions), "after it was taken over");
    }
}

#[test]
fn a_table_that_is_not_the_rules_is_not_taken_over() {
    let (server, cluster, topic) = (served(), Cluster::start(), Topic::on(kafka::shared()));
    let (place, table) = super::place_narrow(&cluster, &server, &member(&topic), Rule::ByOwner, 255);
    play(&server, &load(797, 50));
    run(&place, "capture");
    let narrow = adopt(&place, &["--to", "start", "--dry-run"]);
    assert_eq!(narrow.exit, Some(0), "{}", narrow.err);
    assert!(narrow.out.contains("asset_info is VARCHAR(255)") && narrow.out.contains("set aside"), "{}", narrow.out);
    // Two current rows of one asset and owner.
    cluster.insert(
        &table,
        "(1, 7, '2025-01-01 00:00:00', 'a', NULL, true, 'c'), (1, 7, '2025-01-02 00:00:00', 'b', NULL, true, 'u')",
    );
    let doubled = adopt(&place, &["--to", "start", "--dry-run"]);
    assert_eq!(doubled.exit, Some(1), "{}", doubled.err);
    assert!(doubled.err.contains("1 source keys have two current rows"), "{}", doubled.err);
}
