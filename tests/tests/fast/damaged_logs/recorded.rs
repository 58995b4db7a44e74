//! A log that a real server wrote: read in any batches, gone on with from many places, cut and damaged at many more.

use hindsight::event::Position;
use hindsight::source::Source;
use hindsight_tests::binlog;
use hindsight_tests::contract::source::{Seen, read, same, seen};
use hindsight_tests::program::{Folder, repository};

use super::{NAME, outcome, write};

/// What the fixture's README says of it.
const CHANGES: usize = 21_008;

fn bytes() -> Vec<u8> {
    std::fs::read(repository().join("tests/fixtures/item_assets.binlog")).expect("read the recorded log")
}

/// A folder with the recorded log, and all its changes.
async fn recorded() -> (Folder, Vec<Seen>) {
    let folder = Folder::new();
    write(&folder, NAME, &bytes());
    let handed = read(&mut binlog::open(folder.path(), &[NAME], usize::MAX, None).unwrap()).await;
    let changes: Vec<Seen> = handed.into_iter().flat_map(|(changes, _)| changes).collect();
    // A changed primary key is one change of the log and two here.
    let halves = changes.windows(2).filter(|pair| pair[0].at == pair[1].at && pair[0].before.is_some());
    let n_moved = halves.filter(|pair| pair[0].after.is_none() && pair[1].before.is_none()).count();
    assert_eq!(changes.len() - n_moved, CHANGES);
    (folder, changes)
}

#[tokio::test]
async fn a_recorded_log_goes_on_from_anywhere() {
    let (folder, changes) = recorded().await;
    let open = |batch, start: Option<&Position>| binlog::open(folder.path(), &[NAME], batch, start).unwrap();
    for batch in [1, 7, 500] {
        let handed = read(&mut open(batch, None)).await;
        let all: Vec<Seen> = handed.iter().flat_map(|(changes, _)| changes.clone()).collect();
        same(&all, &changes, &format!("batches of {batch}"));
        let mut done = 0;
        for (number, (part, position)) in handed.iter().enumerate() {
            done += part.len();
            let whole = done == changes.len() || changes[done - 1].gtid != changes[done].gtid;
            assert!(whole || changes_of(&changes, done) > batch, "batches of {batch}: one ends inside a transaction");
            if number % (handed.len() / 12 + 1) == 0 {
                let rest = read(&mut open(1000, Some(position))).await;
                let rest: Vec<Seen> = rest.into_iter().flat_map(|(changes, _)| changes).collect();
                same(&rest, &changes[done..], &format!("batches of {batch}, gone on at {position:?}"));
            }
        }
    }
    // One batch a life.
    let (mut all, mut position) = (Vec::new(), None);
    while let Some((batch, next)) = open(700, position.as_ref()).next().await.unwrap() {
        all.extend(seen(&batch));
        position = Some(next);
    }
    same(&all, &changes, "restarted after each batch");
}

/// How many changes the transaction around a change has.
fn changes_of(changes: &[Seen], at: usize) -> usize {
    changes.iter().filter(|change| change.gtid == changes[at].gtid).count()
}

#[tokio::test]
async fn a_recorded_log_that_is_cut_or_damaged_gives_its_whole_transactions() {
    let (folder, changes) = recorded().await;
    let whole = bytes();
    let at_edge = |n: usize| n == 0 || n == changes.len() || changes[n - 1].gtid != changes[n].gtid;
    // Steps that fall on every kind of event sooner or later.
    for (number, place) in (300..whole.len()).step_by(48_611).enumerate() {
        let cut = number % 2 == 0;
        let mut bytes = whole.clone();
        if cut {
            bytes.truncate(place);
        } else {
            bytes[place] ^= 1 << (number % 8);
        }
        write(&folder, NAME, &bytes);
        let got = outcome(&folder, &[NAME], 1000, None).await;
        let what = if cut { format!("cut at byte {place}") } else { format!("byte {place} is another") };
        let n = got.changes.len();
        same(&got.changes, &changes[..n], &what);
        assert!(at_edge(n), "{what}: half a transaction was handed out");
        let error = got.error.unwrap_or_else(|| panic!("{what}: nobody noticed")).to_string();
        assert!(error.contains(NAME), "{what}: {error}");
        // At most the transaction at that place is missing of those that lie before it.
        let before = changes.iter().take_while(|change| (change.at as usize) < place).count();
        let in_hand = if n < changes.len() { changes_of(&changes, n) } else { 0 };
        assert!(before <= n + in_hand, "{what}: {n} changes, though {before} lie before");

        write(&folder, NAME, &whole);
        let rest = outcome(&folder, &[NAME], 1000, got.last.as_ref()).await;
        assert!(rest.error.is_none(), "{what}: {:?}", rest.error);
        same(&rest.changes, &changes[n..], &format!("{what}, gone on at {:?}", got.last));
    }
}
