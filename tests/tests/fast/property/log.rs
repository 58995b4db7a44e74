//! Random logs that a table could have written: what is updated or deleted is the row that was there.

use std::collections::BTreeMap;
use std::fmt;

use hindsight_tests::oracle::{Change, OnOwnerChange, Op, Row};
use proptest::collection::vec;
use proptest::prelude::*;

pub struct Log {
    pub changes: Vec<Change>,
    /// Batches end after these changes, beside the last one.
    pub edges: Vec<usize>,
    pub on_owner_change: OnOwnerChange,
}

/// A step before it is known which rows there are: shrinking it shrinks the log.
#[derive(Clone, Debug)]
pub struct Step {
    deed: Deed,
    row: Row,
    other_id: i64,
    time_us: i64,
    batch_ends: bool,
}

#[derive(Clone, Copy, Debug)]
enum Deed {
    Create,
    Read,
    Update,
    Move,
    ChangeKey,
    ChangeKeyAndMove,
    Delete,
}

/// 2025-01-01 00:00:00.
const START_US: i64 = 1_735_689_600_000_000;

/// Seconds after the start, of rows. Few, so that equal and late ones are common.
const TIMES_S: [i64; 5] = [10, 20, 30, 40, 50];

/// Microseconds after the start, of the source: on a row's time, between two, with a fraction.
const SOURCE_TIMES_US: [i64; 6] = [5_000_000, 20_000_000, 25_250_000, 35_000_001, 40_999_999, 60_000_000];

pub fn logs() -> impl Strategy<Value = (Vec<Step>, bool)> {
    (vec(step(), 2..=18), any::<bool>())
}

fn step() -> impl Strategy<Value = Step> {
    let deed = prop_oneof![
        6 => Just(Deed::Create),
        2 => Just(Deed::Read),
        5 => Just(Deed::Update),
        8 => Just(Deed::Move),
        1 => Just(Deed::ChangeKey),
        2 => Just(Deed::ChangeKeyAndMove),
        3 => Just(Deed::Delete),
    ];
    let row = (
        prop::option::weighted(0.97, 1..=3_i64),
        prop::option::weighted(0.93, 1..=3_i64),
        prop::option::weighted(0.9, prop::sample::select(vec!["a", "b", ""])),
        prop::option::weighted(0.92, prop::sample::select(TIMES_S.to_vec())),
    );
    let source_time = prop::sample::select(SOURCE_TIMES_US.to_vec());
    (deed, row, 1..=3_i64, source_time, any::<bool>()).prop_map(
        |(deed, (id, owner, info, registered_s), other_id, source_us, batch_ends)| Step {
            deed,
            row: Row {
                id,
                owner,
                info: info.map(str::to_owned),
                registered_us: registered_s.map(|seconds| START_US + seconds * 1_000_000),
            },
            other_id,
            time_us: START_US + source_us,
            batch_ends,
        },
    )
}

impl From<(Vec<Step>, bool)> for Log {
    fn from((steps, ignore): (Vec<Step>, bool)) -> Log {
        let edges = (0..steps.len().saturating_sub(1)).filter(|&step| steps[step].batch_ends).map(|step| step + 1);
        let edges = edges.collect();
        let mut table = BTreeMap::new();
        let changes = steps.into_iter().map(|step| change(&mut table, step)).collect();
        let on_owner_change = if ignore { OnOwnerChange::Ignore } else { OnOwnerChange::Close };
        Log { changes, edges, on_owner_change }
    }
}

/// Does the step to the table. A row that is not there may be updated or deleted all the same, as where a log begins late.
fn change(table: &mut BTreeMap<Option<i64>, Row>, step: Step) -> Change {
    let Step { deed, row, other_id, time_us, .. } = step;
    let before = table.get(&row.id).cloned().unwrap_or_else(|| row.clone());
    let (op, before, after) = match deed {
        Deed::Create => (Op::Create, None, Some(row)),
        Deed::Read => (Op::Read, None, Some(row)),
        Deed::Update => (Op::Update, Some(before.clone()), Some(Row { owner: before.owner, ..row })),
        Deed::Move => (Op::Update, Some(before), Some(row)),
        Deed::ChangeKey => {
            (Op::Update, Some(before.clone()), Some(Row { id: Some(other_id), owner: before.owner, ..row }))
        }
        Deed::ChangeKeyAndMove => (Op::Update, Some(before), Some(Row { id: Some(other_id), ..row })),
        Deed::Delete => (Op::Delete, Some(before), None),
    };
    if let Some(before) = &before {
        table.remove(&before.id);
    }
    if let Some(after) = &after {
        table.insert(after.id, after.clone());
    }
    Change { op, time_us, before, after }
}

/// One change a line, with seconds since the start, and a line where a batch ends.
impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |us: i64| (us - START_US) as f64 / 1e6;
        let row = |row: &Row| {
            let number = |value: Option<i64>| value.map_or("NULL".into(), |value| value.to_string());
            let time = row.registered_us.map_or("NULL".into(), |us| format!("{}s", seconds(us)));
            format!("(id {}, owner {}, {:?}, at {time})", number(row.id), number(row.owner), row.info)
        };
        writeln!(f, "on-owner-change = {:?}, times in seconds after 2025-01-01", self.on_owner_change)?;
        for (number, change) in self.changes.iter().enumerate() {
            if self.edges.contains(&number) {
                writeln!(f, "    -- a batch ends")?;
            }
            let images: Vec<String> = [&change.before, &change.after].into_iter().flatten().map(row).collect();
            writeln!(f, "    {number}: {:?} at {}s {}", change.op, seconds(change.time_us), images.join(" -> "))?;
        }
        Ok(())
    }
}
