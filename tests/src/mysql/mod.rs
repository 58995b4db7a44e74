//! A MySQL server of a test's own, from what `cargo xtask setup` unpacked below the target folder.
//!
//! Each server has a data folder of its own, a copy of one that is initialised once, and ends with its value. Its SQL goes
//! through the server's own `mysql`, its logs are read by its own `mysqlbinlog`: none of the host's code is asked.

mod programs;
mod replication;

use std::fs;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use crate::ports;
use crate::program::signal;
pub use programs::target;
pub use programs::{Client, mysqlbinlog, try_mysqlbinlog};
pub use replication::{READER, transactions};

/// How long a server may take until it greets.
const START_MAX: Duration = Duration::from_secs(120);

/// What every server here is started with; a test's own options come after and win.
const DEFAULTS: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--mysqlx=OFF",
    "--performance-schema=OFF",
    "--server-id=1",
    "--log-bin=binlog",
    "--max-binlog-size=1G",
    "--binlog-row-metadata=FULL",
    "--gtid-mode=ON",
    "--enforce-gtid-consistency=ON",
    "--default-time-zone=+00:00",
    // The data are gone with the test, so nothing needs to be on a disk.
    "--sync-binlog=0",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=OFF",
    "--innodb-buffer-pool-size=256M",
];

/// For a server that is killed by SIGKILL and started again: what was committed is there afterwards, in the table and in
/// the log alike. With the defaults above InnoDB keeps its log in its own memory for up to a second, so a kill would take
/// transactions out of the table that the binlog still has. What has been written to the kernel outlives the process, so
/// `innodb-flush-log-at-trx-commit=2` is enough; the binlog is written at each commit anyway. Syncs (1 and
/// `sync-binlog=1`) are for machines that lose their power: they would only make the test slow.
pub const OUTLIVES_KILLS: &[&str] = &["--innodb-flush-log-at-trx-commit=2"];

/// A running server.
pub struct Mysql {
    folder: tempfile::TempDir,
    /// As they were given, for the next start.
    options: Vec<String>,
    process: Child,
    port: u16,
}

impl Mysql {
    /// Starts a server and waits until it greets. `options`: as on its command line, `"--gtid-mode=OFF"`.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        let mut refused = String::new();
        for _ in 0..ports::TRIED_MAX {
            match Self::try_start(options) {
                Ok(server) => return server,
                Err(log) if log.contains("Address already in use") => refused = log,
                Err(log) => panic!("mysqld {} did not start:\n{log}", options.join(" ")),
            }
        }
        panic!("no free port for mysqld:\n{refused}");
    }

    /// Runs statements; gives what the client prints, columns separated by tabs.
    #[track_caller]
    pub fn sql(&self, text: &str) -> String {
        match self.try_sql(text) {
            Ok(printed) => printed,
            Err(error) => panic!("{error}\nin: {}\n{}", shortened(text), self.log()),
        }
    }

    /// The same where the server may refuse; the error is the client's text.
    pub fn try_sql(&self, text: &str) -> Result<String, String> {
        self.client().try_sql(text)
    }

    /// The same for statements that are made while they are read.
    pub fn feed(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<String, String> {
        self.client().feed(write)
    }

    pub fn client(&self) -> Client {
        Client { port: self.port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Begins a new binlog file and gives all files that are finished, in order.
    #[track_caller]
    pub fn finished_logs(&self) -> Vec<PathBuf> {
        let names = self.sql("FLUSH BINARY LOGS; SHOW BINARY LOGS;");
        let names: Vec<&str> = names.lines().filter_map(|line| line.split('\t').next()).collect();
        let (_, finished) = names.split_last().expect("the file that was just begun");
        finished.iter().map(|name| self.data().join(name)).collect()
    }

    /// The last of [`Mysql::finished_logs`]: what was written since the last call.
    #[track_caller]
    pub fn finished_log(&self) -> PathBuf {
        self.finished_logs().pop().expect("a server has a binlog")
    }

    /// Ends the server in good order, so that its last binlog file ends with STOP; gives the folder its files are in.
    #[track_caller]
    pub fn shut_down(mut self) -> StoppedMysql {
        self.sql("SHUTDOWN");
        let status = self.process.wait().expect("wait for mysqld");
        assert!(status.success(), "mysqld ended with {status}:\n{}", self.log());
        StoppedMysql(self)
    }

    /// SIGKILL. See [`OUTLIVES_KILLS`].
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.kill().expect("send SIGKILL to mysqld");
        self.process.wait().expect("wait for mysqld");
    }

    /// Starts a killed server on the same data and port with the same options, and others after them.
    #[track_caller]
    pub fn start_again(&mut self, options: &[&str]) {
        self.options.extend(options.iter().map(ToString::to_string));
        self.spawn();
        if let Err(log) = self.wait_until_it_greets() {
            panic!("mysqld did not start again:\n{log}");
        }
    }

    /// SIGSTOP: connections stay open, and nothing comes any more.
    #[track_caller]
    pub fn freeze(&self) {
        signal("STOP", self.process.id());
    }

    /// SIGCONT.
    #[track_caller]
    pub fn thaw(&self) {
        signal("CONT", self.process.id());
    }

    /// A file of its data folder, such as `ca.pem`, which every server makes for itself.
    pub fn file(&self, name: &str) -> PathBuf {
        self.data().join(name)
    }

    fn try_start(options: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        programs::new_data(&folder.path().join("data"));
        let options = options.iter().map(ToString::to_string).collect::<Vec<_>>();
        let port = ports::free();
        let process = spawn(&folder, port, &options);
        let mut server = Mysql { folder, options, process, port };
        server.wait_until_it_greets()?;
        Ok(server)
    }

    fn spawn(&mut self) {
        self.process = spawn(&self.folder, self.port, &self.options);
    }

    fn wait_until_it_greets(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        while !self.greets() {
            if self.process.try_wait().expect("look at mysqld").is_some() {
                return Err(self.log());
            }
            if begun.elapsed() > START_MAX {
                return Err(format!("not ready after {START_MAX:?}\n{}", self.log()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A server takes connections before it is ready, and greets afterwards.
    fn greets(&self) -> bool {
        let greeted = TcpStream::connect(("127.0.0.1", self.port)).and_then(|mut stream| {
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.read_exact(&mut [0])
        });
        greeted.is_ok()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        programs::log(self.folder.path())
    }
}

impl Drop for Mysql {
    fn drop(&mut self) {
        // It may have ended by itself; its data go either way.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("the log of the test's mysqld:\n{}", self.log());
        }
    }
}

/// What a server left behind.
pub struct StoppedMysql(Mysql);

impl StoppedMysql {
    pub fn logs(&self) -> Vec<PathBuf> {
        let index = fs::read_to_string(self.0.data().join("binlog.index")).expect("the server's list of binlog files");
        index.lines().map(|name| self.0.data().join(name)).collect()
    }
}

fn spawn(folder: &tempfile::TempDir, port: u16, options: &[String]) -> Child {
    let mut server = programs::server(folder.path());
    server.args(DEFAULTS).arg(format!("--port={port}")).args(options);
    server.spawn().expect("run mysqld")
}

fn shortened(text: &str) -> String {
    text.chars().take(400).collect()
}
