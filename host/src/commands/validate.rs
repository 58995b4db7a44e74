//! `hindsight validate`: checks a configuration and says what is configured, with every default.
//!
//! Files that the pipeline will read are only looked for: that one is missing is said and is no fault of the
//! configuration. Values that stand for `${…}` are shown as they were typed.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::assemble;
use crate::config::{Config, Instance, MysqlConfig, SinkConfig, SinkKind, SnapshotConfig, SourceKind, TopicConfig};
use crate::document::{Faults, Text};
use crate::failure::Outcome;
use crate::output;
use crate::pipeline::AMONG_CHANGES;
use crate::rule::{Component, Description};
use crate::sink::starrocks::http::Address;

/// # Errors
/// Exit code 2: faults of the configuration, which `--json` also answers with, or a component that does not load.
pub fn validate(path: &Path, as_json: bool) -> Outcome<()> {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(failure) => {
            if as_json {
                let faults = match failure.error.downcast_ref::<Faults>() {
                    Some(faults) => faults.to_json(),
                    None => json!([{ "file": path.display().to_string(), "message": failure.to_string() }]),
                };
                output::print_json(&json!({ "valid": false, "faults": faults }))?;
            }
            return Err(failure);
        }
    };
    let (component, _) = assemble::configured(&config)?;
    if as_json {
        output::print_json(&json_of(&config, &component))
    } else {
        output::print(&text_of(&config, &component))
    }
}

fn text_of(config: &Config, component: &Component) -> String {
    let mut out = format!("{} is valid\n\n", config.file.display());
    let mut line = |name: &str, value: String| out += &format!("{name:<10}{value}\n");
    line("name", config.name.clone());
    match &config.source.kind {
        SourceKind::BinlogFile { files } => {
            line("source", "recorded binlog files, in this order".into());
            for file in files {
                line("", format!("  {}{}", file.display(), if file.is_file() { "" } else { "   (not there yet)" }));
            }
        }
        SourceKind::Topic { server } => {
            line("source", "the topic, which somebody else writes".into());
            if let Some(mysql) = server {
                line(
                    "columns",
                    format!("as {} has them", mysql.urls.iter().map(without_secrets).collect::<Vec<_>>().join(", ")),
                );
            }
        }
        SourceKind::Mysql(mysql) => {
            line("source", "a live MySQL server, the first of these that can be read".into());
            for url in &mysql.urls {
                line("", format!("  {}", without_secrets(url)));
            }
            line("begins", begins(mysql));
            line("tls", mysql.tls.name().into());
            line("heartbeat", format!("{:?}", mysql.heartbeat));
        }
    }
    line("tables", config.source.tables.join(", "));
    line("time zone", config.source.time_zone.clone());
    if let Some(TopicConfig { brokers, name, partitions, compression, librdkafka, .. }) = &config.topic {
        line("topic", format!("{name} at {}", brokers.join(", ")));
        line("", format!("  {partitions} partitions where it is made, {compression}"));
        if !librdkafka.is_empty() {
            // Their values may be passwords.
            let names: Vec<&str> = librdkafka.iter().map(|(name, _)| name.as_str()).collect();
            line("", format!("  librdkafka: {}", names.join(", ")));
        }
    }
    let Description { name, version, .. } = &component.description;
    line("rule", format!("{} ({name} {version}, sha256:{})", config.rule.component, &component.digest[..12]));
    for (name, value) in &config.rule.settings {
        line("", format!("  {name} = {value:?}"));
    }
    line("limits", config.rule.limits.to_string());
    line("rejects", config.rule.on_reject.name().into());
    match &config.sink.kind {
        SinkKind::Sqlite { path } => {
            line("sink", format!("SQLite file {}, table {}", path.display(), config.sink.table));
            let folder = folder(path);
            if !folder.is_dir() {
                line("", format!("  the folder {} is not there yet", folder.display()));
            }
        }
        SinkKind::StarRocks(starrocks) => {
            line("sink", format!("StarRocks table {}.{}", starrocks.database, config.sink.table));
            line("", format!("  loads as {} through {}", starrocks.user, list(&starrocks.frontends)));
            line("", format!("  reads at {}", list(&starrocks.mysql)));
            let sequence = starrocks.sequence.as_ref().map_or(String::new(), |name| format!(", sequence in {name}"));
            line("", format!("  a load every {:?} at the most{sequence}", starrocks.interval));
        }
    }
    if let Some(address) = config.control {
        line("control", address.to_string());
    }
    out
}

/// Where a pipeline without a checkpoint begins.
fn begins(mysql: &MysqlConfig) -> String {
    let SnapshotConfig { initial, consistent, readers, rows_per_second, .. } = mysql.snapshot;
    if !initial {
        return format!("{} (without a checkpoint; no snapshot)", mysql.start);
    }
    let how = match consistent {
        true => "each table in one read view".to_owned(),
        false => format!("in chunks by {readers} readers"),
    };
    let pace = rows_per_second.map(|rows| format!(", at most {} a second", output::grouped(rows))).unwrap_or_default();
    format!("with the rows that are there, read {how}{pace} (without a checkpoint)")
}

fn json_of(config: &Config, component: &Component) -> serde_json::Value {
    let limits = &config.rule.limits;
    let file = |path: &PathBuf| json!({ "path": path.display().to_string(), "found": path.is_file() });
    let mut source = match &config.source.kind {
        SourceKind::BinlogFile { files } => {
            json!({ "kind": "binlog-file", "files": files.iter().map(file).collect::<Vec<_>>() })
        }
        SourceKind::Topic { server } => json!({
            "kind": "topic",
            "url": server.as_ref().map(|mysql| mysql.urls.iter().map(without_secrets).collect::<Vec<_>>()),
        }),
        SourceKind::Mysql(mysql) => json!({
            "kind": "mysql",
            "url": mysql.urls.iter().map(without_secrets).collect::<Vec<_>>(),
            "start": mysql.start.to_string(),
            "snapshot": mysql.snapshot.name(),
            "heartbeat_ms": mysql.heartbeat.as_millis() as u64,
            "tls": mysql.tls.name(),
            "tls-ca": mysql.tls_ca.as_ref().map(|path| path.display().to_string()),
            "server-id": mysql.server_id,
        }),
    };
    source["tables"] = json!(config.source.tables);
    source["time-zone"] = json!(config.source.time_zone);
    let topic = config.topic.as_ref().map(|topic| {
        json!({
            "brokers": topic.brokers,
            "name": topic.name,
            "partitions": topic.partitions,
            "replication": topic.replication,
            "compression": topic.compression,
            "librdkafka": topic.librdkafka.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        })
    });
    let settings = config.rule.settings.iter().map(|(name, text)| (name.clone(), json!(text.as_typed())));
    json!({
        "valid": true,
        "file": config.file.display().to_string(),
        "name": config.name,
        "source": source,
        "topic": topic,
        "rule": {
            "component": config.rule.component.to_string(),
            "digest": component.digest,
            "settings": settings.collect::<serde_json::Map<_, _>>(),
            "limits": {
                "memory_bytes": limits.memory_bytes,
                "deadline_ms": limits.deadline.as_millis() as u64,
                "batch_changes": limits.batch_changes,
                "instance": match limits.instance { Instance::Kept => "kept", Instance::Fresh => "fresh" },
                "output_rows": limits.output_rows,
                "output_bytes": limits.output_bytes,
                "rejects": limits.rejects as f64 / AMONG_CHANGES as f64,
            },
            "on-reject": config.rule.on_reject.name(),
        },
        "sink": sink_json(&config.sink),
        "control": config.control.map(|address| address.to_string()),
    })
}

fn sink_json(sink: &SinkConfig) -> serde_json::Value {
    match &sink.kind {
        SinkKind::Sqlite { path } => {
            json!({ "kind": "sqlite", "path": path.display().to_string(), "table": sink.table })
        }
        SinkKind::StarRocks(starrocks) => json!({
            "kind": "starrocks",
            "fe": starrocks.frontends.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "mysql": starrocks.mysql.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "database": starrocks.database,
            "table": sink.table,
            "user": starrocks.user,
            "redirect-host": starrocks.redirect_host,
            "sequence-column": starrocks.sequence,
            "load-timeout_ms": starrocks.load_max.as_millis() as u64,
            "interval_ms": starrocks.interval.as_millis() as u64,
        }),
    }
}

fn list(addresses: &[Address]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// As it was typed, without a password that was typed into it.
fn without_secrets(url: &Text) -> String {
    let typed = url.as_typed();
    match (url.typed.is_some(), typed.split_once("://").zip(typed.rsplit_once('@'))) {
        (false, Some(((scheme, _), (account, host)))) => {
            let user =
                account.trim_start_matches(scheme).trim_start_matches("://").split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{host}")
        }
        _ => typed.to_owned(),
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
