//! Binlog file to change events: one core, checksums verified, every value read.
//!
//! `cargo bench --workspace --bench decode`. Where MySQL's own `mysqlbinlog` is set up, it reads the same files in the same run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hindsight::civil::Zone;
use hindsight::event::Batch;
use hindsight::rows::Value;
use hindsight::source::{BinlogFile, BinlogFileSettings, Source, TableFilter};
use hindsight_tests::asset_log::{AssetLog, TABLE, Written};
use hindsight_tests::program::{Folder, repository};
use hindsight_tests::rounds::{self, children_cpu, interleaved, rate};

const ROUNDS: usize = 7;

fn main() {
    let folder = Folder::new();
    let log = |name: &str, log: AssetLog| {
        let path = folder.path().join(name);
        let written = log.write(&path).expect("write the log");
        (path, written)
    };
    let single = AssetLog { changes: 400_000, owners: 100_000, statements_per_transaction: 1, rows_per_statement: 1 };
    let logs = [
        ("single-row transactions", log("single.000001", single), 0.5),
        ("ten statements a transaction", log("ten.000001", AssetLog { statements_per_transaction: 10, ..single }), 0.5),
        (
            "multi-row transactions",
            log("multi.000001", AssetLog { changes: 1_000_000, rows_per_statement: 10_000, ..single }),
            2.0,
        ),
    ];
    println!("binlog -> change events, one core, CRC on; CPU time, median of {ROUNDS} interleaved rounds");
    println!(
        "{:<30} {:>11} {:>13} {:>13} {:>9} {:>11} {:>12}",
        "log", "must", "decoded", "+ read again", "MB/s", "mysqlbinlog", "times faster"
    );
    for (name, (path, written), must) in &logs {
        let variants: Vec<rounds::Variant<'_>> = vec![
            ("decoded", Box::new(|| check(written, read(path, |_| 0)))),
            ("read again", Box::new(|| check(written, read(path, sum)))),
        ];
        let medians = interleaved(ROUNDS, variants);
        let [decoded, again] = [&medians[0], &medians[1]];
        let tool = mysqlbinlog(path);
        let show = |time: Duration| rate(written.changes, time);
        println!(
            "{:<30} {:>11} {:>13} {:>13} {:>9.0} {:>11} {:>12}",
            name,
            format!("{must} M/s"),
            show(decoded.cpu),
            show(again.cpu),
            written.bytes as f64 / decoded.cpu.as_secs_f64() / 1e6,
            tool.map_or("not set up".into(), show),
            tool.map_or(String::new(), |tool| format!("{:.0}", tool.as_secs_f64() / decoded.cpu.as_secs_f64())),
        );
    }
}

/// What reading gave: changes, and what `each` made of the batches.
struct Read {
    changes: u64,
    sum: u64,
}

/// The whole log in batches of production's size.
fn read(path: &Path, each: fn(&Batch) -> u64) -> Read {
    let settings = BinlogFileSettings {
        files: vec![path.to_owned()],
        tables: TableFilter::parse(&[TABLE]).expect("a table's name"),
        zone: Zone::UTC,
        batch_changes_max: 16_384,
        batch_bytes_max: 16 << 20,
    };
    let mut source = BinlogFile::open(settings, None).expect("open the log");
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime on this thread");
    let mut result = Read { changes: 0, sum: 0 };
    while let Some((batch, _)) = runtime.block_on(source.next()).expect("read the log") {
        result.changes += batch.changes.len() as u64;
        result.sum = result.sum.wrapping_add(each(&batch));
    }
    result
}

/// Reads every value of every image once more, as whoever comes behind the source does.
fn sum(batch: &Batch) -> u64 {
    let value = |value: Value<'_>| match value {
        Value::Int(value) => value as u64,
        Value::Text(text) => text.bytes().map(u64::from).sum(),
        other => unreachable!("the log has no {other:?}"),
    };
    batch
        .images
        .iter()
        .flat_map(|images| images.iter())
        .flat_map(|row| row.values())
        .map(value)
        .fold(0, u64::wrapping_add)
}

fn check(written: &Written, read: Read) {
    assert_eq!(read.changes, written.changes);
    std::hint::black_box(read.sum);
}

/// CPU time of MySQL's own decoder, its text thrown away.
fn mysqlbinlog(path: &Path) -> Option<Duration> {
    let program: PathBuf = repository().join("target/services/mysql/bin/mysqlbinlog");
    if !program.exists() {
        return None;
    }
    let before = children_cpu();
    let status = Command::new(&program)
        .args(["--base64-output=decode-rows", "-v"])
        .arg(path)
        .stdout(Stdio::null())
        .status()
        .expect("run mysqlbinlog");
    assert!(status.success(), "{} reads {}", program.display(), path.display());
    Some(children_cpu() - before)
}
