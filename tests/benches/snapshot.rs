//! The rows that are in a table already: how fast they are read, in how much memory, and what a kill costs.
//!
//! `cargo bench --workspace --bench snapshot` (500,000 rows), `-- --long` (five million). `read`, `whole` and `resume` behind
//! `--` choose parts.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hindsight::civil::Zone;
use hindsight::source::mysql::{End, Server, SnapshotSettings};
use hindsight::source::{Mysql as MysqlSource, MysqlSettings, Source, Start, TableFilter, Tls};
use hindsight_tests::asset_log::TABLE;
use hindsight_tests::live::Live;
use hindsight_tests::measured::{build_program, own_cpu, rss_kib};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::rounds::rate;

/// In production's sizes.
const BATCH_CHANGES: usize = 16_384;
const BATCH_BYTES: usize = 16 << 20;
const READERS: usize = 2;

const OWNERS: u64 = 100_000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |part: &str| words.iter().all(|word| word.starts_with("--")) || words.iter().any(|word| word == part);
    let rows = if words.iter().any(|word| word == "--long") { 5_000_000 } else { 500_000 };
    let server = Mysql::start(&["--innodb-buffer-pool-size=2G"]);
    server.add_reader();
    server.sql("CREATE DATABASE shop");
    if chosen("read") {
        println!(
            "{rows} rows of {OWNERS} owners -> a counter, {READERS} readers, chunks of about {BATCH_CHANGES} rows, by \
             KEY (owner_id)"
        );
        for (layout, owner) in [
            ("an owner's rows side by side", format!("1 + i DIV {}", rows / OWNERS)),
            ("an owner's rows far apart", far_apart()),
        ] {
            fill(&server, rows, &owner);
            println!("\n{layout}");
            let reading = read(&server, rows, "the source");
            let looking = looked_at(&server);
            println!(
                "{:<34} {:>12} rows/s   {:.2} s wall: {:.2} of the source's",
                "the server alone, nothing sent",
                rate(rows, looking),
                looking.as_secs_f64(),
                looking.as_secs_f64() / reading.as_secs_f64()
            );
        }
        println!("must: 300 k rows/s on 2 cores, the server's work included\n");
    }
    if chosen("resume") || chosen("whole") {
        fill(&server, rows, &far_apart());
    }
    if chosen("resume") {
        resume(&server, rows);
    }
    if chosen("whole") {
        server.sql("ALTER TABLE shop.item_assets DROP INDEX owner_id");
        println!("the same table without the index, in one read view");
        read(&server, rows, "the source");
        println!("must: memory as above\n");
    }
    ExitCode::SUCCESS
}

/// The owner of the row with id `i`, where the rows that are read together are on as many pages as there are rows.
fn far_apart() -> String {
    format!("1 + (i * 7919) % {OWNERS}")
}

/// The reference table with so many rows in it.
fn fill(server: &Mysql, rows: u64, owner: &str) {
    server.sql(&format!(
        "USE shop; DROP TABLE IF EXISTS item_assets;
         CREATE TABLE item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL, asset_info VARCHAR(255) NOT NULL,
         registered_at DATETIME NOT NULL, KEY owner_id (owner_id));
         SET SESSION cte_max_recursion_depth = 1000000000, sql_log_bin = 0;
         INSERT INTO item_assets WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         SELECT i, {owner}, CONCAT('asset number ', i, ' of this table'), '2025-01-01' + INTERVAL i SECOND FROM n;
         ANALYZE TABLE item_assets;"
    ));
}

/// How long the server takes to look at every row along the index, on as many connections as there are readers: what no
/// reader can be faster than.
fn looked_at(server: &Mysql) -> Duration {
    let started = Instant::now();
    thread::scope(|scope| {
        for reader in 0..READERS as u64 {
            let (from, to) = (reader * OWNERS / READERS as u64, (reader + 1) * OWNERS / READERS as u64);
            scope.spawn(move || {
                // A column that is not in the index.
                server.sql(&format!(
                    "SELECT COUNT(asset_info) FROM shop.item_assets FORCE INDEX (owner_id)
                     WHERE owner_id > {from} AND owner_id <= {to}"
                ));
            });
        }
    });
    started.elapsed()
}

fn read(server: &Mysql, rows: u64, name: &str) -> Duration {
    let settings = MysqlSettings {
        servers: vec![Server::parse(&server.url(), Tls::Disabled, None).expect("the server's address")],
        tables: TableFilter::parse(&[TABLE]).expect("a table's name"),
        zone: Zone::UTC,
        start: Start::Earliest,
        snapshot: SnapshotSettings {
            initial: true,
            on_lost_position: false,
            consistent: false,
            readers: READERS,
            chunk_rows: BATCH_CHANGES,
            rows_per_second: None,
            // The second column is the owner.
            entity_key: Arc::new(|tables| Ok(vec![vec![1]; tables.len()])),
        },
        heartbeat: Duration::from_secs(5),
        reader: MysqlSettings::reader("the bench", None),
        pipeline: "bench".into(),
        end: End::AsOpened,
        batch_changes_max: BATCH_CHANGES,
        batch_bytes_max: BATCH_BYTES,
    };
    // As the program's.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build();
    let (started, cpu_before) = (Instant::now(), own_cpu());
    let n_read = Arc::new(AtomicU64::new(0));
    let memory = Memory::watch(n_read.clone());
    let counted = n_read.clone();
    runtime.expect("start threads").block_on(async move {
        let mut source = MysqlSource::open(settings, None).await.expect("connect to the server");
        while let Some((batch, _)) = source.next().await.expect("read the table") {
            counted.fetch_add(batch.changes.len() as u64, Ordering::Relaxed);
        }
    });
    let (wall, cpu) = (started.elapsed(), own_cpu() - cpu_before);
    assert_eq!(n_read.load(Ordering::Relaxed), rows, "every row once");
    println!(
        "{name:<34} {:>12} rows/s, {} a CPU second of ours   {:.2} s wall, {:.2} s CPU",
        rate(rows, wall),
        rate(rows, cpu),
        wall.as_secs_f64(),
        cpu.as_secs_f64()
    );
    let samples = memory.end();
    let at = |share: f64| samples.iter().find(|(read, _)| *read as f64 >= share * rows as f64);
    for (label, sample) in [("memory at 20 %", at(0.2)), ("memory at 100 %", samples.last())] {
        let mib = sample.map_or("not seen".into(), |(_, rss_kib)| format!("{} MiB", rss_kib / 1024));
        println!("{label:<34} {mib:>12}");
    }
    let peak = samples.iter().map(|(_, rss_kib)| rss_kib).max().unwrap_or(&0);
    println!("{:<34} {:>12}", "memory at the most", format!("{} MiB", peak / 1024));
    wall
}

/// This process's memory while rows are read.
struct Memory {
    ended: Arc<AtomicBool>,
    watching: thread::JoinHandle<Vec<(u64, u64)>>,
}

impl Memory {
    fn watch(n_read: Arc<AtomicU64>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        let watching = thread::spawn(move || {
            let mut samples = Vec::new();
            while !until.load(Ordering::Relaxed) {
                samples.extend(rss_kib(std::process::id()).map(|rss_kib| (n_read.load(Ordering::Relaxed), rss_kib)));
                thread::sleep(Duration::from_millis(20));
            }
            samples
        });
        Memory { ended, watching }
    }

    fn end(self) -> Vec<(u64, u64)> {
        self.ended.store(true, Ordering::Relaxed);
        self.watching.join().expect("watch the memory")
    }
}

/// The whole program, killed when two fifths are in the history: the second run reads what the first had not committed.
fn resume(server: &Mysql, rows: u64) {
    build_program();
    let place =
        Live { table: TABLE, batch: BATCH_CHANGES, snapshot: "snapshot = \"initial\"", ..Live::of(server) }.place();
    let started = Instant::now();
    let mut running = place.follow();
    let done = || place.checkpoint().as_deref().and_then(rows_of).unwrap_or(0);
    while done() < rows * 2 / 5 {
        running.assert_runs();
        thread::sleep(Duration::from_millis(5));
    }
    running.kill();
    let (killed, before) = (done(), started.elapsed());
    let answer = place.run_to_end();
    let (reads, elapsed) = (answer.count("reads"), started.elapsed() - before);
    println!("killed with {killed} rows in the history after {:.2} s", before.as_secs_f64());
    println!(
        "{:<34} {:>12} rows in {:.2} s, {} rows/s",
        "the second run reads",
        reads,
        elapsed.as_secs_f64(),
        rate(reads, elapsed)
    );
    assert_eq!(killed + reads, rows, "no chunk that was done is read again");
    println!("together {rows}: nothing that was done is read again\n");
}

/// The rows that a position says are done.
fn rows_of(position: &str) -> Option<u64> {
    let rest = position.split("\"rows\":").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
