//! Compressed transactions (`binlog_transaction_compression`), which any session may switch on: the same history as without.

use hindsight_tests::generator::Load;
use hindsight_tests::mysql::{Mysql, mysqlbinlog};
use hindsight_tests::oracle::{self, OnOwnerChange};
use hindsight_tests::pipeline::{Pipeline, Rule, assert_same};
use hindsight_tests::recorded;

#[test]
fn a_compressed_log_gives_the_same_changes_and_history_as_a_plain_one() {
    let load = Load { seed: 11, changes: 5_000, owners: 100, ..Load::default() };
    let plain = recorded::record(&load, "plain.binlog", &[]);
    let packed = recorded::record(&load, "packed.binlog", &["--binlog-transaction-compression=ON"]);
    let n_packed = mysqlbinlog(&[], &[&packed.file]).matches("Transaction_Payload").count();
    assert!(n_packed > 400, "only {n_packed} transactions are compressed");
    let (history, counts) =
        (oracle::scd2_by_owner(&load.list(), OnOwnerChange::Close).table, oracle::count_changes(&load.list()));
    for batch in [8192, 64] {
        for rule in [Rule::ByOwner, Rule::CountChanges] {
            let run = |file: &std::path::PathBuf| {
                Pipeline { rule, batch, files: vec![file.clone()], ..Pipeline::default() }.run()
            };
            let ((_, from_plain), (place, from_packed)) = (run(&plain.file), run(&packed.file));
            for count in ["changes", "inserts", "updates", "deletes", "moves", "transactions"] {
                assert_eq!(from_packed.count(count), from_plain.count(count), "{count}, batch {batch}");
            }
            match rule {
                Rule::ByOwner => assert_same(&place.history(), &history, "compressed, scd2-by-owner"),
                Rule::CountChanges => assert_same(&place.counts(), &counts, "compressed, count-changes"),
            }
        }
    }
}

/// Transactions of thousands of rows, compressed and plain in one file, each larger than several batches.
#[test]
fn a_kill_inside_a_large_transaction_loses_and_repeats_nothing() {
    let server = Mysql::start(&[]);
    server.sql(hindsight_tests::generator::SCHEMA);
    server.finished_logs();
    server.sql(
        "USE shop; SET SESSION cte_max_recursion_depth = 100000;
         SET @rows = 'INSERT INTO item_assets WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 12000)
           SELECT i + ?, i % 97, CONCAT(\"asset \", i), TIMESTAMP(\"2025-01-01\") + INTERVAL i SECOND FROM n';
         PREPARE rows_from FROM @rows;
         SET @first = 0; SET SESSION binlog_transaction_compression = ON; EXECUTE rows_from USING @first;
         UPDATE item_assets SET owner_id = owner_id + 1, asset_info = CONCAT(asset_info, '!') WHERE id % 2 = 0;
         SET @first = 20000; SET SESSION binlog_transaction_compression = OFF; EXECUTE rows_from USING @first;
         UPDATE item_assets SET registered_at = registered_at + INTERVAL 1 DAY WHERE id > 20000;",
    );
    let log = server.finished_log();
    let changes = hindsight_tests::dump::read(&[&log]).reference();
    assert_eq!(changes.len(), 12_000 + 6_000 + 12_000 + 12_000);
    for rule in [Rule::ByOwner, Rule::CountChanges] {
        let place = Pipeline { rule, batch: 700, files: vec![log.clone()], ..Pipeline::default() }.place();
        for point in ["sink.committed:5", "sink.rows:9", "sink.committed:8", "sink.checkpoint:11", "sink.committed:6"] {
            let output = place.command().env("HINDSIGHT_TEST_CRASH", point).output().expect("run hindsight");
            assert_eq!(output.status.code(), None, "{}", String::from_utf8_lossy(&output.stderr));
            let position = place.checkpoint().expect("some commits were made");
            println!("{rule:?} {point}: {position}");
            assert!(!position.contains(" skip=0 "), "the kill fell inside a transaction: {position}");
        }
        assert_eq!(place.run().exit, Some(0));
        match rule {
            Rule::ByOwner => {
                let wanted = oracle::scd2_by_owner(&changes, OnOwnerChange::Close).table;
                assert_same(&place.history(), &wanted, "scd2-by-owner after kills");
            }
            Rule::CountChanges => {
                assert_same(&place.counts(), &oracle::count_changes(&changes), "count-changes after kills");
            }
        }
    }
}
