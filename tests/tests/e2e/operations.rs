//! `docs/operations.md`: its transcripts are what the program says over a real server, and its table names every metric.

use std::fs;
use std::net::TcpListener;

use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::component;
use hindsight_tests::program::{Folder, repository};
use hindsight_tests::running::Running;
use hindsight_tests::steps::Steps;

use crate::documents::renewed;

const DOCUMENT: &str = "docs/operations.md";

/// A case that holds under `on-owner-change = "ignore"`.
const CASE: &str = "scd2-by-owner/cases/an-ignored-move-leaves-the-row-of-the-old-owner-open.toml";

#[test]
fn the_transcripts_of_the_operations_page_are_what_the_program_says() {
    let server = Mysql::start(&[]);
    server.sql(Steps::SCHEMA);
    let mut steps = Steps::default();
    for id in 1..=3 {
        server.sql(&steps.insert(id, 7, &format!("asset {id}")));
    }
    let control = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").to_string();
    let folder = Folder::new();
    folder.write("count-changes.wasm", fs::read(component("count-changes")).expect("read a component"));
    folder.write("moves.toml", fs::read(repository().join("plugins").join(CASE)).expect("read a case"));
    folder.write(
        "hindsight.toml",
        format!(
            "name = \"item-assets\"\n\
             [source]\nurl = \"mysql://root@127.0.0.1:{}\"\ntables = [\"shop.item_assets\"]\nsnapshot = \"never\"\n\
             [rule]\ncomponent = \"builtin:scd2-by-owner\"\n\
             [sink]\npath = \"history.db\"\ntable = \"item_asset_history\"\n[control]\nlisten = {control:?}\n",
            server.port()
        ),
    );
    let running = Running::start(folder.command(&["run"])).expect("it starts");
    while running.status()["changes"] != 3 {}
    let mut digests = Vec::new();
    let renewed = renewed(DOCUMENT, &folder, |line| masked(line, &server, &mut digests));
    assert_eq!(running.terminate().exit, Some(0));
    renewed.assert_same();
}

/// What differs from machine to machine and from run to run. Tables keep their width: digits stay digits there.
fn masked(line: &str, server: &Mysql, digests: &mut Vec<String>) -> String {
    let mut line = line.replace(&server.uuid(), "3e11fa47-71ca-11e1-9e33-c80aa9429562");
    line = line.replace(&format!("127.0.0.1:{}", server.port()), "127.0.0.1:3306");
    for before in [" at=", " time=", "crc="] {
        if let Some(at) = line.find(before).map(|at| at + before.len()) {
            let len = line[at..].bytes().take_while(u8::is_ascii_hexdigit).count();
            line.replace_range(at..at + len, &"0".repeat(len));
        }
    }
    for (before, behind) in [("up for ", " s"), ("paused for ", " µs"), ("transactions, ", " a second")] {
        if let Some(at) = line.find(before).map(|at| at + before.len())
            && let Some(len) = line[at..].find(behind)
            && line[at..at + len].bytes().all(|byte| byte.is_ascii_digit() || byte == b',')
        {
            line.replace_range(at..at + len, "…");
        }
    }
    if line.starts_with("lag        ") && line.ends_with(" ms") {
        line = "lag        … ms".into();
    }
    let word = |word: &str| {
        let bare = word.trim_matches(['(', ')', ',', ':']);
        let is_time = |at: &[usize], mark| at.iter().all(|&at| word.as_bytes().get(at) == Some(&mark));
        if bare.len() == 12 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            // Each version has a letter of its own.
            let known = digests.iter().position(|digest| digest == bare);
            let number = known.unwrap_or_else(|| {
                digests.push(bare.to_owned());
                digests.len() - 1
            });
            return word.replace(bare, &["a", "b", "c", "d", "e", "f"][number].repeat(12));
        }
        match word.len() {
            10 if is_time(&[4, 7], b'-') => "2025-11-25".into(),
            8 if is_time(&[2, 5], b':') => "12:00:00".into(),
            _ => word.to_owned(),
        }
    };
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_operations_page_names_every_metric() {
    let document = fs::read_to_string(repository().join(DOCUMENT)).expect("read the page");
    let metrics = hindsight::metrics::Metrics::new("a-pipeline").text();
    for family in metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        let (name, _) = family.split_once(' ').expect("a type");
        assert!(document.contains(&format!("`{name}")), "{name} is not in {DOCUMENT}");
    }
}
