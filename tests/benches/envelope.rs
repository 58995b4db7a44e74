//! Debezium's envelope written and read: by the host, by serde_json and by sonic-rs; and what a topic's messages cost until
//! they are history rows.
//!
//! `cargo bench --workspace --bench envelope`, `-- WORD` for those with the word in their names. The libraries get structs of the reference table, known when they are compiled,
//! or make a tree; the host learns a table's columns while it runs, checks each value against its type, and fills a batch.

use std::borrow::Cow;
use std::cell::RefCell;
use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;

use hindsight::civil::Zone;
use hindsight::envelope::read::{Place, Reader, Record, schema};
use hindsight::envelope::{self, Envelope, Forms};
use hindsight::event::{Batch, Field, Logical, Op, RowChange, Sides, TableSchema, Transaction};
use hindsight::groups;
use hindsight::history::EntityRows;
use hindsight::rows::{Rows, Value};
use hindsight::rule::{Component, Limits, Rule, WasmRule};
use hindsight_tests::asset_log::{Random, TABLE};
use hindsight_tests::rounds::{Variant, interleaved, rate};
use serde::{Deserialize, Serialize};

const ROUNDS: usize = 9;

const CHANGES: usize = 4_096;

/// What the libraries are told of an event; everything that a history is made from.
#[derive(Serialize, Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    before: Option<Asset<'a>>,
    #[serde(borrow)]
    after: Option<Asset<'a>>,
    #[serde(borrow)]
    source: Source<'a>,
    op: Cow<'a, str>,
    ts_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Asset<'a> {
    id: i64,
    owner_id: i64,
    #[serde(borrow)]
    asset_info: Cow<'a, str>,
    registered_at: i64,
}

#[derive(Serialize, Deserialize)]
struct Source<'a> {
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    connector: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    ts_ms: i64,
    #[serde(borrow)]
    snapshot: Cow<'a, str>,
    #[serde(borrow)]
    db: Cow<'a, str>,
    ts_us: i64,
    ts_ns: i64,
    #[serde(borrow)]
    table: Cow<'a, str>,
    server_id: i64,
    #[serde(borrow)]
    gtid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    file: Cow<'a, str>,
    pos: u64,
    row: i64,
}

fn main() -> ExitCode {
    let component = match Component::builtin("scd2-by-owner", Limits::default()) {
        Ok(component) => component,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut rule = WasmRule::new(component, Vec::new()).expect("the rule knows its defaults");
    let table = Arc::new(table());
    let plan = rule.configure(std::slice::from_ref(&table)).expect("the rule takes the reference table");
    let batch = batch(&table);
    let mut envelope = Envelope::new("item-assets", Zone::UTC, Forms::default());
    let mut events: Vec<Vec<u8>> = Vec::new();
    for change in &batch.changes {
        events.push(envelope.value(&batch, change).expect("every value is known").to_vec());
    }
    let bytes: usize = events.iter().map(Vec::len).sum();
    let typed: Vec<Event<'_>> = events.iter().map(|event| serde_json::from_slice(event).expect("an event")).collect();
    let (hash, document) = schema::document(&table, Forms::default());
    let read = || {
        let mut reader = Reader::new(Zone::UTC);
        reader.know(&hash, document.as_bytes()).expect("a schema");
        let place = |offset| Place { topic: "t", partition: 0, offset };
        reader.turn_to(&hash, place(0)).expect("it is known");
        let mut batch = Batch { transactions: vec![Transaction { log: "t".into(), gtid: None }], ..reader.batch() };
        for (offset, value) in events.iter().enumerate() {
            let record = Record { value, schema: &hash, sides: Sides::Both, place: place(offset as u64) };
            reader.read(&mut batch, &record).expect("an event");
        }
        batch
    };
    // The same changes come back.
    let back = read();
    assert_eq!(back.changes.len(), batch.changes.len());
    assert!(back.images[0].iter().zip(batch.images[0].iter()).all(|(one, two)| one.values().eq(two.values())));

    let (envelope, rule) = (RefCell::new(&mut envelope), RefCell::new(&mut rule));
    let out = RefCell::new(Vec::with_capacity(1 << 20));
    let each = |read: &dyn Fn(&[u8])| events.iter().for_each(|event| read(event));
    let variants: Vec<Variant<'_>> = vec![
        ("read: hindsight, into a batch", Box::new(|| drop(std::hint::black_box(read())))),
        (
            "read: serde_json, structs",
            Box::new(|| each(&|event| drop(std::hint::black_box(serde_json::from_slice::<Event<'_>>(event).unwrap())))),
        ),
        (
            "read: sonic-rs, structs",
            Box::new(|| each(&|event| drop(std::hint::black_box(sonic_rs::from_slice::<Event<'_>>(event).unwrap())))),
        ),
        (
            "read: serde_json, a tree",
            Box::new(|| {
                each(&|event| drop(std::hint::black_box(serde_json::from_slice::<serde_json::Value>(event).unwrap())))
            }),
        ),
        (
            "read: sonic-rs, a tree",
            Box::new(|| {
                each(&|event| drop(std::hint::black_box(sonic_rs::from_slice::<sonic_rs::Value>(event).unwrap())))
            }),
        ),
        (
            "written: hindsight, from a batch, with keys",
            Box::new(|| {
                let take = |event: &envelope::Event<'_>| {
                    std::hint::black_box((event.key, event.value));
                    Ok::<_, Infallible>(())
                };
                envelope.borrow_mut().events(&batch, Some(&plan), take).unwrap();
            }),
        ),
        (
            "written: serde_json, structs",
            Box::new(|| {
                let mut out = out.borrow_mut();
                for event in &typed {
                    out.clear();
                    serde_json::to_writer(&mut *out, std::hint::black_box(event)).unwrap();
                }
            }),
        ),
        (
            "written: sonic-rs, structs",
            Box::new(|| {
                let mut out = out.borrow_mut();
                for event in &typed {
                    out.clear();
                    sonic_rs::to_writer(&mut *out, std::hint::black_box(event)).unwrap();
                }
            }),
        ),
        (
            "bytes -> batch -> groups -> rule -> rows",
            Box::new(|| {
                let batch = read();
                let (mut groups, _) = groups::group(&batch, &plan).expect("every column is there");
                groups.history =
                    EntityRows { offsets: vec![0; groups.len() + 1], rows: Rows::new(plan.history.columns.len()) };
                drop(std::hint::black_box(rule.borrow_mut().transform(&groups).expect("the rule decides")));
            }),
        ),
    ];
    let word = std::env::args().skip(1).find(|word| !word.starts_with("--")).unwrap_or_default();
    let variants = variants.into_iter().filter(|(name, _)| name.contains(&word)).collect();
    let medians = interleaved(ROUNDS, variants);
    println!(
        "{} events of {} bytes each, one core; CPU time, median of {ROUNDS} interleaved rounds",
        CHANGES,
        bytes / CHANGES
    );
    println!("{:<44} {:>11} {:>8} {:>7}", "", "", "ns", "MB/s");
    for median in &medians {
        println!(
            "{:<44} {:>11} {:>8.0} {:>7.0}",
            median.name,
            rate(CHANGES as u64, median.cpu),
            median.cpu.as_nanos() as f64 / CHANGES as f64,
            bytes as f64 / 1e6 / median.cpu.as_secs_f64(),
        );
    }
    ExitCode::SUCCESS
}

fn table() -> TableSchema {
    let field = |name: &str, logical, declared: &str| Field {
        name: name.into(),
        logical,
        nullable: false,
        declared: declared.into(),
    };
    TableSchema {
        name: TABLE.into(),
        fields: vec![
            field("id", Logical::Int64, "int"),
            field("owner_id", Logical::Int64, "int"),
            field("asset_info", Logical::Text, "varchar(255)"),
            field("registered_at", Logical::Datetime, "datetime"),
        ],
        primary_key: vec![0],
    }
}

/// Of ten changes six create, three update, one deletes; each in a source transaction of its own.
fn batch(table: &Arc<TableSchema>) -> Batch {
    const INFO: &str = "pump 7, hall B, serial 4711-0815-XY";
    let mut random = Random(11);
    let mut batch =
        Batch { tables: vec![table.clone()], images: vec![Rows::new(table.fields.len())], ..Batch::default() };
    for number in 0..CHANGES as i64 {
        let uuid = [0x3e, 0x11, 0xfa, 0x47, 0x71, 0xca, 0x11, 0xe1, 0x9e, 0x33, 0xc8, 0x0a, 0xa9, 0x42, 0x95, 0x62];
        let gtid = hindsight::event::Gtid { uuid, tag: None, number: number as u64 + 1 };
        batch.transactions.push(Transaction { log: "binlog.000003".into(), gtid: Some(gtid) });
        let owner = i64::from(1 + random.below(CHANGES as u32 * 4 / 5));
        let time_us = 1_735_689_600_000_000 + number * 1_000_000;
        let mut image = |seconds: i64| {
            let at = time_us + seconds * 1_000_000;
            Some(batch.images[0].push_row([Value::Int(number), Value::Int(owner), Value::Text(INFO), Value::Int(at)])
                as u32)
        };
        let (op, before, after) = match random.below(10) {
            0..6 => (Op::Create, None, image(0)),
            6..9 => (Op::Update, image(-9), image(0)),
            _ => (Op::Delete, image(-9), None),
        };
        batch.push(RowChange { table: 0, op, time_us, before, after, at: 4_711 + number as u64 * 300 });
    }
    batch
}
