//! A Kafka broker of a test's own, one node in KRaft mode, from what `cargo xtask setup` fetched below the target folder.
//!
//! Each broker has a folder of its own and ends with its value; [`shared`] is one for all tests that do not harm it.
//! Topics are made, listed and read by Kafka's own programs: none of the host's code is asked.

mod looking;
mod programs;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::ports;
use crate::program::signal;
pub use looking::OpenTransaction;
pub use programs::{Client, Record};

/// How long a broker may take until it serves.
const START_MAX: Duration = Duration::from_secs(60);

/// What every broker here is started with, one node that is everything; a test's own lines come after and win.
const DEFAULTS: &str = "\
process.roles=broker,controller
node.id=1
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=500
log.cleaner.dedupe.buffer.size=16777216
auto.create.topics.enable=false
";

/// For benches: as a broker in production, but for its size.
const ABLE: &str = "-Xms512m -Xmx1g -XX:+UseG1GC";

/// Quick to start, small.
const SMALL: &str = "-Xms128m -Xmx384m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xshare:auto";

/// A running broker.
pub struct Broker {
    folder: tempfile::TempDir,
    process: Child,
    port: u16,
    java: &'static str,
}

impl Broker {
    /// Starts a broker and waits until it serves. `lines`: of its server.properties.
    #[track_caller]
    pub fn start(lines: &[&str]) -> Self {
        Self::start_with(SMALL, None, lines)
    }

    /// The same with memory and compiler as in production, for benches.
    #[track_caller]
    pub fn start_able() -> Self {
        Self::start_with(ABLE, None, &[])
    }

    /// The same with a second listener, `SASL_PLAINTEXT`, `SSL` or `SASL_SSL`; gives its address too.
    #[track_caller]
    pub fn start_secured(protocol: &str, lines: &[&str]) -> (Self, String) {
        let port = ports::free();
        (Self::start_with(SMALL, Some((protocol, port)), lines), format!("127.0.0.1:{port}"))
    }

    #[track_caller]
    fn start_with(java: &'static str, second: Option<(&str, u16)>, lines: &[&str]) -> Self {
        let mut refused = String::new();
        for _ in 0..ports::TRIED_MAX {
            let folder = tempfile::tempdir().expect("make a temporary folder");
            let port = write_properties(&folder, second, lines);
            let process = programs::broker(folder.path(), java).stdin(Stdio::null()).spawn().expect("run the broker");
            let mut broker = Broker { folder, process, port, java };
            match broker.wait_until_it_serves(0) {
                Ok(()) => return broker,
                Err(log) if log.contains("Address already in use") => refused = log,
                Err(log) => panic!("the broker did not start:\n{log}"),
            }
        }
        panic!("no free port for a broker:\n{refused}");
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        self.client().address()
    }

    pub fn client(&self) -> Client {
        Client { port: self.port }
    }

    /// SIGKILL.
    #[track_caller]
    pub fn kill(&mut self) {
        self.process.kill().expect("send SIGKILL to the broker");
        self.process.wait().expect("wait for the broker");
    }

    /// Starts a killed broker on the same data and ports.
    #[track_caller]
    pub fn start_again(&mut self) {
        let logged = self.log().len();
        self.process =
            programs::broker(self.folder.path(), self.java).stdin(Stdio::null()).spawn().expect("run the broker");
        if let Err(log) = self.wait_until_it_serves(logged) {
            panic!("the broker did not start again:\n{log}");
        }
    }

    /// Cuts the last batch of records off a partition's log, as a machine that lost its power may have lost it. The broker
    /// has to be killed.
    #[track_caller]
    pub fn lose_last_batch(&self, topic: &str, partition: u32) {
        let log = self.folder.path().join("data").join(format!("{topic}-{partition}")).join(format!("{:020}.log", 0));
        let bytes = fs::read(&log).expect("read a partition's log");
        // Kafka's record batches: the first offset in eight bytes, and in four the length of what follows.
        let (mut last, mut next) = (0, 0);
        while let Some(length) = bytes[next..].get(8..12) {
            (last, next) = (next, next + 12 + u32::from_be_bytes(length.try_into().expect("four bytes")) as usize);
        }
        fs::write(&log, &bytes[..last]).expect("cut the log");
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

    fn wait_until_it_serves(&mut self, logged: usize) -> Result<(), String> {
        wait_until_it_serves(&mut self.process, self.folder.path(), logged)
    }

    fn log(&self) -> String {
        log_of(self.folder.path())
    }
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("broker.log")).unwrap_or_default()
}

/// `logged`: bytes of the log that are an earlier process's. The error is the log.
fn wait_until_it_serves(process: &mut Child, folder: &Path, logged: usize) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let log = log_of(folder);
        if log.get(logged..).is_some_and(|new| new.contains("Kafka Server started")) {
            return Ok(());
        }
        if process.try_wait().expect("look at the broker").is_some() || begun.elapsed() > START_MAX {
            return Err(log);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended by itself; its data go either way.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            let log = self.log();
            let last: Vec<&str> = log.lines().rev().take(40).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            eprintln!("the last of the log of the test's broker:\n{}", last.join("\n"));
        }
    }
}

/// One broker for all tests of a process that only use topics of their own. It ends with the process.
pub fn shared() -> Client {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let port = write_properties(&folder, None, &[]);
        let mut process = watched(programs::broker(folder.path(), SMALL), folder.path());
        if let Err(log) = wait_until_it_serves(&mut process, folder.path(), 0) {
            panic!("the shared broker did not start:\n{log}");
        }
        Shared { port, _process: process, _folder: folder.keep() }
    });
    Client { port: shared.port }
}

/// A value that is never dropped: its pipe is closed when the process ends, however that happens.
struct Shared {
    port: u16,
    _process: Child,
    _folder: PathBuf,
}

/// Under a shell that ends the program and removes its folder as soon as nobody holds the other end of its input.
fn watched(program: Command, folder: &Path) -> Child {
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        "folder=$1; shift; \"$@\" </dev/null & read -r nothing; kill -9 $!; wait $!; rm -rf \"$folder\"",
        "sh",
    ]);
    shell.arg(folder).arg(program.get_program()).args(program.get_args());
    shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.stdin(Stdio::piped()).stdout(Stdio::null());
    let log = fs::File::create(folder.join("broker.log")).expect("make the broker's log");
    shell.stderr(log).spawn().expect("run a shell")
}

/// Gives the port.
/// `second`: a listener beside the plain one.
fn write_properties(folder: &tempfile::TempDir, second: Option<(&str, u16)>, lines: &[&str]) -> u16 {
    let second = second.map(|(protocol, port)| format!(",{protocol}://127.0.0.1:{port}")).unwrap_or_default();
    let (port, controller) = (ports::free(), ports::free());
    programs::new_data(&folder.path().join("data"));
    let mut file = fs::File::create(folder.path().join("server.properties")).expect("make server.properties");
    let written = write!(
        file,
        "{DEFAULTS}listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{second}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}{second}\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         log.dirs={}\n{}\n",
        folder.path().join("data").display(),
        lines.join("\n"),
    );
    written.expect("write server.properties");
    port
}
