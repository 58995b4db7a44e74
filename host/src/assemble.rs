//! Turns a configuration into concrete parts. The only place that names implementations.

pub mod starrocks;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};
use tokio::sync::{Mutex, mpsc, watch};
use tracing::info;

use crate::capture::LogError;
use crate::civil::Zone;
use crate::config::{
    ComponentPlace, Config, Instance, MysqlConfig, RuleConfig, SinkKind, SnapshotConfig, SourceConfig, SourceKind,
    TopicConfig,
};
use crate::envelope::read::ForeignSettings;
use crate::envelope::{Events, Origin};
use crate::event::{EntityKey, Field, Position, TableSchema};
use crate::failure::{Failure, Outcome};
use crate::history::{Checkpoint, Standing};
use crate::judge::Stage;
use crate::ledger::{Ledger, Reason, RuleVersion};
use crate::pipeline::{OnReject, Opening, Pipeline, Reading, Rejects};
use crate::rule::{Component, Limits, Plan, Rule, RuleError, WasmRule};
use crate::sink::{self, DeadLetters, LaneOf, LetterBox, Memory, Overlay, Sink, Snapshot, Sqlite};
use crate::source::declared;
use crate::source::mysql::SnapshotSettings;
use crate::source::mysql::{Claim, End, Server, schemas};
use crate::source::{
    BinlogFile, BinlogFileSettings, Mysql, MysqlSettings, Resnapshot, Source, SourceState, TableFilter,
};
use crate::start::{self, Choice};
use crate::topic::{self, Keeps, LaneSettings, Offsets, TopicLog, TopicSettings};

/// What the pipeline runs on.
pub struct Parts {
    pub source: Box<dyn Source>,
    pub source_state: watch::Receiver<SourceState>,
    /// Asks the source to read a table again, where it can.
    pub resnapshot: Option<mpsc::Sender<Resnapshot>>,
    pub opening: Opening,
    pub sink: Box<dyn Sink>,
    pub pipeline: Pipeline,
}

/// Loads the rule, opens the sink, and opens the source where the sink's checkpoint says.
pub async fn parts(config: &Config, end: End) -> Outcome<Parts> {
    // The rule first: where it does not load, no history is made.
    let rule = configured(config)?;
    parts_over(config, rule, sink(config).await?, end, &identity(config)).await
}

/// The same over a history that is only looked at, up to where the source's log ends now.
pub async fn dry_parts(config: &Config) -> Outcome<Parts> {
    let rule = configured(config)?;
    let path =
        config.sink.sqlite("dry-run", "try the rule over a copy: with kind = \"sqlite\" in another configuration")?;
    let history = Snapshot::open(path, &config.sink.table, &config.name);
    let history = history.map_err(|error| Failure::sink(error, false))?;
    // Another reader than the pipeline itself, which may be running.
    let identity = format!("{} dry-run {}", identity(config), std::process::id());
    let mut parts = parts_over(config, rule, Box::new(Overlay::over(history)), End::AsOpened, &identity).await?;
    // It ends at what a run would set aside, and says so.
    parts.pipeline.rejects.on_reject = OnReject::Stop;
    Ok(parts)
}

/// What `capture` runs on.
pub struct CaptureParts {
    pub source: Box<dyn Source>,
    /// Says by what an entity is told; never decides.
    pub rule: Box<dyn Rule>,
    pub events: Events,
    /// As checkpoints name the source.
    pub identity: String,
}

/// Loads the rule, opens the file, and opens the source where the file's last checkpoint says. The source's times are UTC:
/// whoever reads the events applies the zone.
pub async fn capture_parts(config: &Config, to: &Path, end: End) -> Outcome<CaptureParts> {
    let (component, version) = configured(config)?;
    let rule = WasmRule::new(component, version.settings.clone()).map_err(|error| Failure::rule(error, false))?;
    let identity = source_identity(config);
    let events = Events::open(to, Origin { pipeline: &config.name, source: &identity, zone: Zone::UTC })?;
    let in_utc = in_utc(config);
    // Another reader than `run`, and than a capture to another file.
    let place = std::path::absolute(to).unwrap_or_else(|_| to.to_owned());
    let reader = format!("{} capture {}", self::identity(config), place.display());
    let start = events.checkpoint().map(|checkpoint| &checkpoint.position);
    let deciding = (version, limits(&config.rule.limits));
    let Opened { source, .. } = source(&in_utc, start, end, &reader, deciding).await?;
    Ok(CaptureParts { source, rule: Box::new(rule), events, identity })
}

/// What the capture half runs on.
pub struct TopicParts {
    pub source: Box<dyn Source>,
    pub source_state: watch::Receiver<SourceState>,
    /// Says by what an entity is told; never decides.
    pub rule: Box<dyn Rule>,
    pub version: Arc<RuleVersion>,
    pub log: TopicLog,
    /// The topic's checkpoint.
    pub start: Option<Position>,
}

/// Loads the rule, opens the topic, and opens the source where the topic's checkpoint says. The source's times are UTC:
/// whoever reads the topic applies the zone.
pub async fn topic_parts(config: &Config, topic: &TopicConfig, end: End) -> Result<TopicParts, LogError> {
    let (component, version) = configured(config)?;
    let rule = WasmRule::new(component, version.settings.clone()).map_err(|error| Failure::rule(error, false))?;
    let in_utc = in_utc(config);
    // The same wherever it runs: two of them are one too many.
    let reader = format!("{} topic {} {}", config.name, topic.brokers.join(","), topic.name);
    let deciding = (version.clone(), limits(&config.rule.limits));
    // To open the topic ends what another process writes: not while one rightly does.
    let claim = claim(config, &reader).await?;
    let log = TopicLog::open(&topic_settings(config, topic), &source_identity(config), Zone::UTC).await;
    if let Some(claim) = claim {
        claim.release().await;
    }
    let log = log?;
    let start = log.start();
    let Opened { source, state, .. } = source(&in_utc, start.as_ref(), end, &reader, deciding).await?;
    Ok(TopicParts { source, source_state: state, rule: Box::new(rule), version, log, start })
}

/// Events are in UTC: whoever reads them applies the source's zone.
fn in_utc(config: &Config) -> Config {
    let source = SourceConfig { zone: Zone::UTC, ..config.source.clone() };
    Config { source, ..config.clone() }
}

/// What a partition of the topic is taken to.
pub struct LaneParts {
    pub opening: Opening,
    pub sink: Box<dyn Sink>,
    pub pipeline: Pipeline,
    /// See [`Standing::redo_to`].
    pub redo_to: Option<Position>,
}

/// Opens the history where the partition's checkpoint says. `offsets`: the partition's in the group; `turn`: see [`LaneOf`];
/// `configured`: the rule that the configuration names.
pub async fn lane_parts(
    config: &Config,
    topic: &TopicConfig,
    offsets: Offsets,
    turn: Arc<Mutex<()>>,
    (component, configured): (Component, Arc<RuleVersion>),
) -> Outcome<LaneParts> {
    let identity = topic_identity(config, topic);
    let mut sink: Box<dyn Sink> = match &config.sink.kind {
        SinkKind::Sqlite { .. } => {
            open_lane(config, LaneOf { number: offsets.partition(), n_lanes: topic.partitions, turn })?
        }
        SinkKind::StarRocks(starrocks) => {
            Box::new(starrocks::open_lane(config, topic, starrocks, &identity, offsets).await?)
        }
    };
    let Standing { checkpoint, ledger, redo_to } =
        sink.checkpoint().await.map_err(|error| Failure::sink(error, false))?;
    let start = start_of(checkpoint, config, &identity)?;
    let opening = opening(ledger, component, configured, config)?;
    let pipeline = Pipeline {
        source: identity,
        start,
        rejects: rejects(config),
        reading: reading(config),
        repeat_batch: repeat_batch(),
    };
    Ok(LaneParts { opening, sink, pipeline, redo_to })
}

/// As a lane's checkpoint names its source.
fn topic_identity(config: &Config, topic: &TopicConfig) -> String {
    match config.source.kind {
        SourceKind::Topic { .. } => format!("foreign topic {}, {}", topic.name, config.source.tables.join(" ")),
        _ => format!("topic {}", topic.name),
    }
}

/// A partition's part of the history, to be moved.
pub struct LaneAtRest {
    pub sink: Box<dyn Sink>,
    /// As its checkpoint names the source.
    pub identity: String,
    /// None before its first commit.
    pub position: Option<Position>,
}

/// Every lane that has a checkpoint, by its partition. One that runs all the same is fenced when it is moved.
pub async fn lanes_at_rest(config: &Config, topic: &TopicConfig) -> Outcome<BTreeMap<u32, LaneAtRest>> {
    let numbers = match &config.sink.kind {
        SinkKind::Sqlite { path } => sink::lanes(path, &config.name).map_err(|error| Failure::sink(error, false))?,
        SinkKind::StarRocks(_) => {
            let is_foreign = matches!(config.source.kind, SourceKind::Topic { .. });
            let partitions = topic::partitions(&topic_settings(config, topic), is_foreign).await;
            (0..partitions.map_err(|error| Failure::topic(error, false))?).collect()
        }
    };
    let mut lanes = BTreeMap::new();
    for number in numbers {
        lanes.insert(number, lane_at_rest(config, topic, number).await?);
    }
    Ok(lanes)
}

/// One lane, whether it has a checkpoint or not.
pub async fn lane_at_rest(config: &Config, topic: &TopicConfig, number: u32) -> Outcome<LaneAtRest> {
    let identity = topic_identity(config, topic);
    let mut sink: Box<dyn Sink> = match &config.sink.kind {
        SinkKind::Sqlite { .. } => open_lane(config, LaneOf { number, n_lanes: 1, turn: Arc::default() })?,
        SinkKind::StarRocks(starrocks) => {
            let settings = topic_settings(config, topic);
            let is_foreign = matches!(config.source.kind, SourceKind::Topic { .. });
            let outside = |error| Failure::topic(error, false);
            let partitions = topic::partitions(&settings, is_foreign).await.map_err(outside)?;
            let offsets = Offsets::at_rest(&settings, number, partitions).map_err(outside)?;
            Box::new(starrocks::open_lane(config, topic, starrocks, &identity, offsets).await?.moved_by_hand())
        }
    };
    let standing = sink.checkpoint().await.map_err(|error| Failure::sink(error, false))?;
    let position = start_of(standing.checkpoint, config, &identity)?;
    Ok(LaneAtRest { sink, identity, position })
}

/// A lane of a history in SQLite.
fn open_lane(config: &Config, lane: LaneOf) -> Outcome<Box<dyn Sink>> {
    let path = config.sink.sqlite("moving a topic's lanes", "its offsets are those of the group")?;
    let sink = Sqlite::open_lane(path, &config.sink.table, &config.name, lane);
    Ok(Box::new(sink.map_err(|error| Failure::sink(error, false))?))
}

/// What is known of a topic that others write; none of one that the capture half writes.
pub async fn foreign(config: &Config, topic: &TopicConfig) -> Outcome<Option<ForeignSettings>> {
    let SourceKind::Topic { server } = &config.source.kind else { return Ok(None) };
    let tables = TableFilter::parse(&config.source.tables).map_err(|error| Failure::usage(anyhow!(error)))?;
    let column = |(name, declared): &(String, String)| {
        let logical = declared::parse(declared).map_err(|error| Failure::usage(anyhow!(error)))?;
        Ok(Field { name: name.clone(), logical, nullable: true, declared: declared.clone() })
    };
    let columns = topic.columns.iter().map(column).collect::<Outcome<_>>()?;
    let schemas = match server {
        None => Vec::new(),
        Some(mysql) => {
            let servers = servers(mysql)?;
            schemas(&servers[0], &tables).await.map_err(|error| Failure::source(error, false))?
        }
    };
    let entity_key = configured_entity_key(config)?;
    let tables = Arc::new(move |database: &str, table: &str| tables.matches(database, table));
    Ok(Some(ForeignSettings { tables, columns, schemas, forms: topic.forms, entity_key }))
}

/// How messages become a pipeline's batches.
pub fn lane_settings(config: &Config, end: End, foreign: Option<ForeignSettings>) -> Outcome<LaneSettings> {
    let keeps = match config.sink.kind {
        SinkKind::Sqlite { .. } => Keeps::Elsewhere,
        SinkKind::StarRocks(_) => Keeps::Offsets,
    };
    Ok(LaneSettings {
        keeps,
        foreign,
        entity_key: configured_entity_key(config)?,
        zone: config.source.zone.clone(),
        batch_changes_max: config.rule.limits.batch_changes,
        batch_bytes_max: BATCH_BYTES_MAX,
        to_end: matches!(end, End::AsOpened),
    })
}

/// What the configured rule would write for the source's tables as they are now.
pub async fn configured_plan(config: &Config) -> Outcome<Arc<Plan>> {
    let filter = TableFilter::parse(&config.source.tables).map_err(|error| Failure::usage(anyhow!(error)))?;
    let tables = match &config.source.kind {
        SourceKind::Mysql(mysql) | SourceKind::Topic { server: Some(mysql) } => {
            schemas(&servers(mysql)?[0], &filter).await.map_err(|error| Failure::source(error, false))?
        }
        SourceKind::BinlogFile { files } => {
            let settings = binlog_file_settings(config, files, &filter);
            let mut source = BinlogFile::open(settings, None).map_err(|error| Failure::source(error, false))?;
            let mut tables = Vec::new();
            while tables.is_empty()
                && let Some((batch, _)) = source.next().await.map_err(|error| Failure::source(error, false))?
            {
                tables = batch.tables;
            }
            tables
        }
        SourceKind::Topic { server: None } => Vec::new(),
    };
    if tables.is_empty() {
        return Err(Failure::outside(anyhow!(
            "no table of source.tables is known: with a live server they are asked for (source.url), with binlog files they are \
             those of the first changes"
        )));
    }
    let (component, version) = configured(config)?;
    let mut rule = WasmRule::new(component, version.settings.clone()).map_err(|error| Failure::rule(error, false))?;
    rule.configure(&tables).map_err(|error| Failure::rule(error, false))
}

/// By which columns the configured rule tells each table's entities.
fn configured_entity_key(config: &Config) -> Outcome<EntityKey> {
    let (_, version) = configured(config)?;
    Ok(entity_key(version, limits(&config.rule.limits)))
}

fn rejects(config: &Config) -> Rejects {
    Rejects {
        on_reject: config.rule.on_reject,
        max: config.rule.limits.rejects,
        pipeline: config.name.clone(),
        zone: config.source.zone.clone(),
    }
}

/// What a pipeline has set aside, wherever its history is.
pub fn letter_box(config: &Config) -> Outcome<Box<dyn LetterBox>> {
    Ok(match &config.sink.kind {
        SinkKind::Sqlite { .. } => Box::new(dead_letters(config)?),
        SinkKind::StarRocks(starrocks) => Box::new(starrocks::letters(config, starrocks)),
    })
}

/// What a pipeline has set aside in SQLite, whether it runs or not.
pub fn dead_letters(config: &Config) -> Outcome<DeadLetters> {
    let path = config.sink.sqlite("dead-letters", "look into its table hindsight_dead_letters")?;
    let letters = DeadLetters::open(path, &config.sink.table, &config.name);
    letters.map_err(|error| Failure::sink(error, false))
}

/// A rule to decide dead letters by: the one that decides the history now, where there is any, else the configured one.
pub fn replaying(config: &Config, active: Option<Arc<RuleVersion>>) -> Outcome<(Box<dyn Rule>, Arc<RuleVersion>)> {
    let (component, version) = match active {
        Some(active) => {
            let loaded = Component::load(&active.origin, &active.component, limits(&config.rule.limits));
            (loaded.map_err(|error| Failure::rule(error, false))?, active)
        }
        None => configured(config)?,
    };
    let rule = WasmRule::new(component, version.settings.clone()).map_err(|error| Failure::rule(error, false))?;
    Ok((Box::new(rule), version))
}

fn repeat_batch() -> Option<u64> {
    std::env::var("HINDSIGHT_TEST_REPEAT").ok().and_then(|batch| batch.parse().ok())
}

/// A pipeline's topic, and how it is reached.
pub fn topic_settings(config: &Config, topic: &TopicConfig) -> TopicSettings {
    let topic = topic.clone();
    TopicSettings {
        brokers: topic.brokers,
        name: topic.name,
        pipeline: config.name.clone(),
        key: topic.key,
        partitions: topic.partitions,
        replication: topic.replication,
        member: topic.member,
        compression: topic.compression,
        forms: topic.forms,
        schemas: topic.schemas,
        librdkafka: topic.librdkafka.into_iter().map(|(name, text)| (name, text.value)).collect(),
    }
}

/// The file that `run` writes events to, at the checkpoint that the pipeline goes on from.
pub fn events_beside(config: &Config, file: &Path, pipeline: &Pipeline) -> Outcome<Events> {
    let Pipeline { source, start, .. } = pipeline;
    let checkpoint = start.clone().map(|position| Checkpoint { source: source.clone(), position });
    let origin = Origin { pipeline: &config.name, source, zone: config.source.zone.clone() };
    Ok(Events::beside(file, origin, checkpoint)?)
}

async fn parts_over(
    config: &Config,
    (component, configured): (Component, Arc<RuleVersion>),
    mut sink: Box<dyn Sink>,
    end: End,
    identity: &str,
) -> Outcome<Parts> {
    let standing = sink.checkpoint().await.map_err(|error| Failure::sink(error, false))?;
    let start = start(standing.checkpoint, config)?;
    let pipeline = Pipeline {
        source: source_identity(config),
        start,
        rejects: rejects(config),
        reading: reading(config),
        repeat_batch: repeat_batch(),
    };
    let opening = opening(standing.ledger, component, configured, config)?;
    let rule = (opening.version.clone(), limits(&config.rule.limits));
    let Opened { source, state, resnapshot } = source(config, pipeline.start.as_ref(), end, identity, rule).await?;
    Ok(Parts { source, source_state: state, resnapshot, opening, sink, pipeline })
}

/// A pipeline's history that nobody writes now, and how far it is.
pub async fn at_rest(config: &Config) -> Outcome<(Box<dyn Sink>, Option<Position>)> {
    let mut sink = sink(config).await?;
    let standing = sink.checkpoint().await.map_err(|error| Failure::sink(error, false))?;
    let start = start(standing.checkpoint, config)?;
    Ok((sink, start))
}

/// Where the source goes on.
fn start(checkpoint: Option<Checkpoint>, config: &Config) -> Outcome<Option<Position>> {
    start_of(checkpoint, config, &source_identity(config))
}

/// `identity`: as the checkpoint has to name the source.
fn start_of(checkpoint: Option<Checkpoint>, config: &Config, identity: &str) -> Outcome<Option<Position>> {
    match checkpoint {
        Some(checkpoint) if checkpoint.source != identity => Err(Failure::usage(anyhow!(
            "pipeline {:?} has a checkpoint of another source in {}: it was written for `{}`, and the configuration says `{}`. \
             Restore the configuration, give this pipeline another `name` and `sink.table`, or start with a new {}",
            config.name,
            config.sink.place(),
            checkpoint.source,
            identity,
            match &config.sink.kind {
                SinkKind::Sqlite { path } => path.display().to_string(),
                SinkKind::StarRocks(_) => "table".into(),
            },
        ))),
        checkpoint => Ok(checkpoint.map(|checkpoint| checkpoint.position)),
    }
}

/// The rule that the run begins with.
fn opening(ledger: Ledger, component: Component, configured: Arc<RuleVersion>, config: &Config) -> Outcome<Opening> {
    let Choice { version, previous, turn } = start::choose(&ledger, configured.clone());
    let component = if version.component_digest == configured.component_digest {
        component
    } else {
        let loaded = Component::load(&version.origin, &version.component, limits(&config.rule.limits));
        loaded.map_err(|error| Failure::rule(error, false))?
    };
    if version.digest != configured.digest {
        info!("rule {version}, which was swapped in, stays; the configuration names {configured} as before");
    } else if let (Some(Reason::Configuration), Some(active)) = (turn, &ledger.active) {
        info!("rule {version} goes on from {active}: the configuration has changed");
    }
    let rule = WasmRule::new(component, version.settings.clone()).map_err(|error| Failure::rule(error, false))?;
    let tables = ledger.tables.unwrap_or_default();
    let (rule, configured) = (Box::new(rule), configured.digest.clone());
    Ok(Opening { rule, version, previous, configured, turn, tables, cut_by: None })
}

/// The rule that the configuration names: its component, and what it is in the ledger.
pub fn configured(config: &Config) -> Outcome<(Component, Arc<RuleVersion>)> {
    let RuleConfig { component: place, limits: allowed, .. } = &config.rule;
    let bytes = bytes(place)?;
    let component = Component::load(&place.to_string(), &bytes, limits(allowed));
    let component = component.map_err(|error| Failure::rule(error, false))?;
    let settings = config.rule.settings();
    // Also where another one was swapped in, the configured one has to know its settings.
    WasmRule::new(component.clone(), settings.clone()).map_err(|error| Failure::rule(error, false))?;
    let version = RuleVersion::new(
        component.description.title(),
        component.origin.clone(),
        bytes.into(),
        settings,
        &config.source.time_zone,
    );
    Ok((component, Arc::new(version)))
}

/// Loads a component from a file or from this program.
pub fn component(place: &ComponentPlace, limits: Limits) -> Outcome<Component> {
    Component::load(&place.to_string(), &bytes(place)?, limits).map_err(|error| Failure::rule(error, false))
}

/// A component's bytes, from a file or from this program.
pub fn bytes(place: &ComponentPlace) -> Outcome<Vec<u8>> {
    match place {
        ComponentPlace::Builtin(name) => {
            Component::builtin_bytes(name).map(<[u8]>::to_vec).map_err(|error| Failure::rule(error, false))
        }
        ComponentPlace::File(path) => std::fs::read(path)
            .with_context(|| format!("read the rule's component {}", path.display()))
            .map_err(Failure::usage),
    }
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

async fn sink(config: &Config) -> Outcome<Box<dyn Sink>> {
    Ok(match &config.sink.kind {
        SinkKind::Sqlite { path } => {
            let sink = Sqlite::open(path, &config.sink.table, &config.name);
            Box::new(sink.map_err(|error| Failure::sink(error, false))?)
        }
        SinkKind::StarRocks(starrocks) => {
            Box::new(starrocks::open_whole(config, starrocks, &source_identity(config)).await?)
        }
    })
}

/// When a sink is given batches.
fn reading(config: &Config) -> Reading {
    match &config.sink.kind {
        SinkKind::Sqlite { .. } => Reading::Ahead,
        SinkKind::StarRocks(starrocks) => Reading::Between(starrocks.interval),
    }
}

/// A source, and what is asked of it beside its batches.
pub struct Opened {
    pub source: Box<dyn Source>,
    pub state: watch::Receiver<SourceState>,
    pub resnapshot: Option<mpsc::Sender<Resnapshot>>,
}

/// `rule`: which one decides, and its limits: its entity key says how tables are cut.
pub async fn source(
    config: &Config,
    start: Option<&Position>,
    end: End,
    identity: &str,
    rule: (Arc<RuleVersion>, Limits),
) -> Outcome<Opened> {
    let tables = TableFilter::parse(&config.source.tables).map_err(|error| Failure::usage(anyhow!(error)))?;
    match &config.source.kind {
        SourceKind::BinlogFile { files } => {
            let settings = binlog_file_settings(config, files, &tables);
            let source = BinlogFile::open(settings, start).map_err(|error| Failure::source(error, false))?;
            // Files are always there.
            let (_, state) = watch::channel(SourceState::Connected("files".into()));
            Ok(Opened { source: Box::new(source), state, resnapshot: None })
        }
        SourceKind::Topic { .. } => Err(Failure::usage(anyhow!(
            "with source.kind = \"topic\" somebody else captures the source: `hindsight run` applies what is in the topic"
        ))),
        SourceKind::Mysql(mysql) => {
            let settings = MysqlSettings {
                servers: servers(mysql)?,
                tables,
                zone: config.source.zone.clone(),
                start: mysql.start.clone(),
                snapshot: snapshot_settings(config, &mysql.snapshot, rule),
                heartbeat: mysql.heartbeat,
                reader: MysqlSettings::reader(identity, mysql.server_id),
                pipeline: config.name.clone(),
                end,
                batch_changes_max: config.rule.limits.batch_changes,
                batch_bytes_max: BATCH_BYTES_MAX,
            };
            let source = Mysql::open(settings, start).await.map_err(|error| Failure::source(error, false))?;
            let (state, resnapshot) = (source.state(), Some(source.resnapshot()));
            Ok(Opened { source: Box::new(source), state, resnapshot })
        }
    }
}

/// The lock of the source, where it has one. `identity`: as the source is opened with.
async fn claim(config: &Config, identity: &str) -> Outcome<Option<Claim>> {
    let SourceKind::Mysql(mysql) = &config.source.kind else { return Ok(None) };
    let reader = MysqlSettings::reader(identity, mysql.server_id);
    let claim = Claim::take(&servers(mysql)?, &reader, &config.name).await;
    claim.map(Some).map_err(|error| Failure::source(error, false))
}

/// The same by the rule that the configuration names.
pub fn configured_snapshot(config: &Config, snapshot: &SnapshotConfig) -> Outcome<SnapshotSettings> {
    let (_, version) = configured(config)?;
    Ok(snapshot_settings(config, snapshot, (version, limits(&config.rule.limits))))
}

/// How rows are read that are there already: by the entity key of the rule that will decide them.
pub fn snapshot_settings(
    config: &Config,
    snapshot: &SnapshotConfig,
    (version, limits): (Arc<RuleVersion>, Limits),
) -> SnapshotSettings {
    SnapshotSettings {
        initial: snapshot.initial,
        on_lost_position: snapshot.on_lost_position,
        consistent: snapshot.consistent,
        readers: snapshot.readers,
        chunk_rows: snapshot.chunk_rows.unwrap_or(config.rule.limits.batch_changes),
        rows_per_second: snapshot.rows_per_second,
        entity_key: entity_key(version, limits),
    }
}

/// By which columns a rule tells each table's entities.
fn entity_key(version: Arc<RuleVersion>, limits: Limits) -> EntityKey {
    Arc::new(move |tables: &[Arc<TableSchema>]| {
        let component = Component::load(&version.origin, &version.component, limits.clone());
        let rule = component.and_then(|component| WasmRule::new(component, version.settings.clone()));
        let plan = rule.and_then(|mut rule| rule.configure(tables)).map_err(|error| error.to_string())?;
        Ok(plan.tables.iter().map(|table| table.entity_key.clone()).collect())
    })
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
    let place = match &config.sink.kind {
        SinkKind::Sqlite { path } => std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string(),
        SinkKind::StarRocks(_) => config.sink.place(),
    };
    format!("{} {} {place} {}", config.name, host.trim(), config.sink.table)
}

/// Three batches are in memory at the most: one in hand, one read ahead, one being read.
const BATCH_BYTES_MAX: usize = 16 << 20;

/// What a checkpoint is tied to: another text is another source.
pub fn source_identity(config: &Config) -> String {
    let kind = match config.source.kind {
        SourceKind::BinlogFile { .. } => "binlog-file",
        SourceKind::Mysql(_) => "mysql",
        SourceKind::Topic { .. } => "topic",
    };
    format!("{kind} {}", config.source.tables.join(" "))
}
