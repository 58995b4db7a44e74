//! Reads the sections of a configuration into a [`Config`]: knows every key, its type and its default.
//!
//! A fault never ends the reading: a section with one becomes none, the next is read all the same.

use std::net::SocketAddr;
use std::path::Path;

use super::{ComponentPlace, Config, Instance, Limits, RuleConfig, SinkConfig, SourceConfig, defaults, units};
use crate::civil::Zone;
use crate::document::{Fault, Faults, Keys, Node, NodeValue, OneText, Table, Text};
use crate::source::declared;

pub fn read(file: &Path, folder: &Path, root: &Table, faults: &mut Faults) -> Option<Config> {
    let mut keys = Keys::new(root, "the file", faults);
    let name = keys
        .require_text("name", "it names the pipeline's checkpoint: name = \"item-assets\"")
        .and_then(|(text, node)| pipeline_name(text, node, keys.faults));
    let source = section(&mut keys, "source", |keys| source(keys, folder));
    if let Some(topic) = keys.table("topic") {
        read_topic(topic, &mut keys);
    }
    let rule = section(&mut keys, "rule", |keys| rule(keys, folder));
    let sink = section(&mut keys, "sink", |keys| sink(keys, folder));
    let control = match keys.table("control") {
        Some(table) => Some(control(Keys::new(table, "[control]", keys.faults))?),
        None => None,
    };
    keys.end();
    let file = file.to_owned();
    Some(Config { file, name: name?, source: source?, rule: rule?, sink: sink?, control })
}

/// A section that must be there; one that is missing is read as an empty one, so that its required keys are named.
fn section<T>(keys: &mut Keys<'_, '_>, name: &'static str, read: impl FnOnce(Keys<'_, '_>) -> Option<T>) -> Option<T> {
    let place = format!("[{name}]");
    if keys.has(name) {
        let table = keys.table(name)?;
        return read(Keys::new(table, place, keys.faults));
    }
    keys.get(name);
    let none = Table::default();
    read(Keys::new(&none, place, keys.faults))
}

fn source(mut keys: Keys<'_, '_>, folder: &Path) -> Option<SourceConfig> {
    let kind = keys.word("kind", &["binlog-file", "mysql"]);
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
    let files = if live { live_source(&mut keys, kind.map(|(_, node)| node)) } else { binlog_files(&mut keys, folder) };
    keys.end();
    let (time_zone, zone) = zone?;
    let config = SourceConfig { files: files?, tables: tables?, zone, time_zone };
    (kind_ok && !live).then_some(config)
}

fn binlog_files(keys: &mut Keys<'_, '_>, folder: &Path) -> Option<Vec<std::path::PathBuf>> {
    for (key, why) in [
        ("url", "recorded files are read without a server"),
        ("snapshot", "a file holds changes only: there is no server to read a first state from"),
        (
            "start",
            "reading starts at the first file's beginning, later at the checkpoint; leave out files you do not want",
        ),
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

/// Reads all keys of a live source; there is nothing yet that could use them.
fn live_source(keys: &mut Keys<'_, '_>, kind: Option<&Node>) -> Option<Vec<std::path::PathBuf>> {
    if let Some(node) = keys.get("files") {
        let fault = Fault::new(node.span.clone(), "`files` does not go with kind = \"mysql\"")
            .label("for recorded files only")
            .help("write kind = \"binlog-file\", or remove `files`");
        keys.faults.push(fault);
    }
    let wanted = "the server's address: url = \"mysql://user:${env:MYSQL_PASSWORD}@127.0.0.1:3306\"";
    keys.require("url", wanted);
    for (text, node) in keys.texts("url", OneText::IsList).unwrap_or_default() {
        let host = text.value.strip_prefix("mysql://").map(|rest| rest.rsplit('@').next().unwrap_or(rest));
        if host.is_none_or(|host| host.is_empty() || host.starts_with(['/', ':'])) {
            let fault = Fault::new(node.span.clone(), "`url` of [source] is not a MySQL address").help(wanted);
            keys.faults.push(fault);
        }
    }
    keys.word("snapshot", &["initial", "never", "when-needed"]);
    if let Some((text, node)) = keys.text("start")
        && !(["earliest", "now"].contains(&text.value.as_str()) || text.value.contains(':'))
    {
        let fault = Fault::new(node.span.clone(), format!("`start` of [source] cannot be {text:?}"))
            .help("it is \"earliest\", \"now\", \"file:position\" or a GTID set");
        keys.faults.push(fault);
    }
    let span = kind.map_or(keys.heading(), |node| node.span.clone());
    let help =
        "record the server's binlog (mysqlbinlog --raw) and read it with kind = \"binlog-file\", files = [\"…\"]";
    not_built(keys, span, "a live MySQL source (kind = \"mysql\")", help);
    None
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

fn read_topic(table: &Table, root: &mut Keys<'_, '_>) {
    let mut keys = Keys::new(table, "[topic]", root.faults);
    keys.require("brokers", "brokers = \"127.0.0.1:9092\"");
    keys.texts("brokers", OneText::IsList);
    keys.require_text("name", "name = \"item_asset_changes\"");
    keys.word("key", &["entity", "primary-key"]);
    if let Some(columns) = keys.table("columns") {
        for entry in &columns.entries {
            let NodeValue::Text(text) = &entry.node.value else {
                keys.wrong_type::<()>(&entry.key, &entry.node, "a column's type as a string");
                continue;
            };
            if let Err(wrong) = declared::parse(&text.value) {
                keys.faults.push(Fault::new(entry.node.span.clone(), wrong));
            }
        }
    }
    let heading = keys.heading();
    not_built(&mut keys, heading, "a topic", "leave [topic] out: one process then goes from source to sink");
    keys.end();
}

fn rule(mut keys: Keys<'_, '_>, folder: &Path) -> Option<RuleConfig> {
    let component = keys.require_text("component", "component = \"builtin:scd2-by-owner\", or a path to a component");
    let component = component.map(|(text, _)| ComponentPlace::parse(&text.value, folder));
    let settings = match keys.table("settings") {
        Some(table) => settings(table, &mut keys),
        None => Vec::new(),
    };
    let limits = match keys.table("limits") {
        Some(table) => limits(Keys::new(table, "[rule.limits]", keys.faults)),
        None => defaults::LIMITS,
    };
    if let Some((word, node)) = keys.word("on-reject", &["stop", "quarantine", "skip"])
        && word != "stop"
    {
        let what = format!("on-reject = \"{word}\"");
        not_built(
            &mut keys,
            node.span.clone(),
            &what,
            "write on-reject = \"stop\", which is also what happens without it",
        );
    }
    keys.end();
    Some(RuleConfig { component: component?, settings, limits })
}

/// A rule gets its settings as text; which names it knows, only the rule can say.
fn settings(table: &Table, keys: &mut Keys<'_, '_>) -> Vec<(String, Text)> {
    let mut settings = Vec::new();
    for entry in &table.entries {
        let plain = |value: String| Text { value, typed: None };
        let text = match &entry.node.value {
            NodeValue::Text(text) => text.clone(),
            NodeValue::Integer(number) => plain(number.to_string()),
            NodeValue::Float(number) => plain(number.to_string()),
            NodeValue::Boolean(flag) => plain(flag.to_string()),
            _ => {
                keys.wrong_type::<()>(
                    &format!("settings.{}", entry.key),
                    &entry.node,
                    "a string, a number or a boolean",
                );
                continue;
            }
        };
        settings.push((entry.key.clone(), text));
    }
    settings
}

fn limits(mut keys: Keys<'_, '_>) -> Limits {
    let mut limits = defaults::LIMITS;
    // Less than one page could hold no rule, and wasm32 ends at 4 GiB.
    size(&mut keys, "memory", 64 << 10..=4 << 30, &mut limits.memory_bytes);
    if let Some((text, node)) = keys.text("deadline") {
        match units::duration(&text.value) {
            Ok(deadline) if !deadline.is_zero() => limits.deadline = deadline,
            Ok(_) => keys.faults.push(Fault::new(node.span.clone(), "`deadline` leaves the rule no time")),
            Err(help) => {
                let message = format!("`deadline` of {} cannot be {text:?}", keys.place());
                keys.faults.push(Fault::new(node.span.clone(), message).help(help));
            }
        }
    }
    count(&mut keys, "batch", 1..=1_000_000, &mut limits.batch_changes);
    match keys.word("instance", &["kept", "fresh"]) {
        Some(("fresh", _)) => limits.instance = Instance::Fresh,
        Some(_) => limits.instance = Instance::Kept,
        None => {}
    }
    if let Some(output) = keys.table("output") {
        let mut output = Keys::new(output, "[rule.limits.output]", keys.faults);
        count(&mut output, "rows", 1..=1_000_000, &mut limits.output_rows);
        size(&mut output, "bytes", 1..=1 << 30, &mut limits.output_bytes);
        output.end();
    }
    keys.end();
    limits
}

fn sink(mut keys: Keys<'_, '_>, folder: &Path) -> Option<SinkConfig> {
    let kind = keys.word("kind", &[defaults::SINK_KIND, "starrocks"]);
    let kind_ok = kind.is_some() || !keys.has("kind");
    let table = keys
        .require_text("table", "the history table, made when it is not there: table = \"item_asset_history\"")
        .and_then(|(text, node)| table_name(text, node, keys.faults));
    let path = match kind {
        Some(("starrocks", node)) => {
            starrocks(&mut keys, node);
            None
        }
        _ => keys.require_text("path", "the SQLite file, made when it is not there: path = \"history.db\""),
    };
    keys.end();
    let path = path.map(|(text, _)| folder.join(&text.value));
    kind_ok.then_some(SinkConfig { path: path?, table: table? })
}

/// Reads all keys of a StarRocks sink; there is nothing yet that could use them.
fn starrocks(keys: &mut Keys<'_, '_>, kind: &Node) {
    keys.require("fe", "fe = [\"http://127.0.0.1:8030\"]");
    for (text, node) in keys.texts("fe", OneText::IsList).unwrap_or_default() {
        if !text.value.starts_with("http://") && !text.value.starts_with("https://") {
            let fault = Fault::new(node.span.clone(), "`fe` of [sink] is not an HTTP address")
                .help("fe = [\"http://127.0.0.1:8030\"]");
            keys.faults.push(fault);
        }
    }
    keys.require_text("mysql", "mysql = \"127.0.0.1:9030\"");
    keys.require_text("database", "the database of the history table");
    keys.text("user");
    keys.text("password");
    if let Some(node) = keys.get("sequence-column")
        && !matches!(node.value, NodeValue::Text(_) | NodeValue::Boolean(_))
    {
        keys.wrong_type::<()>("sequence-column", node, "a column's name or a boolean");
    }
    not_built(
        keys,
        kind.span.clone(),
        "the StarRocks sink (kind = \"starrocks\")",
        "write kind = \"sqlite\" and path = \"history.db\"",
    );
}

/// None: the section is there and faulty.
fn control(mut keys: Keys<'_, '_>) -> Option<SocketAddr> {
    let listen = match keys.text("listen") {
        Some((text, node)) => {
            let address: Option<SocketAddr> = text.value.parse().ok();
            let wrong = match address {
                None => "an address and a port: listen = \"127.0.0.1:8787\"",
                Some(address) if !address.ip().is_loopback() => {
                    "a loopback address, listen = \"127.0.0.1:8787\": whoever reaches the port can change the rule and so the history; \
                     for a machine further away, forward it with ssh -L"
                }
                Some(_) => "",
            };
            if !wrong.is_empty() {
                let fault =
                    Fault::new(node.span.clone(), format!("`listen` of [control] cannot be {text:?}")).help(wrong);
                keys.faults.push(fault);
            }
            address.filter(|_| wrong.is_empty())
        }
        None => defaults::CONTROL_LISTEN.parse().ok(),
    };
    keys.end();
    listen
}

fn pipeline_name(text: &Text, node: &Node, faults: &mut Faults) -> Option<String> {
    let name = &text.value;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(plain) && name.as_bytes()[0].is_ascii_alphanumeric();
    if !fits {
        let fault = Fault::new(node.span.clone(), format!("`name` cannot be {text:?}"))
            .help("1 to 64 letters, digits, `-` and `_`, the first a letter or digit: it becomes part of labels and group names");
        faults.push(fault);
    }
    fits.then(|| name.clone())
}

fn table_name(text: &Text, node: &Node, faults: &mut Faults) -> Option<String> {
    let name = &text.value;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let ours = ["hindsight_", "sqlite_"].iter().any(|prefix| name.to_ascii_lowercase().starts_with(prefix));
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit();
    if !fits || ours {
        let fault = Fault::new(node.span.clone(), format!("`table` of [sink] cannot be {text:?}"))
            .help("1 to 64 letters, digits and `_`, no digit first, and not beginning with hindsight_ or sqlite_");
        faults.push(fault);
    }
    (fits && !ours).then(|| name.clone())
}

fn size(keys: &mut Keys<'_, '_>, key: &'static str, range: std::ops::RangeInclusive<u64>, out: &mut usize) {
    let Some((text, node)) = keys.text(key) else { return };
    let wrong = match units::size(&text.value) {
        Ok(bytes) if range.contains(&bytes) => {
            *out = bytes as usize;
            return;
        }
        Ok(_) => {
            let (least, most) = (units::size_text(*range.start() as usize), units::size_text(*range.end() as usize));
            format!("it lies between {least} and {most}")
        }
        Err(wrong) => wrong,
    };
    let message = format!("`{key}` of {} cannot be {text:?}", keys.place());
    keys.faults.push(Fault::new(node.span.clone(), message).help(wrong));
}

fn count(keys: &mut Keys<'_, '_>, key: &'static str, range: std::ops::RangeInclusive<i128>, out: &mut usize) {
    let Some(node) = keys.get(key) else { return };
    match node.value {
        NodeValue::Integer(number) if range.contains(&number) => *out = number as usize,
        NodeValue::Integer(number) => {
            let message = format!("`{key}` of {} cannot be {number}", keys.place());
            let help = format!("it lies between {} and {}", range.start(), range.end());
            keys.faults.push(Fault::new(node.span.clone(), message).help(help));
        }
        _ => {
            keys.wrong_type::<()>(key, node, "an integer");
        }
    }
}

fn not_empty(keys: &mut Keys<'_, '_>, key: &'static str) {
    let span = keys.get(key).map_or(0..0, |node| node.span.clone());
    keys.faults.push(Fault::new(span, format!("`{key}` of {} is empty", keys.place())).label("name at least one"));
}

fn not_built(keys: &mut Keys<'_, '_>, span: std::ops::Range<usize>, what: &str, help: &str) {
    keys.faults.push(Fault::new(span, format!("{what} is not built yet")).label("not built yet").help(help));
}
