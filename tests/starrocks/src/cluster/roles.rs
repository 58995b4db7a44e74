//! Who leads, which BEs live, and what is lost when that changes.

use super::{Cluster, Kind, State};

/// Routes that the leader keeps before it looks which are needed.
const ROUTES_MAX: usize = 50_000;

impl Cluster {
    /// Another leader: what was only in the old one's memory is gone, which are transactions in PREPARE and the routes.
    pub fn switch_leader(&mut self, to: usize) {
        self.leader = to;
        self.routes.clear();
        for transactions in self.transactions.values_mut() {
            let lost: Vec<u64> = transactions
                .by_id
                .values()
                .filter(|found| found.state == State::Prepare)
                .map(|found| found.id)
                .collect();
            lost.iter().for_each(|id| drop(transactions.forget(*id)));
        }
    }

    /// The BE's memory is gone. The FE hears of it later or never: transactions stay as they are.
    pub fn restart_backend(&mut self, backend: usize) {
        let labels: Vec<String> = self.backends[backend].contexts.keys().cloned().collect();
        labels.iter().for_each(|label| drop(self.drop_context(backend, label)));
    }

    /// The FE finds the BE dead: transactions in PREPARE that it coordinates are aborted, PREPARED ones are not.
    pub fn kill_backend(&mut self, backend: usize) {
        self.restart_backend(backend);
        self.backends[backend].is_alive = false;
        let mut orphans = Vec::new();
        for (database, transactions) in &self.transactions {
            let of_it = transactions
                .by_id
                .values()
                .filter(|found| found.coordinator == backend && found.state == State::Prepare);
            orphans.extend(of_it.map(|found| (database.clone(), found.id)));
        }
        for (database, id) in orphans {
            self.abort(&database, id, "coordinate BE is down");
        }
    }

    pub fn revive_backend(&mut self, backend: usize) {
        self.backends[backend].is_alive = true;
    }

    /// As an LRU cache of the real one would: routes that nobody needs any more go first.
    pub fn remember_route(&mut self, database: String, label: String, backend: usize) {
        if self.routes.len() >= ROUTES_MAX {
            let is_open = |label: &str, backend: &usize| self.backends[*backend].contexts.contains_key(label);
            let closed: Vec<_> = self.routes.iter().filter(|((_, label), backend)| !is_open(label, backend)).collect();
            let closed: Vec<_> = closed.into_iter().map(|(key, _)| key.clone()).collect();
            for key in closed {
                self.routes.remove(&key);
            }
        }
        self.routes.insert((database, label), backend);
    }

    /// The BE that has a label's context, as the leader knows it: by its memory, else by the transaction.
    pub fn route(&self, database: &str, label: &str) -> Option<usize> {
        if let Some(backend) = self.routes.get(&(database.to_owned(), label.to_owned())) {
            return Some(*backend);
        }
        let found = self.label(database, label)??;
        (found.kind == Kind::Interface && found.state.is_running()).then_some(found.coordinator)
    }
}
