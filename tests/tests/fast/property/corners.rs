//! Which rows and corners of the rule's definition a log meets: each change is looked at beside the history before it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hindsight_tests::oracle::{
    Change, HistoryKey, HistoryRow, HistoryTable, OnOwnerChange, Op, Row, scd2_by_owner_onto,
};

/// All that is counted, in the order of the definition.
const CORNERS: &[&str] = &[
    "c opens a current row",
    "r opens one, written as c",
    "u closes the owner's current rows and opens one",
    "u closes several assets of its owner",
    "u finds nothing to close",
    "d closes the owner's current rows",
    "d closes several assets of its owner",
    "d finds nothing to close",
    "d's end has a fraction",
    "d without an id or a time is done",
    "closing keeps a 'c'",
    "closing keeps a 'u'",
    "u with the start of a current row of its id ends as one current row",
    "u at the start of another asset's row leaves an empty interval",
    "a re-used primary key of a closed row overwrites it",
    "c with the primary key of a current row overwrites it",
    "late: a row ends before its start",
    "move, close: the asset's own row is closed under the old owner",
    "move, close: the old owner's other assets stay open",
    "move, close: nothing of the asset is open under the old owner",
    "move, ignore: the asset's row stays open under the old owner",
    "move: the new owner's current rows are closed",
    "move: late under the old or the new owner",
    "move: there and back",
    "a changed primary key is d and c",
    "a changed primary key is d and c also with another owner",
    "a changed primary key with an owner on one side only",
    "id NULL is a reject",
    "time NULL is a reject",
    "owner NULL everywhere is nobody's reject",
    "owner NULL before is a reject of the new owner",
    "owner NULL after is a reject of the old owner",
    "move, close, with a NULL: a reject on both sides",
    "move, ignore, with a NULL: a reject of the new owner",
    "a later change of an owner with a reject is decided",
    "asset_info NULL is kept",
];

/// In how many cases each was met.
#[derive(Default)]
pub struct Corners(BTreeMap<&'static str, usize>);

impl Corners {
    pub fn count(&mut self, changes: &[Change], on_owner_change: OnOwnerChange) {
        for corner in met(changes, on_owner_change) {
            assert!(CORNERS.contains(&corner), "{corner} is not in the list");
            *self.0.entry(corner).or_default() += 1;
        }
    }

    pub fn rarer_than(&self, cases: usize) -> Vec<&'static str> {
        CORNERS.iter().copied().filter(|corner| self.met(corner) < cases).collect()
    }

    fn met(&self, corner: &str) -> usize {
        self.0.get(corner).copied().unwrap_or(0)
    }
}

impl fmt::Display for Corners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        CORNERS.iter().try_for_each(|corner| writeln!(f, "{:>7}  {corner}", self.met(corner)))
    }
}

fn met(changes: &[Change], on_owner_change: OnOwnerChange) -> BTreeSet<&'static str> {
    let mut met = BTreeSet::new();
    let mut table = HistoryTable::new();
    let mut rejected = BTreeSet::new();
    let mut moves = BTreeSet::new();
    for change in changes {
        look(change, &table, on_owner_change, &mut |corner, is_met| {
            if is_met {
                met.insert(corner);
            }
        });
        let after = scd2_by_owner_onto(table.clone(), std::slice::from_ref(change), on_owner_change);
        let owners = [&change.before, &change.after].map(|row| row.as_ref().and_then(|row| row.owner));
        if let ([Some(from), Some(to)], true, true) = (owners, keeps_key(change), after.rejects.is_empty())
            && from != to
        {
            let id = change.after.as_ref().and_then(|row| row.id);
            if moves.contains(&(id, to, from)) {
                met.insert("move: there and back");
            }
            moves.insert((id, from, to));
        }
        if after.rejects.is_empty() && owners.iter().flatten().any(|owner| rejected.contains(owner)) {
            met.insert("a later change of an owner with a reject is decided");
        }
        rejected.extend(after.rejects.iter().filter_map(|reject| reject.owner));
        table = after.table;
    }
    met
}

fn keeps_key(change: &Change) -> bool {
    matches!((&change.before, &change.after), (Some(before), Some(after)) if before.id == after.id)
}

/// One change beside the history before it.
fn look(
    change: &Change,
    table: &HistoryTable,
    on_owner_change: OnOwnerChange,
    meet: &mut impl FnMut(&'static str, bool),
) {
    let current = |owner: i64| -> Vec<(&HistoryKey, &HistoryRow)> {
        table.iter().filter(|(key, row)| key.owner_id == owner && row.is_current).collect()
    };
    let whole = |row: &Row| Some((row.id?, row.owner?, row.registered_us?));
    if let (Op::Create | Op::Read | Op::Update, Some(after)) = (change.op, &change.after) {
        let moves = keeps_key(change) && change.before.as_ref().is_some_and(|before| before.owner != after.owner);
        let has_owner = after.owner.is_some() && change.before.as_ref().is_none_or(|before| before.owner.is_some());
        meet("id NULL is a reject", after.id.is_none() && has_owner);
        meet("time NULL is a reject", after.registered_us.is_none() && after.id.is_some() && has_owner && !moves);
        meet("asset_info NULL is kept", after.info.is_none() && whole(after).is_some() && has_owner);
        meet(
            "a re-used primary key of a closed row overwrites it",
            row_with_key(table, after).is_some_and(|row| !row.is_current) && has_owner,
        );
    }
    match (change.op, &change.before, &change.after) {
        (Op::Create | Op::Read, _, Some(new)) => {
            let opens = whole(new).is_some();
            meet("c opens a current row", opens && change.op == Op::Create);
            meet("r opens one, written as c", opens && change.op == Op::Read);
            meet("owner NULL everywhere is nobody's reject", new.owner.is_none());
            let overwrites = row_with_key(table, new).is_some_and(|row| row.is_current);
            meet("c with the primary key of a current row overwrites it", overwrites);
        }
        (Op::Delete, Some(old), _) => match old.owner {
            Some(owner) => {
                let closed = current(owner);
                meet("d closes the owner's current rows", !closed.is_empty());
                meet("d closes several assets of its owner", several_assets(&closed));
                meet("d finds nothing to close", closed.is_empty());
                meet("d's end has a fraction", !closed.is_empty() && change.time_us % 1_000_000 != 0);
                let bare = old.id.is_none() || old.registered_us.is_none();
                meet("d without an id or a time is done", bare && !closed.is_empty());
                look_at_closed(&closed, change.time_us, meet);
            }
            None => meet("owner NULL everywhere is nobody's reject", true),
        },
        (Op::Update, Some(old), Some(new)) if old.id != new.id => {
            let both = old.owner.is_some() && whole(new).is_some();
            meet("a changed primary key is d and c", both && old.owner == new.owner);
            meet("a changed primary key is d and c also with another owner", both && old.owner != new.owner);
            let one = old.owner.is_some() != new.owner.is_some();
            meet("a changed primary key with an owner on one side only", one);
        }
        (Op::Update, Some(old), Some(new)) => match (old.owner, new.owner, whole(new)) {
            (None, None, _) => meet("owner NULL everywhere is nobody's reject", true),
            (None, Some(_), _) => meet("owner NULL before is a reject of the new owner", true),
            (Some(_), None, _) => meet("owner NULL after is a reject of the old owner", true),
            (Some(from), Some(to), None) if from != to => {
                meet("move, close, with a NULL: a reject on both sides", on_owner_change == OnOwnerChange::Close);
                meet("move, ignore, with a NULL: a reject of the new owner", on_owner_change == OnOwnerChange::Ignore);
            }
            (_, _, None) => {}
            (Some(from), Some(owner), Some((id, _, start))) => {
                let closed = current(owner);
                let late = |rows: &[(&HistoryKey, &HistoryRow)]| rows.iter().any(|(key, _)| start < key.start_us);
                look_at_closed(&closed, start, meet);
                if from == owner {
                    meet("u closes the owner's current rows and opens one", !closed.is_empty());
                    meet("u closes several assets of its owner", several_assets(&closed));
                    meet("u finds nothing to close", closed.is_empty());
                    let starts = |same: bool| {
                        closed.iter().any(|(key, _)| key.start_us == start && (key.source_id == id) == same)
                    };
                    meet("u with the start of a current row of its id ends as one current row", starts(true));
                    meet("u at the start of another asset's row leaves an empty interval", starts(false));
                    return;
                }
                meet("move: the new owner's current rows are closed", !closed.is_empty());
                let (own, others): (Vec<_>, Vec<_>) =
                    current(from).into_iter().partition(|(key, _)| key.source_id == id);
                if on_owner_change == OnOwnerChange::Ignore {
                    meet("move, ignore: the asset's row stays open under the old owner", !own.is_empty());
                    return meet("move: late under the old or the new owner", late(&closed));
                }
                meet("move, close: the asset's own row is closed under the old owner", !own.is_empty());
                meet("move, close: the old owner's other assets stay open", !own.is_empty() && !others.is_empty());
                meet("move, close: nothing of the asset is open under the old owner", own.is_empty());
                meet("move: late under the old or the new owner", late(&closed) || late(&own));
            }
        },
        _ => unreachable!("every op has its images"),
    }
}

fn look_at_closed(closed: &[(&HistoryKey, &HistoryRow)], end_us: i64, meet: &mut impl FnMut(&'static str, bool)) {
    meet("closing keeps a 'c'", closed.iter().any(|(_, row)| row.op_type == 'c'));
    meet("closing keeps a 'u'", closed.iter().any(|(_, row)| row.op_type == 'u'));
    meet("late: a row ends before its start", closed.iter().any(|(key, _)| end_us < key.start_us));
}

fn several_assets(rows: &[(&HistoryKey, &HistoryRow)]) -> bool {
    rows.iter().map(|(key, _)| key.source_id).collect::<BTreeSet<_>>().len() > 1
}

fn row_with_key<'t>(table: &'t HistoryTable, row: &Row) -> Option<&'t HistoryRow> {
    table.get(&HistoryKey { source_id: row.id?, owner_id: row.owner?, start_us: row.registered_us? })
}
