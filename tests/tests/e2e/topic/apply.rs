//! The apply half: from a topic that the capture half wrote into the history, which is the oracle's; also when it is killed, and
//! when several processes share the partitions.

use std::thread;

use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::kafka;
use hindsight_tests::live::{Live, Running};
use hindsight_tests::oracle::{self, Change};
use hindsight_tests::pipeline::{Place, Rule, differences};
use hindsight_tests::say::say;
use hindsight_tests::topic::{PARTITIONS, Topic};

const BATCH: usize = 60;

const RULES: [Rule; 2] = [Rule::ByOwner, Rule::CountChanges];

/// In the order in which a commit passes them.
const POINTS: [&str; 4] = ["sink.begin", "sink.checkpoint", "sink.rows", "sink.committed"];

const KILLS: usize = 12;

fn load(seed: u64, changes: usize) -> Vec<Transaction> {
    Load { seed, changes, owners: changes as u64 / 20, ..Load::default() }.transactions().collect()
}

fn list(transactions: &[Transaction]) -> Vec<Change> {
    transactions.iter().flat_map(Transaction::changes).collect()
}

#[track_caller]
fn run(place: &Place, half: &str) {
    let answer = place.0.hindsight(&["run", "--only", half, "--to-end", "--json"]);
    assert_eq!(answer.exit, Some(0), "{half}: {}", answer.err);
}

/// A member that was killed is missed after a second and a half, not after Kafka's 45.
pub(crate) const QUICK: &str = "[topic.librdkafka]\n\"session.timeout.ms\" = 1500\n\"heartbeat.interval.ms\" = 300\n";

fn start(place: &Place, half: &str, point: Option<&str>) -> Running {
    place.start(&["run", "--only", half, "--json", "--log-format", "json"], |command| {
        if let Some(point) = point {
            command.env("HINDSIGHT_TEST_CRASH", point);
        }
    })
}

#[test]
fn the_table_is_the_oracles_by_way_of_a_topic() {
    let server = served();
    let transactions = load(307, 6_000);
    let (first, second) = transactions.split_at(transactions.len() / 2);
    let topic = Topic::on(kafka::shared());
    let section = topic.section() + QUICK;
    let places = RULES.map(|rule| Live { rule, batch: BATCH, topic: &section, ..Live::of(&server) }.place());
    for part in [first, second] {
        play(&server, part);
        run(&places[0], "capture");
        for place in &places {
            run(place, "apply");
        }
    }
    for (place, rule) in places.iter().zip(RULES) {
        place.assert_is(rule, &list(&transactions), &format!("{rule:?}"));
    }
    // Nothing is left to do.
    run(&places[0], "apply");
    places[0].assert_is(RULES[0], &list(&transactions), "again");
}

#[test]
fn kills_of_the_apply_half_lose_and_double_nothing() {
    let server = served();
    let transactions = load(311, 8_000);
    play(&server, &transactions);
    let topic = Topic::on(kafka::shared());
    let section = topic.section() + QUICK;
    let places = RULES.map(|rule| Live { rule, batch: BATCH, topic: &section, ..Live::of(&server) }.place());
    run(&places[0], "capture");
    let changes = list(&transactions);
    for (place, rule) in places.iter().zip(RULES) {
        let mut inside = 0;
        for kill in 0..KILLS {
            let before = place.lanes();
            let point = format!("{}:{}", POINTS[kill % POINTS.len()], 1 + kill % 5);
            let answer = start(place, "apply", Some(&point)).end();
            assert_eq!(answer.exit, None, "it crashes where it was told to: {}", answer.err);
            let after = place.lanes();
            say(&format!("{rule:?} kill {kill:>2} {point:<18} {before:?} -> {after:?}"));
            inside += usize::from(after != before);
        }
        assert!(inside * 2 >= KILLS, "{inside} of {KILLS} kills moved the checkpoint");
        run(place, "apply");
        say(&format!("{rule:?} ends at {:?}", place.lanes()));
        place.assert_is(rule, &changes, &format!("{rule:?} after kills"));
    }
}

/// One process, three, two, while changes come: each partition has one lane at a time, and the table is the oracle's.
#[test]
fn processes_share_the_partitions_and_take_them_over() {
    let server = served();
    let transactions = load(313, 9_000);
    let topic = Topic::on(kafka::shared());
    let section = topic.section() + QUICK;
    let place = Live { rule: Rule::CountChanges, batch: BATCH, topic: &section, ..Live::of(&server) }.place();
    let mut capture = start(&place, "capture", None);
    let mut members = Vec::new();
    for (stage, wanted) in [1_usize, 3, 2].into_iter().enumerate() {
        while members.len() > wanted {
            let member: Running = members.remove(0);
            member.kill();
        }
        while members.len() < wanted {
            members.push(start(&place, "apply", None));
        }
        let part = &transactions[transactions.len() * stage / 3..transactions.len() * (stage + 1) / 3];
        thread::scope(|scope| {
            let writing = scope.spawn(|| play(&server, part));
            if wanted > 1 {
                for member in &mut members {
                    member.wait_for_log(&["a partition is assigned"]);
                }
            }
            writing.join().expect("play a part of the load");
        });
        topic.wait_until_all_is_captured(&server, &mut capture);
        say(&format!("{wanted} processes: {:?}", place.lanes()));
    }
    capture.stop();
    for member in members {
        member.stop();
    }
    run(&place, "apply");
    assert_eq!(place.lanes().len(), PARTITIONS as usize);
    place.assert_is(Rule::CountChanges, &list(&transactions), "by one, three and two processes");
}

/// A batch that is decided and committed twice on purpose is seen.
#[test]
fn a_batch_done_twice_is_seen() {
    let server = served();
    let transactions = load(317, 600);
    play(&server, &transactions);
    let topic = Topic::on(kafka::shared());
    let section = topic.section() + QUICK;
    let place = Live { rule: Rule::CountChanges, batch: BATCH, topic: &section, ..Live::of(&server) }.place();
    run(&place, "capture");
    let mut command = place.0.command(&["run", "--only", "apply", "--to-end", "--json"]);
    let answer = command.env("HINDSIGHT_TEST_REPEAT", "1").output().expect("run hindsight");
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let wrong = differences(&place.counts(), &oracle::count_changes(&list(&transactions)));
    say(&format!("a lane's batch done twice: {} owners are wrong under count-changes", wrong.len()));
    assert!(wrong.len() > 5, "count-changes shows it: {wrong:?}");
}
