//! History rows as the body of a Stream Load: by the host's row writer, and by serde_json and sonic-rs from structs.
//!
//! `cargo bench --workspace --bench rows`. The libraries get the reference table's structs with their values ready, times as texts
//! included; the writer learns the columns while it runs, checks each value against its column, and writes times itself.

use std::cell::RefCell;
use std::process::ExitCode;

use hindsight::civil;
use hindsight::rows::{Rows, Value};
use hindsight::sink::starrocks::columns::ColumnType;
use hindsight::sink::starrocks::rows::{RowWriter, TableColumn};
use hindsight_tests::reference::history;
use hindsight_tests::rounds::{Variant, interleaved, rate};
use serde::Serialize;

const ROUNDS: usize = 9;

const ROWS: usize = 16_384;

#[derive(Serialize)]
struct History<'a> {
    source_id: i64,
    owner_id: i64,
    effective_start_ts: &'a str,
    asset_info: &'a str,
    effective_end_ts: Option<&'a str>,
    is_current: bool,
    op_type: &'a str,
}

fn main() -> ExitCode {
    let history = history();
    let table: Vec<TableColumn> = history
        .columns
        .iter()
        .map(|column| TableColumn {
            name: column.field.name.clone(),
            holds: ColumnType::of(&column.field).expect("every type is known"),
            nullable: column.field.nullable,
        })
        .collect();
    let writer = RowWriter::new(&history, &table, None);
    let rows = rows();
    let texts: Vec<(String, String)> = (0..ROWS as i64).map(|row| (text(start(row)), text(end(row)))).collect();
    let structs: Vec<History<'_>> = rows
        .iter()
        .zip(&texts)
        .map(|(row, (start, end))| {
            let (Value::Int(source_id), Value::Int(owner_id)) = (row.get(0), row.get(1)) else {
                unreachable!("numbers")
            };
            let (Value::Text(asset_info), Value::Text(op_type)) = (row.get(3), row.get(6)) else {
                unreachable!("texts")
            };
            let is_current = row.get(4) == Value::Null;
            let effective_end_ts = (!is_current).then_some(end.as_str());
            History {
                source_id,
                owner_id,
                effective_start_ts: start,
                asset_info,
                effective_end_ts,
                is_current,
                op_type,
            }
        })
        .collect();
    let none = Rows::new(history.primary_key.len());
    let out = RefCell::new(Vec::with_capacity(4 << 20));
    let write = || {
        let mut out = out.borrow_mut();
        out.clear();
        writer.write(&mut out, &none, &rows, 0).expect("every value fits");
    };
    // All three write the same.
    write();
    assert_eq!(*out.borrow(), serde_json::to_vec(&structs).expect("plain data"));
    let bytes = out.borrow().len();
    let variants: Vec<Variant<'_>> = vec![
        ("hindsight, from rows", Box::new(write)),
        (
            "serde_json, from structs",
            Box::new(|| {
                let mut out = out.borrow_mut();
                out.clear();
                serde_json::to_writer(&mut *out, std::hint::black_box(&structs)).expect("plain data");
            }),
        ),
        (
            "sonic-rs, from structs",
            Box::new(|| {
                let mut out = out.borrow_mut();
                out.clear();
                sonic_rs::to_writer(&mut *out, std::hint::black_box(&structs)).expect("plain data");
            }),
        ),
    ];
    println!("{ROWS} rows of {} bytes each, one core; CPU time, median of {ROUNDS} interleaved rounds", bytes / ROWS);
    for median in interleaved(ROUNDS, variants) {
        let must = if median.name.starts_with("hindsight") { "   must 2 M/s" } else { "" };
        println!(
            "{:<28} {:>11} {:>6.0} ns {:>6.0} MB/s{must}",
            median.name,
            rate(ROWS as u64, median.cpu),
            median.cpu.as_nanos() as f64 / ROWS as f64,
            bytes as f64 / 1e6 / median.cpu.as_secs_f64(),
        );
    }
    ExitCode::SUCCESS
}

/// Microseconds; every other row has a fraction.
fn start(row: i64) -> i64 {
    1_735_689_600_000_000 + row * 61_000_000 + row % 2 * 123_456
}

fn end(row: i64) -> i64 {
    start(row) + 86_400_000_000
}

fn text(micros: i64) -> String {
    let mut text = String::new();
    civil::write_datetime(&mut text, micros);
    text
}

/// Of three rows one is closed.
fn rows() -> Rows {
    let mut rows = Rows::new(7);
    for row in 0..ROWS as i64 {
        let (end, current) = if row % 3 == 0 { (Value::Int(end(row)), 0) } else { (Value::Null, 1) };
        rows.push_row([
            Value::Int(1_000_000 + row),
            Value::Int(row * 7_919 % 100_000),
            Value::Int(start(row)),
            Value::Text("pump 7, hall B, serial 4711-0815-XY"),
            end,
            Value::Int(current),
            Value::Text("u"),
        ]);
    }
    rows
}
