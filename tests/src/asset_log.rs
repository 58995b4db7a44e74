//! A MySQL binlog of the reference table, written event by event as a server of version 9 writes it: for benches, whose
//! logs are far larger than a fixture may be. Not for tests of correctness, which read what a real server wrote.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// What is in the log. Of ten statements six insert, three update, one deletes; each hundredth update moves an asset to
/// another owner.
#[derive(Clone, Copy, Debug)]
pub struct AssetLog {
    /// At least so many row changes (the last transaction is whole).
    pub changes: u64,
    pub owners: u32,
    pub statements_per_transaction: u32,
    pub rows_per_statement: u32,
}

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written {
    pub changes: u64,
    pub transactions: u64,
    pub bytes: u64,
}

/// The captured table.
pub const TABLE: &str = "shop.item_assets";

impl AssetLog {
    pub fn write(&self, path: &Path) -> io::Result<Written> {
        let mut log = Events { out: BufWriter::with_capacity(1 << 20, File::create(path)?), at: 0, second: START_S };
        log.begin()?;
        let mut assets = Assets { random: Random(7), owners: self.owners, live: Vec::new(), n_made: 0 };
        let mut written = Written::default();
        while written.changes < self.changes {
            written.transactions += 1;
            log.second = START_S + (written.changes / 100) as u32;
            log.gtid(written.transactions)?;
            log.query("BEGIN")?;
            for _ in 0..self.statements_per_transaction {
                let statement = assets.statement(self.rows_per_statement, log.second);
                written.changes += statement.n_rows;
                log.table_map()?;
                for (i, rows) in statement.events.iter().enumerate() {
                    log.rows(statement.kind, rows, i + 1 == statement.events.len())?;
                }
            }
            log.xid(written.transactions)?;
        }
        log.out.flush()?;
        written.bytes = log.at;
        Ok(written)
    }
}

/// 2025-01-01 00:00:00 UTC.
const START_S: u32 = 1_735_689_600;

/// The server splits a statement's rows into events of about this size (`binlog_row_event_max_size`).
const ROWS_EVENT_MAX: usize = 8192;

const TABLE_ID: u64 = 90;

/// Type codes.
mod kind {
    pub const QUERY: u8 = 2;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const TABLE_MAP: u8 = 19;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const PREVIOUS_GTIDS: u8 = 35;
}

/// Rows of one statement, cut into events.
struct Statement {
    kind: u8,
    n_rows: u64,
    events: Vec<Vec<u8>>,
}

/// The assets that exist while the log is written.
struct Assets {
    random: Random,
    owners: u32,
    live: Vec<Asset>,
    n_made: u32,
}

#[derive(Clone, Copy)]
struct Asset {
    id: u32,
    owner: u32,
    revision: u32,
    registered_s: u32,
}

impl Assets {
    fn statement(&mut self, n_rows: u32, now_s: u32) -> Statement {
        let mut events = vec![Vec::new()];
        let kind = match self.random.below(10) {
            _ if self.live.len() < 2 * n_rows as usize => kind::WRITE_ROWS,
            0..6 => kind::WRITE_ROWS,
            6..9 => kind::UPDATE_ROWS,
            _ => kind::DELETE_ROWS,
        };
        for _ in 0..n_rows {
            if events.last().expect("one at least").len() >= ROWS_EVENT_MAX {
                events.push(Vec::new());
            }
            let out = events.last_mut().expect("one at least");
            match kind {
                kind::WRITE_ROWS => {
                    self.n_made += 1;
                    let owner = 1 + self.random.below(self.owners);
                    let asset = Asset { id: self.n_made, owner, revision: 0, registered_s: now_s };
                    asset.image(out);
                    self.live.push(asset);
                }
                kind::UPDATE_ROWS => {
                    let at = self.random.below(self.live.len() as u32) as usize;
                    let asset = &mut self.live[at];
                    asset.image(out);
                    asset.revision += 1;
                    asset.registered_s = now_s.max(asset.registered_s + 1);
                    if self.random.below(100) == 0 {
                        asset.owner = 1 + self.random.below(self.owners);
                    }
                    asset.image(out);
                }
                _ => {
                    let at = self.random.below(self.live.len() as u32) as usize;
                    self.live.swap_remove(at).image(out);
                }
            }
        }
        Statement { kind, n_rows: u64::from(n_rows), events }
    }
}

impl Asset {
    /// id INT, owner_id INT, asset_info VARCHAR(255), registered_at DATETIME.
    fn image(&self, out: &mut Vec<u8>) {
        const PADDING: &str = "in the north yard, row 12";
        let Asset { id, owner, revision, registered_s } = *self;
        out.push(0);
        out.extend(id.to_le_bytes());
        out.extend(owner.to_le_bytes());
        let info = format!("asset {id} rev {revision} {}", &PADDING[..(id % 18) as usize]);
        out.extend((info.len() as u16).to_le_bytes());
        out.extend(info.as_bytes());
        out.extend(datetime(registered_s));
    }
}

/// DATETIME without a fraction, packed; days from 2025-01-01, which a log of a few million changes does not leave.
fn datetime(instant_s: u32) -> [u8; 5] {
    const MONTHS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (mut days, clock) = ((instant_s - START_S) / 86_400, (instant_s - START_S) % 86_400);
    let (year, mut month) = (2025 + days / 365, 0);
    days %= 365;
    while days >= MONTHS[month] {
        days -= MONTHS[month];
        month += 1;
    }
    let date = u64::from(year * 13 + month as u32 + 1) << 5 | u64::from(days + 1);
    let time = u64::from((clock / 3600) << 12 | (clock / 60 % 60) << 6 | (clock % 60));
    let packed = (date << 17 | time) + (1 << 39);
    packed.to_be_bytes()[3..].try_into().expect("five bytes")
}

/// The file being written.
struct Events {
    out: BufWriter<File>,
    at: u64,
    second: u32,
}

impl Events {
    fn begin(&mut self) -> io::Result<()> {
        self.out.write_all(b"\xfebin")?;
        self.at = 4;
        let mut format = vec![4, 0];
        format.extend(b"9.7.4-log");
        format.resize(52, 0);
        format.extend(self.second.to_le_bytes());
        format.push(19);
        // Lengths of post-headers by type, as the server lists them; then the checksum's algorithm.
        format.extend([0, 13, 0, 8, 0, 0, 0, 0, 4, 0, 4, 0, 0, 0, 99, 0, 4, 26, 8, 0, 0]);
        format.extend([0, 8, 8, 8, 2, 0, 0, 0, 10, 10, 10, 42, 42, 0, 18, 52, 0, 10, 40, 0, 0, 1]);
        self.event(kind::FORMAT_DESCRIPTION, &format)?;
        self.event(kind::PREVIOUS_GTIDS, &[0; 8])
    }

    fn gtid(&mut self, number: u64) -> io::Result<()> {
        let mut body = vec![0];
        body.extend(*b"0123456789abcdef");
        body.extend(number.to_le_bytes());
        body.push(2);
        body.extend((number - 1).to_le_bytes());
        body.extend(number.to_le_bytes());
        body.extend(&(u64::from(self.second) * 1_000_000 + number % 1_000_000).to_le_bytes()[..7]);
        body.extend([0xfc, 0, 2]);
        body.extend(90_704_u32.to_le_bytes());
        self.event(kind::GTID, &body)
    }

    fn query(&mut self, text: &str) -> io::Result<()> {
        let mut body = vec![9, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
        body.extend(b"shop\0");
        body.extend(text.as_bytes());
        self.event(kind::QUERY, &body)
    }

    fn table_map(&mut self) -> io::Result<()> {
        let mut body = TABLE_ID.to_le_bytes()[..6].to_vec();
        body.extend(b"\x01\0\x04shop\0\x0bitem_assets\0");
        body.extend([4, 3, 3, 15, 18, 3]);
        body.extend(1020_u16.to_le_bytes());
        body.extend([0, 0]);
        // Signedness, default collation 255, names, primary key, visibility: binlog_row_metadata=FULL.
        body.extend([1, 1, 0, 2, 3, 0xfc, 255, 0]);
        let names: Vec<u8> = ["id", "owner_id", "asset_info", "registered_at"]
            .iter()
            .flat_map(|name| [&[name.len() as u8], name.as_bytes()].concat())
            .collect();
        body.extend([4, names.len() as u8]);
        body.extend(names);
        body.extend([8, 1, 0, 12, 1, 0xf0]);
        self.event(kind::TABLE_MAP, &body)
    }

    fn rows(&mut self, kind: u8, rows: &[u8], last: bool) -> io::Result<()> {
        let mut body = TABLE_ID.to_le_bytes()[..6].to_vec();
        body.extend([u8::from(last), 0, 2, 0, 4]);
        body.extend(if kind == kind::UPDATE_ROWS { &[0x0f, 0x0f][..] } else { &[0x0f] });
        body.extend(rows);
        self.event(kind, &body)
    }

    fn xid(&mut self, number: u64) -> io::Result<()> {
        self.event(kind::XID, &number.to_le_bytes())
    }

    fn event(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let size = 19 + body.len() + 4;
        self.at += size as u64;
        let mut header = Vec::with_capacity(19);
        header.extend(self.second.to_le_bytes());
        header.push(kind);
        header.extend(1_u32.to_le_bytes());
        header.extend((size as u32).to_le_bytes());
        header.extend((self.at as u32).to_le_bytes());
        header.extend([0, 0]);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&header);
        hasher.update(body);
        self.out.write_all(&header)?;
        self.out.write_all(body)?;
        self.out.write_all(&hasher.finalize().to_le_bytes())
    }
}

/// SplitMix64: the same log every time.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ (mixed >> 31)) as u32 as u64 * u64::from(limit)) >> 32) as u32
    }
}
