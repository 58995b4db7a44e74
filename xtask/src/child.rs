//! Child processes: shown as a person would type them at the repository's root, and failing with what was run.
//!
//! `cargo run` adds to the environment of what it runs. Child cargos must not inherit that: it would change which
//! compiler they use and what their build scripts see.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, io, thread};

use anyhow::{Context, Result, bail};

use crate::repository;

/// A program in the repository's root, with the environment that `cargo xtask` was started with.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(repository::root());
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let exact = ["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];
        if exact.contains(&&*text) || text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_BIN_") {
            command.env_remove(&name);
        }
    }
    if let Some(paths) = env::var_os("LD_LIBRARY_PATH") {
        let target = repository::target();
        let theirs =
            |path: &std::path::PathBuf| !path.starts_with(&target) && !path.to_string_lossy().contains("rustlib");
        let kept: Vec<_> = env::split_paths(&paths).filter(theirs).collect();
        match env::join_paths(&kept) {
            Ok(joined) if !kept.is_empty() => command.env("LD_LIBRARY_PATH", joined),
            _ => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
    command
}

/// The cargo that runs this program.
pub fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Shows the command and runs it; its output is the reader's.
pub fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", shown(command));
    let status = status(command)?;
    succeeded(command, status)
}

/// Runs the command without showing it; its output is the reader's.
pub fn status(command: &mut Command) -> Result<ExitStatus> {
    // Ours must be out before theirs.
    io::stdout().flush().context("write to standard output")?;
    command.status().with_context(|| missing(command))
}

/// Shows the command and runs it; what it says on standard output is the reader's, and the answer.
pub fn run_and_listen(command: &mut Command) -> Result<(ExitStatus, String)> {
    println!("$ {}", shown(command));
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| missing(command))?;
    let mut pipe = child.stdout.take().expect("standard output is a pipe");
    let mut heard = Vec::new();
    let mut chunk = [0; 8192];
    // As it comes, not line by line: a test's name is printed before the test has ended.
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => {
                heard.extend_from_slice(&chunk[..n]);
                let mut out = io::stdout().lock();
                out.write_all(&chunk[..n]).and_then(|()| out.flush()).context("write to standard output")?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(|| format!("read what {} says", shown(command))),
        }
    }
    let status = child.wait().with_context(|| format!("wait for {}", shown(command)))?;
    Ok((status, String::from_utf8_lossy(&heard).into_owned()))
}

/// Shows the command and runs it; what it says on standard output is the answer alone. For runs whose failure is wanted:
/// nobody who counts failed tests in a log shall count these.
pub fn run_and_hear(command: &mut Command) -> Result<(ExitStatus, String)> {
    println!("$ {}", shown(command));
    let output = command.stdin(Stdio::null()).output().with_context(|| missing(command))?;
    Ok((output.status, String::from_utf8_lossy(&output.stdout).into_owned()))
}

/// What the command says on standard output; where it fails, the error holds the last lines of what it said.
pub fn answer(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| missing(command))?;
    answer_of(command, output)
}

/// The same, ended when the time is over.
pub fn answer_within(command: &mut Command, limit: Duration) -> Result<String> {
    let started = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| missing(command))?;
    while child.try_wait().with_context(|| format!("wait for {}", shown(command)))?.is_none() {
        if started.elapsed() > limit {
            child.kill().and_then(|()| child.wait()).with_context(|| format!("end {}", shown(command)))?;
            bail!("{} had not ended after {} s", shown(command), limit.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().with_context(|| format!("read what {} says", shown(command)))?;
    answer_of(command, output)
}

fn answer_of(command: &Command, output: Output) -> Result<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        let said = text(&output.stdout) + &text(&output.stderr);
        let said: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let end = said[said.len().saturating_sub(12)..].join("\n  ");
        bail!("{} ended with {}:\n  {end}", shown(command), output.status);
    }
    Ok(text(&output.stdout))
}

fn succeeded(command: &Command, status: ExitStatus) -> Result<()> {
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

fn missing(command: &Command) -> String {
    format!("run {}", command.get_program().to_string_lossy())
}

/// The command as a person would type it at the repository's root.
pub fn shown(command: &Command) -> String {
    let mut words = Vec::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value.filter(|_| name != "LD_LIBRARY_PATH") {
            words.push(format!("{}={}", name.to_string_lossy(), quoted(value)));
        }
    }
    let program = command.get_program();
    words.push(match env::var_os("CARGO") {
        Some(cargo) if cargo == program => "cargo".into(),
        _ => quoted(program),
    });
    words.extend(command.get_args().map(quoted));
    words.join(" ")
}

fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let root = format!("{}/", repository::root().display());
    let text = text.strip_prefix(&root).unwrap_or(&text);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_is_typed_at_the_root() {
        let mut command = command(repository::root().join("target/debug/hindsight"));
        command
            .args(["query", "--as-of", "2024-03-01 12:00:00"])
            .arg(repository::root().join("a.toml"))
            .env("A", "b c");
        assert_eq!(shown(&command), "A='b c' target/debug/hindsight query --as-of '2024-03-01 12:00:00' a.toml");
    }

    #[test]
    fn a_failing_child_is_named_with_its_last_words() {
        let error = answer(command("sh").args(["-c", "echo it is so; exit 3"])).expect_err("it fails").to_string();
        assert!(error.contains("sh -c") && error.contains("exit status: 3") && error.contains("it is so"), "{error}");
        let error = answer(&mut command("no-such-program")).expect_err("it is not there");
        assert!(format!("{error:#}").starts_with("run no-such-program: "), "{error:#}");
    }

    #[test]
    fn a_child_that_takes_too_long_is_ended() {
        let error =
            answer_within(command("sleep").arg("60"), Duration::from_millis(10)).expect_err("it takes too long");
        assert!(error.to_string().starts_with("sleep 60 had not ended after"), "{error}");
    }
}
