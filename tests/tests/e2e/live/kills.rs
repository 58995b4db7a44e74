//! `run` and its server killed again and again while a load is written: both rules' tables end as the oracle's.
//!
//! Both rules follow one server in processes of their own. SIGKILL falls a moment after a place of the log was reached;
//! named crash points (`HINDSIGHT_TEST_CRASH`) fall between the steps of a commit. Every fifth of the load's transactions
//! are one large transaction, several batches long; half of the load is written compressed.
//! `HINDSIGHT_TEST_LONG=1` does it over a million changes.

use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::generator::{Load, SCHEMA, Transaction, served, write_transactions};
use hindsight_tests::live::{Live, Reached, Running, WAIT_MAX};
use hindsight_tests::mysql::{Client, Mysql, OUTLIVES_KILLS, transactions};
use hindsight_tests::oracle::{self, Change};
use hindsight_tests::pipeline::{Place, Rule, differences};
use hindsight_tests::program::{Answer, signal};
use hindsight_tests::say::say;

/// Of hindsight, for each of the rules: by SIGKILL, and at crash points, which all lie within a commit.
const KILLS: usize = 33;
const CRASHES: usize = 17;

/// Of the server.
const SERVER_KILLS: usize = 5;

/// In the order in which a commit passes them. Up to the last one the rows must be gone, after it they must be there.
const CRASH_POINTS: [&str; 4] = ["sink.begin", "sink.checkpoint", "sink.rows", "sink.committed"];

const RULES: [Rule; 2] = [Rule::ByOwner, Rule::CountChanges];

/// One end of a process.
struct Kill {
    within_commit: bool,
    before: Reached,
    after: Reached,
}

#[test]
fn both_tables_survive_fifty_kills_of_the_program_and_five_of_the_server() {
    let (changes, owners, batch) =
        if std::env::var_os("HINDSIGHT_TEST_LONG").is_some() { (1_000_000, 50_000, 500) } else { (40_000, 2_000, 20) };
    let n_legs = KILLS + CRASHES;
    let transactions = with_large_ones(&Load { seed: 17, changes, owners, ..Load::default() }, batch);
    let list: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    let n_transactions = transactions.len();
    let mut server = Mysql::start(OUTLIVES_KILLS);
    server.sql(SCHEMA);
    server.add_reader();
    let writer = Writer::new(&server, transactions);
    let places = RULES.map(|rule| Live { rule, batch, source: "heartbeat = \"1s\"", ..Live::of(&server) }.place());
    let begun = Instant::now();
    let mut kills: [Vec<Kill>; 2] = Default::default();
    let mut server_kills = Vec::new();

    // A fifth of the load is left for the end, when everything has happened.
    let part = |leg: usize| n_transactions * 4 / 5 * leg / n_legs;
    for leg in 0..n_legs {
        let until = part(leg + 1);
        let crashes = |leg: usize| leg * CRASHES / n_legs;
        let crash = (crashes(leg + 1) > crashes(leg))
            .then(|| format!("{}:{}", CRASH_POINTS[crashes(leg) % CRASH_POINTS.len()], 1 + leg % 3));
        let before = places.each_ref().map(Place::reached);
        let start = |place: &Place| {
            place.follow_with(|command| {
                if let Some(point) = &crash {
                    command.env("HINDSIGHT_TEST_CRASH", point);
                }
            })
        };
        let mut running = places.each_ref().map(start);
        // By turns they find the part written already, and see it being written.
        if leg % 2 == 1 {
            running.iter_mut().for_each(|process| _ = process.wait_for_log(&["connected"]));
        }
        thread::scope(|scope| {
            let writing = scope.spawn(|| writer.write(until));
            let server_falls = |n: usize| n * SERVER_KILLS / n_legs;
            if server_falls(leg + 1) > server_falls(leg) {
                let executed = writer.killed_while_writing(&mut server, part(leg));
                say(&format!(
                    "the server was killed with {executed} of {n_transactions} transactions, and started again"
                ));
                server_kills.push(executed);
            }
            // Somewhere in this leg's part of the load, while it is written.
            let wanted = writer.base + (part(leg) + 1 + (part(leg + 1) - part(leg)) * (leg * 5 % 8) / 8) as u64;
            let moment = Duration::from_micros(leg as u64 * 379 % 4_000);
            // By turns also where a large transaction is done in part, if this leg has one.
            let last = if leg % 2 == 0 { writer.base + until as u64 } else { wanted };
            let place = crash.is_none().then_some(KillAt { wanted, last, moment });
            let ends = kill_where_they_are(&places, running, place);
            let how = crash.clone().unwrap_or_else(|| format!("SIGKILL after {} us", moment.as_micros()));
            for (number, after) in ends.into_iter().enumerate() {
                let before = before[number].clone();
                say(&format!("{:?} kill {leg:>2} {how:<24} {before} -> {after}", RULES[number]));
                assert!(after.order() >= before.order(), "the checkpoint went back");
                kills[number].push(Kill { within_commit: crash.is_some(), before, after });
            }
            writing.join().expect("write a part of the load");
        });
    }

    let running = places.each_ref().map(Place::follow);
    writer.write(n_transactions);
    for ((place, mut process), rule) in places.iter().zip(running).zip(RULES) {
        place.wait_until_all_is_done(&server, &mut process);
        process.stop();
        place.assert_is(rule, &list, &format!("{rule:?} after kills"));
    }
    say(&format!("{} changes in {n_transactions} transactions; {:.1} s", list.len(), begun.elapsed().as_secs_f64()));
    for (rule, kills) in RULES.iter().zip(&kills) {
        judge(*rule, kills, &places[0].reached());
    }
    let inside = server_kills.iter().filter(|&&executed| 0 < executed && executed < n_transactions as u64).count();
    assert!(inside >= SERVER_KILLS, "the server was killed inside the load: {server_kills:?}");
}

/// What would stay green here could not be trusted above.
#[test]
fn a_live_batch_done_twice_on_purpose_is_seen_by_count_changes() {
    let load = Load { seed: 41, changes: 3_000, owners: 100, ..Load::default() };
    let server = served();
    server.feed(|client| load.write_sql(client)).unwrap_or_else(|error| panic!("play the load: {error}"));
    let place = Live { rule: Rule::CountChanges, batch: 100, ..Live::of(&server) }.place();
    let mut twice = place.0.command(&["run", "--json", "--to-end"]);
    let answer: Answer = twice.env("HINDSIGHT_TEST_REPEAT", "7").output().expect("run hindsight").into();
    assert_eq!(answer.count("changes"), load.list().len() as u64);
    let wrong = differences(&place.counts(), &oracle::count_changes(&load.list()));
    say(&format!("a live batch done twice: {} owners are wrong under count-changes", wrong.len()));
    assert!(wrong.len() > 20, "count-changes shows it: {wrong:?}");
}

/// Where the kills fell says whether they could show anything.
fn judge(rule: Rule, kills: &[Kill], end: &Reached) {
    let inside = kills.iter().filter(|kill| kill.after.transactions > 0 && kill.after.order() < end.order()).count();
    let within_commit = kills.iter().filter(|kill| kill.within_commit).count();
    let within_transaction = kills.iter().filter(|kill| kill.after.skip > 0).count();
    let moved = kills.iter().filter(|kill| kill.after.order() > kill.before.order()).count();
    say(&format!(
        "{rule:?}: {} kills, {inside} strictly inside the run, {within_commit} within a commit, {within_transaction} with a checkpoint \
         inside a transaction, {moved} after the checkpoint had moved",
        kills.len()
    ));
    assert!(kills.len() >= 50, "at least fifty kills");
    assert!(inside * 4 >= kills.len() * 3, "too few kills fell inside the run");
    assert!(within_commit * 3 >= kills.len(), "too few kills fell within a commit");
    assert!(within_transaction >= 3, "too few kills fell inside a large transaction");
    assert!(moved * 4 >= kills.len() * 3, "the kills are spread over the run");
}

/// Every fifth of the transactions becomes part of one that is twelve batches long: they have ten changes on average.
fn with_large_ones(load: &Load, batch: usize) -> Vec<Transaction> {
    let n_merged = batch * 12 / 10;
    let all: Vec<Transaction> = load.transactions().collect();
    let with_a_large_one = |some: &[Transaction]| {
        let (merged, others) = some.split_at(some.len().min(n_merged));
        std::iter::once(Transaction::merged(merged.to_vec())).chain(others.to_vec()).collect::<Vec<_>>()
    };
    all.chunks(5 * n_merged).flat_map(with_a_large_one).collect()
}

/// Where SIGKILL falls, in transactions that are done: while the checkpoint is inside one behind `wanted`, or a moment after it
/// has reached `last`.
#[derive(Clone, Copy, Debug)]
struct KillAt {
    wanted: u64,
    last: u64,
    moment: Duration,
}

impl KillAt {
    /// Leaves the process frozen where it is to be killed.
    fn is_reached(&self, place: &Place, process: &mut Running) -> bool {
        let is_inside = |reached: &Reached| reached.transactions >= self.wanted && reached.skip > 0;
        let reached = place.reached();
        if reached.transactions >= self.last {
            spin(self.moment);
            return true;
        }
        if !is_inside(&reached) {
            process.assert_runs();
            return false;
        }
        // It may have come out of the transaction since: frozen, it stays where the checkpoint says.
        spin(self.moment);
        signal("STOP", process.id());
        let stays = is_inside(&place.reached());
        if !stays {
            signal("CONT", process.id());
        }
        stays
    }
}

/// Each by SIGKILL, or by its own end at a crash point. Gives their checkpoints.
fn kill_where_they_are(places: &[Place; 2], running: [Running; 2], until: Option<KillAt>) -> [Reached; 2] {
    let begun = Instant::now();
    let mut running = running.map(Some);
    while running.iter().any(Option::is_some) {
        for (place, slot) in places.iter().zip(&mut running) {
            let Some(process) = slot else { continue };
            match until {
                Some(at) if !at.is_reached(place, process) => {}
                Some(_) => assert_eq!(slot.take().map(|process| process.kill().exit), Some(None)),
                None if process.is_running() => {}
                None => {
                    let answer = slot.take().expect("it was there").end();
                    assert_eq!(answer.exit, None, "{}", answer.err);
                }
            }
        }
        assert!(
            begun.elapsed() < WAIT_MAX,
            "{until:?} was not reached in {WAIT_MAX:?}, but {:?}: {}",
            places.each_ref().map(|place| place.reached().order()),
            running.iter().flatten().map(Running::log).collect::<Vec<_>>().join("\n")
        );
    }
    places.each_ref().map(Place::reached)
}

fn spin(moment: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < moment {
        std::hint::spin_loop();
    }
}

/// Writes a load to a server that may be killed meanwhile. What a killed server has done is asked of its GTIDs: nobody else
/// writes to it.
struct Writer {
    client: Client,
    transactions: Vec<Transaction>,
    /// Transactions that were there before.
    base: u64,
}

impl Writer {
    fn new(server: &Mysql, transactions: Vec<Transaction>) -> Self {
        let base = hindsight_tests::mysql::transactions(&server.executed());
        Writer { client: server.client(), transactions, base }
    }

    /// Goes on until so many of the transactions are done.
    fn write(&self, until: usize) {
        let begun = Instant::now();
        let mut failed = String::new();
        while begun.elapsed() < WAIT_MAX {
            let Some(done) = self.done() else { continue };
            let rest = &self.transactions[done.min(until)..until];
            if rest.is_empty() {
                return;
            }
            let written = self.client.feed(|client| {
                let (plain, packed) = rest.split_at(rest.len() / 2);
                for (setting, part) in [("OFF", plain), ("ON", packed)] {
                    writeln!(client, "SET SESSION binlog_transaction_compression = {setting};")?;
                    write_transactions(part, client)?;
                }
                Ok(())
            });
            if let Err(error) = written {
                let expected =
                    ["Lost connection", "server has gone away", "Broken pipe", "Can't connect", "reset by peer"];
                assert!(expected.iter().any(|text| error.contains(text)), "{error}");
                failed = error;
            }
        }
        panic!("the load was not written until {until} in {WAIT_MAX:?}: {failed}");
    }

    /// None while the server does not answer.
    fn done(&self) -> Option<usize> {
        let executed = self.client.try_sql("SELECT @@global.gtid_executed").ok()?;
        Some((transactions(&executed.replace("\\n", "")) - self.base) as usize)
    }

    /// Kills the server as soon as it has done more than this, and starts it again. Gives how many of the load's
    /// transactions it has done.
    fn killed_while_writing(&self, server: &mut Mysql, before: usize) -> u64 {
        let begun = Instant::now();
        while self.done().expect("the server answers") <= before {
            assert!(begun.elapsed() < WAIT_MAX, "nothing was written in {WAIT_MAX:?}");
        }
        server.kill();
        server.start_again(&[]);
        self.done().expect("the server answers") as u64
    }
}
