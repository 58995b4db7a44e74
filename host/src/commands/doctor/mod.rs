//! `hindsight doctor`: looks at everything outside the process that a pipeline needs, and says what mends each fault.
//!
//! Nothing is changed, but for a file that is made in the history's folder and removed at once, to see that it can be.

mod report;
mod starrocks;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::anyhow;

use crate::assemble;
use crate::commands::explain;
use crate::config::{Config, SinkKind, SnapshotConfig, SourceKind};
use crate::control::{Client, Unanswered};
use crate::event::Position;
use crate::failure::{Failure, Outcome};
use crate::history::Standing;
use crate::ledger::Ledger;
use crate::output;
use crate::sink::Snapshot;
use crate::source::mysql::{Explained, Server, preflight};
use crate::source::{BinlogFile, TableFilter};
use crate::start::{self, Choice};
use crate::topic;
use report::{Area, Line, Mark};

/// How long whoever holds the control port may take to answer.
const CONTROL_MAX: Duration = Duration::from_secs(2);

/// # Errors
/// Exit code 2: the configuration. Exit code 3: something is red.
pub async fn doctor(path: &Path, json: bool) -> Outcome<()> {
    let config = Config::load(path)?;
    let (sink, Standing { checkpoint, ledger, .. }) = match &config.sink.kind {
        SinkKind::Sqlite { path } => sink(&config, path),
        SinkKind::StarRocks(starrocks) => (starrocks::look(&config, starrocks).await, Standing::default()),
    };
    let mut areas = source(&config, checkpoint.map(|checkpoint| checkpoint.position)).await?;
    if let Some(topic) = &config.topic {
        let is_foreign = matches!(config.source.kind, SourceKind::Topic { .. });
        let findings = topic::survey(&assemble::topic_settings(&config, topic), is_foreign).await;
        let lines = findings.into_iter().map(Line::from).collect();
        areas.push(Area { name: format!("topic {}", topic.name), lines });
    }
    areas.push(rule(&config, &ledger));
    areas.push(sink);
    if let Some(listen) = config.control {
        areas.push(control(&config, listen).await);
    }
    if json {
        output::print_json(&report::json(&areas))?;
    } else {
        output::print(&report::text(&areas))?;
    }
    match report::count(&areas, Mark::Red) {
        0 => Ok(()),
        1 => Err(Failure::outside(anyhow!("1 check is red"))),
        n => Err(Failure::outside(anyhow!("{n} checks are red"))),
    }
}

async fn source(config: &Config, position: Option<Position>) -> Outcome<Vec<Area>> {
    let tables = TableFilter::parse(&config.source.tables).map_err(|error| Failure::usage(anyhow!(error)))?;
    match &config.source.kind {
        SourceKind::BinlogFile { files } => Ok(vec![recorded(config, files, &tables, position)]),
        // It is looked at as a topic.
        SourceKind::Topic { .. } => Ok(Vec::new()),
        SourceKind::Mysql(mysql) => {
            let mut areas = Vec::new();
            let reads_rows = mysql.snapshot.initial && position.is_none();
            for server in assemble::servers(mysql)? {
                let checks = preflight::survey(&server, &tables, position.as_ref(), reads_rows).await;
                let mut lines: Vec<Line> = checks.into_iter().map(Line::from).collect();
                let is_fit = lines.iter().all(|line| line.mark != Mark::Red);
                if is_fit && (reads_rows || mysql.snapshot.on_lost_position) {
                    lines.extend(snapshot(config, &server, &tables, &mysql.snapshot).await);
                }
                areas.push(Area { name: format!("source {}", server.name), lines });
            }
            Ok(areas)
        }
    }
}

/// How each table's rows would be read.
async fn snapshot(config: &Config, server: &Server, tables: &TableFilter, how: &SnapshotConfig) -> Vec<Line> {
    // A rule that does not load is red elsewhere.
    let Ok(settings) = assemble::configured_snapshot(config, how) else { return Vec::new() };
    let explained = match explain::ask(server, tables, &settings).await {
        Ok(explained) => explained,
        Err(error) => return vec![Line::red("snapshot", "cannot be read", error.to_string())],
    };
    let line = |table: Explained| {
        let found = format!("{}: {}", table.table, explain::how(&table, &settings));
        let why = "the log is kept from its beginning to its end, and an interruption begins it anew";
        match table.remedy {
            Some(remedy) => Line::yellow("snapshot", found, why.to_owned()).with_statement(remedy),
            None => Line::green("snapshot", found),
        }
    };
    explained.into_iter().map(line).collect()
}

fn recorded(config: &Config, files: &[PathBuf], tables: &TableFilter, position: Option<Position>) -> Area {
    let open = |files: &[PathBuf], position: Option<&Position>| {
        BinlogFile::open(assemble::binlog_file_settings(config, files, tables), position)
    };
    let mut lines: Vec<Line> = files
        .iter()
        .map(|file| {
            let name = file.display().to_string();
            match open(std::slice::from_ref(file), None) {
                Ok(_) => Line::green("file", name),
                Err(error) => Line::red("file", name, error.to_string()),
            }
        })
        .collect();
    if let Some(position) = position
        && lines.iter().all(|line| line.mark == Mark::Green)
    {
        lines.push(match open(files, Some(&position)) {
            Ok(_) => Line::green("checkpoint", "in these files"),
            Err(error) => Line::red("checkpoint", "not in these files", error.to_string()),
        });
    }
    Area { name: "source: recorded binlog files".into(), lines }
}

fn rule(config: &Config, ledger: &Ledger) -> Area {
    let place = config.rule.component.to_string();
    let mut lines = Vec::new();
    match assemble::configured(config) {
        Ok((component, configured)) => {
            let found = format!("{place} ({}, sha256:{})", configured.name, &component.digest[..12]);
            lines.push(Line::green("component", found));
            let Choice { version, .. } = start::choose(ledger, configured.clone());
            if version.digest != configured.digest {
                let found = format!(
                    "{version} from {}, swapped in; it stays as long as rule.component says the same",
                    version.origin
                );
                lines.push(Line::green("active", found));
            }
        }
        Err(failure) => lines.push(Line::red("component", place, failure.to_string())),
    }
    Area { name: "rule".into(), lines }
}

/// The history's file, and how far it is where that is of this source.
fn sink(config: &Config, path: &Path) -> (Area, Standing) {
    let shown = path.display().to_string();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut lines = vec![match writable(folder) {
        Ok(()) => Line::green("folder", folder.display().to_string()),
        Err(error) => Line::red("folder", folder.display().to_string(), format!("no file can be made in it: {error}"))
            .with("Make the folder, or let this user write into it"),
    }];
    let mut standing = Standing::default();
    lines.push(match Snapshot::open(path, &config.sink.table, &config.name) {
        Ok(None) => Line::green("file", format!("{shown} (the first run makes it)")),
        Ok(Some(history)) => {
            standing.clone_from(&history.standing);
            let what = match history.is_ours {
                true => "a history of hindsight",
                false => "an SQLite file without a history so far",
            };
            match OpenOptions::new().append(true).open(path) {
                Ok(_) => Line::green("file", format!("{shown}, {what}")),
                Err(error) => {
                    Line::red("file", shown, format!("it cannot be written: {error}")).with("Let this user write it")
                }
            }
        }
        Err(error) => {
            Line::red("file", shown, error.to_string()).with("Name another sink.path, or move this file away")
        }
    });
    let identity = assemble::source_identity(config);
    if let Some(known) = &standing.checkpoint
        && known.source != identity
    {
        let why = format!("the configuration says `{identity}`: its checkpoint cannot be used");
        let line = Line::red("checkpoint", format!("of `{}`", known.source), why);
        lines.push(line.with(
            "Restore the configuration, give this pipeline another `name` and `sink.table`, or start with a new file",
        ));
        standing.checkpoint = None;
    }
    (Area { name: "sink".into(), lines }, standing)
}

fn writable(folder: &Path) -> std::io::Result<()> {
    let probe = folder.join(format!(".hindsight-doctor-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&probe)?;
    std::fs::remove_file(&probe)
}

async fn control(config: &Config, listen: SocketAddr) -> Area {
    let line = match TcpListener::bind(listen) {
        Ok(_) if listen.port() == 0 => Line::green("listen", format!("{listen}: any port that is free")),
        Ok(_) => Line::green("listen", format!("{listen} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => held(config, listen).await,
        Err(error) => Line::red("listen", listen.to_string(), format!("nothing can listen there: {error}"))
            .with("Write an address of this machine: listen = \"127.0.0.1:8787\""),
    };
    Area { name: "control".into(), lines: vec![line] }
}

/// Who has the port: this pipeline, another one, or another program.
async fn held(config: &Config, listen: SocketAddr) -> Line {
    let client = Client { address: listen, pipeline: config.name.clone() };
    let taken = |why: String| {
        Line::red("listen", format!("{listen} is taken"), why)
            .with("End that program, or write another [control] listen")
    };
    match tokio::time::timeout(CONTROL_MAX, client.status()).await {
        Ok(Ok(status)) => Line::green("listen", format!("{listen} answers: this pipeline is {}", status.state)),
        Ok(Err(Unanswered::Another(why))) => taken(why),
        Ok(Err(_)) | Err(_) => taken("another program listens there".into()),
    }
}
