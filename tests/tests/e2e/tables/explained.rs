//! `run --explain` and `doctor`: what they print is accepted as it is printed, and helps.

use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::Place;
use hindsight_tests::say::say;
use hindsight_tests::steps::Steps;
use serde_json::Value;

fn server() -> Mysql {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(Steps::SCHEMA);
    server.sql(&Steps::default().mixed(1, 60));
    server
}

fn explained(place: &Place) -> Vec<Value> {
    let answer = place.0.hindsight(&["run", "--explain", "--json"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    answer.json()["tables"].as_array().expect("a list").clone()
}

/// Each statement runs as it is printed, by an account that may do no more than the pipeline's, in this order.
#[track_caller]
fn run_each(server: &Mysql, place: &Place, table: &Value) {
    let printed = place.0.hindsight(&["run", "--explain"]).out;
    let statements: Vec<&str> = table["statements"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| one["sql"].as_str().expect("a text"))
        .collect();
    for statement in &statements {
        let line = printed.lines().find(|line| line.trim() == *statement);
        assert!(line.is_some(), "{statement} is no line of its own in:\n{printed}");
    }
    let session: String = statements.iter().map(|statement| format!("{statement};\n")).collect();
    server.try_sql(&session).unwrap_or_else(|error| panic!("{session}{error}"));
}

#[test]
fn the_index_that_is_printed_makes_a_table_one_that_is_read_in_chunks() {
    let server = server();
    let initial = Live { snapshot: "snapshot = \"initial\"\nsnapshot-chunk-rows = 5", ..Live::of(&server) };
    let place = initial.place();
    let before = explained(&place);
    let index = before[0]["remedy"].as_str().expect("a statement").to_owned();
    assert!(before[0]["key"].is_null() && before[0]["why"].as_str().is_some_and(|why| why.contains("owner_id")));
    run_each(&server, &place, &before[0]);
    let doctor = |place: &Place| {
        let answer = place.0.hindsight(&["doctor", "--json"]);
        let areas = answer.json()["areas"].as_array().expect("areas").clone();
        let checks = areas.into_iter().flat_map(|area| area["checks"].as_array().expect("checks").clone());
        let of = |check: &Value| check["mark"] != "green" && check.to_string().contains("owner_id");
        (answer.exit, checks.filter(of).collect::<Vec<_>>())
    };
    let (exit, yellow) = doctor(&place);
    assert_eq!((exit, yellow.len()), (Some(0), 1), "{yellow:?}");
    assert!(yellow[0]["remedy"].to_string().contains(&index.replace('"', "\\\"")), "{index} is not in {}", yellow[0]);

    say(&format!("executed {index}"));
    server.sql(&index);
    let after = explained(&place);
    assert_eq!(after[0]["key"], "owner_id");
    assert!(after[0]["remedy"].is_null());
    run_each(&server, &place, &after[0]);
    assert_eq!(doctor(&place), (Some(0), vec![]));
    let mut running = place.follow();
    running.wait_for_log(&["reading the rows that are there, in chunks", "owner_id"]);
    running.stop();
}

#[test]
fn every_statement_runs_as_it_is_printed_whatever_the_names_and_types_are() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(
        "CREATE DATABASE `my shop` CHARACTER SET utf8mb4; USE `my shop`; SET NAMES utf8mb4;
         -- The client reads what is printed as UTF-8: all of it is ASCII here.
         CREATE TABLE `a``b` (id INT PRIMARY KEY, `o 'w` VARCHAR(30) CHARACTER SET sjis, registered_at DATETIME NOT NULL, j JSON, KEY `k``1` (`o 'w`));
         INSERT INTO `a``b` VALUES (1, 'a~b', '2025-01-01', '{}'), (2, 'a\\'b', '2025-01-01', NULL), (3, 'b', '2025-01-01', '[]'), (4, NULL, '2025-01-01', NULL);",
    );
    let snapshot = "snapshot = \"initial\"\nsnapshot-chunk-rows = 1";
    let live = Live { table: "my*.a`b", snapshot, ..Live::of(&server) };
    let place = super::replay::place(&live, "owner = \"o 'w\", columns = \"\"");
    let tables = explained(&place);
    assert_eq!(tables.len(), 1);
    assert_eq!(tables[0]["key"], "o 'w", "{}", tables[0]);
    run_each(&server, &place, &tables[0]);
}

#[test]
fn a_descending_a_prefixed_and_an_invisible_index_are_no_help() {
    let server = Mysql::start(&[]);
    server.add_reader();
    for (name, key) in [
        ("descending", "KEY (owner_id DESC)"),
        ("prefixed", "KEY (owner_id(2))"),
        ("invisible", "KEY (owner_id) INVISIBLE"),
        ("functional", "KEY ((UPPER(owner_id)))"),
        ("behind", "KEY (asset_info, owner_id)"),
    ] {
        server.sql(&format!(
            "DROP DATABASE IF EXISTS shop; CREATE DATABASE shop;
             CREATE TABLE shop.item_assets (id INT PRIMARY KEY, owner_id VARCHAR(9) NOT NULL, asset_info VARCHAR(9), registered_at DATETIME NOT NULL, {key})"
        ));
        let place = Live { snapshot: "snapshot = \"initial\"", ..Live::of(&server) }.place();
        let tables = explained(&place);
        assert!(tables[0]["index"].is_null(), "{name}: {}", tables[0]);
        server.sql(tables[0]["remedy"].as_str().expect("a statement"));
        assert_eq!(explained(&place)[0]["index"], "hindsight_owner_id", "{name}");
    }
}
