//! `run` killed again and again over one log: whatever the instant, both rules' tables end as the oracle's.
//!
//! SIGKILL falls at instants spread over the run; named crash points (`HINDSIGHT_TEST_CRASH`) fall between the steps of a
//! commit. `HINDSIGHT_TEST_LONG=1` does it over a million changes.

use std::process::Child;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use hindsight_tests::generator::Load;
use hindsight_tests::oracle::{self, OnOwnerChange};
use hindsight_tests::pipeline::{Pipeline, Place, Rule, assert_same, byte};
use hindsight_tests::recorded::{self, Recorded};
use hindsight_tests::say::say;

/// By SIGKILL, at instants; and at crash points, which all lie within a commit.
const KILLS: usize = 22;
const CRASHES: usize = 14;

/// In the order in which a commit passes them. Up to the last one the rows must be gone, after it they must be there.
const CRASH_POINTS: [&str; 4] = ["sink.begin", "sink.checkpoint", "sink.rows", "sink.committed"];

/// How long a run may take to reach the next place to kill it at.
const LEG_MAX: Duration = Duration::from_secs(120);

fn is_long() -> bool {
    std::env::var_os("HINDSIGHT_TEST_LONG").is_some()
}

fn log() -> &'static Recorded {
    static LOG: OnceLock<Recorded> = OnceLock::new();
    LOG.get_or_init(|| {
        let (changes, owners) = if is_long() { (1_000_000, 50_000) } else { (100_000, 5_000) };
        recorded::record(&Load { seed: 7, changes, owners, ..Load::default() }, "load.binlog", &[])
    })
}

#[test]
fn the_default_rules_history_survives_every_kill() {
    let place = killed_again_and_again(Rule::ByOwner);
    let wanted = oracle::scd2_by_owner(&log().changes, OnOwnerChange::Close).table;
    assert_same(&place.history(), &wanted, "scd2-by-owner after kills");
}

#[test]
fn no_change_is_counted_twice_or_lost_by_a_kill() {
    let place = killed_again_and_again(Rule::CountChanges);
    assert_same(&place.counts(), &oracle::count_changes(&log().changes), "count-changes after kills");
}

/// One end of the process.
struct Kill {
    how: String,
    within_commit: bool,
    before: u64,
    after: u64,
}

/// Kills it at places spread over the log, then lets it run to the end.
fn killed_again_and_again(rule: Rule) -> Place {
    let n_batches = if is_long() { 500 } else { 200 };
    let batch = log().changes.len() / n_batches;
    let place = Pipeline { rule, files: vec![log().file.clone()], batch, ..Pipeline::default() }.place();
    let size = std::fs::metadata(&log().file).expect("look at the log").len();
    let n_kills = KILLS + CRASHES;
    // A fifth of the log is left for the end: a busy machine kills late.
    let share = |whole: u64, n: usize| whole * 4 / 5 * n as u64 / n_kills as u64;
    let begun = Instant::now();
    let mut kills: Vec<Kill> = Vec::new();
    for n in 0..n_kills {
        let before = byte(place.checkpoint().as_deref());
        // The crash points lie evenly among the kills, each name in its turn.
        let crashes = |n: usize| n * CRASHES / n_kills;
        let within_commit = crashes(n + 1) > crashes(n);
        let how = if within_commit {
            let point = CRASH_POINTS[crashes(n) % CRASH_POINTS.len()];
            crash(&place, point, share(n_batches as u64, 1) + n as u64 % 3)
        } else {
            kill(&place, share(size, n + 1), Duration::from_micros(n as u64 * 379 % 4_000))
        };
        // A machine that is busy enough lets it end first. What was killed until then is judged below.
        let Some(how) = how else { break };
        let after = byte(place.checkpoint().as_deref());
        say(&format!("{rule:?} kill {n:>2} {how:<28} checkpoint {before:>9} -> {after:>9} of {size}"));
        assert!(after >= before, "the checkpoint went back");
        kills.push(Kill { how, within_commit, before, after });
    }
    let answer = place.run();
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let end = byte(place.checkpoint().as_deref());
    let first = kills.iter().map(|kill| kill.after).find(|&after| after > 0).unwrap_or(0);
    let inside = kills.iter().filter(|kill| kill.after > 0 && kill.after < end).count();
    let within_commit = kills.iter().filter(|kill| kill.within_commit).count();
    say(&format!(
        "{rule:?}: {} kills, {inside} strictly inside the run, {within_commit} within a commit; {} changes, first checkpoint {first}, last {end}; {:.1} s",
        kills.len(),
        log().changes.len(),
        begun.elapsed().as_secs_f64(),
    ));
    assert!(kills.len() - within_commit >= 20, "at least twenty by SIGKILL");
    assert!(inside * 4 >= kills.len() * 3, "too few kills fell inside the run");
    assert!(within_commit * 3 >= kills.len(), "too few kills fell within a commit");
    let moved = kills.iter().filter(|kill| kill.after > kill.before).count();
    assert!(moved * 4 >= kills.len() * 3, "the kills are spread over the run: {:?}", ends(&kills));
    place
}

fn ends(kills: &[Kill]) -> Vec<String> {
    kills.iter().map(|kill| format!("{} {} -> {}", kill.how, kill.before, kill.after)).collect()
}

/// Ends itself at the nth pass of a crash point; none where it came to its end before.
fn crash(place: &Place, point: &str, nth: u64) -> Option<String> {
    let how = format!("{point}:{nth}");
    let output = place.command().env("HINDSIGHT_TEST_CRASH", &how).output().expect("run hindsight");
    assert!(matches!(output.status.code(), None | Some(0)), "{}", String::from_utf8_lossy(&output.stderr));
    output.status.code().is_none().then_some(how)
}

/// SIGKILL a moment after the checkpoint has passed a byte of the log; none where it came to its end before.
fn kill(place: &Place, until: u64, moment: Duration) -> Option<String> {
    let mut process = place.command().spawn().expect("run hindsight");
    let begun = Instant::now();
    while byte(place.checkpoint().as_deref()) < until && is_running(&mut process) {
        assert!(begun.elapsed() < LEG_MAX, "byte {until} was not reached in {LEG_MAX:?}");
    }
    let reached = Instant::now();
    while reached.elapsed() < moment {
        std::hint::spin_loop();
    }
    process.kill().expect("send SIGKILL");
    let output = process.wait_with_output().expect("wait for hindsight");
    assert!(matches!(output.status.code(), None | Some(0)), "{}", String::from_utf8_lossy(&output.stderr));
    output.status.code().is_none().then(|| format!("SIGKILL after {} us", moment.as_micros()))
}

fn is_running(process: &mut Child) -> bool {
    process.try_wait().expect("look at hindsight").is_none()
}
