//! What an FE answers about a label, and how labels are forgotten: first finished first, by count and by age.

use super::{Cluster, State, Transaction};

/// None: the FE knows no transaction of this label.
pub type LabelState<'a> = Option<&'a Transaction>;

impl Cluster {
    /// None: no such database.
    pub fn label(&self, database: &str, label: &str) -> Option<LabelState<'_>> {
        Some(self.transactions.get(database)?.of_label(label))
    }

    /// The FE's own clean-up. Looks at the head of the finished queue only, as the real one does.
    pub fn forget_labels(&mut self) -> u64 {
        let now_ms = self.now_ms();
        let (keep_num, keep_ms) =
            (self.number("label_keep_max_num"), self.number("label_keep_max_second").saturating_mul(1_000));
        let mut n = 0;
        for transactions in self.transactions.values_mut() {
            while let Some(id) = transactions.finished.front().copied() {
                let finished_ms = transactions.by_id.get(&id).and_then(|found| found.finished_ms).unwrap_or_default();
                let is_old = now_ms.saturating_sub(finished_ms) > keep_ms;
                if !is_old && transactions.by_id.len() as u64 <= keep_num {
                    break;
                }
                transactions.finished.pop_front();
                transactions.forget(id);
                n += 1;
            }
        }
        n
    }

    /// One label, whatever else is kept: what a test asks for. False: nothing finished has it.
    pub fn forget_label(&mut self, database: &str, label: &str) -> bool {
        let Some(transactions) = self.transactions.get_mut(database) else { return false };
        let is_finished = |id: &u64| {
            transactions.by_id.get(id).is_some_and(|found| matches!(found.state, State::Visible | State::Aborted))
        };
        let ids: Vec<u64> =
            transactions.by_label.get(label).into_iter().flatten().copied().filter(is_finished).collect();
        ids.iter().for_each(|id| drop(transactions.forget(*id)));
        !ids.is_empty()
    }
}
