//! Generated loads, recorded once for all tests of a process: the server is gone again when they read the file.

use std::fs;
use std::path::PathBuf;

use crate::generator::{Load, SCHEMA};
use crate::mysql::{Mysql, target};
use crate::oracle::Change;

/// A finished binlog file, and what was done to make it.
pub struct Recorded {
    pub file: PathBuf,
    pub changes: Vec<Change>,
}

/// Plays a load to a server of its own. `name`: of the file; one that is there already is overwritten.
#[track_caller]
pub fn record(load: &Load, name: &str, options: &[&str]) -> Recorded {
    let server = Mysql::start(options);
    server.sql(SCHEMA);
    server.finished_logs();
    server.feed(|client| load.write_sql(client)).unwrap_or_else(|error| panic!("play the load: {error}"));
    let file = folder().join(name);
    fs::write(&file, fs::read(server.finished_log()).expect("read the server's log")).expect("keep the server's log");
    Recorded { file, changes: load.list() }
}

/// Below the target folder, by process. What lives as long as the process is never dropped, so the folders of processes
/// that have ended go here.
fn folder() -> PathBuf {
    let all = target().join("tests").join("recorded");
    let own = all.join(std::process::id().to_string());
    fs::create_dir_all(&own).expect("make a folder below target");
    for other in fs::read_dir(&all).expect("read a folder below target").flatten() {
        let runs = PathBuf::from("/proc").join(other.file_name()).exists();
        if !runs {
            // Another process may be removing it too.
            let _ = fs::remove_dir_all(other.path());
        }
    }
    own
}
