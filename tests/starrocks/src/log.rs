//! Everything that was asked of the stand-in and what became of it: a test counts begins, bodies and outcomes here, not
//! by what a client believes.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

/// One request.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Entry {
    /// Counts from 1; a gap at the log's beginning is what was dropped.
    pub n: u64,
    pub at_ms: u64,
    /// `fe0`, `be1`, `mysql0`, `control`
    pub node: String,
    /// `fe.stream_load`, `be.commit`, `mysql.query`, …
    pub endpoint: String,
    pub label: String,
    pub database: String,
    pub table: String,
    pub transaction: Option<u64>,
    /// Of the body, as it came.
    pub bytes: u64,
    pub rows: u64,
    /// 0: there was no reply.
    pub http: u16,
    /// `Status` of the reply, or what stands for it.
    pub status: String,
    pub message: String,
    /// Of the label's transaction, when the request had been handled; empty: none.
    pub state: String,
    /// The fault that was played.
    pub fault: Option<String>,
    /// A MySQL statement's beginning.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sql: String,
}

/// What one label has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LabelCounts {
    /// Begins that were granted.
    pub begun: u64,
    /// Bodies that came whole.
    pub bodies: u64,
    pub prepares: u64,
    pub commits: u64,
    /// Transactions that became visible; more than one is what must never be.
    pub visible: u64,
    pub aborted: u64,
    pub cancels: u64,
    pub bytes: u64,
    pub rows: u64,
}

/// Labels whose counts are kept; tests make fewer.
const LABELS_MAX: usize = 1_000_000;

#[derive(Debug, Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    entries_max: usize,
    n: u64,
    /// By database and label.
    labels: BTreeMap<(String, String), LabelCounts>,
    /// By endpoint and status.
    counters: BTreeMap<String, u64>,
}

impl Log {
    pub fn new(entries_max: usize) -> Self {
        Log { entries_max, ..Log::default() }
    }

    pub fn add(&mut self, mut entry: Entry) {
        self.n += 1;
        entry.n = self.n;
        self.count(&entry.endpoint, 1);
        self.count(&format!("{} {}", entry.endpoint, entry.status), 1);
        if let Some(fault) = &entry.fault {
            self.count(&format!("fault {fault}"), 1);
        }
        self.entries.push_back(entry);
        while self.entries.len() > self.entries_max {
            self.entries.pop_front();
        }
    }

    pub fn count(&mut self, name: &str, n: u64) {
        match self.counters.get_mut(name) {
            Some(counter) => *counter += n,
            None => drop(self.counters.insert(name.to_owned(), n)),
        }
    }

    pub fn label(&mut self, database: &str, label: &str, change: impl FnOnce(&mut LabelCounts)) {
        let key = (database.to_owned(), label.to_owned());
        if self.labels.len() < LABELS_MAX || self.labels.contains_key(&key) {
            change(self.labels.entry(key).or_default());
        }
    }

    /// Entries behind number `after` that the words select: each is empty, or the start of what it is for.
    pub fn entries(&self, after: u64, endpoint: &str, label: &str) -> Vec<Entry> {
        let selected = self
            .entries
            .iter()
            .filter(|entry| entry.n > after && entry.endpoint.starts_with(endpoint) && entry.label.starts_with(label));
        selected.cloned().collect()
    }

    pub fn labels(&self) -> Vec<(String, String, LabelCounts)> {
        let copied =
            self.labels.iter().map(|((database, label), counts)| (database.clone(), label.clone(), counts.clone()));
        copied.collect()
    }

    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.counters.clone()
    }

    /// Entries, labels and counters; numbers go on.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.labels.clear();
        self.counters.clear();
    }
}
