//! `starrocks-stand-in` as a process.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

fn started(arguments: &[&str]) -> (Child, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_starrocks-stand-in"));
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start it");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a line");
    (child, serde_json::from_str(&line).expect("one line of JSON"))
}

#[test]
fn it_prints_its_ports_and_ends_with_its_input() {
    let (mut child, ports) = started(&["--until-stdin-closes", "--settings", r#"{"frontends": 1, "backends": 3}"#]);
    let count = |name: &str| ports[name].as_array().map(Vec::len);
    assert_eq!((count("fe"), count("be"), count("mysql")), (Some(1), Some(3), Some(1)));
    let control = ports["control"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
    TcpStream::connect(("127.0.0.1", control)).expect("it listens");
    drop(child.stdin.take());
    assert!(child.wait().expect("wait").success());
}

#[test]
fn it_ends_on_sigterm() {
    let (mut child, _) = started(&[]);
    let killed = Command::new("kill").arg(child.id().to_string()).status().expect("run kill");
    assert!(killed.success() && child.wait().expect("wait").success());
}

#[test]
fn what_it_does_not_know_it_refuses_by_name() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_starrocks-stand-in")).args(["--settings", "{\"frontend\": 1}"]).output();
    let output = output.expect("run it");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("frontend"), "{output:?}");
}
