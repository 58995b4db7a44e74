//! `hindsight dry-run`: what it shows is what `run` then writes, and nothing is changed by it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hindsight_tests::dump;
use hindsight_tests::generator::DEMO;
use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::{self, OnOwnerChange};
use hindsight_tests::pipeline::{Pipeline, Place, Rule, TABLE, assert_same, fixture};
use hindsight_tests::program::Folder;
use hindsight_tests::running::Running;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use serde_json::{Map, Value, json};

/// Rows as JSON by their primary key's values.
type Rows = BTreeMap<String, Value>;

fn key_columns(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::ByOwner => &["source_id", "owner_id", "effective_start_ts"],
        Rule::CountChanges => &["owner_id"],
    }
}

fn key(row: &Map<String, Value>, rule: Rule) -> String {
    key_columns(rule).iter().map(|column| row[*column].to_string()).collect::<Vec<_>>().join(" ")
}

/// The table as it is in the file.
fn table(place: &Place, rule: Rule) -> Rows {
    // Opened to be written, or its write-ahead log would stay behind.
    let connection = Connection::open(place.database()).expect("open the history");
    let mut statement = connection.prepare(&format!("SELECT * FROM {TABLE}")).expect("the table is there");
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut found = statement.query([]).expect("read the table");
    let mut rows = Rows::new();
    while let Some(row) = found.next().expect("read a row") {
        let value = |i| match row.get_ref(i).expect("a value") {
            ValueRef::Null => Value::Null,
            ValueRef::Integer(number) => number.into(),
            ValueRef::Text(text) => String::from_utf8(text.to_vec()).expect("UTF-8").into(),
            other => panic!("{other:?}"),
        };
        let row: Map<String, Value> = names.iter().enumerate().map(|(i, name)| (name.clone(), value(i))).collect();
        rows.insert(key(&row, rule), Value::Object(row));
    }
    rows
}

/// What a dry run says, line by line.
fn dry_run(place: &Place, limit: usize) -> Vec<Value> {
    let answer = place.0.hindsight(&["dry-run", "--json", "--limit", &limit.to_string()]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    answer.out.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect()
}

/// The table after these writes.
fn written(mut rows: Rows, writes: &[Value], rule: Rule) -> Rows {
    for write in writes {
        let mut row = write["row"].as_object().expect("a row").clone();
        // SQLite has no booleans.
        row.values_mut().for_each(|value| {
            if let Value::Bool(truth) = value {
                *value = i64::from(*truth).into();
            }
        });
        match write["op"].as_str() {
            Some("upsert") => rows.insert(key(&row, rule), Value::Object(row)),
            Some("delete") => rows.remove(&key(&row, rule)),
            other => panic!("the op is {other:?}"),
        };
    }
    rows
}

/// Every file of the folder with the length and the checksum of its bytes.
fn files(place: &Place) -> BTreeMap<String, (usize, u32)> {
    let entries = fs::read_dir(place.0.path()).expect("read the folder").map(|entry| entry.expect("an entry"));
    let file = |path: &Path| {
        let bytes = fs::read(path).expect("read a file");
        (bytes.len(), crc32fast::hash(&bytes))
    };
    entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), file(&entry.path()))).collect()
}

#[test]
fn a_dry_run_shows_what_run_then_writes_and_changes_no_byte() {
    let bytes = fs::read(fixture("item_assets.binlog")).expect("read the fixture");
    let log = dump::read(&[fixture("item_assets.binlog")]);
    let cut = log.changes[9_000].transaction_end as usize;
    for rule in [Rule::ByOwner, Rule::CountChanges] {
        let folder = Folder::new();
        let file = folder.write("item_assets.binlog", &bytes[..cut]);
        let pipeline = Pipeline { rule, batch: 700, files: vec![file.clone()], ..Pipeline::default() };
        let place = pipeline.place();
        let before = files(&place);
        let from_nothing = dry_run(&place, usize::MAX);
        assert_eq!(files(&place), before, "{rule:?}: absent stays absent");
        assert_eq!(place.run().exit, Some(0));
        assert_same(&table(&place, rule), &written(Rows::new(), &from_nothing, rule), "an empty history");

        fs::write(&file, &bytes).expect("write the whole file");
        let (rows, before) = (table(&place, rule), files(&place));
        let from_the_checkpoint = dry_run(&place, usize::MAX);
        assert!(from_the_checkpoint.len() > 5_000, "{rule:?}: {} rows", from_the_checkpoint.len());
        assert_eq!(files(&place), before, "{rule:?}: no byte is changed, and no file is made");
        assert_eq!(place.run().exit, Some(0));
        assert_same(&table(&place, rule), &written(rows, &from_the_checkpoint, rule), "from a checkpoint");
        // Not only with each other.
        if rule == Rule::ByOwner {
            let wanted = oracle::scd2_by_owner(&DEMO.list(), OnOwnerChange::Close).table;
            assert_same(&place.history(), &wanted, "the history");
        }
        assert!(dry_run(&place, 20).is_empty(), "nothing is left");
    }
}

#[test]
fn a_rule_that_was_swapped_in_decides_a_dry_run_too_and_a_killed_pipelines_log_stays_as_it_is() {
    let pipeline = Pipeline { batch: 50, files: vec![fixture("item_assets.binlog")], ..Pipeline::default() };
    let place = pipeline.place();
    let path = place.0.path().join("hindsight.toml");
    let text = fs::read_to_string(&path).expect("it was written");
    place.0.write("hindsight.toml", format!("{text}[control]\nlisten = \"127.0.0.1:0\"\n"));
    let running = Running::start(place.0.command(&["run", "--paused", "--json"])).expect("it starts");
    running.resume();
    while running.status()["batches"] == 0 {}
    running.pause();
    let under_the_first = dry_run(&place, usize::MAX);
    let swap = ["swap", "builtin:scd2-by-owner", "--set", "on-owner-change=ignore", "--control", &running.address()];
    let swapped = place.0.hindsight(&swap);
    assert_eq!(swapped.exit, Some(0), "{}", swapped.err);
    running.kill();
    // What it had committed is in its write-ahead log only.
    let kept = |place: &Place| {
        let mut files = files(place);
        // The log's index, which any reader may make anew.
        files.remove("history.db-shm");
        files
    };
    let before = kept(&place);
    assert!(before.contains_key("history.db-wal"), "{before:?}");
    let under_the_second = dry_run(&place, usize::MAX);
    assert_eq!(kept(&place), before);
    assert_ne!(under_the_second, under_the_first);
    let rows = table(&place, Rule::ByOwner);
    assert_eq!(place.run().exit, Some(0));
    assert_same(&table(&place, Rule::ByOwner), &written(rows, &under_the_second, Rule::ByOwner), "as swapped");
}

#[test]
fn the_limit_ends_it_and_people_get_a_table() {
    let place = Pipeline { files: vec![fixture("item_assets.binlog")], ..Pipeline::default() }.place();
    let all = dry_run(&place, usize::MAX);
    assert_eq!(dry_run(&place, 7), all[..7]);
    let first = &all[0];
    assert_eq!(first["op"], "upsert");
    assert_eq!(first["cause"]["table"], "shop.item_assets");
    assert_eq!(first["cause"]["op"], "u", "what closes a row comes before what opens one");
    assert!(first["cause"]["place"].as_str().is_some_and(|place| place.contains("(gtid ")), "{first}");
    let shown = place.0.hindsight(&["dry-run"]);
    assert_eq!(shown.exit, Some(0), "{}", shown.err);
    let rows = shown.out.lines().filter(|line| line.contains("upsert")).count();
    assert_eq!(rows, 20, "the default limit:\n{}", shown.out);
    for words in [
        "effective_start_ts",
        "because of",
        "20 rows that `run` would write next (--limit shows more); nothing was written",
    ] {
        assert!(shown.out.contains(words), "{words} is not in:\n{}", shown.out);
    }
    assert_eq!(place.0.hindsight(&["dry-run", "--limit", "0"]).exit, Some(2));
}

#[test]
fn what_run_refuses_a_dry_run_refuses_and_shows_what_came_before() {
    let bytes = fs::read(fixture("item_assets.binlog")).expect("read the fixture");
    let folder = Folder::new();
    let file = folder.write("item_assets.binlog", &bytes[..bytes.len() / 2]);
    let place = Pipeline { files: vec![file], ..Pipeline::default() }.place();
    let cut = place.0.hindsight(&["dry-run", "--json", "--limit", "1000000"]);
    assert_eq!(cut.exit, Some(1), "{}", cut.err);
    assert!(cut.err.contains("ends inside") && cut.out.lines().count() > 1_000, "{}", cut.err);
    assert!(!place.database().exists());
    // A history of another rule.
    let counts =
        Pipeline { rule: Rule::CountChanges, files: vec![fixture("item_assets.binlog")], ..Pipeline::default() };
    let (place, answer) = counts.run();
    assert_eq!(answer.exit, Some(0));
    Pipeline { rule: Rule::ByOwner, ..counts }.configure(&place);
    let path = place.0.path().join("hindsight.toml");
    let text = fs::read_to_string(&path).expect("it was written");
    place.0.write("hindsight.toml", text.replace("\"item-assets\"", "\"other\""));
    let (dry, run) = (place.0.hindsight(&["dry-run"]), place.run());
    assert_eq!((dry.exit, run.exit), (Some(3), Some(3)));
    assert_eq!(
        dry.err,
        run.err.lines().filter(|line| !line.contains("running")).map(|line| format!("{line}\n")).collect::<String>()
    );
}

#[test]
fn beside_a_running_pipeline_it_disturbs_nothing_and_what_is_stopped_it_continues_in_memory() {
    let server = Mysql::start(&[]);
    server.sql("CREATE DATABASE shop; USE shop;
        CREATE TABLE item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL, asset_info VARCHAR(255) NOT NULL, registered_at DATETIME NOT NULL);");
    server.add_reader();
    let insert = |id: u32| {
        server.sql(&format!("INSERT INTO shop.item_assets VALUES ({id}, {}, 'asset {id}', '2025-01-01')", id % 3));
    };
    let place = Live::of(&server).place();
    let mut running = place.follow();
    for id in 1..=10 {
        insert(id);
        if id % 3 == 0 {
            // The checkpoint may be anywhere; what is shown is what comes behind it.
            assert!(dry_run(&place, 5).len() <= id as usize);
            running.assert_runs();
        }
    }
    place.wait_until_all_is_done(&server, &mut running);
    assert_eq!(dry_run(&place, 5), Vec::<Value>::new());
    running.assert_runs();
    running.stop();
    server.sql("UPDATE shop.item_assets SET asset_info = 'moved', registered_at = '2025-02-01' WHERE id IN (1, 2)");
    let (rows, before) = (table(&place, Rule::ByOwner), files(&place));
    let shown = dry_run(&place, 100);
    assert_eq!(files(&place), before);
    assert!(shown.len() >= 4, "{}", json!(shown));
    assert_eq!(place.run_to_end().count("updates"), 2);
    assert_same(&table(&place, Rule::ByOwner), &written(rows, &shown, Rule::ByOwner), "after the dry run");
}
