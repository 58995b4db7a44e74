//! What all listeners share: the cluster behind its lock, the FEs' views, faults, log, and a bell that rings at each change.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::cluster::{Cluster, State};
use crate::faults::Faults;
use crate::http::NodeState;
use crate::log::{Entry, Log};
use crate::settings::{Ports, Settings};
use crate::view::{View, locked};

pub struct Stand {
    pub settings: Settings,
    /// All of them, chosen ones included.
    pub ports: Ports,
    /// Nobody listens there.
    pub dead_port: u16,
    /// Takes connections, and nothing else.
    pub hung_port: u16,
    pub views: Vec<View>,
    pub frontends: Vec<watch::Sender<NodeState>>,
    pub backends: Vec<watch::Sender<NodeState>>,
    /// Counts what a test has let go: bodies that a proxy holds.
    pub releases: watch::Sender<u64>,
    pub has_ended: AtomicBool,
    pub faults: Mutex<Faults>,
    cluster: Mutex<Cluster>,
    log: Mutex<Log>,
    error_logs: Mutex<ErrorLogs>,
    bell: Condvar,
    changes: watch::Sender<u64>,
}

/// Error logs that are kept, by their names.
const ERROR_LOGS_MAX: usize = 1_000;

#[derive(Default)]
struct ErrorLogs {
    by_name: BTreeMap<String, String>,
    names: VecDeque<String>,
}

/// A publisher looks so often when nothing rings.
const LOOK: Duration = Duration::from_millis(200);

impl Stand {
    pub fn new(settings: Settings, ports: Ports, dead_port: u16, hung_port: u16) -> Self {
        let nodes = |n: usize| {
            (0..n).map(|_| watch::Sender::new(NodeState { is_up: true, is_frozen: false, epoch: 0 })).collect()
        };
        Stand {
            ports,
            dead_port,
            hung_port,
            views: (0..settings.frontends).map(|_| View::default()).collect(),
            frontends: nodes(settings.frontends),
            backends: nodes(settings.backends),
            releases: watch::Sender::new(0),
            has_ended: AtomicBool::new(false),
            faults: Mutex::default(),
            cluster: Mutex::new(Cluster::new(&settings)),
            log: Mutex::new(Log::new(settings.log_entries_max)),
            error_logs: Mutex::default(),
            bell: Condvar::new(),
            changes: watch::Sender::new(0),
            settings,
        }
    }

    pub fn look<T>(&self, look: impl FnOnce(&Cluster) -> T) -> T {
        look(&locked(&self.cluster))
    }

    /// Changes the cluster, and wakes all who wait for a change.
    pub fn update<T>(&self, change: impl FnOnce(&mut Cluster) -> T) -> T {
        let changed = change(&mut locked(&self.cluster));
        self.ring();
        changed
    }

    fn ring(&self) {
        self.bell.notify_all();
        self.changes.send_modify(|n| *n += 1);
    }

    /// Waits until the look finds something; None: it did not within that time.
    pub async fn until<T>(&self, time: Duration, mut look: impl FnMut(&Cluster) -> Option<T>) -> Option<T> {
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                if let Some(found) = self.look(&mut look) {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(time, found).await.ok().flatten()
    }

    pub fn log<T>(&self, write: impl FnOnce(&mut Log) -> T) -> T {
        write(&mut locked(&self.log))
    }

    /// Adds an entry, with the state that its label has now.
    pub fn record(&self, mut entry: Entry) {
        self.look(|cluster| {
            entry.at_ms = cluster.now_ms();
            if let Some(Some(found)) = cluster.label(&entry.database, &entry.label) {
                entry.state = found.state.name().into();
                entry.transaction = Some(found.id);
            }
        });
        self.log(|log| log.add(entry));
    }

    /// Aborts and counts it.
    pub fn abort(&self, database: &str, id: u64, reason: &str) -> bool {
        let label = self.update(|cluster| {
            let label = cluster.transaction(database, id)?.label.clone();
            cluster.abort(database, id, reason).then_some(label)
        });
        if let Some(label) = &label {
            self.log(|log| log.label(database, label, |counts| counts.aborted += 1));
        }
        label.is_some()
    }

    pub fn leader_address(&self) -> String {
        format!("127.0.0.1:{}", self.ports.fe[self.look(|cluster| cluster.leader)])
    }

    pub fn backend_address(&self, backend: usize) -> String {
        format!("127.0.0.1:{}", self.ports.be[backend])
    }

    /// Keeps an error log; gives its URL.
    pub fn keep_error_log(&self, backend: usize, lines: &[String]) -> String {
        let name = format!("error_log_{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        let mut logs = locked(&self.error_logs);
        logs.by_name.insert(name.clone(), lines.join("\n") + "\n");
        logs.names.push_back(name.clone());
        if logs.names.len() > ERROR_LOGS_MAX
            && let Some(oldest) = logs.names.pop_front()
        {
            logs.by_name.remove(&oldest);
        }
        format!("http://{}/api/_load_error_log?file={name}", self.backend_address(backend))
    }

    pub fn error_log(&self, name: &str) -> Option<String> {
        locked(&self.error_logs).by_name.get(name).cloned()
    }

    /// Shows versions at one FE as they become due, until the end of all.
    pub fn publish(&self, frontend: usize) {
        let mut cluster = locked(&self.cluster);
        while !self.has_ended.load(Ordering::Relaxed) {
            match cluster.due(frontend) {
                Ok(due) => {
                    drop(cluster);
                    if let Some(table) = &due.table {
                        let load = &due.load;
                        let applied =
                            self.views[frontend].apply(table, &load.rows.rows, load.merge_condition.as_deref());
                        if let Err(error) = applied {
                            // A table that was dropped in between takes its rows with it.
                            self.log(|log| log.count(&format!("publish failed: {error:#}"), 1));
                        }
                    }
                    cluster = locked(&self.cluster);
                    let was_visible = is_visible(&cluster, &due.database, due.id);
                    cluster.shown(frontend, &due.database, due.id);
                    if !was_visible && is_visible(&cluster, &due.database, due.id) {
                        let label = cluster.transaction(&due.database, due.id).map(|found| found.label.clone());
                        let label = label.unwrap_or_default();
                        self.log(|log| log.label(&due.database, &label, |counts| counts.visible += 1));
                    }
                    self.ring();
                }
                Err(at_ms) => {
                    let until =
                        at_ms.map_or(LOOK, |at_ms| Duration::from_millis(at_ms.saturating_sub(cluster.now_ms())));
                    let waited = self.bell.wait_timeout(cluster, until.clamp(Duration::from_millis(1), LOOK));
                    cluster = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    pub fn end(&self) {
        self.has_ended.store(true, Ordering::Relaxed);
        self.ring();
    }
}

fn is_visible(cluster: &Cluster, database: &str, id: u64) -> bool {
    cluster.transaction(database, id).is_some_and(|found| found.state == State::Visible)
}
