//! The built program, driven from outside in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::SystemTime;

/// A folder of its own, gone with the value.
pub struct Folder(tempfile::TempDir);

/// What the program said.
pub struct Answer {
    /// None where a signal ended it.
    pub exit: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Folder {
    #[allow(clippy::new_without_default, reason = "it makes something outside")]
    pub fn new() -> Self {
        Folder(tempfile::tempdir().expect("make a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::write(&path, content).expect("write a test's file");
        path
    }

    /// The program with these arguments, not yet started: its folder is the current one, its outputs are kept.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn hindsight(&self, arguments: &[&str]) -> Answer {
        Answer::from(self.command(arguments).output().expect("run hindsight"))
    }
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("hindsight writes UTF-8");
        Answer { exit: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Answer {
    /// The one JSON document of a `--json` answer.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {}\n{}", self.out, self.err))
    }
}

/// The program beside this test's own binary. It must be newer than the host's sources: a test of an old program proves nothing.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let test = std::env::current_exe().expect("the test's own path");
        let target = test.ancestors().nth(2).expect("tests lie in <target>/<profile>/deps");
        let binary = target.join(format!("hindsight{}", std::env::consts::EXE_SUFFIX));
        let built =
            modified(&binary).unwrap_or_else(|| panic!("{} is not built: cargo build --workspace", binary.display()));
        let newest = newest(&repository().join("host/src"));
        assert!(built >= newest, "{} is older than host/src: cargo build --workspace", binary.display());
        binary
    })
}

/// Sends a signal by its name, such as `TERM`.
#[track_caller]
pub fn signal(name: &str, process: u32) {
    let status = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().expect("run kill");
    assert!(status.success(), "kill -{name} ended with {status}");
}

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

fn newest(folder: &Path) -> SystemTime {
    let entries =
        fs::read_dir(folder).expect("read a folder of the repository").map(|entry| entry.expect("an entry").path());
    let times = entries.map(|path| if path.is_dir() { newest(&path) } else { modified(&path).expect("a file's time") });
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
