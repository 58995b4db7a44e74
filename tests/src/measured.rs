//! What benches measure of the program and of themselves, and the program as they run it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::program::repository;

/// Builds the program in the bench's own profile: a bench is built without it, as it is another package's.
pub fn build_program() {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(repository()).args(["build", "--quiet", "--workspace", "--bin", "hindsight"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    assert!(command.status().expect("run cargo").success(), "the program builds");
}

/// Resident memory of a process; none where it has ended.
pub fn rss_kib(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

/// CPU time, user and system, of a process so far; in steps of 10 ms.
pub fn process_cpu(process: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat")).ok()?;
    let behind_name = stat.rsplit_once(") ")?.1;
    let ticks: u64 = behind_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
}

/// CPU time of this process so far, all threads.
pub fn own_cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
