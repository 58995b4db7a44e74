//! Files that are no MySQL binlog, are another one, or stand in the wrong order.

use hindsight::civil::Zone;
use hindsight::event::Position;
use hindsight::source::{BinlogFile, BinlogFileSettings, TableFilter};
use hindsight_tests::binlog::{self, Events, Table, kind, mend_checksum};
use hindsight_tests::contract::source::{read, read_until_it_fails, same};
use hindsight_tests::program::{Folder, repository};

use super::{NAME, now, one_of_each_kind, outcome, refused_after, says, stops, unfit};

const THREE: [&str; 3] = [NAME, "binlog.000002", "binlog.000003"];

#[tokio::test]
async fn what_is_no_mysql_binlog_is_refused_with_what_it_is() {
    let log = one_of_each_kind();
    let encrypted = [b"\xfdbin".as_slice(), &log.bytes[4..]].concat();
    let relabelled = [b"\xfebim".as_slice(), &log.bytes[4..]].concat();
    let mut headless = Events::new();
    headless.bytes.truncate(4);
    headless.stop();
    for (bytes, words) in [
        (Vec::new(), "is no MySQL binlog"),
        (b"CREATE TABLE".to_vec(), "is no MySQL binlog"),
        (relabelled, "does not begin with fe 62 69 6e"),
        (encrypted, "encrypted"),
        (b"\xfebin".to_vec(), "without any event"),
        (headless.bytes, "not with a format description"),
        (Events::by("10.11.6-MariaDB-log", true).bytes, "10.11.6-MariaDB"),
    ] {
        let folder = Folder::new();
        let path = folder.write(NAME, bytes);
        let error = outcome(&folder, &[NAME], 1, None).await.error.expect("no binlog");
        unfit(&error, &[words, &path.display().to_string()]);
    }
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join(NAME)).unwrap();
    unfit(&outcome(&folder, &[NAME], 1, None).await.error.expect("a folder"), &[NAME, "is a folder"]);
    unfit(&outcome(&folder, &["gone"], 1, None).await.error.expect("no such file"), &["gone", "No such file"]);
}

#[test]
fn a_checksum_algorithm_that_is_not_known_is_refused_and_one_that_was_turned_over_is_found() {
    let folder = Folder::new();
    let mut log = one_of_each_kind();
    let algorithm = log.starts[1].0 - 5;
    assert_eq!(log.bytes[algorithm], 1, "CRC-32");
    for (other, words) in [(0, "checksum"), (2, "checksum")] {
        log.bytes[algorithm] = other;
        log.write(folder.path(), NAME);
        stops(&now(outcome(&folder, &[NAME], 1, None)).error.expect("a bit turned over"), &[words, "binlog.000001:4:"]);
    }
    mend_checksum(&mut log.bytes, 4);
    log.write(folder.path(), NAME);
    unfit(&now(outcome(&folder, &[NAME], 1, None)).error.expect("algorithm 2"), &["checksum algorithm 2", NAME]);
}

#[test]
fn an_event_that_only_mariadb_writes_is_refused_by_name() {
    let mut log = one_of_each_kind();
    let place = format!("{NAME}:{}", log.bytes.len());
    log.event_with(162, 0, &[0; 19]);
    unfit(&super::refused(&log), &["MariaDB", "type 162", &place]);
}

/// MySQL 9.7.4 wrote the fixture with binlog_row_metadata=MINIMAL, its default: one insert into gold.all_types.
#[tokio::test]
async fn minimal_metadata_is_refused_with_the_statement_that_mends_it() {
    let settings = |tables: &str| BinlogFileSettings {
        files: vec![repository().join("tests/fixtures/minimal-metadata.binlog")],
        tables: TableFilter::parse(&[tables]).unwrap(),
        zone: Zone::UTC,
        batch_changes_max: 1000,
        batch_bytes_max: 1 << 20,
    };
    let mut captured = BinlogFile::open(settings("gold.*"), None).unwrap();
    let (changes, _, error) = read_until_it_fails(&mut captured).await;
    assert!(changes.is_empty());
    let words = ["minimal-metadata.binlog:360", "gold.all_types", "SET PERSIST binlog_row_metadata='FULL'"];
    unfit(&error.expect("MINIMAL"), &words);
    // Where the table is not captured, nothing is asked of its map.
    assert!(read(&mut BinlogFile::open(settings("shop.*"), None).unwrap()).await.iter().all(|(c, _)| c.is_empty()));
}

#[test]
fn minimal_metadata_in_the_middle_stops_after_what_came_before() {
    let table = Table::item_assets();
    let mut log = one_of_each_kind();
    let n = log.changes.len();
    log.transaction(|t| {
        t.minimal_table_map(90, &table).insert(90, &table, &[Table::item(9, 7, "a")]);
    });
    unfit(&refused_after(&log, n), &["binlog_row_metadata='FULL'", "shop.item_assets"]);
}

/// Three files that follow one another, by ROTATE and by STOP.
fn three_files(folder: &Folder) -> [Events; 3] {
    let (mut first, mut second, third) = (one_of_each_kind(), Events::new(), one_of_each_kind());
    first.edges.clear();
    let table = Table::item_assets();
    second.transaction(|t| {
        t.table_map(90, &table).insert(90, &table, &[Table::item(5, 7, "second file")]);
    });
    second.stop();
    for (events, name) in [&first, &second, &third].into_iter().zip(THREE) {
        events.write(folder.path(), name);
    }
    [first, second, third]
}

#[tokio::test]
async fn files_in_the_wrong_order_or_with_one_missing_are_refused_with_both_names() {
    let folder = Folder::new();
    let [first, second, _] = three_files(&folder);
    for (names, words, n) in [
        ([THREE[1], THREE[0]].as_slice(), [THREE[1], THREE[0]], second.changes.len()),
        (&[THREE[0], THREE[2]], [THREE[1], THREE[2]], first.changes.len()),
        // Behind a STOP no event names the next file; its number does.
        (&[THREE[1], "binlog.000004"], [THREE[2], "binlog.000004"], second.changes.len()),
        (&[THREE[0], THREE[0]], [THREE[1], THREE[0]], first.changes.len()),
    ] {
        std::fs::copy(folder.path().join(THREE[2]), folder.path().join("binlog.000004")).unwrap();
        let got = outcome(&folder, names, 1000, None).await;
        assert_eq!(got.changes.len(), n, "what the first file holds: {names:?}");
        unfit(&got.error.unwrap_or_else(|| panic!("{names:?} was read")), &words);
    }
}

#[tokio::test]
async fn a_file_that_was_renamed_may_follow_one_that_ends_with_a_stop() {
    let folder = Folder::new();
    let [_, second, third] = three_files(&folder);
    third.write(folder.path(), "copied");
    let got = outcome(&folder, &[THREE[1], "copied"], 1000, None).await;
    assert!(got.error.is_none(), "{:?}", got.error);
    assert_eq!(got.changes.len(), second.changes.len() + third.changes.len());
}

#[tokio::test]
async fn an_unfinished_file_before_another_is_refused() {
    let folder = Folder::new();
    let [mut first, ..] = three_files(&folder);
    let (rotate, _) = *first.starts.last().unwrap();
    first.bytes.truncate(rotate);
    first.write(folder.path(), NAME);
    let got = outcome(&folder, &THREE, 1000, None).await;
    same(&got.changes, &first.changes, "the unfinished file");
    unfit(&got.error.expect("rows may be missing"), &[NAME, "is not finished", THREE[1]]);
}

#[tokio::test]
async fn a_transaction_does_not_go_on_in_the_next_file() {
    let folder = Folder::new();
    let table = Table::item_assets();
    let [mut first, ..] = three_files(&folder);
    let n = first.changes.len();
    let (rotate, _) = *first.starts.last().unwrap();
    first.bytes.truncate(rotate);
    first.gtid().begin().table_map(90, &table).insert(90, &table, &[Table::item(9, 9, "half")]).rotate(THREE[1]);
    first.write(folder.path(), NAME);
    let got = outcome(&folder, &THREE, 1000, None).await;
    same(&got.changes, &first.changes[..n], "before the half transaction");
    says(&got.error.expect("half a transaction"), &["ends inside the transaction at", NAME]);
}

#[tokio::test]
async fn a_checkpoint_of_another_log_is_refused_with_what_to_do() {
    let folder = Folder::new();
    let log = one_of_each_kind();
    log.write(folder.path(), NAME);
    let position = outcome(&folder, &[NAME], 3, None).await.last.expect("a position");

    // The same name, other first events.
    let other = Events::by("9.7.5", true);
    other.write(folder.path(), NAME);
    let refused = |start: Position| {
        binlog::open(folder.path(), &[NAME], 3, Some(&start)).err().expect("a position of something else")
    };
    unfit(&refused(position.clone()), &["another log", NAME]);
    // The same log, though not all of it.
    std::fs::write(folder.path().join(NAME), &log.bytes[..log.bytes.len() - 60]).unwrap();
    unfit(&refused(position.clone()), &["read up to byte", "whole file"]);
    // Another file altogether, another format.
    log.write(folder.path(), NAME);
    let renamed = Position(position.0.replace(NAME, "binlog.000009"));
    unfit(&refused(renamed), &["binlog.000009", "not among source.files"]);
    unfit(&refused(Position("case/1 done=3".into())), &["case/1 done=3", "binlog-file/1"]);
}

#[tokio::test]
async fn a_checkpoint_that_counts_other_changes_than_the_log_holds_is_refused() {
    let table = Table::item_assets();
    let folder = Folder::new();
    let mut log = Events::new();
    log.transaction(|t| {
        t.table_map(90, &table);
        for id in 0..6 {
            t.insert(90, &table, &[Table::item(id, 7, "a")]);
        }
    });
    log.transaction(|t| {
        t.table_map(90, &table).insert(90, &table, &[Table::item(9, 7, "next")]);
    });
    log.write(folder.path(), NAME);
    let handed = read(&mut binlog::open(folder.path(), &[NAME], 2, None).unwrap()).await;
    let inside = &handed[0].1.0;
    assert!(inside.contains("skip=3"), "{inside}");
    for wrong in
        [inside.replace("skip=3", "skip=2"), inside.replace("skip=3", "skip=5"), inside.replace("skip=3", "skip=60")]
    {
        let got = outcome(&folder, &[NAME], 2, Some(&Position(wrong.clone()))).await;
        assert!(got.changes.is_empty(), "{wrong}: {:?}", got.changes);
        stops(&got.error.expect("another transaction"), &["not those that the checkpoint counted", NAME]);
    }
}

#[test]
fn the_stand_in_for_a_server_writes_what_servers_write() {
    let log = Events::new();
    assert_eq!(
        log.starts.iter().map(|start| start.1).collect::<Vec<_>>(),
        [kind::FORMAT_DESCRIPTION, kind::PREVIOUS_GTIDS]
    );
    let real = std::fs::read(repository().join("tests/fixtures/minimal-metadata.binlog")).unwrap();
    // From the header's length to the checksum's algorithm.
    assert_eq!(log.bytes[0x4f..=0x7a], real[0x4f..=0x7a], "post-header lengths and checksum algorithm");
    assert_eq!(&log.bytes[0x17..0x1e], &real[0x17..0x1e], "format version and server version");
}
