//! What the writer writes is read back to the same changes; what is damaged is named, and nothing of it stays.

use super::super::{Decimals, Envelope, Event as Written, Forms, Times};
use super::*;
use crate::event::{Change, Logical, Transaction};
use crate::groups::Moved;
use crate::history::{HistorySchema, Roles, Scope};
use crate::rows::Value;
use crate::rule::Plan;
use crate::rule::plan::TableUse;

const PLACE: Place<'_> = Place { topic: "changes", partition: 3, offset: 4711 };

const COLUMNS: [(&str, Logical, &str); 25] = [
    ("id", Logical::Int64, "int"),
    ("owner", Logical::UInt64, "bigint unsigned"),
    ("flag", Logical::Boolean, "tinyint(1)"),
    ("a \"name\"\\", Logical::Text, "varchar(255)"),
    ("doc", Logical::Json, "json"),
    ("bytes", Logical::Bytes, "varbinary(9)"),
    ("small", Logical::Float64, "float"),
    ("large", Logical::Float64, "double"),
    ("price", Logical::Decimal, "decimal(10,2)"),
    ("huge", Logical::Decimal, "decimal(65,30)"),
    ("whole", Logical::Decimal, "decimal(20,0)"),
    ("day", Logical::Date, "date"),
    ("time", Logical::Time, "time(6)"),
    ("at", Logical::Datetime, "datetime"),
    ("at3", Logical::Datetime, "datetime(3)"),
    ("at6", Logical::Datetime, "datetime(6)"),
    ("stamp", Logical::Datetime, "timestamp"),
    ("stamp6", Logical::Datetime, "timestamp(6)"),
    ("bit", Logical::Boolean, "bit(1)"),
    ("bits", Logical::UInt64, "bit(33)"),
    ("all bits", Logical::UInt64, "bit(64)"),
    ("choice", Logical::Text, "enum('a','b')"),
    ("shape", Logical::Bytes, "geometry"),
    ("place", Logical::Bytes, "point"),
    ("vector", Logical::Bytes, "vector(2)"),
];

fn schema() -> TableSchema {
    let field = |(name, logical, declared): (&str, Logical, &str)| Field {
        name: name.into(),
        logical,
        nullable: true,
        declared: declared.into(),
    };
    TableSchema { name: "shop.all".into(), fields: COLUMNS.map(field).to_vec(), primary_key: vec![0] }
}

/// A value that a column may hold, as sources give it.
fn random(out: &mut Rows, rng: &mut fastrand::Rng, (_, logical, declared): (&str, Logical, &str)) {
    if rng.u8(..) < 24 {
        return out.push(Value::Null);
    }
    let digits: u32 = match declared {
        "datetime(3)" => 3,
        "datetime(6)" | "timestamp(6)" => 6,
        _ => 0,
    };
    match logical {
        Logical::Boolean => out.push(Value::Int(rng.i64(0..2))),
        Logical::Int64 => out.push(Value::Int([i64::MIN, -1, 0, 7, i64::MAX][rng.usize(..5)])),
        Logical::UInt64 if declared == "bit(33)" => out.push(Value::UInt(rng.u64(..1 << 33))),
        Logical::UInt64 => out.push(Value::UInt([0, 7, 1 << 63, u64::MAX][rng.usize(..4)])),
        Logical::Text | Logical::Json => {
            let parts = ["", "plain", "\"", "\\", "\n\u{1}", "é€", "😀", "{\"a\":1}", "/"];
            let text: String = (0..rng.usize(..4)).map(|_| parts[rng.usize(..parts.len())]).collect();
            out.push(Value::Text(&text));
        }
        Logical::Bytes if declared == "vector(2)" => {
            let bytes: Vec<u8> = [rng.f32() * 1e9, -rng.f32()].iter().flat_map(|number| number.to_le_bytes()).collect();
            out.push(Value::Bytes(&bytes));
        }
        Logical::Bytes if declared != "varbinary(9)" => {
            // A point behind its SRID.
            let srid = rng.choice([0_u32, 4326]).unwrap_or(0).to_le_bytes();
            let places = [rng.f64() * 360.0, -rng.f64()].map(f64::to_le_bytes).concat();
            out.push(Value::Bytes(&[&srid[..], &[1, 1, 0, 0, 0], &places].concat()));
        }
        Logical::Bytes => {
            let bytes: Vec<u8> = (0..rng.usize(..9)).map(|_| rng.u8(..)).collect();
            out.push(Value::Bytes(&bytes));
        }
        Logical::Float64 if declared == "float" => out.push(Value::Float(f64::from(rng.f32() * 1e9 - 5e8))),
        Logical::Float64 => out.push(Value::Float([0.1, -1e300, 5e-324, 1.0, rng.f64()][rng.usize(..5)])),
        Logical::Decimal => {
            let (whole, behind) = match declared {
                "decimal(10,2)" => (8, 2),
                "decimal(65,30)" => (35, 30),
                _ => (20, 0),
            };
            let mut digits = |n: usize| (0..n).map(|_| (b'0' + rng.u8(..10)) as char).collect::<String>();
            let whole = digits(whole);
            let mut text = whole.trim_start_matches('0').to_owned();
            if text.is_empty() {
                text.push('0');
            }
            if behind > 0 {
                text = format!("{text}.{}", digits(behind));
            }
            if rng.bool() && text.bytes().any(|byte| matches!(byte, b'1'..=b'9')) {
                text.insert(0, '-');
            }
            out.push(Value::Text(&text));
        }
        Logical::Date => out.push(Value::Int(rng.i64(-700_000..2_900_000))),
        Logical::Time => out.push(Value::Int(rng.i64(-3_020_399_000_000..3_020_399_000_000))),
        Logical::Datetime => {
            let step = 10_i64.pow(6 - digits);
            let micros = match declared.starts_with("timestamp") {
                true => rng.i64(0..4_000_000_000_000_000),
                false => rng.i64(-62_000_000_000_000_000..253_000_000_000_000_000),
            };
            out.push(Value::Int(micros.div_euclid(step) * step));
        }
    }
}

/// Changes of every kind, in a log of their own.
fn batch(rng: &mut fastrand::Rng, n_changes: usize) -> Batch {
    let schema = Arc::new(schema());
    let mut batch = Batch {
        images: vec![Rows::new(schema.fields.len())],
        tables: vec![schema],
        transactions: vec![Transaction { log: "binlog.000012".into(), gtid: None }],
        ..Batch::default()
    };
    for at in 0..n_changes {
        let mut image = || {
            COLUMNS.into_iter().for_each(|column| random(&mut batch.images[0], rng, column));
            Some(batch.images[0].end_row() as u32)
        };
        let (op, before, after) = match at % 4 {
            0 => (Op::Create, None, image()),
            1 => (Op::Read, None, image()),
            2 => (Op::Update, image(), image()),
            _ => (Op::Delete, image(), None),
        };
        let time_us = rng.i64(0..2_000_000_000_000_000);
        batch.push(RowChange { table: 0, op, time_us, before, after, at: at as u64 });
    }
    batch
}

fn plan() -> Plan {
    let roles = Roles { entity_key: vec![], start: 0, end: 0, current: None };
    Plan {
        tables: vec![TableUse { entity_key: vec![0], after: vec![], before: vec![] }],
        history: HistorySchema { columns: vec![], primary_key: vec![], roles },
        scope: Scope::CurrentRows,
        read: vec![],
        revise: vec![],
        replay_safe: false,
        complete: false,
    }
}

/// Each event's value and side, as a topic would have them.
fn messages(batch: &Batch, forms: Forms) -> Vec<(Vec<u8>, Sides)> {
    let mut messages = Vec::new();
    let mut envelope = Envelope::new("hs", Zone::UTC, forms);
    let take = |event: &Written<'_>| {
        let sides = match event.moved {
            Moved::Stays => Sides::Both,
            Moved::Leaves => Sides::Before,
            Moved::Arrives => Sides::After,
        };
        messages.push((event.value.to_vec(), sides));
        Ok::<_, std::convert::Infallible>(())
    };
    envelope.events(batch, Some(&plan()), take).unwrap();
    messages
}

fn reader(forms: Forms) -> (Reader, String) {
    let (hash, text) = schema::document(&schema(), forms);
    let mut reader = Reader::new(Zone::UTC);
    reader.know(&hash, text.as_bytes()).unwrap();
    reader.turn_to(&hash, PLACE).unwrap();
    (reader, hash)
}

fn read(reader: &mut Reader, hash: &str, batch: &mut Batch, value: &[u8], sides: Sides) -> Result<(), ReadError> {
    reader.read(batch, &Record { value, schema: hash, sides, place: PLACE })
}

fn begun(reader: &Reader) -> Batch {
    let transactions = vec![Transaction { log: "changes/3".into(), gtid: None }];
    Batch { transactions, ..reader.batch() }
}

type Seen<'a> = (Op, i64, Option<Vec<Value<'a>>>, Option<Vec<Value<'a>>>);

fn seen<'a>(batch: &'a Batch, change: &Change) -> Seen<'a> {
    let image = |row: Option<crate::rows::Row<'a>>| row.map(|row| row.values().collect());
    (change.op, change.time_us, image(batch.before(change)), image(batch.after(change)))
}

/// Those that lose nothing.
fn all_forms() -> impl Iterator<Item = Forms> {
    let times = [Times::Adaptive, Times::Microseconds, Times::Iso];
    times.into_iter().flat_map(|times| [Decimals::Precise, Decimals::String].map(|decimals| Forms { decimals, times }))
}

#[test]
fn what_is_written_is_read_back() {
    for forms in all_forms() {
        let mut rng = fastrand::Rng::with_seed(41);
        let written = batch(&mut rng, 2_000);
        let (mut reader, hash) = reader(forms);
        let mut found = begun(&reader);
        for (value, sides) in messages(&written, forms) {
            // A changed primary key is two events.
            read(&mut reader, &hash, &mut found, &value, sides).unwrap();
        }
        let mut wanted = written.changes.iter().map(|change| seen(&written, change));
        for change in &found.changes {
            assert_eq!(Some(seen(&found, change)), wanted.next());
        }
        assert!(wanted.next().is_none() && found.changes.len() > 2_000);
    }
}

#[test]
fn times_become_the_zones_wall_clock() {
    let mut rng = fastrand::Rng::with_seed(43);
    let written = batch(&mut rng, 40);
    let (mut reader, hash) = reader(Forms::default());
    reader.zone = Zone::parse("Asia/Tokyo").unwrap();
    let mut found = begun(&reader);
    for (value, sides) in messages(&written, Forms::default()) {
        read(&mut reader, &hash, &mut found, &value, sides).unwrap();
    }
    let (nine_hours, stamp, at) = (9 * 3_600_000_000, 17, 15);
    for (old, new) in written.changes.iter().zip(&found.changes) {
        assert_eq!(old.time_us + nine_hours, new.time_us);
        let (Some(old), Some(new)) = (written.after(old), found.after(new)) else { continue };
        assert_eq!(old.get(at), new.get(at), "DATETIME has no zone");
        if let (Value::Int(old), Value::Int(new)) = (old.get(stamp), new.get(stamp)) {
            assert_eq!(old + nine_hours, new);
        }
    }
}

#[test]
fn columns_in_another_order_and_blanks_are_no_difference() {
    let mut rng = fastrand::Rng::with_seed(47);
    let written = batch(&mut rng, 40);
    let (mut reader, hash) = reader(Forms::default());
    let (mut plain, mut turned) = (begun(&reader), begun(&reader));
    for (value, sides) in messages(&written, Forms::default()) {
        read(&mut reader, &hash, &mut plain, &value, sides).unwrap();
        // serde_json sorts an object's members by their names.
        let json: serde_json::Value = serde_json::from_slice(&value).unwrap();
        let value = serde_json::to_vec_pretty(&json).unwrap();
        read(&mut reader, &hash, &mut turned, &value, sides).unwrap();
    }
    for (one, other) in plain.changes.iter().zip(&turned.changes) {
        assert_eq!(seen(&plain, one), seen(&turned, other));
    }
}

#[test]
fn what_is_damaged_is_named_and_leaves_nothing() {
    let mut rng = fastrand::Rng::with_seed(53);
    let written = batch(&mut rng, 8);
    let (mut reader, hash) = reader(Forms::default());
    let mut found = begun(&reader);
    let (mut n_refused, mut n_taken) = (0, 0);
    for (value, sides) in messages(&written, Forms::default()) {
        for end in 0..value.len() {
            let error = read(&mut reader, &hash, &mut found, &value[..end], sides).unwrap_err();
            assert!(matches!(error, ReadError::Garbage(_)) && error.to_string().contains("offset 4711"), "{error}");
            assert_eq!((found.changes.len(), found.images[0].len()), (0, 0));
        }
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            match read(&mut reader, &hash, &mut found, &flipped, sides) {
                Ok(()) => n_taken += 1,
                Err(_) => n_refused += 1,
            }
            let n_images: usize =
                found.changes.iter().map(|change| change.before.iter().chain(&change.after).count()).sum();
            assert_eq!(found.images[0].len(), n_images, "an image without its change");
            found = begun(&reader);
        }
    }
    assert!(n_refused > 10_000 && n_taken > 1_000, "{n_refused} refused, {n_taken} taken");
}

/// Comparing an event with the one before it takes and refuses what reading it by its names does.
#[test]
fn a_layout_decides_nothing() {
    let mut rng = fastrand::Rng::with_seed(61);
    let written = batch(&mut rng, 8);
    let (mut reader, hash) = reader(Forms::default());
    let messages = messages(&written, Forms::default());
    let mut n_followed = 0;
    for (number, (value, sides)) in messages.iter().enumerate() {
        for bit in 0..value.len() * 8 {
            let mut flipped = value.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let mut by_names = begun(&reader);
            reader.tables[0].layout.forget();
            let named = read(&mut reader, &hash, &mut by_names, &flipped, *sides);
            // The one before, as a topic has it.
            let (before, before_sides) = &messages[number.max(1) - 1];
            let mut by_layout = begun(&reader);
            reader.tables[0].layout.forget();
            read(&mut reader, &hash, &mut by_layout, before, *before_sides).unwrap();
            let n_before = by_layout.changes.len();
            let known = reader.tables[0].layout.runs().to_vec();
            let followed = read(&mut reader, &hash, &mut by_layout, &flipped, *sides);
            assert_eq!(named, followed, "{}", flipped.escape_ascii());
            let of_names: Vec<_> = by_names.changes.iter().map(|change| seen(&by_names, change)).collect();
            let changes = &by_layout.changes[n_before..];
            let of_layout: Vec<_> = changes.iter().map(|change| seen(&by_layout, change)).collect();
            assert_eq!(format!("{of_names:?}"), format!("{of_layout:?}"), "{}", flipped.escape_ascii());
            n_followed += usize::from(followed.is_ok() && known == reader.tables[0].layout.runs());
        }
    }
    assert!(n_followed > 1_000, "{n_followed}");
}

#[test]
fn each_fault_is_named() {
    let mut rng = fastrand::Rng::with_seed(59);
    let written = batch(&mut rng, 1);
    let (mut reader, hash) = reader(Forms::default());
    let mut found = begun(&reader);
    let text = String::from_utf8(messages(&written, Forms::default())[0].0.clone()).unwrap();
    for (from, to, words) in [
        ("\"op\":\"c\"", "\"op\":\"t\"", "emptied"),
        ("\"op\":\"c\"", "\"op\":\"x\"", "not known"),
        ("\"op\":\"c\"", "\"ops\":\"c\"", "no op"),
        ("\"op\":\"c\"", "\"op\":\"u\"", "without the images"),
        ("\"op\":\"c\"", "\"op\":\"c\",\"op\":\"c\"", "there twice"),
        ("\"db\":\"shop\"", "\"db\":\"shops\"", "shop.all"),
        ("\"id\":", "\"ids\":", "\"ids\" is not in the schema"),
        ("\"id\":", "\"owner\":1,\"id\":", "owner is there twice"),
        ("\"ts_us\":", "\"ts_\":", ""),
        ("{\"before\":null,", "{", ""),
    ] {
        assert!(text.contains(from), "{text}");
        let read = read(&mut reader, &hash, &mut found, text.replacen(from, to, 1).as_bytes(), Sides::Both);
        match words {
            "" => assert_eq!(read, Ok(())),
            _ => {
                let error = read.unwrap_err().to_string();
                assert!(error.contains(words) && error.contains("shop.all"), "{error}");
            }
        }
    }
    let unknown = reader.turn_to("0123456789abcdef", PLACE).unwrap_err();
    assert!(matches!(&unknown, ReadError::Schema(text) if text.contains("0123456789abcdef")), "{unknown}");
}
