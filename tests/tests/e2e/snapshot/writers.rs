//! What the other tests here stand on: the server's log tells all that the writers did, from the first row on.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::dump;
use hindsight_tests::gtids::GtidSet;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::{self, Op, Side};
use hindsight_tests::say::say;
use hindsight_tests::wall_clock;
use hindsight_tests::writers::{SLOW_COMMITS, Writing};

#[test]
fn the_log_of_eight_writers_tells_the_whole_table() {
    let writing = Writing { seed: 3, rows: 1_000, transactions_per_second: 1_000, ..Writing::default() };
    let server = Mysql::start(SLOW_COMMITS);
    writing.fill(&server);
    let begun = Instant::now();
    let writers = writing.start(&server);
    while writers.sent() < 1_500 {
        assert!(begun.elapsed() < Duration::from_secs(60), "the writers do not write");
        thread::sleep(Duration::from_millis(5));
    }
    writers.stop();
    let seconds = begun.elapsed().as_secs_f64();
    let executed = GtidSet::parse(&server.executed());
    let log = dump::read(&server.finished_logs()).logged("item_assets");
    let mut table = BTreeMap::new();
    let mut kinds: BTreeMap<(Op, Side), usize> = BTreeMap::new();
    for logged in &log {
        let gtid = logged.gtid.as_ref().expect("every transaction has a GTID");
        assert!(executed.contains(gtid), "{gtid} is not executed");
        let (before, after) = (logged.change.before.clone(), logged.change.after.clone());
        let found = before.as_ref().and_then(|row| table.remove(&row.id));
        assert_eq!(found, before, "the before image is the row: {logged:?}");
        if let Some(row) = after {
            assert_eq!(table.insert(row.id, row), None, "{logged:?}");
        }
        oracle::events(&logged.change)
            .iter()
            .for_each(|event| *kinds.entry((event.change.op, event.side)).or_default() += 1);
    }
    say(&format!("{} changes in {seconds:.1} s: {kinds:?}", log.len()));
    let printed = server.sql("SELECT id, owner_id, asset_info, registered_at FROM shop.item_assets ORDER BY id");
    let told = table.values().map(|row| {
        let [id, owner, registered] = [row.id, row.owner, row.registered_us].map(|value| value.expect("no NULL"));
        // As the client prints it.
        let info = row.info.as_deref().expect("no NULL").replace('\\', "\\\\").replace('\n', "\\n");
        format!("{id}\t{owner}\t{info}\t{}\n", wall_clock::text(registered))
    });
    assert_eq!(printed, told.collect::<String>());
    assert!(kinds.len() >= 5 && kinds.values().all(|&n| n >= 100), "too little of a kind: {kinds:?}");
}
