//! Files that end too early, at every byte: a copy that was not finished, a disk that was full.

use hindsight::source::SourceError;
use hindsight_tests::contract::source::same;
use hindsight_tests::program::Folder;

use super::{NAME, one_of_each_kind, outcome, write};

#[tokio::test]
async fn a_file_cut_at_any_byte_gives_its_whole_transactions_and_the_whole_file_goes_on_from_there() {
    let log = one_of_each_kind();
    let folder = Folder::new();
    // No transaction is larger than these.
    for batch in [3, 1000] {
        for cut in 0..log.bytes.len() {
            write(&folder, NAME, &log.bytes[..cut]);
            let got = outcome(&folder, &[NAME], batch, None).await;
            let whole = log.edges.iter().rev().find(|(byte, _)| *byte <= cut).map_or(0, |(_, changes)| *changes);
            same(&got.changes, &log.changes[..whole], &format!("cut at byte {cut}"));
            match &got.error {
                None => assert!(log.edges.iter().any(|(byte, _)| *byte == cut), "the cut at byte {cut} is not noticed"),
                // Without the whole magic number it might be anything.
                Some(SourceError::Unfit(text)) => assert!(cut <= 4 && text.contains(NAME), "cut at byte {cut}: {text}"),
                Some(SourceError::Stop(text)) => {
                    let clear = text.contains(NAME) && text.contains("ends inside") && text.contains("whole file");
                    assert!(clear, "cut at byte {cut}: {text}");
                }
            }
            write(&folder, NAME, &log.bytes);
            let rest = outcome(&folder, &[NAME], batch, got.last.as_ref()).await;
            assert!(rest.error.is_none(), "cut at byte {cut}, gone on at {:?}: {:?}", got.last, rest.error);
            same(&rest.changes, &log.changes[whole..], &format!("cut at byte {cut}, gone on at {:?}", got.last));
        }
    }
}

#[tokio::test]
async fn a_large_transaction_that_is_cut_goes_on_in_its_middle() {
    let table = hindsight_tests::binlog::Table::item_assets();
    let mut log = hindsight_tests::binlog::Events::new();
    log.transaction(|t| {
        t.table_map(90, &table);
        for id in 0..10 {
            t.insert(90, &table, &[hindsight_tests::binlog::Table::item(id, 7, "a")]);
        }
    });
    let folder = Folder::new();
    for (start, _) in &log.starts[2..] {
        std::fs::write(folder.path().join(NAME), &log.bytes[..start + 7]).unwrap();
        let got = outcome(&folder, &[NAME], 2, None).await;
        assert!(matches!(&got.error, Some(SourceError::Stop(text)) if text.contains("ends inside")), "{:?}", got.error);
        same(&got.changes, &log.changes[..got.changes.len()], "parts of the transaction");
        log.write(folder.path(), NAME);
        let rest = outcome(&folder, &[NAME], 3, got.last.as_ref()).await;
        assert!(rest.error.is_none(), "{:?}", rest.error);
        same(&rest.changes, &log.changes[got.changes.len()..], &format!("gone on at {:?}", got.last));
    }
}

#[tokio::test]
async fn the_last_of_several_files_may_be_cut_anywhere_and_go_on() {
    let first = one_of_each_kind();
    let second = one_of_each_kind();
    let folder = Folder::new();
    first.write(folder.path(), NAME);
    let files = [NAME, "binlog.000002"];
    let both = [first.changes.as_slice(), &second.changes].concat();
    for cut in (5..second.bytes.len()).step_by(3) {
        write(&folder, files[1], &second.bytes[..cut]);
        let got = outcome(&folder, &files, 1000, None).await;
        same(&got.changes, &both[..got.changes.len()], &format!("second file cut at byte {cut}"));
        assert!(got.changes.len() >= first.changes.len(), "the first file is whole: {:?}", got.error);
        write(&folder, files[1], &second.bytes);
        let rest = outcome(&folder, &files, 1000, got.last.as_ref()).await;
        assert!(rest.error.is_none(), "cut at byte {cut}, gone on at {:?}: {:?}", got.last, rest.error);
        same(&rest.changes, &both[got.changes.len()..], &format!("second file cut at byte {cut}"));
    }
}

#[tokio::test]
async fn a_whole_event_that_was_cut_out_is_noticed() {
    let log = one_of_each_kind();
    let folder = Folder::new();
    // The last event's absence is an end that came too early; those before it leave a gap.
    for (i, (start, kind)) in log.starts.iter().enumerate().take(log.starts.len() - 1) {
        let end = log.starts[i + 1].0;
        write(&folder, NAME, &[&log.bytes[..*start], &log.bytes[end..]].concat());
        let got = outcome(&folder, &[NAME], 1000, None).await;
        let Some(error) = &got.error else { panic!("the missing event of type {kind} at byte {start} is not noticed") };
        assert!(error.to_string().contains(NAME), "event of type {kind} at byte {start}: {error}");
        same(&got.changes, &log.changes[..got.changes.len()], &format!("without the event at byte {start}"));
    }
}
