//! Binlog files that are damaged, cut, foreign, or hold what hindsight does not do: each a clear error after all that is
//! sound before it, never a panic, never silently other changes.

mod content;
mod cut;
mod files;
mod flipped;
mod fuzz;
mod recorded;
mod rows;

use hindsight::event::Position;
use hindsight::source::SourceError;
use hindsight_tests::binlog::{self, Events, Table};
use hindsight_tests::contract::source::{Seen, read_until_it_fails, same};
use hindsight_tests::program::Folder;

const NAME: &str = "binlog.000001";

/// A log with an event of each kind that a server writes into such files: small enough to try each byte.
fn one_of_each_kind() -> Events {
    let (table, foreign) = (Table::item_assets(), Table::foreign("other.notes"));
    let item = Table::item;
    let mut log = Events::new();
    log.transaction(|t| {
        t.table_map(90, &table).insert(90, &table, &[item(1, 7, "a"), item(2, 7, "b")]);
    });
    log.ddl(b"CREATE TABLE more (id INT)");
    log.tagged_gtid("blue").begin().table_map(90, &table);
    log.event_with(29, binlog::FLAG_IGNORABLE, b"\x0fUPDATE ... WHERE").update(
        90,
        &table,
        &[(item(1, 7, "a"), item(1, 8, "\u{1f600}"))],
    );
    log.xid();
    log.compressed(|t| {
        t.table_map(91, &foreign).table_map(90, &table);
        t.insert(90, &table, &[item(3, 7, "c"), item(4, 7, "d")]).delete(90, &table, &[item(3, 7, "c")]);
    });
    log.anonymous_gtid().begin().table_map(90, &table).delete(90, &table, &[item(2, 7, "b")]).commit();
    log.rotate("binlog.000002");
    log
}

/// What reading gives, whether the file can be opened or not.
struct Outcome {
    changes: Vec<Seen>,
    last: Option<Position>,
    error: Option<SourceError>,
}

async fn outcome(folder: &Folder, names: &[&str], batch: usize, start: Option<&Position>) -> Outcome {
    match binlog::open(folder.path(), names, batch, start) {
        Ok(mut source) => {
            let (changes, last, error) = read_until_it_fails(&mut source).await;
            Outcome { changes, last, error }
        }
        Err(error) => Outcome { changes: Vec::new(), last: None, error: Some(error) },
    }
}

/// Reads a file of these events that must fail after all whole transactions; gives the error.
#[track_caller]
fn refused(log: &Events) -> SourceError {
    refused_after(log, log.changes.len())
}

/// The same where only the first `n` changes are handed out.
#[track_caller]
fn refused_after(log: &Events, n: usize) -> SourceError {
    let folder = Folder::new();
    log.write(folder.path(), NAME);
    let Outcome { changes, error, .. } = now(outcome(&folder, &[NAME], 1000, None));
    same(&changes, &log.changes[..n], "before the error");
    error.expect("the file cannot be read to its end")
}

/// `error` stops the log and says all of `words`.
#[track_caller]
fn stops(error: &SourceError, words: &[&str]) {
    assert!(matches!(error, SourceError::Stop(_)), "should be a stop: {error:?}");
    says(error, words);
}

/// `error` refuses the file as a whole and says all of `words`.
#[track_caller]
fn unfit(error: &SourceError, words: &[&str]) {
    assert!(matches!(error, SourceError::Unfit(_)), "should be unfit: {error:?}");
    says(error, words);
}

#[track_caller]
fn says(error: &SourceError, words: &[&str]) {
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in: {error}");
    }
}

/// Writes the bytes into a new file: thousands of times an old one cut to nothing would be waited for by some file systems.
fn write(folder: &Folder, name: &str, bytes: &[u8]) {
    let path = folder.path().join(name);
    let _ = std::fs::remove_file(&path);
    std::fs::write(path, bytes).expect("write a binlog file");
}

/// `binlog.000001:4711` of the last event.
fn place_of_last(log: &Events) -> String {
    format!("{NAME}:{}", log.starts.last().expect("an event").0)
}

/// Runs a future to its end, so that `#[track_caller]` reaches the test.
fn now<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
}

/// The most memory that this process ever had, MiB; other tests run beside this one.
fn resident_peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() >> 10
}
