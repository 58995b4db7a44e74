//! Kills a follower in every phase of a snapshot.

use std::time::{Duration, Instant};

use hindsight_tests::program::Answer;
use hindsight_tests::say::say;

use super::follower::{Command, Follower, Phase, Stands};

/// How often, by where it stands afterwards, and how.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub reading: usize,
    pub filtering: usize,
    pub behind: usize,
    /// Rows between a start and a kill, about: none, so many, or twice as many.
    pub rows: u64,
    /// Whether a snapshot that was killed begins anew.
    pub starts_over: bool,
}

/// One end of a process.
pub struct Kill {
    pub within_commit: bool,
    pub before: Stands,
    pub after: Stands,
}

/// In the order in which a commit passes them.
const CRASH_POINTS: [&str; 4] = ["sink.begin", "sink.checkpoint", "sink.rows", "sink.committed"];

/// Until it was killed often enough in every phase.
pub fn kill_again_and_again(follower: &Follower, plan: Plan) -> Vec<Kill> {
    let mut kills: Vec<Kill> = Vec::new();
    loop {
        let before = follower.stands();
        let n = |phase| kills.iter().filter(|kill| kill.after.phase == phase).count();
        // The phase to be killed in: the one it is in, until that has had enough.
        let phase = match before.phase {
            Phase::Begun | Phase::Reading if n(Phase::Reading) < plan.reading => Phase::Reading,
            Phase::Begun | Phase::Reading | Phase::Filtering if n(Phase::Filtering) < plan.filtering => {
                Phase::Filtering
            }
            _ if n(Phase::Behind) < plan.behind => Phase::Behind,
            _ => return kills,
        };
        let leg = kills.len();
        let crash = (follower.command != Command::Capture && leg % 5 >= 3)
            .then(|| format!("{}:{}", CRASH_POINTS[leg / 5 * 2 % 4 + leg % 5 - 3], 1 + leg % 3));
        let mut process = follower.start(|command| {
            if let Some(point) = &crash {
                command.env("HINDSIGHT_TEST_CRASH", point);
            }
        });
        let moment = Duration::from_micros(leg as u64 * 379 % 4_000);
        let how = crash.clone().unwrap_or_else(|| format!("SIGKILL after {} us", moment.as_micros()));
        let answer: Answer = if crash.is_some() {
            process.end()
        } else {
            let more = if phase == Phase::Reading { leg as u64 % 3 * plan.rows } else { leg as u64 % 3 };
            // What begins anew is another snapshot, whose rows are counted from the first.
            let is_anew = |stands: &Stands| !plan.starts_over || before.phase != Phase::Reading || *stands != before;
            let from = if plan.starts_over { Stands { rows: 0, ..before.clone() } } else { before.clone() };
            follower.wait_until(&mut process, |stands| is_anew(stands) && has_gone_on(&from, stands, phase, more));
            spin(moment);
            process.kill()
        };
        assert_eq!(answer.exit, None, "{follower}: {}", answer.err);
        let after = follower.stands();
        say(&format!("{follower:<18} kill {leg:>2} {how:<20} {before:<32} -> {after}"));
        let may_go_back = plan.starts_over && before.phase <= Phase::Reading;
        assert!(may_go_back || after.order() >= before.order(), "{follower} went back");
        kills.push(Kill { within_commit: crash.is_some(), before, after });
        assert!(
            kills.len() < 3 * (plan.reading + plan.filtering + plan.behind),
            "{follower} is not where it should be killed"
        );
    }
}

/// Whether it is in this phase, or past it, and has done more than before: rows while it reads, transactions later.
fn has_gone_on(before: &Stands, now: &Stands, phase: Phase, more: u64) -> bool {
    match now.phase {
        Phase::Begun => false,
        _ if now.phase > phase => true,
        Phase::Reading => phase == Phase::Reading && now.rows > before.rows + more,
        _ => now.phase == phase && now.transactions > before.transactions + more,
    }
}

fn spin(moment: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < moment {
        std::hint::spin_loop();
    }
}
