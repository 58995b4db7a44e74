//! Begin: at the headers of a plain load, before `100 Continue`, or at the call of the transaction interface.

use super::{Cluster, Counts, Kind, State, Transaction};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Begin<'a> {
    pub database: &'a str,
    pub table: &'a str,
    pub label: &'a str,
    pub kind: Kind,
    pub coordinator: usize,
    pub timeout_s: Option<u64>,
    pub idle_timeout_s: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeginRefused {
    NoDatabase(String),
    NoTable(String),
    BadLabel(String),
    LabelUsed { label: String, is_finished: bool },
    TooManyRunning { database: String, n: u64, limit: u64 },
    BadTimeout(String),
}

const TIMEOUT_S_MAX: u64 = 259_200;
const LABEL_BYTES_MAX: usize = 128;

/// `^[-\w]{1,128}$`
fn is_label(text: &str) -> bool {
    (1..=LABEL_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

impl BeginRefused {
    pub fn message(&self) -> String {
        match self {
            BeginRefused::NoDatabase(name) => format!("unknown database, database={name}"),
            BeginRefused::NoTable(name) => format!("unknown table \"{name}\""),
            BeginRefused::BadLabel(label) => format!("Label format error. regex: ^[-\\w]{{1,128}}$, label: {label}"),
            BeginRefused::LabelUsed { label, .. } => format!("Label [{label}] has already been used."),
            BeginRefused::TooManyRunning { database, n, limit } => {
                format!("current running txns on db {database} is {n}, larger than limit {limit}")
            }
            BeginRefused::BadTimeout(text) => format!("Invalid timeout: {text}"),
        }
    }
}

impl Cluster {
    pub fn begin(&mut self, asked: &Begin<'_>) -> Result<u64, BeginRefused> {
        let unknown = || BeginRefused::NoDatabase(asked.database.to_owned());
        let database = self.databases.get(asked.database).ok_or_else(unknown)?;
        let table = database.tables.get(asked.table);
        let table = table.ok_or_else(|| BeginRefused::NoTable(format!("{}.{}", asked.database, asked.table)))?.clone();
        if !is_label(asked.label) {
            return Err(BeginRefused::BadLabel(asked.label.to_owned()));
        }
        let timeout_s = asked.timeout_s.unwrap_or_else(|| self.number("stream_load_default_timeout_second"));
        if timeout_s == 0 || timeout_s > TIMEOUT_S_MAX {
            return Err(BeginRefused::BadTimeout(timeout_s.to_string()));
        }
        let (now_ms, limit) = (self.now_ms(), self.number("max_running_txn_num_per_db"));
        let prepared_timeout_s = self.number("prepared_transaction_default_timeout_second");
        let n_frontends = self.publish_delays.len();
        let id = self.new_id();
        let transactions = self.transactions.get_mut(asked.database).ok_or_else(unknown)?;
        // A label is free again when all its transactions were aborted.
        if let Some(other) = transactions.of_label(asked.label).filter(|other| other.state != State::Aborted) {
            let is_finished = !other.state.is_running();
            return Err(BeginRefused::LabelUsed { label: asked.label.to_owned(), is_finished });
        }
        let n = transactions.n_running() as u64;
        if n >= limit {
            return Err(BeginRefused::TooManyRunning { database: asked.database.to_owned(), n, limit });
        }
        transactions.insert(Transaction {
            id,
            label: asked.label.to_owned(),
            table: asked.table.to_owned(),
            table_id: table.id,
            kind: asked.kind,
            state: State::Prepare,
            reason: String::new(),
            coordinator: asked.coordinator,
            timeout_s,
            idle_timeout_s: asked.idle_timeout_s,
            prepared_timeout_s,
            begun_ms: now_ms,
            touched_ms: now_ms,
            prepared_ms: None,
            committed_ms: None,
            visible_ms: None,
            finished_ms: None,
            counts: Counts::default(),
            version: None,
            shown_by: vec![false; n_frontends],
            load: None,
        });
        Ok(id)
    }
}
