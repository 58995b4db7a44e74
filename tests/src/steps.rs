//! Changes of the reference table one by one, with their list for the oracle: for tests in which it matters what comes when.

use std::collections::BTreeMap;

use crate::generator::SCHEMA;
use crate::oracle::{Change, Op, Row};
use crate::wall_clock;

/// 2025-01-01 00:00:00.
const FIRST_US: i64 = 1_735_689_600_000_000;

/// An hour and a microsecond: a commit's time is no whole second.
const STEP_US: i64 = 3_600_000_001;

/// Each call gives the SQL of one transaction, whose commit time it pins, and writes down what it changes.
#[derive(Clone, Debug)]
pub struct Steps {
    /// All of them, in order.
    pub changes: Vec<Change>,
    rows: BTreeMap<i64, Row>,
    now_us: i64,
}

impl Default for Steps {
    fn default() -> Self {
        Steps { changes: Vec::new(), rows: BTreeMap::new(), now_us: FIRST_US }
    }
}

impl Steps {
    /// The table, empty.
    pub const SCHEMA: &str = SCHEMA;

    pub fn insert(&mut self, id: i64, owner: i64, info: &str) -> String {
        let time = self.tick();
        let row = self.row(id, owner, info);
        self.rows.insert(id, row.clone());
        self.change(Op::Create, None, Some(row.clone()));
        format!(
            "{time} INSERT INTO shop.item_assets (id, owner_id, asset_info, registered_at) VALUES ({});",
            values(&row)
        )
    }

    /// Registers the row anew.
    pub fn update(&mut self, id: i64, owner: i64, info: &str) -> String {
        let time = self.tick();
        let row = self.row(id, owner, info);
        let old = self.rows.insert(id, row.clone()).expect("the row is there");
        self.change(Op::Update, Some(old), Some(row.clone()));
        let registered = wall_clock::text(row.registered_us.expect("it was just set"));
        format!(
            "{time} UPDATE shop.item_assets SET owner_id = {owner}, asset_info = '{info}', registered_at = '{registered}' WHERE id = {id};"
        )
    }

    pub fn delete(&mut self, id: i64) -> String {
        let time = self.tick();
        let old = self.rows.remove(&id).expect("the row is there");
        self.change(Op::Delete, Some(old), None);
        format!("{time} DELETE FROM shop.item_assets WHERE id = {id};")
    }

    /// Some rows of every kind of change, `n` of them: ids from `first` on.
    pub fn mixed(&mut self, first: i64, n: usize) -> String {
        let mut sql = String::new();
        let end = self.changes.len() + n;
        for id in first.. {
            let owner = id % 7;
            let steps: [&dyn Fn(&mut Steps) -> String; 4] = [
                &|steps| steps.insert(id, owner, &format!("asset {id}")),
                &|steps| steps.update(id, owner, &format!("asset {id} mended")),
                &|steps| steps.update(id, owner + 1, &format!("asset {id} handed on")),
                &|steps| steps.delete(id),
            ];
            // Every third one stays.
            for step in &steps[..if id % 3 == 0 { 3 } else { 4 }] {
                if self.changes.len() == end {
                    return sql;
                }
                sql += &step(self);
                sql += "\n";
            }
        }
        sql
    }

    fn tick(&mut self) -> String {
        self.now_us += STEP_US;
        let (seconds, micros) = (self.now_us / 1_000_000, self.now_us % 1_000_000);
        format!("SET timestamp = {seconds}.{micros:06}, SESSION original_commit_timestamp = {};", self.now_us)
    }

    fn row(&self, id: i64, owner: i64, info: &str) -> Row {
        let second_us = self.now_us / 1_000_000 * 1_000_000;
        Row { id: Some(id), owner: Some(owner), info: Some(info.to_owned()), registered_us: Some(second_us) }
    }

    fn change(&mut self, op: Op, before: Option<Row>, after: Option<Row>) {
        self.changes.push(Change { op, time_us: self.now_us, before, after });
    }
}

fn values(row: &Row) -> String {
    let number = |value: Option<i64>| value.expect("the table has no NULL");
    let (id, owner, registered) = (number(row.id), number(row.owner), wall_clock::text(number(row.registered_us)));
    format!("{id}, {owner}, '{}', '{registered}'", row.info.as_deref().unwrap_or_default())
}
