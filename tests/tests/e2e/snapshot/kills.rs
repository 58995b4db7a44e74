//! A snapshot in chunks under eight writers, killed again and again: while chunks are open, while what they hold is left out
//! of the log, and behind that.
//!
//! Three processes follow one server, each killed at places of its own. Nobody knows beforehand what the writers do: the
//! server's log tells afterwards. `HINDSIGHT_TEST_LONG=1` does it over many more rows.

use std::thread;
use std::time::Instant;

use hindsight_tests::dump;
use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::say::say;
use hindsight_tests::writers::{SLOW_COMMITS, Writing};

use super::follower::{COMMANDS, Command, Follower, Phase};
use super::killing::{Kill, Plan, kill_again_and_again};

#[test]
fn a_snapshot_under_eight_writers_survives_fifty_kills_of_each_process() {
    let (rows, chunk) = if std::env::var_os("HINDSIGHT_TEST_LONG").is_some() { (200_000, 1_000) } else { (6_000, 30) };
    let writing = Writing { seed: 7, rows, ..Writing::default() };
    let server = Mysql::start(SLOW_COMMITS);
    server.add_reader();
    writing.fill(&server);
    let snapshot = format!("snapshot = \"initial\"\nsnapshot-chunk-rows = {chunk}\nsnapshot-readers = 2");
    let live = Live { snapshot: &snapshot, batch: 60, source: "heartbeat = \"1s\"", ..Live::of(&server) };
    let followers = COMMANDS.map(|command| Follower::new(command, &live));
    let plan = Plan { reading: 33, filtering: 8, behind: 11, rows: rows / 80, starts_over: false };
    let begun = Instant::now();
    let writers = writing.start(&server);
    let kills = thread::scope(|scope| {
        let killing = followers.each_ref().map(|follower| scope.spawn(|| kill_again_and_again(follower, plan)));
        killing.map(|killing| killing.join().expect("kill one of the processes"))
    });
    let mut running = followers.each_ref().map(|follower| follower.start(|_| {}));
    let sent = writers.sent();
    writers.stop();
    for (follower, process) in followers.iter().zip(&mut running) {
        follower.wait_until_all_is_done(&server, process);
    }
    running.into_iter().for_each(|process| _ = process.stop());
    let log = dump::read(&server.finished_logs()).logged("item_assets");
    say(&format!("{sent} transactions, {} changes in the log; {:.1} s", log.len(), begun.elapsed().as_secs_f64()));
    for (follower, kills) in followers.iter().zip(&kills) {
        let judgement = follower.assert_is(&log, true);
        judge_kills(follower, kills);
        assert!(judgement.n_held >= 100, "the rows hold too little of the log to show anything");
        assert!(judgement.n_halves >= 5, "too few moves had one side in a row that was read");
        assert!(judgement.n_points >= 20, "too few points of the log at which chunks were read");
    }
    say(&format!("{:.1} s with the judgement", begun.elapsed().as_secs_f64()));
}

/// Where the kills fell says whether they could show anything.
fn judge_kills(follower: &Follower, kills: &[Kill]) {
    let n = |phase| kills.iter().filter(|kill| kill.after.phase == phase).count();
    let within_commit = kills.iter().filter(|kill| kill.within_commit).count();
    let moved = kills.iter().filter(|kill| kill.after.order() > kill.before.order()).count();
    let (reading, filtering, behind) = (n(Phase::Reading), n(Phase::Filtering), n(Phase::Behind));
    say(&format!(
        "{follower}: {} kills, {reading} with chunks open, {filtering} while their rows were left out of the log, {behind} behind \
         that; {within_commit} within a commit, {moved} after the checkpoint had moved",
        kills.len()
    ));
    assert!(kills.len() >= 50, "at least fifty kills");
    assert!(reading >= 30, "too few kills fell while chunks were open");
    assert!(filtering >= 5 && behind >= 5, "too few kills fell later");
    assert!(moved * 2 >= kills.len(), "the kills are spread over the run");
    if follower.command != Command::Capture {
        assert!(within_commit * 3 >= kills.len(), "too few kills fell within a commit");
    }
}
