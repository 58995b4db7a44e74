//! Whole events, against what Debezium 3.6.1 wrote for the same rows.

use serde_json::{Value as Json, json};

use super::*;
use crate::civil;
use crate::event::{Gtid, Logical, RowChange, Sides};
use crate::history::{HistorySchema, Roles, Scope};
use crate::rows::{Rows, Value};
use crate::rule::plan::TableUse;

/// The reference table; the entity key is the owner.
fn batch() -> (Batch, Plan) {
    let field = |name: &str, logical, declared: &str| Field {
        name: name.into(),
        logical,
        nullable: false,
        declared: declared.into(),
    };
    let fields = vec![
        field("id", Logical::Int64, "int"),
        field("owner_id", Logical::Int64, "int"),
        field("asset_info", Logical::Text, "varchar(255)"),
        field("registered \"at\"", Logical::Datetime, "datetime"),
    ];
    let schema = TableSchema { name: "gold.item_assets".into(), fields, primary_key: vec![0] };
    let gtid = Gtid { uuid: *b"0123456789abcdef", tag: None, number: 11149 };
    let batch = Batch {
        tables: vec![Arc::new(schema)],
        images: vec![Rows::new(4)],
        transactions: vec![Transaction { log: "binlog.000012".into(), gtid: Some(gtid) }],
        ..Batch::default()
    };
    let roles = Roles { entity_key: vec![], start: 0, end: 0, current: None };
    let plan = Plan {
        tables: vec![TableUse { entity_key: vec![1], after: vec![], before: vec![] }],
        history: HistorySchema { columns: vec![], primary_key: vec![], roles },
        scope: Scope::CurrentRows,
        read: vec![],
        revise: vec![],
        replay_safe: false,
        complete: false,
    };
    (batch, plan)
}

fn push(batch: &mut Batch, op: Op, before: Option<[Value<'_>; 4]>, after: Option<[Value<'_>; 4]>) {
    let [before, after] = [before, after].map(|row| row.map(|row| batch.images[0].push_row(row) as u32));
    batch.push(RowChange { table: 0, op, time_us: 1_795_385_496_102_571, before, after, at: 428 });
}

fn row(id: i64, owner: i64, info: &str) -> [Value<'_>; 4] {
    let registered = civil::parse_datetime("2025-01-02 03:04:05").expect("a time");
    [Value::Int(id), Value::Int(owner), Value::Text(info), Value::Int(registered)]
}

fn written(batch: &Batch, plan: &Plan) -> String {
    let mut out = Vec::new();
    let mut envelope = Envelope::new("hs", Zone::UTC, Forms::default());
    let written = envelope.write(&mut out, batch, Some(plan)).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert_eq!(text.lines().count() as u64, written.events);
    text
}

#[test]
fn an_event_is_debeziums_field_by_field_and_in_its_order() {
    let (mut batch, plan) = batch();
    push(&mut batch, Op::Create, None, Some(row(2, 11, "검 \"quoted\" \\ back\nnew")));
    let text = written(&batch, &plan);
    let wanted = format!(
        "{{\"key\":{{\"owner_id\":11}},\"value\":{{\"before\":null,\"after\":{{\"id\":2,\"owner_id\":11,\
         \"asset_info\":\"검 \\\"quoted\\\" \\\\ back\\nnew\",\"registered \\\"at\\\"\":1735787045000}},\
         \"source\":{{\"version\":\"{}\",\"connector\":\"mysql\",\"name\":\"hs\",\"ts_ms\":1795385496102,\
         \"snapshot\":\"false\",\"db\":\"gold\",\"sequence\":null,\"ts_us\":1795385496102571,\
         \"ts_ns\":1795385496102571000,\"table\":\"item_assets\",\"server_id\":0,\
         \"gtid\":\"30313233-3435-3637-3839-616263646566:11149\",\"file\":\"binlog.000012\",\"pos\":428,\"row\":0,\
         \"thread\":null,\"query\":null}},\"transaction\":null,\"op\":\"c\",\"ts_ms\":",
        env!("CARGO_PKG_VERSION")
    );
    assert!(text.starts_with(&wanted), "{text}\n{wanted}");
    // The clock that made it comes last.
    let event: Json = serde_json::from_str(&text).unwrap();
    let [ms, us, ns] = ["ts_ms", "ts_us", "ts_ns"].map(|unit| event["value"][unit].as_u64().unwrap());
    assert_eq!((ms, us), (ns / 1_000_000, ns / 1_000));
}

#[test]
fn each_entity_gets_its_side_of_a_move() {
    let seen = |batch: &Batch, plan: &Plan| -> Vec<Json> {
        let lines = written(batch, plan);
        let events = lines.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
        let short = |event: Json| {
            let (value, moved) = (&event["value"], &event["headers"]["hindsight.move"]);
            json!([value["op"], event["key"], moved, value["before"]["owner_id"], value["after"]["owner_id"]])
        };
        events.map(short).collect()
    };
    let (mut batch, plan) = batch();
    push(&mut batch, Op::Read, None, Some(row(1, 7, "a")));
    push(&mut batch, Op::Update, Some(row(1, 7, "a")), Some(row(1, 7, "b")));
    push(&mut batch, Op::Update, Some(row(1, 7, "b")), Some(row(1, 8, "b")));
    push(&mut batch, Op::Update, Some(row(1, 8, "b")), Some(row(2, 9, "b")));
    push(&mut batch, Op::Delete, Some(row(2, 9, "b")), None);
    let (seven, eight, nine) = (json!({"owner_id": 7}), json!({"owner_id": 8}), json!({"owner_id": 9}));
    let leaves = json!(["u", seven, "leaves", 7, 8]);
    let arrives = json!(["u", eight, "arrives", 7, 8]);
    let wanted = [
        json!(["r", seven, null, null, 7]),
        json!(["u", seven, null, 7, 7]),
        leaves.clone(),
        arrives.clone(),
        json!(["d", eight, null, 8, null]),
        json!(["c", nine, null, null, 9]),
        json!(["d", nine, null, 9, null]),
    ];
    assert_eq!(seen(&batch, &plan), wanted);
    assert!(written(&batch, &plan).starts_with("{\"key\":{\"owner_id\":7},\"value\":{\"before\":null,"));
    let read = written(&batch, &plan);
    for part in ["\"snapshot\":\"true\",", "\"gtid\":null,\"file\":\"\",\"pos\":0,"] {
        assert!(read.lines().next().unwrap().contains(part), "{read}");
    }
    for (sides, wanted) in [(Sides::Before, leaves), (Sides::After, arrives)] {
        let mut batch = batch.clone();
        batch.changes = vec![Change { sides, ..batch.changes[2] }];
        assert_eq!(seen(&batch, &plan), [wanted]);
    }
}

#[test]
fn what_cannot_be_written_is_named_with_its_place() {
    for (flaw, why) in [(Value::Absent, "binlog_row_image=FULL"), (Value::Undecoded, "leave the table out")] {
        let (mut batch, plan) = batch();
        let [id, owner, _, registered] = row(1, 7, "a");
        push(&mut batch, Op::Delete, Some([id, owner, flaw, registered]), None);
        let mut envelope = Envelope::new("hs", Zone::UTC, Forms::default());
        let error = envelope.write(&mut Vec::new(), &batch, Some(&plan)).unwrap_err();
        for word in ["binlog.000012:428 (gtid ", "gold.item_assets.asset_info (varchar(255))", "before image", why] {
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
    }
}
