//! `capture` and `run --events` driven from outside, and their files read by plain JSON: nothing of the program takes part.
//!
//! [`wanted`] is what such a file must hold of the reference table, from the source's own list of changes and the design's
//! text: a changed primary key is a delete and a create, a move between owners is one event under either.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::live::{Reached, Running};
use crate::oracle::{Change, Op, Row};
use crate::pipeline::Place;
use crate::program::Answer;

/// An event of the reference table, under its owner.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub owner: Option<i64>,
    pub op: String,
    /// `leaves`, `arrives`
    pub moved: Option<String>,
    pub before: Option<Row>,
    pub after: Option<Row>,
    pub time_us: i64,
}

/// A file's lines.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    /// The events as they stand there, each with the number of checkpoints before it.
    pub events: Vec<(Value, usize)>,
    /// Positions.
    pub checkpoints: Vec<String>,
}

impl Captured {
    /// Reads a whole file: each line is an event or a checkpoint, and the last one is a checkpoint.
    #[track_caller]
    pub fn read(path: &Path) -> Captured {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
        let mut captured = Captured::default();
        let mut last = "";
        for line in text.split_inclusive('\n') {
            let whole = line.strip_suffix('\n').unwrap_or_else(|| panic!("the file ends inside a line: {line}"));
            let parsed: Value = serde_json::from_str(whole).unwrap_or_else(|error| panic!("{error}: {line}"));
            let fields: Vec<&str> =
                parsed.as_object().expect("a line is an object").keys().map(String::as_str).collect();
            match fields[..] {
                ["checkpoint"] => captured.checkpoints.push(text_of(&parsed["checkpoint"]["position"])),
                ["headers", "key", "value"] => captured.events.push((parsed, captured.checkpoints.len())),
                _ => panic!("neither an event nor a checkpoint: {line}"),
            }
            last = line;
        }
        assert!(last.is_empty() || last.starts_with("{\"checkpoint\":"), "events without a checkpoint: {last}");
        captured
    }

    /// Its events of the reference table.
    pub fn reference(&self) -> Vec<Event> {
        self.events.iter().map(|(event, _)| Event::of(event)).collect()
    }
}

impl Event {
    /// `event`: an object of key, value and headers.
    #[track_caller]
    pub fn of(event: &Value) -> Event {
        let (value, headers) = (&event["value"], event["headers"].as_object().expect("headers are an object"));
        assert!(headers.keys().all(|name| name == "hindsight.move"), "{event}");
        let row = |side: &str| {
            let row = Some(&value[side]).filter(|row| !row.is_null())?;
            assert_eq!(row.as_object().map(serde_json::Map::len), Some(4), "{event}");
            let millis = row["registered_at"].as_i64().expect("DATETIME(0) is in milliseconds");
            let info = Some(text_of(&row["asset_info"]));
            Some(Row {
                id: row["id"].as_i64(),
                owner: row["owner_id"].as_i64(),
                info,
                registered_us: Some(millis * 1_000),
            })
        };
        let source = &value["source"];
        assert_eq!((&source["db"], &source["table"]), (&"shop".into(), &"item_assets".into()));
        Event {
            owner: event["key"]["owner_id"].as_i64(),
            op: text_of(&value["op"]),
            moved: headers.get("hindsight.move").map(text_of),
            before: row("before"),
            after: row("after"),
            time_us: source["ts_us"].as_i64().expect("microseconds"),
        }
    }
}

/// The events of these changes.
pub fn wanted(changes: &[Change]) -> Vec<Event> {
    changes.iter().flat_map(of_change).collect()
}

fn of_change(change: &Change) -> Vec<Event> {
    let Change { op, time_us, before, after } = change;
    let event = |owner: Option<i64>, op: &str, moved: Option<&str>, before: &Option<Row>, after: &Option<Row>| Event {
        owner,
        op: op.into(),
        moved: moved.map(Into::into),
        before: before.clone(),
        after: after.clone(),
        time_us: *time_us,
    };
    match (op, before, after) {
        (Op::Create, None, Some(new)) => vec![event(new.owner, "c", None, before, after)],
        (Op::Read, None, Some(new)) => vec![event(new.owner, "r", None, before, after)],
        (Op::Delete, Some(old), None) => vec![event(old.owner, "d", None, before, after)],
        (Op::Update, Some(old), Some(new)) if old.id != new.id => {
            vec![event(old.owner, "d", None, before, &None), event(new.owner, "c", None, &None, after)]
        }
        (Op::Update, Some(old), Some(new)) if old.owner != new.owner => vec![
            event(old.owner, "u", Some("leaves"), before, after),
            event(new.owner, "u", Some("arrives"), before, after),
        ],
        (Op::Update, Some(_), Some(new)) => vec![event(new.owner, "u", None, before, after)],
        _ => panic!("a change has the images of its op: {change:?}"),
    }
}

/// Equal one by one, or a failure that shows the first that is not.
#[track_caller]
pub fn assert_events(found: &[Event], wanted: &[Event], what: &str) {
    let differs = found.iter().zip(wanted).position(|(found, wanted)| found != wanted);
    let at = differs.unwrap_or_else(|| found.len().min(wanted.len()));
    assert!(
        found == wanted,
        "{what}: {} events where there should be {}; number {at} is {:?} and should be {:?}",
        found.len(),
        wanted.len(),
        found.get(at),
        wanted.get(at)
    );
}

impl Place {
    /// The file that `capture` and `run --events` write in this folder.
    pub fn events(&self) -> PathBuf {
        self.0.path().join("events.jsonl")
    }

    #[track_caller]
    pub fn captured(&self) -> Captured {
        Captured::read(&self.events())
    }

    pub fn capture_to_end(&self) -> Answer {
        self.0.hindsight(&["capture", "--to", "events.jsonl", "--to-end", "--json"])
    }

    /// Starts `capture`, which follows the server until it is ended.
    #[track_caller]
    pub fn capture(&self) -> Running {
        let mut command = self.0.command(&["capture", "--to", "events.jsonl", "--json", "--log-format", "json"]);
        Running::of(command.spawn().expect("run hindsight"))
    }

    /// `run --events` to the log's end, not yet started.
    pub fn run_with_events(&self) -> Command {
        self.0.command(&["run", "--json", "--to-end", "--events", "events.jsonl"])
    }

    /// How far the file's last whole checkpoint is; nothing before the first.
    pub fn captured_until(&self) -> Reached {
        let text = fs::read(self.events()).unwrap_or_default();
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let mut lines = text[..whole].rsplit(|&byte| byte == b'\n');
        let last = lines.find(|line| line.starts_with(b"{\"checkpoint\":"));
        last.map_or(Reached::default(), |line| {
            let line: Value = serde_json::from_slice(line).expect("a whole checkpoint");
            Reached::parse(&text_of(&line["checkpoint"]["position"]))
        })
    }
}

#[track_caller]
fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
