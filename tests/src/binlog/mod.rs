//! MySQL binlog files made by hand: what a server would write, and what none ever should.
//!
//! [`Events`] writes events as MySQL 9.7 does and keeps a list of the changes in them, which no decoder has seen: tests
//! compare what a source hands out with that list. Formats: `libs/mysql/binlog/event/` of the server.

mod table;

use std::path::{Path, PathBuf};

use hindsight::civil::Zone;
use hindsight::event::{Op, Position};
use hindsight::source::{BinlogFile, BinlogFileSettings, SourceError, TableFilter};

use crate::contract::source::Seen;
pub use table::{Cell, Column, Kind, Table};

/// Type codes of events.
pub mod kind {
    pub const QUERY: u8 = 2;
    pub const STOP: u8 = 3;
    pub const ROTATE: u8 = 4;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const TABLE_MAP: u8 = 19;
    pub const INCIDENT: u8 = 26;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const PREVIOUS_GTIDS: u8 = 35;
    pub const XA_PREPARE: u8 = 38;
    pub const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const GTID_TAGGED: u8 = 42;
}

/// Bytes of an event's header.
pub const HEADER: usize = 19;
/// Whoever does not know the event may pass over it.
pub const FLAG_IGNORABLE: u16 = 0x80;
/// Compression types of a transaction payload.
pub const ZSTD: u64 = 0;
pub const UNCOMPRESSED: u64 = 255;

/// Post-header lengths by event type, as MySQL 9.7 writes them into its format description.
const POST_HEADERS: [u8; 42] = [
    0, 13, 0, 8, 0, 0, 0, 0, 4, 0, 4, 0, 0, 0, 99, 0, 4, 26, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 10, 10, 10, 42, 42, 0,
    18, 52, 0, 10, 40, 0, 0,
];
const UUID: [u8; 16] = [0x3e, 0x11, 0xfa, 0x47, 0x71, 0xca, 0x11, 0xe1, 0x9e, 0x33, 0xc8, 0x0a, 0xa9, 0x42, 0x95, 0x62];
/// 2025-01-01, seconds; transaction n is committed n seconds and n microseconds later.
const CLOCK: u64 = 1_735_689_600;

/// Events end to end: a file, or what is packed into a compressed transaction.
#[derive(Clone)]
pub struct Events {
    pub bytes: Vec<u8>,
    /// Where each event begins in `bytes`, and its type.
    pub starts: Vec<(usize, u8)>,
    /// The changes of captured tables, in order.
    pub changes: Vec<Seen>,
    /// How many of `changes` each transaction with any has made.
    pub transactions: Vec<usize>,
    /// Places between transactions: the byte, and how many of `changes` come before it.
    pub edges: Vec<(usize, usize)>,
    checksum: bool,
    inside_transaction: bool,
    /// Of the transaction in hand.
    number: u64,
    gtid: Option<String>,
    begun_at: usize,
}

impl Events {
    /// A file with the two events that every file begins with.
    #[allow(clippy::new_without_default, reason = "a file is more than nothing")]
    pub fn new() -> Self {
        Events::by("9.7.4", true)
    }

    /// `binlog_checksum=NONE`.
    pub fn without_checksums() -> Self {
        Events::by("9.7.4", false)
    }

    /// A file of another server version.
    pub fn by(version: &str, checksum: bool) -> Self {
        let mut events = Events { bytes: b"\xfebin".to_vec(), checksum: true, ..Events::inner(0) };
        let mut body = vec![4, 0];
        body.extend_from_slice(version.as_bytes());
        body.resize(2 + 50 + 4, 0);
        body.push(HEADER as u8);
        body.extend_from_slice(&POST_HEADERS);
        body.push(u8::from(checksum));
        // The format description has a checksum whatever the algorithm of the rest.
        events.event(kind::FORMAT_DESCRIPTION, &body);
        events.checksum = checksum;
        events.event_with(kind::PREVIOUS_GTIDS, FLAG_IGNORABLE, &0_u64.to_le_bytes());
        events
    }

    /// Without file header and checksums, as inside a payload of transaction `number`.
    fn inner(number: u64) -> Self {
        Events {
            bytes: Vec::new(),
            starts: Vec::new(),
            changes: Vec::new(),
            transactions: Vec::new(),
            edges: Vec::new(),
            checksum: false,
            inside_transaction: false,
            number,
            gtid: None,
            begun_at: 0,
        }
    }

    pub fn event(&mut self, kind: u8, body: &[u8]) -> &mut Self {
        self.event_with(kind, 0, body)
    }

    pub fn event_with(&mut self, kind: u8, flags: u16, body: &[u8]) -> &mut Self {
        let start = self.bytes.len();
        self.starts.push((start, kind));
        let size = HEADER + body.len() + if self.checksum { 4 } else { 0 };
        self.bytes.extend_from_slice(&((CLOCK + self.number) as u32).to_le_bytes());
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&1_u32.to_le_bytes());
        self.bytes.extend_from_slice(&(size as u32).to_le_bytes());
        self.bytes.extend_from_slice(&((start + size) as u32).to_le_bytes());
        self.bytes.extend_from_slice(&flags.to_le_bytes());
        self.bytes.extend_from_slice(body);
        if self.checksum {
            let crc = crc32fast::hash(&self.bytes[start..]);
            self.bytes.extend_from_slice(&crc.to_le_bytes());
        }
        if !self.inside_transaction {
            self.edges.push((self.bytes.len(), self.changes.len()));
        }
        self
    }

    /// GTID, BEGIN, what `statements` writes, XID.
    pub fn transaction(&mut self, statements: impl FnOnce(&mut Events)) -> &mut Self {
        self.gtid().begin();
        statements(self);
        self.xid()
    }

    /// The same as a compressed transaction.
    pub fn compressed(&mut self, statements: impl FnOnce(&mut Events)) -> &mut Self {
        self.gtid();
        let mut inner = self.inside();
        inner.begin();
        statements(&mut inner);
        inner.xid();
        self.payload(ZSTD, &inner)
    }

    /// What is to be packed into the transaction in hand.
    pub fn inside(&self) -> Events {
        Events { gtid: self.gtid.clone(), ..Events::inner(self.number) }
    }

    /// A TRANSACTION_PAYLOAD of these events.
    pub fn payload(&mut self, compression: u64, inner: &Events) -> &mut Self {
        let data = match compression {
            ZSTD => zstd::encode_all(inner.bytes.as_slice(), 3).expect("compress in memory"),
            _ => inner.bytes.clone(),
        };
        let at = self.bytes.len() as u64;
        self.changes.extend(inner.changes.iter().map(|change| Seen { at, ..change.clone() }));
        self.transactions.extend(&inner.transactions);
        self.inside_transaction = false;
        self.payload_of(compression, inner.bytes.len(), &data)
    }

    /// A TRANSACTION_PAYLOAD of these bytes.
    pub fn payload_of(&mut self, compression: u64, unpacked: usize, data: &[u8]) -> &mut Self {
        let mut body = Vec::new();
        for (field, number) in [(2, compression), (3, unpacked as u64), (1, data.len() as u64)] {
            body.push(field);
            let value = lenenc(number);
            body.push(value.len() as u8);
            body.extend(value);
        }
        body.push(0);
        body.extend_from_slice(data);
        self.event(kind::TRANSACTION_PAYLOAD, &body)
    }

    pub fn gtid(&mut self) -> &mut Self {
        self.begin_transaction();
        self.gtid = Some(format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:{}", self.number));
        let body = [&[1], UUID.as_slice(), &self.number.to_le_bytes(), &self.commit_times()].concat();
        self.event(kind::GTID, &body)
    }

    pub fn anonymous_gtid(&mut self) -> &mut Self {
        self.begin_transaction();
        self.gtid = None;
        let body = [&[1], [0; 16].as_slice(), &[0; 8], &self.commit_times()].concat();
        self.event(kind::ANONYMOUS_GTID, &body)
    }

    /// The server's serialization library: fields of a number and a value.
    pub fn tagged_gtid(&mut self, tag: &str) -> &mut Self {
        self.begin_transaction();
        self.gtid = Some(format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:{tag}:{}", self.number));
        let signed = |number: u64| varint(number << 1);
        let mut fields = [varint(0), varint(1), varint(1)].concat();
        UUID.iter().for_each(|&byte| fields.extend(varint(u64::from(byte))));
        fields.extend([varint(2), signed(self.number), varint(3), varint(tag.len() as u64)].concat());
        fields.extend_from_slice(tag.as_bytes());
        fields.extend([varint(4), signed(0), varint(5), signed(1), varint(6), varint(self.commit_us())].concat());
        let body = [varint(1), varint(fields.len() as u64), varint(4), fields].concat();
        self.event(kind::GTID_TAGGED, &body)
    }

    pub fn begin(&mut self) -> &mut Self {
        self.query("shop", b"BEGIN")
    }

    pub fn query(&mut self, database: &str, text: &[u8]) -> &mut Self {
        let mut body = vec![7, 0, 0, 0, 0, 0, 0, 0, database.len() as u8, 0, 0, 0, 0];
        body.extend_from_slice(database.as_bytes());
        body.push(0);
        body.extend_from_slice(text);
        self.event(kind::QUERY, &body)
    }

    /// A statement that commits by itself.
    pub fn ddl(&mut self, text: &[u8]) -> &mut Self {
        self.gtid();
        self.inside_transaction = false;
        self.query("shop", text)
    }

    pub fn xid(&mut self) -> &mut Self {
        self.end_transaction();
        self.event(kind::XID, &self.number.to_le_bytes())
    }

    /// COMMIT as a statement, as engines without transactions have it.
    pub fn commit(&mut self) -> &mut Self {
        self.end_transaction();
        self.query("shop", b"COMMIT")
    }

    /// What the transaction in hand has changed counts for nothing.
    pub fn rollback(&mut self) -> &mut Self {
        self.changes.truncate(self.begun_at);
        self.inside_transaction = false;
        self.query("shop", b"ROLLBACK")
    }

    pub fn table_map(&mut self, id: u64, table: &Table) -> &mut Self {
        self.event(kind::TABLE_MAP, &table.map(id, true))
    }

    /// `binlog_row_metadata=MINIMAL`.
    pub fn minimal_table_map(&mut self, id: u64, table: &Table) -> &mut Self {
        self.event(kind::TABLE_MAP, &table.map(id, false))
    }

    pub fn insert(&mut self, id: u64, table: &Table, rows: &[Vec<Cell>]) -> &mut Self {
        self.list(table, rows.iter().map(|row| (Op::Create, None, Some(row.clone()))));
        self.rows(kind::WRITE_ROWS, id, table, &[None], rows.iter())
    }

    pub fn delete(&mut self, id: u64, table: &Table, rows: &[Vec<Cell>]) -> &mut Self {
        self.list(table, rows.iter().map(|row| (Op::Delete, Some(row.clone()), None)));
        self.rows(kind::DELETE_ROWS, id, table, &[None], rows.iter())
    }

    /// Before and after images.
    pub fn update(&mut self, id: u64, table: &Table, rows: &[(Vec<Cell>, Vec<Cell>)]) -> &mut Self {
        for (before, after) in rows {
            let (before, after) = (before.clone(), after.clone());
            if table.primary_key.iter().any(|&column| before[column] != after[column]) {
                self.list(table, [(Op::Delete, Some(before), None), (Op::Create, None, Some(after))].into_iter());
            } else {
                self.list(table, [(Op::Update, Some(before), Some(after))].into_iter());
            }
        }
        self.rows(kind::UPDATE_ROWS, id, table, &[None, None], rows.iter().flat_map(|(before, after)| [before, after]))
    }

    /// A rows event; `present`: a bitmap for each image, none for all columns. An image holds the columns that are present.
    pub fn rows<'a>(
        &mut self,
        kind: u8,
        id: u64,
        table: &Table,
        present: &[Option<Vec<u8>>],
        images: impl Iterator<Item = &'a Vec<Cell>>,
    ) -> &mut Self {
        let n_columns = table.columns.len();
        let mut body = id.to_le_bytes()[..6].to_vec();
        // The statement's end; no extra data.
        body.extend_from_slice(&[1, 0, 2, 0]);
        body.extend(lenenc(n_columns as u64));
        let all = table::bits((0..n_columns).map(|_| true));
        for bitmap in present {
            body.extend_from_slice(bitmap.as_ref().unwrap_or(&all));
        }
        for (image, bitmap) in images.zip(present.iter().cycle()) {
            let bitmap = bitmap.as_ref().unwrap_or(&all);
            let columns: Vec<_> =
                (0..n_columns).filter(|i| bitmap[i / 8] >> (i % 8) & 1 == 1).map(|i| &table.columns[i].kind).collect();
            table::image(&mut body, &columns, image);
        }
        self.event(kind, &body)
    }

    pub fn rotate(&mut self, next: &str) -> &mut Self {
        self.event(kind::ROTATE, &[&4_u64.to_le_bytes(), next.as_bytes()].concat())
    }

    pub fn stop(&mut self) -> &mut Self {
        self.event(kind::STOP, &[])
    }

    /// Writes the file into a folder.
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, &self.bytes).expect("write a binlog file");
        path
    }

    fn begin_transaction(&mut self) {
        self.number += 1;
        self.inside_transaction = true;
        self.begun_at = self.changes.len();
    }

    fn end_transaction(&mut self) {
        self.inside_transaction = false;
        if self.changes.len() > self.begun_at {
            self.transactions.push(self.changes.len() - self.begun_at);
        }
    }

    fn commit_us(&self) -> u64 {
        CLOCK * 1_000_000 + self.number * 1_000_001
    }

    /// Logical clock and commit times, the rest of a GTID event.
    fn commit_times(&self) -> Vec<u8> {
        let mut body = vec![2];
        body.extend_from_slice(&self.number.to_le_bytes());
        body.extend_from_slice(&(self.number + 1).to_le_bytes());
        body.extend_from_slice(&self.commit_us().to_le_bytes()[..7]);
        body.extend(lenenc(500));
        body.extend_from_slice(&90_704_u32.to_le_bytes());
        body
    }

    fn list(&mut self, table: &Table, changes: impl Iterator<Item = (Op, Option<Vec<Cell>>, Option<Vec<Cell>>)>) {
        if !table.captured {
            return;
        }
        let at = self.bytes.len() as u64;
        for (op, before, after) in changes {
            let (table, gtid) = (table.name.clone(), self.gtid.clone());
            self.changes.push(Seen { table, op, time_us: self.commit_us() as i64, before, after, at, gtid });
        }
    }
}

/// Opens files of a folder with the tables of database `shop` captured.
pub fn open(
    folder: &Path,
    names: &[&str],
    batch_changes_max: usize,
    start: Option<&Position>,
) -> Result<BinlogFile, SourceError> {
    let settings = BinlogFileSettings {
        files: names.iter().map(|name| folder.join(name)).collect(),
        tables: TableFilter::parse(&["shop.*"]).expect("a pattern"),
        zone: Zone::UTC,
        batch_changes_max,
        batch_bytes_max: 16 << 20,
    };
    BinlogFile::open(settings, start)
}

/// MySQL's length-encoded integer.
pub fn lenenc(number: u64) -> Vec<u8> {
    let bytes = number.to_le_bytes();
    match number {
        0..=250 => vec![bytes[0]],
        251..=0xffff => [&[0xfc], &bytes[..2]].concat(),
        0x1_0000..=0xff_ffff => [&[0xfd], &bytes[..3]].concat(),
        _ => [&[0xfe], bytes.as_slice()].concat(),
    }
}

/// The serialization library's integer: as many one-bits as bytes follow, a zero, then the number.
fn varint(number: u64) -> Vec<u8> {
    match (1..=8).find(|n| number < 1 << (7 * n)) {
        Some(n) => (number << n | ((1 << (n - 1)) - 1)).to_le_bytes()[..n].to_vec(),
        None => [&[0xff], number.to_le_bytes().as_slice()].concat(),
    }
}

/// Puts right the checksum of the event that begins at `start`, so that only the decoder can find what was changed in it.
pub fn mend_checksum(bytes: &mut [u8], start: usize) {
    let size = u32::from_le_bytes(bytes[start + 9..start + 13].try_into().expect("four bytes")) as usize;
    let Some(end) = start.checked_add(size).filter(|&end| size >= HEADER + 4 && end <= bytes.len()) else { return };
    let crc = crc32fast::hash(&bytes[start..end - 4]);
    bytes[end - 4..end].copy_from_slice(&crc.to_le_bytes());
}
