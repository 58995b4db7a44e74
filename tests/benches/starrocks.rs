//! A topic into StarRocks, which a stand-in in this process plays, server and broker on the same machine: how fast a backlog is
//! applied, and how soon a single change can be read.
//!
//! `cargo bench --workspace --bench starrocks` (300,000 changes), `-- --long` (two million). `apply` and `latency` behind `--`
//! choose parts.

#[expect(dead_code, reason = "shared with other benches")]
mod shared;

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::asset_log::{AssetLog, TABLE};
use hindsight_tests::kafka::Broker;
use hindsight_tests::live::Live;
use hindsight_tests::measured::{build_program, own_cpu};
use hindsight_tests::mysql::{Mysql, OUTLIVES_KILLS};
use hindsight_tests::pipeline::Place;
use hindsight_tests::served_log::serve;
use hindsight_tests::starrocks::{Cluster, Table};
use hindsight_tests::topic::Topic;
use mysql_async::prelude::Queryable;
use shared::half;
use starrocks_stand_in::Settings;

/// Of the latency's part, at twenty a second.
const SINGLE_CHANGES: i64 = 400;
const PAUSE: Duration = Duration::from_millis(50);

/// In production's size.
const BATCH_CHANGES: usize = 16_384;

/// From a commit until its rows are visible.
const PUBLISH_DELAY_MS: u64 = 50;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |part: &str| words.iter().all(|word| word.starts_with("--")) || words.iter().any(|word| word == part);
    let changes = if words.iter().any(|word| word == "--long") { 2_000_000 } else { 300_000 };
    build_program();
    let broker = Broker::start_able();
    if chosen("apply") {
        backlog(&broker, changes);
    }
    if chosen("latency") {
        latency(&broker);
    }
    ExitCode::SUCCESS
}

fn cluster() -> Cluster {
    let (publish_delay_ms, label_keep_max_num) = (PUBLISH_DELAY_MS, 100_000);
    // One frontend: each of them would write every row once more.
    Cluster::with(Settings { frontends: 1, publish_delay_ms, label_keep_max_num, ..Settings::default() })
}

/// With the defaults of a configuration.
fn place(cluster: &Cluster, server: &Mysql, topic: &Topic, source: &str, more: &str) -> (Place, Table) {
    let table = cluster.table(more);
    let section = topic.section();
    let live = Live { table: source, batch: BATCH_CHANGES, topic: &section, ..Live::of(server) };
    let place = Live { name: &table.pipeline, sink: &table.sink, ..live }.place();
    cluster.make(&place, str::to_owned);
    (place, table)
}

fn backlog(broker: &Broker, changes: u64) {
    let log = AssetLog { changes, owners: 100_000, statements_per_transaction: 1, rows_per_statement: 10 };
    let (server, written) = serve(log);
    // For whoever asks for its columns: the log was written without a server.
    server.sql(
        "CREATE DATABASE IF NOT EXISTS shop; CREATE TABLE IF NOT EXISTS shop.item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL,
         asset_info VARCHAR(255) NOT NULL, registered_at DATETIME NOT NULL);",
    );
    println!("a backlog of {} changes of 100,000 owners, in a topic of three partitions", written.changes);
    let topic = Topic::on(broker.client());
    for (what, more) in [
        ("", "interval = \"200ms\"\n"),
        (", sequence column", "interval = \"200ms\"\nsequence-column = true\n"),
        (", zstd", "interval = \"200ms\"\ncompression = \"zstd\"\n"),
    ] {
        let cluster = cluster();
        let (place, table) = place(&cluster, &server, &topic, TABLE, more);
        if what.is_empty() {
            println!("{}", half(&place, "capture"));
        }
        let cpu = own_cpu();
        let mut taken = half(&place, "apply");
        taken.what += what;
        let stand_in = own_cpu() - cpu;
        let n_labels = cluster.assert_each_label_sent_once();
        println!(
            "{taken}; the stand-in {:.2} s CPU, {n_labels} loads into {}   must 100 k/s",
            stand_in.as_secs_f64(),
            table.name
        );
    }
}

/// One change at a time, from the client's return of COMMIT until the leader shows its row.
fn latency(broker: &Broker) {
    let server = Mysql::start(OUTLIVES_KILLS);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL,
         asset_info VARCHAR(255) NOT NULL, registered_at DATETIME NOT NULL); INSERT INTO item_assets VALUES (0, 0, 'first', '2025-01-01');",
    );
    let (topic, cluster) = (Topic::on(broker.client()), cluster());
    let (place, table) = place(&cluster, &server, &topic, "shop.item_assets", "interval = \"200ms\"\n");
    let arguments = ["run", "--json", "--log-format", "json"];
    let mut running = place.start(&arguments, |_| {});
    while newest(&cluster, &table).is_none() {
        running.assert_runs();
        thread::sleep(Duration::from_millis(10));
    }
    let (committed, seen) = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&cluster, &table));
        let commits =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime on this thread");
        let committed = commits.block_on(commit_singly(&server));
        (committed, watching.join().expect("watch the table"))
    });
    running.stop();
    let mut taken: Vec<Duration> =
        committed.iter().zip(&seen).map(|(committed, seen)| seen.saturating_duration_since(*committed)).collect();
    taken.sort();
    let ms = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "one change at 20 a second, COMMIT\'s return -> visible {PUBLISH_DELAY_MS} ms behind its load\'s commit, {} changes",
        taken.len()
    );
    println!(
        "p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms, max {:.0} ms   must p99 < 1,000 ms",
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(1.0)
    );
}

/// When each COMMIT returned.
async fn commit_singly(server: &Mysql) -> Vec<Instant> {
    let url = format!("mysql://root@127.0.0.1:{}/shop?prefer_socket=false", server.port());
    let mut client = mysql_async::Conn::from_url(url).await.expect("connect as root");
    let mut committed = Vec::new();
    for id in 1..=SINGLE_CHANGES {
        let insert = format!("INSERT INTO item_assets VALUES ({id}, {}, \'a single change\', \'2025-01-01\')", id % 50);
        client.query_drop(insert).await.expect("insert");
        committed.push(Instant::now());
        tokio::time::sleep(PAUSE).await;
    }
    committed
}

/// When each of the changes was visible, by id. They come by several partitions, so not in their order.
fn watch(cluster: &Cluster, table: &Table) -> Vec<Instant> {
    let mut seen: Vec<Option<Instant>> = vec![None; SINGLE_CHANGES as usize];
    while seen.iter().any(Option::is_none) {
        let now = Instant::now();
        for id in cluster.ids(table) {
            if let Some(seen) = seen.get_mut((id - 1) as usize).filter(|_| id > 0) {
                seen.get_or_insert(now);
            }
        }
        thread::sleep(Duration::from_millis(2));
    }
    seen.into_iter().flatten().collect()
}

fn newest(cluster: &Cluster, table: &Table) -> Option<i64> {
    cluster.ids(table).into_iter().max()
}
