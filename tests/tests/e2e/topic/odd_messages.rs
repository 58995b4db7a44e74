//! Messages that nobody expects: each ends the program with its place, and everything before it is in the history.

use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::kafka;
use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::{Rule, assert_same};
use hindsight_tests::topic::Topic;

use super::apply::QUICK;
use super::foreign::{COLUMNS, Played, Recorded, changes, recorded, run, written};
use super::keys::says;

#[test]
fn garbage_in_a_topic_of_others_stops_at_its_offset_with_everything_before_it() {
    let table = "item_assets";
    let good: Vec<Recorded> = recorded("stream", table).into_iter().filter(|(_, value)| value.is_some()).collect();
    assert!(good.len() > 4, "{} messages", good.len());
    let (before, after) = good.split_at(good.len() / 2);
    let half = before[0].1.clone().expect("a value");
    let other = half.replace(&format!("\"table\":\"{table}\""), "\"table\":\"never_heard_of\"");
    for (odd, words) in [
        ("\u{0}\u{1}garbage".to_owned(), vec!["instead of `{`"]),
        (half[..half.len() / 2].to_owned(), vec![]),
        ("[]".to_owned(), vec![]),
        (other, vec!["never_heard_of"]),
        (half.replace("\"op\":\"c\"", "\"op\":\"z\""), vec!["op \"z\" is not known"]),
    ] {
        let messages: Vec<Recorded> = [before, &[(before[0].0.clone(), Some(odd.clone()))], after].concat();
        let topic = written(&messages);
        let played = Played {
            topic: &topic,
            table: "gold.item_assets",
            section: COLUMNS,
            rule: Rule::CountChanges,
            settings: "",
        };
        let place = played.place();
        let place_of_it = format!("topic {}, partition 0, offset {}", topic.name, before.len());
        for time in ["at first", "again"] {
            let answer = run(&place);
            says(&answer, 1, &[&place_of_it]);
            words.iter().for_each(|word| assert!(answer.err.contains(word), "{odd}: {}", answer.err));
            let wanted = hindsight_tests::oracle::count_changes(&changes(before));
            assert_same(&place.counts(), &wanted, &format!("before {odd}, {time}"));
        }
    }
}

#[test]
fn a_record_of_somebody_else_in_our_topic_stops_the_apply_half() {
    let server = served();
    let transactions: Vec<Transaction> =
        Load { seed: 361, changes: 300, owners: 20, ..Load::default() }.transactions().collect();
    play(&server, &transactions);
    let topic = Topic::on(kafka::shared());
    let section = topic.section() + QUICK;
    let place = Live { rule: Rule::CountChanges, topic: &section, ..Live::of(&server) }.place();
    says(&place.0.hindsight(&["run", "--only", "capture", "--to-end"]), 0, &[]);
    topic.client.write(&topic.name, &[(Some("{\"owner_id\":1}".into()), Some("{\"before\":nul".into()))]);
    let answer = place.0.hindsight(&["run", "--only", "apply", "--to-end"]);
    says(&answer, 1, &[&format!("topic {}, partition", topic.name), "hindsight.sequence"]);
}

/// Both images of a row of ten million bytes.
#[test]
fn a_message_of_twenty_million_bytes_is_told_with_what_lets_it_through() {
    let server = Mysql::start(&["--max-allowed-packet=64M"]);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL, asset_info VARCHAR(255) NOT NULL,
         registered_at DATETIME NOT NULL, photo LONGTEXT);
         INSERT INTO shop.item_assets VALUES (1, 7, 'small', '2025-01-01', 'a');
         UPDATE shop.item_assets SET photo = REPEAT('b', 10000000), registered_at = '2025-01-02' WHERE id = 1;
         UPDATE shop.item_assets SET photo = REPEAT('c', 10000000), registered_at = '2025-01-03' WHERE id = 1;",
    );
    let topic = Topic::on(kafka::shared());
    // What is packed well would be small.
    let section = topic.section() + "compression = \"none\"\n" + QUICK;
    let place = Live { topic: &section, ..Live::of(&server) }.place();
    let answer = place.0.hindsight(&["run", "--to-end"]);
    says(&answer, 1, &["larger than the client sends", "message.max.bytes", "kafka-configs.sh --alter"]);

    let larger = section.clone() + "\"message.max.bytes\" = 30000000\n";
    Live { topic: &larger, ..Live::of(&server) }.configure(&place);
    let answer = place.0.hindsight(&["run", "--to-end"]);
    says(&answer, 1, &["refuses a message", "raise max.message.bytes of the topic"]);

    let setting = [
        "--alter",
        "--entity-type",
        "topics",
        "--entity-name",
        &topic.name,
        "--add-config",
        "max.message.bytes=30000000",
    ];
    topic.client.answer("kafka.admin.ConfigCommand", &setting);
    let answer = place.0.hindsight(&["run", "--to-end"]);
    says(&answer, 0, &[]);
    let rows = place.history();
    let starts: Vec<bool> = rows.values().map(|row| row.is_current).collect();
    assert_eq!(starts, [false, false, true], "three versions, the last one is current: {rows:?}");
    assert_eq!(topic.client.committed(&topic.name).len(), 3);
}
