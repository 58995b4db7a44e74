//! A `hindsight run` that goes on while the test talks to its control port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::thread::JoinHandle;

use crate::program::Answer;

pub struct Running {
    process: Child,
    pub port: u16,
    log: Option<JoinHandle<String>>,
}

/// What the control port said.
#[derive(Clone, Debug)]
pub struct Said {
    pub code: u16,
    pub text: String,
}

impl Running {
    /// Starts it and reads its port from the log; the configuration has to ask for one. None where it ended before.
    pub fn start(mut command: Command) -> Option<Running> {
        let mut process = command.spawn().expect("run hindsight");
        let mut lines = BufReader::new(process.stderr.take().expect("standard error is kept"));
        let mut log = String::new();
        let port = loop {
            let begin = log.len();
            if lines.read_line(&mut log).expect("read the log") == 0 {
                process.wait().expect("wait for hindsight");
                return None;
            }
            if let Some((_, address)) = log[begin..].split_once("control port at http://127.0.0.1:") {
                break address.trim_end().parse().expect("a port");
            }
        };
        let log = std::thread::spawn(move || {
            lines.read_to_string(&mut log).expect("read the log");
            log
        });
        Some(Running { process, port, log: Some(log) })
    }

    /// None where nobody answered: the process has ended.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Said> {
        ask(self.port, method, path, headers, body).ok()
    }

    /// A request that changes something.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Option<Said> {
        self.ask("POST", path, &[&[("hindsight-control", "1")], headers].concat(), body)
    }

    #[track_caller]
    pub fn status(&self) -> serde_json::Value {
        self.ask("GET", "/status", &[], b"").expect("it runs").json()
    }

    #[track_caller]
    pub fn pause(&self) -> serde_json::Value {
        self.post("/pause", &[], b"").expect("it runs").json()
    }

    #[track_caller]
    pub fn resume(&self) {
        assert_eq!(self.post("/resume", &[], b"").expect("it runs").code, 200);
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.process.try_wait().expect("look at hindsight").is_some()
    }

    /// SIGKILL.
    pub fn kill(mut self) -> Answer {
        self.process.kill().expect("send SIGKILL");
        self.wait()
    }

    /// Waits for an end that a crash point brings, and brings it itself where that was not passed.
    pub fn wait_or_kill(mut self) -> Answer {
        for _ in 0..200 {
            if self.has_ended() {
                return self.wait();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        self.kill()
    }

    /// SIGTERM.
    pub fn terminate(self) -> Answer {
        let status = Command::new("kill").args(["-TERM", &self.id().to_string()]).status().expect("run kill");
        assert!(status.success(), "kill ended with {status}");
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Answer {
        let mut out = String::new();
        self.process.stdout.take().expect("standard output is kept").read_to_string(&mut out).expect("read its output");
        let status = self.process.wait().expect("wait for hindsight");
        let log = self.log.take().expect("its end is waited for once");
        Answer { exit: status.code(), out, err: log.join().expect("the log's reader") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; after a failed test it has not.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Said {
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.code, 200, "{}", self.text);
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("no JSON ({error}): {}", self.text))
    }
}

/// A request by hand: no client of the program takes part.
fn ask(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Said> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    let host = ("host", "127.0.0.1");
    let host = (!headers.iter().any(|(name, _)| *name == "host")).then_some(host);
    for (name, value) in host.iter().chain(headers) {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(head.as_bytes())?;
    stream.write_all(b"\r\n")?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let broken = || std::io::Error::other("the answer was cut off");
    let (head, text) = answer.split_once("\r\n\r\n").ok_or_else(broken)?;
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(broken)?;
    Ok(Said { code, text: text.to_owned() })
}
