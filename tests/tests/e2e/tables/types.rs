//! Each type in each time zone: a row that a snapshot reads is to the byte the one that the log holds.

use std::collections::BTreeMap;
use std::fs;

use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::{Place, TABLE};
use hindsight_tests::say::say;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::replay::place;
use crate::values::{COLUMNS, FIRST_NO_DATE, NO_DATES, VALUES, inserts, schema};

/// Beside [`COLUMNS`]: what an envelope holds and SQLite's history was not shown to.
const MORE: &[(&str, &str, &[&str])] = &[
    ("bin5", "BINARY(5)", &["X''", "X'00'", "X'6100'", "X'FF00000000'", "'abcde'"]),
    ("bin255", "BINARY(255)", &["X''", "REPEAT('x', 255)", "X'20'"]),
    ("vb", "VARBINARY(20)", &["X''", "X'00'", "X'2020'", "X'00FF'"]),
    ("vb300", "VARBINARY(300)", &["X''", "REPEAT(X'FF', 300)"]),
    ("tb", "TINYBLOB", &["X''", "X'00'"]),
    ("bl", "BLOB", &["X''", "REPEAT(X'00', 300)"]),
    ("mb", "MEDIUMBLOB", &["REPEAT('m', 70000)"]),
    ("lb", "LONGBLOB", &["X'FF'"]),
    ("fl", "FLOAT", &["0", "-0.0", "1.1", "-3.402823466E+38", "1.175494351E-38", "16777217", "0.1"]),
    ("flu", "FLOAT UNSIGNED", &["0", "3.4e38"]),
    ("db", "DOUBLE", &["0", "1.1", "-1.7976931348623157E+308", "2.2250738585072014E-308", "9007199254740993", "0.1"]),
    ("ti0", "TIME", &["'00:00:00'", "'-838:59:59'", "'838:59:59'", "'-00:00:01'", "'12:34:56'"]),
    ("ti1", "TIME(1)", &["'-00:00:00.1'", "'-00:00:01.9'", "'838:59:58.9'"]),
    ("ti3", "TIME(3)", &["'-00:00:00.001'", "'-12:34:56.789'", "'00:00:00.999'"]),
    ("ti6", "TIME(6)", &["'-00:00:00.000001'", "'-838:59:58.999999'", "'838:59:58.000001'", "'-01:00:00.500000'"]),
    ("ye", "YEAR", &["0", "1901", "2155", "2024"]),
    ("fl73", "FLOAT(7,3)", &["1.5", "-9999.999"]),
    ("zf", "INT(6) ZEROFILL", &["0", "42"]),
    ("u64", "BIGINT UNSIGNED", &["18446744073709551615", "9223372036854775808", "0"]),
    ("defaulted", "VARCHAR(9) DEFAULT 'x'", &["DEFAULT"]),
];

/// Columns that nobody writes.
const MADE: &str =
    ", kept INT GENERATED ALWAYS AS (i4 + 1) STORED, made VARCHAR(60) GENERATED ALWAYS AS (CONCAT(v50, '!')) VIRTUAL,
    hidden VARCHAR(9) DEFAULT 'unseen' INVISIBLE";

const ZONES: [&str; 5] = ["+00:00", "+05:30", "-11:00", "SYSTEM", "+12:45"];

/// As which the server's own zone and the pipeline's are told apart.
const PIPELINE_ZONES: [&str; 2] = ["UTC", "-03:30"];

#[test]
fn a_row_is_the_same_to_the_byte_by_snapshot_and_by_the_log_in_every_time_zone() {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
    let settings = format!("columns = \"{}\"", names.join(","));
    for zone in ZONES {
        let server = Mysql::start(&[&format!("--default-time-zone={zone}")]);
        server.add_reader();
        server.sql(&schema());
        let more: String = MORE.iter().map(|(name, declared, _)| format!(", ADD {name} {declared}")).collect();
        let made = MADE.replace(", kept", ", ADD kept").replace(", made", ", ADD made").replace("hidden", "ADD hidden");
        server.sql(&format!("ALTER TABLE shop.everything ADD KEY (owner_id){more}{made}"));
        let values: Vec<(&str, &[&str])> =
            VALUES.iter().copied().chain(MORE.iter().map(|&(name, _, values)| (name, values))).collect();
        let all_bytes: String = (0..=255_u8).map(|byte| format!("{byte:02x}")).collect();
        server.sql(&format!(
            "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = ''; USE shop; {} INSERT INTO everything (id, owner_id, registered_at, l1)
             VALUES (900, 900, '2025-01-01 00:00:00.5', CONVERT(x'{all_bytes}' USING latin1));
             SET sql_mode = 'ALLOW_INVALID_DATES'; {}",
            inserts(&values, 1),
            inserts(NO_DATES, FIRST_NO_DATE),
        ));
        let n_rows: usize = server.sql("SELECT COUNT(*) FROM shop.everything").trim().parse().expect("a number");

        let snapshot = "snapshot = \"initial\"\nsnapshot-chunk-rows = 5";
        let [read, logged] = [snapshot, "snapshot = \"never\""].map(|snapshot| {
            let place = place(&Live { table: "shop.everything", snapshot, ..Live::of(&server) }, &settings);
            assert_eq!(place.capture_to_end().count("events"), n_rows as u64);
            after_images(&place)
        });
        for (id, image) in &logged {
            let found = read.get(id).map(String::as_str).unwrap_or("nothing");
            assert!(found == image, "{zone}, row {id}: {}", first_difference(found, image));
        }
        assert_eq!(read.len(), logged.len());
        let n_columns = logged["1"].matches("\":").count();
        assert_eq!(n_columns, 3 + COLUMNS.len() + MORE.len() + 3, "all columns are in the images");
        say(&format!("{zone}: {n_rows} rows of {n_columns} columns are the same"));

        for pipeline_zone in PIPELINE_ZONES {
            let source = format!("time-zone = {pipeline_zone:?}");
            let [read, logged] = [snapshot, "snapshot = \"never\""].map(|snapshot| {
                let live = Live { table: "shop.everything", snapshot, source: &source, ..Live::of(&server) };
                let place = place(&live, &settings);
                assert_eq!(place.run_to_end().exit, Some(0));
                history(&place)
            });
            assert_eq!(read.0, logged.0, "{zone}, {pipeline_zone}: the history's shape");
            assert_eq!(read.1.len(), n_rows);
            for (read, logged) in read.1.iter().zip(&logged.1) {
                assert_eq!(read, logged, "{zone}, {pipeline_zone}");
            }
        }
    }
}

/// The text of each image as the file has it, by id.
fn after_images(place: &Place) -> BTreeMap<String, String> {
    let text = fs::read_to_string(place.events()).expect("read the file");
    let image = |line: &str| {
        let (_, rest) = line.split_once("\"after\":")?;
        let (image, _) = rest.split_once(",\"source\":{")?;
        let (_, rest) = image.split_once("\"id\":")?;
        let id = rest.split(',').next().expect("something comes first");
        Some((id.to_owned(), image.to_owned()))
    };
    text.lines().filter_map(image).collect()
}

fn first_difference(found: &str, wanted: &str) -> String {
    let at = found.bytes().zip(wanted.bytes()).position(|(found, wanted)| found != wanted).unwrap_or(0);
    let around = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(60)..(at + 60).min(text.len())]).into_owned()
    };
    format!("the snapshot has …{}… where the log has …{}…", around(found), around(wanted))
}

/// Columns as SQLite was told them, and all rows.
fn history(place: &Place) -> (String, Vec<Vec<Value>>) {
    let connection =
        Connection::open_with_flags(place.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("open the history");
    let shape = connection
        .query_row("SELECT sql FROM sqlite_schema WHERE name = ?", [TABLE], |row| row.get(0))
        .expect("the history is a table");
    let mut statement =
        connection.prepare(&format!("SELECT * FROM {TABLE} ORDER BY source_id")).expect("it can be read");
    let n_columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..n_columns).map(|i| row.get(i)).collect());
    (shape, rows.and_then(Iterator::collect).expect("read the history"))
}

/// Columns that are not decoded are no hindrance where the rule does not ask for them.
#[test]
fn a_table_with_types_that_are_not_decoded_is_read_without_them() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop; SET NAMES utf8mb4;
         CREATE TABLE odd (js JSON, id INT PRIMARY KEY, bi BIT(9), owner_id INT NOT NULL, en ENUM('a', 'b'), registered_at DATETIME NOT NULL,
           se SET('x', 'y'), ge GEOMETRY, ve VECTOR(3), asset_info VARCHAR(50), ts VARCHAR(20) CHARACTER SET utf32, KEY (owner_id));
         INSERT INTO odd VALUES ('{\"a\": [1, 2.5, null]}', 1, b'101010101', 10, 'b', '2025-01-01', 'x,y',
           ST_GeomFromText('POINT(1 2)'), STRING_TO_VECTOR('[1,2,3]'), 'café – 東京', 'é'), (NULL, 2, NULL, 10, NULL, '2025-01-01',
           NULL, NULL, NULL, 'nothing', NULL);",
    );
    let run = |settings: &str, snapshot: &str| {
        let place = place(&Live { table: "shop.odd", snapshot, ..Live::of(&server) }, settings);
        let answer = place.run_to_end();
        (place, answer)
    };
    for mode in ["chunks", "consistent"] {
        let snapshot = format!("snapshot = \"initial\"\nsnapshot-mode = {mode:?}");
        let [read, logged] = [&*snapshot, "snapshot = \"never\""].map(|snapshot| {
            let (place, answer) = run("", snapshot);
            assert_eq!(answer.exit, Some(0), "{}", answer.err);
            history(&place)
        });
        assert_eq!(read, logged, "{mode}");
        assert_eq!(read.1.len(), 2);
    }
    for (column, declared) in
        [("js", "json"), ("bi", "bit(9)"), ("en", "enum"), ("ge", "geometry"), ("ts", "varchar(20)")]
    {
        let (place, answer) = run(&format!("columns = \"{column}\""), "snapshot = \"initial\"");
        assert_eq!(answer.exit, Some(1), "{column}: {}", answer.err);
        for word in
            [&format!("shop.odd.{column} ({declared}"), "snapshot of shop.odd", "cannot be decoded", "leave it out"]
        {
            assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
        }
        assert_eq!(history(&place).1.len(), 0, "no row was written");
    }
}
