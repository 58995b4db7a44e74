//! Messages with their schema beside them, as Kafka Connect's JSON converter has it.

use std::fs;

use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::kafka;
use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::Change;
use hindsight_tests::pipeline::{Pipeline, Rule};
use hindsight_tests::program::Answer;
use hindsight_tests::say::say;
use hindsight_tests::topic::Topic;
use serde_json::Value;

use super::apply::QUICK;
use super::foreign::{Played, recorded};
use crate::golden::{TABLES, played};

/// Keyed as Debezium does it, so that keys have its schemas too.
const AS_DEBEZIUM: &str = "key = \"primary-key\"\ntombstones = true\nschemas = true\n";

fn section(topic: &Topic) -> String {
    topic.section().replace("partitions = 3", "partitions = 1") + AS_DEBEZIUM + QUICK
}

#[track_caller]
fn done(answer: Answer, exit: i32) {
    assert_eq!(answer.exit, Some(exit), "{}{}", answer.out, answer.err);
}

#[test]
fn the_schema_beside_a_message_is_the_one_that_debezium_wrote() {
    let server = Mysql::start(&[]);
    let files = vec![played(&server)];
    for &(table, rule, settings, _) in TABLES {
        let topic = Topic::on(kafka::shared());
        let name = format!("gold.{table}");
        let pipeline = Pipeline { rule, settings, files: files.clone(), table: &name, ..Pipeline::default() };
        let place = pipeline.place();
        let config = place.0.path().join("hindsight.toml");
        let text = fs::read_to_string(&config).expect("read the configuration") + &section(&topic);
        fs::write(&config, text).expect("write the configuration");
        // A table that is emptied has no history: its last statement stops.
        done(place.0.hindsight(&["run", "--only", "capture", "--to-end"]), if table == "no_pk" { 1 } else { 0 });
        let theirs = schemas(recorded("stream-schemas", table), &format!("hs.{name}"));
        let messages = topic.client.committed(&topic.name).into_iter().map(|record| (record.key, record.value));
        let ours = schemas(messages.collect(), &topic.name);
        assert_eq!(ours.len(), theirs.len(), "{table}: schemas of its versions");
        assert!(!ours.is_empty(), "{table} has messages");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            for (which, ours, theirs) in [("key", &ours[0], &theirs[0]), ("value", &ours[1], &theirs[1])] {
                assert!(ours == theirs, "the schema of {table}'s {which} is\n{ours}\nand Debezium wrote\n{theirs}");
            }
        }
        say(&format!("{table}: the schemas of {} versions beside its messages are Debezium's", ours.len()));
    }
}

/// Of keys and values, each different pair once; structures' names begin with `topic`. Without Debezium's texts about a
/// type, and without columns' defaults, which are in no log.
fn schemas(messages: Vec<(Option<String>, Option<String>)>, topic: &str) -> Vec<[Value; 2]> {
    let schema = |text: Option<String>| -> Value {
        let mut message: Value = serde_json::from_str(text.as_deref().unwrap_or("null")).expect("JSON");
        let mut schema = message["schema"].take();
        plain(&mut schema, topic);
        schema
    };
    let mut found = Vec::new();
    for (key, value) in messages {
        // A tombstone has none.
        let Some(value) = value.filter(|value| value != "null") else { continue };
        let pair = [schema(key), schema(Some(value))];
        if !found.contains(&pair) {
            found.push(pair);
        }
    }
    found
}

fn plain(schema: &mut Value, topic: &str) {
    if let Some(parts) = schema.get_mut("fields").and_then(Value::as_array_mut) {
        parts.iter_mut().for_each(|part| plain(part, topic));
    }
    let Some(schema) = schema.as_object_mut() else { return };
    schema.remove("doc");
    if schema.get("field").is_some_and(|field| field != "snapshot") {
        schema.remove("default");
    }
    // FLOAT(7,2) is a double there; the log says of it what it says of any FLOAT.
    if schema.get("field").is_some_and(|field| field == "f72") {
        schema.insert("type".into(), "float".into());
    }
    if let Some(name) = schema.get_mut("name") {
        *name = name.as_str().expect("a name").replace(&format!("{topic}."), "").into();
    }
}

/// By this program's other half, and as a topic that somebody else writes: then nothing but the messages says what they are.
#[test]
fn what_is_written_with_schemas_is_applied_and_read_as_anybody_elses() {
    let server = served();
    let transactions: Vec<Transaction> =
        Load { seed: 391, changes: 3_000, owners: 100, ..Load::default() }.transactions().collect();
    let changes: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    play(&server, &transactions);
    for rule in [Rule::CountChanges, Rule::ByOwner] {
        let topic = Topic::on(kafka::shared());
        let section = section(&topic);
        let place = Live { rule, batch: 100, topic: &section, ..Live::of(&server) }.place();
        done(place.0.hindsight(&["run", "--to-end"]), 0);
        place.assert_is(rule, &changes, "with schemas");
        let foreign = Played { topic: &topic, table: "shop.item_assets", section: "", rule, settings: "" }.place();
        done(foreign.0.hindsight(&["run", "--to-end"]), 0);
        foreign.assert_is(rule, &changes, "as a topic that others write");
    }
}
