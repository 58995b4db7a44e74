//! What benches measure with: interleaved rounds, so that a busy machine is busy for every variant alike, the thread's
//! own CPU time, and medians.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A way to do the work; each call does it once, all of it on the calling thread.
pub type Variant<'a> = (&'a str, Box<dyn FnMut() + 'a>);

/// A variant's median.
#[derive(Clone, Debug)]
pub struct Median {
    pub name: String,
    /// CPU time of one call.
    pub cpu: Duration,
    /// Smallest and largest of the rounds.
    pub least: Duration,
    pub most: Duration,
}

/// How long a variant runs in one round, at the least.
const ROUND: Duration = Duration::from_millis(40);

/// Runs the variants one after the other, `rounds` times, after one round that is not counted.
pub fn interleaved(rounds: usize, mut variants: Vec<Variant<'_>>) -> Vec<Median> {
    let mut taken = vec![Vec::with_capacity(rounds); variants.len()];
    for round in 0..=rounds {
        for ((_, work), taken) in variants.iter_mut().zip(&mut taken) {
            let (started, mut calls) = (thread_cpu(), 0);
            let spent = loop {
                work();
                calls += 1;
                let spent = thread_cpu() - started;
                if spent >= ROUND {
                    break spent;
                }
            };
            if round > 0 {
                taken.push(spent / calls);
            }
        }
    }
    let median = |((name, _), mut taken): (Variant<'_>, Vec<Duration>)| {
        taken.sort();
        Median { name: name.to_owned(), cpu: taken[rounds / 2], least: taken[0], most: taken[rounds - 1] }
    };
    variants.into_iter().zip(taken).map(median).collect()
}

/// CPU time of this thread so far.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// CPU time, user and system, of this process's children that have ended; in steps of 10 ms.
pub fn children_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("read /proc/self/stat");
    let behind_name = stat.rsplit_once(") ").expect("the name stands in parentheses").1;
    let ticks: u64 = behind_name.split(' ').skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}

/// `2.41 M/s`
pub fn rate(n: u64, time: Duration) -> String {
    let rate = n as f64 / time.as_secs_f64();
    if rate >= 1e6 { format!("{:.2} M/s", rate / 1e6) } else { format!("{:.0} k/s", rate / 1e3) }
}
