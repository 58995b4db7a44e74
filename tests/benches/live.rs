//! A running MySQL server as the source: how fast a backlog is read, how fast it becomes history, and how soon a single
//! change is visible.
//!
//! `cargo bench --workspace --bench live` (300,000 changes), `-- --long` (five million). `source`, `whole` and `latency`
//! behind `--` choose parts.

use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hindsight::civil::Zone;
use hindsight::source::mysql::{End, Server, SnapshotSettings};
use hindsight::source::{BinlogFile, BinlogFileSettings, Mysql as MysqlSource, MysqlSettings, Source, TableFilter};
use hindsight::source::{Start, Tls};
use hindsight_tests::asset_log::{AssetLog, TABLE};
use hindsight_tests::live::Live;
use hindsight_tests::measured::{build_program, own_cpu, process_cpu, rss_kib};
use hindsight_tests::mysql::{Mysql, OUTLIVES_KILLS};
use hindsight_tests::pipeline::{self, Place};
use hindsight_tests::program::Folder;
use hindsight_tests::rounds::{children_cpu, rate};
use hindsight_tests::served_log::{FILE, serve};
use mysql_async::prelude::Queryable;
use rusqlite::{Connection, OpenFlags};

const ROUNDS: usize = 3;

/// Of the latency's part, at twenty a second.
const SINGLE_CHANGES: i64 = 1_000;
const PAUSE: Duration = Duration::from_millis(50);

/// In production's sizes.
const BATCH_CHANGES: usize = 16_384;
const BATCH_BYTES: usize = 16 << 20;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |part: &str| words.iter().all(|word| word.starts_with("--")) || words.iter().any(|word| word == part);
    let changes = if words.iter().any(|word| word == "--long") { 5_000_000 } else { 300_000 };
    build_program();
    if chosen("source") {
        source(changes);
    }
    if chosen("whole") {
        whole(changes);
    }
    if chosen("latency") {
        latency();
    }
    ExitCode::SUCCESS
}

/// The live source alone, into a counter, beside MySQL's own tool and the source of files.
fn source(changes: u64) {
    println!("a backlog of {changes} changes -> change events; medians of {ROUNDS} interleaved rounds");
    println!("{:<26} {:<34} {:>10} {:>10} {:>12} {:>12}", "log", "read by", "wall", "CPU", "changes/s", "a CPU second");
    let single = AssetLog { changes, owners: 100_000, statements_per_transaction: 1, rows_per_statement: 1 };
    for (name, log) in [
        ("single-row transactions", single),
        ("multi-row transactions", AssetLog { rows_per_statement: 10_000, ..single }),
    ] {
        let (server, written) = serve(log);
        let ways: [(&str, &dyn Fn() -> Spent); 3] = [
            ("the live source", &|| {
                spent(own_cpu, || assert_eq!(read_live(&server, written.changes), written.changes))
            }),
            ("mysqlbinlog --raw, from the server", &|| spent(children_cpu, || fetch(&server))),
            ("the source of files", &|| spent(own_cpu, || assert_eq!(read_file(&server), written.changes))),
        ];
        let mut rounds = vec![Vec::new(); ways.len()];
        for round in 0..=ROUNDS {
            for ((_, way), spent) in ways.iter().zip(&mut rounds) {
                let one = way();
                // The first one fills caches.
                if round > 0 {
                    spent.push(one);
                }
            }
        }
        for ((way, _), spent) in ways.iter().zip(rounds) {
            let median = |of: fn(&Spent) -> Duration| {
                let mut times: Vec<Duration> = spent.iter().map(of).collect();
                times.sort();
                times[times.len() / 2]
            };
            let (wall, cpu) = (median(|spent| spent.wall), median(|spent| spent.cpu));
            println!(
                "{name:<26} {way:<34} {:>8.2} s {:>8.2} s {:>12} {:>12}",
                wall.as_secs_f64(),
                cpu.as_secs_f64(),
                rate(written.changes, wall),
                rate(written.changes, cpu)
            );
        }
    }
    println!("must: 0.5 M/s single-row, 2 M/s multi-row, by the CPU second of one core\n");
}

#[derive(Clone, Copy)]
struct Spent {
    wall: Duration,
    cpu: Duration,
}

/// `cpu`: of those who do the work; the server's is never counted.
fn spent(cpu: fn() -> Duration, work: impl FnOnce()) -> Spent {
    let (started, cpu_before) = (Instant::now(), cpu());
    work();
    Spent { wall: started.elapsed(), cpu: cpu() - cpu_before }
}

fn read_live(server: &Mysql, changes: u64) -> u64 {
    let settings = MysqlSettings {
        servers: vec![Server::parse(&server.url(), Tls::Disabled, None).expect("the server's address")],
        tables: TableFilter::parse(&[TABLE]).expect("a table's name"),
        zone: Zone::UTC,
        start: Start::Earliest,
        snapshot: SnapshotSettings::never(),
        heartbeat: Duration::from_secs(5),
        reader: MysqlSettings::reader("the bench", None),
        pipeline: "bench".into(),
        end: End::Never,
        batch_changes_max: BATCH_CHANGES,
        batch_bytes_max: BATCH_BYTES,
    };
    runtime().block_on(async {
        let source = MysqlSource::open(settings, None).await.expect("connect to the server");
        count(source, changes).await
    })
}

fn read_file(server: &Mysql) -> u64 {
    let settings = BinlogFileSettings {
        files: vec![server.file(FILE)],
        tables: TableFilter::parse(&[TABLE]).expect("a table's name"),
        zone: Zone::UTC,
        batch_changes_max: BATCH_CHANGES,
        batch_bytes_max: BATCH_BYTES,
    };
    let source = BinlogFile::open(settings, None).expect("open the log");
    runtime().block_on(count(source, u64::MAX))
}

/// Changes up to the log's end, or until there are so many.
async fn count(mut source: impl Source, enough: u64) -> u64 {
    let mut n_changes = 0;
    while n_changes < enough
        && let Some((batch, _)) = source.next().await.expect("read the log")
    {
        n_changes += batch.changes.len() as u64;
    }
    n_changes
}

/// Everything on this one thread.
fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime on this thread")
}

/// MySQL's own reader writes the file as it is.
fn fetch(server: &Mysql) {
    let folder = Folder::new();
    let program = hindsight_tests::program::repository().join("target/services/mysql/bin/mysqlbinlog");
    let status = Command::new(program)
        .args(["--no-defaults", "--read-from-remote-server", "--raw", "--host=127.0.0.1", "--user=root"])
        .args([format!("--port={}", server.port()), format!("--result-file={}/", folder.path().display())])
        .arg(FILE)
        .stdout(Stdio::null())
        .status()
        .expect("run mysqlbinlog");
    assert!(status.success(), "mysqlbinlog reads {FILE}");
}

/// The program from a server's backlog to an SQLite history, with its memory on the way.
fn whole(changes: u64) {
    let log = AssetLog { changes, owners: 1_000_000, statements_per_transaction: 10, rows_per_statement: 1 };
    let (server, written) = serve(log);
    println!(
        "a server's backlog -> SQLite history, the whole program: {} changes in {} transactions, {} entities",
        written.changes, written.transactions, log.owners
    );
    let place = Live { table: TABLE, batch: BATCH_CHANGES, ..Live::of(&server) }.place();
    let (first, started) = (place.reached().transactions, Instant::now());
    let mut running = place.follow();
    let mut samples = Vec::new();
    // The server's own transactions come first; they are few.
    loop {
        running.assert_runs();
        let done = place.reached().transactions.saturating_sub(first);
        samples.extend(rss_kib(running.id()).map(|rss_kib| (done, rss_kib)));
        if done >= written.transactions && server.has_all_executed_in(&place.reached().gtids) {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let (elapsed, cpu) = (started.elapsed(), process_cpu(running.id()).expect("it runs"));
    assert_eq!(running.stop().count("changes"), written.changes, "all changes are done");
    println!("{:<34} {:>12}   must 100 k/s, reach for 250 k/s", "changes a second", rate(written.changes, elapsed));
    println!(
        "{:<34} {:>12}   {:.2} s wall, {:.2} s CPU",
        "changes a CPU second",
        rate(written.changes, cpu),
        elapsed.as_secs_f64(),
        cpu.as_secs_f64()
    );
    let at = |share: f64| samples.iter().find(|(done, _)| *done as f64 >= share * written.transactions as f64);
    for (label, sample) in [("memory at 20 %", at(0.2)), ("memory at 100 %", samples.last())] {
        let mib = sample.map_or("not seen".into(), |(_, rss_kib)| format!("{} MiB", rss_kib / 1024));
        println!("{label:<34} {mib:>12}   must be < 150 MB, the same at both");
    }
    let peak = samples.iter().map(|(_, rss_kib)| rss_kib).max().unwrap_or(&0);
    println!("{:<34} {:>12}\n", "memory at the most", format!("{} MiB", peak / 1024));
}

/// One change at a time, from the client's return of COMMIT until another SQLite connection has the row.
fn latency() {
    let server = Mysql::start(OUTLIVES_KILLS);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop; USE shop; CREATE TABLE item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL,
         asset_info VARCHAR(255) NOT NULL, registered_at DATETIME NOT NULL); INSERT INTO item_assets VALUES (0, 0, 'first', '2025-01-01');",
    );
    let place = Live::of(&server).place();
    let mut running = place.follow();
    place.wait_until_all_is_done(&server, &mut running);
    let (committed, seen) = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&place));
        let committed = runtime().block_on(commit_singly(&server));
        (committed, watching.join().expect("watch the history"))
    });
    running.stop();
    let mut taken: Vec<Duration> =
        committed.iter().zip(&seen).map(|(committed, seen)| seen.saturating_duration_since(*committed)).collect();
    taken.sort();
    let ms = |share: f64| taken[((taken.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!(
        "one change at 20 a second, COMMIT's return -> visible to another SQLite connection, {} changes",
        taken.len()
    );
    println!("{:>10} {:>10} {:>10} {:>10}   must p99 < 20 ms, reach for 5", "p50", "p90", "p99", "max");
    println!("{:>7.2} ms {:>7.2} ms {:>7.2} ms {:>7.2} ms", ms(0.5), ms(0.9), ms(0.99), ms(1.0));
}

/// When each COMMIT returned.
async fn commit_singly(server: &Mysql) -> Vec<Instant> {
    let url = format!("mysql://root@127.0.0.1:{}/shop?prefer_socket=false", server.port());
    let mut client = mysql_async::Conn::from_url(url).await.expect("connect as root");
    let mut committed = Vec::new();
    for id in 1..=SINGLE_CHANGES {
        client.query_drop("BEGIN").await.expect("begin");
        let insert = format!("INSERT INTO item_assets VALUES ({id}, {}, 'a single change', '2025-01-01')", id % 50);
        client.query_drop(insert).await.expect("insert");
        client.query_drop("COMMIT").await.expect("commit");
        committed.push(Instant::now());
        tokio::time::sleep(PAUSE).await;
    }
    committed
}

/// When each row was first seen.
fn watch(place: &Place) -> Vec<Instant> {
    let history = Connection::open_with_flags(place.database(), OpenFlags::SQLITE_OPEN_READ_ONLY);
    let history = history.expect("open the history");
    let newest = format!("SELECT MAX(source_id) FROM {}", pipeline::TABLE);
    let mut newest = history.prepare(&newest).expect("read the history");
    let (mut seen, begun) = (Vec::new(), Instant::now());
    while (seen.len() as i64) < SINGLE_CHANGES {
        let id: i64 = newest.query_row([], |row| row.get(0)).expect("read the history");
        seen.resize(id as usize, Instant::now());
        assert!(
            begun.elapsed() < PAUSE * SINGLE_CHANGES as u32 * 2 + Duration::from_secs(60),
            "row {} is not there",
            seen.len() + 1
        );
        // Not tight: the machine has two cores, and three others are at work.
        thread::sleep(Duration::from_micros(50));
    }
    seen
}
