//! The look at timeouts that FE and BEs take now and then.

use super::{Cluster, State};

/// BEs give an idle transaction so much more.
const IDLE_SLACK_S: u64 = 30;

impl Cluster {
    /// Transactions that have run out of time, by database.
    pub fn late(&self) -> Vec<(String, u64)> {
        let now_ms = self.now_ms();
        let mut late = Vec::new();
        for (database, transactions) in &self.transactions {
            for found in transactions.by_id.values() {
                let since = |ms: u64| now_ms.saturating_sub(ms);
                let is_idle =
                    found.idle_timeout_s > 0 && since(found.touched_ms) > (found.idle_timeout_s + IDLE_SLACK_S) * 1_000;
                let is_late = match found.state {
                    State::Prepare => since(found.begun_ms) > found.timeout_s * 1_000 || is_idle,
                    State::Prepared => since(found.prepared_ms.unwrap_or_default()) > found.prepared_timeout_s * 1_000,
                    _ => false,
                };
                if is_late {
                    late.push((database.clone(), found.id));
                }
            }
        }
        late
    }
}
