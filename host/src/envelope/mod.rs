//! Change events as Debezium's JSON envelope, written straight from [`rows`](crate::rows), and files of them.
//!
//! [`Envelope`] writes a batch's events, a line each, in the form of a topic's messages: key, value, headers. [`value`] says
//! how each type is written; [`Events`] keeps such lines in a file, with checkpoints between them.

mod connect;
mod events;
mod file;
pub mod read;
#[cfg(test)]
mod tests;
mod value;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::civil::Zone;
use crate::event::{Batch, Change, Field, Op, TableSchema, Transaction};
use crate::groups::{self, Moved};
use crate::json;
use crate::rows::Row;
use crate::rule::Plan;
use value::{Flaw, Form};

pub use events::{Events, Origin};
pub use file::FileError;
pub use value::{Decimals, Forms, Times};

/// By what messages are keyed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyedBy {
    /// The rule's entity key: a change that moves a row between entities has an event under either.
    #[default]
    Entity,
    /// The row, as Debezium does it; none where the table has no primary key.
    PrimaryKey {
        /// Whether a delete is followed by a message without a value, by which a compacted copy forgets the row.
        tombstones: bool,
    },
}

/// Writes events.
pub struct Envelope {
    forms: Forms,
    keyed_by: KeyedBy,
    /// The topic that structures are named by, where each message has its schema beside it.
    beside: Option<String>,
    /// Whose wall clock TIMESTAMP columns and commit times show. In a zone with summer time the hour that is there twice
    /// cannot be told apart: it is taken for the first one.
    zone: Zone,
    /// `,"source":{"version":"0.1.0","connector":"mysql","name":"item-assets","ts_ms":`
    origin: Vec<u8>,
    /// As the batch in hand has them.
    tables: Vec<Table>,
    /// The event being written; a move has its value in two.
    value: Vec<u8>,
    key: Vec<u8>,
    /// What events end with behind their op: `","ts_ms":…,"ts_us":…,"ts_ns":…}`, of the host's clock.
    end: Vec<u8>,
}

/// An event as a topic holds it.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Position in [`Batch::tables`].
    pub table: u32,
    pub op: Op,
    /// The entity, or the row; none where the change has none.
    pub key: Option<&'a [u8]>,
    pub value: &'a [u8],
    pub moved: Moved,
}

/// Why a batch's events were not all written.
#[derive(Debug)]
pub enum Unwritten<E> {
    /// A value is absent or not decoded; the text names it, its place and what to do.
    Value(String),
    /// Whoever took the events.
    Taker(E),
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub events: u64,
    /// Of them, those under the entity that a row leaves.
    pub moves: u64,
}

/// A table, with all that its events have in common.
struct Table {
    schema: Arc<TableSchema>,
    columns: Vec<Column>,
    /// `"shop","sequence":null,"ts_us":`
    database: Vec<u8>,
    /// `,"table":"item_assets"`
    name: Vec<u8>,
    /// `{"schema":{…},"payload":`; empty where no schema is beside a message.
    before_value: Vec<u8>,
    before_key: Vec<u8>,
    /// Whose schema the latter is.
    key: Vec<usize>,
}

struct Column {
    /// `,"owner_id":`
    label: Vec<u8>,
    form: Form,
}

impl Envelope {
    /// `name`: the pipeline's; `zone`: that of the source whose batches are written.
    pub fn new(name: &str, zone: Zone, forms: Forms) -> Self {
        let mut origin = br#","source":{"version":""#.to_vec();
        origin.extend(env!("CARGO_PKG_VERSION").as_bytes());
        origin.extend(br#"","connector":"mysql","name":"#);
        json::write(&mut origin, name);
        let keyed_by = KeyedBy::default();
        origin.extend(br#","ts_ms":"#);
        let (tables, value, key, end) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Envelope { forms, keyed_by, beside: None, zone, origin, tables, value, key, end }
    }

    /// With other keys than the entities'.
    pub fn keyed_by(self, keyed_by: KeyedBy) -> Self {
        Envelope { keyed_by, ..self }
    }

    /// With its schema beside each value and key, as Kafka Connect's JSON converter has it by `schemas.enable`. `topic`: what
    /// structures are named by.
    pub fn with_schemas(self, topic: &str) -> Self {
        Envelope { beside: Some(topic.to_owned()), ..self }
    }

    /// Appends a batch's events, a line each; see [`Envelope::events`].
    ///
    /// # Errors
    /// A value is absent or not decoded; the text names it, its place and what to do.
    pub fn write(&mut self, out: &mut Vec<u8>, batch: &Batch, plan: Option<&Plan>) -> Result<Written, String> {
        let line = |event: &Event<'_>| {
            out.extend(br#"{"key":"#);
            out.extend(event.key.unwrap_or(b"null"));
            out.extend(br#","value":"#);
            out.extend(event.value);
            out.extend(match event.moved {
                Moved::Stays => &br#","headers":{}}"#[..],
                Moved::Leaves => br#","headers":{"hindsight.move":"leaves"}}"#,
                Moved::Arrives => br#","headers":{"hindsight.move":"arrives"}}"#,
            });
            out.push(b'\n');
            Ok::<_, std::convert::Infallible>(())
        };
        self.events(batch, plan, line).map_err(|error| match error {
            Unwritten::Value(text) => text,
            Unwritten::Taker(never) => match never {},
        })
    }

    /// Gives a batch's events, each under its key; of a change that moves a row between entities one under either entity's.
    /// Without a plan there is no change.
    ///
    /// # Errors
    /// A value cannot be written, or `take` fails: no further event is given.
    pub fn events<E>(
        &mut self,
        batch: &Batch,
        plan: Option<&Plan>,
        mut take: impl FnMut(&Event<'_>) -> Result<(), E>,
    ) -> Result<Written, Unwritten<E>> {
        let mut written = Written::default();
        let Some(plan) = plan else { return Ok(written) };
        self.meet(&batch.tables);
        let (mut transaction, mut log) = (None, Vec::new());
        for change in &batch.changes {
            if transaction != Some(change.transaction) {
                transaction = Some(change.transaction);
                write_log(&mut log, &batch.transactions[change.transaction as usize]);
            }
            // Before the keys are compared: what is not decoded is equal to everything.
            self.write_value(batch, change, &log).map_err(Unwritten::Value)?;
            let Envelope { tables, value, key, zone, keyed_by, beside, forms, .. } = self;
            let table = &mut tables[change.table as usize];
            let columns = match keyed_by {
                KeyedBy::Entity => &plan.tables[change.table as usize].entity_key,
                KeyedBy::PrimaryKey { .. } => &batch.tables[change.table as usize].primary_key,
            };
            if let Some(topic) = beside {
                table.key_by(columns, topic, *forms);
            }
            let table = &*table;
            let mut event = |row: Option<Row<'_>>, moved| {
                written.events += 1;
                written.moves += u64::from(moved == Moved::Leaves);
                key.clear();
                if let Some(row) = row {
                    key.extend(&table.before_key);
                    write_row(key, table, row, columns.iter().copied(), zone).map_err(|(column, flaw)| {
                        Unwritten::Value(unwritable(batch, change, "key", &table.schema.fields[column], flaw))
                    })?;
                    if !table.before_key.is_empty() {
                        key.push(b'}');
                    }
                }
                let key = row.is_some().then_some(key.as_slice());
                take(&Event { table: change.table, op: change.op, key, value, moved }).map_err(Unwritten::Taker)
            };
            if *keyed_by != KeyedBy::Entity {
                let row = batch.after(change).or(batch.before(change)).filter(|_| !columns.is_empty());
                event(row, Moved::Stays)?;
                continue;
            }
            match groups::entities(batch, change, columns) {
                Ok(seen) => seen.into_iter().flatten().try_for_each(|(row, moved)| event(Some(row), moved))?,
                Err(other_side) => event(other_side, Moved::Stays)?,
            }
        }
        Ok(written)
    }

    /// One change's event, without a key.
    ///
    /// # Errors
    /// As [`Envelope::write`].
    pub fn value(&mut self, batch: &Batch, change: &Change) -> Result<&[u8], String> {
        self.meet(&batch.tables);
        let mut log = Vec::new();
        write_log(&mut log, &batch.transactions[change.transaction as usize]);
        self.write_value(batch, change, &log)?;
        Ok(&self.value)
    }

    fn meet(&mut self, schemas: &[Arc<TableSchema>]) {
        write_end(&mut self.end);
        let of = |schema| Table::of(schema, self.forms, self.beside.as_deref());
        self.tables.truncate(schemas.len());
        for (i, schema) in schemas.iter().enumerate() {
            match self.tables.get_mut(i) {
                Some(table) if table.schema == *schema => {}
                Some(table) => *table = of(schema),
                None => self.tables.push(of(schema)),
            }
        }
    }

    /// `log`: what [`write_log`] wrote of the change's transaction.
    fn write_value(&mut self, batch: &Batch, change: &Change, log: &[u8]) -> Result<(), String> {
        let table = &self.tables[change.table as usize];
        let out = &mut self.value;
        out.clear();
        out.extend(&table.before_value);
        for (side, opening, image) in
            [("before", &br#"{"before":"#[..], batch.before(change)), ("after", br#","after":"#, batch.after(change))]
        {
            out.extend(opening);
            match image {
                None => out.extend(b"null"),
                Some(row) => write_row(out, table, row, 0..table.columns.len(), &self.zone)
                    .map_err(|(column, flaw)| unwritable(batch, change, side, &table.schema.fields[column], flaw))?,
            }
        }
        let time_us = self.zone.instant(change.time_us);
        // A row of a snapshot comes from no place of a log.
        let (log, at) = if change.op == Op::Read { (NO_LOG, 0) } else { (log, change.at) };
        out.extend(&self.origin);
        json::integer(out, time_us.div_euclid(1_000));
        out.extend(match change.op {
            Op::Read => &br#","snapshot":"true","db":"#[..],
            Op::Create | Op::Update | Op::Delete => br#","snapshot":"false","db":"#,
        });
        out.extend(&table.database);
        json::integer(out, time_us);
        out.extend(br#","ts_ns":"#);
        json::integer(out, time_us.saturating_mul(1_000));
        out.extend(&table.name);
        out.extend(log);
        json::unsigned(out, at);
        out.extend(br#","row":0,"thread":null,"query":null},"transaction":null,"op":""#);
        out.push(change.op.letter() as u8);
        out.extend(&self.end);
        if !table.before_value.is_empty() {
            out.push(b'}');
        }
        Ok(())
    }
}

impl Table {
    fn of(schema: &Arc<TableSchema>, forms: Forms, beside: Option<&str>) -> Self {
        let json = |before: &str, text: &str, behind: &str| {
            let mut out = before.as_bytes().to_vec();
            json::write(&mut out, text);
            out.extend(behind.as_bytes());
            out
        };
        let column = |field: &Field| Column { label: json(",", &field.name, ":"), form: Form::of(field, forms) };
        let (database, name) = schema.name.split_once('.').unwrap_or(("", &schema.name));
        Table {
            schema: schema.clone(),
            columns: schema.fields.iter().map(column).collect(),
            database: json("", database, r#","sequence":null,"ts_us":"#),
            name: json(r#","table":"#, name, ""),
            before_value: beside.map_or(Vec::new(), |topic| opening(&connect::of_value(topic, schema, forms))),
            before_key: Vec::new(),
            key: Vec::new(),
        }
    }

    /// Has keys of these columns; asked for each event, it does something at the first.
    fn key_by(&mut self, columns: &[usize], topic: &str, forms: Forms) {
        if self.before_key.is_empty() || self.key != columns {
            self.before_key = opening(&connect::of_key(topic, &self.schema, columns, forms));
            self.key = columns.to_vec();
        }
    }
}

/// What stands before a payload.
fn opening(schema: &connect::Schema) -> Vec<u8> {
    let mut out = br#"{"schema":"#.to_vec();
    json::write(&mut out, schema);
    out.extend(br#","payload":"#);
    out
}

/// When events are written, see [`Envelope::end`].
fn write_end(out: &mut Vec<u8>) {
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    out.clear();
    for (label, per) in [(&br#"","ts_ms":"#[..], 1_000_000), (br#","ts_us":"#, 1_000), (br#","ts_ns":"#, 1)] {
        out.extend(label);
        json::unsigned(out, (now_ns / per) as u64);
    }
    out.push(b'}');
}

/// These columns of a row as an object; an error names the column.
fn write_row(
    out: &mut Vec<u8>,
    table: &Table,
    row: Row<'_>,
    columns: impl Iterator<Item = usize>,
    zone: &Zone,
) -> Result<(), (usize, Flaw)> {
    let start = out.len();
    for column in columns {
        let Column { label, form } = &table.columns[column];
        out.extend(label);
        value::write(out, row.get(column), *form, zone).map_err(|flaw| (column, flaw))?;
    }
    // Each label begins with the comma before it.
    match out.get_mut(start) {
        Some(first) => *first = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
    Ok(())
}

/// What a transaction's changes have in common: `,"server_id":0,"gtid":"3e11…:5","file":"binlog.000003","pos":`. The server's
/// number is not kept beside them; Debezium has 0 where there is none.
fn write_log(out: &mut Vec<u8>, transaction: &Transaction) {
    out.clear();
    out.extend(br#","server_id":0,"gtid":"#);
    match &transaction.gtid {
        Some(gtid) => {
            let _ = write!(out, "\"{gtid}\"");
        }
        None => out.extend(b"null"),
    }
    out.extend(br#","file":"#);
    json::write(out, &*transaction.log);
    out.extend(br#","pos":"#);
}

/// The same of a snapshot.
const NO_LOG: &[u8] = br#","server_id":0,"gtid":null,"file":"","pos":"#;

fn unwritable(batch: &Batch, change: &Change, image: &str, field: &Field, flaw: Flaw) -> String {
    let why = match flaw {
        Flaw::Absent => {
            "is not in the row image; set binlog_row_image=FULL on the source, and begin a new file with a newer log"
        }
        Flaw::Undecoded => {
            "cannot be written in the envelope by this version, which writes all columns of a table; \
             leave the table out of source.tables"
        }
    };
    format!(
        "{}: column {}.{} ({}) of the {image} image {why}",
        batch.place(change),
        batch.schema(change).name,
        field.name,
        field.declared
    )
}
