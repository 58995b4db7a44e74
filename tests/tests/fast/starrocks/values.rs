//! Values arrive as they were, and what cannot arrive is told before it is sent.

use hindsight::civil;
use hindsight::event::{Field, Logical};
use hindsight::history::{HistoryColumn, HistorySchema, Roles, Scope};
use hindsight::rows::{Rows, Value};
use hindsight::sink::starrocks::attempt::Outcome;
use hindsight::sink::starrocks::columns::ColumnType;
use hindsight::sink::starrocks::ddl;
use hindsight::sink::starrocks::reply::Reply;
use hindsight::sink::starrocks::rows::{RowWriter, TableColumn};

use super::{body, cluster, door, history, loader, make, row};

const COLUMNS: [(&str, Logical, &str); 18] = [
    ("id", Logical::Int64, "bigint"),
    ("at", Logical::Datetime, "datetime(6)"),
    ("until", Logical::Datetime, "datetime(6)"),
    ("flag", Logical::Boolean, "tinyint(1)"),
    ("tiny", Logical::Int64, "tinyint"),
    ("wide", Logical::UInt64, "bigint unsigned"),
    ("price", Logical::Decimal, "decimal(10,2)"),
    ("exact", Logical::Decimal, "decimal(38,10)"),
    ("huge", Logical::Decimal, "decimal(65,30)"),
    ("small", Logical::Float64, "float"),
    ("large", Logical::Float64, "double"),
    ("day", Logical::Date, "date"),
    ("time", Logical::Time, "time(6)"),
    ("text", Logical::Text, "varchar(40)"),
    ("a \"name\"", Logical::Text, "text"),
    ("choice", Logical::Text, "enum('a','b')"),
    ("Übung", Logical::Text, "char(4)"),
    ("doc", Logical::Json, "json"),
];

fn everything() -> HistorySchema {
    let column = |(name, logical, declared): (&str, Logical, &str)| HistoryColumn {
        field: Field { name: name.into(), logical, nullable: !matches!(name, "id" | "at"), declared: declared.into() },
        source: None,
    };
    HistorySchema {
        columns: COLUMNS.map(column).into(),
        primary_key: vec![0, 1],
        roles: Roles { entity_key: vec![0], start: 1, end: 2, current: None },
    }
}

#[tokio::test]
async fn every_value_is_read_back_as_it_was_loaded() {
    let history = everything();
    make(cluster(), "everything", &history);
    let micros = |text: &str| Value::Int(civil::parse_datetime(text).unwrap());
    let mut rows = Rows::new(COLUMNS.len());
    let first = micros("2024-02-29 12:34:56.789012");
    let (day, time) = (Value::Int(civil::parse_date("0001-01-01").unwrap()), Value::Int(-3_020_399_000_001));
    for (id, text) in ["", "é€😀", "\"\\/\u{8}\u{c}\n\r\t\u{1}\u{7f}", "NULL", "\\N"].into_iter().enumerate() {
        rows.push_row([
            Value::Int(id as i64 - 2),
            first,
            micros("9999-12-31 23:59:59"),
            Value::Int((id % 2) as i64),
            Value::Int(-128),
            Value::UInt(u64::MAX),
            Value::Text("-99999999.99"),
            Value::Text("1234567890123456789012345678.0123456789"),
            Value::Text("99999999999999999999999999999999999.999999999999999999999999999999"),
            Value::Float(f64::from(0.1_f32)),
            Value::Float(-1.797_693_134_862_315_7e308),
            day,
            time,
            Value::Text(text),
            Value::Text(text),
            Value::Text("a"),
            Value::Text("ßßßß"),
            Value::Text("{\"a\": [1, \"x\"]}"),
        ]);
    }
    let key = [Value::Int(i64::MAX), micros("1970-01-01 00:00:00")];
    rows.push_row(key.into_iter().chain([Value::Null; COLUMNS.len() - 2]));
    let (mut door, loader) = (door(cluster()), loader(cluster(), "everything"));
    let body = body(&mut door, "everything", &history, &rows).await;
    assert_eq!(loader.begin("everything-1").await, Reply::Done);
    assert_eq!(loader.send("everything-1", body).await, Outcome::Applied);
    let mut keys = Rows::new(1);
    for id in (-2..3).chain([i64::MAX, 77]) {
        keys.push_row([Value::Int(id)]);
    }
    let found = door.entity_rows("everything", &history, &keys, Scope::AllRows, None).await.unwrap();
    assert_eq!(found.offsets, [0, 1, 2, 3, 4, 5, 6, 6]);
    for (loaded, read) in rows.iter().zip(found.rows.iter()) {
        for (column, (one, other)) in loaded.values().zip(read.values()).enumerate() {
            assert_eq!(one, other, "{:?}", COLUMNS[column]);
        }
    }
    // Rows without an end are the current ones, where no column says so.
    let current = door.entity_rows("everything", &history, &keys, Scope::CurrentRows, None).await.unwrap();
    assert_eq!(current.rows.len(), 1);
}

#[tokio::test]
async fn a_delete_and_an_upsert_of_one_load_come_in_their_order() {
    let history = history();
    make(cluster(), "in_order", &history);
    let (mut door, loader) = (door(cluster()), loader(cluster(), "in_order"));
    let mut first = Rows::new(7);
    for id in 0..3 {
        first.push_row(row(id, 7, 0));
    }
    let first = body(&mut door, "in_order", &history, &first).await;
    assert_eq!(loader.begin("in-order-1").await, Reply::Done);
    assert_eq!(loader.send("in-order-1", first).await, Outcome::Applied);
    let (columns, key) = door.table("in_order").await.unwrap().unwrap();
    let writer = RowWriter::new(&history, &ddl::compare(&history, &columns, &key, None).unwrap(), None);
    let (mut deletes, mut upserts) = (Rows::new(3), Rows::new(7));
    for id in 0..2 {
        deletes.push_row([Value::Int(id), Value::Int(7), Value::Int(0)]);
    }
    upserts.push_row(row(1, 7, 0));
    upserts.push_row(row(5, 7, 0));
    let mut second = Vec::new();
    writer.write(&mut second, &deletes, &upserts, 0).unwrap();
    assert_eq!(loader.begin("in-order-2").await, Reply::Done);
    assert_eq!(loader.send("in-order-2", second.into()).await, Outcome::Applied);
    let mut keys = Rows::new(1);
    keys.push_row([Value::Int(7)]);
    let found = door.entity_rows("in_order", &history, &keys, Scope::CurrentRows, None).await.unwrap();
    let ids: Vec<Value<'_>> = found.rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(ids, [Value::Int(1), Value::Int(2), Value::Int(5)]);
}

#[test]
fn what_does_not_fit_is_told_before_it_is_sent() {
    let history = history();
    let column = |(name, holds): (&str, &str)| TableColumn {
        name: name.into(),
        holds: ColumnType::parse(holds).unwrap(),
        nullable: name == "effective_end_ts",
    };
    let columns = [
        ("source_id", "smallint"),
        ("owner_id", "int"),
        ("effective_start_ts", "datetime"),
        ("asset_info", "varchar(4)"),
        ("effective_end_ts", "datetime"),
        ("is_current", "boolean"),
        ("op_type", "varchar(1)"),
    ];
    let writer = RowWriter::new(&history, &columns.map(column), None);
    let mut told = Vec::new();
    for (place, value) in [(0, Value::Int(32_768)), (3, Value::Text("ééé")), (3, Value::Null), (1, Value::Absent)] {
        let mut rows = Rows::new(7);
        rows.push_row(row(1, 7, 0));
        let mut wrong = row(2, 7, 0);
        wrong[place] = value;
        rows.push_row(wrong);
        let misfit = writer.write(&mut Vec::new(), &Rows::new(3), &rows, 0).unwrap_err();
        assert_eq!(misfit.row, 1);
        told.push(misfit.to_string());
    }
    assert_eq!(
        told,
        [
            "column source_id: 32768 is out of the range of SMALLINT",
            "column asset_info: a text of 6 bytes, and VARCHAR(4) counts bytes",
            "column asset_info: NULL, and the table's column is NOT NULL",
            "column owner_id: the row has no value for it",
        ]
    );
}
