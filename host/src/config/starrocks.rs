//! Reads a `[sink]` of kind "starrocks".

use std::time::Duration;

use super::{StarRocksConfig, defaults, sections, units};
use crate::document::{Fault, Keys, Node, NodeValue, OneText, Text};
use crate::sink::starrocks::http::Address;
use crate::sink::starrocks::load::Compression;

const FE: &str = "fe = [\"http://127.0.0.1:8030\"]";
const MYSQL: &str = "mysql = \"127.0.0.1:9030\"";

pub fn read(keys: &mut Keys<'_, '_>) -> Option<StarRocksConfig> {
    keys.require("fe", FE);
    let frontends = addresses(keys, "fe", FE, |text| {
        let rest = text.strip_prefix("http://")?;
        rest.strip_suffix('/').unwrap_or(rest).parse().ok()
    });
    keys.require("mysql", MYSQL);
    let mysql = addresses(keys, "mysql", MYSQL, |text| text.parse().ok());
    let database = keys
        .require_text("database", "the database of the history table, its own at best: database = \"history\"")
        .and_then(|(text, node)| name("database", text, node, keys));
    let user = keys.text("user").map_or(defaults::STARROCKS_USER.to_owned(), |(text, _)| text.value.clone());
    let password = keys.text("password").map(|(text, _)| text.value.clone()).unwrap_or_default();
    let redirect_host = keys.text("redirect-host").map(|(text, _)| text.value.clone());
    let compression = match keys.word("compression", &["none", "lz4", "zstd"]) {
        Some(("lz4", _)) => Compression::Lz4Frame,
        Some(("zstd", _)) => Compression::Zstd,
        _ => Compression::None,
    };
    let sequence = sequence(keys);
    let load_max = duration(keys, "load-timeout", defaults::STARROCKS_LOAD_MAX, Duration::from_secs(1));
    let interval = duration(keys, "interval", defaults::STARROCKS_INTERVAL, Duration::ZERO);
    Some(StarRocksConfig {
        frontends: frontends?,
        mysql: mysql?,
        database: database?,
        user,
        password,
        redirect_host,
        compression,
        sequence: sequence?,
        load_max,
        interval,
    })
}

fn addresses(
    keys: &mut Keys<'_, '_>,
    key: &'static str,
    help: &str,
    parse: impl Fn(&str) -> Option<Address>,
) -> Option<Vec<Address>> {
    let texts = keys.texts(key, OneText::IsList)?;
    if texts.is_empty() {
        sections::not_empty(keys, key);
        return None;
    }
    let mut found = Vec::new();
    for (text, node) in texts {
        match parse(&text.value) {
            Some(address) => found.push(address),
            None => {
                let message = format!("`{key}` of [sink] cannot be {text:?}");
                keys.faults.push(Fault::new(node.span.clone(), message).help(help));
            }
        }
    }
    Some(found)
}

/// None: faulty. A name, or whether there is a column of the usual one.
fn sequence(keys: &mut Keys<'_, '_>) -> Option<Option<String>> {
    let Some(node) = keys.get("sequence-column") else { return Some(None) };
    match &node.value {
        NodeValue::Text(text) => name("sequence-column", text, node, keys).map(Some),
        NodeValue::Boolean(true) => Some(Some(defaults::SEQUENCE_COLUMN.to_owned())),
        NodeValue::Boolean(false) => Some(None),
        _ => keys.wrong_type("sequence-column", node, "a column's name or a boolean"),
    }
}

fn name(key: &str, text: &Text, node: &Node, keys: &mut Keys<'_, '_>) -> Option<String> {
    let name = &text.value;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fits = (1..=64).contains(&name.len()) && name.bytes().all(plain) && !name.as_bytes()[0].is_ascii_digit();
    if !fits {
        let fault = Fault::new(node.span.clone(), format!("`{key}` of [sink] cannot be {text:?}"));
        keys.faults.push(fault.help("1 to 64 letters, digits and `_`, no digit first"));
    }
    fits.then(|| name.clone())
}

fn duration(keys: &mut Keys<'_, '_>, key: &'static str, default: Duration, least: Duration) -> Duration {
    let Some((text, node)) = keys.text(key) else { return default };
    let most = defaults::STARROCKS_WAIT_MAX;
    let help = match units::duration(&text.value) {
        Ok(duration) if (least..=most).contains(&duration) => return duration,
        Ok(_) => format!("it lies between {least:?} and {most:?}"),
        Err(help) => help,
    };
    keys.faults.push(Fault::new(node.span.clone(), format!("`{key}` of [sink] cannot be {text:?}")).help(help));
    default
}
