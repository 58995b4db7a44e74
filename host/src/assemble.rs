//! Turns a configuration into concrete parts. The only place that names implementations.

use anyhow::{Context, anyhow};

use crate::config::{ComponentPlace, Config, Instance};
use crate::event::Position;
use crate::failure::{Failure, Outcome};
use crate::judge::Stage;
use crate::pipeline::Pipeline;
use crate::rule::{Component, Limits, Rule, RuleError, WasmRule};
use crate::sink::{Memory, Overlay, Sink, Snapshot, Sqlite};
use crate::source::{BinlogFile, BinlogFileSettings, Source, TableFilter};

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
pub async fn parts(config: &Config) -> Outcome<Parts> {
    parts_over(config, sink(config)?).await
}

/// The same over a history that is only looked at, up to where the source's log ends now.
pub async fn dry_parts(config: &Config) -> Outcome<Parts> {
    let history = Snapshot::open(&config.sink.path, &config.sink.table, &config.name);
    let history = history.map_err(|error| Failure::sink(error, false))?;
    parts_over(config, Box::new(Overlay::over(history))).await
}

async fn parts_over(config: &Config, mut sink: Box<dyn Sink>) -> Outcome<Parts> {
    let rule = rule(config)?;
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
    let source = source(config, start.as_ref())?;
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

fn source(config: &Config, start: Option<&Position>) -> Outcome<Box<dyn Source>> {
    let tables = TableFilter::parse(&config.source.tables).map_err(|error| Failure::usage(anyhow!(error)))?;
    let settings = BinlogFileSettings {
        files: config.source.files.clone(),
        tables,
        zone: config.source.zone.clone(),
        batch_changes_max: config.rule.limits.batch_changes,
        batch_bytes_max: BATCH_BYTES_MAX,
    };
    let source = BinlogFile::open(settings, start).map_err(|error| Failure::source(error, false))?;
    Ok(Box::new(source))
}

/// Three batches are in memory at the most: one in hand, one read ahead, one being read.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What a checkpoint is tied to: another text is another source.
fn source_identity(config: &Config) -> String {
    format!("binlog-file {}", config.source.tables.join(" "))
}
