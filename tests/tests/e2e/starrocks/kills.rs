//! The apply half killed, and stopped while another goes on in its place, at every named place on its way into StarRocks.

use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::generator::{play, served};
use hindsight_tests::kafka;
use hindsight_tests::live::{Live, Running, WAIT_MAX};
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::program::signal;
use hindsight_tests::say::say;
use hindsight_tests::starrocks::{Cluster, Table, offsets};
use hindsight_tests::topic::{PARTITIONS, Topic};

use super::{RULES, is_long, list, load, member, place, run, start};

/// In the order in which a load passes them.
pub const POINTS: [&str; 10] = [
    "starrocks.decided",
    "starrocks.begun",
    "offsets.asked",
    "offsets.written",
    "starrocks.intended",
    "starrocks.continued",
    "starrocks.sending",
    "starrocks.loaded",
    "starrocks.committed",
    "starrocks.visible",
];

/// Of one that finds what another has left: that one has fallen at the first place of the pair.
const RECOVERIES: [[&str; 2]; 5] = [
    ["starrocks.intended", "recovery.read"],
    ["starrocks.intended", "recovery.settled"],
    ["starrocks.loaded", "recovery.settled"],
    ["starrocks.intended", "recovery.begun"],
    ["starrocks.intended", "recovery.intended"],
];

/// A topic that is applied by both rules, at the same time.
struct Both {
    topic: Topic,
    cluster: Cluster,
    places: [(Place, Table); 2],
    changes: Vec<hindsight_tests::oracle::Change>,
}

impl Both {
    /// With so many changes in the topic.
    #[track_caller]
    fn with(seed: u64, n_changes: usize, section: impl Fn(&Topic) -> String, more: &str) -> Self {
        let (server, cluster, topic) = (served(), Cluster::start(), Topic::on(kafka::shared()));
        let transactions = load(seed, n_changes);
        play(&server, &transactions);
        let places = RULES.map(|rule| place(&cluster, &server, &section(&topic), rule, more));
        run(&places[0].0, "capture");
        Both { topic, cluster, places, changes: list(&transactions) }
    }

    fn each(&self, what: impl Fn(&Place, &Table, Rule) + Sync) {
        thread::scope(|scope| {
            let what = &what;
            let running: Vec<_> = self
                .places
                .iter()
                .zip(RULES)
                .map(|((place, table), rule)| scope.spawn(move || what(place, table, rule)))
                .collect();
            running.into_iter().for_each(|running| running.join().expect("a rule's part"));
        });
    }

    fn reached(&self, table: &Table) -> u64 {
        offsets(&self.topic.client, &table.pipeline, &self.topic.name).values().sum()
    }

    #[track_caller]
    fn assert_right(&self, what: &str) {
        self.each(|place, table, rule| {
            run(place, "apply");
            self.cluster.assert_is(table, rule, &self.changes, &format!("{rule:?} {what}"));
        });
        say(&format!("{} labels, each sent once", self.cluster.assert_each_label_sent_once()));
        assert_eq!(self.cluster.n_dead_letters(), 0);
    }
}

#[test]
fn kills_lose_and_double_nothing() {
    let (n_changes, rounds) = if is_long() { (200_000, 6) } else { (9_000, 1) };
    let both = Both::with(709, n_changes, member, "");
    let end: u64 = both.topic.client.ends(&both.topic.name, PARTITIONS).values().sum();
    both.each(|place, table, rule| {
        let (mut kills, mut inside) = (0, 0);
        let mut fall = |point: &str, nth: usize| {
            let before = both.reached(table);
            let point = format!("{point}:{nth}");
            let answer = start(place, "apply", Some(&point)).end();
            assert_eq!(answer.exit, None, "{rule:?} falls at {point}: {}", answer.err);
            let after = both.reached(table);
            say(&format!("{rule:?} {point:<24} {before:>6} -> {after:>6}"));
            kills += 1;
            inside += usize::from(after > 0 && after < end);
        };
        for round in 0..rounds {
            for (number, point) in POINTS.into_iter().enumerate() {
                fall(point, 1 + (number + round) % 4);
            }
            for [first, second] in RECOVERIES {
                fall(first, 2 + round % 3);
                fall(second, 1);
            }
        }
        say(&format!("{rule:?}: {inside} of {kills} kills fell inside the topic"));
        assert!(inside * 4 >= kills * 3, "too few kills fell where they can show anything");
    });
    // Where it is told to end: before its lanes have ended, and when they have. They are ended for the first time when they are
    // assigned.
    both.each(|place, _, rule| {
        for point in ["group.ending:2", "group.ended:2"] {
            let mut running = start(place, "apply", Some(point));
            running.wait_for_log(&["a partition is assigned"]);
            signal("TERM", running.id());
            let answer = running.end();
            assert_eq!(answer.exit, None, "{rule:?} falls at {point}: {}", answer.err);
        }
    });
    // Where everything is applied, what is left is to say so.
    both.each(|place, _, rule| {
        let answer = start(place, "apply", Some("starrocks.idle:1")).end();
        assert_eq!(answer.exit, None, "{rule:?} falls when it comes to rest: {}", answer.err);
    });
    both.assert_right("after kills");
}

/// The client fetches a megabyte at a time: what comes again is the batch, and not its first part.
#[test]
fn a_large_batch_comes_again_whole() {
    let (server, cluster, topic) = (served(), Cluster::start(), Topic::on(kafka::shared()));
    let transactions = load(723, 24_000);
    play(&server, &transactions);
    let table = cluster.table("sequence-column = true\ninterval = \"400ms\"\n");
    let section = member(&topic);
    let (rule, name, sink) = (Rule::CountChanges, &*table.pipeline, &*table.sink);
    let place = Live { rule, batch: 16_384, topic: &section, name, sink, ..Live::of(&server) }.place();
    cluster.make(&place, str::to_owned);
    run(&place, "capture");
    let answer = start(&place, "apply", Some("starrocks.intended:2")).end();
    assert_eq!(answer.exit, None, "it falls: {}", answer.err);
    let marks = topic.client.group_offsets(&table.pipeline, &topic.name, PARTITIONS);
    let count = |text: &String| -> u64 {
        let mark: serde_json::Value = serde_json::from_str(text).expect("a mark");
        mark["load"]["count"].as_u64().unwrap_or(0)
    };
    let largest = marks.values().map(|(_, text)| count(text)).max().unwrap_or(0);
    say(&format!("a batch of {largest} messages comes again"));
    assert!(largest > 2_500, "it is more than a megabyte of messages: {marks:?}");
    run(&place, "apply");
    cluster.assert_is(&table, rule, &list(&transactions), "after a large batch");
    cluster.assert_each_label_sent_once();
}

/// Longer than a member's session.
const MISSED: Duration = Duration::from_millis(1_700);

/// Each process believes that it has the partitions: one stands still in the middle of a load, another takes over and goes on, and
/// then the first one goes on too.
#[test]
fn two_that_both_believe_they_own_a_partition_leave_the_table_right() {
    // Not all of it may be done before the last place.
    let (n_changes, rounds) = if is_long() { (150_000, 6) } else { (18_000, 1) };
    let both = Both::with(719, n_changes, Topic::section, "interval = \"250ms\"\n");
    both.each(|place, table, rule| {
        let points = POINTS.into_iter().chain(["group.ending"]).cycle().take(11 * rounds).enumerate();
        // In the short form each rule has every other place.
        let mine = |number: usize| is_long() || number.is_multiple_of(2) == (rule == Rule::ByOwner);
        for (number, point) in points.filter(|(number, _)| mine(*number)) {
            // Lanes are ended for the first time when they are assigned.
            let nth = if point == "group.ending" { 2 } else { 1 + number % 3 };
            let freeze = format!("{point}:{nth}");
            let arguments = ["run", "--only", "apply", "--json", "--log-format", "json"];
            let mut frozen = place.start(&arguments, |command| _ = command.env("HINDSIGHT_TEST_FREEZE", &freeze));
            if point == "group.ending" {
                frozen.wait_for_log(&["a partition is assigned"]);
                signal("TERM", frozen.id());
            }
            until(|| is_stopped(&frozen), &freeze);
            let before = both.reached(table);
            let other = start(place, "apply", None);
            thread::sleep(MISSED);
            until(|| both.reached(table) > before, "another process goes on");
            let between = both.reached(table);
            signal("CONT", frozen.id());
            // Both for a while: one of them has the partitions, whichever.
            thread::sleep(Duration::from_millis(200));
            other.stop();
            let log = frozen.kill();
            say(&format!("{rule:?} {freeze:<24} {before:>6} -> {between:>6} -> {:>6}", both.reached(table)));
            assert!(!log.err.contains("panicked"), "{}", log.err);
        }
    });
    both.assert_right("by two owners");
}

#[track_caller]
pub fn until(mut is_so: impl FnMut() -> bool, what: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < WAIT_MAX, "it did not come to it: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// As the kernel says it.
pub fn is_stopped(process: &Running) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}
