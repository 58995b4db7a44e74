//! Everything at once, while a load is written: either half killed and frozen, the broker killed, the group of the apply half
//! one, three and two processes. `HINDSIGHT_TEST_LONG=1` does it over more than 200,000 changes.

use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::asset_log::Random;
use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::kafka::Broker;
use hindsight_tests::live::{Live, Running, WAIT_MAX};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::Change;
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::program::{Answer, signal};
use hindsight_tests::say::say;
use hindsight_tests::topic::{PARTITIONS, Topic};

use super::apply::QUICK;

/// Longer than a member's session, after which it is missed.
const FREEZE: Duration = Duration::from_millis(2_500);

/// Where processes end themselves, beside the SIGKILLs.
const CAPTURE_POINTS: [&str; 2] = ["topic.sent", "topic.committed"];
const APPLY_POINTS: [&str; 3] = ["sink.checkpoint", "sink.rows", "sink.committed"];

struct Size {
    changes: usize,
    steps: usize,
    /// A freeze of each half in so many steps, and a fall of the broker.
    freeze_every: usize,
    fall_every: usize,
}

fn is_long() -> bool {
    std::env::var_os("HINDSIGHT_TEST_LONG").is_some()
}

fn size() -> Size {
    match is_long() {
        true => Size { changes: 210_000, steps: 60, freeze_every: 5, fall_every: 10 },
        false => Size { changes: 9_000, steps: 6, freeze_every: 3, fall_every: 4 },
    }
}

/// A group of processes that apply the topic by one rule.
struct Members {
    place: Place,
    running: Vec<Running>,
}

#[derive(Debug, Default)]
struct Done {
    capture_kills: usize,
    capture_freezes: usize,
    taken_over: usize,
    apply_kills: usize,
    apply_freezes: usize,
    falls: usize,
    /// Transactions that nobody ended, and that had to be ended as the program says.
    hung: usize,
}

#[test]
fn kills_and_freezes_of_everything_at_once_lose_and_double_nothing() {
    let Size { changes, steps, freeze_every, fall_every } = size();
    let load = Load { seed: 401, changes, owners: changes as u64 / 20, ..Load::default() };
    let transactions: Vec<Transaction> = load.transactions().collect();
    let changes: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    let (server, mut broker) = (served(), Broker::start(&[]));
    let topic = Topic::on(broker.client());
    let section = topic.section() + QUICK;
    let members = |rule| Members {
        place: named(&Live { rule, batch: 60, topic: &section, ..Live::of(&server) }, &format!("{rule:?}")),
        running: Vec::new(),
    };
    let mut groups = [members(Rule::CountChanges), members(Rule::ByOwner)];
    let capturing = Live { topic: &section, batch: 60, ..Live::of(&server) }.place();
    let mut capture = start(&capturing, "capture", None);
    let (mut random, mut done, begun) = (Random(5), Done::default(), Instant::now());
    for step in 0..steps {
        // One, three, two; the other rule's group is one process.
        let wanted = [1, 3, 2][step * 3 / steps];
        resize(&mut groups[0], wanted);
        resize(&mut groups[1], 1);
        let part = &transactions[transactions.len() * step / steps..transactions.len() * (step + 1) / steps];
        let wanted = topic.client.offsets_used(&topic.name, PARTITIONS) + 1 + u64::from(random.below(400));
        thread::scope(|scope| {
            let writing = scope.spawn(|| play(&server, part));
            wait(|| topic.client.offsets_used(&topic.name, PARTITIONS) >= wanted, &mut capture);
            if step % fall_every == fall_every - 1 {
                broker.kill();
                broker.start_again();
                done.falls += 1;
            }
            if step % freeze_every == freeze_every - 1 {
                freeze_capture(&server, &capturing, &mut capture, &topic, &mut done);
                freeze_member(&mut groups[step % 2], &mut done);
            }
            kill_capture(&capturing, &mut capture, step, &mut done);
            kill_member(&mut groups[step % 2], step, &mut random, &mut done);
            begins(&capturing, &mut capture, &topic, &mut done);
            writing.join().expect("play a part of the load");
        });
        for member in groups.iter_mut().flat_map(|group| &mut group.running) {
            member.assert_runs();
        }
        say(&format!("step {step}: {done:?}, {} -> {:?}", topic.reached(), groups[0].place.lanes()));
    }
    topic.wait_until_all_is_captured(&server, &mut capture);
    capture.stop();
    for group in &mut groups {
        group.running.drain(..).for_each(|member| _ = member.stop());
        let answer = group.place.0.hindsight(&["run", "--only", "apply", "--to-end", "--json"]);
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
    }
    let committed = topic.assert_holds(&changes, "after all of it").len();
    let all = topic.client.uncommitted(&topic.name).len();
    groups[0].place.assert_is(Rule::CountChanges, &changes, "count-changes after all of it");
    groups[1].place.assert_is(Rule::ByOwner, &changes, "scd2-by-owner after all of it");
    say(&format!(
        "{} changes, {committed} messages, {} more in transactions that were taken back; {done:?}; {:.0} s",
        changes.len(),
        all - committed,
        begun.elapsed().as_secs_f64()
    ));
    assert!(!is_long() || all > committed, "transactions were taken back");
    let Done { capture_kills, capture_freezes, taken_over, apply_kills, apply_freezes, falls, .. } = done;
    assert!(capture_kills * 6 >= steps * 5 && apply_kills * 6 >= steps * 5, "each half is killed in nearly every step");
    let freezes = steps / freeze_every;
    assert!(capture_freezes >= freezes && apply_freezes >= freezes && taken_over > 0 && falls >= steps / fall_every);
}

/// A pipeline of another name: of a group of its own.
fn named(live: &Live<'_>, name: &str) -> Place {
    let place = live.place();
    let file = place.0.path().join("hindsight.toml");
    let text = std::fs::read_to_string(&file).expect("read the configuration");
    std::fs::write(file, text.replacen("item-assets", name, 1)).expect("write the configuration");
    place
}

fn start(place: &Place, half: &str, point: Option<String>) -> Running {
    place.start(&["run", "--only", half, "--json", "--log-format", "json"], |command| {
        if let Some(point) = point {
            command.env("HINDSIGHT_TEST_CRASH", point);
        }
    })
}

#[track_caller]
fn wait(mut is_so: impl FnMut() -> bool, running: &mut Running) {
    let begun = Instant::now();
    while !is_so() {
        running.assert_runs();
        assert!(begun.elapsed() < WAIT_MAX, "it did not come to it in {WAIT_MAX:?}: {}", running.log());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until it has ended itself at its point, or kills it where it does not come there; then starts another.
fn end(running: &mut Running, place: &Place, half: &str) {
    let begun = Instant::now();
    while running.is_running() && begun.elapsed() < FREEZE {
        thread::sleep(Duration::from_millis(2));
    }
    let ended = replace(running, place, half, None);
    assert_eq!(ended.exit, None, "it was killed: {}", ended.err);
}

/// Waits until it captures. A transaction of a killed process that the broker does not end, as brokers with clients of before
/// KIP-890 may have one, is ended as the program says.
fn begins(place: &Place, capture: &mut Running, topic: &Topic, done: &mut Done) {
    let begun = Instant::now();
    while !capture.log().contains("\"capturing\"") {
        if !capture.is_running() {
            let log = capture.log();
            assert!(ends_hung(&log, topic, done), "{log}");
            *capture = start(place, "capture", None);
        }
        assert!(begun.elapsed() < WAIT_MAX, "it does not begin: {}", capture.log());
        thread::sleep(Duration::from_millis(5));
    }
}

fn ends_hung(log: &str, topic: &Topic, done: &mut Done) -> bool {
    if !log.contains("has an open transaction of another producer") {
        return false;
    }
    let remedy = log.split(" abort ").nth(1).and_then(|rest| rest.lines().next()).expect("the tool with its arguments");
    say(&format!("a transaction hangs: {remedy}"));
    // What there is to find its cause by: whose it is, and what its coordinator knows.
    let tool = |arguments: &[&str]| topic.client.answer("org.apache.kafka.tools.TransactionsCommand", arguments);
    let place: Vec<&str> = remedy.split(' ').take(4).collect();
    let id = format!("hindsight.item-assets.{}", topic.name);
    say(&format!(
        "{}{}",
        tool(&[&["describe-producers"], &place[..]].concat()),
        tool(&["describe", "--transactional-id", &id])
    ));
    let arguments: Vec<&str> = std::iter::once("abort").chain(remedy.split(' ')).collect();
    tool(&arguments);
    done.hung += 1;
    true
}

/// SIGKILL, then another in its place.
fn replace(running: &mut Running, place: &Place, half: &str, point: Option<String>) -> Answer {
    // It may have ended at its point.
    if running.is_running() {
        signal("KILL", running.id());
    }
    std::mem::replace(running, start(place, half, point)).kill()
}

/// By turns with SIGKILL, and at a point of the next process.
fn kill_capture(place: &Place, capture: &mut Running, step: usize, done: &mut Done) {
    let point = (step % 2 == 1).then(|| format!("{}:{}", CAPTURE_POINTS[step / 2 % 2], 1 + step % 3));
    let ended = replace(capture, place, "capture", point.clone());
    assert_eq!(ended.exit, None, "it was killed: {}", ended.err);
    done.capture_kills += 1;
    if point.is_some() {
        end(capture, place, "capture");
        done.capture_kills += 1;
    }
}

/// Longer than its session, by turns with another process in its place meanwhile: then it ends when it goes on.
fn freeze_capture(server: &Mysql, place: &Place, capture: &mut Running, topic: &Topic, done: &mut Done) {
    signal("STOP", capture.id());
    if done.capture_freezes.is_multiple_of(2) {
        thread::sleep(FREEZE);
        signal("CONT", capture.id());
        capture.assert_runs();
    } else {
        // Its lock at the server tells the other one of it, and how to end it where it is lost.
        let refused = start(place, "capture", None).end();
        assert_eq!(refused.exit, Some(3), "{}", refused.err);
        let remedy = refused.err.split("KILL ").nth(1).and_then(|rest| rest.split(')').next());
        server.sql(&format!("KILL {}", remedy.unwrap_or_else(|| panic!("no remedy in {}", refused.err))));
        let frozen = std::mem::replace(capture, start(place, "capture", None));
        begins(place, capture, topic, done);
        signal("CONT", frozen.id());
        let answer = frozen.end();
        assert!(matches!(answer.exit, Some(1 | 3)), "{:?}: {}", answer.exit, answer.err);
        let says = ["another process has begun to write", "runs already"];
        assert!(says.iter().any(|says| answer.err.contains(says)), "{}", answer.err);
        done.taken_over += 1;
    }
    done.capture_freezes += 1;
}

fn freeze_member(group: &mut Members, done: &mut Done) {
    let member = &mut group.running[0];
    signal("STOP", member.id());
    thread::sleep(FREEZE);
    signal("CONT", member.id());
    member.assert_runs();
    done.apply_freezes += 1;
}

fn kill_member(group: &mut Members, step: usize, random: &mut Random, done: &mut Done) {
    let at = random.below(group.running.len() as u32) as usize;
    let point = (step / 2 % 2 == 1).then(|| format!("{}:{}", APPLY_POINTS[step / 4 % 3], 1 + step % 4));
    let member = &mut group.running[at];
    let ended = replace(member, &group.place, "apply", point.clone());
    assert_eq!(ended.exit, None, "it was killed: {}", ended.err);
    done.apply_kills += 1;
    if point.is_some() {
        end(member, &group.place, "apply");
        done.apply_kills += 1;
    }
}

fn resize(group: &mut Members, wanted: usize) {
    while group.running.len() > wanted {
        group.running.remove(0).kill();
    }
    while group.running.len() < wanted {
        group.running.push(start(&group.place, "apply", None));
    }
}
