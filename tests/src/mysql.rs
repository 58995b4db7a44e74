//! A MySQL server of a test's own, from what `cargo xtask setup` unpacked below the target folder.
//!
//! Each server has a data folder of its own, a copy of one that is initialised once, and ends with its value. Its SQL goes
//! through the server's own `mysql`, its logs are read by its own `mysqlbinlog`: none of the host's code is asked.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take until it greets.
const START_MAX: Duration = Duration::from_secs(120);

/// Another process may take the port between its choice and the server's bind.
const PORTS_TRIED_MAX: usize = 3;

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

/// A running server.
pub struct Mysql {
    folder: tempfile::TempDir,
    process: Child,
    port: u16,
}

impl Mysql {
    /// Starts a server and waits until it greets. `options`: as on its command line, `"--gtid-mode=OFF"`.
    #[track_caller]
    pub fn start(options: &[&str]) -> Self {
        let mut refused = String::new();
        for _ in 0..PORTS_TRIED_MAX {
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
        self.feed(|client| client.write_all(text.as_bytes()))
    }

    /// The same for statements that are made while they are read.
    pub fn feed(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<String, String> {
        let mut client = tool("mysql");
        client.args(["--no-defaults", "--host=127.0.0.1", "--user=root", "--batch", "--skip-column-names"]);
        client.args(["--default-character-set=utf8mb4", "--binary-mode", &format!("--port={}", self.port)]);
        let client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut client = client.map_err(|error| format!("run mysql: {error}"))?;
        let (stdout, stderr) = (client.stdout.take().expect("piped"), client.stderr.take().expect("piped"));
        let mut stdin = io::BufWriter::with_capacity(1 << 16, client.stdin.take().expect("piped"));
        let (out, err, written) = thread::scope(|scope| {
            let (out, err) = (scope.spawn(|| text(stdout)), scope.spawn(|| text(stderr)));
            let written = write(&mut stdin).and_then(|()| stdin.flush());
            drop(stdin);
            (out.join().expect("read text"), err.join().expect("read text"), written)
        });
        let status = client.wait().map_err(|error| format!("wait for mysql: {error}"))?;
        if !status.success() {
            return Err(format!("mysql ended with {status}: {err}"));
        }
        written.map_err(|error| format!("write to mysql: {error}"))?;
        Ok(out)
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

    fn try_start(options: &[&str]) -> Result<Self, String> {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        copy(initialised(), &folder.path().join("data"));
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("find a free port").port();
        let mut server = server(folder.path());
        server.args(DEFAULTS).arg(format!("--port={port}")).args(options);
        let process = server.spawn().expect("run mysqld");
        let mut server = Mysql { folder, process, port };
        let begun = Instant::now();
        while !server.greets() {
            if server.process.try_wait().expect("look at mysqld").is_some() {
                return Err(server.log());
            }
            if begun.elapsed() > START_MAX {
                return Err(format!("not ready after {START_MAX:?}\n{}", server.log()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
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
        log(self.folder.path())
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

/// What the server's own reader prints for these files.
#[track_caller]
pub fn mysqlbinlog(options: &[&str], files: &[impl AsRef<Path>]) -> String {
    let output = try_mysqlbinlog(options, files);
    assert!(output.status.success(), "mysqlbinlog: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("mysqlbinlog prints the columns' text, which is UTF-8 here")
}

/// The same as it comes: texts of other character sets are printed as they are stored.
pub fn try_mysqlbinlog(options: &[&str], files: &[impl AsRef<Path>]) -> Output {
    let mut reader = tool("mysqlbinlog");
    reader.arg("--no-defaults").args(options).args(files.iter().map(AsRef::as_ref));
    reader.output().expect("run mysqlbinlog")
}

fn server(folder: &Path) -> Command {
    let mut server = tool("mysqld");
    let place = |option: &str, name: &str| format!("--{option}={}", folder.join(name).display());
    server.args(["--no-defaults", &place("datadir", "data"), &place("log-error", "mysqld.log")]);
    server.args([&place("socket", "mysqld.sock"), &place("pid-file", "mysqld.pid")]);
    let owner = fs::metadata(folder).expect("look at the server's folder").uid();
    if owner == 0 {
        server.arg("--user=root");
    }
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server
}

/// A data folder as `--initialize-insecure` makes it. That takes seconds, so it is made once and kept below the target folder.
fn initialised() -> &'static Path {
    static INITIALISED: OnceLock<PathBuf> = OnceLock::new();
    INITIALISED.get_or_init(|| {
        let kept = target().join("tests").join("mysql-data");
        let made = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        if made(&kept).is_some_and(|kept| made(&services().join("mysqld")).is_some_and(|server| kept > server)) {
            return kept;
        }
        fs::create_dir_all(target().join("tests")).expect("make a folder below target");
        let folder = tempfile::tempdir_in(target().join("tests")).expect("make a folder below target");
        let status = server(folder.path()).arg("--initialize-insecure").status().expect("run mysqld");
        assert!(status.success(), "mysqld --initialize-insecure ended with {status}:\n{}", log(folder.path()));
        // Every copy makes a server id of its own.
        fs::remove_file(folder.path().join("data/auto.cnf")).expect("remove the server's id");
        let _ = fs::remove_dir_all(&kept);
        match fs::rename(folder.path().join("data"), &kept) {
            // Another test process was quicker: its folder is as good.
            Err(_) if kept.exists() => {}
            renamed => renamed.expect("keep the initialised data folder"),
        }
        kept
    })
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["-a", "--reflink=auto"]).args([from, to]).status().expect("run cp");
    assert!(status.success(), "cp -a {} {} ended with {status}", from.display(), to.display());
}

fn tool(name: &str) -> Command {
    let path = services().join(name);
    assert!(path.exists(), "there is no MySQL server at {}: run `cargo xtask setup`", path.display());
    Command::new(path)
}

fn services() -> PathBuf {
    target().join("services").join("mysql").join("bin")
}

/// The target folder: a test's binary is `<target>/<profile>/deps/<name>`.
pub(crate) fn target() -> &'static Path {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    TARGET.get_or_init(|| {
        let binary = std::env::current_exe().expect("the test's own path");
        binary.ancestors().nth(3).expect("tests lie in <target>/<profile>/deps").to_owned()
    })
}

fn text(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the client prints UTF-8");
    text
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("mysqld.log")).unwrap_or_else(|error| format!("it has no log: {error}"))
}

fn shortened(text: &str) -> String {
    text.chars().take(400).collect()
}
