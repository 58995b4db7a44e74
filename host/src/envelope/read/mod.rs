//! Change events read back from Debezium's JSON envelope, into batches as a log gives them.
//!
//! [`scan`] goes through a text once and builds no tree; [`value`] reads each column's form; [`schema`] is how a table's shape
//! reaches whoever has the messages only.

mod connect;
mod foreign;
mod layout;
mod origin;
mod parts;
mod scan;
pub mod schema;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::value::Form;
use crate::civil::Zone;
use crate::event::{Batch, Field, Op, RowChange, Sides, TableSchema};
use crate::rows::Rows;
use layout::{Layout, Part};
use scan::{Fault, Scanner};
use value::Reading;

pub use foreign::{Foreign, ForeignSettings, Look};
pub use origin::{Origin, Step};
pub use parts::Payloads;

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub topic: &'a str,
    pub partition: u32,
    pub offset: u64,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic {}, partition {}, offset {}", self.topic, self.partition, self.offset)
    }
}

/// A record, as far as it says what happened.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub value: &'a [u8],
    /// The hash that names its table's schema.
    pub schema: &'a str,
    /// Whose record it is, of a change that has one for each of two entities.
    pub sides: Sides,
    pub place: Place<'a>,
}

/// Why a record is no change. Each text names the place, and the table and column as far as they are known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Its schema is not known: it has to be said with [`Reader::know`] first.
    #[error("{0}")]
    Schema(String),
    /// It is not what its schema says, or no envelope at all.
    #[error("{0}")]
    Garbage(String),
    /// It does not follow the one before it.
    #[error("{0}")]
    Order(String),
}

/// Reads events of tables whose schemas are known.
pub struct Reader {
    /// Whose wall clock times become.
    zone: Zone,
    known: FxHashMap<String, Arc<Known>>,
    /// As batches have them; each with the hash of its schema.
    tables: Vec<Table>,
    escaped: String,
    bytes: Vec<u8>,
}

/// A table's schema, and how each of its columns is written.
struct Known {
    schema: Arc<TableSchema>,
    columns: Vec<Column>,
    /// Rows may have other columns too, which are not read.
    has_others: bool,
}

struct Table {
    hash: String,
    known: Arc<Known>,
    /// Of its last event.
    layout: Layout,
}

struct Column {
    /// `"owner_id":`
    label: Vec<u8>,
    form: Form,
}

impl Reader {
    pub fn new(zone: Zone) -> Self {
        let (known, tables) = (FxHashMap::default(), Vec::new());
        Reader { zone, known, tables, escaped: String::new(), bytes: Vec::new() }
    }

    /// Learns a schema as [`schema::document`] wrote it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn know(&mut self, hash: &str, document: &[u8]) -> Result<(), String> {
        let (schema, forms) = schema::read(document)?;
        let of_columns = schema.fields.iter().map(|field| Form::of(field, forms)).collect();
        self.know_schema(hash, schema, of_columns, false);
        Ok(())
    }

    /// Learns a schema, with how each of its columns is written. `has_others`: rows may have more columns, which are not read.
    pub fn know_schema(&mut self, hash: &str, schema: Arc<TableSchema>, forms: Vec<Form>, has_others: bool) {
        let column = |(field, form): (&Field, Form)| {
            let mut label = Vec::new();
            crate::json::write(&mut label, &field.name);
            label.push(b':');
            Column { label, form }
        };
        let columns = schema.fields.iter().zip(forms).map(column).collect();
        self.known.insert(hash.to_owned(), Arc::new(Known { schema, columns, has_others }));
    }

    /// An empty batch of the tables as they are now.
    pub fn batch(&self) -> Batch {
        Batch {
            tables: self.tables.iter().map(|table| table.known.schema.clone()).collect(),
            images: self.tables.iter().map(|table| Rows::new(table.known.schema.fields.len())).collect(),
            ..Batch::default()
        }
    }

    /// Whether records of this schema go into the batch in hand, or need one that [`Reader::turn_to`] made possible.
    pub fn has_turned_to(&self, hash: &str) -> bool {
        self.tables.iter().any(|table| table.hash == hash)
    }

    /// From now on batches have the table of this schema in this shape.
    ///
    /// # Errors
    /// [`ReadError::Schema`]: it is not known.
    pub fn turn_to(&mut self, hash: &str, place: Place<'_>) -> Result<(), ReadError> {
        let Some(known) = self.known.get(hash) else {
            return Err(ReadError::Schema(format!("{place}: the schema {hash} of this message is not known")));
        };
        let turned = Table { hash: hash.to_owned(), known: known.clone(), layout: Layout::default() };
        match self.tables.iter_mut().find(|table| table.known.schema.name == known.schema.name) {
            Some(table) => *table = turned,
            None => self.tables.push(turned),
        }
        Ok(())
    }

    /// Appends a record's change to a batch that [`Reader::batch`] gave, as one of its last transaction.
    ///
    /// # Errors
    /// Nothing is appended.
    pub fn read(&mut self, batch: &mut Batch, record: &Record<'_>) -> Result<(), ReadError> {
        self.read_after(batch, record, None)
    }

    /// The same of a topic whose records have no numbers. `last`: where the last one came from, and then this one; a repeat is passed over.
    ///
    /// # Errors
    /// Nothing is appended.
    pub fn read_after(
        &mut self,
        batch: &mut Batch,
        record: &Record<'_>,
        last: Option<&mut Option<Origin>>,
    ) -> Result<(), ReadError> {
        let Some(number) = self.tables.iter().position(|table| table.hash == record.schema) else {
            return Err(ReadError::Schema(format!("{}: schema {} is not turned to", record.place, record.schema)));
        };
        let Reader { zone, tables, escaped, bytes, .. } = self;
        let Table { known: table, layout, .. } = &mut tables[number];
        let images = &mut batch.images[number];
        let n_images = images.len();
        let reading = Reading { zone, escaped: std::mem::take(escaped), bytes: std::mem::take(bytes) };
        let of = last.is_some().then(OfLog::default);
        let mut event = Event { table, images, reading, parts: Parts::default(), of, learned: 0 };
        let read = event.read(record.value, layout);
        let (parts, of) = (event.parts, event.of);
        (*escaped, *bytes) = (event.reading.escaped, event.reading.bytes);
        let change = read.and_then(|()| parts.change());
        let (op, before, after, time_us) = match change {
            Ok(change) => change,
            Err(what) => {
                batch.images[number].truncate(n_images);
                return Err(ReadError::Garbage(format!("{}: {}: {what}", record.place, table.schema.name)));
            }
        };
        if let (Some(last), Some(origin)) = (last, of.and_then(|of| of.origin(op, time_us))) {
            let step = last.as_ref().map_or(Step::Next, |last| origin.step(last));
            if step != Step::Next {
                batch.images[number].truncate(n_images);
            }
            match step {
                Step::Next => *last = Some(origin),
                Step::Repeat => return Ok(()),
                Step::Anew => {
                    return Err(ReadError::Order(format!(
                        "{}: it comes from {}:{}, which lies before what was read last, and is newer than that: the server's \
                         log began anew, and changes may be missing in between",
                        record.place, origin.file, origin.pos
                    )));
                }
            }
        }
        let time_us = zone.wall_clock(time_us);
        let first = batch.changes.len();
        batch.committed_us = Some(parts.time_us());
        batch.push(RowChange { table: number as u32, op, time_us, before, after, at: record.place.offset });
        if record.sides != Sides::Both {
            batch.changes[first..].iter_mut().for_each(|change| change.sides = record.sides);
        }
        Ok(())
    }
}

/// What an envelope says, as far as it has been read.
#[derive(Clone, Copy, Default)]
struct Parts {
    op: Option<u8>,
    before: Option<u32>,
    after: Option<u32>,
    ts_us: Option<i64>,
    ts_ms: Option<i64>,
}

impl Parts {
    /// Microseconds since 1970, UTC; 0 where there is none.
    fn time_us(&self) -> i64 {
        self.ts_us.or_else(|| self.ts_ms?.checked_mul(1_000)).unwrap_or(0)
    }

    fn change(&self) -> Result<(Op, Option<u32>, Option<u32>, i64), String> {
        let Parts { op, before, after, ts_us, ts_ms } = *self;
        let op = match op {
            Some(b'c') => Op::Create,
            Some(b'r') => Op::Read,
            Some(b'u') => Op::Update,
            Some(b'd') => Op::Delete,
            Some(b't') => return Err("the table was emptied (op \"t\"), which no history can follow".into()),
            Some(other) => return Err(format!("op \"{}\" is not known", other.escape_ascii())),
            None => return Err("it has no op".into()),
        };
        let fits = match op {
            Op::Create | Op::Read => after.is_some(),
            Op::Update => before.is_some() && after.is_some(),
            Op::Delete => before.is_some() && after.is_none(),
        };
        if !fits {
            return Err(format!("a {:?} without the images that it has", op.letter()));
        }
        if ts_us.is_none() && ts_ms.is_none() {
            return Err("source has neither ts_us nor ts_ms: when it happened is not known".into());
        }
        let before = before.filter(|_| matches!(op, Op::Update | Op::Delete));
        Ok((op, before, after, self.time_us()))
    }
}

struct Event<'e, 'z> {
    table: &'e Known,
    images: &'e mut Rows,
    reading: Reading<'z>,
    parts: Parts,
    /// Where it came from, where that matters.
    of: Option<OfLog>,
    /// How much of its text the layout knows.
    learned: usize,
}

/// What `source` says of the log.
#[derive(Default)]
struct OfLog {
    server: i64,
    file: String,
    pos: i64,
    row: i64,
}

impl OfLog {
    /// None: a row of a snapshot, or from no place that can be compared. No server that others read from has the number 0: our
    /// own topics name none, hold each change once, and say of a statement's rows only where it is.
    fn origin(self, op: Op, time_us: i64) -> Option<Origin> {
        let OfLog { server, file, pos, row } = self;
        let is_known =
            op != Op::Read && server > 0 && pos > 0 && !file.is_empty() && !file.contains(char::is_whitespace);
        is_known.then_some(Origin { server, file, pos, row, is_second: op == Op::Create, time_us })
    }
}

impl Event<'_, '_> {
    fn read(&mut self, text: &[u8], layout: &mut Layout) -> Result<(), String> {
        let mut scanner = Scanner::new(text).map_err(|fault| fault.to_string())?;
        let n_images = self.images.len();
        if layout.is_known() {
            if layout.follow(&mut scanner, |scanner, part| self.value(scanner, part)) {
                return Ok(());
            }
            self.images.truncate(n_images);
            (self.parts, self.of) = (Parts::default(), self.of.as_ref().map(|_| OfLog::default()));
            scanner.rewind(0);
        }
        layout.forget();
        let read = scanner.object(|scanner, name| self.member(scanner, name, layout)).and_then(|()| scanner.end());
        layout.learn_end(scanner.since(self.learned));
        read.map_err(|fault| {
            layout.forget();
            fault.to_string()
        })
    }

    fn member(&mut self, scanner: &mut Scanner<'_>, name: &str, layout: &mut Layout) -> Result<(), Fault> {
        let part = match name {
            "before" => Part::Before,
            "after" => Part::After,
            "op" => Part::Op,
            "source" => return scanner.object(|scanner, name| self.member_of_source(scanner, name, layout)),
            _ => Part::Other,
        };
        self.learn(scanner, part, layout)
    }

    fn member_of_source(&mut self, scanner: &mut Scanner<'_>, name: &str, layout: &mut Layout) -> Result<(), Fault> {
        let schema = &self.table.schema;
        let (database, table) = schema.name.split_once('.').unwrap_or(("", &schema.name));
        let has_log = self.of.is_some();
        let part = match name {
            "ts_us" => Part::TimeUs,
            "ts_ms" => Part::TimeMs,
            "server_id" if has_log => Part::Server,
            "file" if has_log => Part::File,
            "pos" if has_log => Part::Pos,
            "row" if has_log => Part::Row,
            "ts_ns" | "gtid" | "pos" | "row" | "thread" | "query" => Part::Other,
            "db" | "table" => {
                let wanted = if name == "db" { database } else { table };
                let found = value::text(scanner, &mut self.reading.escaped)?;
                if found == wanted {
                    return Ok(());
                }
                return scanner.fault(format!("source.{name} is {found:?}, and its schema is that of {}", schema.name));
            }
            _ => return scanner.skip(),
        };
        self.learn(scanner, part, layout)
    }

    /// Reads a value, and remembers what stands before it.
    fn learn(&mut self, scanner: &mut Scanner<'_>, part: Part, layout: &mut Layout) -> Result<(), Fault> {
        scanner.peek();
        layout.learn(scanner.since(self.learned), part);
        self.value(scanner, part)?;
        self.learned = scanner.at();
        Ok(())
    }

    fn value(&mut self, scanner: &mut Scanner<'_>, part: Part) -> Result<(), Fault> {
        let twice = |scanner: &Scanner<'_>, name: &str| scanner.fault(format!("{name} is there twice"));
        match part {
            Part::Before if self.parts.before.is_some() => return twice(scanner, "before"),
            Part::After if self.parts.after.is_some() => return twice(scanner, "after"),
            Part::Op if self.parts.op.is_some() => return twice(scanner, "op"),
            Part::Before => self.parts.before = self.image(scanner)?,
            Part::After => self.parts.after = self.image(scanner)?,
            Part::Op => {
                let op = value::text(scanner, &mut self.reading.escaped)?;
                match op.as_bytes() {
                    [letter] => self.parts.op = Some(*letter),
                    _ => return scanner.fault(format!("op {op:?} is not known")),
                }
            }
            Part::TimeMs => self.parts.ts_ms = Some(scanner.integer()?),
            Part::TimeUs => self.parts.ts_us = Some(scanner.integer()?),
            Part::Other => scanner.skip()?,
            Part::Server | Part::File | Part::Pos | Part::Row if scanner.take_null() => {}
            Part::Server | Part::File | Part::Pos | Part::Row => {
                let of = self.of.get_or_insert_default();
                match part {
                    Part::File => value::text(scanner, &mut self.reading.escaped)?.clone_into(&mut of.file),
                    Part::Server => of.server = scanner.integer()?,
                    Part::Pos => of.pos = scanner.integer()?,
                    _ => of.row = scanner.integer()?,
                }
            }
        }
        Ok(())
    }

    /// Appends an image; none for null.
    fn image(&mut self, scanner: &mut Scanner<'_>) -> Result<Option<u32>, Fault> {
        if scanner.take_null() {
            return Ok(None);
        }
        let start = scanner.at();
        if !self.image_in_order(scanner)? {
            scanner.rewind(start);
            self.image_in_any_order(scanner)?;
        }
        Ok(Some(self.images.end_row() as u32))
    }

    /// The columns as the schema has them, written without a blank. False: they are not; nothing is appended.
    fn image_in_order(&mut self, scanner: &mut Scanner<'_>) -> Result<bool, Fault> {
        let Event { table, images, reading, .. } = self;
        let n_images = images.len();
        let mut separator: &[u8] = b"{";
        for (field, Column { label, form }) in table.schema.fields.iter().zip(&table.columns) {
            if !scanner.take_exactly(separator) || !scanner.take_exactly(label) {
                images.truncate(n_images);
                return Ok(false);
            }
            value::read(scanner, field, *form, reading, images).map_err(|fault| of_column(fault, field))?;
            separator = b",";
        }
        if !scanner.take_exactly(b"}") {
            images.truncate(n_images);
            return Ok(false);
        }
        Ok(true)
    }

    fn image_in_any_order(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Fault> {
        let Event { table, images, reading, .. } = self;
        let fields = &table.schema.fields;
        let mut places = vec![None; fields.len()];
        scanner.object(|scanner, name| {
            let Some(column) = fields.iter().position(|field| field.name == name) else {
                if table.has_others {
                    return scanner.skip();
                }
                return scanner.fault(format!("column {name:?} is not in the schema"));
            };
            if places[column].is_some() {
                return scanner.fault(format!("column {name} is there twice"));
            }
            places[column] = Some(scanner.at());
            scanner.skip()
        })?;
        let end = scanner.at();
        for ((field, Column { form, .. }), place) in fields.iter().zip(&table.columns).zip(places) {
            let Some(place) = place else { return scanner.fault(format!("column {} is missing", field.name)) };
            scanner.rewind(place);
            value::read(scanner, field, *form, reading, images).map_err(|fault| of_column(fault, field))?;
        }
        scanner.rewind(end);
        Ok(())
    }
}

fn of_column(Fault { at, what }: Fault, field: &Field) -> Fault {
    Fault { at, what: format!("column {} ({}): {what}", field.name, field.declared) }
}
