//! Topics that a real Debezium and a real Flink CDC wrote, recorded and played into a broker: what they become is the oracle's.

use std::fs;

use hindsight::civil::Zone;
use hindsight::envelope::read::{Foreign, ForeignSettings, Look, Place as ReadPlace, Reader, Record};
use hindsight::envelope::{Decimals, Forms, Times};
use hindsight::event::{Batch, Field, Sides, Transaction};
use hindsight::source::{BinlogFile, BinlogFileSettings, Source, TableFilter, declared};
use hindsight_tests::kafka;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::{Change, Op, Row};
use hindsight_tests::pipeline::{Place, Rule, TABLE, fixture};
use hindsight_tests::program::{Answer, Folder};
use hindsight_tests::say::say;
use hindsight_tests::topic::Topic;
use serde_json::Value;

use super::apply::QUICK;
use crate::golden::played;

/// What the recorded table is, for messages without a schema.
pub(super) const COLUMNS: &str =
    "[topic.columns]\nid = \"int\"\nowner_id = \"int\"\nasset_info = \"varchar(255)\"\nregistered_at = \"datetime\"\n";

/// A recorded message: key and value as they are written; none of a tombstone.
pub(super) type Recorded = (Option<String>, Option<String>);

/// The messages of one table. Those of Flink CDC have no key.
pub(super) fn recorded(name: &str, table: &str) -> Vec<Recorded> {
    let text = fs::read_to_string(fixture(&format!("debezium/{name}.jsonl"))).expect("read the recorded topic");
    let of_line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let Some(topic) = line["topic"].as_str() else { return Some((None, Some(line.to_string()))) };
        let text = |part: &str| Some(&line[part]).filter(|part| !part.is_null()).map(Value::to_string);
        (topic == format!("hs.gold.{table}")).then(|| (text("key"), text("value")))
    };
    text.lines().filter_map(of_line).collect()
}

/// The changes that messages of the reference table say, by plain JSON.
pub(super) fn changes(messages: &[Recorded]) -> Vec<Change> {
    let row = |row: &Value| {
        row.is_object().then(|| Row {
            id: row["id"].as_i64(),
            owner: row["owner_id"].as_i64(),
            info: row["asset_info"].as_str().map(Into::into),
            registered_us: row["registered_at"].as_i64().map(|ms| ms * 1_000),
        })
    };
    let change = |(_, value): &Recorded| {
        let mut value: Value = serde_json::from_str(value.as_ref()?).expect("JSON");
        if value.get("payload").is_some() {
            value = value["payload"].take();
        }
        let op = match value["op"].as_str().expect("an op") {
            "c" => Op::Create,
            "r" => Op::Read,
            "u" => Op::Update,
            "d" => Op::Delete,
            other => panic!("{other}"),
        };
        let source = &value["source"];
        let time_us = source["ts_us"].as_i64().or_else(|| Some(source["ts_ms"].as_i64()? * 1_000)).expect("a time");
        Some(Change { op, time_us, before: row(&value["before"]), after: row(&value["after"]) })
    };
    messages.iter().filter_map(change).collect()
}

pub(super) struct Played<'a> {
    pub topic: &'a Topic,
    pub table: &'a str,
    /// More lines of `[topic]`, and the sections behind it.
    pub section: &'a str,
    pub rule: Rule,
    pub settings: &'a str,
}

impl Played<'_> {
    pub fn place(&self) -> Place {
        let Played { topic, table, section, rule, settings } = self;
        let place = Place(Folder::new());
        let text = format!(
            "name = \"foreign-{rule:?}\"\n[source]\nkind = \"topic\"\ntables = [{table:?}]\n\
             [topic]\nbrokers = {:?}\nname = {:?}\n{section}\n{QUICK}\
             [rule]\ncomponent = {:?}\nsettings = {{ {settings} }}\nlimits = {{ batch = 7 }}\n\
             [sink]\npath = \"history.db\"\ntable = {TABLE:?}\n[control]\nlisten = \"127.0.0.1:0\"\n",
            topic.client.address(),
            topic.name,
            rule.component(),
        );
        place.0.write("hindsight.toml", text);
        place
    }
}

pub(super) fn run(place: &Place) -> Answer {
    place.0.hindsight(&["run", "--to-end", "--json"])
}

/// A topic of one partition with these messages.
pub(super) fn written(messages: &[Recorded]) -> Topic {
    let topic = Topic::on(kafka::shared());
    topic.client.create_topic(&topic.name, 1, &[]);
    topic.client.write(&topic.name, messages);
    topic
}

#[test]
fn recorded_topics_become_the_oracles_history() {
    for (name, database, columns) in [
        ("stream", "gold", COLUMNS),
        ("stream-schemas", "gold", ""),
        ("stream-string-connect", "gold", COLUMNS),
        ("snapshot", "gold", COLUMNS),
        ("flink-cdc-stream", "hs", COLUMNS),
        ("flink-cdc-snapshot", "hs", COLUMNS),
    ] {
        let messages = recorded(name, "item_assets");
        let wanted = changes(&messages);
        let topic = written(&messages);
        let table = format!("{database}.item_assets");
        let places = [Rule::ByOwner, Rule::CountChanges].map(|rule| {
            let place = Played { topic: &topic, table: &table, section: columns, rule, settings: "" }.place();
            let answer = run(&place);
            assert_eq!(answer.exit, Some(0), "{name}: {}", answer.err);
            place.assert_is(rule, &wanted, name);
            (place, rule)
        });
        let said = format!("{name}: {} messages, {} changes", messages.len(), wanted.len());
        // A connector that was killed begins again some messages before: those are known by where they come from.
        if wanted.iter().all(|change| change.op != Op::Read) {
            let again = messages.len() / 3;
            topic.client.write(&topic.name, &messages[again..]);
            for (place, rule) in &places {
                let answer = run(place);
                assert_eq!(answer.exit, Some(0), "{name}: {}", answer.err);
                place.assert_is(*rule, &wanted, &format!("{name}, two thirds of it twice"));
            }
        }
        say(&said);
    }
}

/// The columns of `all_types`, for messages without a schema.
const ALL_TYPES: &[(&str, &str)] = &[
    ("id", "bigint"),
    ("t1", "tinyint"),
    ("t1u", "tinyint unsigned"),
    ("t2u", "smallint unsigned"),
    ("t3", "mediumint"),
    ("t4u", "int unsigned"),
    ("t8", "bigint"),
    ("t8u", "bigint unsigned"),
    ("bo", "tinyint(1)"),
    ("bit1", "bit(1)"),
    ("bit33", "bit(33)"),
    ("bit64", "bit(64)"),
    ("dec_10_2", "decimal(10,2)"),
    ("dec_65_30", "decimal(65,30)"),
    ("dec_20_0u", "decimal(20,0) unsigned"),
    ("f", "float"),
    ("d", "double"),
    ("da", "date"),
    ("ti", "time"),
    ("ti3", "time(3)"),
    ("ti6", "time(6)"),
    ("dt", "datetime"),
    ("dt3", "datetime(3)"),
    ("dt6", "datetime(6)"),
    ("ts", "timestamp"),
    ("ts6", "timestamp(6)"),
    ("ye", "year"),
    ("ch", "char(10)"),
    ("vch", "varchar(50)"),
    ("vch_l1", "varchar(50)"),
    ("lt", "longtext"),
    ("bi", "binary(6)"),
    ("vb", "varbinary(20)"),
    ("lb", "longblob"),
    ("se", "set('x','y','z','한')"),
    ("js", "json"),
    ("ge", "geometry"),
    ("po_srid", "point"),
    ("gc", "geomcollection"),
];

/// What Debezium adjusts, see the golden set, and what `connect` loses: microseconds, and times that are not of one day.
fn is_adjusted(name: &str, id: i64, column: &str) -> bool {
    matches!((id, column), (6, "ye") | (9, "da" | "dt") | (3 | 30, "js"))
        || name.ends_with("connect") && (column == "dt6" || column.starts_with("ti"))
        // A schema of Debezium's does not tell a BIGINT UNSIGNED from a BIGINT.
        || name.ends_with("schemas") && column == "t8u"
}

/// Each image's values by name, as text; the ids first.
type Images = Vec<(i64, Vec<(String, String)>)>;

fn images(batch: &Batch, into: &mut Images) {
    for change in &batch.changes {
        for row in [batch.before(change), batch.after(change)].into_iter().flatten() {
            let fields = &batch.schema(change).fields;
            let value = |(field, value): (&Field, _)| (field.name.clone(), format!("{value:?}"));
            let values: Vec<_> = fields.iter().zip(row.values()).map(value).collect();
            let id = values.iter().find(|(name, _)| name == "id").expect("an id");
            let id = id.1.trim_start_matches("Int(").trim_end_matches(')').parse().expect("a number");
            into.push((id, values));
        }
    }
}

/// The values that a log holds are those that Debezium's messages of it hold, in each form.
#[test]
fn values_are_those_of_the_log_in_every_form() {
    let server = Mysql::start(&[]);
    let tables = TableFilter::parse(&["gold.all_types"]).expect("a table");
    let settings = BinlogFileSettings {
        files: vec![played(&server)],
        tables,
        zone: Zone::UTC,
        batch_changes_max: 1_000,
        batch_bytes_max: 16 << 20,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut wanted = Images::new();
    let mut log = BinlogFile::open(settings, None).expect("open the log");
    while let Some((batch, _)) = runtime.block_on(log.next()).expect("read the log") {
        images(&batch, &mut wanted);
    }
    let columns: Vec<Field> = ALL_TYPES
        .iter()
        .map(|(name, declared)| {
            let logical = declared::parse(declared).expect("a type");
            Field { name: (*name).into(), logical, nullable: true, declared: (*declared).into() }
        })
        .collect();
    for (name, forms) in [
        ("stream", Forms::default()),
        ("stream-string-connect", Forms { decimals: Decimals::String, times: Times::Connect }),
        ("stream-schemas", Forms::default()),
    ] {
        let settings = ForeignSettings {
            tables: std::sync::Arc::new(|database, table| (database, table) == ("gold", "all_types")),
            columns: columns.clone(),
            schemas: Vec::new(),
            forms,
            entity_key: std::sync::Arc::new(|_| Err("there is one partition".into())),
        };
        let (mut foreign, mut reader) = (Foreign::new(settings, 1), Reader::new(Zone::UTC));
        let mut found = Images::new();
        for (key, value) in recorded(name, "all_types") {
            let Some(value) = value else { continue };
            let look =
                foreign.look(key.as_deref().map(str::as_bytes), value.as_bytes(), &mut reader).expect("a change");
            let Look::Change { schema, envelope } = look else { continue };
            let place = ReadPlace { topic: name, partition: 0, offset: 0 };
            reader.turn_to(&schema, place).expect("it is known");
            let transactions = vec![Transaction { log: name.into(), gtid: None }];
            let mut batch = Batch { transactions, ..reader.batch() };
            let record = Record { value: &value.as_bytes()[envelope], schema: &schema, sides: Sides::Both, place };
            reader.read(&mut batch, &record).expect("it is what its schema says");
            images(&batch, &mut found);
        }
        let mut n_values = 0;
        for ((id, values), (wanted_id, wanted)) in found.iter().zip(&wanted) {
            assert_eq!(id, wanted_id, "{name}");
            for (column, value) in values.iter().filter(|(column, _)| !is_adjusted(name, *id, column)) {
                let wanted = wanted.iter().find(|(name, _)| name == column).map(|(_, value)| value.as_str());
                // Debezium escapes a comma in an ENUM's name.
                if (*id, column.as_str()) != (32, "en") {
                    assert_eq!(Some(value.as_str()), wanted, "{name}: {column} of {id}");
                }
                n_values += usize::from(value != "Null");
            }
        }
        say(&format!("{name}: {n_values} values of {} images are those of the log", found.len()));
        assert!(n_values > 100);
        assert!(found.len() == wanted.len() || name == "stream-schemas", "{name}: {} images", found.len());
    }
}

#[test]
fn what_has_no_order_or_no_columns_is_refused_at_the_start() {
    let messages = recorded("stream", "item_assets");
    let (table, rule) = ("gold.item_assets", Rule::ByOwner);
    let refused = |topic: &Topic, table: &str, section: &str, exit: i32, words: &[&str]| {
        let place = Played { topic, table, section, rule, settings: "" }.place();
        let answer = run(&place);
        assert_eq!(answer.exit, Some(exit), "{}", answer.err);
        for word in words {
            assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
        }
        assert!(place.lanes().is_empty(), "nothing was written");
    };
    let topic = written(&messages);
    let block = ["[topic.columns]", "owner_id = \"bigint\"   # 10", "registered_at = \"datetime(3)\"", "source.url"];
    refused(&topic, table, "", 2, &[&block[..], &["partition 0, offset 0"]].concat());
    refused(&topic, "gold.others", COLUMNS, 2, &["gold.item_assets", "source.tables does not name"]);
    let several = Topic::on(kafka::shared());
    several.client.create_topic(&several.name, 3, &[]);
    several.client.write(&several.name, &messages);
    refused(&several, table, COLUMNS, 2, &["its key is (id)", "by (owner_id)", "3 partitions", "message.key.columns"]);
    let keyless = Topic::on(kafka::shared());
    keyless.client.create_topic(&keyless.name, 2, &[]);
    keyless.client.write(&keyless.name, &recorded("flink-cdc-stream", "item_assets"));
    refused(&keyless, "hs.item_assets", COLUMNS, 2, &["it has no key", "2 partitions"]);
    let compacted = Topic::on(kafka::shared());
    compacted.client.create_topic(&compacted.name, 1, &["cleanup.policy=compact"]);
    refused(&compacted, table, COLUMNS, 3, &["cleanup.policy=compact", "--add-config cleanup.policy=delete"]);
    let nowhere = Topic::on(kafka::shared());
    refused(&nowhere, table, COLUMNS, 3, &["there is no topic", &nowhere.name]);
    let capture = Played { topic: &topic, table, section: COLUMNS, rule, settings: "" }.place();
    let answer = capture.0.hindsight(&["run", "--only", "capture", "--to-end"]);
    assert_eq!(answer.exit, Some(2), "{}", answer.err);
    assert!(answer.err.contains("somebody else captures"), "{}", answer.err);
    let rows_alone = written(&[(None, Some("{\"id\":1,\"owner_id\":7}".into()))]);
    refused(&rows_alone, table, COLUMNS, 2, &["no change event", "ExtractNewRecordState"]);
}

#[test]
fn a_log_that_begins_anew_stops_and_heartbeats_are_passed_over() {
    let mut messages = recorded("stream", "item_assets");
    messages.insert(2, (None, Some("{\"ts_ms\":1795385508354}".into())));
    let topic = written(&messages);
    let (table, rule) = ("gold.item_assets", Rule::CountChanges);
    let place = Played { topic: &topic, table, section: COLUMNS, rule, settings: "" }.place();
    let answer = run(&place);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let wanted = changes(&recorded("stream", "item_assets"));
    place.assert_is(rule, &wanted, "with a heartbeat");
    // The server's log was reset: a newer change at an earlier place.
    let mut anew: Value = serde_json::from_str(messages[0].1.as_ref().expect("a value")).expect("JSON");
    for (unit, per_second) in [("ts_ms", 1_000_i64), ("ts_us", 1_000_000), ("ts_ns", 1_000_000_000)] {
        let later = anew["source"][unit].as_i64().expect("a time") + 3_600 * per_second;
        anew["source"][unit] = later.into();
    }
    topic.client.write(&topic.name, &[(None, Some(anew.to_string()))]);
    let answer = run(&place);
    assert_eq!(answer.exit, Some(1), "{}", answer.err);
    for word in ["log began anew", "binlog.000012:428", "may be missing"] {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    place.assert_is(rule, &wanted, "nothing was written");
}
