//! Which version an FE shows next, and since when.
//!
//! A version becomes visible at the leader first, in the table's order; a follower shows it some time later. A new leader
//! has read the whole journal before it leads: what was VISIBLE anywhere it shows at once. A version goes its way also when
//! its label has been forgotten meanwhile.

use std::sync::Arc;

use super::{Cluster, Hold, Load, State};
use crate::catalog::Table;

/// A committed version that not every FE shows.
#[derive(Debug)]
pub struct Pending {
    pub id: u64,
    pub table: String,
    pub table_id: u64,
    pub load: Arc<Load>,
    pub hold: Hold,
    pub committed_ms: u64,
    pub visible_ms: Option<u64>,
    pub shown_by: Vec<bool>,
}

/// A version that an FE is to show now.
#[derive(Debug)]
pub struct Due {
    pub database: String,
    pub id: u64,
    /// None: the table is gone, and the version with it.
    pub table: Option<Arc<Table>>,
    pub load: Arc<Load>,
}

impl Cluster {
    /// What the FE has to show; else when (on the cluster's clock) there may be something, if that is known.
    pub fn due(&self, frontend: usize) -> Result<Due, Option<u64>> {
        let now_ms = self.now_ms();
        let mut soonest: Option<u64> = None;
        for (database, transactions) in &self.transactions {
            for queue in transactions.unpublished.values() {
                let Some(next) = queue.iter().find(|pending| !pending.shown_by[frontend]) else { continue };
                let Some(at_ms) = self.due_at(frontend, next) else { continue };
                if at_ms > now_ms {
                    soonest = Some(soonest.map_or(at_ms, |other| other.min(at_ms)));
                    continue;
                }
                let table = self.databases.get(database).and_then(|found| found.tables.get(&next.table));
                return Ok(Due {
                    database: database.clone(),
                    id: next.id,
                    table: table.filter(|table| table.id == next.table_id).cloned(),
                    load: next.load.clone(),
                });
            }
        }
        Err(soonest)
    }

    fn due_at(&self, frontend: usize, pending: &Pending) -> Option<u64> {
        let delay_ms = self.publish_delays[frontend].as_millis() as u64;
        if frontend != self.leader {
            return Some(pending.visible_ms? + delay_ms);
        }
        if pending.visible_ms.is_some() {
            return Some(0);
        }
        let due_ms = pending.committed_ms + delay_ms;
        match pending.hold {
            Hold::No => Some(due_ms),
            Hold::UntilMs(ms) => Some(due_ms.max(ms)),
            Hold::UntilReleased => None,
        }
    }

    /// The FE shows it now.
    pub fn shown(&mut self, frontend: usize, database: &str, id: u64) {
        let (now_ms, is_leader) = (self.now_ms(), frontend == self.leader);
        let Some(transactions) = self.transactions.get_mut(database) else { return };
        if let Some(transaction) = transactions.by_id.get_mut(&id) {
            transaction.shown_by[frontend] = true;
            if is_leader && transaction.state == State::Committed {
                transaction.state = State::Visible;
                transaction.visible_ms = Some(now_ms);
                transaction.finished_ms = Some(now_ms);
                transactions.finished.push_back(id);
            }
        }
        for queue in transactions.unpublished.values_mut() {
            if let Some(pending) = queue.iter_mut().find(|pending| pending.id == id) {
                pending.shown_by[frontend] = true;
                if is_leader {
                    pending.visible_ms.get_or_insert(now_ms);
                }
            }
            queue.retain(|pending| !pending.shown_by.iter().all(|is_shown| *is_shown));
        }
        transactions.unpublished.retain(|_, queue| !queue.is_empty());
    }

    /// Whether the FE shows all that is visible anywhere.
    pub fn shows_all(&self, frontend: usize) -> bool {
        let mut all = self.transactions.values().flat_map(|transactions| transactions.unpublished.values().flatten());
        all.all(|pending| pending.visible_ms.is_none() || pending.shown_by[frontend])
    }

    /// Lets go of every version that is held until then; gives how many.
    pub fn release(&mut self) -> u64 {
        let all =
            self.transactions.values_mut().flat_map(|transactions| transactions.unpublished.values_mut().flatten());
        let held = all.filter(|pending| pending.visible_ms.is_none() && pending.hold != Hold::No);
        held.map(|pending| pending.hold = Hold::No).count() as u64
    }
}
