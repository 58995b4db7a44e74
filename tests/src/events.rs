//! Reads the file that `capture --to` and `run --events` write: a line for each event of an entity, and one for each
//! checkpoint. Strict: what the form does not have is a fault, and so is an event that no checkpoint follows.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::gtids::GtidSet;
use crate::oracle::{Change, Event, Op, Row, Side};

/// What a file of events holds.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    pub events: Vec<Emitted>,
    pub checkpoints: Vec<Checkpoint>,
}

/// One line: what happened to one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    /// `database.table`
    pub table: String,
    pub event: Event,
    /// Of its transaction; a snapshot's row has none.
    pub gtid: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Events that are before it in the file.
    pub n_events: usize,
    /// The transactions behind which the log goes on.
    pub gtids: String,
    /// Changes that are done of the next one.
    pub skip: u64,
    pub snapshot: Option<Snapshot>,
}

/// How far a snapshot is, as a position tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// By `database.table`.
    pub tables: BTreeMap<String, TableRead>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRead {
    /// `asked`, `reading`, `read` or `ended`.
    pub stage: String,
    /// The columns that its chunks are cut by.
    pub key: Vec<String>,
    pub done: Vec<Chunk>,
    pub rows: u64,
}

/// A range of one integer key, or the whole table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The first key in it; none: from the beginning.
    pub from: Option<i64>,
    /// The first key behind it; none: to the end.
    pub to: Option<i64>,
    /// The transactions that its rows hold beside those before the snapshot.
    pub high: GtidSet,
}

/// A whole file.
pub fn read(path: &Path) -> Result<Recorded> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    parse(&text).with_context(|| format!("read {}", path.display()))
}

pub fn parse(text: &str) -> Result<Recorded> {
    ensure!(text.is_empty() || text.ends_with('\n'), "the last line is cut off");
    let mut recorded = Recorded::default();
    for (number, line) in text.lines().enumerate() {
        recorded.line(line).with_context(|| format!("line {}: {line}", number + 1))?;
    }
    let judged = recorded.checkpoints.last().map_or(0, |checkpoint| checkpoint.n_events);
    ensure!(
        judged == recorded.events.len(),
        "{} events have no checkpoint behind them",
        recorded.events.len() - judged
    );
    Ok(recorded)
}

/// The position of the last whole checkpoint line of a file that may be written at this moment; none where there is none.
pub fn last_position(path: &Path) -> Option<String> {
    const BEGIN: &str = "{\"checkpoint\":";
    let mut file = File::open(path).ok()?;
    let length = file.seek(SeekFrom::End(0)).ok()?;
    let mut wanted = 64 << 10;
    loop {
        let from = length.saturating_sub(wanted);
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        // What follows the last break is still being written; what precedes the first may be half a line.
        let whole = &bytes[..bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1)];
        let lines = whole.split(|&byte| byte == b'\n').skip(usize::from(from > 0));
        if let Some(line) = lines.filter(|line| line.starts_with(BEGIN.as_bytes())).last() {
            let line: Value = serde_json::from_slice(line).expect("a checkpoint line is JSON");
            return Some(line["checkpoint"]["position"].as_str().expect("a position is text").to_owned());
        }
        if from == 0 {
            return None;
        }
        wanted *= 4;
    }
}

impl Recorded {
    fn line(&mut self, line: &str) -> Result<()> {
        let line = serde_json::from_str(line)?;
        let line = fields(&line, &["key", "value", "headers", "checkpoint"])?;
        match line.get("checkpoint") {
            Some(checkpoint) => {
                ensure!(line.len() == 1, "a checkpoint's line has nothing else");
                let checkpoint = fields(checkpoint, &["source", "position"])?;
                self.checkpoints.push(Checkpoint::parse(text(checkpoint, "position")?, self.events.len())?);
            }
            None => self.events.push(emitted(line)?),
        }
        Ok(())
    }

    /// Where the snapshot stood when all its rows were there: it is in a position until the log is behind all of it.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.checkpoints.iter().rev().find_map(|checkpoint| checkpoint.snapshot.as_ref())
    }
}

impl Checkpoint {
    /// `position`: `mysql/1 skip=… gtids=SET[ snapshot=JSON]`
    pub fn parse(position: &str, n_events: usize) -> Result<Self> {
        ensure!(position.starts_with("mysql/1 "), "the position is `{position}`");
        let word = |name: &str| position.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        let gtids = word("gtids").context("a position without gtids")?.to_owned();
        let skip = word("skip").and_then(|skip| skip.parse().ok()).context("a position without skip")?;
        let snapshot = word("snapshot").map(Snapshot::parse).transpose()?;
        Ok(Checkpoint { n_events, gtids, skip, snapshot })
    }
}

impl Snapshot {
    fn parse(json: &str) -> Result<Self> {
        let json = serde_json::from_str(json).with_context(|| format!("snapshot={json}"))?;
        let progress = fields(&json, &["again", "begun", "tables"])?;
        ensure!(progress.get("again") == Some(&Value::Bool(false)), "this is no first snapshot: {json}");
        let tables = progress.get("tables").and_then(Value::as_array).context("no tables")?;
        Ok(Snapshot { tables: tables.iter().map(table_read).collect::<Result<_>>()? })
    }

    /// Whether rows are still to be read.
    pub fn is_reading(&self) -> bool {
        self.tables.values().any(|table| table.stage != "ended")
    }

    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.rows).sum()
    }
}

fn table_read(json: &Value) -> Result<(String, TableRead)> {
    let table = fields(json, &["name", "stage", "key", "done", "rows"])?;
    let list = |name: &str| table.get(name).and_then(Value::as_array).with_context(|| format!("no {name}: {json}"));
    let column = |value: &Value| value.as_str().map(str::to_owned).context("a column's name");
    let read = TableRead {
        stage: text(table, "stage")?.to_owned(),
        key: list("key")?.iter().map(column).collect::<Result<_>>()?,
        done: list("done")?.iter().map(chunk).collect::<Result<_>>()?,
        rows: table.get("rows").and_then(Value::as_u64).context("no rows")?,
    };
    Ok((text(table, "name")?.to_owned(), read))
}

fn chunk(json: &Value) -> Result<Chunk> {
    let chunk = fields(json, &["from", "to", "high"])?;
    // `["i-5"]`
    let end = |name: &str| match chunk.get(name) {
        Some(Value::Null) => Ok(None),
        Some(Value::Array(parts)) if parts.len() == 1 => {
            let number = parts[0].as_str().and_then(|text| text.strip_prefix('i')?.parse().ok());
            number.map(Some).with_context(|| format!("no integer key: {json}"))
        }
        _ => bail!("no key of one column: {json}"),
    };
    Ok(Chunk { from: end("from")?, to: end("to")?, high: GtidSet::parse(text(chunk, "high")?) })
}

fn emitted(line: &Map<String, Value>) -> Result<Emitted> {
    let part = |name: &str| line.get(name).with_context(|| format!("no {name}"));
    let value = fields(part("value")?, &["before", "after", "source", "transaction", "op", "ts_ms", "ts_us", "ts_ns"])?;
    let source = fields(
        value.get("source").context("no source")?,
        &[
            "version",
            "connector",
            "name",
            "ts_ms",
            "snapshot",
            "db",
            "sequence",
            "ts_us",
            "ts_ns",
            "table",
            "server_id",
            "gtid",
            "file",
            "pos",
            "row",
            "thread",
            "query",
        ],
    )?;
    let side = match fields(part("headers")?, &["hindsight.move"])?.get("hindsight.move").map(Value::as_str) {
        None => Side::Stays,
        Some(Some("leaves")) => Side::Leaves,
        Some(Some("arrives")) => Side::Arrives,
        Some(_) => bail!("no such move"),
    };
    let (before, after) = (row(value.get("before"))?, row(value.get("after"))?);
    let op = match (text(value, "op")?, &before, &after) {
        ("c", None, Some(_)) => Op::Create,
        ("r", None, Some(_)) => Op::Read,
        ("u", Some(_), Some(_)) => Op::Update,
        ("d", Some(_), None) => Op::Delete,
        _ => bail!("these images do not go with the op"),
    };
    ensure!(side == Side::Stays || op == Op::Update, "only an update moves a row");
    let time_us = source.get("ts_us").and_then(Value::as_i64).context("no source.ts_us")?;
    ensure!(source.get("ts_ms").and_then(Value::as_i64) == Some(time_us.div_euclid(1_000)), "ts_ms is not of ts_us");
    let from_snapshot = match text(source, "snapshot")? {
        "true" => true,
        "false" => false,
        other => bail!("source.snapshot is {other}"),
    };
    ensure!(from_snapshot == (op == Op::Read), "`r` and source.snapshot go together");
    let gtid = match source.get("gtid") {
        Some(Value::Null) => None,
        Some(Value::String(gtid)) => Some(gtid.clone()),
        _ => bail!("source.gtid is neither text nor null"),
    };
    let event = Event { change: Change { op, time_us, before, after }, side };
    let key = fields(part("key")?, &["owner_id"])?;
    ensure!(key.get("owner_id").and_then(Value::as_i64) == event.owner(), "the key is not the entity's");
    Ok(Emitted { table: format!("{}.{}", text(source, "db")?, text(source, "table")?), event, gtid })
}

/// A row of a table like `shop.item_assets`, whose DATETIME is milliseconds since 1970.
fn row(json: Option<&Value>) -> Result<Option<Row>> {
    let json = json.context("an image is absent")?;
    if json.is_null() {
        return Ok(None);
    }
    let row = fields(json, &["id", "owner_id", "asset_info", "registered_at"])?;
    ensure!(row.len() == 4, "a column is absent: {json}");
    let number = |name: &str| row[name].as_i64().with_context(|| format!("{name} is no integer: {json}"));
    Ok(Some(Row {
        id: Some(number("id")?),
        owner: Some(number("owner_id")?),
        info: Some(text(row, "asset_info")?.to_owned()),
        registered_us: Some(number("registered_at")? * 1_000),
    }))
}

/// An object that has no other fields than these.
fn fields<'a>(json: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>> {
    let object = json.as_object().with_context(|| format!("no object: {json}"))?;
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => bail!("the form has no `{unknown}`"),
        None => Ok(object),
    }
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str> {
    object.get(name).and_then(Value::as_str).with_context(|| format!("{name} is no text"))
}
