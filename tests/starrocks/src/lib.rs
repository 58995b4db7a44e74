//! A stand-in of StarRocks, for tests of whatever loads into it: FEs and BEs over HTTP, the MySQL port, Stream Load and the
//! transaction interface, and every fault that they can have, on demand.
//!
//! It names nothing of the program that is tested, and counts by its own log what was sent. `README.md` beside this crate
//! says how it is started by hand, what is played and what is not.

mod actions;
mod be;
mod call;
mod catalog;
mod cluster;
mod control;
mod ddl;
mod faults;
mod fe;
mod http;
mod insert;
mod log;
mod mysql;
mod rows;
mod settings;
mod sql;
mod stand;
mod view;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

pub use actions::Action;
pub use cluster::{Counts, Kind, State, Transaction};
pub use faults::{BadReply, Fault, Listed, Outage, Rule, Turn, When};
pub use log::{Entry, LabelCounts};
pub use settings::{Ports, Settings};

use http::{Node, NodeState};
use stand::Stand;

/// For connections; rows are read on threads of their own.
const WORKERS: usize = 2;

/// A cluster that lives as long as its value. It has threads of its own: a test may block.
pub struct StandIn {
    stand: Arc<Stand>,
    runtime: Option<Runtime>,
    publishers: Vec<JoinHandle<()>>,
    /// Held, so that its port refuses connections.
    _dead: TcpSocket,
}

impl StandIn {
    pub fn start(settings: Settings) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(WORKERS).enable_all().thread_name("starrocks").build();
        let runtime = runtime.context("start a runtime")?;
        // A thread of its own, as the caller may be in a runtime already.
        let handle = runtime.handle().clone();
        let opened = thread::spawn(move || handle.block_on(open(settings))).join();
        let (stand, dead) = opened.map_err(|_| anyhow!("the stand-in panicked at its start"))??;
        let mut publishers = Vec::new();
        for fe in 0..stand.settings.frontends {
            let publisher = stand.clone();
            let named = thread::Builder::new().name(format!("publish {fe}"));
            publishers.push(named.spawn(move || publisher.publish(fe)).context("start a publisher")?);
        }
        if let Some(database) = &stand.settings.database {
            ddl::create_database(&stand, database).map_err(|error| anyhow!(error))?;
        }
        Ok(StandIn { stand, runtime: Some(runtime), publishers, _dead: dead })
    }

    pub fn ports(&self) -> &Ports {
        &self.stand.ports
    }

    /// `CREATE`, `DROP`, `TRUNCATE`, as over the MySQL port.
    pub fn sql(&self, text: &str) -> Result<()> {
        ddl::run(&self.stand, None, text).map_err(|error| anyhow!(error))
    }

    pub fn fault(&self, rule: Rule) -> Result<u64> {
        view::locked(&self.stand.faults).add(rule).map_err(|error| anyhow!(error))
    }

    /// One rule, or all.
    pub fn clear_faults(&self, id: Option<u64>) {
        view::locked(&self.stand.faults).clear(id);
    }

    pub fn faults(&self) -> Vec<Listed> {
        view::locked(&self.stand.faults).list()
    }

    pub async fn act(&self, action: Action) -> Result<Value> {
        action.run(&self.stand).await.map_err(|error| anyhow!(error))
    }

    /// The log, from its beginning: entries of endpoints and labels that begin so.
    pub fn log(&self, endpoint: &str, label: &str) -> Vec<Entry> {
        self.stand.log(|log| log.entries(0, endpoint, label))
    }

    /// By database and label.
    pub fn labels(&self) -> Vec<(String, String, LabelCounts)> {
        self.stand.log(|log| log.labels())
    }

    /// The transaction that counts for a label; None: unknown, or forgotten.
    pub fn transaction(&self, database: &str, label: &str) -> Option<Transaction> {
        self.stand.look(|cluster| cluster.label(database, label).flatten().cloned())
    }

    /// `INSERT INTO t … VALUES …`, visible when this returns.
    pub fn insert(&self, database: &str, sql: &str) -> Result<()> {
        let runtime = self.runtime.as_ref().context("the stand-in has ended")?;
        let (stand, database, sql) = (self.stand.clone(), database.to_owned(), sql.to_owned());
        let (done, wait) = std::sync::mpsc::channel();
        // By its own runtime, whatever the caller is in.
        runtime.spawn(async move { done.send(insert::run(&stand, Some(&database), &sql).await) });
        wait.recv().context("the stand-in has ended")?.map(drop).map_err(|error| anyhow!(error))
    }

    /// What an FE shows, by SQLite's words for it; None is NULL.
    pub fn select(&self, fe: usize, database: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let connection = self.stand.views[fe].database(database)?;
        let selected = view::query(&view::locked(&connection), sql)?;
        let text = |cell: view::Cell| cell.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Ok(selected.rows.into_iter().map(|row| row.into_iter().map(text).collect()).collect())
    }

    /// By endpoint, and by endpoint and status; statements that were not known, faults that were played.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.stand.log(|log| log.counters())
    }

    /// Waits until the look finds something in the cluster's transaction of this label.
    pub async fn until<T>(
        &self,
        database: &str,
        label: &str,
        time: Duration,
        mut look: impl FnMut(Option<&Transaction>) -> Option<T>,
    ) -> Option<T> {
        self.stand.until(time, |cluster| look(cluster.label(database, label).flatten())).await
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stand.end();
        for publisher in self.publishers.drain(..) {
            // A publisher that panicked has said so.
            let _ = publisher.join();
        }
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn open(settings: Settings) -> Result<(Arc<Stand>, TcpSocket)> {
    anyhow::ensure!(settings.frontends > 0 && settings.backends > 0, "a cluster has an FE and a BE at least");
    let fe = bound(&settings.ports.fe, settings.frontends).await?;
    let be = bound(&settings.ports.be, settings.backends).await?;
    let mysql = bound(&settings.ports.mysql, settings.frontends).await?;
    let control = http::bind(settings.ports.control).await?;
    let hung = http::bind(0).await?;
    let dead = TcpSocket::new_v4().context("make a socket")?;
    dead.bind((Ipv4Addr::LOCALHOST, 0).into()).context("hold a port that refuses")?;
    let ports =
        Ports { fe: numbers(&fe)?, be: numbers(&be)?, mysql: numbers(&mysql)?, control: control.local_addr()?.port() };
    let (dead_port, hung_port) = (dead.local_addr()?.port(), hung.local_addr()?.port());
    let stand = Arc::new(Stand::new(settings, ports, dead_port, hung_port));
    for (n, listener) in fe.into_iter().enumerate() {
        let shared = stand.clone();
        let node = Node(stand.frontends[n].subscribe());
        tokio::spawn(http::listen(listener, node, move |stream, node| fe::serve(shared.clone(), n, stream, node)));
    }
    for (n, listener) in be.into_iter().enumerate() {
        let shared = stand.clone();
        let node = Node(stand.backends[n].subscribe());
        tokio::spawn(http::listen(listener, node, move |stream, node| be::serve(shared.clone(), n, stream, node)));
    }
    for (n, listener) in mysql.into_iter().enumerate() {
        let shared = stand.clone();
        let node = Node(stand.frontends[n].subscribe());
        tokio::spawn(http::listen(listener, node, move |stream, node| mysql::serve(shared.clone(), n, stream, node)));
    }
    let (always, shared) = (always_up(), stand.clone());
    tokio::spawn(http::listen(control, Node(always.subscribe()), move |stream, node| {
        control::serve(shared.clone(), stream, node)
    }));
    tokio::spawn(swallow(hung, always));
    tokio::spawn(clean_now_and_then(stand.clone()));
    Ok((stand, dead))
}

fn always_up() -> watch::Sender<NodeState> {
    watch::Sender::new(NodeState { is_up: true, is_frozen: false, epoch: 0 })
}

async fn bound(ports: &[u16], n: usize) -> Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for at in 0..n {
        listeners.push(http::bind(ports.get(at).copied().unwrap_or(0)).await?);
    }
    Ok(listeners)
}

fn numbers(listeners: &[TcpListener]) -> Result<Vec<u16>> {
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// Connections that a hung BE holds.
const SWALLOWED_MAX: usize = 1_000;

/// Takes connections and never says a word. Holds the sender of the listeners that are always up.
async fn swallow(listener: TcpListener, _always: watch::Sender<NodeState>) {
    let mut held = std::collections::VecDeque::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            held.push_back(stream);
        }
        if held.len() > SWALLOWED_MAX {
            held.pop_front();
        }
    }
}

async fn clean_now_and_then(stand: Arc<Stand>) {
    let interval = Duration::from_millis(stand.settings.transaction_clean_interval_ms.max(1));
    loop {
        tokio::time::sleep(interval).await;
        actions::clean(&stand);
    }
}
