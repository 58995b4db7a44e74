//! The cluster's state: databases and their transactions, FEs and who leads, BEs and what they have open.
//!
//! Nothing here waits or talks to anybody: one lock holds all of it, and each function is one step of the real one.

mod begin;
mod database;
mod labels;
mod outcome;
mod publish;
mod roles;
mod timeouts;
mod transaction;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::rows::{Format, Rows};
use crate::settings::Settings;
pub use begin::{Begin, BeginRefused};
pub use database::Transactions;
pub use outcome::CommitRefused;
pub use transaction::{Counts, Hold, Kind, State, Transaction};

pub struct Cluster {
    pub databases: BTreeMap<String, crate::catalog::Database>,
    /// By the database's name; it goes with the database.
    pub transactions: BTreeMap<String, Transactions>,
    pub leader: usize,
    /// From the commit (the leader), or from the leader's publish (a follower), until an FE shows a version.
    pub publish_delays: Vec<Duration>,
    pub backends: Vec<Backend>,
    /// The leader's own memory of which BE has a label's context.
    pub routes: HashMap<(String, String), usize>,
    /// What `ADMIN SET FRONTEND CONFIG` may change.
    pub config: BTreeMap<String, String>,
    pub open_bytes: usize,
    next_id: u64,
    next_backend: usize,
    started: Instant,
    /// Wall clock at the start, and what a test has added to it.
    started_at: Duration,
    skipped: Duration,
}

#[derive(Debug, Default)]
pub struct Backend {
    pub id: u64,
    pub is_alive: bool,
    /// Open contexts of the transaction interface, by label.
    pub contexts: HashMap<String, Context>,
}

/// What a BE knows of a transaction that the transaction interface has begun.
#[derive(Debug)]
pub struct Context {
    pub transaction: u64,
    pub database: String,
    pub table: String,
    /// The first load's; each other load must be the same.
    pub format: Option<Format>,
    pub bodies: Vec<Vec<u8>>,
    pub bytes: usize,
    /// A call is at work on it.
    pub is_busy: bool,
}

impl Cluster {
    pub fn new(settings: &Settings) -> Self {
        let config = [
            ("label_keep_max_num", settings.label_keep_max_num),
            ("label_keep_max_second", settings.label_keep_max_second),
            ("max_running_txn_num_per_db", settings.max_running_txn_num_per_db),
            ("stream_load_default_timeout_second", settings.stream_load_default_timeout_second),
            ("prepared_transaction_default_timeout_second", settings.prepared_transaction_default_timeout_second),
            ("expr_children_limit", 10_000),
            ("transaction_clean_interval_second", settings.transaction_clean_interval_ms / 1_000),
        ];
        let mut publish_delays = vec![Duration::from_millis(settings.follower_delay_ms); settings.frontends];
        if let Some(leaders) = publish_delays.first_mut() {
            *leaders = Duration::from_millis(settings.publish_delay_ms);
        }
        let backend = |n: usize| Backend { id: 10_001 + n as u64, is_alive: true, contexts: HashMap::new() };
        Cluster {
            databases: BTreeMap::new(),
            transactions: BTreeMap::new(),
            leader: 0,
            publish_delays,
            backends: (0..settings.backends).map(backend).collect(),
            routes: HashMap::new(),
            config: config.map(|(name, value)| (name.to_owned(), value.to_string())).into(),
            open_bytes: 0,
            next_id: 1,
            next_backend: 0,
            started: Instant::now(),
            started_at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            skipped: Duration::ZERO,
        }
    }

    /// Ids of transactions, tables and databases alike.
    pub fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The cluster's clock, ms since 1970. A test puts it forward instead of waiting.
    pub fn now_ms(&self) -> u64 {
        (self.started_at + self.started.elapsed() + self.skipped).as_millis() as u64
    }

    pub fn skip(&mut self, time: Duration) {
        self.skipped += time;
    }

    pub fn number(&self, name: &str) -> u64 {
        self.config.get(name).and_then(|value| value.parse().ok()).unwrap_or(u64::MAX)
    }

    /// The error is what ADMIN SET FRONTEND CONFIG says.
    pub fn set_config(&mut self, name: &str, value: &str) -> Result<(), String> {
        let known =
            self.config.get_mut(name).ok_or_else(|| format!("Config '{name}' does not exist or is not mutable"))?;
        value.parse::<u64>().map_err(|_| format!("Unsupported configuration value: {value}"))?;
        value.clone_into(known);
        Ok(())
    }

    /// The next BE that is alive, in turns.
    pub fn choose_backend(&mut self) -> Option<usize> {
        let n = self.backends.len();
        let found = (0..n).map(|step| (self.next_backend + step) % n).find(|at| self.backends[*at].is_alive)?;
        self.next_backend = found + 1;
        Some(found)
    }

    /// A context's end: its bytes are given back.
    pub fn drop_context(&mut self, backend: usize, label: &str) -> Option<Context> {
        let context = self.backends[backend].contexts.remove(label)?;
        self.open_bytes = self.open_bytes.saturating_sub(context.bytes);
        Some(context)
    }

    pub fn transaction(&self, database: &str, id: u64) -> Option<&Transaction> {
        self.transactions.get(database)?.by_id.get(&id)
    }

    pub(crate) fn transaction_mut(&mut self, database: &str, id: u64) -> Option<&mut Transaction> {
        self.transactions.get_mut(database)?.by_id.get_mut(&id)
    }
}

/// Rows that are on their way into a version.
#[derive(Clone, Debug, Default)]
pub struct Load {
    pub rows: Rows,
    pub merge_condition: Option<String>,
    pub bytes: u64,
    /// Where it is said why rows were filtered.
    pub error_url: Option<String>,
}
