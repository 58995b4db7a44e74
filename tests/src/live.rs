//! A pipeline over a running server, driven from outside: the program is started, watched by its log and its checkpoint,
//! killed or stopped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::mysql::{Mysql, transactions};
use crate::pipeline::{Place, Rule};
use crate::program::{Answer, Folder, signal};

/// How long what a test waits for may take.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// How often a test looks.
const LOOK: Duration = Duration::from_millis(5);

/// What a test's configuration says; everything else is the default.
#[derive(Clone, Debug)]
pub struct Live<'a> {
    pub rule: Rule,
    pub urls: Vec<String>,
    pub table: &'a str,
    pub start: &'a str,
    /// The lines of `[source]` that say when and how rows are read that are there already.
    pub snapshot: &'a str,
    /// More lines of `[source]`.
    pub source: &'a str,
    /// Changes a batch.
    pub batch: usize,
    /// A `[topic]` section.
    pub topic: &'a str,
    /// The pipeline's name, and so its group's.
    pub name: &'a str,
    /// The lines of `[sink]`.
    pub sink: &'a str,
}

/// Lines of `[sink]`: the table [`TABLE`](crate::pipeline::TABLE) in a file of the folder.
const SQLITE: &str = "path = \"history.db\"\ntable = \"item_asset_history\"\n";

impl Default for Live<'_> {
    fn default() -> Self {
        Live {
            rule: Rule::ByOwner,
            urls: Vec::new(),
            table: "shop.item_assets",
            start: "earliest",
            snapshot: "snapshot = \"never\"",
            source: "",
            batch: 8192,
            topic: "",
            name: "item-assets",
            sink: SQLITE,
        }
    }
}

impl Live<'_> {
    /// Follows this server as its reader.
    pub fn of(server: &Mysql) -> Self {
        Live { urls: vec![server.url()], ..Live::default() }
    }

    /// Writes the configuration into a new folder.
    pub fn place(&self) -> Place {
        let place = Place(Folder::new());
        self.configure(&place);
        place
    }

    /// The same in a folder that has a history already.
    pub fn configure(&self, place: &Place) {
        let Live { rule, urls, table, start, snapshot, source, batch, topic, name, sink } = self;
        let component = rule.component();
        let text = format!(
            "name = {name:?}\n\
             [source]\nkind = \"mysql\"\nurl = {urls:?}\ntables = [{table:?}]\n{snapshot}\nstart = {start:?}\n{source}\n\
             {topic}[rule]\ncomponent = {component:?}\nlimits = {{ batch = {batch} }}\n\
             [sink]\n{sink}\
             [control]\nlisten = \"127.0.0.1:0\"\n"
        );
        place.0.write("hindsight.toml", text);
    }

    /// Runs it in a new folder to the log's end as it is at the start.
    pub fn run_to_end(&self) -> (Place, Answer) {
        let place = self.place();
        let answer = place.run_to_end();
        (place, answer)
    }
}

impl Place {
    pub fn run_to_end(&self) -> Answer {
        self.0.hindsight(&["run", "--json", "--to-end"])
    }

    /// Starts `run`, which follows the server until it is ended.
    #[track_caller]
    pub fn follow(&self) -> Running {
        self.follow_with(|_| {})
    }

    /// The same with something set for the process.
    #[track_caller]
    pub fn follow_with(&self, set: impl FnOnce(&mut Command)) -> Running {
        self.start(&["run", "--json", "--log-format", "json"], set)
    }

    /// Starts a command that goes on until it is ended.
    #[track_caller]
    pub fn start(&self, arguments: &[&str], set: impl FnOnce(&mut Command)) -> Running {
        let mut command = self.0.command(arguments);
        set(&mut command);
        Running::of(command.spawn().expect("run hindsight"))
    }

    /// How far the checkpoint is; nothing before the first commit.
    pub fn reached(&self) -> Reached {
        self.checkpoint().map_or(Reached::default(), |position| Reached::parse(&position))
    }

    /// Waits until the checkpoint has all that the server has executed. Whatever else it writes meanwhile is waited for too.
    #[track_caller]
    pub fn wait_until_all_is_done(&self, server: &Mysql, running: &mut Running) {
        let begun = Instant::now();
        let mut judged = String::new();
        loop {
            let Reached { gtids, .. } = self.reached();
            // The server is asked only about what it was not asked about before.
            if gtids != judged {
                if server.has_all_executed_in(&gtids) {
                    return;
                }
                judged = gtids;
            }
            running.assert_runs();
            assert!(
                begun.elapsed() < WAIT_MAX,
                "the checkpoint is `{}` after {WAIT_MAX:?}, and the server has executed {}:\n{}",
                self.checkpoint().unwrap_or_default(),
                server.executed(),
                running.log(),
            );
            thread::sleep(LOOK);
        }
    }
}

/// A live source's position: how much of the server's log is in the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Transactions that are done.
    pub transactions: u64,
    /// Changes that are done of the next one.
    pub skip: u64,
    /// The transactions, as the server prints a set.
    pub gtids: String,
}

impl Reached {
    #[track_caller]
    pub fn parse(position: &str) -> Self {
        let word = |key: &str| {
            let found = position.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("no {key} in the position `{position}`"))
        };
        assert!(position.starts_with("mysql/1 "), "the position is `{position}`");
        let gtids = word("gtids").to_owned();
        Reached { transactions: transactions(&gtids), skip: word("skip").parse().expect("skip is a number"), gtids }
    }

    /// In the order of the log.
    pub fn order(&self) -> (u64, u64) {
        (self.transactions, self.skip)
    }
}

impl std::fmt::Display for Reached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>6}", self.transactions)?;
        if self.skip > 0 { write!(f, "+{:<4}", self.skip) } else { write!(f, "     ") }
    }
}

/// The running program. It is killed with its value.
pub struct Running {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
    err: Option<JoinHandle<()>>,
    out: Option<JoinHandle<String>>,
}

impl Running {
    /// A process whose outputs are kept.
    pub fn of(mut process: Child) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, stderr) = (process.stdout.take().expect("piped"), process.stderr.take().expect("piped"));
        let kept = lines.clone();
        let err = thread::spawn(move || {
            for line in BufReader::new(stderr).lines() {
                kept.lock().expect("no reader panics").push(line.expect("hindsight writes UTF-8"));
            }
        });
        let out = thread::spawn(move || {
            let mut text = String::new();
            BufReader::new(stdout).read_to_string(&mut text).expect("hindsight writes UTF-8");
            text
        });
        Running { process, lines, err: Some(err), out: Some(out) }
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        self.lines.lock().expect("no reader panics").join("\n")
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().expect("look at hindsight").is_none()
    }

    #[track_caller]
    pub fn assert_runs(&mut self) {
        assert!(self.is_running(), "hindsight has ended: {}", self.log());
    }

    /// Waits for a log line, in JSON, that holds all these words; gives the number of the line after it.
    #[track_caller]
    pub fn wait_for_log(&mut self, words: &[&str]) -> usize {
        self.wait_for_log_after(0, words)
    }

    /// The same among the lines from this number on.
    #[track_caller]
    pub fn wait_for_log_after(&mut self, first: usize, words: &[&str]) -> usize {
        let begun = Instant::now();
        loop {
            // In this order: a line that it wrote before it ended is read in the next round.
            let runs = self.is_running() || self.err.as_ref().is_some_and(|reader| !reader.is_finished());
            let found = {
                let lines = self.lines.lock().expect("no reader panics");
                let holds = |line: &String| words.iter().all(|word| line.contains(word));
                lines.iter().skip(first).position(holds)
            };
            if let Some(at) = found {
                return first + at + 1;
            }
            assert!(runs, "hindsight has ended without logging {words:?}: {}", self.log());
            assert!(begun.elapsed() < WAIT_MAX, "no line holds {words:?} after {WAIT_MAX:?}: {}", self.log());
            thread::sleep(LOOK);
        }
    }

    /// SIGKILL; gives what it had said.
    #[track_caller]
    pub fn kill(mut self) -> Answer {
        self.process.kill().expect("send SIGKILL");
        self.answer()
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn end(mut self) -> Answer {
        let begun = Instant::now();
        while self.is_running() {
            if begun.elapsed() > WAIT_MAX {
                panic!("hindsight has not ended after {WAIT_MAX:?}: {}", self.log());
            }
            thread::sleep(LOOK);
        }
        self.answer()
    }

    /// Waits until something is so, while it runs.
    #[track_caller]
    pub fn wait_until(&mut self, mut is_so: impl FnMut() -> bool, what: &str) {
        let begun = Instant::now();
        while !is_so() {
            self.assert_runs();
            assert!(begun.elapsed() < WAIT_MAX, "it did not come to it: {what}: {}", self.log());
            thread::sleep(LOOK);
        }
    }

    /// SIGTERM: it ends well.
    #[track_caller]
    pub fn stop(self) -> Answer {
        signal("TERM", self.id());
        let answer = self.end();
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
        answer
    }

    fn answer(&mut self) -> Answer {
        let status = self.process.wait().expect("wait for hindsight");
        let out = self.out.take().expect("asked once").join().expect("read standard output");
        self.err.take().expect("asked once").join().expect("read standard error");
        Answer { exit: status.code(), out, err: self.log() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
