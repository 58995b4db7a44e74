//! Rules exchanged again and again while a log is worked off, with kills in between: every change is decided once, by the
//! rule that the ledger names for its position.
//!
//! `HINDSIGHT_TEST_LONG=1` does 200 exchanges over two million changes, and compares the rate with that of a run without.

use std::sync::OnceLock;
use std::time::Instant;

use hindsight_tests::generator::Load;
use hindsight_tests::oracle::{self, Change, HistoryTable, OnOwnerChange};
use hindsight_tests::pipeline::{Place, assert_same, byte, component};
use hindsight_tests::program::Folder;
use hindsight_tests::recorded::{self, Recorded};
use hindsight_tests::running::Running;
use hindsight_tests::say::say;
use serde_json::Value;

fn is_long() -> bool {
    std::env::var_os("HINDSIGHT_TEST_LONG").is_some()
}

fn log() -> &'static Recorded {
    static LOG: OnceLock<Recorded> = OnceLock::new();
    LOG.get_or_init(|| recorded::record(&load(), "swaps.binlog", &[]))
}

fn load() -> Load {
    let (changes, owners) = if is_long() { (2_000_000, 100_000) } else { (100_000, 5_000) };
    Load { seed: 23, changes, owners, ..Load::default() }
}

/// Exchanges that have to be answered.
fn wanted() -> usize {
    if is_long() { 200 } else { 40 }
}

/// Two rules that write the same table, each its own way: other components, and under the default rule other settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    ByOwner,
    CountChanges,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    A,
    B,
}

impl Rules {
    fn component(self, which: Which) -> Vec<u8> {
        let (name, old, new) = match (self, which) {
            // Its own words about itself make it another component; what it does differently is a setting.
            (Rules::ByOwner, Which::A) => ("scd2-by-owner", "an owner's assets", "an owner's assets"),
            (Rules::ByOwner, Which::B) => ("scd2-by-owner", "an owner's assets", "the owner's asset"),
            // The mark that goes into every digest.
            (Rules::CountChanges, Which::A) => ("count-changes", "unmarked", "marked-a"),
            (Rules::CountChanges, Which::B) => ("count-changes", "unmarked", "marked-b"),
        };
        let mut bytes = std::fs::read(component(name)).expect("read a component");
        let at = bytes.windows(old.len()).position(|window| window == old.as_bytes()).expect("the words to replace");
        bytes[at..at + old.len()].copy_from_slice(new.as_bytes());
        bytes
    }

    fn settings(self, which: Which) -> &'static str {
        match (self, which) {
            (Rules::ByOwner, Which::B) => r#"{"on-owner-change":"ignore"}"#,
            _ => "{}",
        }
    }

    /// A folder whose configuration names rule A.
    fn place(self, file: &std::path::Path, batch: usize) -> Place {
        let folder = Folder::new();
        for which in [Which::A, Which::B] {
            folder.write(which.origin(), self.component(which));
        }
        folder.write(
            "hindsight.toml",
            format!(
                "name = \"item-assets\"\n\
                 [source]\nkind = \"binlog-file\"\nfiles = [{file:?}]\ntables = [\"shop.item_assets\"]\n\
                 [rule]\ncomponent = \"a.wasm\"\nlimits = {{ batch = {batch} }}\n\
                 [sink]\npath = \"history.db\"\ntable = \"item_asset_history\"\n\
                 [control]\nlisten = \"127.0.0.1:0\"\n"
            ),
        );
        Place(folder)
    }

    /// What the table has to be, when each change is decided by the rule that `decider` says.
    #[track_caller]
    fn judge(self, place: &Place, changes: &[Change], decider: &dyn Fn(usize) -> Which) {
        match self {
            Rules::CountChanges => {
                let mark = |number| match decider(number) {
                    Which::A => Some("marked-a"),
                    Which::B => Some("marked-b"),
                };
                let wanted = oracle::count_changes_marked(changes, mark);
                assert_same(&place.counts(), &wanted, "each change counted once, by the ledger's rule");
            }
            Rules::ByOwner => {
                let mut table = HistoryTable::new();
                let mut from = 0;
                while from < changes.len() {
                    let which = decider(from);
                    let to = (from..changes.len()).find(|&number| decider(number) != which).unwrap_or(changes.len());
                    let on_move = if which == Which::A { OnOwnerChange::Close } else { OnOwnerChange::Ignore };
                    table = oracle::scd2_by_owner_onto(table, &changes[from..to], on_move).table;
                    from = to;
                }
                assert_same(&place.history(), &table, "each move done as the ledger's rule does it");
            }
        }
    }
}

impl Which {
    fn origin(self) -> &'static str {
        match self {
            Which::A => "a.wasm",
            Which::B => "b.wasm",
        }
    }

    fn other(self) -> Self {
        if self == Which::A { Which::B } else { Which::A }
    }

    fn of(origin: &str) -> Self {
        if origin.ends_with("b.wasm") { Which::B } else { Which::A }
    }
}

#[test]
fn no_change_is_lost_or_decided_by_another_rule_than_the_ledgers_through_exchanges_and_kills() {
    exchanged_and_killed(Rules::CountChanges);
}

#[test]
fn the_default_rules_history_is_pieced_together_as_the_ledger_says_through_exchanges_and_kills() {
    exchanged_and_killed(Rules::ByOwner);
}

/// What was answered: rule, since, pause.
struct Answered {
    to: String,
    since: Option<String>,
    pause_us: u64,
}

fn exchanged_and_killed(rules: Rules) {
    let place = rules.place(&log().file, if is_long() { 2_000 } else { 100 });
    let mut answered: Vec<Answered> = Vec::new();
    let mut kills = 0;
    // Kills and crash points come in turn; a run in between goes on for a while.
    let mut legs = 0;
    let crash = ["sink.begin:30", "sink.turn:2", "sink.rows:40", "pipeline.exchanged:3", "sink.committed:35"];
    let finished = loop {
        legs += 1;
        let mut command = place.command();
        let last = legs > 10;
        if !last && legs % 2 == 0 {
            command.env("HINDSIGHT_TEST_CRASH", crash[legs / 2 % crash.len()]);
        }
        let mut running = Running::start(command).expect("it starts");
        let before = answered.len();
        // Of the last leg as many as are missing; each of the others does a few.
        let share = if last { wanted().saturating_sub(answered.len()) } else { wanted() / 10 };
        while answered.len() < before + share && !running.has_ended() {
            if let Some(answer) = exchange(&running, rules) {
                answered.push(answer);
            }
        }
        if last {
            break running.wait();
        }
        let at = byte(place.checkpoint().as_deref());
        let answer = if legs % 2 == 0 { running.wait_or_kill() } else { running.kill() };
        assert!(matches!(answer.exit, None | Some(0)), "{}", answer.err);
        let after = byte(place.checkpoint().as_deref());
        kills += usize::from(answer.exit.is_none());
        say(&format!("{rules:?} leg {legs}: {} exchanges, ended at byte {at} -> {after}", answered.len() - before));
    };
    assert_eq!(finished.exit, Some(0), "{}", finished.err);
    let ledger = ledger(&place);
    report(rules, &answered, kills, &ledger);
    assert!(answered.len() >= wanted() && kills >= 8, "{} exchanges, {kills} kills", answered.len());
    // What was answered is in the ledger, in this order.
    let mut turns = ledger.iter();
    for Answered { to, since, .. } in &answered {
        let is = |entry: &&Value| entry["digest"] == to.as_str() && entry["since"].as_str() == since.as_deref();
        assert!(turns.any(|entry| is(&entry)), "an answered exchange to {to} at {since:?} is not in the ledger");
    }
    rules.judge(&place, &log().changes, &decider(&ledger));
}

/// One exchange, to the other rule: by a swap or, every third time, by a rollback. None where it was not answered.
fn exchange(running: &Running, rules: Rules) -> Option<Answered> {
    let status = running.ask("GET", "/status", &[], b"")?;
    let status: Value = serde_json::from_str(&status.text).ok()?;
    let to = Which::of(status["rule"]["origin"].as_str()?).other();
    let rolls_back = status["previous"].is_object() && status["batches"].as_u64()? % 3 == 0;
    let said = if rolls_back {
        running.post("/rollback", &[], b"")?
    } else {
        let headers = [("hindsight-origin", to.origin()), ("hindsight-settings", rules.settings(to))];
        running.post("/swap", &headers, &rules.component(to))?
    };
    // Unavailable: it has just come to its end.
    if said.code == 503 {
        return None;
    }
    let answer = said.json();
    Some(Answered {
        to: answer["to"]["digest"].as_str()?.to_owned(),
        since: answer["since"].as_str().map(str::to_owned),
        pause_us: answer["pause_us"].as_u64()?,
    })
}

#[track_caller]
fn ledger(place: &Place) -> Vec<Value> {
    let answer = place.0.hindsight(&["rule", "list", "--json"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    answer.json().as_array().expect("a list").clone()
}

/// Which rule the ledger says for each change. Batches end where transactions do, so turns begin there too.
fn decider(ledger: &[Value]) -> impl Fn(usize) -> Which + use<> {
    let ends = transaction_ends(&std::fs::read(&log().file).expect("read the log"));
    let mut number = 0;
    let mut deciders = Vec::with_capacity(log().changes.len());
    for (transaction, end) in load().transactions().zip(&ends) {
        // The last turn that begins before this transaction's end.
        while number + 1 < ledger.len() && byte(ledger[number + 1]["since"].as_str()) < *end {
            number += 1;
        }
        let which = Which::of(ledger[number]["origin"].as_str().expect("an origin"));
        deciders.extend(std::iter::repeat_n(which, transaction.changes().len()));
    }
    assert_eq!(deciders.len(), log().changes.len(), "every transaction has its end in the log");
    move |number| deciders[number]
}

/// Bytes at which transactions end: behind each XID event.
fn transaction_ends(log: &[u8]) -> Vec<u64> {
    const XID: u8 = 16;
    let mut ends = Vec::new();
    let mut at = 4;
    while let Some(header) = log.get(at..at + 19) {
        at += u32::from_le_bytes(header[9..13].try_into().expect("four bytes")) as usize;
        if header[4] == XID {
            ends.push(at as u64);
        }
    }
    ends
}

fn report(rules: Rules, answered: &[Answered], kills: usize, ledger: &[Value]) {
    let mut pauses: Vec<u64> = answered.iter().map(|answer| answer.pause_us).collect();
    pauses.sort_unstable();
    let at = |percent: usize| pauses[(pauses.len() - 1) * percent / 100];
    let (p99, max) = (at(99), at(100));
    let turns = |reason: &str| ledger.iter().filter(|entry| entry["reason"] == reason).count();
    say(&format!(
        "{rules:?}: {} exchanges answered ({} swaps and {} rollbacks in the ledger), {kills} kills; pause p50 {} us, p99 {p99} us, max {max} us",
        answered.len(),
        turns("swap"),
        turns("rollback"),
        at(50),
    ));
    // Beside other tests a busy machine may take the thread away for longer than that.
    assert!(!is_long() || p99 < 10_000, "p99 of the pause is {p99} us");
}

/// Without kills: how much the exchanges cost.
#[test]
fn a_log_is_worked_off_at_half_the_rate_or_more_while_rules_are_exchanged() {
    let rules = Rules::CountChanges;
    let batch = if is_long() { 4_000 } else { 500 };
    let undisturbed = rules.place(&log().file, batch).run();
    let alone = undisturbed.count("changes_per_second");
    let place = rules.place(&log().file, batch);
    let mut running = Running::start(place.command()).expect("it starts");
    let begun = Instant::now();
    let mut answered = Vec::new();
    while !running.has_ended() {
        answered.extend(exchange(&running, rules));
    }
    let answer = running.wait();
    let rate = answer.count("changes_per_second");
    say(&format!(
        "{} exchanges in {:.1} s: {rate} changes a second, {alone} without",
        answered.len(),
        begun.elapsed().as_secs_f64()
    ));
    let ledger = ledger(&place);
    report(rules, &answered, 0, &ledger);
    rules.judge(&place, &log().changes, &decider(&ledger));
    if is_long() {
        assert!(answered.len() >= wanted(), "{} exchanges", answered.len());
        assert!(rate * 2 >= alone, "{rate} changes a second, and {alone} without exchanges");
    }
}
