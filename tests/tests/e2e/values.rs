//! Every type that is decoded, written by a real server: what arrives in the history is what the server's own SELECT says.

use std::collections::BTreeMap;
use std::path::Path;

use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::{Pipeline, TABLE, assert_same};
use hindsight_tests::say::say;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// A column beside id, owner_id and registered_at: its declaration, and how the server is asked for it as text.
pub(crate) type Column = (&'static str, &'static str, Form);

#[derive(Clone, Copy)]
pub(crate) enum Form {
    Plain,
    Text,
    Datetime,
}
use Form::{Datetime, Plain, Text};

pub(crate) const COLUMNS: &[Column] = &[
    ("i1", "TINYINT", Plain),
    ("u1", "TINYINT UNSIGNED", Plain),
    ("i2", "SMALLINT", Plain),
    ("u2", "SMALLINT UNSIGNED", Plain),
    ("i3", "MEDIUMINT", Plain),
    ("u3", "MEDIUMINT UNSIGNED", Plain),
    ("i4", "INT", Plain),
    ("u4", "INT UNSIGNED", Plain),
    ("i8", "BIGINT", Plain),
    ("u8", "BIGINT UNSIGNED", Plain),
    ("bo", "BOOLEAN", Plain),
    ("d_10_2", "DECIMAL(10,2)", Plain),
    ("d_5_0", "DECIMAL(5,0)", Plain),
    ("d_9_9", "DECIMAL(9,9)", Plain),
    ("d_18_9", "DECIMAL(18,9)", Plain),
    ("d_19_10", "DECIMAL(19,10)", Plain),
    ("d_20_0u", "DECIMAL(20,0) UNSIGNED", Plain),
    ("d_30_30", "DECIMAL(30,30)", Plain),
    ("d_65_0", "DECIMAL(65,0)", Plain),
    ("d_65_30", "DECIMAL(65,30)", Plain),
    ("ch", "CHAR(10)", Text),
    ("ch255", "CHAR(255)", Text),
    ("v50", "VARCHAR(50)", Text),
    ("v63", "VARCHAR(63)", Text),
    ("v64", "VARCHAR(64)", Text),
    ("v1000", "VARCHAR(1000)", Text),
    ("vbin", "VARCHAR(50) COLLATE utf8mb4_bin", Text),
    ("v3", "VARCHAR(50) CHARACTER SET utf8mb3", Text),
    ("l1", "VARCHAR(256) CHARACTER SET latin1", Text),
    ("l1ch", "CHAR(20) CHARACTER SET latin1", Text),
    ("l1te", "TEXT CHARACTER SET latin1", Text),
    ("asc7", "VARCHAR(20) CHARACTER SET ascii", Text),
    ("u16", "VARCHAR(20) CHARACTER SET utf16", Text),
    ("sj", "VARCHAR(20) CHARACTER SET sjis", Text),
    ("tt", "TINYTEXT", Text),
    ("te", "TEXT", Text),
    ("mt", "MEDIUMTEXT", Text),
    ("lt", "LONGTEXT", Text),
    ("da", "DATE", Plain),
    ("dt0", "DATETIME", Datetime),
    ("dt1", "DATETIME(1)", Datetime),
    ("dt2", "DATETIME(2)", Datetime),
    ("dt3", "DATETIME(3)", Datetime),
    ("dt4", "DATETIME(4)", Datetime),
    ("dt5", "DATETIME(5)", Datetime),
    ("dt6", "DATETIME(6)", Datetime),
    ("ts0", "TIMESTAMP NULL", Datetime),
    ("ts1", "TIMESTAMP(1) NULL", Datetime),
    ("ts2", "TIMESTAMP(2) NULL", Datetime),
    ("ts3", "TIMESTAMP(3) NULL", Datetime),
    ("ts4", "TIMESTAMP(4) NULL", Datetime),
    ("ts5", "TIMESTAMP(5) NULL", Datetime),
    ("ts6", "TIMESTAMP(6) NULL", Datetime),
];

/// Values for the columns named, each list for as many rows; columns that are not named are NULL.
pub(crate) const VALUES: &[(&str, &[&str])] = &[
    ("i1", &["-128", "-1", "0", "1", "127"]),
    ("u1", &["0", "1", "127", "128", "255"]),
    ("i2", &["-32768", "-1", "0", "1", "32767"]),
    ("u2", &["0", "1", "32767", "32768", "65535"]),
    ("i3", &["-8388608", "-1", "0", "-8388607", "8388607", "-5"]),
    ("u3", &["0", "1", "8388607", "8388608", "16777215"]),
    ("i4", &["-2147483648", "-1", "0", "1", "2147483647"]),
    ("u4", &["0", "1", "2147483647", "2147483648", "4294967295"]),
    ("i8", &["-9223372036854775808", "-1", "0", "1", "9223372036854775807"]),
    ("u8", &["0", "1", "9223372036854775806", "9223372036854775807"]),
    ("bo", &["TRUE", "FALSE"]),
    ("d_10_2", &["-99999999.99", "99999999.99", "0", "-0.01", "0.01", "-1.28", "1.10", "-10000000", "12345678.9"]),
    ("d_5_0", &["-99999", "99999", "0", "-128", "-129", "256", "1"]),
    ("d_9_9", &["-0.999999999", "0.999999999", "0", "0.000000001", "-0.000000001", "-0.128"]),
    ("d_18_9", &["-999999999.999999999", "999999999.999999999", "0", "-1.000000001", "100000000.1"]),
    ("d_19_10", &["-999999999.9999999999", "999999999.9999999999", "0", "-1.0000000001", "-0.5"]),
    ("d_20_0u", &["0", "99999999999999999999", "18446744073709551615", "1000000000", "999999999"]),
    ("d_30_30", &["-0.999999999999999999999999999999", "0.000000000000000000000000000001", "0", "-0.1"]),
    (
        "d_65_0",
        &[
            "-99999999999999999999999999999999999999999999999999999999999999999",
            "99999999999999999999999999999999999999999999999999999999999999999",
            "0",
            "-1",
            "10000000000000000000000000000000000000000000000000000000000000000",
        ],
    ),
    (
        "d_65_30",
        &[
            "-99999999999999999999999999999999999.999999999999999999999999999999",
            "99999999999999999999999999999999999.999999999999999999999999999999",
            "0",
            "0.000000000000000000000000000001",
            "-0.000000000000000000000000000001",
            "-1.5",
            "1000000000.000000001",
        ],
    ),
    ("ch", &["''", "'a'", "'pad   '", "'열글자까지채움'", "'1234567890'", "'  x'"]),
    ("ch255", &["REPEAT('x', 255)", "REPEAT('한', 255)", "REPEAT('💾', 255)", "''"]),
    (
        "v50",
        &["''", "'trail  '", "'😀 quote '' back \\\\ '", "'NULL'", "CONCAT('nul', CHAR(0 USING utf8mb4), '\\n\\t\\r')"],
    ),
    ("v63", &["REPEAT('a', 63)", "REPEAT('💾', 63)", "''"]),
    ("v64", &["REPEAT('a', 64)", "REPEAT('💾', 64)", "''"]),
    ("v1000", &["REPEAT('long ', 200)", "REPEAT('💾', 1000)", "''"]),
    ("vbin", &["'BiN'", "'é'"]),
    ("v3", &["'é한'", "''"]),
    ("l1te", &["'café – €'", "REPEAT('ÿ', 300)", "''"]),
    ("l1ch", &["'é ÿ'", "'€'"]),
    ("asc7", &["'plain'", "''"]),
    ("u16", &["'é한💾'", "''"]),
    ("sj", &["'日本ﾃｽﾄ'", "'a~b'"]),
    ("tt", &["REPEAT('t', 255)", "''", "REPEAT('é', 127)"]),
    ("te", &["REPEAT('한', 300)", "''", "REPEAT('x', 65535)"]),
    ("mt", &["REPEAT('m', 70000)", "''"]),
    ("lt", &["REPEAT('l', 300)", "''"]),
    (
        "da",
        &[
            "'1000-01-01'",
            "'9999-12-31'",
            "'1969-12-31'",
            "'1970-01-01'",
            "'2024-02-29'",
            "'0001-01-01'",
            "'2000-03-01'",
        ],
    ),
    (
        "dt0",
        &[
            "'1000-01-01 00:00:00'",
            "'9999-12-31 23:59:59'",
            "'1969-12-31 23:59:59'",
            "'2024-02-29 12:34:56'",
            "'0001-01-01 00:00:01'",
        ],
    ),
    (
        "dt1",
        &["'1000-01-01 00:00:00.0'", "'9999-12-31 23:59:59.9'", "'2024-02-29 12:34:56.7'", "'1969-12-31 23:59:59.1'"],
    ),
    ("dt2", &["'1000-01-01 00:00:00.01'", "'9999-12-31 23:59:59.99'", "'2024-02-29 12:34:56.70'"]),
    ("dt3", &["'1000-01-01 00:00:00.001'", "'9999-12-31 23:59:59.999'", "'1969-12-31 23:59:59.999'"]),
    ("dt4", &["'1000-01-01 00:00:00.0001'", "'9999-12-31 23:59:59.9999'", "'2024-02-29 12:34:56.0100'"]),
    ("dt5", &["'1000-01-01 00:00:00.00001'", "'9999-12-31 23:59:59.99999'"]),
    ("dt6", &["'1000-01-01 00:00:00.000001'", "'9999-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.999999'"]),
    ("ts0", &["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2024-02-29 12:34:56'"]),
    ("ts1", &["'1970-01-01 00:00:01.0'", "'2038-01-19 03:14:07.9'", "'2024-02-29 12:34:56.7'"]),
    ("ts2", &["'1970-01-01 00:00:01.01'", "'2038-01-19 03:14:07.99'"]),
    ("ts3", &["'1970-01-01 00:00:01.001'", "'2038-01-19 03:14:07.999'"]),
    ("ts4", &["'1970-01-01 00:00:01.0001'", "'2038-01-19 03:14:07.9999'"]),
    ("ts5", &["'1970-01-01 00:00:01.00001'", "'2038-01-19 03:14:07.99999'"]),
    ("ts6", &["'1970-01-01 00:00:01.000001'", "'2038-01-19 03:14:07.999999'", "'2024-02-29 12:34:56.789012'"]),
];

/// Dates that MySQL keeps in some modes and that are on no calendar: NULL in the history.
pub(crate) const NO_DATES: &[(&str, &[&str])] = &[
    ("da", &["'0000-00-00'", "'2024-00-00'", "'2024-02-00'", "'2023-02-30'", "'2023-02-29'", "'2024-04-31'"]),
    ("dt0", &["'0000-00-00 00:00:00'", "'2024-01-00 00:00:00'", "'2023-02-31 01:02:03'"]),
    ("dt3", &["'0000-00-00 00:00:00.000'", "'2024-01-00 00:00:00.001'"]),
    ("dt6", &["'0000-00-00 00:00:00.000000'", "'2023-02-30 01:02:03.000001'"]),
    ("ts0", &["'0000-00-00 00:00:00'"]),
    ("ts6", &["'0000-00-00 00:00:00.000000'"]),
];

/// Rows from here on hold [`NO_DATES`].
pub(crate) const FIRST_NO_DATE: i64 = 1_000;

pub(crate) fn schema() -> String {
    let columns: String = COLUMNS.iter().map(|(name, declared, _)| format!(", {name} {declared}")).collect();
    format!(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;
         CREATE TABLE everything (id INT NOT NULL PRIMARY KEY, owner_id INT NOT NULL, registered_at DATETIME(6) NOT NULL{columns});"
    )
}

/// One row for every value of the longest list.
pub(crate) fn inserts(values: &[(&str, &[&str])], first_id: i64) -> String {
    let n_rows = values.iter().map(|(_, list)| list.len()).max().unwrap_or(0);
    let row = |row: usize| {
        let present: Vec<_> = values.iter().filter(|(_, list)| row < list.len()).collect();
        let names: String = present.iter().map(|(name, _)| format!(", {name}")).collect();
        let values: String = present.iter().map(|(_, list)| format!(", {}", list[row])).collect();
        let id = first_id + row as i64;
        format!(
            "INSERT INTO everything (id, owner_id, registered_at{names}) VALUES ({id}, {id}, '2025-01-01 00:00:00.5'{values});\n"
        )
    };
    (0..n_rows).map(row).collect()
}

/// A row's columns by name; None is NULL.
pub(crate) type Cells = BTreeMap<&'static str, Option<String>>;

/// What the server says, in the form in which the history holds it. `zone`: of the session, in which it shows TIMESTAMPs.
pub(crate) fn selected(server: &Mysql, zone: &str) -> BTreeMap<i64, Cells> {
    let expressions: String = COLUMNS
        .iter()
        .map(|(name, _, form)| match form {
            Plain | Text => format!(", HEX(CONVERT({name} USING utf8mb4))"),
            Datetime => format!(", HEX(CONVERT(DATE_FORMAT({name}, '%Y-%m-%d %H:%i:%s.%f') USING utf8mb4))"),
        })
        .collect();
    let printed = server.sql(&format!("USE shop; SET time_zone = '{zone}'; SELECT id{expressions} FROM everything;"));
    let row = |line: &str| {
        let mut cells = line.split('\t');
        let id = cells.next().expect("the id comes first").parse().expect("a number");
        let cell = |(name, _, form): &Column, hex: &str| {
            let text = (hex != "NULL").then(|| unhex(hex));
            // No fraction where it is zero: so the history writes times.
            let text = match form {
                Datetime => text.map(|text| text.trim_end_matches(".000000").to_owned()),
                Plain | Text => text,
            };
            (*name, text)
        };
        (id, COLUMNS.iter().zip(cells).map(|(column, hex)| cell(column, hex)).collect())
    };
    printed.lines().map(row).collect()
}

pub(crate) fn unhex(hex: &str) -> String {
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits"));
    String::from_utf8(bytes.collect()).expect("the server converted to UTF-8")
}

/// The history's rows by id; `current`: which of the two that each id has.
fn kept(database: &Path, current: bool) -> BTreeMap<i64, Cells> {
    let connection = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("open the history");
    let names: String = COLUMNS.iter().map(|(name, ..)| format!(", {name}")).collect();
    let query = format!("SELECT source_id{names} FROM {TABLE} WHERE is_current = {current}");
    let mut statement = connection.prepare(&query).expect("the history has every column");
    let rows = statement.query_map([], |row| {
        let cell = |i: usize| -> rusqlite::Result<Option<String>> {
            match row.get_ref(i + 1)? {
                ValueRef::Null => Ok(None),
                ValueRef::Integer(number) => Ok(Some(number.to_string())),
                ValueRef::Text(text) => Ok(Some(String::from_utf8(text.to_vec()).expect("SQLite's texts are UTF-8"))),
                other => panic!("{} is {other:?}", COLUMNS[i].0),
            }
        };
        let cells = COLUMNS.iter().enumerate().map(|(i, (name, ..))| Ok((*name, cell(i)?)));
        Ok((row.get(0)?, cells.collect::<rusqlite::Result<Cells>>()?))
    });
    rows.and_then(Iterator::collect).expect("read the history")
}

#[test]
fn every_type_arrives_as_the_server_says_it() {
    let server = Mysql::start(&[]);
    server.sql(&schema());
    server.finished_logs();
    // latin1 is cp1252 in MySQL: all of its bytes, those that cp1252 leaves undefined too.
    let all_bytes: String = (0..=255_u8).map(|byte| format!("{byte:02x}")).collect();
    server.sql(&format!(
        "SET NAMES utf8mb4; USE shop; {} INSERT INTO everything (id, owner_id, registered_at, l1)
         VALUES (900, 900, '2025-01-01 00:00:00.5', CONVERT(x'{all_bytes}' USING latin1));
         SET sql_mode = 'ALLOW_INVALID_DATES'; {}
         UPDATE everything SET registered_at = '2025-02-01 00:00:00';",
        inserts(VALUES, 1),
        inserts(NO_DATES, FIRST_NO_DATE),
    ));
    let log = server.finished_log();
    let columns = COLUMNS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(",");
    for zone in ["+00:00", "+05:30", "-11:00"] {
        let settings = format!("columns = {columns:?}");
        let files = vec![log.clone()];
        let pipeline =
            Pipeline { settings: &settings, files, table: "shop.everything", time_zone: zone, ..Pipeline::default() };
        let (place, answer) = pipeline.run();
        let mut wanted = selected(&server, zone);
        assert_eq!(answer.count("inserts"), wanted.len() as u64);
        assert_eq!(answer.count("updates"), wanted.len() as u64);
        let mut n_no_dates = 0;
        for (_, cells) in wanted.range_mut(FIRST_NO_DATE..) {
            n_no_dates += cells.values().flatten().count();
            cells.values_mut().for_each(|cell| *cell = None);
        }
        assert_eq!(n_no_dates, NO_DATES.iter().map(|(_, list)| list.len()).sum::<usize>(), "the server kept them");
        let n_values = wanted.values().flat_map(|cells| cells.values()).flatten().count();
        say(&format!("{zone}: {n_values} values of {} columns, {n_no_dates} dates on no calendar", COLUMNS.len()));
        assert_same(&kept(&place.database(), true), &wanted, &format!("the after images of updates, zone {zone}"));
        assert_same(&kept(&place.database(), false), &wanted, &format!("the images of inserts, zone {zone}"));
    }
}

#[test]
fn a_zone_with_summer_time_shows_each_instant_on_its_wall_clock() {
    let server = Mysql::start(&[]);
    server.sql(
        "CREATE DATABASE shop; CREATE TABLE shop.visits (id INT PRIMARY KEY, owner_id INT, registered_at DATETIME, seen TIMESTAMP(3) NULL);",
    );
    server.finished_logs();
    // Winter, summer, and the two instants that share an hour of the night in which summer time ends.
    let instants = ["2024-01-15 12:00:00.250", "2024-07-15 12:00:00", "2024-10-27 00:30:00", "2024-10-27 01:30:00"];
    for (id, instant) in instants.iter().enumerate() {
        server.sql(&format!("INSERT INTO shop.visits VALUES ({id}, {id}, '2024-01-01 00:00:00', '{instant}')"));
    }
    // 2024-07-20 10:00:00.123456 UTC
    server.sql("SET timestamp = 1721469600.123456, SESSION original_commit_timestamp = 1721469600123456; DELETE FROM shop.visits WHERE id = 1;");
    let files = vec![server.finished_log()];
    let settings = "columns = \"seen\"";
    let pipeline =
        Pipeline { settings, files, table: "shop.visits", time_zone: "Europe/Berlin", ..Pipeline::default() };
    let (place, answer) = pipeline.run();
    assert_eq!(answer.count("inserts"), 4);
    let query = "SELECT source_id, effective_start_ts, seen, effective_end_ts FROM item_asset_history ORDER BY 1";
    let connection = Connection::open(place.database()).expect("open the history");
    let mut statement = connection.prepare(query).expect("the history has these columns");
    let rows = statement.query_map([], |row| Ok((row.get(1)?, row.get(2)?, row.get(3)?)));
    let rows: Vec<(String, String, Option<String>)> = rows.and_then(Iterator::collect).expect("read the history");
    let start = || "2024-01-01 00:00:00".to_owned();
    let wanted = vec![
        (start(), "2024-01-15 13:00:00.250000".to_owned(), None),
        (start(), "2024-07-15 14:00:00".to_owned(), Some("2024-07-20 12:00:00.123456".to_owned())),
        (start(), "2024-10-27 02:30:00".to_owned(), None),
        (start(), "2024-10-27 02:30:00".to_owned(), None),
    ];
    assert_eq!(rows, wanted);
}

#[test]
fn a_text_that_no_converter_reads_stops_with_its_name_if_it_was_asked_for_and_only_then() {
    let server = Mysql::start(&[]);
    server.sql(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;
         CREATE TABLE odd (id INT PRIMARY KEY, js JSON, owner_id INT, bi BIT(9), en ENUM('a', 'b'), registered_at DATETIME,
           se SET('x', 'y'), ge GEOMETRY, ve VECTOR(3), asset_info VARCHAR(50), ts VARCHAR(20) CHARACTER SET utf32,
           en4 ENUM('é') CHARACTER SET utf32);",
    );
    server.finished_logs();
    server.sql(
        "SET NAMES utf8mb4; USE shop;
         INSERT INTO odd VALUES (1, '{\"a\": [1, 2.5, null]}', 10, b'101010101', 'b', '2025-01-01', 'x,y',
           ST_GeomFromText('POINT(1 2)'), STRING_TO_VECTOR('[1,2,3]'), 'café – 東京', 'é', 'é');
         UPDATE odd SET asset_info = 'later', registered_at = '2025-01-02', js = '[]' WHERE id = 1;",
    );
    let log = server.finished_log();
    let pipeline = Pipeline { files: vec![log], table: "shop.odd", ..Pipeline::default() };
    let (place, answer) = pipeline.run();
    assert_eq!(answer.count("changes"), 2);
    let history = place.history();
    let infos: Vec<_> = history.values().map(|row| row.info.as_deref()).collect();
    assert_eq!(infos, [Some("café – 東京"), Some("later")], "the columns around them are read right");
    for (column, declared) in [("ts", "varchar(20)"), ("en4", "enum")] {
        let settings = format!("columns = \"asset_info,{column}\"");
        let (place, answer) = Pipeline { settings: &settings, ..pipeline.clone() }.run();
        assert_eq!(answer.exit, Some(1), "{column}: {}", answer.err);
        for word in [&format!("shop.odd.{column} ({declared})"), "binlog.0000", "cannot be decoded", "leave it out"] {
            assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
        }
        assert_eq!(place.checkpoint(), None, "nothing was written");
    }
}

#[test]
fn an_unsigned_value_that_sqlite_cannot_hold_stops_by_name() {
    let server = Mysql::start(&[]);
    server.sql("CREATE DATABASE shop; CREATE TABLE shop.big (id INT PRIMARY KEY, owner_id INT, registered_at DATETIME, n BIGINT UNSIGNED);");
    server.finished_logs();
    server.sql("INSERT INTO shop.big VALUES (1, 1, '2025-01-01', 9223372036854775807); INSERT INTO shop.big VALUES (2, 1, '2025-01-01', 9223372036854775808);");
    let files = vec![server.finished_log()];
    let pipeline = Pipeline { settings: "columns = \"n\"", files, table: "shop.big", batch: 1, ..Pipeline::default() };
    let (place, answer) = pipeline.run();
    assert_eq!(answer.exit, Some(1), "{}", answer.err);
    for word in ["n (bigint unsigned)", "9223372036854775808 is above 2^63 - 1", "leave the column out"] {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    let connection = Connection::open(place.database()).expect("open the history");
    let kept: Vec<i64> = connection
        .prepare("SELECT n FROM item_asset_history")
        .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
        .expect("read the history");
    assert_eq!(kept, [i64::MAX], "the transaction before it is there, and nothing else");
}
