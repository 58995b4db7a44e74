//! The oracle: what the history must be, from the source's own list of changes.
//!
//! Written from the text of the design's first section alone, and simple on purpose: a table and a scan. It names neither
//! the program nor a rule's crate. Its input is never our decoder's output.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    Create,
    /// A row of the first snapshot.
    Read,
    Update,
    Delete,
}

/// A row of the reference table `item_assets`. None is NULL, or a date that does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    pub id: Option<i64>,
    pub owner: Option<i64>,
    pub info: Option<String>,
    /// Microseconds since 1970-01-01, a wall clock.
    pub registered_us: Option<i64>,
}

/// One change as the source's own log has it: an update of the primary key is one update here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub op: Op,
    /// Source time, microseconds since 1970-01-01, a wall clock.
    pub time_us: i64,
    pub before: Option<Row>,
    pub after: Option<Row>,
}

/// A change as one entity sees it. A snapshot may hold one side of a move already: then only the other one is an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// With both images of a move; never an update of the primary key.
    pub change: Change,
    pub side: Side,
}

/// The setting `on-owner-change`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOwnerChange {
    Close,
    Ignore,
}

/// The history's primary key; the owner first, so that an owner's rows lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HistoryKey {
    pub owner_id: i64,
    pub source_id: i64,
    pub start_us: i64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    pub info: Option<String>,
    pub end_us: Option<i64>,
    pub is_current: bool,
    pub op_type: char,
}

pub type HistoryTable = BTreeMap<HistoryKey, HistoryRow>;

/// What the history is after some changes, and which of them could not be decided.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replay {
    pub table: HistoryTable,
    /// In the order of the changes; of one change the side that it leaves first.
    pub rejects: Vec<Reject>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reject {
    /// Position in the list of changes.
    pub change: usize,
    pub side: Side,
    /// Whose change it is; none where the change has no entity at all.
    pub owner: Option<i64>,
    pub reason: Reason,
}

/// Which side of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Stays,
    Leaves,
    Arrives,
}

/// What is NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Id,
    Owner,
    Time,
}

/// The history that `scd2-by-owner` makes of an empty table.
pub fn scd2_by_owner(changes: &[Change], on_owner_change: OnOwnerChange) -> Replay {
    scd2_by_owner_onto(HistoryTable::new(), changes, on_owner_change)
}

/// The history that `scd2-by-owner` makes of a table that holds rows already.
pub fn scd2_by_owner_onto(table: HistoryTable, changes: &[Change], on_owner_change: OnOwnerChange) -> Replay {
    let mut replay = Replay { table, rejects: Vec::new() };
    for (number, change) in changes.iter().enumerate() {
        for event in events(change) {
            replay.apply(number, &event, on_owner_change);
        }
    }
    replay
}

/// The history that `scd2-by-owner` makes of an empty table where each side of a move is an event of its own; the rejects
/// tell positions in this list.
pub fn scd2_by_owner_of_events(events: &[Event], on_owner_change: OnOwnerChange) -> Replay {
    let mut replay = Replay::default();
    for (number, event) in events.iter().enumerate() {
        replay.apply(number, event, on_owner_change);
    }
    replay
}

/// A history, and the events that are not in it: change, side and owner of each, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetAside {
    pub table: HistoryTable,
    pub aside: Vec<(usize, Side, Option<i64>)>,
}

/// What `scd2-by-owner` makes where an event that is rejected, or that the rule cannot decide at all, is set aside.
/// `waits`: the owner's later events follow it.
pub fn scd2_by_owner_set_aside(
    changes: &[Change],
    on_owner_change: OnOwnerChange,
    waits: bool,
    is_undecidable: impl Fn(&Change) -> bool,
) -> SetAside {
    let (mut replay, mut aside, mut waiting) = (Replay::default(), Vec::new(), BTreeSet::new());
    for (number, change) in changes.iter().enumerate() {
        for event in events(change) {
            let owner = event.owner();
            let n_rejects = replay.rejects.len();
            let has_to_wait = owner.is_some_and(|owner| waiting.contains(&owner));
            if !has_to_wait && !is_undecidable(&event.change) {
                replay.apply(number, &event, on_owner_change);
                if replay.rejects.len() == n_rejects {
                    continue;
                }
            }
            aside.push((number, event.side, owner));
            waiting.extend(owner.filter(|_| waits));
        }
    }
    SetAside { table: replay.table, aside }
}

/// The events that are counted where one without an owner on either side is set aside, and the owner's later ones follow it
/// if it `waits`.
pub fn counted_events(changes: &[Change], waits: bool) -> Vec<Event> {
    let has_owner = |row: &Option<Row>| row.as_ref().is_none_or(|row| row.owner.is_some());
    let (mut counted, mut waiting) = (Vec::new(), BTreeSet::new());
    for event in changes.iter().flat_map(events) {
        let Some(owner) = event.owner() else { continue };
        if waits && !(has_owner(&event.change.before) && has_owner(&event.change.after)) {
            waiting.insert(owner);
        }
        if !waiting.contains(&owner) {
            counted.push(event);
        }
    }
    counted
}

/// What a change of the source's log is to the entities: a changed primary key is a delete and a create, and a move is an
/// event of the entity that the row leaves and one of that at which it arrives.
pub fn events(change: &Change) -> Vec<Event> {
    let mut events = Vec::new();
    for change in split(change) {
        let owner = |row: &Option<Row>| row.as_ref().and_then(|row| row.owner);
        match (owner(&change.before), owner(&change.after)) {
            (Some(from), Some(to)) if from != to => {
                events.push(Event { change: change.clone(), side: Side::Leaves });
                events.push(Event { change, side: Side::Arrives });
            }
            _ => events.push(Event { change, side: Side::Stays }),
        }
    }
    events
}

impl Event {
    /// Whose event it is; none where the change has no entity at all.
    pub fn owner(&self) -> Option<i64> {
        let Change { before, after, .. } = &self.change;
        let owner = |row: &Option<Row>| row.as_ref().and_then(|row| row.owner);
        match self.side {
            Side::Leaves => owner(before),
            Side::Arrives => owner(after),
            Side::Stays => owner(before).or(owner(after)),
        }
    }
}

impl Replay {
    fn apply(&mut self, number: usize, event: &Event, on_owner_change: OnOwnerChange) {
        let Event { change, side } = event;
        match (change.op, &change.before, &change.after) {
            (Op::Create | Op::Read, _, Some(new)) => {
                let Some(owner) = new.owner else { return self.reject(number, Side::Stays, None, Reason::Owner) };
                match id_and_time(new) {
                    Ok((id, start)) => self.upsert(id, owner, start, new, 'c'),
                    Err(reason) => self.reject(number, Side::Stays, Some(owner), reason),
                }
            }
            (Op::Delete, Some(old), _) => match old.owner {
                Some(owner) => self.close(owner, None, change.time_us),
                None => self.reject(number, Side::Stays, None, Reason::Owner),
            },
            (Op::Update, Some(old), Some(new)) => match (side, old.owner, new.owner) {
                (Side::Leaves, Some(from), _) => {
                    if on_owner_change == OnOwnerChange::Close {
                        match id_and_time(new) {
                            Ok((id, end)) => self.close(from, Some(id), end),
                            Err(reason) => self.reject(number, Side::Leaves, Some(from), reason),
                        }
                    }
                }
                (Side::Arrives, _, Some(to)) => self.update(number, Side::Arrives, to, new),
                (_, Some(_), Some(owner)) => self.update(number, Side::Stays, owner, new),
                // The reject of the side that has an owner, or nobody's.
                (_, from, to) => self.reject(number, Side::Stays, from.or(to), Reason::Owner),
            },
            _ => panic!("change {number} lacks an image that its op has: {change:?}"),
        }
    }

    fn update(&mut self, number: usize, side: Side, owner: i64, new: &Row) {
        match id_and_time(new) {
            Ok((id, start)) => {
                self.close(owner, None, start);
                self.upsert(id, owner, start, new, 'u');
            }
            Err(reason) => self.reject(number, side, Some(owner), reason),
        }
    }

    fn upsert(&mut self, source_id: i64, owner_id: i64, start_us: i64, row: &Row, op_type: char) {
        let key = HistoryKey { owner_id, source_id, start_us };
        self.table.insert(key, HistoryRow { info: row.info.clone(), end_us: None, is_current: true, op_type });
    }

    /// Closes the owner's current rows: all of them, or those of one asset.
    fn close(&mut self, owner: i64, only: Option<i64>, end_us: i64) {
        let first = HistoryKey { owner_id: owner, source_id: i64::MIN, start_us: i64::MIN };
        let last = HistoryKey { owner_id: owner, source_id: i64::MAX, start_us: i64::MAX };
        for (key, row) in self.table.range_mut(first..=last) {
            if row.is_current && only.is_none_or(|id| id == key.source_id) {
                row.end_us = Some(end_us);
                row.is_current = false;
            }
        }
    }

    fn reject(&mut self, change: usize, side: Side, owner: Option<i64>, reason: Reason) {
        self.rejects.push(Reject { change, side, owner, reason });
    }
}

fn id_and_time(row: &Row) -> Result<(i64, i64), Reason> {
    let id = row.id.ok_or(Reason::Id)?;
    Ok((id, row.registered_us.ok_or(Reason::Time)?))
}

/// A changed primary key is a delete and a create; every other change is itself.
fn split(change: &Change) -> Vec<Change> {
    match (change.op, &change.before, &change.after) {
        (Op::Update, Some(old), Some(new)) if old.id != new.id => vec![
            Change { op: Op::Delete, time_us: change.time_us, before: Some(old.clone()), after: None },
            Change { op: Op::Create, time_us: change.time_us, before: None, after: Some(new.clone()) },
        ],
        _ => vec![change.clone()],
    }
}

/// The table of `count-changes`, by owner.
pub type CountTable = BTreeMap<i64, CountRow>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CountRow {
    pub since_us: i64,
    pub until_us: Option<i64>,
    pub is_current: bool,
    pub changes: i64,
    /// 16 hex digits, behind a mark and `:` where the rule has one.
    pub digest: String,
}

/// The table that `count-changes` makes, from the text of its README.
pub fn count_changes(changes: &[Change]) -> CountTable {
    count_changes_marked(changes, |_| None)
}

/// The table with the setting `columns = "owner_id"`: of an image only the owner is folded.
pub fn count_owners(changes: &[Change]) -> CountTable {
    count_all(changes, |_| None, |row| row.map_or("~".into(), |row| number_text(row.owner)))
}

/// The table where several rules with marks took turns; `mark`: of the rule that has a change, by its place in the list.
pub fn count_changes_marked<'a>(changes: &[Change], mark: impl Fn(usize) -> Option<&'a str>) -> CountTable {
    count_all(changes, mark, image_text)
}

fn count_all<'a>(
    changes: &[Change],
    mark: impl Fn(usize) -> Option<&'a str>,
    image: fn(Option<&Row>) -> String,
) -> CountTable {
    let mut table = CountTable::new();
    for (number, change) in changes.iter().enumerate() {
        let mark = mark(number).map(|mark| format!("{mark}:")).unwrap_or_default();
        events(change).iter().for_each(|event| count(&mut table, event, &mark, image));
    }
    table
}

/// The table that `count-changes` makes where each side of a move is an event of its own.
pub fn count_events(events: &[Event]) -> CountTable {
    let mut table = CountTable::new();
    events.iter().for_each(|event| count(&mut table, event, "", image_text));
    table
}

fn count(table: &mut CountTable, event: &Event, mark: &str, image: fn(Option<&Row>) -> String) {
    let Event { change, side } = event;
    let has_owner = |row: &Option<Row>| row.as_ref().is_some_and(|row| row.owner.is_some());
    // An update that has an owner on one side only is a reject.
    if change.op == Op::Update && !(has_owner(&change.before) && has_owner(&change.after)) {
        return;
    }
    let Some(owner) = event.owner() else { return };
    let moved = match side {
        Side::Stays => 0,
        Side::Leaves => 1,
        Side::Arrives => 2,
    };
    let row = table.entry(owner).or_insert_with(|| CountRow {
        since_us: change.time_us,
        until_us: None,
        is_current: true,
        changes: 0,
        digest: String::new(),
    });
    let op = match change.op {
        Op::Create => 'c',
        Op::Read => 'r',
        Op::Update => 'u',
        Op::Delete => 'd',
    };
    let (before, after) = (image(change.before.as_ref()), image(change.after.as_ref()));
    let text = format!("{}|{op}|{moved}|{}|{before}|{after}", row.digest, change.time_us);
    row.changes += 1;
    row.digest = format!("{mark}{:016x}", fnv1a_64(text.as_bytes()));
}

/// `id,owner_id,asset_info,registered_at`.
fn image_text(row: Option<&Row>) -> String {
    let Some(row) = row else { return "~".into() };
    let text = row.info.as_ref().map_or("~".into(), |text| format!("{}:{text}", text.len()));
    format!("{},{},{text},{}", number_text(row.id), number_text(row.owner), number_text(row.registered_us))
}

fn number_text(value: Option<i64>) -> String {
    value.map_or("~".into(), |value| value.to_string())
}

fn fnv1a_64(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash ^= u64::from(*byte);
        hash = hash.wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a_of_64_bits() {
        // The published vectors of the hash.
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
