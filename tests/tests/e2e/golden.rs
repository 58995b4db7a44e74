//! The golden set: our events are those that a Debezium wrote of the same statements, but for the differences listed here.

use std::fs;
use std::path::PathBuf;

use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::{Pipeline, Place, Rule, fixture};
use hindsight_tests::say::say;
use serde_json::{Value, json};

/// The recorded tables with a rule that takes each, and how many values their events hold at least.
pub(crate) const TABLES: &[(&str, Rule, &str, usize)] = &[
    ("item_assets", Rule::ByOwner, "", 80),
    ("all_types", Rule::ByOwner, "owner = \"t4\", time = \"dt\", columns = \"vch\"", 300),
    ("composite_pk", Rule::ByOwner, "id = \"a\", owner = \"b\", time = \"c\", columns = \"v\"", 20),
    ("no_pk", Rule::CountChanges, "owner = \"a\", columns = \"b\"", 16),
    ("defaults_gen", Rule::CountChanges, "owner = \"id\", columns = \"v\"", 20),
    ("js_updates", Rule::CountChanges, "owner = \"id\", columns = \"id\"", 10),
];

/// What differs from Debezium on purpose, of `all_types`: id, column, Debezium's value and ours. `docs/capture.md` has the
/// reasons.
fn differences() -> Vec<(i64, &'static str, Value, Value)> {
    let document = |bytes: &str, fraction: &str| {
        json!(format!(
            r#"{{"b":"{bytes}AP8=","d":"2024-02-29","t":"12:34:56.789{fraction}","ts":"2024-02-29 12:34:56.789012","dec":1.10}}"#
        ))
    };
    vec![
        (3, "t8u", json!(-1), json!(18_446_744_073_709_551_615_u64)),
        (6, "ye", json!(1900), json!(0)),
        (9, "da", json!(11_323), json!(-719_162)),
        (9, "dt", json!(978_307_200_000_i64), json!(-62_135_596_800_000_i64)),
        (30, "js", document("", ""), document("base64:type15:", "000")),
        (32, "en", json!("with\\,comma"), json!("with,comma")),
    ]
}

/// In `source`: made by a clock, a server, or a name; the file and the place in it; what a batch does not carry.
const MASKED: [&str; 11] =
    ["version", "name", "ts_ms", "ts_us", "ts_ns", "gtid", "file", "pos", "server_id", "row", "thread"];

fn read(name: &str) -> String {
    fs::read_to_string(fixture(&format!("debezium/{name}"))).expect("read a fixture")
}

/// The log of the recorded changes, made by a server that lives as long as it is read.
pub(crate) fn played(server: &Mysql) -> PathBuf {
    server.sql(&read("schema.sql"));
    server.finished_logs();
    server.sql(&read("changes.sql"));
    server.finished_log()
}

#[test]
fn events_are_those_that_debezium_wrote() {
    let server = Mysql::start(&[]);
    let files = vec![played(&server)];
    let recorded: Vec<Value> =
        read("stream.jsonl").lines().map(|line| serde_json::from_str(line).expect("an event")).collect();
    let differences = differences();
    let mut n_events = 0;
    for &(table, rule, settings, least) in TABLES {
        let name = format!("gold.{table}");
        let place = Pipeline { rule, settings, files: files.clone(), table: &name, ..Pipeline::default() }.place();
        let answer = place.capture_to_end();
        // A table that is emptied has no history: its last statement stops.
        let exit = if table == "no_pk" { 1 } else { 0 };
        assert_eq!(answer.exit, Some(exit), "{}", answer.err);
        let ours = once(&place);
        let theirs: Vec<&Value> = recorded
            .iter()
            .filter(|event| event["topic"] == format!("hs.{name}"))
            .map(|event| &event["value"])
            // A tombstone stands behind each delete.
            .filter(|value| !value.is_null())
            .collect();
        assert_eq!(ours.len(), theirs.len(), "{table}");
        n_events += ours.len();
        let (mut n_values, mut met) = (0, Vec::new());
        for (ours, theirs) in ours.iter().zip(theirs) {
            assert_eq!(envelope(ours), envelope(theirs));
            for side in ["before", "after"] {
                let (ours, theirs) = (ours[side].as_object(), theirs[side].as_object());
                assert_eq!(ours.map(|row| row.keys().collect::<Vec<_>>()), theirs.map(|row| row.keys().collect()));
                let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
                for (column, value) in ours {
                    let is_it = |(id, name, debezium, _): &&(i64, &str, Value, Value)| {
                        ours.get("id") == Some(&json!(id)) && name == column && theirs[column] == *debezium
                    };
                    match differences.iter().find(is_it).filter(|_| table == "all_types") {
                        Some((id, name, _, own)) => {
                            assert_eq!(value, own, "{table}.{name} of {id}");
                            met.push((*id, *name));
                        }
                        None => assert!(
                            agrees(column, value, &theirs[column]),
                            "{table}.{column}: {value}, Debezium wrote {}",
                            theirs[column]
                        ),
                    }
                    n_values += usize::from(!value.is_null());
                }
            }
        }
        let (n_ours, n_others) = (ours.len(), met.len());
        say(&format!("{table}: {n_values} values of {n_ours} events are as Debezium wrote them, but for {n_others}"));
        assert!(n_values >= least, "{n_values} values");
        let missed: Vec<_> = differences.iter().filter(|(id, name, ..)| !met.contains(&(*id, name))).collect();
        assert!(missed.is_empty() || table != "all_types", "differences that are none: {missed:?}");
    }
    let n_recorded = recorded.iter().filter(|event| !event["value"].is_null()).count();
    assert_eq!(n_events, n_recorded, "every recorded event was compared");
}

/// The envelopes in a file, of a move the one under the entity that it arrives at.
fn once(place: &Place) -> Vec<Value> {
    let events = place.captured().events.into_iter().map(|(event, _)| event);
    events
        .filter(|event| event["headers"]["hindsight.move"] != "leaves")
        .map(|mut event| event["value"].take())
        .collect()
}

/// Everything but the images' columns and what is masked. Places are those of another file.
pub(crate) fn envelope(value: &Value) -> Value {
    let mut value = value.clone();
    for image in ["before", "after"] {
        value[image] = value[image].is_object().into();
    }
    let (source, clock) =
        value.as_object_mut().expect("an object").iter_mut().partition::<Vec<_>, _>(|(name, _)| *name == "source");
    for (name, field) in clock {
        if name.starts_with("ts_") {
            assert!(field.is_u64(), "{name}: {field}");
            *field = Value::Null;
        }
    }
    for (name, field) in source.into_iter().flat_map(|(_, source)| source.as_object_mut().expect("an object")) {
        if MASKED.contains(&name.as_str()) {
            *field = Value::Null;
        }
    }
    value
}

/// The same JSON. A FLOAT may have other digits that read back to the same: Java writes more of them, and FLOAT(M,D) as double.
fn agrees(column: &str, ours: &Value, theirs: &Value) -> bool {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(ours), Some(theirs)) if ["f", "f72"].contains(&column) => ours as f32 == theirs as f32,
        (None, None) if column == "js" => same_document(ours, theirs),
        // 1.0 and 1 are the same number.
        (Some(one), Some(other)) if theirs.is_f64() => one == other,
        _ => ours == theirs,
    }
}

/// The same but for how a number is written: 1e100 is there with all its digits.
fn same_document(ours: &Value, theirs: &Value) -> bool {
    let read = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap_or_default()).ok();
    ours == theirs || read(ours).is_some_and(|ours| Some(ours) == read(theirs))
}
