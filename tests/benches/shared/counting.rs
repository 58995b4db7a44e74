//! A sink that keeps nothing but the rows that are current, by which the rule decides; the pipeline counts what is written.
//! It knows the reference rule's table when it is compiled, as the job beside it does.

use std::collections::HashMap;
use std::sync::Arc;

use hindsight::dead_letter::Quarantine;
use hindsight::history::{EntityRows, HistorySchema, Load, Scope, Standing};
use hindsight::rows::{Row, Rows, Value};
use hindsight::sink::{Sink, SinkError};

const COLUMNS: [&str; 7] =
    ["source_id", "owner_id", "effective_start_ts", "asset_info", "effective_end_ts", "is_current", "op_type"];

#[derive(Default)]
pub struct Counting {
    /// By owner.
    current: HashMap<i64, Vec<Current>>,
    standing: Standing,
}

/// A row that is current.
struct Current {
    source_id: i64,
    start: i64,
    info: String,
    op: String,
}

impl Current {
    fn of(row: Row<'_>) -> Self {
        Current { source_id: int(row, 0), start: int(row, 2), info: text(row, 3), op: text(row, 6) }
    }
}

fn int(row: Row<'_>, column: usize) -> i64 {
    match row.get(column) {
        Value::Int(value) => value,
        other => panic!("{} is {other:?}", COLUMNS[column]),
    }
}

fn text(row: Row<'_>, column: usize) -> String {
    match row.get(column) {
        Value::Text(text) => text.to_owned(),
        other => panic!("{} is {other:?}", COLUMNS[column]),
    }
}

#[async_trait::async_trait]
impl Sink for Counting {
    async fn checkpoint(&mut self) -> Result<Standing, SinkError> {
        Ok(self.standing.clone())
    }

    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        assert!(history.columns.iter().map(|column| column.field.name.as_str()).eq(COLUMNS), "the reference rule's");
        Ok(())
    }

    async fn quarantined(&mut self) -> Result<Arc<Quarantine>, SinkError> {
        Ok(Arc::default())
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        assert_eq!(scope, Scope::CurrentRows, "others are not kept");
        let mut found = EntityRows { offsets: vec![0], rows: Rows::new(COLUMNS.len()) };
        for key in keys.iter() {
            let owner = int(key, 0);
            for Current { source_id, start, info, op } in self.current.get(&owner).into_iter().flatten() {
                let key = [Value::Int(*source_id), Value::Int(owner), Value::Int(*start)];
                let others = [Value::Text(info), Value::Null, Value::Int(1), Value::Text(op)];
                found.rows.push_row(key.into_iter().chain(others));
            }
            found.offsets.push(found.rows.len() as u32);
        }
        Ok(found)
    }

    async fn unmet(&mut self, _: Option<Row<'_>>, _: usize) -> Result<Rows, SinkError> {
        unreachable!("nothing is read again")
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        assert!(load.deletes.is_empty() && load.dead_letters.is_empty(), "the rule closes rows, and rejects none");
        for row in load.upserts.iter() {
            let of_owner = self.current.entry(int(row, 1)).or_default();
            let key = (int(row, 0), int(row, 2));
            of_owner.retain(|current| (current.source_id, current.start) != key);
            if row.get(5) == Value::Int(1) {
                of_owner.push(Current::of(row));
            }
        }
        self.standing.checkpoint = Some(load.checkpoint.clone());
        Ok(())
    }
}
