//! How far a snapshot is: a part of the position until the log is behind all of it.

use serde::{Deserialize, Serialize};

use super::key::Key;
use crate::source::mysql::GtidSet;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Whether the history may hold the rows already: they are compared with it.
    pub again: bool,
    /// Whether the log was read up to where the snapshot was asked for.
    pub begun: bool,
    pub tables: Vec<Table>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// `database.table`
    pub name: String,
    pub stage: Stage,
    /// The columns that its chunks are cut by; empty where it is one chunk, or not planned yet.
    pub key: Vec<String>,
    /// Chunks whose rows were handed out, in the key's order; neighbours with one high watermark are one.
    pub done: Vec<Chunk>,
    /// Rows that were handed out.
    pub rows: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Asked,
    Reading,
    /// All rows are handed out; what else the history holds is not yet said to be gone.
    Read,
    Ended,
}

/// A range of keys that was read at once, and up to where its rows hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The first key in it; none: from the beginning.
    pub from: Option<Key>,
    /// The first key behind it; none: to the end.
    pub to: Option<Key>,
    /// The high watermark: the transactions that its rows hold beside those before the snapshot's beginning.
    pub high: GtidSet,
}

impl Progress {
    /// Nothing is read yet.
    pub fn asked(again: bool, begun: bool, tables: impl IntoIterator<Item = String>) -> Self {
        let table = |name| Table { name, stage: Stage::Asked, key: Vec::new(), done: Vec::new(), rows: 0 };
        Progress { again, begun, tables: tables.into_iter().map(table).collect() }
    }

    /// Whether rows are still to be read.
    pub fn is_reading(&self) -> bool {
        self.tables.iter().any(|table| table.stage != Stage::Ended)
    }

    /// All transactions that some chunk holds: behind them nothing is filtered any more.
    pub fn high(&self) -> GtidSet {
        let chunks = self.tables.iter().flat_map(|table| &table.done);
        chunks.fold(GtidSet::default(), |all, chunk| all.union(&chunk.high))
    }
}

impl Chunk {
    pub fn has(&self, key: &Key) -> bool {
        self.from.as_ref().is_none_or(|from| key.cmp_known(from).is_ge())
            && self.to.as_ref().is_none_or(|to| key.cmp_known(to).is_lt())
    }
}

impl Table {
    /// The ranges that are still to be read.
    pub fn gaps(&self) -> Vec<(Option<Key>, Option<Key>)> {
        let mut gaps = Vec::new();
        let mut from = Some(None);
        for chunk in &self.done {
            if let Some(from) = from.take()
                && from != chunk.from
            {
                gaps.push((from, chunk.from.clone()));
            }
            from = chunk.to.clone().map(Some);
        }
        gaps.extend(from.map(|from| (from, None)));
        gaps
    }

    /// Puts a chunk in its place among those that are done.
    pub fn add(&mut self, chunk: Chunk, rows: u64) {
        self.rows += rows;
        let is_behind = |done: &Chunk| match (&done.from, &chunk.to) {
            (Some(from), Some(to)) => from.cmp_known(to).is_ge(),
            _ => done.from.is_some() && chunk.to.is_some(),
        };
        let at = self.done.iter().position(is_behind).unwrap_or(self.done.len());
        self.done.insert(at, chunk);
        for left in [at, at.wrapping_sub(1)] {
            let Some([one, other]) = self.done.get(left..).and_then(|rest| rest.first_chunk::<2>()) else { continue };
            if one.to.is_some() && one.to == other.from && one.high == other.high {
                self.done[left].to = self.done.remove(left + 1).to;
            }
        }
    }
}

/// As a word of a position: JSON without a blank.
impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = serde_json::to_string(self).expect("progress is plain data");
        f.write_str(&json.replace(' ', "\\u0020"))
    }
}

impl std::str::FromStr for Progress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::snapshot::key::Part;

    fn chunk(from: Option<i64>, to: Option<i64>, high: &str) -> Chunk {
        let key = |number: i64| Key(vec![Part::Int(number)]);
        Chunk { from: from.map(key), to: to.map(key), high: high.parse().unwrap() }
    }

    #[test]
    fn neighbours_with_one_watermark_become_one_whatever_order_they_are_done_in() {
        let a = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
        let mut table = Progress::asked(false, true, ["shop.a b".to_owned()]).tables.remove(0);
        for (from, to, high, wanted) in
            [(Some(20), Some(30), "", 1), (None, Some(10), a, 2), (Some(30), None, "", 2), (Some(10), Some(20), "", 2)]
        {
            table.add(chunk(from, to, high), 7);
            assert_eq!(table.done.len(), wanted, "{:?}", table.done);
            let ends = |(from, to): (Option<Key>, Option<Key>)| Chunk { from, to, high: GtidSet::default() };
            let gaps: Vec<Chunk> = table.gaps().into_iter().map(ends).collect();
            let read = |number: i64| table.done.iter().any(|chunk| chunk.has(&Key(vec![Part::Int(number)])));
            for number in [5, 10, 15, 20, 25, 30, 35] {
                let left = gaps.iter().any(|gap| gap.has(&Key(vec![Part::Int(number)])));
                assert_ne!(read(number), left, "{number} of {table:?}");
            }
        }
        assert_eq!(table.gaps(), []);
        assert_eq!(table.done, [chunk(None, Some(10), a), chunk(Some(10), None, "")]);
        assert_eq!(table.rows, 28);
        let progress = Progress { again: true, begun: true, tables: vec![table] };
        assert_eq!(progress.high().to_string(), a);
        let text = progress.to_string();
        assert!(!text.contains(' '), "{text}");
        assert_eq!(text.parse(), Ok(progress));
    }
}
