//! Logs of real servers that cannot be followed to their end: each stops with what, where and what to do, with everything
//! before it committed and nothing half-written.

use std::path::{Path, PathBuf};

use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::{self, OnOwnerChange};
use hindsight_tests::oracle::{Change, Op, Row};
use hindsight_tests::pipeline::{Pipeline, Place, assert_same};
use hindsight_tests::program::Folder;
use hindsight_tests::wall_clock;

const TABLE: &str = "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;
    CREATE TABLE item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL, asset_info VARCHAR(255) NOT NULL, registered_at DATETIME NOT NULL);
    CREATE TABLE other (id INT PRIMARY KEY, j JSON, t VARCHAR(20));";

/// What is whole before each refusal: one row a transaction.
const BEFORE: &str = "INSERT INTO item_assets VALUES (1, 10, 'laptop 1', '2025-01-01 00:00:00');
    INSERT INTO item_assets VALUES (2, 11, 'phone 2', '2025-01-02 00:00:00');";

/// What comes after it and must not arrive.
const AFTER: &str = "INSERT INTO item_assets VALUES (9, 19, 'never', '2025-01-09 00:00:00');";

fn before() -> Vec<Change> {
    [(1, 10, "laptop 1", "2025-01-01 00:00:00"), (2, 11, "phone 2", "2025-01-02 00:00:00")]
        .map(|(id, owner, info, time)| Change {
            op: Op::Create,
            time_us: 0,
            before: None,
            after: Some(Row {
                id: Some(id),
                owner: Some(owner),
                info: Some(info.into()),
                registered_us: wall_clock::parse(time),
            }),
        })
        .to_vec()
}

/// A server with the tables.
fn server(options: &[&str]) -> Mysql {
    let server = Mysql::start(options);
    server.sql(TABLE);
    server.finished_logs();
    server
}

/// The log of [`BEFORE`], `statements`, [`AFTER`].
fn log(server: &Mysql, statements: &str) -> PathBuf {
    server.sql(&format!("USE shop; {BEFORE} {statements}"));
    // In a session of its own: what the statements set is gone. After a DROP it fails, which is as well.
    let _ = server.try_sql(&format!("USE shop; {AFTER}"));
    let log = server.finished_log();
    server.sql("DROP DATABASE IF EXISTS shop");
    server.sql(TABLE);
    server.finished_logs();
    log
}

/// Runs over it, from its beginning and once more: both times the same refusal, and [`BEFORE`] is what is kept.
#[track_caller]
fn stops(file: &Path, words: &[&str]) {
    let place = stops_with(&Pipeline { files: vec![file.to_owned()], ..Pipeline::default() }, words);
    let kept = place.checkpoint();
    let again = place.run();
    assert_eq!(again.exit, Some(1), "the second run: {}", again.err);
    assert_eq!(place.checkpoint(), kept);
    assert_same(
        &place.history(),
        &oracle::scd2_by_owner(&before(), OnOwnerChange::Close).table,
        "after the second run",
    );
}

#[track_caller]
fn stops_with(pipeline: &Pipeline<'_>, words: &[&str]) -> Place {
    let (place, answer) = pipeline.run();
    assert_eq!(answer.exit, Some(1), "{}{}", answer.out, answer.err);
    for word in words.iter().chain(&["binlog.0000"]) {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    let errors = answer.err.lines().filter(|line| line.starts_with("error:")).count();
    assert_eq!(errors, 1, "it is said once: {}", answer.err);
    assert_same(&place.history(), &oracle::scd2_by_owner(&before(), OnOwnerChange::Close).table, "what came before");
    place
}

#[test]
fn rows_that_are_changed_by_a_statement_stop_with_table_and_statement() {
    let server = server(&[]);
    let statement = |sql: &str| format!("SET SESSION binlog_format = STATEMENT; {sql}");
    for (sql, shown) in [
        (
            "UPDATE item_assets SET asset_info = 'x' WHERE id = 1;",
            "UPDATE item_assets SET asset_info = 'x' WHERE id = 1",
        ),
        ("INSERT INTO item_assets VALUES (3, 1, 'x', '2025-01-03');", "INSERT INTO item_assets VALUES (3, 1"),
        ("DELETE FROM item_assets WHERE id = 2;", "DELETE FROM item_assets"),
        ("REPLACE INTO `shop`.`item_assets` VALUES (1, 1, 'x', '2025-01-03');", "REPLACE INTO"),
        ("USE mysql; UPDATE shop.item_assets SET asset_info = 'y';", "UPDATE shop.item_assets"),
    ] {
        let log = log(&server, &statement(sql));
        stops(
            &log,
            &["shop.item_assets", "by a statement", shown, "binlog_format=ROW", "gtid ", "start a new history"],
        );
    }
    let elsewhere = log(&server, &statement("INSERT INTO other VALUES (1, NULL, 'item_assets');"));
    assert_goes_on(&elsewhere, 3);
}

#[test]
fn a_table_that_is_emptied_or_dropped_stops_with_its_name() {
    let server = server(&[]);
    for (sql, shown) in [
        ("TRUNCATE TABLE item_assets;", "TRUNCATE TABLE item_assets"),
        ("TRUNCATE shop.item_assets;", "TRUNCATE shop.item_assets"),
        ("DROP TABLE item_assets;", "DROP TABLE"),
        ("DROP TABLE other, item_assets;", "DROP TABLE"),
    ] {
        stops(&log(&server, sql), &["shop.item_assets", shown, "start a new history"]);
    }
    stops(&log(&server, "DROP DATABASE shop;"), &["shop.*", "DROP DATABASE shop", "start a new history"]);
    assert_goes_on(&log(&server, "TRUNCATE TABLE other; DROP TABLE other; CREATE DATABASE a; DROP DATABASE a;"), 3);
}

#[test]
fn a_prepared_xa_transaction_with_rows_stops_and_one_without_does_not() {
    let server = server(&[]);
    let change = "UPDATE item_assets SET asset_info = 'x' WHERE id = 1;";
    for end in ["XA COMMIT 'a';", "XA ROLLBACK 'a';"] {
        let log = log(&server, &format!("XA START 'a'; {change} XA END 'a'; XA PREPARE 'a'; {end}"));
        stops(&log, &["XA PREPARE", "shop.item_assets", "not supported", "use plain ones"]);
    }
    let log_of_others = log(
        &server,
        "XA START 'b'; INSERT INTO other VALUES (1, NULL, 'x'); XA END 'b'; XA PREPARE 'b'; XA COMMIT 'b';",
    );
    assert_goes_on(&log_of_others, 3);
    // One phase: the outcome is known.
    let one_phase = log(&server, &format!("XA START 'c'; {change} XA END 'c'; XA COMMIT 'c' ONE PHASE;"));
    assert_goes_on(&one_phase, 4);
}

#[test]
fn updates_that_are_logged_in_part_stop_with_their_setting() {
    let server = Mysql::start(&[]);
    let table = "CREATE DATABASE shop; USE shop;
        CREATE TABLE item_assets (id INT PRIMARY KEY, owner_id INT, asset_info VARCHAR(255), registered_at DATETIME, j JSON);
        CREATE TABLE other (id INT PRIMARY KEY, j JSON);";
    server.sql(table);
    server.finished_logs();
    let json = r#"'{"a": 1, "b": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}'"#;
    server.sql(&format!(
        "USE shop; SET SESSION binlog_row_value_options = PARTIAL_JSON;
         INSERT INTO item_assets VALUES (1, 10, 'laptop 1', '2025-01-01', {json}), (2, 11, 'phone 2', '2025-01-02', {json});
         INSERT INTO other VALUES (1, {json}); UPDATE other SET j = JSON_SET(j, '$.a', 2);
         UPDATE item_assets SET j = JSON_SET(j, '$.a', 2) WHERE id = 1;"
    ));
    stops(&server.finished_log(), &["shop.item_assets", "PARTIAL_UPDATE_ROWS", "binlog_row_value_options=''"]);
}

#[test]
fn an_image_that_lacks_a_column_the_rule_asks_for_stops_with_that_column() {
    let server = server(&[]);
    let sql =
        "SET SESSION binlog_row_image = MINIMAL; UPDATE item_assets SET registered_at = '2025-02-01' WHERE id = 1;";
    let log = log(&server, sql);
    let pipeline = Pipeline { files: vec![log], batch: 1, ..Pipeline::default() };
    stops_with(&pipeline, &["shop.item_assets.owner_id", "image", "binlog_row_image=FULL"]);
}

#[test]
fn a_log_without_column_names_is_refused_with_the_statement_that_mends_it() {
    let server = Mysql::start(&["--binlog-row-metadata=MINIMAL"]);
    server.sql(TABLE);
    server.finished_logs();
    server.sql(&format!("USE shop; INSERT INTO other VALUES (1, NULL, 'x'); {BEFORE}"));
    let minimal = server.finished_log();
    let (place, answer) = Pipeline { files: vec![minimal.clone()], ..Pipeline::default() }.run();
    assert_eq!(answer.exit, Some(3), "{}", answer.err);
    for word in
        ["shop.item_assets", "binlog_row_metadata=MINIMAL", "SET PERSIST binlog_row_metadata='FULL'", "binlog.0000"]
    {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    // The place moved on to the refused change; there is no history yet.
    let connection = rusqlite::Connection::open(place.database()).expect("open the history");
    assert!(!connection.table_exists(None, "item_asset_history").expect("look for the table"), "nothing was written");
    // Another table's names are not needed.
    let other = Pipeline { files: vec![minimal], table: "shop.nothing", ..Pipeline::default() }.run().1;
    assert_eq!(other.exit, Some(0), "{}", other.err);

    server.sql("SET PERSIST binlog_row_metadata = 'FULL';");
    server.finished_logs();
    server.sql(&format!("USE shop; {AFTER}"));
    let full = Pipeline { files: vec![server.finished_log()], ..Pipeline::default() }.run().1;
    assert_eq!(full.count("changes"), 1, "the remedy is one");
}

#[test]
fn an_alter_table_that_keeps_what_the_rule_writes_goes_on() {
    let server = server(&[]);
    let log = log(
        &server,
        "ALTER TABLE item_assets ADD COLUMN grade SMALLINT UNSIGNED NOT NULL DEFAULT 3 AFTER owner_id;
         UPDATE item_assets SET grade = 65535, registered_at = '2025-01-03', asset_info = 'graded' WHERE id = 2;
         ALTER TABLE item_assets DROP COLUMN grade, ADD COLUMN note TEXT FIRST;
         UPDATE item_assets SET note = 'n', registered_at = '2025-01-04', asset_info = 'noted' WHERE id = 2;
         ALTER TABLE item_assets DROP COLUMN note;",
    );
    for batch in [8192, 1] {
        let (place, answer) = Pipeline { files: vec![log.clone()], batch, ..Pipeline::default() }.run();
        assert_eq!((answer.count("inserts"), answer.count("updates")), (3, 2));
        let history = place.history();
        let infos: Vec<_> =
            history.iter().filter(|(key, _)| key.source_id == 2).map(|(_, row)| row.info.as_deref()).collect();
        assert_eq!(infos, [Some("phone 2"), Some("graded"), Some("noted")]);
    }
}

#[test]
fn an_alter_table_that_changes_what_the_rule_writes_stops_with_both_shapes() {
    let server = server(&[]);
    for (alter, was, is) in [
        ("MODIFY asset_info INT NOT NULL", "asset_info varchar(255)", "asset_info int"),
        ("MODIFY id BIGINT UNSIGNED", "id int", "id bigint unsigned"),
    ] {
        let set = "UPDATE item_assets SET asset_info = '5' WHERE id = 2;";
        let sql =
            format!("{set} ALTER TABLE item_assets {alter}; UPDATE item_assets SET registered_at = '2025-01-04';");
        let sql = if alter.contains("asset_info") {
            format!(
                "DELETE FROM item_assets; ALTER TABLE item_assets {alter}; INSERT INTO item_assets VALUES (3, 1, 5, '2025-01-04');"
            )
        } else {
            sql
        };
        let (place, answer) = Pipeline { files: vec![log(&server, &sql)], ..Pipeline::default() }.run();
        assert_eq!(answer.exit, Some(1), "{alter}: {}", answer.err);
        for word in [was, is, "schema changed", "binlog.0000", "Was: ", "Is: "] {
            assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
        }
        assert!(place.checkpoint().is_some() && !place.history().is_empty(), "what came before is there");
        assert!(place.history().keys().all(|key| key.source_id != 3 && key.source_id != 9));
    }
}

#[test]
fn a_column_that_the_rule_needs_and_that_is_dropped_stops_with_its_name() {
    let server = server(&[]);
    let sql = "ALTER TABLE item_assets DROP COLUMN asset_info; UPDATE item_assets SET owner_id = 12 WHERE id = 2;";
    let log = log(&server, sql);
    stops_with(
        &Pipeline { files: vec![log], ..Pipeline::default() },
        &["asset_info", "shop.item_assets", "schema changed at"],
    );
}

/// The first bytes of a file as MariaDB 10.11 writes them.
#[test]
fn a_file_of_mariadb_is_refused_by_name() {
    let mut event = Vec::new();
    event.extend([0; 4]);
    event.push(15);
    event.extend([1, 0, 0, 0]);
    let version = b"10.11.6-MariaDB-0+deb12u1-log";
    let mut body = vec![4, 0];
    body.extend(version);
    body.resize(2 + 50, 0);
    body.extend([0; 4]);
    body.push(19);
    body.extend([0; 171]);
    body.push(1);
    event.extend((19 + body.len() as u32 + 4).to_le_bytes());
    event.extend((4 + 19 + body.len() as u32 + 4).to_le_bytes());
    event.extend([0, 0]);
    event.extend(&body);
    let checksum = crc32fast::hash(&event);
    event.extend(checksum.to_le_bytes());
    let folder = Folder::new();
    let file = folder.write("mariadb-bin.000001", [&[0xfe, b'b', b'i', b'n'], &event[..]].concat());
    let (place, answer) = Pipeline { files: vec![file], ..Pipeline::default() }.run();
    assert_eq!(answer.exit, Some(3), "{}", answer.err);
    for word in ["mariadb-bin.000001", "10.11.6-MariaDB", "MySQL"] {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    assert!(place.checkpoint().is_none());
}

/// Nothing in it concerns the captured table beyond what is counted.
#[track_caller]
fn assert_goes_on(file: &Path, n_changes: u64) {
    let answer = Pipeline { files: vec![file.to_owned()], ..Pipeline::default() }.run().1;
    assert_eq!(answer.count("changes"), n_changes);
}
