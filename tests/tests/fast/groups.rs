//! What grouping asks of a batch before a rule sees it.

use std::sync::Arc;

use hindsight::event::{Batch, Field, Logical, Op, RowChange, TableSchema, Transaction};
use hindsight::groups;
use hindsight::history::{HistoryColumn, HistorySchema, Roles, Scope};
use hindsight::rows::{Rows, Value};
use hindsight::rule::Plan;
use hindsight::rule::plan::TableUse;

/// A table with the key (id, kind), where `kind` is of a type that is not decoded.
fn batch(op: Op) -> Batch {
    let field = |name: &str, logical, declared: &str| Field {
        name: name.into(),
        logical,
        nullable: false,
        declared: declared.into(),
    };
    let table = TableSchema {
        name: "shop.assets".into(),
        fields: vec![
            field("id", Logical::Int64, "int"),
            field("kind", Logical::Bytes, "enum"),
            field("since", Logical::Datetime, "datetime"),
        ],
        primary_key: vec![0, 1],
    };
    let mut images = Rows::new(3);
    for since in 0..2 {
        images.push_row([Value::Int(1), Value::Undecoded, Value::Int(since)]);
    }
    let mut batch = Batch {
        tables: vec![Arc::new(table)],
        images: vec![images],
        transactions: vec![Transaction { log: "binlog.000001".into(), gtid: None }],
        ..Batch::default()
    };
    let (before, after) = match op {
        Op::Create | Op::Read => (None, Some(1)),
        Op::Update => (Some(0), Some(1)),
        Op::Delete => (Some(0), None),
    };
    batch.push(RowChange { table: 0, op, time_us: 0, before, after, at: 4711 });
    batch
}

/// Asks for `id` and `since` only.
fn plan() -> Plan {
    let column = |name: &str, logical, nullable| HistoryColumn {
        field: Field { name: name.into(), logical, nullable, declared: String::new() },
        source: None,
    };
    Plan {
        tables: vec![TableUse { entity_key: vec![0], after: vec![0, 2], before: Vec::new() }],
        history: HistorySchema {
            columns: vec![
                column("id", Logical::Int64, false),
                column("start", Logical::Datetime, false),
                column("end", Logical::Datetime, true),
            ],
            primary_key: vec![0, 1],
            roles: Roles { entity_key: vec![0], start: 1, end: 2, current: None },
        },
        scope: Scope::AllRows,
        read: Vec::new(),
        revise: Vec::new(),
        replay_safe: true,
        complete: true,
    }
}

#[test]
fn an_update_of_a_key_that_cannot_be_read_stops_with_the_column() {
    let error = groups::group(&batch(Op::Update), &plan()).map(|_| ()).unwrap_err();
    for word in ["binlog.000001:4711", "shop.assets.kind (enum)", "primary key", "source.tables"] {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
    for op in [Op::Create, Op::Delete] {
        let batch = batch(op);
        let (groups, no_entity) =
            groups::group(&batch, &plan()).expect("the key of a row that comes or goes does not change");
        assert_eq!((groups.len(), no_entity.len()), (1, 0));
    }
}
