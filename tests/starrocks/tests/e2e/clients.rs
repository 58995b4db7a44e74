//! Where the clients are, and a cluster for them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use starrocks_stand_in::{Settings, StandIn};

/// The program below `target/services`. None: it is not there, which is said.
pub fn below_target(path: &str) -> Option<PathBuf> {
    let binary = std::env::current_exe().expect("the test's own path");
    let target = binary.ancestors().nth(3).expect("tests lie in <target>/<profile>/deps");
    found(target.join("services").join(path))
}

/// The program, if it is one that runs.
pub fn in_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let program = std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|program| program.exists());
    found(program.unwrap_or_else(|| name.into()))
}

fn found(program: PathBuf) -> Option<PathBuf> {
    if program.exists() {
        return Some(program);
    }
    eprintln!("not run: {} is not there (`cargo xtask setup` gets it)", program.display());
    None
}

pub fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("run {}: {error}", program.display()))
}

/// What it prints; it has to succeed.
#[track_caller]
pub fn printed(program: &Path, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}: {}{}", program.display(), text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A cluster with the table that the SDK's check loads into.
pub fn cluster() -> StandIn {
    let stand_in = StandIn::start(Settings { database: Some("d".into()), ..Settings::default() }).expect("start");
    let table = "CREATE TABLE d.t (source_id BIGINT, owner_id BIGINT COMMENT 'who', effective_start_ts DATETIME, \
                 asset_info VARCHAR(100), effective_end_ts DATETIME, is_current BOOLEAN, op_type VARCHAR(1), price DECIMAL(10, 2)) \
                 PRIMARY KEY (source_id, owner_id, effective_start_ts) DISTRIBUTED BY HASH (owner_id) BUCKETS 4";
    stand_in.sql(table).expect("make a table");
    stand_in
}

pub fn n_rows(stand_in: &StandIn) -> String {
    let rows = stand_in.select(0, "d", "SELECT COUNT(*) FROM t").expect("count");
    rows[0][0].clone().expect("a number")
}
