//! What the log says while chunks are read: from it a chunk's rows are brought to its high watermark.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use crate::event::{Batch, Change, Gtid, Op, Position};
use crate::rows::{Row, Rows, Value};
use crate::source::mysql::GtidSet;

/// Changes that may be needed for a chunk that is open.
#[derive(Default)]
pub struct Window {
    batches: VecDeque<Batch>,
}

/// What of the log a chunk's rows may lack or hold: behind `low`, up to `high`.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    pub low: &'a GtidSet,
    pub high: &'a GtidSet,
}

/// Rows by their identity, as the log leaves them: none where it deletes them, or takes them elsewhere.
pub type Latest<'a> = FxHashMap<Box<[u8]>, Option<Row<'a>>>;

impl Window {
    /// What was read of the log.
    pub fn extend(&mut self, read: Option<(Batch, Position)>) {
        let batch = read.map(|(batch, _)| batch).filter(|batch| !batch.changes.is_empty());
        self.batches.extend(batch);
    }

    /// Forgets what every open chunk has seen: all that is in `low`.
    pub fn forget(&mut self, low: &GtidSet) {
        let is_seen = |batch: &Batch| {
            batch
                .transactions
                .iter()
                .all(|transaction| transaction.gtid.as_ref().is_some_and(|gtid| low.contains(gtid)))
        };
        while self.batches.front().is_some_and(is_seen) {
            self.batches.pop_front();
        }
    }

    /// The changes of a table, in the log's order.
    pub fn changes<'a>(&'a self, table: &'a str, span: Span<'a>) -> impl Iterator<Item = (&'a Batch, &'a Change)> {
        self.batches.iter().flat_map(move |batch| {
            batch
                .changes
                .iter()
                .filter(move |change| batch.schema(change).name == table && span.has(gtid(batch, change)))
                .map(move |change| (batch, change))
        })
    }
}

impl Span<'_> {
    fn has(&self, gtid: Option<&Gtid>) -> bool {
        gtid.is_some_and(|gtid| self.high.contains(gtid) && !self.low.contains(gtid))
    }
}

/// The rows before and after a change, where it has them.
pub fn sides<'a>(batch: &'a Batch, change: &Change) -> [Option<Row<'a>>; 2] {
    match change.op {
        Op::Create | Op::Read => [None, batch.after(change)],
        Op::Update => [batch.before(change), batch.after(change)],
        Op::Delete => [batch.before(change), None],
    }
}

/// The transaction that a change belongs to.
pub fn gtid<'a>(batch: &'a Batch, change: &Change) -> Option<&'a Gtid> {
    batch.transactions[change.transaction as usize].gtid.as_ref()
}

/// Brings together what the log says of the rows that `holds` takes: a row that leaves is gone for those it leaves.
///
/// Done once or twice, the rows become the same: a chunk that was read in the midst of it may hold some of it already.
pub fn latest<'a>(
    changes: impl Iterator<Item = (&'a Batch, &'a Change)>,
    identity: &[usize],
    holds: impl Fn(Row<'a>) -> bool,
) -> Latest<'a> {
    let mut latest = Latest::default();
    for (batch, change) in changes {
        let [before, after] = sides(batch, change);
        if let Some(before) = before.filter(|row| holds(*row)) {
            latest.insert(identify(before, identity), None);
        }
        if let Some(after) = after.filter(|row| holds(*row)) {
            latest.insert(identify(after, identity), Some(after));
        }
    }
    latest
}

/// The rows as they are behind the window.
pub fn corrected(rows: &Rows, latest: Latest<'_>, identity: &[usize]) -> Rows {
    let mut corrected = Rows::new(rows.width());
    for row in rows.iter() {
        if !latest.contains_key(&identify(row, identity)) {
            corrected.push_row(row.values());
        }
    }
    for row in latest.into_values().flatten() {
        corrected.push_row(row.values());
    }
    corrected
}

/// A row's key as bytes, no two alike.
pub fn identify(row: Row<'_>, identity: &[usize]) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(identity.len() * 9);
    for &column in identity {
        let mut push = |tag: u8, value: &[u8]| {
            bytes.push(tag);
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(value);
        };
        match row.get(column) {
            Value::Int(number) => push(1, &number.to_le_bytes()),
            Value::UInt(number) => push(2, &number.to_le_bytes()),
            Value::Float(number) => push(3, &number.to_bits().to_le_bytes()),
            Value::Text(text) => push(4, text.as_bytes()),
            Value::Bytes(value) => push(5, value),
            Value::Null | Value::Absent | Value::Undecoded => push(0, &[]),
        }
    }
    bytes.into()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Field, Logical, RowChange, TableSchema, Transaction};

    const SERVER: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    /// Rows are (id, owner, version); of a change those before and after it.
    type Image = Option<[i64; 3]>;

    fn read(changes: &[(u64, Op, Image, Image)]) -> Option<(Batch, Position)> {
        let field =
            |name: &str| Field { name: name.into(), logical: Logical::Int64, nullable: false, declared: "int".into() };
        let schema = TableSchema {
            name: "shop.assets".into(),
            fields: ["id", "owner", "version"].map(field).into(),
            primary_key: vec![0],
        };
        let mut batch = Batch { tables: vec![Arc::new(schema)], images: vec![Rows::new(3)], ..Batch::default() };
        for &(number, op, before, after) in changes {
            let uuid = uuid::Uuid::parse_str(SERVER).unwrap().into_bytes();
            let gtid = Some(Gtid { uuid, tag: None, number });
            batch.transactions.push(Transaction { log: "log".into(), gtid });
            let mut row = |image: Image| image.map(|image| batch.images[0].push_row(image.map(Value::Int)) as u32);
            let (before, after) = (row(before), row(after));
            batch.push(RowChange { table: 0, op, time_us: 0, before, after, at: 0 });
        }
        Some((batch, Position(String::new())))
    }

    fn set(text: &str) -> GtidSet {
        format!("{SERVER}:{text}").parse().unwrap()
    }

    #[test]
    fn a_chunk_read_anywhere_in_the_window_holds_the_state_at_its_end() {
        use Op::{Create, Delete, Update};
        let mut window = Window::default();
        // Owners below 10 are in the chunk.
        window.extend(read(&[
            (5, Update, Some([9, 1, 0]), Some([9, 1, 1])),
            (6, Update, Some([1, 1, 0]), Some([1, 1, 1])),
            (7, Create, None, Some([2, 1, 0])),
        ]));
        window.extend(read(&[
            (8, Update, Some([2, 1, 0]), Some([2, 20, 1])),
            (9, Update, Some([3, 30, 0]), Some([3, 3, 1])),
            (10, Update, Some([4, 4, 0]), Some([5, 4, 1])),
            (11, Delete, Some([6, 6, 0]), None),
            (12, Create, None, Some([6, 7, 5])),
            (13, Update, Some([1, 1, 1]), Some([1, 1, 9])),
        ]));
        let (low, high) = (set("1-5"), set("1-12"));
        let before: Vec<[i64; 3]> = vec![[1, 1, 0], [4, 4, 0], [6, 6, 0], [7, 7, 0], [9, 1, 1]];
        let wanted: Vec<[i64; 3]> = vec![[1, 1, 1], [3, 3, 1], [5, 4, 1], [6, 7, 5], [7, 7, 0], [9, 1, 1]];
        for read in [before, wanted.clone()] {
            let mut rows = Rows::new(3);
            read.iter().for_each(|row| _ = rows.push_row(row.map(Value::Int)));
            let holds = |row: Row<'_>| matches!(row.get(1), Value::Int(owner) if owner < 10);
            let latest = latest(window.changes("shop.assets", Span { low: &low, high: &high }), &[0], holds);
            let corrected = corrected(&rows, latest, &[0]);
            let mut found: Vec<Vec<Value<'_>>> = corrected.iter().map(|row| row.values().collect()).collect();
            found.sort_by_key(|row| format!("{row:?}"));
            assert_eq!(found, wanted.iter().map(|row| row.map(Value::Int).to_vec()).collect::<Vec<_>>());
        }
        window.forget(&set("1-7"));
        assert_eq!(window.batches.len(), 1, "the second has what the chunk has not seen");
        assert!(window.changes("shop.other", Span { low: &low, high: &high }).next().is_none());
    }
}
