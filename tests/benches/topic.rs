//! A Kafka topic between the halves, broker and server on the same machine: how fast a backlog is captured, how fast a topic
//! is read, decided and becomes history, and how soon a single change can be read.
//!
//! `cargo bench --workspace --bench topic` (300,000 changes), `-- --long` (two million). `capture`, `apply` and `latency`
//! behind `--` choose parts; `apply` needs `capture`.

mod shared;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use hindsight::config::Config;
use hindsight_tests::asset_log::{AssetLog, TABLE};
use hindsight_tests::kafka::{Broker, Client};
use hindsight_tests::live::Live;
use hindsight_tests::measured::build_program;
use hindsight_tests::mysql::{Mysql, OUTLIVES_KILLS};
use hindsight_tests::pipeline::Place;
use hindsight_tests::served_log::serve;
use hindsight_tests::topic::Topic;
use mysql_async::prelude::Queryable;
use shared::{capture_half, half, read};

/// Of the latency's part, at twenty a second.
const SINGLE_CHANGES: i64 = 1_000;
const PAUSE: Duration = Duration::from_millis(50);

/// In production's size.
const BATCH_CHANGES: usize = 16_384;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |part: &str| words.iter().all(|word| word.starts_with("--")) || words.iter().any(|word| word == part);
    let changes = if words.iter().any(|word| word == "--long") { 2_000_000 } else { 300_000 };
    build_program();
    let broker = Broker::start_able();
    // What a broker does for the first time it does more slowly.
    let (server, _) = serve(log(300_000, 1));
    half(&place(&server, &Topic::on(broker.client())), "capture");
    drop(server);
    if chosen("capture") || chosen("apply") {
        for rows_per_statement in [1, 10, 1_000] {
            backlog(&broker, changes, rows_per_statement, chosen("apply"));
        }
    }
    if chosen("latency") {
        latency(&broker);
    }
    ExitCode::SUCCESS
}

fn log(changes: u64, rows_per_statement: u32) -> AssetLog {
    AssetLog { changes, owners: 100_000, statements_per_transaction: 1, rows_per_statement }
}

fn place(server: &Mysql, topic: &Topic) -> Place {
    Live { table: TABLE, batch: BATCH_CHANGES, topic: &topic.section(), ..Live::of(server) }.place()
}

fn backlog(broker: &Broker, changes: u64, rows_per_statement: u32, applies: bool) {
    let (server, written) = serve(log(changes, rows_per_statement));
    println!(
        "a backlog of {} changes in {} transactions, by way of a topic of three partitions",
        written.changes, written.transactions
    );
    let topic = Topic::on(broker.client());
    let place = place(&server, &topic);
    let captured = capture_half(&place, &topic, written.changes);
    println!("{captured}   must 200 k/s, 5 CPU-s a million; reach for 550 k/s, 3.6");
    if !applies {
        return;
    }
    let config = Config::load(&place.0.path().join("hindsight.toml")).expect("the configuration");
    for (what, decides) in [("topic -> batches", false), ("topic -> batches -> rule -> counted rows", true)] {
        let taken = read(&config, what, decides, 1);
        // A move is a message under each of two keys.
        assert!(taken.n >= written.changes, "{} of {}", taken.n, written.changes);
        let must = if decides { "   must 300 k/s of one core; reach for 600" } else { "" };
        println!("{taken}{must}");
    }
    println!("{}\n", half(&place, "apply"));
}

/// One change at a time, from the client's return of COMMIT until a consumer that reads what is committed has it.
fn latency(broker: &Broker) {
    let server = Mysql::start(OUTLIVES_KILLS);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL,
         asset_info VARCHAR(255) NOT NULL, registered_at DATETIME NOT NULL); INSERT INTO item_assets VALUES (0, 0, 'first', '2025-01-01');",
    );
    let topic = Topic::on(broker.client());
    let section = topic.section();
    let place = Live { topic: &section, ..Live::of(&server) }.place();
    let mut running = place.start(&["run", "--only", "capture", "--json", "--log-format", "json"], |_| {});
    topic.wait_until_all_is_captured(&server, &mut running);
    let (committed, seen) = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&topic.client, &topic.name));
        let commits =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime on this thread");
        let committed = commits.block_on(commit_singly(&server));
        (committed, watching.join().expect("watch the topic"))
    });
    running.stop();
    let mut taken: Vec<Duration> =
        committed.iter().zip(&seen).map(|(committed, seen)| seen.saturating_duration_since(*committed)).collect();
    taken.sort();
    let ms = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "one change at 20 a second, COMMIT's return -> read by a read_committed consumer, {} changes",
        taken.len()
    );
    println!(
        "{:>10} {:>10} {:>10} {:>10}   must p50 < 25 ms, p99 < 100 ms; reach for p99 < 50",
        "p50", "p90", "p99", "max"
    );
    println!("{:>7.2} ms {:>7.2} ms {:>7.2} ms {:>7.2} ms", ms(0.5), ms(0.9), ms(0.99), ms(1.0));
}

/// When each COMMIT returned.
async fn commit_singly(server: &Mysql) -> Vec<Instant> {
    let url = format!("mysql://root@127.0.0.1:{}/shop?prefer_socket=false", server.port());
    let mut client = mysql_async::Conn::from_url(url).await.expect("connect as root");
    let mut committed = Vec::new();
    for id in 1..=SINGLE_CHANGES {
        let insert = format!("INSERT INTO item_assets VALUES ({id}, {}, 'a single change', '2025-01-01')", id % 50);
        client.query_drop(insert).await.expect("insert");
        committed.push(Instant::now());
        tokio::time::sleep(PAUSE).await;
    }
    committed
}

/// When each of the changes was read, by id.
fn watch(client: &Client, topic: &str) -> Vec<Instant> {
    let mut seen = BTreeMap::new();
    client.follow(topic, |value| {
        let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
        let id = value["after"]["id"].as_i64().expect("a number");
        if id > 0 {
            seen.insert(id, Instant::now());
        }
        seen.len() < SINGLE_CHANGES as usize
    });
    seen.into_values().collect()
}
