//! Plays the oracle's changes through production: its grouping, a component, a sink in memory. A reject leaves no trace and
//! the play goes on, as with an operator who skips.

use std::sync::Arc;

use hindsight::event::{Batch, Field, Logical, Op, Position, RowChange, TableSchema, Transaction};
use hindsight::groups::{self, Moved};
use hindsight::history::{Checkpoint, HistorySchema, Load};
use hindsight::rows::{Row, Rows, Value};
use hindsight::rule::bindings::wit;
use hindsight::rule::{Plan, Rule, WasmRule};
use hindsight::sink::{Memory, Sink};
use hindsight::source::cases::default_table;
use hindsight_tests::components::component;
use hindsight_tests::oracle::{
    self, Change, CountRow, CountTable, HistoryKey, HistoryRow, HistoryTable, OnOwnerChange, Reason, Reject, Side,
};

/// Is shown a batch and the component's answer to it.
type Watch = dyn Fn(wit::Batch, &wit::Output);

pub struct Player {
    rule: WasmRule,
    plan: Arc<Plan>,
    table: Arc<TableSchema>,
    runtime: tokio::runtime::Runtime,
    watch: Box<Watch>,
}

/// What is decided and committed a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    Nothing,
    EveryBatch,
}

pub struct Played {
    pub rows: Rows,
    schema: HistorySchema,
    pub rejects: Vec<Reject>,
}

impl Player {
    pub fn scd2_by_owner(on_owner_change: OnOwnerChange) -> Player {
        let setting = match on_owner_change {
            OnOwnerChange::Close => "close",
            OnOwnerChange::Ignore => "ignore",
        };
        Player::new("scd2-by-owner", vec![("on-owner-change".into(), setting.into())])
    }

    pub fn count_changes() -> Player {
        Player::new("count-changes", Vec::new())
    }

    fn new(rule: &str, settings: Vec<(String, String)>) -> Player {
        let mut rule = WasmRule::new(component(rule), settings).unwrap();
        let table = Arc::new(default_table());
        let plan = rule.configure(std::slice::from_ref(&table)).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Player { rule, plan, table, runtime, watch: Box::new(|_, _| {}) }
    }

    /// A player whose every batch and answer `watch` sees as they cross the boundary.
    pub fn watched(self, watch: impl Fn(wit::Batch, &wit::Output) + 'static) -> Player {
        Player { watch: Box::new(watch), ..self }
    }

    /// Onto an empty history. A batch ends before each of the changes `edges`, which ascend.
    pub fn play(&mut self, changes: &[Change], edges: &[usize], repeat: Repeat) -> Played {
        let mut sink = Memory::default();
        let mut rejects = Vec::new();
        self.runtime.block_on(sink.prepare(&self.plan.history)).unwrap();
        let starts = std::iter::once(0).chain(edges.iter().copied());
        let ends = edges.iter().copied().chain([changes.len()]);
        for (start, end) in starts.zip(ends) {
            let batch = batch(&self.table, changes, start..end);
            let rejected = self.decide(&batch, &mut sink);
            if repeat == Repeat::EveryBatch {
                assert_eq!(self.decide(&batch, &mut sink), rejected, "rejects of a batch decided twice");
            }
            rejects.extend(rejected);
        }
        rejects.sort();
        Played { rows: sink.rows(), schema: self.plan.history.clone(), rejects }
    }

    fn decide(&mut self, batch: &Batch, sink: &mut Memory) -> Vec<Reject> {
        let (mut groups, no_entity) = groups::group(batch, &self.plan).unwrap();
        let place = |change: u32| batch.changes[change as usize].at as usize;
        let mut rejects: Vec<Reject> = no_entity
            .into_iter()
            .map(|none| Reject {
                change: place(none.change),
                side: Side::Stays,
                owner: none.entity.map(|entity| entity.parse().unwrap()),
                reason: Reason::Owner,
            })
            .collect();
        if groups.is_empty() {
            return rejects;
        }
        groups.history = self.runtime.block_on(sink.entity_rows(&groups.keys, self.plan.scope)).unwrap();
        let packed = self.rule.pack(&groups).unwrap();
        let answer = self.rule.call(&packed).unwrap_or_else(|error| panic!("{error}"));
        let decision = self.rule.check(&answer, &groups).unwrap_or_else(|error| panic!("{error}"));
        (self.watch)(packed, &answer);
        rejects.extend(decision.rejects.iter().map(|reject| {
            let entry = groups.entries[reject.entry as usize];
            Reject {
                change: place(entry.change),
                side: match entry.moved {
                    Moved::Stays => Side::Stays,
                    Moved::Leaves => Side::Leaves,
                    Moved::Arrives => Side::Arrives,
                },
                owner: Some(groups.entity(groups.group_of(reject.entry)).parse().unwrap()),
                reason: reason(&reject.reason),
            }
        }));
        let checkpoint = Checkpoint { source: "random".into(), position: Position(String::new()) };
        let load = Load { upserts: decision.upserts, deletes: decision.deletes, ..Load::empty(checkpoint) };
        self.runtime.block_on(sink.commit(&load)).unwrap();
        rejects
    }
}

impl Played {
    /// History rows that were read elsewhere.
    pub fn of(rows: Rows, schema: HistorySchema) -> Self {
        Played { rows, schema, rejects: Vec::new() }
    }

    pub fn history(&self) -> HistoryTable {
        self.by_key(|cells| {
            let key = HistoryKey {
                source_id: int(cells.get("source_id")).unwrap(),
                owner_id: int(cells.get("owner_id")).unwrap(),
                start_us: int(cells.get("effective_start_ts")).unwrap(),
            };
            let row = HistoryRow {
                info: text(cells.get("asset_info")),
                end_us: int(cells.get("effective_end_ts")),
                is_current: int(cells.get("is_current")).unwrap() == 1,
                op_type: text(cells.get("op_type")).unwrap().chars().next().unwrap(),
            };
            (key, row)
        })
    }

    pub fn counts(&self) -> CountTable {
        self.by_key(|cells| {
            let row = CountRow {
                since_us: int(cells.get("since")).unwrap(),
                until_us: int(cells.get("until")),
                is_current: int(cells.get("is_current")).unwrap() == 1,
                changes: int(cells.get("changes")).unwrap(),
                digest: text(cells.get("digest")).unwrap(),
            };
            (int(cells.get("owner_id")).unwrap(), row)
        })
    }

    fn by_key<T: FromIterator<R>, R>(&self, read: impl Fn(Cells<'_>) -> R) -> T {
        self.rows.iter().map(|row| read(Cells { row, schema: &self.schema })).collect()
    }
}

/// A history row's values by name.
struct Cells<'p> {
    row: Row<'p>,
    schema: &'p HistorySchema,
}

impl<'p> Cells<'p> {
    fn get(&self, name: &str) -> Value<'p> {
        let column = self.schema.columns.iter().position(|column| column.field.name == name);
        self.row.get(column.unwrap_or_else(|| panic!("the history has no column {name}")))
    }
}

/// Each change a source transaction of its own; `at` is its place in the list.
pub fn batch(table: &Arc<TableSchema>, changes: &[Change], range: std::ops::Range<usize>) -> Batch {
    let mut batch =
        Batch { tables: vec![table.clone()], images: vec![Rows::new(table.fields.len())], ..Batch::default() };
    for (number, change) in changes.iter().enumerate().take(range.end).skip(range.start) {
        batch.transactions.push(Transaction { log: "random".into(), gtid: None });
        let mut image = |row: &Option<oracle::Row>| {
            let row = row.as_ref()?;
            let values = table.fields.iter().map(|field: &Field| match (field.name.as_str(), field.logical) {
                ("id", Logical::Int64) => row.id.map_or(Value::Null, Value::Int),
                ("owner_id", Logical::Int64) => row.owner.map_or(Value::Null, Value::Int),
                ("asset_info", Logical::Text) => row.info.as_deref().map_or(Value::Null, Value::Text),
                ("registered_at", Logical::Datetime) => row.registered_us.map_or(Value::Null, Value::Int),
                other => panic!("the reference table has no column {other:?}"),
            });
            Some(batch.images[0].push_row(values) as u32)
        };
        let (before, after) = (image(&change.before), image(&change.after));
        let op = match change.op {
            oracle::Op::Create => Op::Create,
            oracle::Op::Read => Op::Read,
            oracle::Op::Update => Op::Update,
            oracle::Op::Delete => Op::Delete,
        };
        batch.push(RowChange { table: 0, op, time_us: change.time_us, before, after, at: number as u64 });
    }
    batch
}

fn reason(text: &str) -> Reason {
    match text {
        "id is NULL" => Reason::Id,
        "registered_at is NULL, or a date that does not exist" => Reason::Time,
        other => panic!("a reject with the reason {other:?}"),
    }
}

fn int(value: Value<'_>) -> Option<i64> {
    match value {
        Value::Null => None,
        Value::Int(value) => Some(value),
        other => panic!("{other:?} is no integer"),
    }
}

fn text(value: Value<'_>) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Text(text) => Some(text.to_owned()),
        other => panic!("{other:?} is no text"),
    }
}
