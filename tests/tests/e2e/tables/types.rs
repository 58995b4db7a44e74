//! Each type in each time zone: a row that a snapshot reads is to the byte the one that the log holds.

use std::collections::BTreeMap;
use std::fs;

use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::{Place, TABLE, assert_same};
use hindsight_tests::say::say;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};

use super::replay::place;
use crate::values::{COLUMNS, FIRST_NO_DATE, NO_DATES, VALUES, inserts, schema, unhex};

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
    ("bit1", "BIT(1)", &["b'0'", "b'1'"]),
    ("bit9", "BIT(9)", &["0", "b'101010101'", "511", "1"]),
    ("bit64", "BIT(64)", &["0", "x'FFFFFFFFFFFFFFFF'", "x'0102030405060708'"]),
    (
        "en",
        "ENUM('a', 'it''s', '한글', 'with,comma', '')",
        &["'a'", "'it''s'", "'한글'", "'with,comma'", "''", "'none of them'"],
    ),
    ("enl1", "ENUM('é', 'ü') CHARACTER SET latin1", &["'é'", "'ü'", "1"]),
    ("se", "SET('x', 'y''', 'z', '한')", &["''", "'x'", "'x,z,한'", "'y'''", "15"]),
    ("js", "JSON", JSON),
    ("ge", "GEOMETRY", &["ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1.5)', 4326)"]),
    ("po", "POINT SRID 4326", &["ST_GeomFromText('POINT(37.5 127.0)', 4326)"]),
    ("pg", "POLYGON", &["ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')"]),
    (
        "gc",
        "GEOMETRYCOLLECTION",
        &["ST_GeomFromText('GEOMETRYCOLLECTION(POINT(0 0))')", "ST_GeomFromText('GEOMETRYCOLLECTION EMPTY')"],
    ),
    ("ve", "VECTOR(3)", &["STRING_TO_VECTOR('[1,2.5,-3e10]')"]),
];

/// What the log has in binary and a snapshot as the server's text.
const JSON: &[&str] = &[
    "'null'",
    "'true'",
    r#"'"two  blanks: , and a \\\\\\" quote\\""'"#,
    "'[]'",
    "'{}'",
    r#"'[1, [2, [3, {"k": []}]]]'"#,
    r#"'{"zz": 1, "a": 2, "é한💾": 3, "": 4, "a b": "c d"}'"#,
    "'[0, -1, 127, 128, 32767, 32768, -32768, -32769, 65535, 65536, 2147483647, 2147483648, -2147483649, 4294967296]'",
    "'[9223372036854775807, -9223372036854775808, 18446744073709551615, 18446744073709551616]'",
    "'[0.0, -0.0, 1.0, -1.5, 0.1, 100.0, 1e15, 1e16, 123456789012345678.0, 1e-5, 1.5e-14, 1e-15, 1e100, 5e-324, 1.7976931348623157e308]'",
    r#"JSON_ARRAY('\\ / \n\t\r\b " \0 \'', CHAR(1, 31, 127 USING utf8mb4))"#,
    "JSON_OBJECT('d', DATE '2024-02-29', 't', TIME '-12:34:56.789', 'z', TIME '00:00:00', 'dt', TIMESTAMP '2024-02-29 12:34:56')",
    "JSON_ARRAY(CAST(1.10 AS DECIMAL(10,2)), CAST(-0.5 AS DECIMAL(65,30)), CAST(x'00ff' AS BINARY(2)), x'', b'101', 1.5, NULL, TRUE)",
    "CAST(DATE '0001-01-01' AS JSON)",
    "CAST(ST_GeomFromText('POINT(1 2)') AS JSON)",
    "JSON_OBJECT('long', REPEAT('l', 70000), 'n', 70000, 'm', -70000, 'deep', JSON_ARRAY(1, 2.5, REPEAT('é', 300)))",
    "JSON_ARRAY(REPEAT('a', 127), REPEAT('b', 128), REPEAT('c', 16384))",
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
        let image: serde_json::Value = serde_json::from_str(&logged["1"]).expect("JSON");
        let n_columns = image.as_object().expect("an object").len();
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
fn a_table_with_texts_that_no_converter_reads_is_read_without_them() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop; SET NAMES utf8mb4;
         CREATE TABLE odd (js JSON, id INT PRIMARY KEY, bi BIT(9), owner_id INT NOT NULL, en ENUM('a', 'b'), registered_at DATETIME NOT NULL,
           se SET('x', 'y'), ge GEOMETRY, ve VECTOR(3), asset_info VARCHAR(50), ts VARCHAR(20) CHARACTER SET utf32,
           en4 ENUM('é') CHARACTER SET utf32, KEY (owner_id));
         INSERT INTO odd VALUES ('{\"a\": [1, 2.5, null]}', 1, b'101010101', 10, 'b', '2025-01-01', 'x,y',
           ST_GeomFromText('POINT(1 2)'), STRING_TO_VECTOR('[1,2,3]'), 'café – 東京', 'é', 'é'), (NULL, 2, NULL, 10, NULL, '2025-01-01',
           NULL, NULL, NULL, 'nothing', NULL, NULL);",
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
    for (column, declared) in [("ts", "varchar(20)"), ("en4", "enum")] {
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

/// Documents that nobody thought of: what the log's binary form becomes is what the server prints, but for its blanks.
#[test]
fn documents_are_those_that_the_server_prints() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(
        "CREATE DATABASE shop CHARACTER SET utf8mb4;
         CREATE TABLE shop.documents (id INT PRIMARY KEY, owner_id INT NOT NULL, registered_at DATETIME NOT NULL, js JSON, KEY (owner_id));",
    );
    let mut random = fastrand::Rng::with_seed(251);
    for _ in 0..N_DOCUMENTS / 100 {
        let rows: Vec<String> = (0..100)
            .map(|_| {
                let text = document(&mut random, 0).replace('\\', "\\\\").replace('\'', "''");
                format!("(0, 1, '2025-01-01', '{text}')")
            })
            .collect();
        server.sql(&format!(
            "SET NAMES utf8mb4; SET @id = (SELECT COALESCE(MAX(id), 0) FROM shop.documents);
             CREATE TEMPORARY TABLE shop.some LIKE shop.documents; ALTER TABLE shop.some DROP PRIMARY KEY;
             INSERT INTO shop.some VALUES {};
             INSERT INTO shop.documents SELECT @id := @id + 1, owner_id, registered_at, js FROM shop.some;
             DROP TEMPORARY TABLE shop.some;",
            rows.join(", ")
        ));
    }
    let printed = server.sql("SELECT id, HEX(CAST(js AS CHAR)) FROM shop.documents");
    let wanted: BTreeMap<String, String> = printed
        .lines()
        .map(|line| {
            let (id, hex) = line.split_once('\t').expect("two columns");
            (id.to_owned(), without_blanks(&unhex(hex)))
        })
        .collect();
    assert_eq!(wanted.len(), N_DOCUMENTS);
    for snapshot in ["snapshot = \"never\"", "snapshot = \"initial\""] {
        let place = place(&Live { table: "shop.documents", snapshot, ..Live::of(&server) }, "columns = \"js\"");
        assert_eq!(place.run_to_end().exit, Some(0));
        let connection = Connection::open(place.database()).expect("open the history");
        let mut statement =
            connection.prepare(&format!("SELECT source_id, js FROM {TABLE}")).expect("the history has both");
        let rows = statement.query_map([], |row| Ok((row.get::<_, i64>(0)?.to_string(), row.get(1)?)));
        let found: BTreeMap<String, String> = rows.and_then(Iterator::collect).expect("read the history");
        assert_same(&found, &wanted, snapshot);
    }
    say(&format!("{N_DOCUMENTS} documents are as the server prints them, by the log and by a snapshot"));
}

const N_DOCUMENTS: usize = 2_000;

fn document(random: &mut fastrand::Rng, depth: u32) -> String {
    let n = random.usize(0..if depth == 0 { 12 } else { 4 });
    match random.u32(0..if depth > 3 { 6 } else { 8 }) {
        0 => ["null", "true", "false"][random.usize(0..3)].into(),
        1 => (random.i64(..) >> random.u32(0..64)).to_string(),
        2 => (random.u64(..) >> random.u32(0..64)).to_string(),
        3 | 4 => {
            // Any exponent as often as any other, and numbers of few digits.
            let float = f64::from_bits(random.u64(..));
            let few = random.i32(-10_000..10_000) as f64 * 10_f64.powi(random.i32(-25..25));
            let float = if float.is_finite() && random.bool() { float } else { few };
            format!("{float:e}")
        }
        5 => string(random),
        6 => format!("[{}]", (0..n).map(|_| document(random, depth + 1)).collect::<Vec<_>>().join(",")),
        _ => {
            let member = |_| format!("{}:{}", string(random), document(random, depth + 1));
            format!("{{{}}}", (0..n).map(member).collect::<Vec<_>>().join(","))
        }
    }
}

fn string(random: &mut fastrand::Rng) -> String {
    const LETTERS: [char; 16] =
        ['a', ' ', '"', '\\', '/', '\u{1}', '\u{8}', '\n', '\t', '\r', '\u{c}', '\u{7f}', 'é', '한', '💾', ','];
    let text: String = (0..random.usize(0..9)).map(|_| LETTERS[random.usize(0..LETTERS.len())]).collect();
    serde_json::Value::String(text).to_string()
}

fn without_blanks(text: &str) -> String {
    let (mut within, mut escaped) = (false, false);
    let keeps = |letter: &char| {
        let kept = within || *letter != ' ';
        within ^= *letter == '"' && !escaped;
        escaped = *letter == '\\' && !escaped;
        kept
    };
    text.chars().filter(keeps).collect()
}
