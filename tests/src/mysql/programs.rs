//! The server's programs, as `cargo xtask setup` unpacked them below the target folder, and a data folder to start from.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;

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

/// A server's own `mysql` client, as root; it can be had while the server itself is being killed.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub port: u16,
}

impl Client {
    /// Runs statements; gives what the client prints, columns separated by tabs. The error is the client's text.
    pub fn try_sql(&self, text: &str) -> Result<String, String> {
        self.feed(|client| client.write_all(text.as_bytes()))
    }

    /// The same for statements that are made while they are read.
    pub fn feed(&self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<String, String> {
        Ok(self.run(&[], write)?.0)
    }

    /// The same where statements may fail with these of the server's error numbers, such as 1213 for a deadlock: the client
    /// goes on behind them.
    pub fn feed_through(
        &self,
        errors: &[u32],
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<String, String> {
        let (out, err) = self.run(&["--force"], write)?;
        let is_expected = |line: &str| errors.iter().any(|number| line.starts_with(&format!("ERROR {number} ")));
        match err.lines().find(|line| line.starts_with("ERROR") && !is_expected(line)) {
            Some(line) => Err(line.to_owned()),
            None => Ok(out),
        }
    }

    /// What the client prints on both its outputs.
    fn run(
        &self,
        options: &[&str],
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(String, String), String> {
        let mut client = tool("mysql");
        client.args(["--no-defaults", "--host=127.0.0.1", "--user=root", "--batch", "--skip-column-names"]);
        client.args(["--default-character-set=utf8mb4", "--binary-mode", &format!("--port={}", self.port)]);
        client.args(options);
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
        Ok((out, err))
    }
}

/// The server with its places in a folder, not yet started.
pub(super) fn server(folder: &Path) -> Command {
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

/// Makes a data folder as `--initialize-insecure` makes it. That takes seconds, so it is made once and kept below the
/// target folder.
pub(super) fn new_data(folder: &Path) {
    let status = Command::new("cp").args(["-a", "--reflink=auto"]).arg(initialised()).arg(folder).status();
    let status = status.expect("run cp");
    assert!(status.success(), "cp -a to {} ended with {status}", folder.display());
}

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

fn tool(name: &str) -> Command {
    let path = services().join(name);
    assert!(path.exists(), "there is no MySQL server at {}: run `cargo xtask setup`", path.display());
    Command::new(path)
}

fn services() -> PathBuf {
    target().join("services").join("mysql").join("bin")
}

/// The target folder: a test's binary is `<target>/<profile>/deps/<name>`.
pub fn target() -> &'static Path {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    TARGET.get_or_init(|| {
        let binary = std::env::current_exe().expect("the test's own path");
        binary.ancestors().nth(3).expect("tests lie in <target>/<profile>/deps").to_owned()
    })
}

/// What the server in this folder has logged.
pub(super) fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("mysqld.log")).unwrap_or_else(|error| format!("it has no log: {error}"))
}

fn text(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the client prints UTF-8");
    text
}
