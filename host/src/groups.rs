//! Changes by entity: what a rule is given to decide on.

use rustc_hash::FxHashMap;

use crate::event::{Batch, Change, Op, Sides};
use crate::history::EntityRows;
use crate::rows::{Row, Rows, Value};
use crate::rule::Plan;

/// A batch's changes by entity, with the entities' history rows.
#[derive(Clone, Debug)]
pub struct Groups<'a> {
    pub batch: &'a Batch,
    /// The entities' keys, one row per group, columns in the order of the plan's `entity_key`. No NULL, none twice.
    pub keys: Rows,
    /// Whole history rows, one entity per group.
    pub history: EntityRows,
    /// Group `g` has the entries `offsets[g]..offsets[g + 1]`, never none, in the source's order.
    pub offsets: Vec<u32>,
    pub entries: Vec<Entry>,
}

/// A change as one entity sees it. A change that moves a row between entities has two entries, one in each group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Position in [`Batch::changes`].
    pub change: u32,
    pub moved: Moved,
}

/// The numbers of the WIT contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    Stays = 0,
    Leaves = 1,
    Arrives = 2,
}

impl Moved {
    /// Of what [`Moved::side`] says; none of anything else.
    pub fn of_side(side: Option<&str>) -> Option<Self> {
        [Moved::Stays, Moved::Leaves, Moved::Arrives].into_iter().find(|moved| moved.side() == side)
    }

    /// The value of the header `hindsight.move`; none where nothing moves.
    pub fn side(self) -> Option<&'static str> {
        match self {
            Moved::Stays => None,
            Moved::Leaves => Some("leaves"),
            Moved::Arrives => Some("arrives"),
        }
    }
}

/// A change that has no entity on one side or on any: it never reaches the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoEntity {
    /// Position in [`Batch::changes`].
    pub change: u32,
    /// The other side's entity, by its group where the batch has one for it: it is this entity's reject.
    pub entity: Option<String>,
    pub reason: String,
}

/// Groups a batch by the plan's entity key. The history is empty: the sink fills it in.
///
/// # Errors
/// A column that the rule asks for is absent from an image or cannot be decoded; the text names column, type and place.
pub fn group<'a>(batch: &'a Batch, plan: &Plan) -> Result<(Groups<'a>, Vec<NoEntity>), String> {
    let key_width = plan.tables.first().map_or(0, |table| table.entity_key.len());
    let mut grouping = Grouping {
        numbers: FxHashMap::default(),
        keys: Rows::new(key_width),
        placed: Vec::with_capacity(batch.changes.len()),
        key_bytes: Vec::new(),
    };
    let mut no_entity = Vec::new();
    for (number, change) in batch.changes.iter().enumerate() {
        let number = number as u32;
        require_columns(batch, change, plan)?;
        let key = &plan.tables[change.table as usize].entity_key;
        match entities(batch, change, key) {
            Ok(seen) => {
                for (row, moved) in seen.into_iter().flatten() {
                    grouping.place(row, key, Entry { change: number, moved });
                }
            }
            Err(entity) => no_entity.push(without_entity(batch, number, key, entity)),
        }
    }
    Ok((grouping.finish(batch), no_entity))
}

/// The entities that a change is for, in order, each by the row that names it. Two where it moves a row between them.
///
/// # Errors
/// The key is NULL on a side; gives the row of the side that has one.
pub fn entities<'a>(
    batch: &'a Batch,
    change: &Change,
    key: &[usize],
) -> Result<[Option<(Row<'a>, Moved)>; 2], Option<Row<'a>>> {
    let (before, after) = (batch.before(change), batch.after(change));
    let (old, new) = match change.op {
        Op::Create | Op::Read => (None, after),
        Op::Delete => (before, None),
        Op::Update => (before, after),
    };
    let keyed = |row: &Row<'_>| key.iter().all(|&column| row.get(column) != Value::Null);
    match (old, new) {
        (Some(old), Some(new)) if keyed(&old) && keyed(&new) => {
            if key.iter().all(|&column| old.get(column) == new.get(column)) {
                return Ok([Some((new, Moved::Stays)), None]);
            }
            let leaves = (change.sides != Sides::After).then_some((old, Moved::Leaves));
            let arrives = (change.sides != Sides::Before).then_some((new, Moved::Arrives));
            Ok([leaves, arrives])
        }
        (Some(row), None) | (None, Some(row)) if keyed(&row) => Ok([Some((row, Moved::Stays)), None]),
        _ => Err(old.filter(keyed).or(new.filter(keyed))),
    }
}

impl<'a> Groups<'a> {
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The group of an entry.
    pub fn group_of(&self, entry: u32) -> usize {
        self.offsets.partition_point(|&offset| offset <= entry) - 1
    }

    pub fn change(&self, entry: u32) -> &'a Change {
        &self.batch.changes[self.entries[entry as usize].change as usize]
    }

    /// `7`, or `1, "eu"`: an entity's key for messages.
    pub fn entity(&self, group: usize) -> String {
        key_text(self.keys.row(group).values())
    }

    /// The groups with those of their entries that `is_kept` says, and their history; a group without any is left out.
    pub fn keep(&self, mut is_kept: impl FnMut(usize, Entry) -> bool) -> Groups<'a> {
        let mut kept = Groups::none(self.batch, self);
        for group in 0..self.len() {
            let entries = &self.entries[self.offsets[group] as usize..self.offsets[group + 1] as usize];
            let first = kept.entries.len();
            kept.entries.extend(entries.iter().copied().filter(|entry| is_kept(group, *entry)));
            if kept.entries.len() > first {
                kept.push_group(self, group);
            }
        }
        kept
    }

    /// Without a group, in the shape of another.
    fn none(batch: &'a Batch, shape: &Groups<'_>) -> Groups<'a> {
        Groups {
            batch,
            keys: Rows::new(shape.keys.width()),
            history: EntityRows { offsets: vec![0], rows: Rows::new(shape.history.rows.width()) },
            offsets: vec![0],
            entries: Vec::new(),
        }
    }

    /// Appends another's group, whose entries were appended before.
    fn push_group(&mut self, from: &Groups<'_>, group: usize) {
        self.keys.push_row(from.keys.row(group).values());
        for row in from.history.offsets[group]..from.history.offsets[group + 1] {
            self.history.rows.push_row(from.history.rows.row(row as usize).values());
        }
        self.history.offsets.push(self.history.rows.len() as u32);
        self.offsets.push(self.entries.len() as u32);
    }

    /// Some of the groups, with their history.
    pub fn part(&self, groups: std::ops::Range<usize>) -> Groups<'a> {
        let mut part = Groups::none(self.batch, self);
        for group in groups {
            part.entries
                .extend_from_slice(&self.entries[self.offsets[group] as usize..self.offsets[group + 1] as usize]);
            part.push_group(self, group);
        }
        part
    }
}

struct Grouping {
    /// Group by the key's bytes.
    numbers: FxHashMap<Box<[u8]>, u32>,
    keys: Rows,
    /// Entries in the batch's order, each with its group.
    placed: Vec<(u32, Entry)>,
    key_bytes: Vec<u8>,
}

impl Grouping {
    fn place(&mut self, row: Row<'_>, key: &[usize], entry: Entry) {
        self.key_bytes.clear();
        for &column in key {
            row.get(column).encode(&mut self.key_bytes);
        }
        let group = match self.numbers.get(self.key_bytes.as_slice()) {
            Some(&group) => group,
            None => {
                let group = self.keys.push_row(key.iter().map(|&column| row.get(column))) as u32;
                self.numbers.insert(self.key_bytes.as_slice().into(), group);
                group
            }
        };
        self.placed.push((group, entry));
    }

    /// A counting sort by group, stable, so that each group's entries stay in the source's order.
    fn finish(self, batch: &Batch) -> Groups<'_> {
        let n_groups = self.keys.len();
        let mut offsets = vec![0_u32; n_groups + 1];
        for (group, _) in &self.placed {
            offsets[*group as usize + 1] += 1;
        }
        for group in 0..n_groups {
            offsets[group + 1] += offsets[group];
        }
        let mut next = offsets.clone();
        let mut entries = vec![Entry { change: 0, moved: Moved::Stays }; self.placed.len()];
        for (group, entry) in self.placed {
            let place = &mut next[group as usize];
            entries[*place as usize] = entry;
            *place += 1;
        }
        let history = EntityRows { offsets: vec![0; n_groups + 1], rows: Rows::default() };
        Groups { batch, keys: self.keys, history, offsets, entries }
    }
}

/// `entity`: the side of a move that has its key.
fn without_entity(batch: &Batch, change: u32, key: &[usize], entity: Option<Row<'_>>) -> NoEntity {
    let schema = batch.schema(&batch.changes[change as usize]);
    let names: Vec<&str> = key.iter().map(|&column| schema.fields[column].name.as_str()).collect();
    let side = if entity.is_some() { " on one side of the change" } else { "" };
    NoEntity {
        change,
        entity: entity.map(|row| key_text(key.iter().map(|&column| row.get(column)))),
        reason: format!("the entity key ({}) is NULL{side}", names.join(", ")),
    }
}

fn key_text<'v>(values: impl Iterator<Item = Value<'v>>) -> String {
    let texts: Vec<String> = values
        .map(|value| match value {
            Value::Int(value) => value.to_string(),
            Value::UInt(value) => value.to_string(),
            Value::Float(value) => value.to_string(),
            Value::Text(text) => format!("{text:?}"),
            Value::Bytes(bytes) => format!("0x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
            Value::Null | Value::Absent | Value::Undecoded => "NULL".into(),
        })
        .collect();
    texts.join(", ")
}

/// Everything that the rule asks for must be there: history made from half a row would be silently wrong.
fn require_columns(batch: &Batch, change: &Change, plan: &Plan) -> Result<(), String> {
    let wanted = &plan.tables[change.table as usize];
    if change.op == Op::Update {
        require_key(batch, change)?;
    }
    let images = [("before", batch.before(change), &wanted.before), ("after", batch.after(change), &wanted.after)];
    for (side, image, columns) in images {
        let Some(image) = image else { continue };
        for &column in wanted.entity_key.iter().chain(columns) {
            let flaw = match image.get(column) {
                Value::Absent => {
                    "is not in the row image; set binlog_row_image=FULL on the source and start from a newer log"
                }
                Value::Undecoded => "cannot be decoded by this version; leave it out of the rule's settings",
                _ => continue,
            };
            let schema = batch.schema(change);
            let field = &schema.fields[column];
            return Err(format!(
                "{}: column {}.{} ({}) of the {side} image, which the rule asks for, {flaw}",
                batch.place(change),
                schema.name,
                field.name,
                field.declared
            ));
        }
    }
    Ok(())
}

/// An update of a key that cannot be read may be a change of the key, which is a delete and a create.
fn require_key(batch: &Batch, change: &Change) -> Result<(), String> {
    let schema = batch.schema(change);
    for image in [batch.before(change), batch.after(change)].into_iter().flatten() {
        if let Some(&column) = schema.primary_key.iter().find(|&&column| image.get(column) == Value::Undecoded) {
            let field = &schema.fields[column];
            return Err(format!(
                "{}: column {}.{} ({}) is a part of the primary key and cannot be decoded by this version, so whether this \
                 update changed the key is not known; leave the table out of source.tables",
                batch.place(change),
                schema.name,
                field.name,
                field.declared
            ));
        }
    }
    Ok(())
}
