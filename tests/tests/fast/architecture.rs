//! Holds ARCHITECTURE.md to the tree: its map, and the directions between folders.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A third-party crate lives in one place.
const HOMES: &[(&str, &[&str])] = &[
    ("wasmtime", &["rule/"]),
    ("rusqlite", &["sink/sqlite/"]),
    ("mysql_async", &["source/mysql/", "sink/starrocks/"]),
    ("futures_util", &["source/mysql/"]),
    ("zstd", &["source/", "sink/starrocks/"]),
    ("lz4_flex", &["sink/starrocks/"]),
    ("encoding_rs", &["source/"]),
    ("crc32fast", &["source/", "topic/"]),
    ("rdkafka", &["topic/"]),
    ("clap", &["cli.rs"]),
    ("jiff", &["civil.rs"]),
    ("comfy_table", &["commands/"]),
    ("indicatif", &["commands/"]),
    ("axum", &["control/"]),
    ("hyper", &["control/", "sink/starrocks/"]),
    ("hyper_util", &["control/", "sink/starrocks/"]),
    ("http_body_util", &["control/", "sink/starrocks/"]),
    ("prometheus_client", &["metrics.rs"]),
];

/// What a file or folder may not name.
const ABSENT: &[(&str, &[&str])] = &[
    ("event.rs", &["crate::source", "crate::rule", "crate::sink", "crate::pipeline", "crate::config"]),
    ("rows.rs", &["crate::source", "crate::rule", "crate::sink", "crate::pipeline", "crate::config"]),
    ("history.rs", &["crate::source", "crate::rule", "crate::sink", "crate::pipeline", "crate::config"]),
    ("ledger.rs", &["crate::source", "crate::rule", "crate::sink", "crate::pipeline", "crate::config"]),
    ("envelope/", &["crate::source", "crate::sink", "crate::pipeline", "crate::assemble", "crate::config"]),
    ("pipeline.rs", &["sqlite", "wasm", "binlog", "memory::", "crate::config", "crate::assemble", "crate::control"]),
    ("pipeline/", &["sqlite", "wasm", "binlog", "memory::", "crate::config", "crate::assemble", "crate::control"]),
    ("capture.rs", &["sqlite", "kafka", "topic::", "binlog", "crate::config", "crate::assemble", "crate::control"]),
    ("topic/", &["crate::sink", "crate::pipeline", "crate::assemble", "crate::config"]),
    ("source/", &["crate::rule", "crate::sink", "crate::pipeline", "crate::assemble", "crate::config"]),
    ("rule/", &["crate::source", "crate::sink", "crate::pipeline", "crate::assemble", "crate::config"]),
    ("sink/", &["crate::source", "crate::rule", "crate::pipeline", "crate::assemble", "crate::config"]),
];

#[test]
fn the_map_names_every_source_file_of_the_host_and_nothing_that_is_gone() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let named: BTreeSet<&str> = map
        .lines()
        .filter_map(|line| line.trim_start_matches(['│', '├', '└', '─', ' ', '|']).strip_prefix('`')?.split('`').next())
        .filter(|path| path.ends_with(".rs") || path.ends_with('/') || path.ends_with(".md") || path.ends_with(".wit"))
        .collect();
    assert!(named.len() > 20, "the map lists paths in backquotes at the start of its rows: {named:?}");
    let gone: Vec<_> = named.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(gone.is_empty(), "ARCHITECTURE.md names what is not there: {gone:?}");
    let covered = |file: &str| {
        named
            .iter()
            .any(|path| *path == file || (path.ends_with('/') && file.starts_with(path) && *path != "host/src/"))
    };
    let missing: Vec<String> =
        host_files().into_iter().map(|(file, _)| format!("host/src/{file}")).filter(|file| !covered(file)).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md's map lacks {missing:?}");
}

#[test]
fn a_client_crate_lives_in_one_folder() {
    for (file, text) in host_files() {
        for (name, homes) in HOMES {
            let at_home = homes.iter().any(|home| file.starts_with(home));
            assert!(at_home || !names_crate(&text, name), "{file} names {name}, whose home is {homes:?}");
        }
    }
}

#[test]
fn the_seams_do_not_know_each_other_and_the_loop_knows_only_the_seams() {
    for (file, text) in host_files() {
        for (place, absent) in ABSENT {
            if file.starts_with(place) {
                for word in *absent {
                    assert!(!code(&text).contains(word), "{file} names {word}");
                }
            }
        }
    }
}

#[test]
fn the_host_holds_no_business_rule_and_the_oracle_names_neither_host_nor_plugins() {
    for (file, text) in host_files() {
        assert!(
            !code(&text).contains("registered_at")
                || ["commands/", "source/cases/"].iter().any(|home| file.starts_with(home)),
            "{file} names a column of the reference table"
        );
    }
    let oracle = fs::read_to_string(root().join("tests/src/oracle.rs")).unwrap();
    for word in ["hindsight::", "hindsight_rule", "scd2_by_owner::", "count_changes::", "wasmtime"] {
        assert!(!code(&oracle).contains(word), "the oracle names {word}");
    }
}

#[test]
fn no_tracked_file_holds_a_machine_path_or_a_registry_address() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let sources: BTreeSet<&str> = lock.lines().filter_map(|line| line.strip_prefix("source = ")).collect();
    assert_eq!(sources.len(), 1, "dependencies come from one registry: {sources:?}");
    let home = format!("{}/", std::env::var("HOME").unwrap_or_else(|_| "/root".into()));
    for (file, text) in host_files() {
        assert!(!text.contains(&home), "{file} holds a path of this machine");
    }
}

/// The text without comments and without its unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn names_crate(text: &str, name: &str) -> bool {
    let code = code(text);
    [format!("{name}::"), format!("use {name}")].iter().any(|needle| {
        code.match_indices(needle.as_str()).any(|(at, _)| {
            !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
        })
    })
}

/// Path below `host/src` and text of every file.
fn host_files() -> Vec<(String, String)> {
    let source = root().join("host/src");
    let mut files = Vec::new();
    let mut folders = vec![source.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let name = entry.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
                files.push((name, fs::read_to_string(&entry).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
