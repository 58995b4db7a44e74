//! The live source keeps the contract of sources: stopped and opened again anywhere, it hands out what the server's log holds.
//!
//! What it must hand out is what the file source reads from the same log, which is held to lists of its own elsewhere.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hindsight::civil::Zone;
use hindsight::event::Position;
use hindsight::source::mysql::{End, Server, SnapshotSettings};
use hindsight::source::{
    BinlogFile, BinlogFileSettings, Mysql as LiveSource, MysqlSettings, Source, SourceError, Start, TableFilter, Tls,
};
use hindsight_tests::contract::source::{Seen, Subject, check, read};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::steps::Steps;

fn tables() -> TableFilter {
    TableFilter::parse(&["shop.item_assets".to_owned()]).expect("a table's name")
}

async fn open(server: &Server, batch: usize, start: Option<&Position>) -> Result<Box<dyn Source>, SourceError> {
    // Each has an identity of its own: none waits until the server has noticed that the one before is gone.
    static OPENED: AtomicU32 = AtomicU32::new(0);
    let identity = format!("contract {}", OPENED.fetch_add(1, Ordering::Relaxed));
    let settings = MysqlSettings {
        servers: vec![server.clone()],
        tables: tables(),
        zone: Zone::UTC,
        start: Start::Earliest,
        snapshot: SnapshotSettings::never(),
        heartbeat: Duration::from_secs(5),
        reader: MysqlSettings::reader(&identity, None),
        pipeline: identity,
        end: End::AsOpened,
        batch_changes_max: batch,
        batch_bytes_max: 16 << 20,
    };
    Ok(Box::new(LiveSource::open(settings, start).await?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_live_source_keeps_the_contract_of_sources() {
    let server = Mysql::start(&[]);
    server.sql(Steps::SCHEMA);
    server.add_reader();
    server.finished_logs();
    // Plain ones, other tables, a rollback's gap, tags, and large transactions, plain and compressed.
    server.sql(
        "USE shop; CREATE TABLE other (id INT PRIMARY KEY);
         INSERT INTO item_assets VALUES (1, 7, 'a', '2025-01-01'), (2, 7, 'b', '2025-01-02');
         INSERT INTO other VALUES (1); BEGIN; INSERT INTO item_assets VALUES (9, 9, 'never', '2025-01-09'); ROLLBACK;
         UPDATE item_assets SET owner_id = 8 WHERE id = 1;
         SET gtid_next = 'AUTOMATIC:blue'; DELETE FROM item_assets WHERE id = 2; SET gtid_next = 'AUTOMATIC';
         BEGIN; INSERT INTO item_assets VALUES (3, 1, 'c', '2025-01-03'), (4, 1, 'd', '2025-01-04');
           INSERT INTO other VALUES (2); UPDATE item_assets SET id = id + 100; COMMIT;
         SET SESSION binlog_transaction_compression = ON;
         BEGIN; INSERT INTO item_assets VALUES (5, 2, 'e', '2025-01-05'), (6, 2, 'f', '2025-01-06'), (7, 3, 'g', '2025-01-07');
           DELETE FROM item_assets WHERE id > 100 ORDER BY id; COMMIT;
         SET SESSION binlog_transaction_compression = OFF; UPDATE other SET id = id + 10 ORDER BY id DESC;",
    );
    // A changed primary key is a delete and a create.
    let transactions = [2, 1, 1, 2 + 2 * 3, 3 + 3];
    let settings = BinlogFileSettings {
        files: vec![server.finished_log()],
        tables: tables(),
        zone: Zone::UTC,
        batch_changes_max: usize::MAX,
        batch_bytes_max: 16 << 20,
    };
    let mut file = BinlogFile::open(settings, None).expect("open the server's log");
    let changes: Vec<Seen> = read(&mut file).await.into_iter().flat_map(|(batch, _)| batch).collect();
    assert_eq!(changes.len(), transactions.iter().sum::<usize>(), "{changes:?}");

    let live = Server::parse(&server.url(), Tls::Preferred, None).expect("the server's address");
    // The contract opens a source from within a future.
    let runtime = tokio::runtime::Handle::current();
    let open = |batch: usize, start: Option<&Position>| {
        tokio::task::block_in_place(|| runtime.block_on(open(&live, batch, start)))
    };
    check(&Subject { open: &open, changes: &changes, transactions: &transactions }).await;
}
