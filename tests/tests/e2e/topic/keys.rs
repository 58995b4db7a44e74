//! Topics keyed by rows, as Debezium does it, and rules that such a topic, or another, is in no order for.

use std::collections::BTreeMap;

use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::kafka::{self, Record};
use hindsight_tests::live::Live;
use hindsight_tests::oracle::{Change, Op};
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::program::Answer;
use hindsight_tests::say::say;
use hindsight_tests::topic::Topic;
use serde_json::Value;

use super::apply::QUICK;

fn run(place: &Place, half: &str) -> Answer {
    place.0.hindsight(&["run", "--only", half, "--to-end", "--json"])
}

/// It ends so, and its error has all these words.
#[track_caller]
pub(super) fn says(answer: &Answer, exit: i32, words: &[&str]) {
    assert_eq!(answer.exit, Some(exit), "{}{}", answer.out, answer.err);
    for word in words {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
}

/// One partition: the source's order, whatever the key. A move is one message, a delete has a tombstone behind it.
#[test]
fn keyed_by_rows_each_change_is_one_message_and_a_delete_has_a_tombstone() {
    let server = served();
    let transactions: Vec<Transaction> =
        Load { seed: 371, changes: 3_000, owners: 100, ..Load::default() }.transactions().collect();
    let changes: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    play(&server, &transactions);
    let topic = Topic::on(kafka::shared());
    let keyed = "key = \"primary-key\"\ntombstones = true\n";
    let section = topic.section().replace("partitions = 3", "partitions = 1") + keyed + QUICK;
    let place = Live { rule: Rule::CountChanges, batch: 100, topic: &section, ..Live::of(&server) }.place();
    // Twice: the second start looks at a topic that ends with a tombstone, or does not.
    for _ in 0..2 {
        says(&run(&place, "capture"), 0, &[]);
        says(&run(&place, "apply"), 0, &[]);
        place.assert_is(Rule::CountChanges, &changes, "keyed by rows");
    }

    let records = topic.client.committed(&topic.name);
    let id = |row: &Option<hindsight_tests::oracle::Row>| row.as_ref().and_then(|row| row.id);
    let mut wanted = Vec::new();
    for change in &changes {
        match (change.op, id(&change.before), id(&change.after)) {
            (Op::Update, before, after) if before != after => {
                wanted.extend([(before, Some("d")), (before, None), (after, Some("c"))]);
            }
            (Op::Update, _, after) => wanted.push((after, Some("u"))),
            (Op::Delete, before, _) => wanted.extend([(before, Some("d")), (before, None)]),
            (_, _, after) => wanted.push((after, Some("c"))),
        }
    }
    let found: Vec<(Option<i64>, Option<String>)> = records.iter().map(key_and_op).collect();
    let wanted: Vec<(Option<i64>, Option<String>)> =
        wanted.into_iter().map(|(id, op)| (id, op.map(str::to_owned))).collect();
    assert_eq!(found.len(), wanted.len());
    assert!(found == wanted, "keys and ops in the source's order");
    let mut ops: BTreeMap<Option<String>, usize> = BTreeMap::new();
    found.into_iter().for_each(|(_, op)| *ops.entry(op).or_default() += 1);
    say(&format!("{} changes are {} messages: {ops:?}", changes.len(), records.len()));
}

/// The id of the key, and the op of the value; none of a tombstone.
fn key_and_op(record: &Record) -> (Option<i64>, Option<String>) {
    let key: Value = serde_json::from_str(record.key.as_deref().expect("a key")).expect("JSON");
    let op = record.value.as_deref().filter(|value| *value != "null").map(|value| {
        let value: Value = serde_json::from_str(value).expect("JSON");
        value["op"].as_str().expect("an op").to_owned()
    });
    (key["id"].as_i64(), op)
}

#[test]
fn a_rule_whose_entities_lie_in_several_partitions_is_refused_in_either_half() {
    let server = served();
    let transactions: Vec<Transaction> =
        Load { seed: 373, changes: 200, owners: 20, ..Load::default() }.transactions().collect();
    play(&server, &transactions);
    let topic = Topic::on(kafka::shared());
    let section = topic.section() + QUICK;
    let by_rows = topic.section() + "key = \"primary-key\"\n" + QUICK;
    let place = Live { topic: &by_rows, ..Live::of(&server) }.place();
    let words =
        ["key = \"primary-key\" of [topic] with 3 partitions", "shop.item_assets by (owner_id)", "partitions = 1"];
    says(&run(&place, "capture"), 2, &words);

    // Captured for one rule, applied by another.
    Live { topic: &section, ..Live::of(&server) }.configure(&place);
    says(&run(&place, "capture"), 0, &[]);
    let file = place.0.path().join("hindsight.toml");
    let text = std::fs::read_to_string(&file).expect("read the configuration");
    let by_asset =
        text.replace("limits = {", "settings = { owner = \"asset_info\", columns = \"owner_id\" }\nlimits = {");
    std::fs::write(&file, by_asset).expect("write the configuration");
    let words = ["is keyed by owner_id", "tells entities of shop.item_assets by (asset_info)", "in no order"];
    says(&run(&place, "apply"), 1, &words);
    assert!(place.lanes().is_empty(), "nothing is written: {:?}", place.lanes());
}
