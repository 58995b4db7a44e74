//! The configuration of one pipeline: a TOML file, read once, checked whole, with every default filled in.
//!
//! [`Config`] is what the program uses; `assemble` turns it into a source, a rule and a sink. Reading knows every key
//! of the reference configuration, also of parts that are not built yet, and refuses those by name.
//! All defaults stand in [`defaults`].

pub mod defaults;
mod sections;
mod source;
mod starrocks;
mod substitute;
mod topic;
mod units;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::civil::Zone;
use crate::document::{Faults, Text};
use crate::envelope::{Forms, KeyedBy};
use crate::failure::{Failure, Outcome};
use crate::pipeline::OnReject;
use crate::sink::starrocks::http::Address;
use crate::sink::starrocks::load::Compression;
use crate::source::{Start, Tls};

#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, as given.
    pub file: PathBuf,
    /// Names the pipeline: its checkpoint, labels and metrics. `[A-Za-z0-9][A-Za-z0-9_-]*`, at most 64.
    pub name: String,
    pub source: SourceConfig,
    /// None: one process goes from source to sink.
    pub topic: Option<TopicConfig>,
    pub rule: RuleConfig,
    pub sink: SinkConfig,
    /// Where the control port listens, on loopback; none: there is none.
    pub control: Option<SocketAddr>,
}

#[derive(Clone, Debug)]
pub struct SourceConfig {
    pub kind: SourceKind,
    /// `database.table`, each part may hold `*`; never empty.
    pub tables: Vec<String>,
    /// The zone whose wall clock DATETIME columns show.
    pub zone: Zone,
    /// The zone's name as it was typed.
    pub time_zone: String,
}

#[derive(Clone, Debug)]
pub enum SourceKind {
    /// Binlog files in the order in which the server wrote them; never empty.
    BinlogFile {
        files: Vec<PathBuf>,
    },
    Mysql(MysqlConfig),
    /// The topic, which others write; the server, where it is named, says the tables' columns.
    Topic {
        server: Option<MysqlConfig>,
    },
}

/// A live server.
#[derive(Clone, Debug)]
pub struct MysqlConfig {
    /// `mysql://user:password@host:port`, tried in order; never empty.
    pub urls: Vec<Text>,
    /// Where to begin without a checkpoint and without a snapshot.
    pub start: Start,
    pub snapshot: SnapshotConfig,
    /// How often a silent server says that it is there.
    pub heartbeat: Duration,
    pub tls: Tls,
    /// Certificates, PEM, of who may have signed the server's; none: the usual public ones.
    pub tls_ca: Option<PathBuf>,
    /// As which replica this pipeline reads; none: a number made of its name.
    pub server_id: Option<u32>,
}

/// When and how the rows are read that are in the tables already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// Before the first change, where there is no checkpoint.
    pub initial: bool,
    /// Where the checkpoint's position was purged; else that ends the program.
    pub on_lost_position: bool,
    /// All rows of a table in one read view, also where chunks could be cut.
    pub consistent: bool,
    /// Connections that read at once.
    pub readers: usize,
    /// Rows of a chunk, about; none: as many as a batch has changes.
    pub chunk_rows: Option<usize>,
    /// For the source's sake; none: as fast as it goes.
    pub rows_per_second: Option<u64>,
}

impl SnapshotConfig {
    /// `source.snapshot`, as far as it is not said by `on-lost-position`.
    pub fn name(&self) -> &'static str {
        match (self.initial, self.on_lost_position) {
            (false, _) => "never",
            (true, false) => "initial",
            (true, true) => "when-needed",
        }
    }
}

/// The topic between capture and history.
#[derive(Clone, Debug)]
pub struct TopicConfig {
    /// `host:port`; never empty.
    pub brokers: Vec<String>,
    pub name: String,
    pub key: KeyedBy,
    /// Of a topic that is made; one that is there keeps its own.
    pub partitions: u32,
    /// Copies of a topic that is made; none: the broker's default.
    pub replication: Option<u16>,
    /// This process in the group of those that apply, the same again after a restart.
    pub member: Option<String>,
    pub compression: &'static str,
    /// How values are written where there is a choice.
    pub forms: Forms,
    /// Whether each message is written with its schema beside it.
    pub schemas: bool,
    /// Of messages without a schema, each with its type in MySQL's words.
    pub columns: Vec<(String, String)>,
    /// Settings of the client library, by its own names.
    pub librdkafka: Vec<(String, Text)>,
}

#[derive(Clone, Debug)]
pub struct RuleConfig {
    pub component: ComponentPlace,
    /// In the order of the file; numbers and booleans as text.
    pub settings: Vec<(String, Text)>,
    pub limits: Limits,
    pub on_reject: OnReject,
}

/// Where a rule's component is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ComponentPlace {
    /// One of the rules embedded in this program: `builtin:scd2-by-owner`.
    Builtin(String),
    File(PathBuf),
}

/// What one rule may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance.
    pub memory_bytes: usize,
    /// Time for one batch.
    pub deadline: Duration,
    /// Changes decided at once.
    pub batch_changes: usize,
    pub instance: Instance,
    /// Output per change of a batch.
    pub output_rows: usize,
    pub output_bytes: usize,
    /// More changes than so many among [`AMONG_CHANGES`](crate::pipeline::AMONG_CHANGES) that it would not or could not
    /// decide end the pipeline.
    pub rejects: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    /// One instance for many batches; one batch in 256 is run again on a fresh one and compared.
    Kept,
    /// A fresh instance for every batch: 40 to 110 µs each.
    Fresh,
}

/// The history table, and where it is.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    pub table: String,
    pub kind: SinkKind,
}

#[derive(Clone, Debug)]
pub enum SinkKind {
    /// A file, made when it is not there.
    Sqlite {
        path: PathBuf,
    },
    StarRocks(StarRocksConfig),
}

/// A table in a StarRocks cluster, which `hindsight ddl` makes.
#[derive(Clone, Debug)]
pub struct StarRocksConfig {
    /// Frontends over HTTP, tried in turn; never empty.
    pub frontends: Vec<Address>,
    /// Frontends over the MySQL protocol, tried in turn; never empty.
    pub mysql: Vec<Address>,
    pub database: String,
    pub user: String,
    pub password: String,
    /// The host to go to where a frontend redirects to one that is not reached from here by its own name.
    pub redirect_host: Option<String>,
    pub compression: Compression,
    /// The column that keeps which change wrote a row; none: the table has none.
    pub sequence: Option<String>,
    /// Until a load is committed.
    pub load_max: Duration,
    /// From one load of a lane to the next, at the least.
    pub interval: Duration,
}

impl SinkConfig {
    /// `history.db`, or `history at starrocks:9030`: for messages.
    pub fn place(&self) -> String {
        match &self.kind {
            SinkKind::Sqlite { path } => path.display().to_string(),
            SinkKind::StarRocks(StarRocksConfig { database, mysql, .. }) => format!("{database} at {}", mysql[0]),
        }
    }

    /// The file of a history in SQLite.
    ///
    /// # Errors
    /// Exit code 2: it is elsewhere, where `what` is done in another way.
    pub fn sqlite(&self, what: &str, instead: &str) -> Outcome<&Path> {
        match &self.kind {
            SinkKind::Sqlite { path } => Ok(path),
            SinkKind::StarRocks(_) => Err(Failure::usage(anyhow::anyhow!(
                "{what} is for a history in SQLite, and this one is in StarRocks ({}): {instead}",
                self.place()
            ))),
        }
    }
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Exit code 2: no such file, or [`Faults`] with every fault of the text.
    pub fn load(path: &Path) -> Outcome<Config> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::NotFound => "; `hindsight init` writes one to start from",
                _ => "",
            };
            Failure::usage(anyhow::anyhow!("read configuration {}: {error}{remedy}", path.display()))
        })?;
        Config::parse(path, &text, &|name| std::env::var(name).ok()).map_err(Failure::usage)
    }

    /// `path`: names the file in faults, and relative paths start in its folder. `env`: the environment.
    pub fn parse(path: &Path, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Faults> {
        let (mut table, mut faults) = crate::document::parse(&path.display().to_string(), text)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        substitute::substitute(&mut table, &substitute::Outside { folder, env }, &mut faults);
        let config = sections::read(path, folder, &table, &mut faults);
        faults.or(config)
    }
}

impl RuleConfig {
    /// The settings as the component gets them.
    pub fn settings(&self) -> Vec<(String, String)> {
        self.settings.iter().map(|(name, text)| (name.clone(), text.value.clone())).collect()
    }
}

impl ComponentPlace {
    /// `builtin:NAME`, or a path; a relative one starts in `folder`.
    pub fn parse(text: &str, folder: &Path) -> Self {
        match text.strip_prefix("builtin:") {
            Some(name) => ComponentPlace::Builtin(name.to_owned()),
            None => ComponentPlace::File(folder.join(text)),
        }
    }
}

impl std::fmt::Display for ComponentPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ComponentPlace::Builtin(name) => write!(f, "builtin:{name}"),
            ComponentPlace::File(path) => path.display().fmt(f),
        }
    }
}

impl std::fmt::Display for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let instance = match self.instance {
            Instance::Kept => "kept",
            Instance::Fresh => "fresh",
        };
        write!(
            f,
            "{} memory, {:?} for a batch of {} changes, instance {instance}, output per change {} rows and {}",
            units::size_text(self.memory_bytes),
            self.deadline,
            self.batch_changes,
            self.output_rows,
            units::size_text(self.output_bytes)
        )
    }
}
