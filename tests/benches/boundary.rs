//! The default rule across the boundary: as a component under production's limits, and the same rule linked in.
//!
//! `cargo bench --workspace --bench boundary`. "call" is the rule alone, batch in and output out; "stage" adds what the host
//! does around it: groups to columns before, every check and whole rows after. Both variants decide equally, which is checked.

use std::process::ExitCode;
use std::sync::Arc;

use hindsight::event::{Batch, Field, Logical, Op, RowChange, TableSchema, Transaction};
use hindsight::groups::{self, Groups};
use hindsight::history::EntityRows;
use hindsight::rows::{Rows, Value};
use hindsight::rule::bindings::{types, wit};
use hindsight::rule::{Component, Limits, Plan, Rule, WasmRule};
use hindsight_rule::native;
use hindsight_tests::asset_log::{Random, TABLE};
use hindsight_tests::rounds::{Variant, interleaved, rate};
use scd2_by_owner::ByOwner;

const ROUNDS: usize = 9;

/// Changes a batch, and what DESIGN asks of the call there, changes a second.
const SIZES: [(usize, &str); 4] = [(1, "-"), (64, "2 M/s"), (1024, "5 M/s"), (8192, "-")];

fn main() -> ExitCode {
    let component = match Component::builtin("scd2-by-owner", Limits::default()) {
        Ok(component) => component,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let mut wasm = WasmRule::new(component, Vec::new()).expect("the rule knows its defaults");
    let table = Arc::new(table());
    let plan = wasm.configure(std::slice::from_ref(&table)).expect("the rule takes the reference table");
    let (linked_in, _) = native::Instance::<ByOwner>::configure(&[native_table(&table)], Vec::new()).expect("likewise");

    println!("scd2-by-owner across the boundary, one core, epoch deadline and memory limiter on");
    println!("CPU time, median of {ROUNDS} interleaved rounds; wasm / linked in, ns a change");
    println!(
        "{:>7} {:>7} {:>10} {:>17} {:>6} {:>11} {:>17} {:>6}",
        "changes", "must", "call", "ns", "ratio", "stage", "ns", "ratio"
    );
    for (n_changes, must) in SIZES {
        let batch = batch(&table, n_changes);
        let groups = grouped(&batch, &plan);
        let packed = wasm.pack(&groups).expect("the batch fits the plan");
        let native_packed = to_native(packed.clone());
        let answer = wasm.call(&packed).expect("the rule decides");
        assert_eq!(from_native(linked_in.transform(&native_packed).expect("likewise")), answer);

        let wasm = std::cell::RefCell::new(&mut wasm);
        let variants: Vec<Variant<'_>> = vec![
            ("wasm", Box::new(|| drop(wasm.borrow_mut().call(&packed).expect("the rule decides")))),
            ("linked in", Box::new(|| drop(linked_in.transform(&native_packed).expect("the rule decides")))),
            ("stage wasm", Box::new(|| drop(wasm.borrow_mut().transform(&groups).expect("the stage decides")))),
            (
                "stage linked in",
                Box::new(|| {
                    let wasm = wasm.borrow();
                    let packed = to_native(wasm.pack(&groups).expect("the batch fits the plan"));
                    let output = linked_in.transform(&packed).expect("the rule decides");
                    drop(wasm.check(&from_native(output), &groups).expect("the output keeps the contract"));
                }),
            ),
        ];
        let medians = interleaved(ROUNDS, variants);
        let ns = |variant: usize| medians[variant].cpu.as_nanos() as f64 / n_changes as f64;
        println!(
            "{:>7} {:>7} {:>10} {:>17} {:>6.2} {:>11} {:>17} {:>6.2}",
            n_changes,
            must,
            rate(n_changes as u64, medians[0].cpu),
            format!("{:.0} / {:.0}", ns(0), ns(1)),
            ns(1) / ns(0),
            rate(n_changes as u64, medians[2].cpu),
            format!("{:.0} / {:.0}", ns(2), ns(3)),
            ns(3) / ns(2),
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

/// 1.25 changes an owner; of ten changes five create, four update, one deletes; one update in fifty moves its asset.
fn batch(table: &Arc<TableSchema>, n_changes: usize) -> Batch {
    const INFO: &str = "pump 7, hall B, serial 4711-0815-XY";
    let mut random = Random(11);
    let mut batch =
        Batch { tables: vec![table.clone()], images: vec![Rows::new(table.fields.len())], ..Batch::default() };
    batch.transactions.push(Transaction { log: "bench".into(), gtid: None });
    let n_owners = (n_changes as u32 * 4).div_ceil(5);
    for number in 0..n_changes as i64 {
        let owner = i64::from(1 + random.below(n_owners));
        let op = match random.below(10) {
            0..5 => Op::Create,
            5..9 => Op::Update,
            _ => Op::Delete,
        };
        let moves = op == Op::Update && random.below(50) == 0;
        let time_us = 1_735_689_600_000_000 + number * 1_000_000;
        let images = &mut batch.images[0];
        let info = &INFO[..12 + random.below(23) as usize];
        let mut image = |owner: i64| {
            let values = [Value::Int(owner * 10), Value::Int(owner), Value::Text(info), Value::Int(time_us)];
            Some(images.push_row(values) as u32)
        };
        let before = if op == Op::Create { None } else { image(owner + i64::from(moves)) };
        let after = if op == Op::Delete { None } else { image(owner) };
        batch.push(RowChange { table: 0, op, time_us, before, after, at: number as u64 });
    }
    batch
}

/// Every second owner has one current row, every tenth two.
fn grouped<'a>(batch: &'a Batch, plan: &Plan) -> Groups<'a> {
    let (mut groups, no_entity) = groups::group(batch, plan).expect("all columns are there");
    assert!(no_entity.is_empty());
    let mut history = EntityRows { offsets: vec![0], rows: Rows::new(plan.history.columns.len()) };
    for (number, key) in groups.keys.iter().enumerate() {
        let Value::Int(owner) = key.get(0) else { unreachable!("owners are integers") };
        let n_rows = if number % 10 == 0 { 2 } else { i64::from(number % 2 == 0) };
        for asset in 0..n_rows {
            history.rows.push_row([
                Value::Int(owner * 10 + asset),
                Value::Int(owner),
                Value::Int(1_735_000_000_000_000),
                Value::Text("pump 6, hall A, serial 4710"),
                Value::Null,
                Value::Int(1),
                Value::Text("c"),
            ]);
        }
        history.offsets.push(history.rows.len() as u32);
    }
    groups.history = history;
    groups
}

fn native_table(table: &TableSchema) -> native::Table {
    let logical = |logical| match logical {
        Logical::Int64 => native::LogicalType::Int64,
        Logical::Text => native::LogicalType::Text,
        Logical::Datetime => native::LogicalType::Datetime,
        other => unreachable!("the reference table has no {other:?}"),
    };
    let field = |field: &Field| native::Field {
        name: field.name.clone(),
        logical: logical(field.logical),
        nullable: field.nullable,
        declared: field.declared.clone(),
    };
    native::Table {
        name: table.name.clone(),
        fields: table.fields.iter().map(field).collect(),
        primary_key: table.primary_key.iter().map(|&column| column as u32).collect(),
    }
}

/// The host's types of the contract as the SDK's: the same lists, nothing is copied.
fn to_native(batch: wit::Batch) -> native::Batch {
    let column = |types::Column { nulls, values }| native::Column {
        nulls,
        values: match values {
            types::Values::U8s(values) => native::Values::U8s(values),
            types::Values::S64s(values) => native::Values::S64s(values),
            types::Values::U64s(values) => native::Values::U64s(values),
            types::Values::F64s(values) => native::Values::F64s(values),
            types::Values::Packed(types::Packed { offsets, data }) => {
                native::Values::Packed(native::Packed { offsets, data })
            }
        },
    };
    let columns = |columns: Vec<types::Column>| columns.into_iter().map(column).collect::<Vec<_>>();
    let wit::Changes { op, table, moved, time, after_row, before_row } = batch.changes;
    native::Batch {
        history_offsets: batch.history_offsets,
        change_offsets: batch.change_offsets,
        keys: columns(batch.keys),
        history: columns(batch.history),
        changes: native::Changes { op, table, moved, time, after_row, before_row },
        images: batch
            .images
            .into_iter()
            .map(|wit::Images { after, before }| native::Images { after: columns(after), before: columns(before) })
            .collect(),
    }
}

fn from_native(output: native::Output) -> wit::Output {
    let column = |native::Column { nulls, values }| types::Column {
        nulls,
        values: match values {
            native::Values::U8s(values) => types::Values::U8s(values),
            native::Values::S64s(values) => types::Values::S64s(values),
            native::Values::U64s(values) => types::Values::U64s(values),
            native::Values::F64s(values) => types::Values::F64s(values),
            native::Values::Packed(native::Packed { offsets, data }) => {
                types::Values::Packed(types::Packed { offsets, data })
            }
        },
    };
    let columns = |columns: Vec<native::Column>| columns.into_iter().map(column).collect::<Vec<_>>();
    let native::Output { upserts, revisions, deletes, rejects } = output;
    wit::Output {
        upserts: wit::Upserts { cause: upserts.cause, columns: columns(upserts.columns) },
        revisions: wit::Revisions { cause: revisions.cause, row: revisions.row, columns: columns(revisions.columns) },
        deletes: wit::Deletes { cause: deletes.cause, row: deletes.row },
        rejects: rejects.into_iter().map(|native::Reject { change, reason }| wit::Reject { change, reason }).collect(),
    }
}
