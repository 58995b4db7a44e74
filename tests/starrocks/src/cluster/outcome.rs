//! How a transaction goes on and ends: prepare, commit, abort.

use std::sync::Arc;

use super::publish::Pending;
use super::{Cluster, Counts, Hold, Load, State};

/// Why a transaction cannot be prepared or committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitRefused {
    /// The FE has none: lost with a leader, or forgotten.
    Gone(u64),
    Aborted {
        id: u64,
        reason: String,
    },
    /// In a state that this does not go on from.
    State(State),
    NoRows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub id: u64,
    pub version: u64,
}

impl CommitRefused {
    pub fn message(&self) -> String {
        match self {
            CommitRefused::Gone(id) => format!("transaction not found: {id}"),
            CommitRefused::Aborted { id, reason } => {
                format!("transaction [{id}] is already aborted. abort reason: {reason}")
            }
            CommitRefused::State(state) => format!("transaction is already {}", state.name()),
            CommitRefused::NoRows => "all partitions have no load data".into(),
        }
    }
}

impl Cluster {
    fn check(&self, database: &str, id: u64, from: State) -> Result<(), CommitRefused> {
        match self.transaction(database, id) {
            None => Err(CommitRefused::Gone(id)),
            Some(found) if found.state == State::Aborted => {
                Err(CommitRefused::Aborted { id, reason: found.reason.clone() })
            }
            Some(found) if found.state != from => Err(CommitRefused::State(found.state)),
            Some(_) => Ok(()),
        }
    }

    /// PREPARE → PREPARED: the rows are durable now.
    pub fn prepare(
        &mut self,
        database: &str,
        id: u64,
        load: Load,
        prepared_timeout_s: Option<u64>,
    ) -> Result<Counts, CommitRefused> {
        self.check(database, id, State::Prepare)?;
        let counts = self.take(database, id, load)?;
        let now_ms = self.now_ms();
        let transaction = self.transaction_mut(database, id).ok_or(CommitRefused::Gone(id))?;
        transaction.state = State::Prepared;
        transaction.prepared_ms = Some(now_ms);
        transaction.prepared_timeout_s = prepared_timeout_s.unwrap_or(transaction.prepared_timeout_s);
        Ok(counts)
    }

    /// PREPARE → COMMITTED in one phase: a plain load, or the transaction interface without prepare.
    pub fn commit_loaded(
        &mut self,
        database: &str,
        id: u64,
        load: Load,
        hold: Hold,
    ) -> Result<Committed, CommitRefused> {
        self.check(database, id, State::Prepare)?;
        self.take(database, id, load)?;
        self.commit(database, id, hold)
    }

    /// PREPARED → COMMITTED.
    pub fn commit_prepared(&mut self, database: &str, id: u64, hold: Hold) -> Result<Committed, CommitRefused> {
        self.check(database, id, State::Prepared)?;
        self.commit(database, id, hold)
    }

    fn take(&mut self, database: &str, id: u64, load: Load) -> Result<Counts, CommitRefused> {
        if load.rows.rows.is_empty() {
            return Err(CommitRefused::NoRows);
        }
        let transaction = self.transaction_mut(database, id).ok_or(CommitRefused::Gone(id))?;
        transaction.counts = Counts { total: load.rows.n_total, filtered: load.rows.n_filtered, bytes: load.bytes };
        transaction.load = Some(Arc::new(load));
        Ok(transaction.counts)
    }

    /// The version is given here: publish goes version by version, in the order of commits.
    fn commit(&mut self, database: &str, id: u64, hold: Hold) -> Result<Committed, CommitRefused> {
        let now_ms = self.now_ms();
        let transactions = self.transactions.get_mut(database).ok_or(CommitRefused::Gone(id))?;
        let transaction = transactions.by_id.get_mut(&id).ok_or(CommitRefused::Gone(id))?;
        // A table's first version is 1, the empty one.
        let version = transactions.versions.entry(transaction.table_id).or_insert(1);
        *version += 1;
        transaction.state = State::Committed;
        transaction.version = Some(*version);
        transaction.committed_ms = Some(now_ms);
        transactions.unpublished.entry(transaction.table_id).or_default().push_back(Pending {
            id,
            table: transaction.table.clone(),
            table_id: transaction.table_id,
            load: transaction.load.take().unwrap_or_default(),
            hold,
            committed_ms: now_ms,
            visible_ms: None,
            shown_by: transaction.shown_by.clone(),
        });
        Ok(Committed { id, version: *version })
    }

    /// PREPARE or PREPARED → ABORTED. False: it was in neither.
    pub fn abort(&mut self, database: &str, id: u64, reason: &str) -> bool {
        let now_ms = self.now_ms();
        let Some(transactions) = self.transactions.get_mut(database) else { return false };
        let Some(transaction) = transactions.by_id.get_mut(&id).filter(|found| found.state.is_running()) else {
            return false;
        };
        transaction.state = State::Aborted;
        transaction.reason = reason.to_owned();
        transaction.finished_ms = Some(now_ms);
        transaction.load = None;
        transactions.finished.push_back(id);
        true
    }

    /// A call has come for it.
    pub fn touch(&mut self, database: &str, id: u64, now_ms: u64) {
        if let Some(transaction) = self.transaction_mut(database, id) {
            transaction.touched_ms = now_ms;
        }
    }

    /// `_cancel`: only a transaction that is still being loaded. The error is the reply's message.
    pub fn cancel(&mut self, database: &str, label: &str) -> Result<(), String> {
        let transactions =
            self.transactions.get(database).ok_or_else(|| format!("Database[{database}] does not exist."))?;
        let found = transactions.of_label(label).ok_or_else(|| format!("transaction not found, label={label}"))?;
        if found.state != State::Prepare {
            return Err(format!("running transaction not found, label={label}"));
        }
        let id = found.id;
        self.abort(database, id, "user abort");
        Ok(())
    }
}
