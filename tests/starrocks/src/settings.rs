//! All that can be said at the start, with the defaults of a young StarRocks where it has any. Times are ms where the name
//! says so, else seconds, as StarRocks' own names are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many FEs; the first leads.
    pub frontends: usize,
    pub backends: usize,
    /// Ports, in order; what is missing or 0 is chosen.
    pub ports: Ports,
    /// Names and passwords.
    pub users: BTreeMap<String, String>,
    /// A database that is there at the start, without tables.
    pub database: Option<String>,
    pub label_keep_max_num: u64,
    pub label_keep_max_second: u64,
    /// How often timeouts are looked for and labels are forgotten.
    pub transaction_clean_interval_ms: u64,
    pub max_running_txn_num_per_db: u64,
    pub stream_load_default_timeout_second: u64,
    pub prepared_transaction_default_timeout_second: u64,
    /// From the commit until the leader shows the rows.
    pub publish_delay_ms: u64,
    /// From then until each follower shows them.
    pub follower_delay_ms: u64,
    /// How long a plain load's commit waits to become visible, at the most; never more than half of its timeout.
    pub publish_wait_ms: u64,
    pub primary_key_bytes_max: usize,
    /// One body, and all that are open together.
    pub body_bytes_max: usize,
    pub open_bytes_max: usize,
    /// Log entries that are kept; older ones go.
    pub log_entries_max: usize,
}

/// The ports of all listeners.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ports {
    /// HTTP, leader first.
    pub fe: Vec<u16>,
    pub be: Vec<u16>,
    /// The MySQL protocol, in the FEs' order.
    pub mysql: Vec<u16>,
    pub control: u16,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            frontends: 2,
            backends: 2,
            ports: Ports::default(),
            users: BTreeMap::from([("root".into(), String::new())]),
            database: None,
            label_keep_max_num: 1_000,
            label_keep_max_second: 3 * 24 * 3_600,
            transaction_clean_interval_ms: 30_000,
            max_running_txn_num_per_db: 1_000,
            stream_load_default_timeout_second: 600,
            prepared_transaction_default_timeout_second: 86_400,
            publish_delay_ms: 0,
            follower_delay_ms: 0,
            publish_wait_ms: 45_000,
            primary_key_bytes_max: 128,
            body_bytes_max: 1 << 30,
            open_bytes_max: 4 << 30,
            log_entries_max: 1_000_000,
        }
    }
}
