//! `cargo xtask test`: everything that CI holds against the tree, in one run, from nothing.
//!
//! The world is built once, in the dev profile. MySQL, Kafka and StarRocks' clients are fetched while cargo builds. A
//! stage that fails stops only those that need it; the table of seconds and every reason come last.

use std::thread;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::stages::{Kind, Stages};
use crate::test_report::Report;
use crate::{child, demo, guards, kafka, mutants, mysql, plugins, starrocks_clients};

pub fn test() -> Result<()> {
    let started = Instant::now();
    let services = thread::spawn(|| {
        // Tests of the stand-in by clients that are not there say so; it is judged by its own as well.
        let clients = || starrocks_clients::set_up().or_else(|error| Ok(format!("not there: {error:#}")));
        let timed = |name, set_up: &dyn Fn() -> Result<String>| {
            let started = Instant::now();
            let done = set_up();
            (name, started.elapsed(), done)
        };
        [timed("server", &mysql::set_up), timed("broker", &kafka::set_up), timed("clients", &clients)]
    });
    let mut stages = Stages::default();
    let mut ignored = Vec::new();

    stages.run("format", Kind::Test, || cargo(&["fmt", "--all", "--check"]));
    stages.run("rules", Kind::Build, || plugins::plugins(&[]).map(|()| String::new()));
    stages.run("build", Kind::Build, || {
        // The program, which tests start; then everything else, with the same features, so nothing is built twice.
        cargo(&["build", "--workspace"])?;
        cargo(&["test", "--workspace", "--no-run"])
    });
    stages
        .run("clippy", Kind::Build, || cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]));
    for (name, took, done) in services.join().expect("the set-up does not panic") {
        stages.add(name, Kind::SetUp, took, done);
    }
    let fast: &[&str] = &["--lib", "--bins", "--test", "fast", "--test", "features"];
    stages.run_after(&["rules", "build"], "fast", Kind::Test, || tests(fast, &mut ignored));
    // Also without a server: what needs none shall be seen, and what needs one says so.
    stages.run_after(&["rules", "build"], "e2e", Kind::Test, || tests(&["--test", "e2e"], &mut ignored));
    stages.run_after(&["rules", "build"], "doc", Kind::Test, || tests(&["--doc"], &mut ignored));
    stages.run_after(&["rules"], "demo", Kind::Test, || demo::demo(None, demo::TABLE).map(|()| String::new()));
    stages.run("guards", Kind::Test, guards::check_list);
    stages.run_after(&["rules", "build"], "mutants", Kind::Test, || mutants::mutants(&[]).map(|()| String::new()));

    if !ignored.is_empty() {
        println!("\nTests that were not run, with why:\n  {}", ignored.join("\n  "));
    }
    println!("\n{}", stages.table(started.elapsed()));
    stages.outcome()
}

fn cargo(arguments: &[&str]) -> Result<String> {
    child::run(child::cargo().args(arguments)).map(|()| String::new())
}

/// Runs tests to their end, also past failures.
fn tests(which: &[&str], ignored: &mut Vec<String>) -> Result<String> {
    let mut command = child::cargo();
    command.args(["test", "--workspace", "--no-fail-fast"]).args(which);
    let (status, said) = child::run_and_listen(&mut command)?;
    let report = Report::read(&said);
    ignored.extend(report.ignored.iter().cloned());
    if !status.success() {
        bail!("{}; cargo test ended with {status}\n  {}", report.summary(), report.failed.join("\n  "));
    }
    Ok(report.summary())
}
