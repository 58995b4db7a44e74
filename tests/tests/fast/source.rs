//! The `Source` contract over everything that hands out changes.

use std::path::Path;
use std::sync::Arc;

use hindsight::civil;
use hindsight::event::{Op, Position};
use hindsight::source::Source;
use hindsight::source::cases::{Case, CaseSource};
use hindsight_tests::binlog::{self, Cell, Events, Kind, Table, UNCOMPRESSED};
use hindsight_tests::contract::source::{Seen, Subject, check, read};
use hindsight_tests::program::Folder;

async fn check_files(files: &[(&str, &Events)]) {
    let folder = Folder::new();
    let (mut changes, mut transactions) = (Vec::new(), Vec::new());
    for (name, events) in files {
        events.write(folder.path(), name);
        changes.extend_from_slice(&events.changes);
        transactions.extend_from_slice(&events.transactions);
    }
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let open = |batch, start: Option<&Position>| {
        Ok(Box::new(binlog::open(folder.path(), &names, batch, start)?) as Box<dyn Source>)
    };
    check(&Subject { open: &open, changes: &changes, transactions: &transactions }).await;
}

fn item(id: i64, owner: i64, info: &str) -> Vec<Cell> {
    Table::item(id, owner, info)
}

/// Every kind of transaction that the source reads, ending with a large one.
fn every_kind_of_transaction(table: &Table) -> Events {
    let foreign = Table::foreign("other.notes");
    let note = vec![Cell::Int(1), Cell::text("a note")];
    let mut log = Events::new();
    log.transaction(|t| {
        t.table_map(90, table).insert(90, table, &[item(1, 7, "a"), item(2, 7, "b"), item(3, 8, "ü€😀")]);
    });
    // Only what is not captured.
    log.transaction(|t| {
        t.table_map(91, &foreign).insert(91, &foreign, std::slice::from_ref(&note));
    });
    log.ddl(b"CREATE INDEX i ON item_assets (owner_id)");
    log.anonymous_gtid().begin().table_map(90, table).update(90, table, &[(item(1, 7, "a"), item(1, 8, "a2"))]).xid();
    log.tagged_gtid("blue").begin().table_map(90, table).delete(90, table, &[item(2, 7, "b")]).commit();
    // A changed primary key among others.
    log.transaction(|t| {
        let moved = [(item(3, 8, "c"), item(4, 8, "c")), (item(1, 8, "a2"), item(1, 8, "a3"))];
        t.table_map(90, table).update(90, table, &moved).insert(90, table, &[item(5, 9, "")]);
    });
    log.gtid().begin().table_map(90, table).insert(90, table, &[item(99, 7, "never was")]).rollback();
    log.compressed(|t| {
        t.table_map(90, table).insert(90, table, &[item(6, 7, "packed"), item(7, 7, "packed")]);
    });
    log.compressed(|t| {
        t.table_map(90, table).delete(90, table, &[item(6, 7, "packed")]);
    });
    log.gtid();
    let mut inner = log.inside();
    inner.begin().table_map(90, table).insert(90, table, &[item(8, 9, "packed as it is")]).xid();
    log.payload(UNCOMPRESSED, &inner);
    log.transaction(|t| {
        t.table_map(90, table).table_map(91, &foreign);
        for i in 0..5 {
            t.insert(90, table, &[item(20 + 2 * i, 3, "large"), item(21 + 2 * i, 4, "large")]);
            t.insert(91, &foreign, std::slice::from_ref(&note));
        }
    });
    log
}

#[tokio::test]
async fn a_binlog_file_keeps_the_contract() {
    check_files(&[("binlog.000001", &every_kind_of_transaction(&Table::item_assets()))]).await;
}

#[tokio::test]
async fn a_binlog_file_without_checksums_keeps_the_contract() {
    let table = Table::item_assets();
    let mut log = Events::without_checksums();
    for id in 0..3 {
        log.transaction(|t| {
            t.table_map(90, &table).insert(90, &table, &[item(2 * id, 7, "a"), item(2 * id + 1, 8, "b")]);
        });
    }
    check_files(&[("binlog.000001", &log)]).await;
}

#[tokio::test]
async fn several_binlog_files_keep_the_contract_also_where_a_table_id_means_another_shape() {
    let table = Table::item_assets();
    let mut wide = Table::item_assets();
    wide.columns.extend(Table::new("shop.more", &[("more", Kind::Int)]).columns);
    let wider = |id| [item(id, 7, "wide"), vec![Cell::Null]].concat();

    let mut first = every_kind_of_transaction(&table);
    first.rotate("binlog.000002");
    let mut second = Events::new();
    second.transaction(|t| {
        t.table_map(90, &wide).insert(90, &wide, &[wider(30), wider(31)]);
    });
    // Back again in the same file, under the same id: the batch must end between them.
    second.transaction(|t| {
        t.table_map(90, &table).insert(90, &table, &[item(32, 7, "a"), item(33, 7, "b"), item(34, 7, "c")]);
    });
    second.stop();
    // A file of a server that was only started and stopped.
    let mut third = Events::new();
    third.stop();
    let mut fourth = Events::new();
    let sibling = Table { name: "shop.siblings".into(), ..Table::item_assets() };
    fourth.transaction(|t| {
        t.table_map(90, &sibling).table_map(91, &table);
        t.insert(90, &sibling, &[item(1, 1, "other table")]).insert(91, &table, &[item(40, 7, "a")]);
        t.delete(90, &sibling, &[item(1, 1, "other table")]);
    });
    fourth.compressed(|t| {
        t.table_map(90, &table).insert(90, &table, &[item(41, 7, "a"), item(42, 7, "b"), item(43, 7, "c")]);
    });
    let files =
        [("binlog.000001", &first), ("binlog.000002", &second), ("binlog.000003", &third), ("binlog.000004", &fourth)];
    check_files(&files).await;
}

#[tokio::test]
async fn the_position_moves_on_over_a_long_stretch_of_foreign_changes() {
    let (table, foreign) = (Table::item_assets(), Table::foreign("other.notes"));
    let blob = vec![Cell::Int(1), Cell::Text("x".repeat(15 << 20))];
    let mut log = Events::new();
    for _ in 0..10 {
        log.transaction(|t| {
            t.table_map(91, &foreign).insert(91, &foreign, std::slice::from_ref(&blob));
        });
    }
    let folder = Folder::new();
    log.transaction(|t| {
        t.table_map(90, &table).insert(90, &table, &[item(1, 7, "after it all")]);
    });
    log.write(folder.path(), "binlog.000001");
    let open = |start| binlog::open(folder.path(), &["binlog.000001"], 1000, start).unwrap();
    let handed = read(&mut open(None)).await;
    let sizes: Vec<usize> = handed.iter().map(|(changes, _)| changes.len()).collect();
    assert_eq!(sizes, [0, 0, 1], "two empty batches in 150 MB");
    for (_, position) in &handed[..2] {
        let rest = read(&mut open(Some(position))).await;
        assert_eq!(rest.iter().map(|(changes, _)| changes.len()).sum::<usize>(), 1, "from {position:?}");
    }
}

#[tokio::test]
async fn a_case_file_keeps_the_contract() {
    let text = r#"
        [[change]]
        op = "c"
        ts = "2025-01-01 00:00:00"
        after = { id = 1, owner_id = 7, asset_info = "a", registered_at = "2025-01-01 00:00:00" }
        [[change]]
        op = "u"
        ts = "2025-01-02 00:00:00.250"
        before = { id = 1, owner_id = 7, asset_info = "a", registered_at = "2025-01-01 00:00:00" }
        after = { id = 1, owner_id = 8, asset_info = "b", registered_at = "2025-01-02 00:00:00" }
        [[change]]
        op = "u"
        ts = "2025-01-03 00:00:00"
        before = { id = 1, owner_id = 8, asset_info = "b", registered_at = "2025-01-02 00:00:00" }
        after = { id = 2, owner_id = 8, asset_info = "b", registered_at = "2025-01-03 00:00:00" }
        [[change]]
        op = "d"
        ts = "2025-01-04 00:00:00"
        before = { id = 2, owner_id = 8, asset_info = "b", registered_at = "2025-01-03 00:00:00" }
        [expect]
        history = []
    "#;
    let case = Arc::new(Case::parse(Path::new("a-case.toml"), text).unwrap());
    let day = |day: i64| civil::days(2025, 1, day as u32).unwrap() * civil::MICROS_PER_DAY;
    let image =
        |id, owner, info, from| Some(vec![Cell::Int(id), Cell::Int(owner), Cell::text(info), Cell::Int(day(from))]);
    let (created, updated, moved) = (image(1, 7, "a", 1), image(1, 8, "b", 2), image(2, 8, "b", 3));
    let change = |at, op, time_us, before: &Option<Vec<Cell>>, after: &Option<Vec<Cell>>| Seen {
        table: "item_assets".into(),
        op,
        time_us,
        before: before.clone(),
        after: after.clone(),
        at,
        gtid: None,
    };
    let changes = [
        change(0, Op::Create, day(1), &None, &created),
        change(1, Op::Update, day(2) + 250_000, &created, &updated),
        change(2, Op::Delete, day(3), &updated, &None),
        change(2, Op::Create, day(3), &None, &moved),
        change(3, Op::Delete, day(4), &moved, &None),
    ];
    let open = |batch, start: Option<&Position>| {
        CaseSource::open(case.clone(), batch, start).map(|source| Box::new(source) as Box<dyn Source>)
    };
    check(&Subject { open: &open, changes: &changes, transactions: &[1, 1, 2, 1] }).await;
    for wrong in ["case/1 done=5", "case/2 done=0", "binlog-file/1 at=4"] {
        let refused = open(1, Some(&Position(wrong.into()))).err().expect("a position of something else").to_string();
        assert!(refused.contains(wrong) && refused.contains("a-case.toml"), "{refused}");
    }
}
