//! Reads `[source]`: recorded binlog files, or a live server.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::sections::not_empty;
use super::{MysqlConfig, SnapshotConfig, SourceConfig, SourceKind, defaults, units};
use crate::civil::Zone;
use crate::document::{Fault, Keys, NodeValue, OneText, Text};
use crate::source::{Start, Tls};

/// What a `url` looks like.
const URL: &str = "the server's address: url = \"mysql://user:${env:MYSQL_PASSWORD}@127.0.0.1:3306\"";

pub fn read(mut keys: Keys<'_, '_>, folder: &Path) -> Option<SourceConfig> {
    let kind = keys.word("kind", &["binlog-file", "mysql", "topic"]);
    if let Some(("topic", _)) = kind {
        return of_topic(keys, folder);
    }
    let (live, kind_ok) = match (kind, keys.has("kind")) {
        (Some((word, _)), _) => (word == "mysql", true),
        (None, false) if keys.has("files") && !keys.has("url") => {
            let fault = Fault::new(keys.heading(), "`kind` is missing in [source]");
            keys.faults.push(fault.help("`files` goes with kind = \"binlog-file\""));
            (false, false)
        }
        (None, false) => (defaults::SOURCE_KIND == "mysql", true),
        (None, true) => (keys.has("url"), false),
    };
    let zone = time_zone(&mut keys);
    let tables = tables(&mut keys);
    let kind = if live {
        mysql(&mut keys, folder).map(SourceKind::Mysql)
    } else {
        binlog_files(&mut keys, folder).map(|files| SourceKind::BinlogFile { files })
    };
    keys.end();
    let (time_zone, zone) = zone?;
    let config = SourceConfig { kind: kind?, tables: tables?, zone, time_zone };
    kind_ok.then_some(config)
}

/// Others write the topic: what is said of the source is where its tables are described.
fn of_topic(mut keys: Keys<'_, '_>, folder: &Path) -> Option<SourceConfig> {
    for key in [
        "files",
        "snapshot",
        "start",
        "heartbeat",
        "server-id",
        "on-lost-position",
        "snapshot-mode",
        "snapshot-readers",
        "snapshot-chunk-rows",
        "snapshot-rows-per-second",
    ] {
        if let Some(node) = keys.get(key) {
            let message = format!("`{key}` does not go with kind = \"topic\"");
            let fault = Fault::new(node.span.clone(), message).label("somebody else captures the source");
            keys.faults.push(fault.help(format!("remove `{key}`")));
        }
    }
    let zone = time_zone(&mut keys);
    let tables = tables(&mut keys);
    let server = if keys.has("url") { Some(mysql(&mut keys, folder)?) } else { None };
    keys.end();
    let (time_zone, zone) = zone?;
    Some(SourceConfig { kind: SourceKind::Topic { server }, tables: tables?, zone, time_zone })
}

fn binlog_files(keys: &mut Keys<'_, '_>, folder: &Path) -> Option<Vec<PathBuf>> {
    let server = "recorded files are read without a server";
    for (key, why) in [
        ("url", server),
        ("snapshot", "a file holds changes only: there is no server to read a first state from"),
        (
            "start",
            "reading starts at the first file's beginning, later at the checkpoint; leave out files you do not want",
        ),
        ("heartbeat", server),
        ("tls", server),
        ("tls-ca", server),
        ("server-id", server),
        ("on-lost-position", server),
        ("snapshot-mode", server),
        ("snapshot-readers", server),
        ("snapshot-chunk-rows", server),
        ("snapshot-rows-per-second", server),
    ] {
        if let Some(node) = keys.get(key) {
            let message = format!("`{key}` does not go with kind = \"binlog-file\"");
            keys.faults.push(Fault::new(node.span.clone(), message).label(why).help(format!("remove `{key}`")));
        }
    }
    keys.require("files", "name the binlog files in order: files = [\"binlog.000001\", \"binlog.000002\"]")?;
    let texts = keys.texts("files", OneText::IsRefused)?;
    if texts.is_empty() {
        not_empty(keys, "files");
    }
    Some(texts.into_iter().map(|(text, _)| folder.join(&text.value)).collect())
}

fn mysql(keys: &mut Keys<'_, '_>, folder: &Path) -> Option<MysqlConfig> {
    if let Some(node) = keys.get("files") {
        let fault = Fault::new(node.span.clone(), "`files` does not go with kind = \"mysql\"")
            .label("for recorded files only")
            .help("write kind = \"binlog-file\", or remove `files`");
        keys.faults.push(fault);
    }
    let urls = urls(keys);
    let snapshot = snapshot(keys);
    let start = match keys.text("start") {
        None => Some(Start::Earliest),
        Some((text, node)) => match text.value.parse() {
            Ok(start) => Some(start),
            Err(help) => {
                let message = format!("`start` of [source] cannot be {text:?}");
                keys.faults.push(Fault::new(node.span.clone(), message).help(help));
                None
            }
        },
    };
    let heartbeat = heartbeat(keys);
    let (tls, tls_ca) = tls(keys, folder);
    let server_id = server_id(keys);
    Some(MysqlConfig {
        urls: urls?,
        start: start?,
        snapshot: snapshot?,
        heartbeat: heartbeat?,
        tls: tls?,
        tls_ca,
        server_id,
    })
}

fn urls(keys: &mut Keys<'_, '_>) -> Option<Vec<Text>> {
    keys.require("url", URL)?;
    let texts = keys.texts("url", OneText::IsList)?;
    if texts.is_empty() {
        not_empty(keys, "url");
        return None;
    }
    let mut fine = true;
    for (text, node) in &texts {
        let mut wrong = |label: &str, help: &str| {
            let fault = Fault::new(node.span.clone(), "`url` of [source] is not a MySQL address");
            keys.faults.push(fault.label(label).help(help));
            fine = false;
        };
        let host = text.value.strip_prefix("mysql://").map(|rest| rest.rsplit('@').next().unwrap_or(rest));
        match host {
            None => wrong("it begins with mysql://", URL),
            Some(host) if host.is_empty() || host.starts_with(['/', ':']) => wrong("no host", URL),
            Some(host) if host.contains('?') => {
                wrong(
                    "parameters",
                    "settings stand in [source] itself: tls = \"required\", tls-ca = \"ca.pem\", heartbeat = \"5s\"",
                );
            }
            Some(host) if host.contains('/') => {
                wrong("a path", "tables are named with their database in `tables`; remove what follows the port");
            }
            Some(_) => {}
        }
    }
    fine.then(|| texts.into_iter().map(|(text, _)| text.clone()).collect())
}

fn snapshot(keys: &mut Keys<'_, '_>) -> Option<SnapshotConfig> {
    let when = word(keys, "snapshot", &["initial", "never", "when-needed"])?;
    let lost = word(keys, "on-lost-position", &["fail", "resnapshot"])?;
    let mode = word(keys, "snapshot-mode", &["chunks", "consistent"])?;
    let readers = number(keys, "snapshot-readers", 1..=32, "so many connections read the tables at once")?;
    let chunk_rows = number(keys, "snapshot-chunk-rows", 1..=1_000_000, "rows that are read and committed at once")?;
    let per_second = number(keys, "snapshot-rows-per-second", 1..=1_000_000_000, "leave it out for no limit")?;
    Some(SnapshotConfig {
        initial: when != "never",
        on_lost_position: when == "when-needed" || lost == "resnapshot",
        consistent: mode == "consistent",
        readers: readers.map_or(defaults::SNAPSHOT_READERS, |number| number as usize),
        chunk_rows: chunk_rows.map(|number| number as usize),
        rows_per_second: per_second,
    })
}

/// None where it is none of them; a key that is not there is the first of them.
fn word(keys: &mut Keys<'_, '_>, key: &'static str, words: &[&'static str]) -> Option<&'static str> {
    match keys.word(key, words) {
        Some((word, _)) => Some(word),
        None => (!keys.has(key)).then_some(words[0]),
    }
}

/// None where it is out of range; a key that is not there is none inside.
fn number(keys: &mut Keys<'_, '_>, key: &'static str, range: RangeInclusive<u64>, help: &str) -> Option<Option<u64>> {
    let Some(node) = keys.get(key) else { return Some(None) };
    let found = match node.value {
        NodeValue::Integer(number) => u64::try_from(number).ok().filter(|number| range.contains(number)),
        _ => None,
    };
    if found.is_none() {
        let message = format!("`{key}` of [source] is a number between {} and {}", range.start(), range.end());
        keys.faults.push(Fault::new(node.span.clone(), message).help(help.to_owned()));
    }
    found.map(Some)
}

fn heartbeat(keys: &mut Keys<'_, '_>) -> Option<Duration> {
    let Some((text, node)) = keys.text("heartbeat") else {
        return (!keys.has("heartbeat")).then_some(defaults::HEARTBEAT);
    };
    let range = Duration::from_millis(100)..=Duration::from_secs(3600);
    let help = match units::duration(&text.value) {
        Ok(period) if range.contains(&period) => return Some(period),
        Ok(_) => {
            "it lies between 100ms and 1h; three of them without a word from the server are a lost connection".into()
        }
        Err(help) => help,
    };
    let message = format!("`heartbeat` of [source] cannot be {text:?}");
    keys.faults.push(Fault::new(node.span.clone(), message).help(help));
    None
}

fn tls(keys: &mut Keys<'_, '_>, folder: &Path) -> (Option<Tls>, Option<PathBuf>) {
    let words = ["preferred", "disabled", "required", "verify-identity"];
    let tls = match keys.word("tls", &words) {
        Some((word, _)) => Tls::ALL.into_iter().find(|tls| tls.name() == word),
        None => (!keys.has("tls")).then_some(defaults::TLS),
    };
    let ca = keys.text("tls-ca");
    if let (Some((_, node)), Some(tls)) = (ca, tls)
        && tls != Tls::VerifyIdentity
    {
        let fault = Fault::new(node.span.clone(), format!("`tls-ca` does not go with tls = \"{}\"", tls.name()));
        keys.faults.push(fault.label("nothing is verified").help("write tls = \"verify-identity\""));
    }
    (tls, ca.map(|(text, _)| folder.join(&text.value)))
}

fn server_id(keys: &mut Keys<'_, '_>) -> Option<u32> {
    let node = keys.get("server-id")?;
    let number = match node.value {
        NodeValue::Integer(number) => u32::try_from(number).ok().filter(|number| *number > 0),
        _ => None,
    };
    if number.is_none() {
        let fault = Fault::new(node.span.clone(), "`server-id` of [source] is a number between 1 and 4294967295");
        keys.faults.push(fault.help("leave it out: a number is then made of the pipeline's name"));
    }
    number
}

fn time_zone(keys: &mut Keys<'_, '_>) -> Option<(String, Zone)> {
    let Some((text, node)) = keys.text("time-zone") else {
        let name = defaults::TIME_ZONE;
        return (!keys.has("time-zone")).then(|| (name.to_owned(), Zone::UTC));
    };
    let zone = Zone::parse(&text.value);
    if zone.is_none() {
        let fault = Fault::new(node.span.clone(), format!("`time-zone` of [source] cannot be {text:?}"))
            .label("no such zone")
            .help("it is an IANA name (\"Europe/Berlin\"), \"UTC\", or an offset (\"+09:00\")");
        keys.faults.push(fault);
    }
    Some((text.as_typed().to_owned(), zone?))
}

fn tables(keys: &mut Keys<'_, '_>) -> Option<Vec<String>> {
    keys.require("tables", "name the tables with their database: tables = [\"shop.item_assets\"]")?;
    let texts = keys.texts("tables", OneText::IsRefused)?;
    if texts.is_empty() {
        not_empty(keys, "tables");
    }
    for (text, node) in &texts {
        let parts: Vec<&str> = text.value.split('.').collect();
        if parts.len() != 2 || parts.iter().any(|part| part.is_empty() || part.contains(char::is_whitespace)) {
            let fault = Fault::new(node.span.clone(), format!("{text:?} is not a table of a database"))
                .help("write database.table; `*` in either part stands for any text");
            keys.faults.push(fault);
        }
    }
    Some(texts.into_iter().map(|(text, _)| text.value.clone()).collect())
}
