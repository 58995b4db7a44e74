//! What every `Source` promises, also when it is stopped and started again anywhere.

use hindsight::event::{Batch, Op, Position};
use hindsight::source::{Source, SourceError};

use crate::binlog::Cell;

/// A change as a batch holds it, or as whoever wrote the log says it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub table: String,
    pub op: Op,
    pub time_us: i64,
    pub before: Option<Vec<Cell>>,
    pub after: Option<Vec<Cell>>,
    pub at: u64,
    pub gtid: Option<String>,
}

/// Opens a source at a position or at its beginning, with at most so many changes a batch.
pub type Open<'a> = dyn Fn(usize, Option<&Position>) -> Result<Box<dyn Source>, SourceError> + 'a;

/// A source over a log whose content is known.
pub struct Subject<'a> {
    pub open: &'a Open<'a>,
    /// All that it must hand out, in order.
    pub changes: &'a [Seen],
    /// How many of `changes` each source transaction with any has made.
    pub transactions: &'a [usize],
}

/// Batch sizes that the suite reads with: one by one, inside transactions, all at once.
const SIZES: [usize; 6] = [1, 2, 3, 7, 1000, usize::MAX];

/// The whole suite.
pub async fn check(subject: &Subject<'_>) {
    assert!(subject.changes.len() > 1, "a log without changes shows nothing");
    for size in SIZES {
        let handed = read(&mut *open(subject, size, None)).await;
        let all: Vec<Seen> = handed.iter().flat_map(|(batch, _)| batch.clone()).collect();
        same(&all, subject.changes, &format!("batches of {size}"));
        ends_where_transactions_end(subject, size, &handed);
        positions_move_on(&handed);
        goes_on_from_every_position(subject, size, &handed).await;
        restarted_after_every_batch(subject, size).await;
    }
}

/// Reads to the end: the changes and the position of every batch. The end must stay the end.
pub async fn read(source: &mut dyn Source) -> Vec<(Vec<Seen>, Position)> {
    let mut handed = Vec::new();
    while let Some((batch, position)) = source.next().await.expect("the log is sound") {
        handed.push((seen(&batch), position));
    }
    for _ in 0..2 {
        assert!(source.next().await.expect("the end is no error").is_none(), "after the end there was another batch");
    }
    handed
}

/// Reads as far as it goes: all changes, the last position, and the error that ended it.
pub async fn read_until_it_fails(source: &mut dyn Source) -> (Vec<Seen>, Option<Position>, Option<SourceError>) {
    let (mut changes, mut last) = (Vec::new(), None);
    loop {
        match source.next().await {
            Ok(Some((batch, position))) => {
                changes.extend(seen(&batch));
                last = Some(position);
            }
            Ok(None) => return (changes, last, None),
            Err(error) => return (changes, last, Some(error)),
        }
    }
}

/// The batch's changes; everything that it holds fits together.
pub fn seen(batch: &Batch) -> Vec<Seen> {
    assert_eq!(batch.tables.len(), batch.images.len(), "a list of images for each table");
    for (i, (table, images)) in batch.tables.iter().zip(&batch.images).enumerate() {
        assert_eq!(images.width(), table.fields.len(), "the images of {} have its columns", table.name);
        let twin = batch.tables[..i].iter().find(|other| other.name == table.name);
        assert!(twin.is_none(), "{} has two schemas in one batch", table.name);
    }
    let transactions: Vec<u32> = batch.changes.iter().map(|change| change.transaction).collect();
    assert!(transactions.is_sorted(), "transactions are out of order: {transactions:?}");
    let numbers: std::collections::BTreeSet<u32> = transactions.into_iter().collect();
    assert!(
        numbers.iter().copied().eq(0..batch.transactions.len() as u32),
        "every transaction has changes: {numbers:?}"
    );
    let one = |change| {
        let cells = |row: hindsight::rows::Row<'_>| row.values().map(Cell::from).collect::<Vec<_>>();
        let (before, after) = (batch.before(change), batch.after(change));
        let images = (before.is_some(), after.is_some());
        let wanted = match change.op {
            Op::Create | Op::Read => (false, true),
            Op::Update => (true, true),
            Op::Delete => (true, false),
        };
        assert_eq!(images, wanted, "images of {:?}", change.op);
        Seen {
            table: batch.schema(change).name.clone(),
            op: change.op,
            time_us: change.time_us,
            before: before.map(cells),
            after: after.map(cells),
            at: change.at,
            gtid: batch.transactions[change.transaction as usize].gtid.as_ref().map(ToString::to_string),
        }
    };
    batch.changes.iter().map(one).collect()
}

/// Compares, and shows the first difference only.
#[track_caller]
pub fn same(got: &[Seen], expected: &[Seen], what: &str) {
    if let Some(i) = (0..got.len().max(expected.len())).find(|&i| got.get(i) != expected.get(i)) {
        panic!(
            "{what}: change {i} is\n  {:?}\nand should be\n  {:?}\n({} changes, should be {})",
            got.get(i),
            expected.get(i),
            got.len(),
            expected.len()
        );
    }
}

fn open(subject: &Subject<'_>, size: usize, start: Option<&Position>) -> Box<dyn Source> {
    (subject.open)(size, start).unwrap_or_else(|error| panic!("open at {start:?}: {error}"))
}

/// A batch ends inside a transaction only when that one is larger than a batch.
fn ends_where_transactions_end(subject: &Subject<'_>, size: usize, handed: &[(Vec<Seen>, Position)]) {
    let mut done = 0;
    for (changes, position) in handed {
        done += changes.len();
        // A source may hand out where it begins.
        if done == 0 {
            continue;
        }
        let mut end = 0;
        let around = subject.transactions.iter().find(|&&n| {
            end += n;
            end >= done
        });
        // A batch without changes may come before the first transaction: it says where the source begins.
        if let Some(&n) = around.filter(|_| done > 0 && end != done) {
            assert!(
                n > size,
                "batches of {size}: one ends at {position:?} after {done} changes, in a transaction of {n}"
            );
        }
    }
}

fn positions_move_on(handed: &[(Vec<Seen>, Position)]) {
    for pair in handed.windows(2) {
        assert_ne!(pair[0].1, pair[1].1, "two batches have one position");
    }
}

/// Opened at a position, with any batch size, a source hands out what came after it the first time.
async fn goes_on_from_every_position(subject: &Subject<'_>, size: usize, handed: &[(Vec<Seen>, Position)]) {
    let mut done = 0;
    for (changes, position) in handed {
        done += changes.len();
        for other in [1, 2, size] {
            let rest = read(&mut *open(subject, other, Some(position))).await;
            let rest: Vec<Seen> = rest.into_iter().flat_map(|(batch, _)| batch).collect();
            let what = format!("batches of {size}, gone on at {position:?} in batches of {other}");
            same(&rest, &subject.changes[done..], &what);
        }
    }
}

/// One batch a life.
async fn restarted_after_every_batch(subject: &Subject<'_>, size: usize) {
    let (mut all, mut position) = (Vec::new(), None);
    loop {
        let mut source = open(subject, size, position.as_ref());
        let Some((batch, next)) = source.next().await.expect("the log is sound") else { break };
        all.extend(seen(&batch));
        assert_ne!(position.as_ref(), Some(&next), "a life that leads nowhere");
        position = Some(next);
    }
    same(&all, subject.changes, &format!("batches of {size}, restarted after each"));
}
