//! What else real logs hold around a captured table's rows: savepoints, cascades, tables made by a SELECT, several files,
//! tagged and anonymous transactions, logs without checksums. The history is the oracle's over `mysqlbinlog`'s list.

use std::path::PathBuf;

use hindsight_tests::dump;
use hindsight_tests::generator::SCHEMA;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::{self, OnOwnerChange};
use hindsight_tests::pipeline::{Pipeline, Rule, assert_same};

/// Both rules over these files, in one batch and in many.
#[track_caller]
fn agrees(files: &[PathBuf], n_changes: usize, what: &str) {
    let changes = dump::read(files).reference();
    assert_eq!(changes.len(), n_changes, "{what}: mysqlbinlog's list {changes:?}");
    for batch in [8192, 1] {
        let by_owner = Pipeline { batch, files: files.to_vec(), ..Pipeline::default() };
        let (place, answer) = by_owner.run();
        assert_eq!(answer.count("changes"), n_changes as u64, "{what}");
        assert_same(&place.history(), &oracle::scd2_by_owner(&changes, OnOwnerChange::Close).table, what);
        let (place, answer) = Pipeline { rule: Rule::CountChanges, ..by_owner }.run();
        assert_eq!(answer.exit, Some(0), "{what}: {}", answer.err);
        assert_same(&place.counts(), &oracle::count_changes(&changes), what);
    }
}

#[test]
fn what_stands_between_the_rows_of_a_captured_table_changes_nothing() {
    let server = Mysql::start(&["--binlog-rows-query-log-events=ON"]);
    server.sql(SCHEMA);
    server.finished_logs();
    let some = "INSERT INTO item_assets VALUES (1, 10, 'a', '2025-01-01'), (2, 10, 'b', '2025-01-02'), (3, 11, 'c', '2025-01-03');";
    let cases = [
        ("a rollback to a savepoint", "BEGIN; INSERT INTO item_assets VALUES (5, 1, 'x', '2025-01-05'); SAVEPOINT s;
            DELETE FROM item_assets; ROLLBACK TO s; INSERT INTO item_assets VALUES (6, 1, 'y', '2025-01-06'); RELEASE SAVEPOINT s; COMMIT;", 5),
        ("a rollback", "BEGIN; INSERT INTO item_assets VALUES (5, 1, 'x', '2025-01-05'); ROLLBACK;", 3),
        ("REPLACE and ON DUPLICATE KEY UPDATE", "REPLACE INTO item_assets VALUES (1, 12, 'replaced', '2025-02-01'), (7, 12, 'new', '2025-02-01');
            INSERT INTO item_assets VALUES (2, 1, 'x', '2025-02-02') ON DUPLICATE KEY UPDATE owner_id = 13;", 6),
        ("a changed primary key", "UPDATE item_assets SET id = id + 100, owner_id = 20 ORDER BY id DESC;", 6),
        ("another table's rows in the same transaction", "CREATE TABLE other (id INT PRIMARY KEY, j JSON, e ENUM('a'), b BIT(9));
            BEGIN; INSERT INTO other VALUES (1, '{}', 'a', NULL); UPDATE item_assets SET owner_id = 14; DELETE FROM other; COMMIT;", 6),
        ("a trigger's rows", "CREATE TABLE source (id INT PRIMARY KEY);
            CREATE TRIGGER copy AFTER INSERT ON source FOR EACH ROW INSERT INTO item_assets VALUES (new.id, 1, 'by trigger', '2025-03-01');
            INSERT INTO source VALUES (50), (51); DROP TRIGGER copy;", 5),
        ("statements of other kinds", "CREATE TEMPORARY TABLE item_assets_copy SELECT * FROM item_assets; DROP TEMPORARY TABLE item_assets_copy;
            CREATE TABLE IF NOT EXISTS t2 (x INT); ALTER TABLE t2 ADD y INT; CREATE INDEX i ON item_assets (owner_id); ANALYZE TABLE item_assets;
            CREATE USER u; GRANT SELECT ON shop.item_assets TO u; DROP USER u; FLUSH TABLES; DELETE FROM item_assets WHERE id = 3;", 4),
        ("a transaction of no rows", "BEGIN; UPDATE item_assets SET owner_id = 1 WHERE id = 999; COMMIT; DELETE FROM item_assets WHERE id = 999;", 3),
    ];
    for (what, statements, n_changes) in cases {
        server.sql(&format!("USE shop; {some} {statements}"));
        let log = server.finished_log();
        server.sql(&format!("DROP DATABASE shop; {SCHEMA}"));
        server.finished_logs();
        agrees(&[log], n_changes, what);
    }
}

#[test]
fn rows_that_a_foreign_key_deletes_and_that_a_select_fills_in_are_captured() {
    let server = Mysql::start(&[]);
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE owners (id INT PRIMARY KEY);
         CREATE TABLE template (id INT PRIMARY KEY, owner_id INT NOT NULL, asset_info VARCHAR(255) NOT NULL, registered_at DATETIME NOT NULL);
         INSERT INTO owners VALUES (1), (2); INSERT INTO template VALUES (1, 1, 'one', '2025-01-01'), (2, 2, 'two', '2025-01-02'), (3, 1, 'three', '2025-01-03');",
    );
    server.finished_logs();
    server.sql(
        "USE shop; CREATE TABLE item_assets (PRIMARY KEY (id)) AS SELECT * FROM template;
         ALTER TABLE item_assets ADD FOREIGN KEY (owner_id) REFERENCES owners (id) ON DELETE CASCADE;
         DELETE FROM owners WHERE id = 1;",
    );
    agrees(&[server.finished_log()], 5, "CREATE TABLE AS SELECT, then a cascade");
}

#[test]
fn several_files_are_read_as_one_and_may_be_added_later() {
    let server = Mysql::start(&[]);
    server.sql(SCHEMA);
    server.finished_logs();
    let mut files = Vec::new();
    for id in 1..=3 {
        server.sql(&format!(
            "USE shop; INSERT INTO item_assets VALUES ({id}, 1, 'a', '2025-01-0{id}'); UPDATE item_assets SET asset_info = 'file {id}';"
        ));
        files.push(server.finished_log());
    }
    // The server's end: its last file says STOP instead of the next one's name.
    server.sql("USE shop; DELETE FROM item_assets WHERE id = 2;");
    let stopped = server.shut_down();
    files.push(stopped.logs().pop().expect("the last file"));
    agrees(&files, 3 + 1 + 2 + 3 + 1, "four files");

    let changes = dump::read(&files).reference();
    let pipeline = |n: usize| Pipeline { rule: Rule::CountChanges, files: files[..n].to_vec(), ..Pipeline::default() };
    let place = pipeline(1).place();
    for n in 1..=4 {
        pipeline(n).configure(&place);
        assert_eq!(place.run().exit, Some(0));
    }
    assert_same(&place.counts(), &oracle::count_changes(&changes), "one file more each time");

    let gap = Pipeline { files: vec![files[0].clone(), files[2].clone()], ..Pipeline::default() };
    let (place, answer) = gap.run();
    assert_eq!(answer.exit, Some(1), "{}", answer.err);
    for word in ["binlog.000003", "binlog.000004", "List every file in order"] {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    assert_same(
        &place.history(),
        &oracle::scd2_by_owner(&changes[..2], OnOwnerChange::Close).table,
        "the file before the gap is done",
    );
}

#[test]
fn transactions_without_a_gtid_with_a_tagged_one_and_logs_without_checksums_are_read() {
    let some = "USE shop; INSERT INTO item_assets VALUES (1, 10, 'a', '2025-01-01'), (2, 10, 'b', '2025-01-02');
        UPDATE item_assets SET asset_info = 'c', registered_at = '2025-01-03' WHERE id = 1;";
    let delete = "SET timestamp = 1735992000.654321, SESSION original_commit_timestamp = 1735992000654321; DELETE FROM item_assets WHERE id = 2;";
    let server = Mysql::start(&["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF", "--binlog-checksum=NONE"]);
    server.sql(SCHEMA);
    server.finished_logs();
    server.sql(&format!("{some} {delete}"));
    let anonymous = server.finished_log();
    agrees(std::slice::from_ref(&anonymous), 4, "anonymous, no checksums");
    let (place, _) = Pipeline { files: vec![anonymous], ..Pipeline::default() }.run();
    // 2025-01-04 12:00:00.654321
    assert!(place.history().values().any(|row| row.end_us == Some(1_735_992_000_654_321)), "the delete's own time");

    let server = Mysql::start(&[]);
    server.sql(SCHEMA);
    server.finished_logs();
    server.sql(&format!("SET gtid_next = 'AUTOMATIC:billing'; {some} {delete}"));
    let log = server.finished_log();
    let tags = hindsight_tests::mysql::mysqlbinlog(&[], &[&log]).matches(":billing:").count();
    assert!(tags >= 3, "the server tagged them");
    agrees(&[log], 4, "tagged");
}
