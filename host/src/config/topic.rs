//! Reads `[topic]`: the Kafka topic between the two halves.

use super::{TopicConfig, defaults, sections};
use crate::document::{Fault, Faults, Keys, NodeValue, OneText, Table, Text};
use crate::envelope::{Decimals, Forms, KeyedBy, Times};
use crate::source::declared;
use crate::topic;

pub fn read(mut keys: Keys<'_, '_>) -> Option<TopicConfig> {
    keys.require("brokers", "brokers = \"127.0.0.1:9092\"");
    let brokers = brokers(&mut keys);
    let name = name(&mut keys);
    let by_primary_key = keys.word("key", &["entity", "primary-key"]).is_some_and(|(word, _)| word == "primary-key");
    let key = match (keys.boolean("tombstones"), by_primary_key) {
        (Some((true, node)), false) => {
            let fault = Fault::new(node.span.clone(), "`tombstones` of [topic] without key = \"primary-key\"");
            keys.faults
                .push(fault.help("a tombstone says that a key's row is gone; an entity's key stands for many rows"));
            KeyedBy::Entity
        }
        (_, false) => KeyedBy::Entity,
        (tombstones, true) => KeyedBy::PrimaryKey { tombstones: tombstones.is_some_and(|(tombstones, _)| tombstones) },
    };
    let mut partitions = defaults::TOPIC_PARTITIONS;
    sections::count(&mut keys, "partitions", 1..=10_000, &mut partitions);
    let mut replication = 0;
    sections::count(&mut keys, "replication", 1..=100, &mut replication);
    let member = member(&mut keys);
    let compression = keys.word("compression", &["lz4", "none", "gzip", "snappy", "zstd"]);
    let mut columns = Vec::new();
    if let Some(table) = keys.table("columns") {
        for entry in &table.entries {
            let NodeValue::Text(text) = &entry.node.value else {
                keys.wrong_type::<()>(&entry.key, &entry.node, "a column's type as a string");
                continue;
            };
            match declared::parse(&text.value) {
                Ok(_) => columns.push((entry.key.clone(), text.value.clone())),
                Err(wrong) => keys.faults.push(Fault::new(entry.node.span.clone(), wrong)),
            }
        }
    }
    let forms = forms(&mut keys);
    let schemas = keys.boolean("schemas").is_some_and(|(schemas, _)| schemas);
    let librdkafka = librdkafka(&mut keys);
    keys.end();
    Some(TopicConfig {
        brokers: brokers?,
        name: name?,
        key,
        partitions: partitions as u32,
        replication: (replication > 0).then_some(replication as u16),
        member,
        compression: compression.map_or(defaults::TOPIC_COMPRESSION, |(word, _)| word),
        forms,
        schemas,
        columns,
        librdkafka,
    })
}

fn brokers(keys: &mut Keys<'_, '_>) -> Option<Vec<String>> {
    let texts = keys.texts("brokers", OneText::IsList)?;
    if texts.is_empty() {
        sections::not_empty(keys, "brokers");
    }
    let mut brokers = Vec::new();
    for (text, node) in texts {
        for broker in text.value.split(',').map(str::trim) {
            let port = broker.rsplit_once(':').and_then(|(host, port)| (!host.is_empty()).then_some(port));
            if port.is_none_or(|port| port.parse::<u16>().is_err()) {
                let message = format!("`brokers` of [topic] cannot be {text:?}");
                keys.faults
                    .push(Fault::new(node.span.clone(), message).help("brokers = \"127.0.0.1:9092\", or a list"));
            }
            brokers.push(broker.to_owned());
        }
    }
    Some(brokers)
}

/// Also those that only others write; see [`loses_nothing`].
fn forms(keys: &mut Keys<'_, '_>) -> Forms {
    let decimals = keys.word("decimals", &["precise", "string", "double"]).and_then(|(word, _)| Decimals::of(word));
    let times = keys
        .word("times", &["adaptive", "connect", "microseconds", "nanoseconds", "iso"])
        .and_then(|(word, _)| Times::of(word));
    Forms { decimals: decimals.unwrap_or_default(), times: times.unwrap_or_default() }
}

/// A capture half writes only what can be read back whole.
pub fn loses_nothing(topic: &TopicConfig, section: &Table, faults: &mut Faults) {
    let Forms { decimals, times } = topic.forms;
    for (key, word, loses) in [
        ("decimals", decimals.name(), decimals == Decimals::Double),
        ("times", times.name(), matches!(times, Times::Connect | Times::Nanoseconds)),
    ] {
        let entry = section.entries.iter().find(|entry| entry.key == key);
        if let Some(entry) = entry.filter(|_| loses) {
            let message =
                format!("{key} = {word:?} of [topic] is for topics that others write (source.kind = \"topic\")");
            let fault = Fault::new(entry.node.span.clone(), message).label("values would lose digits");
            faults.push(fault.help(format!("remove `{key}`, or see docs/topic.md for the others")));
        }
    }
}

fn member(keys: &mut Keys<'_, '_>) -> Option<String> {
    let (text, node) = keys.text("member")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=128).contains(&text.value.len()) && text.value.bytes().all(plain) {
        return Some(text.value.clone());
    }
    let fault = Fault::new(node.span.clone(), format!("`member` of [topic] cannot be {text:?}"))
        .help("1 to 128 letters, digits, `.`, `_` and `-`, another for each process: member = \"${env:HOSTNAME}\"");
    keys.faults.push(fault);
    None
}

/// As Kafka's `Topic.validate` has it, with room for the side topics' suffixes.
fn name(keys: &mut Keys<'_, '_>) -> Option<String> {
    let (text, node) = keys.require_text("name", "name = \"item_asset_changes\"")?;
    let name = &text.value;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=200).contains(&name.len()) && name.bytes().all(plain) && name != "." && name != ".." {
        return Some(name.clone());
    }
    let fault = Fault::new(node.span.clone(), format!("`name` of [topic] cannot be {text:?}"))
        .help("1 to 200 letters, digits, `.`, `_` and `-`");
    keys.faults.push(fault);
    None
}

/// Settings of the client library by their own names; it says itself which it knows.
fn librdkafka(keys: &mut Keys<'_, '_>) -> Vec<(String, Text)> {
    let Some(table) = keys.table("librdkafka") else { return Vec::new() };
    for entry in table.entries.iter().filter(|entry| topic::is_ours(&entry.key)) {
        let message = format!("`{}` of [topic.librdkafka] is not yours to set", entry.key);
        let fault = Fault::new(entry.node.span.clone(), message)
            .label("exactly once rests on it, or a key of [topic] says it")
            .help(format!("remove `{}`", entry.key));
        keys.faults.push(fault);
    }
    sections::settings("librdkafka", table, keys)
}
