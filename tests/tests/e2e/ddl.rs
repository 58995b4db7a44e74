//! `hindsight ddl`: its statement makes a table that takes the rule's rows.

use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use starrocks_stand_in::{Settings, StandIn};

use crate::documents::renewed;

#[test]
fn the_statement_follows_the_source_and_starrocks_takes_it() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.item_assets (id BIGINT UNSIGNED PRIMARY KEY, owner_id SMALLINT NOT NULL,
         asset_info VARCHAR(30) NOT NULL, registered_at DATETIME(6) NOT NULL, price DECIMAL(12,4), kind ENUM('a','bb'), notes TEXT,
         seen TIME, doc JSON, photo BLOB);",
    );
    let place = Live { source: "", ..Live::of(&server) }.place();
    let configuration = std::fs::read_to_string(place.0.path().join("hindsight.toml")).expect("read the configuration");
    let with = |columns: &str| {
        let settings = format!("[rule.settings]\ncolumns = \"asset_info, {columns}\"\n");
        place.0.write("wide.toml", configuration.replacen("[sink]", &format!("{settings}[sink]"), 1));
        place.0.hindsight(&["ddl", "wide.toml", "--replication", "1", "--sequence-column", "written_by"])
    };
    let answer = with("price, kind, notes, seen, doc");
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    for column in [
        "`source_id` LARGEINT NOT NULL",
        "`owner_id` SMALLINT NOT NULL",
        "`effective_start_ts` DATETIME NOT NULL",
        "`asset_info` VARCHAR(120) NOT NULL",
        "`price` DECIMAL(12, 4) NULL",
        "`kind` VARCHAR(14) NULL",
        "`notes` VARCHAR(1048576) NULL",
        "`seen` VARCHAR(17) NULL",
        "`doc` JSON NULL",
        "`written_by` BIGINT NOT NULL",
        "DISTRIBUTED BY HASH(`owner_id`) BUCKETS 4",
    ] {
        assert!(answer.out.contains(column), "{column} is not in {}", answer.out);
    }
    let cluster = StandIn::start(Settings { database: Some("history".into()), ..Settings::default() }).expect("start");
    let statements: Vec<&str> = answer.out.trim_end().trim_end_matches(';').split(";\n").collect();
    assert_eq!(statements.len(), 3, "the history, what is set aside, and how far it is: {}", answer.out);
    for statement in statements {
        cluster
            .sql(&statement.replacen("CREATE TABLE `", "CREATE TABLE `history`.`", 1))
            .expect("the stand-in takes it");
    }

    let answer = with("photo");
    assert_eq!(answer.exit, Some(2), "{}", answer.out);
    assert!(answer.err.contains("column photo (blob) has no type"), "{}", answer.err);
}

#[test]
fn the_page_of_starrocks_shows_what_the_program_says() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL, asset_info VARCHAR(255) NOT NULL,
         registered_at DATETIME NOT NULL);",
    );
    let place = Live::of(&server).place();
    renewed("docs/starrocks.md", &place.0, str::to_owned).assert_same();
}
