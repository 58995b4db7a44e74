//! `cargo xtask setup`: what building and testing need beside Rust and a C compiler. Done once; asked again, it checks.

use std::time::Instant;

use anyhow::{Result, anyhow};

use crate::toolchain::Toolchain;
use crate::{kafka, mysql, starrocks_clients};

pub fn setup() -> Result<()> {
    let mut failed = Vec::new();
    let mut part = |name: &str, done: Result<String>, started: Instant| match done {
        Ok(what) => println!("{name}: {what} ({:.1} s)", started.elapsed().as_secs_f64()),
        Err(error) => failed.push(format!("{name}: {error:#}")),
    };
    let started = Instant::now();
    part("rules", Toolchain::set_up().map(|toolchain| toolchain.name), started);
    let started = Instant::now();
    part("server", mysql::set_up(), started);
    let started = Instant::now();
    part("broker", kafka::set_up(), started);
    let started = Instant::now();
    part("clients", starrocks_clients::set_up(), started);
    if failed.is_empty() { Ok(()) } else { Err(anyhow!("{}", failed.join("\n"))) }
}
