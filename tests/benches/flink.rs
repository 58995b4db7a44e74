//! The pair of Flink jobs that hindsight replaces, and its two halves, over the same log in one run.
//!
//! `cargo xtask bench flink` (a million changes). The jobs are in `tests/flink`: Flink CDC into a topic by transactions, and
//! the topic's versions of rows into a sink that only counts. Beside the latter stands our way to such a sink; our
//! apply half also writes SQLite.

mod shared;

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use hindsight::config::Config;
use hindsight_tests::asset_log::{AssetLog, TABLE};
use hindsight_tests::kafka::Broker;
use hindsight_tests::live::Live;
use hindsight_tests::measured::build_program;
use hindsight_tests::mysql::{Mysql, target};
use hindsight_tests::pipeline::Place;
use hindsight_tests::served_log::serve;
use hindsight_tests::topic::{PARTITIONS, Topic};
use shared::{Taken, capture_half, captured, half, read, watched};

const CHANGES: u64 = 1_000_000;

/// Rows of a statement, a transaction each: 158 bytes of log a change, as in the load that the rates below were measured with.
const ROWS: u32 = 3;

/// In production's size.
const BATCH_CHANGES: usize = 16_384;

/// What these jobs reach on two cores that they have for themselves, in changes a second (measured on another machine);
/// below 0.7 of it the job is at fault, not its engine.
const KNOWN_CAPTURE: f64 = 55_000.0;
const KNOWN_APPLY: f64 = 139_000.0;
const SHARE_LEAST: f64 = 0.7;

/// In which a job has to be done.
const JOB_MAX: Duration = Duration::from_secs(300);

/// Of the machine's two cores, in the program as in Flink's slots.
const THREADS: usize = 2;

fn main() -> ExitCode {
    build_program();
    let broker = Broker::start_able();
    let log = AssetLog { changes: CHANGES, owners: 100_000, statements_per_transaction: 1, rows_per_statement: ROWS };
    let (server, written) = serve(log);
    // Flink CDC looks at the table, the log alone is not enough for it.
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL,
         asset_info VARCHAR(255) NOT NULL, registered_at DATETIME NOT NULL);",
    );
    println!(
        "{} changes in {} transactions, {} bytes of log a change, a topic of {PARTITIONS} partitions\n",
        written.changes,
        written.transactions,
        written.bytes / written.changes
    );
    // What server and broker do the first time they do more slowly; and their caches are cold.
    let warm = Topic::on(broker.client());
    half(&place(&server, &warm), "capture");
    let topic = Topic::on(broker.client());
    let place = place(&server, &topic);
    let named = format!("{}-flink", topic.name);
    // The job's messages bear the changes' own times, which are long past: by them the broker would delete them at once.
    topic.client.create_topic(&named, PARTITIONS, &["message.timestamp.type=LogAppendTime"]);
    let captured =
        [capture_half(&place, &topic, written.changes), flink_capture(&server, &topic, &named, written.changes)];
    compared("capture", &captured, KNOWN_CAPTURE);
    let config = Config::load(&place.0.path().join("hindsight.toml")).expect("the configuration");
    let ours = read(&config, "topic -> rule -> counted rows", true, THREADS);
    compared("apply", &[ours, flink_apply(&topic, &named, written.changes)], KNOWN_APPLY);
    println!("{}", half(&place, "apply"));
    ExitCode::SUCCESS
}

fn place(server: &Mysql, topic: &Topic) -> Place {
    Live { table: TABLE, batch: BATCH_CHANGES, topic: &topic.section(), ..Live::of(server) }.place()
}

fn compared(what: &str, [ours, theirs]: &[Taken; 2], known: f64) {
    let rate = |taken: &Taken| taken.n as f64 / taken.wall.as_secs_f64();
    println!("{ours}\n{theirs}");
    let memory = match (ours.rss_kib, theirs.rss_kib) {
        (Some(ours), Some(theirs)) => format!(", 1/{:.1} of the memory", theirs as f64 / ours as f64),
        _ => String::new(),
    };
    println!(
        "{what}: {:.1} times as fast, 1/{:.1} of the CPU time{memory}; Flink at {:.2} of its known rate{}\n",
        rate(ours) / rate(theirs),
        theirs.cpu.as_secs_f64() / ours.cpu.as_secs_f64(),
        rate(theirs) / known,
        if rate(theirs) < SHARE_LEAST * known { ": TOO SLOW TO COUNT" } else { "" }
    );
}

fn flink_capture(server: &Mysql, topic: &Topic, named: &str, changes: u64) -> Taken {
    let folder = tempfile::tempdir().expect("a folder for checkpoints");
    let mut job = Job::start("Capture", &[&server.port().to_string(), &topic.client.address(), named], folder.path());
    let to = (&topic.client, named);
    let taken = captured("Flink CDC -> topic", job.0.id(), to, changes, || job.runs());
    drop(job);
    let committed = topic.client.count(named, "read_committed") as u64;
    assert_eq!(committed, changes, "each change is in the topic once");
    taken
}

/// As long as the job says that it ran.
fn flink_apply(topic: &Topic, named: &str, changes: u64) -> Taken {
    let folder = tempfile::tempdir().expect("a folder for checkpoints");
    let mut job = Job::start("Apply", &[&topic.client.address(), named], folder.path());
    let begun = Instant::now();
    let (cpu, rss_kib) = watched(job.0.id(), || {
        assert!(begun.elapsed() < JOB_MAX, "it does not end");
        job.runs()
    });
    let mut said = String::new();
    job.0.stdout.take().expect("piped").read_to_string(&mut said).expect("the job's output");
    let figure = |name: &str| -> u64 {
        let found = said.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("no {name} in {said:?}"))
    };
    assert_eq!(figure("changes"), changes, "{said}");
    let wall = Duration::from_millis(figure("milliseconds"));
    Taken { what: "topic -> Flink -> counted rows".into(), n: changes, wall, cpu, rss_kib: Some(rss_kib) }
}

/// A job of `tests/flink` in a JVM of its own.
struct Job(Child);

impl Job {
    /// Its last argument is the folder for checkpoints. It prints no more than a line.
    fn start(name: &str, arguments: &[&str], checkpoints: &Path) -> Self {
        let program = target().join("services").join("flink").join("bin").join("job");
        assert!(program.exists(), "there are no Flink jobs at {}: run `cargo xtask bench flink`", program.display());
        let mut command = Command::new(program);
        command.arg(name).args(arguments).arg(checkpoints).stdin(Stdio::null()).stdout(Stdio::piped());
        Job(command.spawn().expect("start the job"))
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().expect("look at the job").is_none()
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
