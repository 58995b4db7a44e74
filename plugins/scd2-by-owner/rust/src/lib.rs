//! The default rule: the history of an owner's assets, one version of an asset at a time.
//!
//! | change | effect |
//! |---|---|
//! | `c`, `r` | a new current row, from the row's own time |
//! | `u` | every current row of the owner is closed at the row's own time; then a new current row |
//! | `d` | every current row of the owner is closed at the delete's source time |
//!
//! A row that moves to another owner is closed under the old one and does the rest of `u` under the new one.

use hindsight_rule::{
    Cell, Change, Description, Entity, History, LogicalType, Moved, Op, Opened, Plan, Row, Rule, Scope, Setting,
    Settings, Shown, Table, Value, field,
};

pub struct ByOwner {
    on_owner_change: OnOwnerChange,
    /// Names for messages.
    id: String,
    time: String,
    /// How many columns are carried beside id, owner and time.
    n_columns: usize,
}

enum OnOwnerChange {
    /// Close the moved row under its old owner.
    Close,
    Ignore,
}

/// Places of the image columns asked for: id, owner, time, then the others.
const ID: usize = 0;
const TIME: usize = 2;

/// Place in the image before, where that is asked for.
const OLD_ID: usize = 0;

/// The only history column shown: `source_id`.
const SHOWN_ID: usize = 0;

/// Places in `revise`.
const REVISE_END: usize = 0;
const REVISE_CURRENT: usize = 1;

impl Rule for ByOwner {
    fn describe() -> Description {
        let setting = |name: &str, default: &str, summary: &str| Setting {
            name: name.into(),
            summary: summary.into(),
            default: Some(default.into()),
        };
        Description {
            name: "scd2-by-owner".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "The history of an owner's assets: a change closes the owner's current rows and opens a new one."
                .into(),
            settings: vec![
                setting("id", "id", "the column that identifies an asset; it becomes source_id"),
                setting("owner", "owner_id", "the column whose history is kept: the entity key"),
                setting("time", "registered_at", "the DATETIME or TIMESTAMP column that says from when a row holds"),
                setting("columns", "asset_info", "other columns to keep, separated by commas"),
                setting("on-owner-change", "close", "what a move does to the row of the old owner: close or ignore"),
            ],
        }
    }

    fn configure(tables: &[Table], settings: &Settings) -> Result<(Self, Plan), String> {
        let (id, owner, time) = (settings.get("id"), settings.get("owner"), settings.get("time"));
        let columns = settings.list("columns");
        let on_owner_change = match settings.get("on-owner-change") {
            "close" => OnOwnerChange::Close,
            "ignore" => OnOwnerChange::Ignore,
            other => return Err(format!("on-owner-change = {other:?} is not known; write \"close\" or \"ignore\"")),
        };
        for table in tables {
            let field = field(table, time)?;
            if field.logical != LogicalType::Datetime {
                return Err(format!(
                    "the time column {} of {} is {}; it has to be a DATETIME or TIMESTAMP",
                    field.name, table.name, field.declared
                ));
            }
        }
        let asked: Vec<String> =
            [id, owner, time].into_iter().map(str::to_owned).chain(columns.iter().cloned()).collect();
        if let Some(twice) = (1..asked.len()).find(|&i| asked[..i].contains(&asked[i])) {
            return Err(format!("column {} is named twice among id, owner, time and columns", asked[twice]));
        }
        let mut history = vec![
            History::carries("source_id", id),
            History::carries(owner, owner),
            History::carries("effective_start_ts", time),
        ];
        history.extend(columns.iter().map(|column| History::carries(column, column)));
        history.extend([
            History::made("effective_end_ts", LogicalType::Datetime, true, "datetime(6)"),
            History::made("is_current", LogicalType::Boolean, false, "boolean"),
            History::made("op_type", LogicalType::Text, false, "varchar(1)"),
        ]);
        // A changed primary key is a delete and a create, so where the id is the primary key both images of a move hold the
        // same one. Elsewhere it may change with the owner: only the image before says which row leaves.
        let id_is_key = |table: &Table| matches!(table.primary_key[..], [key] if table.fields[key as usize].name == id);
        let plan = Plan {
            entity_key: vec![owner.into()],
            after: asked,
            before: if tables.iter().all(id_is_key) { Vec::new() } else { vec![id.into()] },
            history,
            primary_key: vec!["source_id".into(), owner.into(), "effective_start_ts".into()],
            key: vec![owner.into()],
            start: "effective_start_ts".into(),
            end: "effective_end_ts".into(),
            current: Some("is_current".into()),
            scope: Scope::CurrentRows,
            read: vec!["source_id".into()],
            revise: vec!["effective_end_ts".into(), "is_current".into()],
            replay_safe: true,
            complete: false,
        };
        Ok((ByOwner { on_owner_change, id: id.into(), time: time.into(), n_columns: columns.len() }, plan))
    }

    fn entity(&self, entity: &mut Entity<'_, '_>) -> Result<(), String> {
        let mut current: Vec<Current<'_>> = entity.history().map(Current::Shown).collect();
        for change in entity.changes() {
            let Some(after) = change.after.filter(|_| change.op != Op::Delete) else {
                self.close_all(entity, &mut current, change, change.time);
                continue;
            };
            match (change.op, change.moved) {
                (Op::Create | Op::Read, _) => {
                    if self.id_and_start(entity, change, after).is_some() {
                        current.push(self.open(entity, change, after, "c"));
                    }
                }
                (_, Moved::Leaves) => self.leave(entity, &mut current, change, after),
                _ => {
                    if let Some((_, start)) = self.id_and_start(entity, change, after) {
                        self.close_all(entity, &mut current, change, start);
                        current.push(self.open(entity, change, after, "u"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A current row: from the history, or of this batch.
enum Current<'a> {
    Shown(Shown<'a>),
    Opened(Opened, Value<'a>),
}

impl Current<'_> {
    fn id(&self) -> Value<'_> {
        match self {
            Current::Shown(shown) => shown.row.value(SHOWN_ID),
            Current::Opened(_, id) => *id,
        }
    }
}

impl ByOwner {
    /// Rejects a row without an id or a time.
    fn id_and_start<'a>(
        &self,
        entity: &mut Entity<'_, 'a>,
        change: Change<'a>,
        after: Row<'a>,
    ) -> Option<(Value<'a>, i64)> {
        let (id, start) = (after.value(ID), after.int(TIME));
        match (id, start) {
            (Value::Null, _) => entity.reject(change, format!("{} is NULL", self.id)),
            (_, None) => entity.reject(change, format!("{} is NULL, or a date that does not exist", self.time)),
            (id, Some(start)) => return Some((id, start)),
        }
        None
    }

    fn open<'a>(
        &self,
        entity: &mut Entity<'_, 'a>,
        change: Change<'a>,
        after: Row<'a>,
        op: &'static str,
    ) -> Current<'a> {
        let carried = after.values().map(Cell::Value);
        let made = [Cell::Value(Value::Null), true.into(), op.into()];
        Current::Opened(entity.open_row(change, carried.chain(made)), after.value(ID))
    }

    fn close_all<'a>(&self, entity: &mut Entity<'_, 'a>, current: &mut Vec<Current<'a>>, change: Change<'a>, end: i64) {
        current.drain(..).for_each(|row| self.close(entity, &row, change, end));
    }

    /// The row's own current version under its old owner.
    fn leave<'a>(
        &self,
        entity: &mut Entity<'_, 'a>,
        current: &mut Vec<Current<'a>>,
        change: Change<'a>,
        after: Row<'a>,
    ) {
        if matches!(self.on_owner_change, OnOwnerChange::Ignore) {
            return;
        }
        let Some((new_id, end)) = self.id_and_start(entity, change, after) else { return };
        let id = change.before.map_or(new_id, |before| before.value(OLD_ID));
        current.retain(|row| {
            let leaves = row.id() == id;
            if leaves {
                self.close(entity, row, change, end);
            }
            !leaves
        });
    }

    fn close<'a>(&self, entity: &mut Entity<'_, 'a>, row: &Current<'a>, change: Change<'a>, end: i64) {
        match *row {
            Current::Shown(shown) => {
                entity.revise(shown, change, REVISE_END, end);
                entity.revise(shown, change, REVISE_CURRENT, false);
            }
            Current::Opened(opened, _) => {
                let end_column = 3 + self.n_columns;
                entity.set(opened, change, end_column, end);
                entity.set(opened, change, end_column + 1, false);
            }
        }
    }
}

hindsight_rule::export!(ByOwner);
