//! Components that somebody else made, well or badly or with intent: each is refused, or stopped at the batch that it
//! cannot do, with a message that names rule and breach, and the host goes on.

mod lies;
mod limits;
mod load;
mod plans;
mod state;

use std::sync::Arc;

use hindsight::event::{Batch, Field, Logical, Op, RowChange, TableSchema, Transaction};
use hindsight::groups::{self, Groups};
use hindsight::history::EntityRows;
use hindsight::rows::{Rows, Value};
use hindsight::rule::{Component, Decision, Limits, Plan, Rule, RuleError, WasmRule};
use hindsight_tests::forged::Forged;

/// The reference table.
fn item_assets() -> Arc<TableSchema> {
    let field = |name: &str, logical, declared: &str| Field {
        name: name.into(),
        logical,
        nullable: false,
        declared: declared.into(),
    };
    Arc::new(TableSchema {
        name: "shop.item_assets".into(),
        fields: vec![
            field("id", Logical::Int64, "int"),
            field("owner_id", Logical::Int64, "int"),
            field("asset_info", Logical::Text, "varchar(255)"),
            field("registered_at", Logical::Datetime, "datetime(6)"),
        ],
        primary_key: vec![0],
    })
}

/// Two changes of entity 7 and one of entity 8.
fn batch() -> Batch {
    let mut images = Rows::new(4);
    for (id, owner) in [(1, 7), (2, 7), (3, 8)] {
        images.push_row([Value::Int(id), Value::Int(owner), Value::Text("info"), Value::Int(50)]);
    }
    let mut batch = Batch {
        tables: vec![item_assets()],
        images: vec![images],
        transactions: vec![Transaction { log: "binlog.000001".into(), gtid: None }],
        ..Batch::default()
    };
    for row in 0..3 {
        batch.push(RowChange { table: 0, op: Op::Create, time_us: 50, before: None, after: Some(row), at: 4711 });
    }
    batch
}

/// The batch's groups, with two history rows for entity 7 and one for entity 8.
fn groups<'a>(batch: &'a Batch, plan: &Plan) -> Groups<'a> {
    let (mut groups, no_entity) = groups::group(batch, plan).expect("the batch has what the plan asks for");
    assert!(no_entity.is_empty() && groups.len() == 2);
    let mut rows = Rows::new(plan.history.columns.len());
    for (owner, start) in [(7, 10), (7, 20), (8, 30)] {
        let shown =
            [Value::Int(owner), Value::Int(1), Value::Int(start), Value::Null, Value::Int(1), Value::Text("old")];
        rows.push_row(shown.into_iter().chain([Value::Null; 7]));
    }
    groups.history = EntityRows { offsets: vec![0, 2, 3], rows };
    groups
}

fn load(component: &[u8], limits: Limits) -> Result<Component, RuleError> {
    Component::load("rules/forged.wasm", component, limits)
}

/// The rule, configured for the reference table.
fn configured(forged: &Forged, limits: Limits) -> Result<(WasmRule, Arc<Plan>), RuleError> {
    let mut rule = WasmRule::new(load(&forged.component(), limits)?, Vec::new())?;
    let plan = rule.configure(&[item_assets()])?;
    Ok((rule, plan))
}

/// What the rule says to the batch.
fn decide(forged: &Forged, limits: Limits) -> Result<Decision, RuleError> {
    let (mut rule, plan) = configured(forged, limits)?;
    rule.transform(&groups(&batch(), &plan))
}

/// The component or its plan is refused, with all of `words`.
#[track_caller]
fn unfit<T>(outcome: Result<T, RuleError>, words: &[&str]) {
    match outcome {
        Err(RuleError::Unfit(text)) => says(&text, words),
        Err(other) => panic!("should be unfit: {other:?}"),
        Ok(_) => panic!("was accepted; should say {words:?}"),
    }
}

/// The batch cannot be done, with all of `words`.
#[track_caller]
fn fails(outcome: Result<Decision, RuleError>, words: &[&str]) {
    match outcome {
        Err(RuleError::Batch(text)) => says(&text, words),
        other => panic!("should concern the batch and say {words:?}: {other:?}"),
    }
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn a_forged_rule_that_lies_about_nothing_is_believed() {
    let decision = decide(&Forged::new(), Limits::default()).expect("the contract is kept");
    let ints = |row: hindsight::rows::Row<'_>| -> Vec<Value<'static>> {
        row.values()
            .take(5)
            .map(|value| if let Value::Int(value) = value { Value::Int(value) } else { Value::Null })
            .collect()
    };
    let rows: Vec<_> = decision.upserts.iter().map(ints).collect();
    let row = |owner, start, end: Option<i64>, current| {
        vec![
            Value::Int(owner),
            Value::Int(1),
            Value::Int(start),
            end.map_or(Value::Null, Value::Int),
            Value::Int(current),
        ]
    };
    assert_eq!(rows, [row(7, 10, Some(50), 0), row(7, 50, None, 1), row(8, 50, None, 1)], "closed, and two new ones");
    assert_eq!(decision.upsert_causes, [0, 1, 2]);
    let texts: Vec<_> = decision.upserts.iter().map(|row| row.get(5)).collect();
    assert_eq!(texts, [Value::Text("old"), Value::Text("é"), Value::Text("\u{1f600}")], "a value left as it is");
    assert!(decision.deletes.row(0).values().eq([8, 1, 30].map(Value::Int)));
    assert!(decision.rejects.is_empty());
}
