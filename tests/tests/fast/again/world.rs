//! A source table that changes, seen and unseen, with what the design's first section says must be emitted of it. Knows
//! the oracle only, and the batches that a source makes of its rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hindsight::event::{Batch, Snapshot};
use hindsight::source::cases::default_table;
use hindsight_tests::oracle::{
    Change, CountTable, HistoryKey, HistoryTable, OnOwnerChange, Op, Row, count_owners, scd2_by_owner,
};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::property::player;

/// 2025-01-01 00:00:00.
const START_US: i64 = 1_735_689_600_000_000;

/// What happens to a row of the source.
#[derive(Clone, Copy, Debug)]
pub enum Deed {
    /// Inserts it, or gives it this owner and info where it is there.
    Write,
    Delete,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub deed: Deed,
    pub id: i64,
    pub owner: i64,
    pub info: &'static str,
    /// Seconds.
    pub registered_s: i64,
}

/// The log goes on, then the source changes unseen and is read again.
#[derive(Clone, Debug)]
pub struct Round {
    pub logged: Vec<Step>,
    pub unseen: Vec<Step>,
    /// A chunk ends with each of these owners, beside the last.
    pub cuts: BTreeSet<i64>,
}

/// Few assets, owners, infos and times, so that equal and late ones are common.
pub fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let step = || {
        let deed = prop_oneof![3 => Just(Deed::Write), 1 => Just(Deed::Delete)];
        let info = prop::sample::select(vec!["a", "b"]);
        (deed, 1..=4_i64, 1..=3_i64, info, 1..=5_i64).prop_map(|(deed, id, owner, info, registered_s)| Step {
            deed,
            id,
            owner,
            info,
            registered_s,
        })
    };
    let cuts = prop::collection::btree_set(1..=3_i64, 0..=2);
    let round = (vec(step(), 0..=6), vec(step(), 0..=4), cuts).prop_map(|(logged, unseen, cuts)| Round {
        logged,
        unseen,
        cuts,
    });
    vec(round, 1..=3)
}

/// The source, and the script of what it hands out.
#[derive(Default)]
pub struct World {
    pub rows: BTreeMap<i64, Row>,
    pub script: Vec<Part>,
    now_s: i64,
}

/// A batch in the oracle's words.
#[derive(Clone, Debug)]
pub enum Part {
    Log(Vec<Change>),
    Chunk(Vec<Change>),
    Ends { time_us: i64 },
}

impl World {
    pub fn of(rounds: &[Round]) -> Self {
        let mut world = World::default();
        for round in rounds {
            let changes: Vec<Change> = round.logged.iter().filter_map(|step| world.step(step)).collect();
            world.script.push(Part::Log(changes));
            for step in &round.unseen {
                world.step(step);
            }
            world.read_again(&round.cuts);
        }
        world
    }

    /// Does it, and says what the log would.
    pub fn step(&mut self, step: &Step) -> Option<Change> {
        let time_us = self.tick();
        let Step { deed, id, owner, info, registered_s } = step;
        let (op, before, after) = match deed {
            Deed::Delete => (Op::Delete, Some(self.rows.remove(id)?), None),
            Deed::Write => {
                let row = Row {
                    id: Some(*id),
                    owner: Some(*owner),
                    info: Some((*info).to_owned()),
                    registered_us: Some(START_US + registered_s * 1_000_000),
                };
                let before = self.rows.insert(*id, row.clone());
                (if before.is_some() { Op::Update } else { Op::Create }, before, Some(row))
            }
        };
        Some(Change { op, time_us, before, after })
    }

    /// All rows, cut by owner, then the end.
    pub fn read_again(&mut self, cuts: &BTreeSet<i64>) {
        let time_us = self.tick();
        let mut chunks: BTreeMap<Option<i64>, Vec<Change>> = cuts.iter().map(|&cut| (Some(cut), Vec::new())).collect();
        for row in self.rows.values() {
            let cut = cuts.iter().copied().find(|&cut| row.owner.is_some_and(|owner| owner <= cut));
            let read = Change { op: Op::Read, time_us, before: None, after: Some(row.clone()) };
            chunks.entry(cut).or_default().push(read);
        }
        self.script.extend(chunks.into_values().map(Part::Chunk));
        self.script.push(Part::Ends { time_us: self.now_us() });
    }

    /// As a source hands it out.
    pub fn batches(&self) -> Vec<Batch> {
        let table = Arc::new(default_table());
        let batch = |changes: &[Change], snapshot| {
            let batch = player::batch(&table, changes, 0..changes.len());
            Batch { snapshot, ..batch }
        };
        let parts = self.script.iter().map(|part| match part {
            Part::Log(changes) => batch(changes, None),
            Part::Chunk(rows) => batch(rows, Some(Snapshot::Again)),
            Part::Ends { time_us } => batch(&[], Some(Snapshot::AgainEnds { table: 0, time_us: *time_us })),
        });
        parts.collect()
    }

    fn tick(&mut self) -> i64 {
        self.now_s += 1;
        self.now_us()
    }

    /// Behind all times of rows, and with a fraction.
    fn now_us(&self) -> i64 {
        START_US + self.now_s * 1_000_000 + 3_600_000_001
    }
}

/// What is emitted and the table that it makes, under `scd2-by-owner`.
pub fn by_owner(script: &[Part]) -> (Vec<Change>, HistoryTable) {
    let mut emitted = Vec::new();
    let mut table = HistoryTable::new();
    let mut met = BTreeSet::new();
    for part in script {
        match part {
            Part::Log(changes) => emitted.extend(changes.iter().cloned()),
            Part::Chunk(rows) => {
                for read in rows {
                    let row = read.after.as_ref().unwrap();
                    let key = (row.owner.unwrap(), row.id.unwrap());
                    met.insert(key);
                    let latest = table.iter().rfind(|(of, _)| (of.owner_id, of.source_id) == key);
                    match latest.map(|(key, history)| image(key, &history.info)) {
                        None => emitted.push(Change { op: Op::Create, ..read.clone() }),
                        Some(before) if before == *row => {}
                        Some(before) => {
                            emitted.push(Change { op: Op::Update, before: Some(before), ..read.clone() });
                        }
                    }
                }
            }
            Part::Ends { time_us } => {
                let is_gone = |key: &HistoryKey| !met.contains(&(key.owner_id, key.source_id));
                let current = table.iter().filter(|(_, history)| history.is_current);
                emitted.extend(current.filter(|(key, _)| is_gone(key)).map(|(key, history)| Change {
                    op: Op::Delete,
                    time_us: *time_us,
                    before: Some(image(key, &history.info)),
                    after: None,
                }));
                met.clear();
            }
        }
        table = scd2_by_owner(&emitted, OnOwnerChange::Close).table;
    }
    (emitted, table)
}

/// The same under `count-changes`, which carries the owner only, folds the owner only and closes nothing.
pub fn counted(script: &[Part]) -> (Vec<Change>, CountTable) {
    let mut emitted: Vec<Change> = Vec::new();
    let mut met = BTreeSet::new();
    let mut table = CountTable::new();
    for part in script {
        match part {
            Part::Log(changes) => emitted.extend(changes.iter().cloned()),
            Part::Chunk(rows) => {
                let owner = |read: &Change| read.after.as_ref().unwrap().owner.unwrap();
                met.extend(rows.iter().map(owner));
                let unknown = rows.iter().filter(|read| !table.contains_key(&owner(read)));
                emitted.extend(unknown.map(|read| Change { op: Op::Create, ..read.clone() }));
            }
            Part::Ends { time_us } => {
                emitted.extend(table.keys().filter(|owner| !met.contains(owner)).map(|&owner| Change {
                    op: Op::Delete,
                    time_us: *time_us,
                    before: Some(Row { owner: Some(owner), ..Row::default() }),
                    after: None,
                }));
                met.clear();
            }
        }
        table = count_owners(&emitted);
    }
    (emitted, table)
}

/// The source row that a history row is of.
pub fn image(key: &HistoryKey, info: &Option<String>) -> Row {
    Row { id: Some(key.source_id), owner: Some(key.owner_id), info: info.clone(), registered_us: Some(key.start_us) }
}
