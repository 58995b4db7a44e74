//! Table maps and row images: shapes that change, images that are partial, counts that do not fit.

use hindsight_tests::binlog::{Cell, Column, Events, Kind, Table, kind};
use hindsight_tests::contract::source::same;
use hindsight_tests::program::Folder;

use super::{NAME, now, outcome, place_of_last, refused, refused_after, stops};

fn item(id: i64) -> Vec<Cell> {
    Table::item(id, 7, "a")
}

/// Reads all that is in the log, one change a batch and at once.
#[track_caller]
fn reads(log: &Events) {
    let folder = Folder::new();
    log.write(folder.path(), NAME);
    for batch in [1, 1000] {
        let got = now(outcome(&folder, &[NAME], batch, None));
        assert!(got.error.is_none(), "{:?}", got.error);
        same(&got.changes, &log.changes, &format!("batches of {batch}"));
    }
}

/// A table of so many integers, all but the first of which may be NULL.
fn wide(n: usize) -> Table {
    let columns = (0..n).map(|i| Column { name: format!("c{i}"), kind: Kind::TinyInt, nullable: i > 0 });
    Table { name: "shop.wide".into(), columns: columns.collect(), primary_key: vec![0], captured: true }
}

#[test]
fn nulls_stand_where_their_bits_say_also_at_the_edges_of_bytes() {
    for n in [1, 7, 8, 9, 16, 17, 64, 65] {
        let table = wide(n);
        let mut log = Events::new();
        let mut rows: Vec<Vec<Cell>> = (0..n)
            .map(|null| (0..n).map(|i| if i == null && i > 0 { Cell::Null } else { Cell::Int(i as i64) }).collect())
            .collect();
        rows.push([vec![Cell::Int(1)], vec![Cell::Null; n - 1]].concat());
        rows.push((0..n).map(|i| if i % 2 == 1 { Cell::Null } else { Cell::Int(-1) }).collect());
        log.transaction(|t| {
            t.table_map(90, &table).insert(90, &table, &rows).delete(90, &table, &rows);
        });
        reads(&log);
    }
}

#[test]
fn a_partial_image_leaves_the_other_columns_absent() {
    for n in [7, 8, 9, 65] {
        let table = wide(n);
        let folder = Folder::new();
        for present in 1..n {
            // The key before, the key and one more column after; nulls count the columns that are present only.
            let bits = |columns: &[usize]| {
                let mut bitmap = vec![0_u8; n.div_ceil(8)];
                columns.iter().for_each(|&column| bitmap[column / 8] |= 1 << (column % 8));
                Some(bitmap)
            };
            let images = [
                vec![Cell::Int(3)],
                vec![Cell::Int(3), Cell::Null],
                vec![Cell::Int(4)],
                vec![Cell::Int(4), Cell::Int(5)],
            ];
            let mut log = Events::new();
            log.transaction(|t| {
                t.table_map(90, &table);
                t.rows(kind::UPDATE_ROWS, 90, &table, &[bits(&[0]), bits(&[0, present])], images.iter());
            });
            log.write(folder.path(), NAME);
            let got = now(outcome(&folder, &[NAME], 10, None));
            assert!(got.error.is_none(), "{:?}", got.error);
            let full = |key: i64, after: Option<Cell>| {
                let mut row = vec![Cell::Absent; n];
                row[0] = Cell::Int(key);
                after.into_iter().for_each(|cell| row[present] = cell);
                Some(row)
            };
            let expected = [(full(3, None), full(3, Some(Cell::Null))), (full(4, None), full(4, Some(Cell::Int(5))))];
            let got: Vec<_> = got.changes.into_iter().map(|change| (change.before, change.after)).collect();
            assert_eq!(got, expected, "column {present} of {n}");
        }
    }
}

#[test]
fn an_image_without_any_column_stops() {
    let table = wide(9);
    let none = || Some(vec![0_u8; 2]);
    for (kind, present) in
        [(kind::WRITE_ROWS, vec![none()]), (kind::DELETE_ROWS, vec![none()]), (kind::UPDATE_ROWS, vec![None, none()])]
    {
        let mut log = Events::new();
        log.gtid().begin().table_map(90, &table);
        log.rows(kind, 90, &table, &present, [].into_iter());
        stops(&refused(&log), &["shop.wide", "binlog_row_image=FULL", &place_of_last(&log)]);
        // Bytes that no image accounts for.
        let mut log = Events::new();
        log.gtid().begin().table_map(90, &table);
        let mut body = 90_u64.to_le_bytes()[..6].to_vec();
        body.extend([1, 0, 2, 0, 9]);
        body.extend(present.iter().flat_map(|_| [0, 0]));
        body.push(1);
        log.event(kind, &body);
        stops(&refused(&log), &["shop.wide", &place_of_last(&log)]);
    }
}

#[test]
fn a_table_without_columns_stops() {
    let nothing = Table { columns: Vec::new(), primary_key: Vec::new(), ..wide(1) };
    let mut log = Events::new();
    log.gtid().begin().table_map(90, &nothing);
    let id = &90_u64.to_le_bytes()[..6];
    log.event(kind::WRITE_ROWS, &[id, &[1, 0, 2, 0, 0], &[7, 7, 7]].concat());
    stops(&refused(&log), &["shop.wide"]);
}

#[test]
fn several_tables_are_mapped_before_the_rows_of_each() {
    let (one, other) = (Table::item_assets(), Table { name: "shop.other".into(), ..Table::item_assets() });
    let foreign = Table::foreign("other.notes");
    let mut log = Events::new();
    log.transaction(|t| {
        t.table_map(90, &one).table_map(91, &foreign).table_map(92, &other);
        t.delete(92, &other, &[item(5)]).insert(91, &foreign, &[vec![Cell::Int(1), Cell::text("x")]]);
        t.delete(90, &one, &[item(6)]).insert(92, &other, &[item(7)]);
    });
    reads(&log);
}

#[test]
fn a_table_id_that_means_another_shape_or_table_is_read_by_its_last_map() {
    let (narrow, other) = (Table::item_assets(), Table { name: "shop.other".into(), ..wide(3) });
    let mut widened = Table::item_assets();
    widened.columns.push(Column { name: "note".into(), kind: Kind::Varchar(40), nullable: true });
    let mut log = Events::new();
    let long = |id| [item(id), vec![Cell::text("n")]].concat();
    log.transaction(|t| {
        t.table_map(90, &narrow).insert(90, &narrow, &[item(1)]);
    });
    log.transaction(|t| {
        t.table_map(90, &widened).insert(90, &widened, &[long(2)]);
    });
    log.transaction(|t| {
        t.table_map(90, &other).insert(90, &other, &[vec![Cell::Int(1), Cell::Int(2), Cell::Null]]);
    });
    log.transaction(|t| {
        t.table_map(90, &narrow).table_map(91, &other).insert(90, &narrow, &[item(3), item(4)]);
    });
    // Two ids that mean one table, in turn.
    log.transaction(|t| {
        t.table_map(92, &widened).insert(92, &widened, &[long(5)]);
    });
    log.transaction(|t| {
        t.table_map(90, &narrow).insert(90, &narrow, &[item(6)]);
    });
    reads(&log);
}

#[test]
fn a_table_that_changes_its_shape_inside_a_transaction_stops() {
    let mut widened = Table::item_assets();
    widened.columns.push(Column { name: "note".into(), kind: Kind::Varchar(40), nullable: true });
    for before in [0, 1] {
        let mut log = Events::new();
        for id in 0..before {
            log.transaction(|t| {
                t.table_map(90, &Table::item_assets()).insert(90, &Table::item_assets(), &[item(id)]);
            });
        }
        let n = log.changes.len();
        log.gtid().begin().table_map(90, &Table::item_assets()).insert(90, &Table::item_assets(), &[item(8)]);
        log.table_map(91, &widened);
        let place = place_of_last(&log);
        log.insert(91, &widened, &[[item(9), vec![Cell::Null]].concat()]).xid();
        stops(&refused_after(&log, n), &["shop.item_assets", "inside a transaction", &place]);
    }
}

#[test]
fn rows_of_a_map_that_a_later_shape_has_replaced_stop() {
    let (narrow, mut widened) = (Table::item_assets(), Table::item_assets());
    widened.columns.push(Column { name: "note".into(), kind: Kind::Varchar(40), nullable: true });
    let mut log = Events::new();
    log.transaction(|t| {
        t.table_map(90, &narrow).insert(90, &narrow, &[item(1)]);
    });
    log.transaction(|t| {
        t.table_map(91, &widened).insert(91, &widened, &[[item(2), vec![Cell::Null]].concat()]);
    });
    let n = log.changes.len();
    log.gtid().begin().insert(90, &narrow, &[item(3)]);
    let place = place_of_last(&log);
    log.xid();
    stops(&refused_after(&log, n), &["without a table map", &place]);
}

#[test]
fn rows_that_do_not_fit_their_table_map_stop() {
    let table = Table::item_assets();
    let id = &90_u64.to_le_bytes()[..6];
    for (body, words) in [
        // No such table id, another number of columns, an image that ends too early, extra data longer than the event.
        ([&91_u64.to_le_bytes()[..6], &[1, 0, 2, 0, 4, 15]].concat(), "without a table map"),
        ([id, &[1, 0, 2, 0, 5, 31, 0, 1]].concat(), "shorter than its table map says"),
        ([id, &[1, 0, 2, 0, 4, 15, 0, 1, 0, 0]].concat(), "shorter than its table map says"),
        ([id, &[1, 0, 200, 1, 4, 15, 0, 1, 0, 0]].concat(), "shorter than its table map says"),
        ([id, &[1, 0, 1, 0, 4, 15, 0, 1, 0, 0]].concat(), "shorter than its table map says"),
        (vec![90, 0, 0], "too short"),
    ] {
        let mut log = Events::new();
        log.transaction(|t| {
            t.table_map(90, &table).insert(90, &table, &[item(1)]);
        });
        log.gtid().begin().table_map(90, &table).event(kind::WRITE_ROWS, &body);
        stops(&refused(&log), &[words, &place_of_last(&log)]);
    }
}

#[test]
fn a_damaged_table_map_of_a_captured_table_stops() {
    let whole = Table::item_assets().map(90, true);
    for cut in 0..whole.len() {
        let mut log = Events::new();
        log.gtid().begin().event(kind::TABLE_MAP, &whole[..cut]);
        // Between two fields of the optional metadata nothing tells that more was there; the transaction's end is missing then.
        let error = refused(&log).to_string();
        let missing_end = error.contains("ends inside the transaction");
        assert!(error.contains(&place_of_last(&log)) || missing_end, "cut at {cut}: {error}");
    }
}
