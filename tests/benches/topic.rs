//! A Kafka topic between the halves, broker and server on the same machine: how fast a backlog is captured, how fast a topic
//! is read, decided and becomes history, and how soon a single change can be read.
//!
//! `cargo bench --workspace --bench topic` (300,000 changes), `-- --long` (two million). `capture`, `apply` and `latency`
//! behind `--` choose parts; `apply` needs `capture`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use hindsight::assemble;
use hindsight::config::Config;
use hindsight::event::Position;
use hindsight::pipeline::{self, Opening, Pipeline, Rejects, Switches};
use hindsight::rule::WasmRule;
use hindsight::sink::Memory;
use hindsight::source::Source;
use hindsight::source::mysql::End;
use hindsight::topic::{Ending, Group, Lane, Lanes, TopicError};
use hindsight_tests::asset_log::{AssetLog, TABLE};
use hindsight_tests::kafka::{Broker, Client};
use hindsight_tests::live::{Live, Running};
use hindsight_tests::measured::{build_program, own_cpu, process_cpu, rss_kib};
use hindsight_tests::mysql::{Mysql, OUTLIVES_KILLS};
use hindsight_tests::pipeline::Place;
use hindsight_tests::rounds::rate;
use hindsight_tests::served_log::serve;
use hindsight_tests::topic::Topic;
use mysql_async::prelude::Queryable;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

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
    let broker = Broker::start(&[]);
    if chosen("capture") {
        for rows_per_statement in [1, 1_000] {
            backlog(&broker, changes, rows_per_statement, chosen("apply"));
        }
    }
    if chosen("latency") {
        latency(&broker);
    }
    ExitCode::SUCCESS
}

fn backlog(broker: &Broker, changes: u64, rows_per_statement: u32, applies: bool) {
    let log = AssetLog { changes, owners: 100_000, statements_per_transaction: 1, rows_per_statement };
    let (server, written) = serve(log);
    println!(
        "a backlog of {} changes in {} transactions, by way of a topic of three partitions",
        written.changes, written.transactions
    );
    let topic = Topic::on(broker.client());
    let section = topic.section();
    let place = Live { table: TABLE, batch: BATCH_CHANGES, topic: &section, ..Live::of(&server) }.place();
    let captured = whole(&place, "capture");
    println!("{captured}   must 200 k/s, 5 CPU-s a million; reach for 550 k/s, 3.6");
    if !applies {
        return;
    }
    let config = Config::load(&place.0.path().join("hindsight.toml")).expect("the configuration");
    for (what, decides) in [("topic -> batches", false), ("topic -> batches -> rule -> rows in memory", true)] {
        let (started, cpu) = (Instant::now(), own_cpu());
        let n = runtime().block_on(read(&config, decides));
        let (wall, cpu) = (started.elapsed(), own_cpu() - cpu);
        // A move is a message under each of two keys.
        assert!(n >= written.changes, "{n} of {}", written.changes);
        let must = if decides { "   must 300 k/s of one core; reach for 600" } else { "" };
        println!("{}{must}", line(what, n, wall, cpu, None));
    }
    println!("{}\n", whole(&place, "apply"));
}

/// A half of the program to the end of what is there.
fn whole(place: &Place, half: &str) -> String {
    let arguments = ["run", "--only", half, "--to-end", "--json"];
    let started = Instant::now();
    let mut running: Running = place.start(&arguments, |_| {});
    let (mut most, mut cpu) = (0, Duration::ZERO);
    while running.is_running() {
        most = rss_kib(running.id()).unwrap_or(0).max(most);
        cpu = process_cpu(running.id()).unwrap_or(cpu);
        thread::sleep(Duration::from_millis(10));
    }
    let wall = started.elapsed();
    let ended = running.end();
    assert_eq!(ended.exit, Some(0), "{}", ended.err);
    let what = format!("run --only {half}");
    line(&what, ended.count("changes"), wall, cpu, Some(most))
}

fn line(what: &str, n: u64, wall: Duration, cpu: Duration, rss_kib: Option<u64>) -> String {
    format!(
        "{what:<44} {:>10} {:>8.2} s wall {:>8.2} s CPU, {:>5.2} a million{}",
        rate(n, wall),
        wall.as_secs_f64(),
        cpu.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / n as f64,
        rss_kib.map_or(String::new(), |kib| format!(", {} MiB", kib / 1024))
    )
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// The topic's partitions to their ends as they are now; gives how many changes their batches had.
async fn read(config: &Config, decides: bool) -> u64 {
    let topic = config.topic.as_ref().expect("it has a topic");
    let mut settings = assemble::topic_settings(config, topic);
    settings.pipeline = format!("bench-{decides}");
    let lanes = Arc::new(Counted {
        config: config.clone(),
        decides,
        runtime: Handle::current(),
        lanes: Mutex::default(),
        n: Mutex::default(),
    });
    let (ended, mut has_ended) = mpsc::unbounded_channel();
    let tell = move |result: Result<(), TopicError>| drop(ended.send(result));
    let lane_settings = assemble::lane_settings(config, End::AsOpened, None).expect("the rule");
    let group = Group::join(&settings, lane_settings, lanes.clone(), tell).await;
    let group = group.expect("join the group");
    has_ended.recv().await.expect("it ends").expect("without an error");
    tokio::task::block_in_place(|| drop(group));
    *lanes.n.lock().expect("nothing panics with it")
}

struct Counted {
    config: Config,
    decides: bool,
    runtime: Handle,
    lanes: Mutex<BTreeMap<u32, JoinHandle<u64>>>,
    n: Mutex<u64>,
}

impl Lanes for Counted {
    fn begin(&self, _: u32) -> Result<Option<Position>, TopicError> {
        Ok(None)
    }

    fn run(&self, partition: u32, mut lane: Lane) {
        let decided = self.decides.then(|| self.config.clone());
        let task = self.runtime.spawn(async move {
            match decided {
                Some(config) => decide(&config, lane).await,
                None => {
                    let mut n = 0;
                    while let Some((batch, _)) = lane.next().await.expect("read the topic") {
                        n += batch.changes.len() as u64;
                    }
                    n
                }
            }
        });
        self.lanes.lock().expect("nothing panics with it").insert(partition, task);
    }

    fn end(&self, _: Ending) {
        let lanes = std::mem::take(&mut *self.lanes.lock().expect("nothing panics with it"));
        for task in lanes.into_values() {
            let n = self.runtime.block_on(task).expect("a lane");
            *self.n.lock().expect("nothing panics with it") += n;
        }
    }

    fn was_fenced(&self) -> bool {
        false
    }

    fn positions(&self) -> Vec<(u32, Position)> {
        Vec::new()
    }

    fn lag(&self, _: u64) {}
}

async fn decide(config: &Config, lane: Lane) -> u64 {
    let (component, version) = assemble::configured(config).expect("the rule");
    let rule = WasmRule::new(component, version.settings.clone()).expect("the rule");
    let configured = version.digest.clone();
    let (rule, tables) = (Box::new(rule), String::new());
    let opening = Opening { rule, version, previous: None, configured, turn: None, tables, cut_by: None };
    let pipeline = Pipeline { source: "bench".into(), start: None, rejects: Rejects::default(), repeat_batch: None };
    let (_stop, stop) = watch::channel(false);
    let (_paused, paused) = watch::channel(false);
    let (_exchange, exchanges) = mpsc::channel(1);
    let switches = Switches { stop, paused, exchanges };
    let mut tap = |_: &_, _: Option<&_>, _: &_| Ok(());
    let mut sink = Memory::default();
    let ended = pipeline::run(Box::new(lane), opening, &mut sink, &pipeline, switches, &mut tap, |_| {}).await;
    ended.map(|summary| summary.changes()).unwrap_or_else(|failure| panic!("{failure}"))
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
    let running = place.start(&["run", "--only", "capture", "--json", "--log-format", "json"], |_| {});
    while !server.has_all_executed_in(&topic.reached().gtids) {}
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
