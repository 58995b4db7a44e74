//! The judge, with rules that are written here: what it must find, it is given.

use std::collections::BTreeMap;

use super::*;
use crate::dead_letter::Quarantine;
use crate::event::{Field, Logical, TableSchema};
use crate::groups::Groups;
use crate::history::{EntityRows, HistoryColumn, Roles, Scope, Standing};
use crate::rule::plan::TableUse;
use crate::rule::{Decision, Reject};
use crate::sink::SinkError;

/// Rows by their one key column.
#[derive(Default)]
pub(crate) struct ByKey {
    rows: BTreeMap<i64, Vec<Cell>>,
}

#[async_trait::async_trait]
impl Sink for ByKey {
    async fn checkpoint(&mut self) -> Result<Standing, SinkError> {
        Ok(Standing::default())
    }

    async fn prepare(&mut self, _: &HistorySchema) -> Result<(), SinkError> {
        Ok(())
    }

    async fn quarantined(&mut self) -> Result<Arc<Quarantine>, SinkError> {
        Ok(Arc::default())
    }

    async fn entity_rows(&mut self, keys: &Rows, _: Scope) -> Result<EntityRows, SinkError> {
        let mut found = EntityRows { offsets: vec![0], rows: Rows::new(2) };
        for key in keys.iter() {
            if let Some(row) = self.rows.get(&int(key.get(0))) {
                found.rows.push_row(row.iter().map(Cell::value));
            }
            found.offsets.push(found.rows.len() as u32);
        }
        Ok(found)
    }

    async fn unmet(&mut self, _: Option<Row<'_>>, _: usize) -> Result<Rows, SinkError> {
        unreachable!("cases have no re-snapshot")
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        for row in load.upserts.iter() {
            self.rows.insert(int(row.get(0)), owned(row));
        }
        Ok(())
    }
}

impl Table for ByKey {
    fn all_rows(&self) -> Rows {
        let mut rows = Rows::new(2);
        self.rows.values().for_each(|row| {
            rows.push_row(row.iter().map(Cell::value));
        });
        rows
    }
}

/// What a rule of this test does with the changes of an owner.
#[derive(Clone, Copy)]
pub(crate) enum Behaviour {
    /// Adds their number to the owner's row.
    Counts,
    /// Writes their number: sees where batches end.
    ForgetsTheRest,
    RejectsSecondAsset,
    Fails,
}

struct Counting(Behaviour);

impl Rule for Counting {
    fn configure(&mut self, _: &[Arc<TableSchema>]) -> Result<Arc<Plan>, RuleError> {
        let column = |name: &str| HistoryColumn {
            field: Field { name: name.into(), logical: Logical::Int64, nullable: false, declared: "bigint".into() },
            source: None,
        };
        Ok(Arc::new(Plan {
            tables: vec![TableUse { entity_key: vec![1], after: vec![0], before: vec![] }],
            history: HistorySchema {
                columns: vec![column("owner_id"), column("changes")],
                primary_key: vec![0],
                roles: Roles { entity_key: vec![0], start: 1, end: 1, current: None },
            },
            scope: Scope::AllRows,
            read: vec![0, 1],
            revise: vec![],
            replay_safe: false,
            complete: false,
        }))
    }

    fn transform(&mut self, groups: &Groups<'_>) -> Result<Decision, RuleError> {
        let mut decision = Decision { upserts: Rows::new(2), deletes: Rows::new(1), ..Decision::default() };
        for group in 0..groups.len() {
            let entries = groups.offsets[group]..groups.offsets[group + 1];
            let shown = groups.history.offsets[group]..groups.history.offsets[group + 1];
            let mut changes = match self.0 {
                Behaviour::ForgetsTheRest => 0,
                _ => shown.map(|row| int(groups.history.rows.row(row as usize).get(1))).sum(),
            };
            for entry in entries.clone() {
                let id = groups.batch.after(groups.change(entry)).map(|row| int(row.get(0)));
                match self.0 {
                    Behaviour::Fails => return Err(RuleError::Batch("the rule trapped".into())),
                    Behaviour::RejectsSecondAsset if id == Some(2) => {
                        decision.rejects.push(Reject { entry, reason: "no second asset".into() });
                    }
                    _ => changes += 1,
                }
            }
            decision.upserts.push_row([groups.keys.row(group).get(0), Value::Int(changes)]);
            decision.upsert_causes.push(entries.start);
        }
        Ok(decision)
    }
}

impl Stage for Behaviour {
    type Table = ByKey;

    fn rule(&self, _: &[(String, String)]) -> Result<Box<dyn Rule>, RuleError> {
        Ok(Box::new(Counting(*self)))
    }

    fn table(&self) -> ByKey {
        ByKey::default()
    }
}

pub(crate) const CASE: &str = r#"
history = [ { owner_id = 7, changes = 5 } ]
change = [
  { op = "c", ts = "2025-01-01 00:00:00", after = { id = 1, owner_id = 7 } },
  { op = "c", ts = "2025-01-01 00:00:00", after = { id = 2, owner_id = 7 } },
  { op = "c", ts = "2025-01-01 00:00:00", after = { id = 3 } },
]
[expect]
history = [ { owner_id = 7, changes = 7 } ]
rejects = [ { change = 2, reason = "the entity key (owner_id) is NULL" } ]
"#;

fn judged(text: &str, behaviour: Behaviour) -> Result<Vec<Finding>, Unjudged> {
    let case = Case::parse(std::path::Path::new("case.toml"), text).unwrap_or_else(|faults| panic!("{faults}"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(judge(&Arc::new(case), &behaviour)).map(|verdict| verdict.findings)
}

fn int(value: Value<'_>) -> i64 {
    match value {
        Value::Int(value) => value,
        other => panic!("an integer, not {other:?}"),
    }
}

fn row(key: Cell, changes: i64) -> Vec<Cell> {
    vec![key, Cell::Int(changes)]
}

#[test]
fn a_rule_that_does_what_the_case_says_has_no_findings() {
    assert_eq!(judged(CASE, Behaviour::Counts).expect("judged"), []);
}

#[test]
fn a_rule_that_sees_where_batches_end_is_found_in_both_plays() {
    let differs = |edges, got, change| {
        let cells = vec![(1, Cell::Int(7))];
        Finding { edges, what: Difference::Cells { got: row(Cell::Int(7), got), cells, written_by: Some(change) } }
    };
    let findings = judged(CASE, Behaviour::ForgetsTheRest).expect("judged");
    assert_eq!(findings, [differs(Edges::OneBatch, 2, 0), differs(Edges::ChangeByChange, 1, 1)]);
    // Expecting what one play leaves shows the other.
    let one = CASE.replace("changes = 7", "changes = 2");
    let findings = judged(&one, Behaviour::ForgetsTheRest).expect("judged");
    assert_eq!(findings.iter().map(|finding| finding.edges).collect::<Vec<_>>(), [Edges::ChangeByChange]);
}

#[test]
fn rejects_are_compared_by_change_and_reason() {
    let findings = |text: &str| -> Vec<Difference> {
        let findings = judged(text, Behaviour::RejectsSecondAsset).expect("judged");
        assert!(findings.iter().all(|finding| finding.edges == Edges::Both), "{findings:?}");
        findings.into_iter().map(|finding| finding.what).collect()
    };
    let six = CASE.replace("changes = 7", "changes = 6");
    let unexpected = Difference::UnexpectedReject { change: 1, reason: "no second asset".into() };
    assert_eq!(findings(&six), std::slice::from_ref(&unexpected));
    let wanted =
        |reason: &str| six.replace("rejects = [", &format!("rejects = [ {{ change = 1, reason = {reason:?} }},"));
    assert_eq!(findings(&wanted("*")), []);
    assert_eq!(findings(&wanted("no second asset")), []);
    let missing = ExpectedReject { change: 1, reason: Some("other".into()) };
    assert_eq!(findings(&wanted("other")), [Difference::MissingReject(missing), unexpected]);
}

#[test]
fn a_rule_that_fails_is_a_finding_and_not_an_empty_table() {
    let findings = judged(CASE, Behaviour::Fails).expect("judged");
    assert_eq!(findings, [Finding { edges: Edges::Both, what: Difference::Failed("the rule trapped".into()) }]);
}

#[test]
fn a_case_that_does_not_fit_the_plan_is_not_judged() {
    for (from, to) in [("changes = 5", "chnges = 5"), ("changes = 7", "changes = \"x\"")] {
        assert!(matches!(judged(&CASE.replace(from, to), Behaviour::Counts), Err(Unjudged::Case(_))), "{to}");
    }
}

#[test]
fn rows_are_compared_by_key_and_wildcards_take_what_is_left() {
    let mut got = Rows::new(2);
    for (key, changes) in [(1, 10), (2, 20), (3, 30)] {
        got.push_row([Value::Int(key), Value::Int(changes)]);
    }
    let fine = [row(Cell::Any, 30), row(Cell::Int(2), 20), vec![Cell::Int(1), Cell::Any]];
    let mut written = Written::default();
    for (row, change) in [(0, 4), (2, 5), (2, 6)] {
        written.add(got.row(row), &[0], change);
    }
    assert_eq!(row_differences(&got, &fine, &[0], &written), []);
    let wrong = [row(Cell::Int(1), 11), row(Cell::Int(4), 40), row(Cell::Int(2), 20)];
    assert_eq!(
        row_differences(&got, &wrong, &[0], &written),
        [
            Difference::Cells { got: row(Cell::Int(1), 10), cells: vec![(1, Cell::Int(11))], written_by: Some(4) },
            Difference::Missing(row(Cell::Int(4), 40)),
            Difference::Unexpected { got: row(Cell::Int(3), 30), written_by: Some(6) },
        ]
    );
}
