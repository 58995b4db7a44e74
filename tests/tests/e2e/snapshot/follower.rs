//! A process that follows a server and writes the events of it to a file: alone, or beside a history.

use std::fmt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::account::{Judgement, Logged, judge};
use hindsight_tests::events::{self, Checkpoint, Recorded, last_position};
use hindsight_tests::live::{Live, Running, WAIT_MAX};
use hindsight_tests::mysql::{Mysql, transactions};
use hindsight_tests::oracle::{self, Event, OnOwnerChange};
use hindsight_tests::pipeline::{Place, Rule, assert_same};
use hindsight_tests::say::say;

/// How often a test looks.
const LOOK: Duration = Duration::from_millis(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `capture`, whose file is all that it keeps.
    Capture,
    /// `run`, whose file is beside its history.
    Run(Rule),
}

pub const COMMANDS: [Command; 3] = [Command::Capture, Command::Run(Rule::ByOwner), Command::Run(Rule::CountChanges)];

pub struct Follower {
    pub command: Command,
    pub place: Place,
}

impl Follower {
    pub fn new(command: Command, live: &Live<'_>) -> Self {
        let rule = match command {
            Command::Capture => Rule::ByOwner,
            Command::Run(rule) => rule,
        };
        Follower { command, place: Live { rule, ..live.clone() }.place() }
    }

    #[track_caller]
    pub fn start(&self, set: impl FnOnce(&mut std::process::Command)) -> Running {
        let arguments: &[&str] = match self.command {
            Command::Capture => &["capture", "--to", "events.jsonl", "--json", "--log-format", "json"],
            Command::Run(_) => &["run", "--events", "events.jsonl", "--json", "--log-format", "json"],
        };
        self.place.start(arguments, set)
    }

    /// How far it is durably.
    pub fn stands(&self) -> Stands {
        let position = match self.command {
            Command::Capture => last_position(&self.file()),
            Command::Run(_) => self.place.checkpoint(),
        };
        position.map_or(Stands::default(), |position| Stands::of(&position))
    }

    /// Waits until it stands where a test wants it, and gives that.
    #[track_caller]
    pub fn wait_until(&self, running: &mut Running, is_there: impl Fn(&Stands) -> bool) -> Stands {
        let begun = Instant::now();
        loop {
            let stands = self.stands();
            if is_there(&stands) {
                return stands;
            }
            running.assert_runs();
            assert!(begun.elapsed() < WAIT_MAX, "{self} is {stands} after {WAIT_MAX:?}: {}", running.log());
            thread::sleep(LOOK);
        }
    }

    /// Waits until it has all that the server has executed; nobody may write any more.
    #[track_caller]
    pub fn wait_until_all_is_done(&self, server: &Mysql, running: &mut Running) {
        let executed = transactions(&server.executed());
        let stands =
            self.wait_until(running, |stands| stands.transactions == executed && stands.phase == Phase::Behind);
        assert!(server.has_all_executed_in(&stands.gtids), "{self} is {stands}");
    }

    #[track_caller]
    pub fn recorded(&self) -> Recorded {
        events::read(&self.file()).unwrap_or_else(|error| panic!("{self}: {error:#}"))
    }

    /// Its events are the log's, and its table is what they make. `watermarks`: whether there were chunks, whose watermarks
    /// are judged.
    #[track_caller]
    pub fn assert_is(&self, log: &[Logged], watermarks: bool) -> Judgement {
        let recorded = self.recorded();
        let judgement = judge(log, &recorded, watermarks);
        say(&format!("{self}: {judgement}"));
        judgement.assert_fine(&self.to_string());
        let events: Vec<Event> = recorded.events.into_iter().map(|emitted| emitted.event).collect();
        let what = format!("{self}: the table");
        match self.command {
            Command::Capture => {}
            Command::Run(Rule::ByOwner) => {
                let wanted = oracle::scd2_by_owner_of_events(&events, OnOwnerChange::Close).table;
                assert_same(&self.place.history(), &wanted, &what);
            }
            Command::Run(Rule::CountChanges) => {
                assert_same(&self.place.counts(), &oracle::count_events(&events), &what)
            }
        }
        judgement
    }

    pub fn file(&self) -> PathBuf {
        self.place.0.path().join("events.jsonl")
    }
}

impl fmt::Display for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self.command {
            Command::Capture => "capture",
            Command::Run(Rule::ByOwner) => "run by-owner",
            Command::Run(Rule::CountChanges) => "run count-changes",
        })
    }
}

/// In the order in which a run passes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing is durable.
    #[default]
    Begun,
    /// Chunks are open.
    Reading,
    /// All rows are there, and the log is not behind the last watermark.
    Filtering,
    Behind,
}

/// Where a follower stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stands {
    pub phase: Phase,
    pub rows: u64,
    /// Ranges with a watermark of their own.
    pub ranges: usize,
    pub transactions: u64,
    /// Changes of the next transaction.
    pub skip: u64,
    pub gtids: String,
}

impl Stands {
    #[track_caller]
    fn of(position: &str) -> Self {
        let Checkpoint { gtids, skip, snapshot, .. } = Checkpoint::parse(position, 0).expect("a position of this form");
        let (phase, rows, ranges) = match &snapshot {
            None => (Phase::Behind, 0, 0),
            Some(snapshot) => {
                let phase = if snapshot.is_reading() { Phase::Reading } else { Phase::Filtering };
                (phase, snapshot.rows(), snapshot.tables.values().map(|table| table.done.len()).sum())
            }
        };
        Stands { phase, rows, ranges, transactions: transactions(&gtids), skip, gtids }
    }

    /// In the order of a run.
    pub fn order(&self) -> (Phase, u64, u64, u64) {
        // Rows are forgotten when the log is behind them.
        (self.phase, if self.phase == Phase::Reading { self.rows } else { 0 }, self.transactions, self.skip)
    }
}

impl fmt::Display for Stands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.phase {
            Phase::Begun => f.pad("begun"),
            Phase::Reading => f.pad(&format!("reading, {} rows in {} ranges", self.rows, self.ranges)),
            Phase::Filtering => f.pad(&format!("filtering, {} transactions + {}", self.transactions, self.skip)),
            Phase::Behind => f.pad(&format!("behind, {} transactions + {}", self.transactions, self.skip)),
        }
    }
}
