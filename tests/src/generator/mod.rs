//! A load over the reference table, made from a seed: source transactions, the changes that each makes, and their SQL.
//!
//! The list is what a test's oracle replays; it is never read back from a log. Times are pinned: the SQL sets the
//! transaction's commit time, so that a delete ends history where this list says.

mod sql;

use std::collections::HashMap;

use crate::oracle::{Change, Op, Row};
pub use sql::{play, served, write_transactions};

/// The table that the load writes.
pub const SCHEMA: &str = "\
CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4;
CREATE TABLE shop.item_assets (
  id INT NOT NULL PRIMARY KEY,
  owner_id INT NOT NULL,
  asset_info VARCHAR(255) NOT NULL,
  registered_at DATETIME NOT NULL
) DEFAULT CHARSET = utf8mb4;
";

const SECOND_US: i64 = 1_000_000;

/// What is made.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub seed: u64,
    /// At least so many changes; the last transaction is whole.
    pub changes: usize,
    /// Few of them give each a long history.
    pub owners: u64,
    pub texts: Texts,
    /// Of a hundred inserts and updates, so many are registered hours to weeks before what they follow; of a hundred
    /// updates, as many at the time that their row holds from already.
    pub late_percent: u64,
    /// Commit times lie between these, microseconds since 1970.
    pub first_us: i64,
    pub last_us: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// Such as a person would type.
    Plain,
    /// Also empty ones, quotes, scripts of several bytes a character, and the longest that fit.
    Wild,
}

/// What `fixtures/item_assets.binlog` holds, and so what the demo shows.
pub const DEMO: Load = Load {
    seed: 2025,
    changes: 21_000,
    owners: 1_500,
    texts: Texts::Plain,
    late_percent: 2,
    first_us: FIRST_US,
    last_us: LAST_US,
};

/// 2024-01-01 06:00:00 and 2025-12-31 18:00:00.
const FIRST_US: i64 = 1_704_088_800_000_000;
const LAST_US: i64 = 1_767_204_000_000_000;

/// A source transaction.
#[derive(Clone, Debug)]
pub struct Transaction {
    pub commit_us: i64,
    pub statements: Vec<Statement>,
}

/// One statement; its rows in the order in which the server logs them.
#[derive(Clone, Debug)]
pub enum Statement {
    Insert(Vec<Row>),
    Update(Vec<(Row, Row)>),
    /// Changes the primary key, perhaps the owner with it.
    Rekey(Row, Row),
    Delete(Vec<Row>),
}

impl Default for Load {
    fn default() -> Self {
        Load {
            seed: 1,
            changes: 10_000,
            owners: 200,
            texts: Texts::Wild,
            late_percent: 8,
            first_us: FIRST_US,
            last_us: LAST_US,
        }
    }
}

impl Load {
    /// The transactions, always the same for the same load.
    pub fn transactions(&self) -> impl Iterator<Item = Transaction> + use<> {
        let mut making = Making::new(*self);
        std::iter::from_fn(move || making.transaction())
    }

    /// Every change, in order.
    pub fn list(&self) -> Vec<Change> {
        self.transactions().flat_map(|transaction| transaction.changes()).collect()
    }
}

impl Transaction {
    /// Several transactions as one, which commits when the last of them would have.
    pub fn merged(transactions: Vec<Transaction>) -> Self {
        let commit_us = transactions.last().expect("one transaction at least").commit_us;
        Transaction { commit_us, statements: transactions.into_iter().flat_map(|each| each.statements).collect() }
    }

    pub fn changes(&self) -> Vec<Change> {
        let change = |op, before, after| Change { op, time_us: self.commit_us, before, after };
        let mut changes = Vec::new();
        for statement in &self.statements {
            match statement {
                Statement::Insert(rows) => {
                    changes.extend(rows.iter().map(|row| change(Op::Create, None, Some(row.clone()))));
                }
                Statement::Update(rows) => changes
                    .extend(rows.iter().map(|(old, new)| change(Op::Update, Some(old.clone()), Some(new.clone())))),
                Statement::Rekey(old, new) => {
                    changes.push(change(Op::Update, Some(old.clone()), Some(new.clone())));
                }
                Statement::Delete(rows) => {
                    changes.extend(rows.iter().map(|row| change(Op::Delete, Some(row.clone()), None)));
                }
            }
        }
        changes
    }
}

const NOT_NULL: &str = "the table has no NULL";

fn id(row: &Row) -> i64 {
    row.id.expect(NOT_NULL)
}

/// The table as it stands while the load is made.
struct Making {
    load: Load,
    random: Random,
    made: usize,
    /// Of the last transaction.
    commit_us: i64,
    live: Vec<Row>,
    /// Places in `live` by id.
    places: HashMap<i64, usize>,
    /// Rows that are gone: their keys are used again now and then.
    gone: Vec<Row>,
    next_id: i64,
}

impl Making {
    fn new(load: Load) -> Self {
        let random = Random(load.seed);
        Making {
            load,
            random,
            made: 0,
            commit_us: load.first_us,
            live: Vec::new(),
            places: HashMap::new(),
            gone: Vec::new(),
            next_id: 1,
        }
    }

    fn transaction(&mut self) -> Option<Transaction> {
        if self.made >= self.load.changes {
            return None;
        }
        // Ten changes a transaction on average.
        let wanted = match self.random.below(20) {
            0 | 1 => 1,
            19 => 20 + self.random.below(30) as usize,
            _ => 4 + self.random.below(11) as usize,
        };
        // Evenly over the load's time; a later transaction is never the earlier one.
        let span_us = self.load.last_us - self.load.first_us;
        let at = |n_changes: usize| {
            self.load.first_us + (span_us as i128 * n_changes as i128 / self.load.changes as i128) as i64
        };
        let (earliest_us, latest_us) = (at(self.made), at(self.made + 1));
        self.commit_us = earliest_us + self.random.below((latest_us - earliest_us).max(1) as u64) as i64;
        let mut statements = Vec::new();
        let mut n_changes = 0;
        while n_changes < wanted {
            let (statement, n) = self.statement(wanted - n_changes);
            n_changes += n;
            statements.push(statement);
        }
        self.made += n_changes;
        Some(Transaction { commit_us: self.commit_us, statements })
    }

    /// One statement of at most `room` changes.
    fn statement(&mut self, room: usize) -> (Statement, usize) {
        let choice = if self.live.len() < 20 { 0 } else { self.random.below(100) };
        match choice {
            0..45 => {
                let n = room.min(1 + self.random.below(8) as usize);
                (Statement::Insert((0..n).map(|i| self.insert(room - i)).collect()), n)
            }
            45..82 => {
                let ids = self.some_ids(room.min(7));
                let n = ids.len();
                let rows = ids.into_iter().enumerate().map(|(i, id)| self.update(id, room - i)).collect();
                (Statement::Update(rows), n)
            }
            82..86 => {
                let id = self.some_id();
                let (old, new) = self.rekey(id, room);
                (Statement::Rekey(old, new), 1)
            }
            _ => {
                let mut ids = self.some_ids(room.min(5));
                ids.sort_unstable();
                let n = ids.len();
                (Statement::Delete(ids.into_iter().map(|id| self.remove(id)).collect()), n)
            }
        }
    }

    fn insert(&mut self, left: usize) -> Row {
        let mut row = Row {
            id: Some(0),
            owner: Some(self.owner()),
            info: Some(self.info()),
            registered_us: Some(self.registered(left)),
        };
        match self.gone_row() {
            Some(gone) => {
                row.id = gone.id;
                if self.random.percent(50) {
                    // The very row that history holds closed.
                    (row.owner, row.registered_us) = (gone.owner, gone.registered_us);
                }
            }
            None => row.id = Some(self.fresh_id()),
        }
        self.places.insert(id(&row), self.live.len());
        self.live.push(row.clone());
        row
    }

    fn update(&mut self, id: i64, left: usize) -> (Row, Row) {
        let old = self.live[self.places[&id]].clone();
        let mut new = old.clone();
        // Always another text: an update that changes nothing is not logged.
        while new.info == old.info {
            new.info = Some(self.info());
        }
        if self.random.percent(18) {
            new.owner = Some(self.owner());
        }
        // Now and then registered at the very time that the row holds from.
        if !self.random.percent(self.load.late_percent) {
            new.registered_us = Some(self.registered(left));
        }
        let place = self.places[&id];
        self.live[place] = new.clone();
        (old, new)
    }

    fn rekey(&mut self, old_id: i64, left: usize) -> (Row, Row) {
        let old = self.remove(old_id);
        self.gone.pop();
        let new_id = match self.gone_row() {
            Some(gone) => id(&gone),
            None => self.fresh_id(),
        };
        let mut new = Row { id: Some(new_id), registered_us: Some(self.registered(left)), ..old.clone() };
        if self.random.percent(50) {
            new.owner = Some(self.owner());
        }
        self.gone.push(old.clone());
        self.places.insert(new_id, self.live.len());
        self.live.push(new.clone());
        (old, new)
    }

    fn remove(&mut self, id: i64) -> Row {
        let place = self.places.remove(&id).expect("the row is there");
        let row = self.live.swap_remove(place);
        if let Some(moved) = self.live.get(place) {
            self.places.insert(self::id(moved), place);
        }
        self.gone.push(row.clone());
        row
    }

    fn fresh_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id - 1
    }

    fn gone_row(&mut self) -> Option<Row> {
        if self.gone.is_empty() || !self.random.percent(12) {
            return None;
        }
        let place = self.random.below(self.gone.len() as u64) as usize;
        Some(self.gone.swap_remove(place))
    }

    fn owner(&mut self) -> i64 {
        1 + self.random.below(self.load.owners) as i64
    }

    fn some_id(&mut self) -> i64 {
        let place = self.random.below(self.live.len() as u64) as usize;
        id(&self.live[place])
    }

    /// One to `most`, none of them twice.
    fn some_ids(&mut self, most: usize) -> Vec<i64> {
        let mut ids = Vec::new();
        for _ in 0..1 + self.random.below(most as u64) {
            let id = self.some_id();
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// Just before the commit, each row a second after the one before it (`left`: changes until the commit, this one
    /// included); late ones hours to weeks earlier.
    fn registered(&mut self, left: usize) -> i64 {
        let mut seconds = self.commit_us / SECOND_US - left as i64;
        if self.random.percent(self.load.late_percent) {
            seconds -= 3_600 + self.random.below(60 * 86_400) as i64;
        }
        seconds * SECOND_US
    }

    fn info(&mut self) -> String {
        const THINGS: &[&str] =
            &["laptop", "monitor", "phone", "tablet", "camera", "printer", "badge", "car", "desk", "headset"];
        let thing = THINGS[self.random.below(THINGS.len() as u64) as usize];
        let (number, room) = (1 + self.random.below(40), 1 + self.random.below(30));
        let wild = if self.load.texts == Texts::Wild { self.random.below(100) } else { 99 };
        match wild {
            0..4 => String::new(),
            4 => ["x", "ß", "東", "💾"][self.random.below(4) as usize].repeat(255),
            5..15 => format!("Gerät nº {number} – 東京 💾 {room}"),
            15..20 => format!("it's \"{thing}\", half \\ of {number}; -- {room}"),
            _ => format!("{thing} {number}, room {room}"),
        }
    }
}

/// SplitMix64: the same numbers for the same seed, on every machine and for ever.
pub(crate) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
