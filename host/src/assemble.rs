//! Turns a configuration into concrete parts. The only place that names implementations.

use std::path::PathBuf;

use anyhow::{Context, anyhow};

use crate::config::{ComponentPlace, Config, Instance, MysqlConfig, SourceKind};
use crate::event::Position;
use crate::failure::{Failure, Outcome};
use crate::judge::Stage;
use crate::pipeline::Pipeline;
use crate::rule::{Component, Limits, Rule, RuleError, WasmRule};
use crate::sink::{Memory, Overlay, Sink, Snapshot, Sqlite};
use crate::source::mysql::{End, Server};
use crate::source::{BinlogFile, BinlogFileSettings, Mysql, MysqlSettings, Source, TableFilter};

/// What the pipeline runs on.
pub struct Parts {
    pub source: Box<dyn Source>,
    pub rule: Box<dyn Rule>,
    pub sink: Box<dyn Sink>,
    pub pipeline: Pipeline,
    /// Where the run starts: the sink's checkpoint, none at the beginning.
    pub start: Option<Position>,
}

/// Loads the rule, opens the sink, and opens the source where the sink's checkpoint says.
pub async fn parts(config: &Config, end: End) -> Outcome<Parts> {
    // The rule first: where it does not load, no history is made.
    let rule = rule(config)?;
    parts_over(config, rule, sink(config)?, end, &identity(config)).await
}

/// The same over a history that is only looked at, up to where the source's log ends now.
pub async fn dry_parts(config: &Config) -> Outcome<Parts> {
    let history = Snapshot::open(&config.sink.path, &config.sink.table, &config.name);
    let history = history.map_err(|error| Failure::sink(error, false))?;
    // Another reader than the pipeline itself, which may be running.
    let identity = format!("{} dry-run {}", identity(config), std::process::id());
    parts_over(config, rule(config)?, Box::new(Overlay::over(history)), End::AsOpened, &identity).await
}

async fn parts_over(
    config: &Config,
    rule: WasmRule,
    mut sink: Box<dyn Sink>,
    end: End,
    identity: &str,
) -> Outcome<Parts> {
    let pipeline = Pipeline {
        rule: rule.name().to_owned(),
        source: source_identity(config),
        repeat_batch: std::env::var("HINDSIGHT_TEST_REPEAT").ok().and_then(|batch| batch.parse().ok()),
    };
    let checkpoint = sink.checkpoint().await.map_err(|error| Failure::sink(error, false))?;
    let start = match checkpoint {
        Some(checkpoint) if checkpoint.source != pipeline.source => {
            return Err(Failure::usage(anyhow!(
                "pipeline {:?} has a checkpoint of another source in {}: it was written for `{}`, and the configuration says `{}`. \
                 Restore the configuration, give this pipeline another `name` and `sink.table`, or start with a new {}",
                config.name,
                config.sink.path.display(),
                checkpoint.source,
                pipeline.source,
                config.sink.path.display(),
            )));
        }
        Some(checkpoint) => Some(checkpoint.position),
        None => None,
    };
    let source = source(config, start.as_ref(), end, identity).await?;
    Ok(Parts { source, rule: Box::new(rule), sink, pipeline, start })
}

/// The configured rule, not yet configured for tables.
pub fn rule(config: &Config) -> Outcome<WasmRule> {
    let component = component(&config.rule.component, limits(&config.rule.limits))?;
    WasmRule::new(component, config.rule.settings()).map_err(|error| Failure::rule(error, false))
}

/// Loads a component from a file or from this program.
pub fn component(place: &ComponentPlace, limits: Limits) -> Outcome<Component> {
    let loaded = match place {
        ComponentPlace::Builtin(name) => Component::builtin(name, limits),
        ComponentPlace::File(path) => {
            let bytes = std::fs::read(path)
                .with_context(|| format!("read the rule's component {}", path.display()))
                .map_err(Failure::usage)?;
            Component::load(&path.display().to_string(), &bytes, limits)
        }
    };
    loaded.map_err(|error| Failure::rule(error, false))
}

/// What a configuration allows a rule, as the rule's host says it.
pub fn limits(limits: &crate::config::Limits) -> Limits {
    Limits {
        memory_bytes: limits.memory_bytes,
        deadline: limits.deadline,
        output_rows_per_change: limits.output_rows,
        output_bytes_per_change: limits.output_bytes,
        instance: match limits.instance {
            Instance::Kept => crate::rule::Instance::Kept,
            Instance::Fresh => crate::rule::Instance::Fresh,
        },
    }
}

/// A component on a stage for cases: fresh rule and table for each play.
pub struct Sandbox(pub Component);

impl Stage for Sandbox {
    type Table = Memory;

    fn rule(&self, settings: &[(String, String)]) -> Result<Box<dyn Rule>, RuleError> {
        Ok(Box::new(WasmRule::new(self.0.clone(), settings.to_vec())?))
    }

    fn table(&self) -> Memory {
        Memory::default()
    }
}

fn sink(config: &Config) -> Outcome<Box<dyn Sink>> {
    let sink = Sqlite::open(&config.sink.path, &config.sink.table, &config.name);
    Ok(Box::new(sink.map_err(|error| Failure::sink(error, false))?))
}

async fn source(config: &Config, start: Option<&Position>, end: End, identity: &str) -> Outcome<Box<dyn Source>> {
    let tables = TableFilter::parse(&config.source.tables).map_err(|error| Failure::usage(anyhow!(error)))?;
    match &config.source.kind {
        SourceKind::BinlogFile { files } => {
            let settings = binlog_file_settings(config, files, &tables);
            let source = BinlogFile::open(settings, start).map_err(|error| Failure::source(error, false))?;
            Ok(Box::new(source))
        }
        SourceKind::Mysql(mysql) => {
            let settings = MysqlSettings {
                servers: servers(mysql)?,
                tables,
                zone: config.source.zone.clone(),
                start: mysql.start.clone(),
                heartbeat: mysql.heartbeat,
                reader: MysqlSettings::reader(identity, mysql.server_id),
                pipeline: config.name.clone(),
                end,
                batch_changes_max: config.rule.limits.batch_changes,
                batch_bytes_max: BATCH_BYTES_MAX,
            };
            let source = Mysql::open(settings, start).await.map_err(|error| Failure::source(error, false))?;
            Ok(Box::new(source))
        }
    }
}

/// How these files, all of the configuration's or some, are read.
pub fn binlog_file_settings(config: &Config, files: &[PathBuf], tables: &TableFilter) -> BinlogFileSettings {
    BinlogFileSettings {
        files: files.to_vec(),
        tables: tables.clone(),
        zone: config.source.zone.clone(),
        batch_changes_max: config.rule.limits.batch_changes,
        batch_bytes_max: BATCH_BYTES_MAX,
    }
}

/// The servers of `source.url`, in order.
pub fn servers(mysql: &MysqlConfig) -> Outcome<Vec<Server>> {
    let servers = mysql.urls.iter().map(|url| Server::parse(&url.value, mysql.tls, mysql.tls_ca.as_deref()));
    servers.collect::<Result<_, _>>().map_err(|error| Failure::usage(anyhow!(error)))
}

/// The same for every process of a pipeline, another for any other: its name, and where its history is.
fn identity(config: &Config) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let path = std::path::absolute(&config.sink.path).unwrap_or_else(|_| config.sink.path.clone());
    format!("{} {} {} {}", config.name, host.trim(), path.display(), config.sink.table)
}

/// Three batches are in memory at the most: one in hand, one read ahead, one being read.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What a checkpoint is tied to: another text is another source.
pub fn source_identity(config: &Config) -> String {
    let kind = match config.source.kind {
        SourceKind::BinlogFile { .. } => "binlog-file",
        SourceKind::Mysql(_) => "mysql",
    };
    format!("{kind} {}", config.source.tables.join(" "))
}
