//! A server that serves a log which it did not write: a backlog of millions of changes in seconds, for benches.

use std::fs;
use std::io;

use crate::asset_log::{AssetLog, Written};
use crate::mysql::{Mysql, OUTLIVES_KILLS};

/// The file that holds the log.
pub const FILE: &str = "binlog.000002";

/// A server with a follower's account, whose second binlog file is this log.
#[track_caller]
pub fn serve(log: AssetLog) -> (Mysql, Written) {
    let mut server = Mysql::start(OUTLIVES_KILLS);
    server.kill();
    let written = place(&server, log).expect("write the log into the server's folder");
    // It finds the file in its index, and begins a third one.
    server.start_again(&[]);
    server.add_reader();
    (server, written)
}

fn place(server: &Mysql, log: AssetLog) -> io::Result<Written> {
    let written = log.write(&server.file(FILE))?;
    fs::write(server.file("binlog.index"), format!("./binlog.000001\n./{FILE}\n"))?;
    Ok(written)
}
