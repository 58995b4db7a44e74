//! The transactions of one database, and the order in which they were finished: that is the order of forgetting.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::Transaction;
use super::publish::Pending;

#[derive(Debug, Default)]
pub struct Transactions {
    pub by_id: BTreeMap<u64, Transaction>,
    /// Every transaction that a label has had and that is not forgotten, oldest first.
    pub by_label: HashMap<String, Vec<u64>>,
    /// VISIBLE and ABORTED ones, first finished first.
    pub finished: VecDeque<u64>,
    /// By the table's id: committed and not shown by every FE, in the order of versions.
    pub unpublished: BTreeMap<u64, VecDeque<Pending>>,
    /// By the table's id: the version of the last commit.
    pub versions: BTreeMap<u64, u64>,
    /// Forgotten so far.
    pub n_forgotten: u64,
}

impl Transactions {
    /// The one with the largest id, which is the one that counts.
    pub fn of_label(&self, label: &str) -> Option<&Transaction> {
        self.by_id.get(self.by_label.get(label)?.last()?)
    }

    pub fn n_running(&self) -> usize {
        self.by_id.values().filter(|transaction| transaction.state.is_running()).count()
    }

    pub fn insert(&mut self, transaction: Transaction) {
        self.by_label.entry(transaction.label.clone()).or_default().push(transaction.id);
        self.by_id.insert(transaction.id, transaction);
    }

    /// As if it had never been.
    pub fn forget(&mut self, id: u64) -> Option<Transaction> {
        let transaction = self.by_id.remove(&id)?;
        if let Some(ids) = self.by_label.get_mut(&transaction.label) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_label.remove(&transaction.label);
            }
        }
        self.finished.retain(|other| *other != id);
        self.n_forgotten += 1;
        Some(transaction)
    }
}
