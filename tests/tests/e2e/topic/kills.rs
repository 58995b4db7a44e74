//! The capture half killed at every kind of place: the topic holds each change once.

use std::thread;
use std::time::Instant;

use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::kafka::{self, Broker};
use hindsight_tests::live::{Live, WAIT_MAX};
use hindsight_tests::oracle::Change;
use hindsight_tests::say::say;
use hindsight_tests::topic::{PARTITIONS, Topic};

/// SIGKILLs and crash points by turns.
const KILLS: usize = 24;

/// Between the last message and the commit, and behind it.
const POINTS: [&str; 2] = ["topic.sent", "topic.committed"];

const BATCH: usize = 60;

#[test]
fn each_change_is_in_the_topic_once_after_kills() {
    let server = served();
    let load = Load { seed: 233, changes: 24_000, owners: 1_200, ..Load::default() };
    let transactions: Vec<Transaction> = load.transactions().collect();
    let changes: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    let topic = Topic::on(kafka::shared());
    let section = topic.section();
    let place = Live { topic: &section, batch: BATCH, ..Live::of(&server) }.place();
    let arguments = ["run", "--only", "capture", "--json", "--log-format", "json"];
    let (mut inside, mut within) = (0, 0);
    for kill in 0..KILLS {
        let part = &transactions[transactions.len() * kill / KILLS..transactions.len() * (kill + 1) / KILLS];
        let (before, used) = (topic.reached(), topic.client.offsets_used(&topic.name, PARTITIONS));
        let point = (kill % 2 == 1).then(|| format!("{}:{}", POINTS[kill / 2 % 2], 1 + kill / 4 % 2));
        let mut running = place.start(&arguments, |command| {
            if let Some(point) = &point {
                command.env("HINDSIGHT_TEST_CRASH", point);
            }
        });
        let ended = if point.is_some() {
            // What is written behind a commit is in another one: every point is passed twice.
            let (first, second) = part.split_at(part.len() / 2);
            play(&server, first);
            let begun = Instant::now();
            while running.is_running() && topic.reached() == before {
                assert!(begun.elapsed() < WAIT_MAX, "nothing is captured: {}", running.log());
            }
            play(&server, second);
            running.end()
        } else {
            // Somewhere while this part is written: after some messages of it, committed or not.
            let wanted = used + 1 + kill as u64 * 97 % 800;
            thread::scope(|scope| {
                let writing = scope.spawn(|| play(&server, part));
                let begun = Instant::now();
                while topic.client.offsets_used(&topic.name, PARTITIONS) < wanted {
                    running.assert_runs();
                    assert!(begun.elapsed() < WAIT_MAX, "the part is not captured: {}", running.log());
                }
                let ended = running.kill();
                writing.join().expect("play a part of the load");
                ended
            })
        };
        assert_eq!(ended.exit, None, "it was killed: {}", ended.err);
        let after = topic.reached();
        let how = point.unwrap_or_else(|| "SIGKILL".into());
        say(&format!("kill {kill:>2} {how:<18} {before} -> {after}"));
        assert!(after.order() >= before.order(), "a checkpoint was lost");
        inside += usize::from(after.order() > before.order() && !server.has_all_executed_in(&after.gtids));
        within += usize::from(how.starts_with("topic."));
    }
    let answer = place.0.hindsight(&["run", "--only", "capture", "--to-end", "--json"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let committed = topic.assert_holds(&changes, "after kills").len();
    let all = topic.client.uncommitted(&topic.name).len();
    say(&format!(
        "{} changes, {committed} messages, {} more in transactions that were taken back; {inside} of {KILLS} kills fell inside the \
         load, {within} at a commit",
        changes.len(),
        all - committed
    ));
    assert!(all > committed, "transactions were taken back");
    assert!(inside * 3 >= KILLS && within * 3 >= KILLS, "too few kills fell where they can show anything");
}

/// Times that the broker falls, and that it is silent for a while.
const FALLS: usize = 3;

#[test]
fn the_program_waits_for_a_broker_that_falls_or_is_silent() {
    let server = served();
    let load = Load { seed: 239, changes: 12_000, owners: 600, ..Load::default() };
    let transactions: Vec<Transaction> = load.transactions().collect();
    let changes: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    let mut broker = Broker::start(&[]);
    let topic = Topic::on(broker.client());
    let section = topic.section();
    let place = Live { topic: &section, batch: BATCH, ..Live::of(&server) }.place();
    let mut running = place.start(&["run", "--only", "capture", "--json", "--log-format", "json"], |_| {});
    let n_parts = 2 * FALLS + 1;
    for part in 0..n_parts {
        let some = &transactions[transactions.len() * part / n_parts..transactions.len() * (part + 1) / n_parts];
        let wanted = topic.client.offsets_used(&topic.name, PARTITIONS) + 1 + part as u64 * 97 % 600;
        thread::scope(|scope| {
            let writing = scope.spawn(|| play(&server, some));
            while topic.client.offsets_used(&topic.name, PARTITIONS) < wanted {
                running.assert_runs();
            }
            if part + 1 < n_parts {
                let before = topic.reached();
                if part % 2 == 0 {
                    broker.kill();
                    broker.start_again();
                } else {
                    broker.freeze();
                    writing.join().expect("play a part of the load");
                    broker.thaw();
                }
                say(&format!("{} at {before}", if part % 2 == 0 { "killed" } else { "frozen" }));
            }
        });
    }
    topic.wait_until_all_is_captured(&server, &mut running);
    running.stop();
    topic.assert_holds(&changes, "after the broker fell");
}
