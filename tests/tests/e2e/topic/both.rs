//! Both halves in one process: to the end, and followed with kills.

use std::thread;
use std::time::Instant;

use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::kafka;
use hindsight_tests::live::{Live, Running, WAIT_MAX};
use hindsight_tests::oracle::Change;
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::say::say;
use hindsight_tests::topic::{PARTITIONS, Topic};

use super::apply::QUICK;

const KILLS: usize = 8;

/// In either half, where each writes.
const POINTS: [&str; 4] = ["topic.sent:2", "sink.rows:3", "topic.committed:2", "sink.committed:2"];

fn changes(transactions: &[Transaction]) -> Vec<Change> {
    transactions.iter().flat_map(Transaction::changes).collect()
}

/// Whatever is captured is applied.
#[track_caller]
fn run_to_end(place: &Place) -> serde_json::Value {
    let answer = place.0.hindsight(&["run", "--to-end", "--json"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    serde_json::from_str(&answer.out).expect("one line of JSON")
}

#[test]
fn one_process_captures_and_applies() {
    let server = served();
    let transactions: Vec<Transaction> =
        Load { seed: 331, changes: 4_000, owners: 200, ..Load::default() }.transactions().collect();
    let (first, second) = transactions.split_at(transactions.len() / 2);
    let topic = Topic::on(kafka::shared());
    // Also in other forms than Debezium's usual ones.
    let forms = "decimals = \"string\"\ntimes = \"iso\"\n";
    let section = topic.section() + forms + QUICK;
    let place = Live { rule: Rule::CountChanges, batch: 60, topic: &section, ..Live::of(&server) }.place();
    play(&server, first);
    let said = run_to_end(&place);
    let n_changes = changes(first).len();
    assert_eq!(said["capture"]["changes"], n_changes, "{said}");
    place.assert_is(Rule::CountChanges, &changes(first), "to the end");

    let mut command = place.0.command(&["run", "--json"]);
    command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let running = hindsight_tests::running::Running::start(command).expect("it runs");
    play(&server, second);
    let begun = Instant::now();
    while !server.has_all_executed_in(&topic.reached().gtids)
        || running.status()["changes"].as_u64() < Some(changes(second).len() as u64)
    {
        assert!(begun.elapsed() < WAIT_MAX, "not all was applied: {}", running.status());
    }
    let status = running.status();
    assert_eq!(status["capture"]["changes"], changes(second).len(), "{status}");
    let metrics = running.ask("GET", "/metrics", &[], b"").expect("it runs").text;
    assert_eq!((metrics.matches("# EOF").count(), metrics.ends_with("# EOF\n")), (1, true));
    for name in ["hindsight_changes_total{", "hindsight_capture_changes_total{", "hindsight_capture_source_connected{"]
    {
        assert!(metrics.contains(name), "{name} is not in {metrics}");
    }
    let paused = running.pause();
    assert_eq!(paused["state"], "paused", "{paused}");
    let ended = running.terminate();
    assert_eq!(ended.exit, Some(0), "{}", ended.err);
    place.assert_is(Rule::CountChanges, &changes(&transactions), "followed");
}

#[test]
fn kills_of_a_process_with_both_halves_lose_and_double_nothing() {
    let server = served();
    let transactions: Vec<Transaction> =
        Load { seed: 337, changes: 8_000, owners: 400, ..Load::default() }.transactions().collect();
    let topic = Topic::on(kafka::shared());
    let section = topic.section() + QUICK;
    let place = Live { rule: Rule::CountChanges, batch: 60, topic: &section, ..Live::of(&server) }.place();
    let mut inside = 0;
    for kill in 0..KILLS {
        let part = &transactions[transactions.len() * kill / KILLS..transactions.len() * (kill + 1) / KILLS];
        let before = (topic.reached(), place.lanes());
        let point = (kill % 2 == 1).then(|| POINTS[kill / 2 % POINTS.len()]);
        let mut running: Running = place.start(&["run", "--json", "--log-format", "json"], |command| {
            if let Some(point) = point {
                command.env("HINDSIGHT_TEST_CRASH", point);
            }
        });
        // Both halves work, once the last process is no longer missed; or a point of the capture half came before.
        while running.is_running() && !running.log().contains("a partition is assigned") {}
        let wanted = topic.client.offsets_used(&topic.name, PARTITIONS) + 1 + kill as u64 * 97 % 400;
        let ended = thread::scope(|scope| {
            let writing = scope.spawn(|| play(&server, part));
            let ended = if point.is_some() {
                // A point that this part does not reach is a kill behind it.
                let begun = Instant::now();
                while running.is_running() && !server.has_all_executed_in(&topic.reached().gtids) {
                    assert!(begun.elapsed() < WAIT_MAX, "it neither ends nor goes on: {}", running.log());
                }
                running.kill()
            } else {
                let begun = Instant::now();
                while topic.client.offsets_used(&topic.name, PARTITIONS) < wanted || place.lanes() == before.1 {
                    running.assert_runs();
                    assert!(begun.elapsed() < WAIT_MAX, "the part is not applied: {}", running.log());
                }
                running.kill()
            };
            writing.join().expect("play a part of the load");
            ended
        });
        assert_eq!(ended.exit, None, "it was killed: {}", ended.err);
        let after = (topic.reached(), place.lanes());
        say(&format!(
            "kill {kill} {:<18} {} -> {}, {:?} -> {:?}",
            point.unwrap_or("SIGKILL"),
            before.0,
            after.0,
            before.1,
            after.1
        ));
        inside += usize::from(after != before);
    }
    assert!(inside * 2 >= KILLS, "{inside} of {KILLS} kills fell inside the run");
    run_to_end(&place);
    let changes = changes(&transactions);
    topic.assert_holds(&changes, "after kills");
    place.assert_is(Rule::CountChanges, &changes, "after kills");
}
