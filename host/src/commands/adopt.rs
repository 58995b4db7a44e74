//! `hindsight adopt`: a history that another program has written so far goes on here, with its rows as they are.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::rewind;
use crate::assemble;
use crate::cli;
use crate::config::{Config, SourceKind, StarRocksConfig, TopicConfig};
use crate::event::Position;
use crate::failure::{Failure, Outcome};
use crate::history::{Checkpoint, HistorySchema, Load};
use crate::output::{self, grouped};
use crate::sink::Sink;
use crate::sink::starrocks::cluster::Cluster;
use crate::sink::starrocks::{ddl, letters, sql};
use crate::source::mysql;
use crate::topic::{self, Target, To};

/// # Errors
/// Exit code 2: the table is not the one that the rule writes, or the place is none; 3: something outside is not there; 1: the
/// table's rows do not go together.
pub async fn adopt(args: &cli::Adopt) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let starrocks = assemble::starrocks::configured(&config)?;
    let plan = assemble::configured_plan(&config).await?;
    let mut cluster = Cluster::new(assemble::starrocks::door(starrocks));
    let found = look(&config, starrocks, &plan.history, &mut cluster).await?;
    let places = match &config.topic {
        Some(topic) => Places::Lanes(lanes(&config, topic, args).await?),
        None => Places::Whole(whole(args)?),
    };
    if found.doubled > 0 {
        return Err(Failure::run(anyhow!(
            "{} source keys have two current rows in {}: mend the table first, as every later change would close one of them",
            grouped(found.doubled),
            config.sink.table
        )));
    }
    if args.accept {
        take_over(&config, starrocks, &places).await?;
    }
    show(&config, args, &found, &places)?;
    match args.accept || args.dry_run {
        true => Ok(()),
        false => Err(Failure::usage(anyhow!(
            "nothing was taken over: end the program that writes the table, and add --accept; or --dry-run to only look"
        ))),
    }
}

/// What the table holds.
struct Found {
    rows: u64,
    current: u64,
    /// Source keys with several current rows.
    doubled: u64,
    /// Columns that a text may be too long for.
    narrow: Vec<String>,
}

/// Where it goes on.
enum Places {
    Lanes(Vec<Target>),
    Whole(Position),
}

/// The table as it is: whether it is the rule's, and what it holds.
async fn look(
    config: &Config,
    starrocks: &StarRocksConfig,
    history: &HistorySchema,
    cluster: &mut Cluster,
) -> Outcome<Found> {
    let outside = |error| Failure::sink(error, false);
    let table = &config.sink.table;
    let (columns, key) = cluster.table(table).await.map_err(outside)?.ok_or_else(|| {
        Failure::outside(anyhow!(
            "there is no table {table} in {}: what is taken over has to be there",
            config.sink.place()
        ))
    })?;
    let columns = ddl::compare(history, &columns, &key, starrocks.sequence.as_deref()).map_err(|differences| {
        Failure::usage(anyhow!(
            "the table {table} is not the one that the rule writes:\n  {}\nChange the table (ALTER TABLE), or the rule's settings",
            differences.join("\n  ")
        ))
    })?;
    cluster.once(&sql::any_row(letters::TABLE, None)).await.map_err(|error| {
        Failure::outside(anyhow!("{error}: make {} with what `hindsight ddl` prints", letters::TABLE))
    })?;
    let mut count = async |question: String| -> Outcome<u64> {
        let rows = cluster.once(&question).await.map_err(outside)?;
        let told = rows.first().map(|row| sql::told(row, "n")).unwrap_or_default();
        told.parse().map_err(|_| Failure::outside(anyhow!("{question} is answered by {told:?}")))
    };
    let (name, current) = (ddl::quote(table), current(history));
    let source_key: Vec<String> =
        history.source_key().iter().map(|&column| ddl::quote(&history.columns[column].field.name)).collect();
    let doubled = format!(
        "SELECT COUNT(*) AS n FROM (SELECT 1 FROM {name} WHERE {current} GROUP BY {} HAVING COUNT(*) > 1) AS doubled",
        source_key.join(", ")
    );
    Ok(Found {
        rows: count(format!("SELECT COUNT(*) AS n FROM {name}")).await?,
        current: count(format!("SELECT COUNT(*) AS n FROM {name} WHERE {current}")).await?,
        doubled: count(doubled).await?,
        narrow: ddl::narrow(history, &columns),
    })
}

fn current(history: &HistorySchema) -> String {
    let name = |column: usize| ddl::quote(&history.columns[column].field.name);
    match history.roles.current {
        Some(current) => format!("{} = true", name(current)),
        None => format!("{} IS NULL", name(history.roles.end)),
    }
}

/// Every partition has to be named: one that is left out would go on nowhere.
async fn lanes(config: &Config, topic: &TopicConfig, args: &cli::Adopt) -> Outcome<Vec<Target>> {
    let settings = assemble::topic_settings(config, topic);
    let is_foreign = matches!(config.source.kind, SourceKind::Topic { .. });
    let outside = |error| Failure::topic(error, false);
    let to = match (&args.to, &args.group, &args.debezium) {
        (Some(to), None, None) => rewind::to(to, config).map_err(|text| Failure::usage(anyhow!(text)))?,
        (None, Some(group), None) => {
            let partitions = topic::partitions(&settings, is_foreign).await.map_err(outside)?;
            let kept = topic::group_offsets(&settings, group, partitions).map_err(outside)?;
            To::Offsets(kept)
        }
        (None, None, Some(_)) => {
            return Err(Failure::usage(anyhow!(
                "--debezium says where a capture goes on, and with [topic] that is another thing than where the table does: name the \
                 messages that are in the table, --to PARTITION=OFFSET,… or --group"
            )));
        }
        _ => {
            return Err(Failure::usage(anyhow!(
                "say where the table goes on: --to, or --group with the old program's group"
            )));
        }
    };
    for (partition, lane) in assemble::lanes_at_rest(config, topic).await? {
        if let Some(position) = lane.position {
            return Err(Failure::usage(anyhow!(
                "partition {partition} goes on at {} already: what is applied here is moved by `hindsight rewind`",
                position.0
            )));
        }
    }
    let targets = topic::targets(&settings, &to, is_foreign, &BTreeMap::new()).await.map_err(outside)?;
    let partitions = topic::partitions(&settings, is_foreign).await.map_err(outside)?;
    let left_out = (0..partitions).find(|partition| targets.iter().all(|target| target.partition != *partition));
    match left_out {
        Some(partition) => Err(Failure::usage(anyhow!(
            "partition {partition} is left out: where the table goes on has to be said of each"
        ))),
        None => Ok(targets),
    }
}

fn whole(args: &cli::Adopt) -> Outcome<Position> {
    let usage = |text: String| Failure::usage(anyhow!(text));
    let text = match (&args.to, &args.debezium) {
        (Some(to), None) if args.group.is_none() => to.clone(),
        (None, Some(file)) if args.group.is_none() => of_debezium(file)?,
        _ => {
            return Err(usage(
                "say where the table goes on: --to with the GTID set that is in it (SELECT @@gtid_executed), or --debezium with the \
                 offset that Debezium has stored"
                    .into(),
            ));
        }
    };
    let set: mysql::GtidSet = text.parse().map_err(|why| usage(format!("--to {text:?} is no GTID set: {why}")))?;
    Ok(mysql::behind(set))
}

/// The GTID set of an offset as Debezium stores it: `{"file":"binlog.000003","pos":154,"gtids":"3e11…:1-5",…}`.
fn of_debezium(file: &Path) -> Outcome<String> {
    let wrong = |why: String| Failure::usage(anyhow!("{}: {why}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let offset: Value = serde_json::from_str(&text).map_err(|error| wrong(format!("it is no JSON: {error}")))?;
    // As it lies in the offsets' topic or file, or as an engine wraps it.
    let offset =
        [&offset, &offset["sourceOffset"], &offset["offset"]].into_iter().find(|offset| offset["file"].is_string());
    let offset =
        offset.ok_or_else(|| wrong("it is no offset of Debezium's MySQL connector: it has no `file`".into()))?;
    match offset["gtids"].as_str() {
        Some(gtids) => Ok(gtids.to_owned()),
        None => Err(wrong(
            "the offset has no `gtids`: the server wrote no GTIDs then. Let the old program go on until it has stored one".into(),
        )),
    }
}

async fn take_over(config: &Config, starrocks: &StarRocksConfig, places: &Places) -> Outcome<()> {
    let failed = |error| Failure::sink(error, true);
    match (places, &config.topic) {
        (Places::Lanes(targets), Some(topic)) => {
            for target in targets {
                let mut lane = assemble::lane_at_rest(config, topic, target.partition).await?;
                let checkpoint = Checkpoint { source: lane.identity.clone(), position: target.position.clone() };
                lane.sink.commit(&Load::empty(checkpoint)).await.map_err(failed)?;
                lane.sink.idle().await.map_err(failed)?;
            }
        }
        (Places::Whole(position), _) => {
            let source = assemble::source_identity(config);
            let mut sink = assemble::starrocks::open_whole(config, starrocks, &source).await?.moved_by_hand();
            let standing = sink.checkpoint().await.map_err(|error| Failure::sink(error, false))?;
            if let Some(checkpoint) = standing.checkpoint {
                return Err(Failure::usage(anyhow!(
                    "pipeline {} goes on at {} already",
                    config.name,
                    checkpoint.position.0
                )));
            }
            sink.commit(&Load::empty(Checkpoint { source, position: position.clone() })).await.map_err(failed)?;
            sink.idle().await.map_err(failed)?;
        }
        (Places::Lanes(_), None) => unreachable!("lanes are a topic's"),
    }
    Ok(())
}

fn show(config: &Config, args: &cli::Adopt, found: &Found, places: &Places) -> Outcome<()> {
    let Found { rows, current, narrow, .. } = found;
    let goes_on: Vec<(Option<u32>, String)> = match places {
        Places::Lanes(targets) => {
            targets.iter().map(|target| (Some(target.partition), format!("offset {}", target.offset))).collect()
        }
        Places::Whole(position) => vec![(None, position.0.clone())],
    };
    if args.json.json {
        let goes_on: Vec<Value> =
            goes_on.iter().map(|(partition, at)| json!({ "partition": partition, "at": at })).collect();
        return output::print_json(&json!({
            "table": config.sink.table, "rows": rows, "current": current, "narrow": narrow, "goes_on": goes_on, "taken_over": args.accept,
        }));
    }
    let mut text = format!(
        "{}: {} rows, {} of them current, in the columns that the rule writes\n",
        config.sink.table,
        grouped(*rows),
        grouped(*current)
    );
    for narrow in narrow {
        text += &format!("  {narrow}: a text that does not fit is set aside\n");
    }
    for (partition, at) in goes_on {
        let of = partition.map(|partition| format!("partition {partition} ")).unwrap_or_default();
        text += &format!("{of}goes on at {at}\n");
    }
    output::print(&text)
}
