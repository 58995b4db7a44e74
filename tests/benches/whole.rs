//! The whole program: MySQL binlog file to SQLite history, a million entities, with its memory on the way.
//!
//! `cargo bench --workspace --bench whole` (a million changes), `cargo bench --workspace --bench whole -- --long` (five
//! million, DESIGN's figure). Builds the release program first where it is older than its sources.

use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::asset_log::{AssetLog, TABLE};
use hindsight_tests::measured::{build_program, rss_kib};
use hindsight_tests::program::Folder;
use hindsight_tests::rounds::{children_cpu, rate};

fn main() -> ExitCode {
    let changes = if std::env::args().any(|argument| argument == "--long") { 5_000_000 } else { 1_000_000 };
    build_program();
    let folder = Folder::new();
    let log = AssetLog { changes, owners: 1_000_000, statements_per_transaction: 10, rows_per_statement: 1 };
    let path = folder.path().join("binlog.000001");
    let written = log.write(&path).expect("write the log");
    println!(
        "binlog file -> SQLite history, the whole program: {} changes in {} transactions ({} MB), {} entities",
        written.changes,
        written.transactions,
        written.bytes / 1_000_000,
        log.owners
    );
    folder.write("hindsight.toml", CONFIGURATION.replace("TABLE", TABLE));

    let (started, cpu_before) = (Instant::now(), children_cpu());
    let mut child = folder.command(&["run", "--json"]).spawn().expect("start the program");
    let mut samples = Vec::new();
    while child.try_wait().expect("ask for the program's end").is_none() {
        if let Some(sample) = Sample::of(child.id(), &path) {
            samples.push(sample);
        }
        thread::sleep(Duration::from_millis(20));
    }
    let (elapsed, output) = (started.elapsed(), child.wait_with_output().expect("read the program's answer"));
    let cpu = children_cpu() - cpu_before;
    if !output.status.success() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        return ExitCode::FAILURE;
    }
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("--json answers with JSON");
    assert_eq!(summary["changes"], written.changes, "all changes are done");

    println!(
        "{:<34} {:>12}   must 100 k/s, reach for 250 k/s",
        "changes a second (wall clock)",
        rate(changes, elapsed)
    );
    println!(
        "{:<34} {:>12}   {:.2} s wall, {:.2} s CPU",
        "changes a CPU second",
        rate(changes, cpu),
        elapsed.as_secs_f64(),
        cpu.as_secs_f64()
    );
    let at = |share: f64| samples.iter().find(|sample| sample.done as f64 >= share * written.bytes as f64);
    let peak = samples.iter().map(|sample| sample.rss_kib).max().unwrap_or(0);
    for (label, sample) in [("memory at 20 %", at(0.2)), ("memory at 100 %", samples.last())] {
        let mib = sample.map_or("not seen".into(), |sample| format!("{} MiB", sample.rss_kib / 1024));
        println!("{label:<34} {mib:>12}   must be < 150 MB, the same at both");
    }
    println!("{:<34} {:>12}", "memory at the most", format!("{} MiB", peak / 1024));
    let size = std::fs::metadata(folder.path().join("history.db")).map_or(0, |metadata| metadata.len());
    println!("{:<34} {:>12}", "history.db", format!("{} MB", size / 1_000_000));
    let stages = summary["stages"].as_object().expect("the time of each stage");
    for (stage, ms) in stages {
        println!("{:<34} {:>12}", stage.trim_end_matches("_ms").replace('_', " "), format!("{ms} ms"));
    }
    ExitCode::SUCCESS
}

const CONFIGURATION: &str = r#"name = "whole"
[source]
kind = "binlog-file"
files = ["binlog.000001"]
tables = ["TABLE"]
[rule]
component = "builtin:scd2-by-owner"
[sink]
kind = "sqlite"
path = "history.db"
table = "item_asset_history"
"#;

/// Resident memory, and how far the log was read.
struct Sample {
    rss_kib: u64,
    done: u64,
}

impl Sample {
    fn of(process: u32, log: &Path) -> Option<Self> {
        let rss_kib = rss_kib(process)?;
        let process = Path::new("/proc").join(process.to_string());
        let files = std::fs::read_dir(process.join("fd")).ok()?.flatten();
        let file = files.into_iter().find(|file| std::fs::read_link(file.path()).is_ok_and(|path| path == log))?;
        let info = std::fs::read_to_string(process.join("fdinfo").join(file.file_name())).ok()?;
        let done = info.lines().find_map(|line| line.strip_prefix("pos:"))?.trim().parse().ok()?;
        Some(Sample { rss_kib, done })
    }
}
