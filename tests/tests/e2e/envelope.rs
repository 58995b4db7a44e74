//! What stands in an event: every type as the server says it; and on the page about events.

use std::collections::BTreeMap;
use std::fs;

use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::{Pipeline, assert_same};
use hindsight_tests::program::repository;
use hindsight_tests::steps::Steps;
use jiff::{ToSpan, civil};
use serde_json::Value;

use crate::documents::{Shown, shown};
use crate::golden::envelope;
use crate::values::{COLUMNS, Cells, FIRST_NO_DATE, NO_DATES, VALUES, inserts, schema, selected};

#[test]
fn every_type_is_written_as_the_server_says_it() {
    let server = Mysql::start(&[]);
    server.sql(&schema());
    server.finished_logs();
    let all_bytes: String = (0..=255_u8).map(|byte| format!("{byte:02x}")).collect();
    server.sql(&format!(
        "SET NAMES utf8mb4; USE shop; {} INSERT INTO everything (id, owner_id, registered_at, l1)
         VALUES (900, 900, '2025-01-01 00:00:00.5', CONVERT(x'{all_bytes}' USING latin1));
         INSERT INTO everything (id, owner_id, registered_at, u8) VALUES (901, 901, '2025-01-01', 18446744073709551615);
         SET sql_mode = 'ALLOW_INVALID_DATES'; {}
         UPDATE everything SET registered_at = '2025-02-01 00:00:00';",
        inserts(VALUES, 1),
        inserts(NO_DATES, FIRST_NO_DATE),
    ));
    let log = server.finished_log();
    let mut wanted = selected(&server, "+00:00");
    for (_, cells) in wanted.range_mut(FIRST_NO_DATE..) {
        cells.values_mut().for_each(|cell| *cell = None);
    }
    // Whatever the zone of DATETIME columns is: events are in UTC.
    for zone in ["UTC", "Europe/Berlin"] {
        let (table, files) = ("shop.everything", vec![log.clone()]);
        let place =
            Pipeline { settings: "columns = \"v50\"", files, table, time_zone: zone, ..Pipeline::default() }.place();
        assert_eq!(place.capture_to_end().exit, Some(0));
        let events = place.captured().events;
        let images = |op: &str, side: &str| -> BTreeMap<i64, Cells> {
            let of_op = events.iter().map(|(event, _)| &event["value"]).filter(|value| value["op"] == op);
            of_op.map(|value| cells(&value[side])).collect()
        };
        let what = |side: &str| format!("{side}, zone {zone}");
        assert_same(&images("c", "after"), &wanted, &what("the images of inserts"));
        assert_same(&images("u", "before"), &wanted, &what("the before images of updates"));
        assert_same(&images("u", "after"), &wanted, &what("the after images of updates"));
    }

    // Beside a history of that zone the same: `run` has the wall clocks of TIMESTAMPs, and writes instants.
    let (table, files) = ("shop.everything", vec![log]);
    let pipeline = Pipeline { settings: "columns = \"v50\"", files, table, time_zone: "+05:30", ..Pipeline::default() };
    let place = pipeline.place();
    assert_eq!(place.run_with_events().output().expect("run hindsight").status.code(), Some(0));
    let events = place.captured().events;
    let inserted = events.iter().map(|(event, _)| &event["value"]).filter(|value| value["op"] == "c");
    assert_same(&inserted.map(|value| cells(&value["after"])).collect(), &wanted, "beside a history");
}

/// A row's id and its columns, in the text in which the server is asked for them.
fn cells(row: &Value) -> (i64, Cells) {
    let cell = |(name, declared, _): &(&'static str, &str, _)| (*name, text(&row[*name], declared));
    (row["id"].as_i64().expect("a number"), COLUMNS.iter().map(cell).collect())
}

fn text(value: &Value, declared: &str) -> Option<String> {
    let argument = |number: usize| {
        let arguments = declared.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inside, _)| inside);
        arguments.and_then(|inside| inside.split(',').nth(number)).map_or(0, |digits| digits.parse().expect("digits"))
    };
    let word = declared.split([' ', '(']).next().unwrap_or_default();
    Some(match (value, word) {
        (Value::Null, _) => return None,
        (Value::String(text), "DECIMAL") => decimal(&base64(text), argument(1)),
        (Value::String(text), "TIMESTAMP") => {
            let clock = text.strip_suffix('Z').expect("in UTC").replace('T', " ");
            let (clock, fraction) = clock.split_once('.').unwrap_or((&clock, ""));
            assert_eq!(fraction.len(), argument(0), "as many digits as the column has: {text}");
            let fraction = format!("{fraction:0<6}");
            if fraction == "000000" { clock.to_owned() } else { format!("{clock}.{fraction}") }
        }
        (Value::String(text), _) => text.clone(),
        (Value::Number(number), "DATE") => {
            clock(number.as_i64().expect("days") * DAY_US).split(' ').next().expect("a date").to_owned()
        }
        (Value::Number(number), "DATETIME") => {
            let per = if argument(0) <= 3 { 1_000 } else { 1 };
            clock(number.as_i64().expect("a time") * per)
        }
        (Value::Number(number), _) => number.to_string(),
        _ => panic!("{declared} as {value}"),
    })
}

const DAY_US: i64 = 86_400_000_000;

/// As the server is asked for a DATETIME: no fraction where it is zero.
fn clock(us: i64) -> String {
    let date = civil::date(1970, 1, 1).checked_add(us.div_euclid(DAY_US).days()).expect("a date");
    let (second, micros) = (us.rem_euclid(DAY_US) / 1_000_000, us.rem_euclid(1_000_000));
    let text = format!("{date} {:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    if micros == 0 { text } else { format!("{text}.{micros:06}") }
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    assert!(text.len().is_multiple_of(4), "{text}");
    let letters = text.trim_end_matches('=');
    let mut bits = 0_u32;
    let mut bytes = Vec::new();
    for (i, letter) in letters.chars().enumerate() {
        bits = bits << 6 | LETTERS.find(letter).expect("a letter of base64") as u32;
        if i % 4 > 0 {
            bytes.push((bits >> [0, 4, 2, 0][i % 4]) as u8);
        }
    }
    bytes
}

/// Two's complement, big-endian, with so many digits behind the point.
fn decimal(bytes: &[u8], scale: usize) -> String {
    let negative = bytes[0] >= 0x80;
    let mut number: Vec<u8> = bytes.iter().map(|byte| if negative { !byte } else { *byte }).collect();
    if negative {
        for byte in number.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }
    let mut digits = Vec::new();
    while number.iter().any(|byte| *byte != 0) || digits.len() <= scale {
        let mut rest = 0_u32;
        for byte in &mut number {
            let value = rest << 8 | u32::from(*byte);
            (*byte, rest) = ((value / 10) as u8, value % 10);
        }
        digits.push(char::from(b'0' + rest as u8));
    }
    let digits: String = digits.into_iter().rev().collect();
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let sign = if negative { "-" } else { "" };
    if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

/// `docs/capture.md`: its commands and its lines.
#[test]
fn the_page_shows_what_is_written() {
    let page = fs::read_to_string(repository().join("docs/capture.md")).expect("read the page");
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql(Steps::SCHEMA);
    server.sql("INSERT INTO shop.item_assets VALUES (1, 7, 'laptop 4', '2025-01-01'), (2, 7, 'phone 9', '2025-01-02')");
    server.sql("UPDATE shop.item_assets SET owner_id = 8, registered_at = '2025-03-01' WHERE id = 1");
    let place = Live::of(&server).place();
    for Shown { command, output } in shown(&page) {
        let arguments: Vec<&str> = command.split(' ').skip(1).collect();
        let said = place.0.hindsight(&arguments).out;
        let steady = |line: &&str| !line.ends_with(" changes a second");
        let (said, shown): (Vec<&str>, Vec<&str>) =
            (said.lines().filter(steady).collect(), output.iter().map(String::as_str).filter(steady).collect());
        assert_eq!(said, shown, "{command}");
    }
    let lines =
        page.split("```json\n").nth(1).and_then(|rest| rest.split("\n```").next()).expect("the page shows lines");
    let [leaves, arrives, checkpoint] = lines.lines().collect::<Vec<_>>()[..] else { panic!("three lines: {lines}") };
    let written = fs::read_to_string(place.events()).expect("read the file");
    let written: Vec<&str> = written.lines().collect();
    let event = |line: &str| -> Value { serde_json::from_str(line).expect("an event") };
    let [.., left, arrived, reached] = written[..] else { panic!("three lines at least: {written:?}") };
    let (shown, left) = (event(leaves), event(left));
    assert_eq!(envelope(&shown["value"]), envelope(&left["value"]));
    for part in ["key", "headers"] {
        assert_eq!(shown[part], left[part]);
    }
    for image in ["before", "after"] {
        assert_eq!(shown["value"][image], left["value"][image]);
    }
    let (begin, end) = arrives.split_once('…').expect("the second one is cut short");
    assert!(arrived.starts_with(begin) && arrived.ends_with(end), "{arrived}");
    let (begin, _) = checkpoint.split_once('…').expect("the position is cut short");
    assert!(reached.starts_with(begin), "{reached}");
}
