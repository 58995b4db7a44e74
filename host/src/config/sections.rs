//! Reads the sections of a configuration into a [`Config`]: knows every key, its type and its default.
//!
//! A fault never ends the reading: a section with one becomes none, the next is read all the same.

use std::net::SocketAddr;
use std::path::Path;

use super::{
    ComponentPlace, Config, Instance, Limits, RuleConfig, SinkConfig, SinkKind, SourceConfig, SourceKind, defaults,
    source, starrocks, topic, units,
};
use crate::document::{Fault, Faults, Keys, Node, NodeValue, Table, Text};
use crate::pipeline::{AMONG_CHANGES, OnReject};

pub fn read(file: &Path, folder: &Path, root: &Table, faults: &mut Faults) -> Option<Config> {
    let mut keys = Keys::new(root, "the file", faults);
    let name = keys
        .require_text("name", "it names the pipeline's checkpoint: name = \"item-assets\"")
        .and_then(|(text, node)| pipeline_name(text, node, keys.faults));
    let source = section(&mut keys, "source", |keys| source::read(keys, folder));
    let topic = keys.table("topic").map(|table| topic::read(Keys::new(table, "[topic]", keys.faults)));
    if let (Some(section), Some(source)) = (keys.table("topic"), &source) {
        compares_nothing(source, section, "[topic]", keys.faults);
    }
    if let (None, Some(SourceConfig { kind: SourceKind::Topic { .. }, .. })) = (keys.table("topic"), &source) {
        let fault = Fault::new(keys.heading(), "source.kind = \"topic\" without a section [topic]");
        keys.faults.push(fault.help("[topic]\nbrokers = \"127.0.0.1:9092\"\nname = \"server.shop.item_assets\""));
    }
    if let (Some(section), Some(Some(topic)), Some(source)) = (keys.table("topic"), &topic, &source) {
        match source.kind {
            SourceKind::Topic { .. } => {}
            _ => topic::loses_nothing(topic, section, keys.faults),
        }
    }
    let rule = section(&mut keys, "rule", |keys| rule(keys, folder));
    let sink = section(&mut keys, "sink", |keys| sink(keys, folder));
    let control = match keys.table("control") {
        Some(table) => Some(control(Keys::new(table, "[control]", keys.faults))?),
        // A live source is followed for ever: there is something to look at. Files end.
        None => match &source {
            Some(SourceConfig { kind: SourceKind::Mysql(_) | SourceKind::Topic { .. }, .. }) => {
                defaults::CONTROL_LISTEN.parse().ok()
            }
            _ => None,
        },
    };
    if let (Some(section), Some(SinkConfig { kind: SinkKind::StarRocks(_), .. }), Some(source)) =
        (keys.table("source"), &sink, &source)
    {
        compares_nothing(source, section, "a history in StarRocks", keys.faults);
    }
    keys.end();
    let file = file.to_owned();
    let topic = match topic {
        Some(topic) => Some(topic?),
        None => None,
    };
    Some(Config { file, name: name?, source: source?, topic, rule: rule?, sink: sink?, control })
}

/// Rows that are read again are compared where the history is, which with a topic is elsewhere, and in StarRocks is not built.
fn compares_nothing(source: &SourceConfig, section: &Table, with: &str, faults: &mut Faults) {
    let SourceKind::Mysql(mysql) = &source.kind else { return };
    if mysql.snapshot.on_lost_position {
        let message = format!(
            "with {with}, a source that lost its position cannot read its tables again: events cannot be compared with a history that \
             is elsewhere"
        );
        let help = "write on-lost-position = \"fail\" in [source], and snapshot = \"initial\" or \"never\"";
        faults.push(Fault::new(section.span.clone(), message).help(help));
    }
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

fn rule(mut keys: Keys<'_, '_>, folder: &Path) -> Option<RuleConfig> {
    let component = keys.require_text("component", "component = \"builtin:scd2-by-owner\", or a path to a component");
    let component = component.map(|(text, _)| ComponentPlace::parse(&text.value, folder));
    let settings = match keys.table("settings") {
        Some(table) => settings("settings", table, &mut keys),
        None => Vec::new(),
    };
    let limits = match keys.table("limits") {
        Some(table) => limits(Keys::new(table, "[rule.limits]", keys.faults)),
        None => defaults::LIMITS,
    };
    let on_reject = keys.word("on-reject", &OnReject::ALL.map(|(word, _)| word));
    let on_reject = on_reject.and_then(|(word, _)| OnReject::ALL.into_iter().find(|(known, _)| *known == word));
    let on_reject = on_reject.map(|(_, on_reject)| on_reject).unwrap_or_default();
    keys.end();
    Some(RuleConfig { component: component?, settings, limits, on_reject })
}

/// Settings as text, under their own names; which of them are known, only who gets them can say. `key`: the table's.
pub(super) fn settings(key: &str, table: &Table, keys: &mut Keys<'_, '_>) -> Vec<(String, Text)> {
    let mut settings = Vec::new();
    for entry in &table.entries {
        let plain = |value: String| Text { value, typed: None };
        let text = match &entry.node.value {
            NodeValue::Text(text) => text.clone(),
            NodeValue::Integer(number) => plain(number.to_string()),
            NodeValue::Float(number) => plain(number.to_string()),
            NodeValue::Boolean(flag) => plain(flag.to_string()),
            _ => {
                keys.wrong_type::<()>(&format!("{key}.{}", entry.key), &entry.node, "a string, a number or a boolean");
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
    if let Some((text, node)) = keys.text("rejects") {
        match units::share(&text.value) {
            Some(share) => limits.rejects = (share * AMONG_CHANGES as f64).round() as usize,
            None => {
                let message = format!("`rejects` of {} cannot be {text:?}", keys.place());
                let help = "a share of the last 10,000 changes, from \"0%\" to \"100%\": \"1%\", \"0.5%\"";
                keys.faults.push(Fault::new(node.span.clone(), message).help(help));
            }
        }
    }
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
    let kind = match kind {
        Some(("starrocks", _)) => starrocks::read(&mut keys).map(SinkKind::StarRocks),
        _ => keys
            .require_text("path", "the SQLite file, made when it is not there: path = \"history.db\"")
            .map(|(text, _)| SinkKind::Sqlite { path: folder.join(&text.value) }),
    };
    keys.end();
    kind_ok.then_some(SinkConfig { kind: kind?, table: table? })
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

pub(super) fn count(
    keys: &mut Keys<'_, '_>,
    key: &'static str,
    range: std::ops::RangeInclusive<i128>,
    out: &mut usize,
) {
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

pub(super) fn not_empty(keys: &mut Keys<'_, '_>, key: &'static str) {
    let span = keys.get(key).map_or(0..0, |node| node.span.clone());
    keys.faults.push(Fault::new(span, format!("`{key}` of {} is empty", keys.place())).label("name at least one"));
}
