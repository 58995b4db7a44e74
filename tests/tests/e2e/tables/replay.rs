//! Captured events done one after the other on no table: what they leave must be the table.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use hindsight_tests::captured::Captured;
use hindsight_tests::live::{Live, Running, WAIT_MAX};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::Place;
use serde_json::Value;

/// A pipeline's configuration with settings of the rule, as TOML.
pub fn place(live: &Live<'_>, settings: &str) -> Place {
    let place = live.place();
    let configured = fs::read_to_string(place.0.path().join("hindsight.toml")).expect("it was written");
    place.0.write("hindsight.toml", configured.replace("[rule]\n", &format!("[rule]\nsettings = {{ {settings} }}\n")));
    place
}

/// Waits until the file holds all that the server has executed, and the log is behind the snapshot.
#[track_caller]
pub fn wait_until_captured(place: &Place, server: &Mysql, running: &mut Running) {
    let begun = Instant::now();
    let is_behind = || {
        let text = fs::read_to_string(place.events()).unwrap_or_default();
        let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
        let last = whole.lines().rfind(|line| line.starts_with("{\"checkpoint\":"));
        last.is_some_and(|line| !line.contains(" snapshot="))
    };
    while !is_behind() || !server.has_all_executed_in(&place.captured_until().gtids) {
        running.assert_runs();
        assert!(begun.elapsed() < WAIT_MAX, "not all was captured: {}", running.log());
    }
}

/// Where a row stands: its table, its entity and its primary key; without one the whole row.
type At = (String, String, String);

/// What events leave.
#[derive(Debug, Default)]
pub struct Replay {
    rows: BTreeMap<At, Vec<Value>>,
    pub reads: usize,
    /// Changes behind the snapshot.
    pub changes: usize,
}

impl Replay {
    /// `entity` and `key`: columns; without a key rows are told by all their columns.
    ///
    /// Each event must meet what it says: `c` and `r` no row, `u` and `d` the row before it. Of a move each side is done on
    /// its own, as a chunk may hold one of them. `r` comes before everything else of its entity.
    #[track_caller]
    pub fn of(captured: &Captured, entity: &[&str], key: &[&str]) -> Replay {
        let mut replay = Replay::default();
        let mut changed = std::collections::BTreeSet::new();
        for (event, _) in &captured.events {
            let value = &event["value"];
            let at = |row: &Value| -> At {
                let of =
                    |columns: &[&str]| columns.iter().map(|name| row[*name].to_string()).collect::<Vec<_>>().join(",");
                let key = if key.is_empty() { row.to_string() } else { of(key) };
                (value["source"]["table"].to_string(), of(entity), key)
            };
            let moved = event["headers"]["hindsight.move"].as_str();
            let side = |side: &str, other: &str| {
                let row = &value[side];
                (!row.is_null() && moved != Some(other)).then(|| (at(row), row.clone()))
            };
            let (before, after) = (side("before", "arrives"), side("after", "leaves"));
            let op = value["op"].as_str().expect("an op");
            let fits = match op {
                "c" | "r" => before.is_none() && after.is_some(),
                "d" => before.is_some() && after.is_none(),
                "u" => before.is_some() || after.is_some(),
                _ => false,
            };
            assert!(fits, "no images for its op: {event}");
            if op == "r" {
                replay.reads += 1;
                let of = after.as_ref().map(|((table, entity, _), _)| (table.clone(), entity.clone())).expect("a row");
                assert!(!changed.contains(&of), "a row of the snapshot behind a change of its entity: {event}");
            } else {
                replay.changes += 1;
            }
            if let Some((at, row)) = before {
                changed.insert((at.0.clone(), at.1.clone()));
                let rows = replay.rows.entry(at).or_default();
                let found = rows.iter().position(|there| *there == row);
                rows.remove(found.unwrap_or_else(|| panic!("no such row, but {rows:?}, is there for {event}")));
            }
            if let Some((at, row)) = after {
                if op != "r" {
                    changed.insert((at.0.clone(), at.1.clone()));
                }
                let rows = replay.rows.entry(at).or_default();
                assert!(key.is_empty() || rows.is_empty(), "{rows:?} is there already for {event}");
                rows.push(row);
            }
        }
        replay
    }

    /// The rows, as sorted JSON; `table`: the source's.
    pub fn rows(&self, table: &str) -> Vec<Value> {
        let table = Value::from(table).to_string();
        let of_table = self.rows.iter().filter(|((of, ..), _)| *of == table);
        sorted(of_table.flat_map(|(_, rows)| rows.clone()).collect())
    }
}

pub fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(ToString::to_string);
    rows
}

/// A table's rows as the server has them: `object`, as of JSON_OBJECT, gives each the form that events have.
#[track_caller]
pub fn selected(server: &Mysql, table: &str, object: &str) -> Vec<Value> {
    // The client would escape what the server quotes.
    let printed = server.sql(&format!("SELECT HEX(CONVERT(JSON_OBJECT({object}) USING utf8mb4)) FROM {table}"));
    let row = |line: &str| {
        let bytes: Vec<u8> = (0..line.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&line[at..at + 2], 16).expect("hex digits"))
            .collect();
        serde_json::from_slice(&bytes).expect("the server writes JSON")
    };
    sorted(printed.lines().map(row).collect())
}

/// Equal, or a failure that shows the first row that is not.
#[track_caller]
pub fn assert_rows(found: &[Value], wanted: &[Value], what: &str) {
    let differs = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    let at = differs.unwrap_or_else(|| found.len().min(wanted.len()));
    assert!(
        found == wanted,
        "{what}: {} rows where the table has {}; number {at} is {:?} and should be {:?}",
        found.len(),
        wanted.len(),
        found.get(at),
        wanted.get(at)
    );
}
