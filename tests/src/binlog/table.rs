//! Tables and rows as a binlog writes them: the table map, and row images.

use hindsight::civil;
use hindsight::rows::Value;

use super::lenenc;

/// A value of a row, written into an image or seen in a batch. Times are microseconds since 1970-01-01.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Absent,
    Undecoded,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    TinyInt,
    Int,
    BigIntUnsigned,
    /// VARCHAR in utf8mb4 of so many bytes at the most.
    Varchar(u16),
    /// LONGTEXT in utf8mb4.
    LongText,
    /// With so many fractional digits.
    Datetime(u8),
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub kind: Kind,
    pub nullable: bool,
}

#[derive(Clone, Debug)]
pub struct Table {
    /// `database.table`.
    pub name: String,
    pub columns: Vec<Column>,
    pub primary_key: Vec<usize>,
    /// Whether its changes are among those that a source should hand out.
    pub captured: bool,
}

impl Table {
    /// The first column is the primary key; the others may be NULL.
    pub fn new(name: &str, columns: &[(&str, Kind)]) -> Self {
        let column = |(i, (name, kind)): (usize, &(&str, Kind))| Column {
            name: (*name).to_owned(),
            kind: kind.clone(),
            nullable: i > 0,
        };
        let columns = columns.iter().enumerate().map(column).collect();
        Table { name: name.to_owned(), columns, primary_key: vec![0], captured: true }
    }

    /// The reference table.
    pub fn item_assets() -> Self {
        let columns = [
            ("id", Kind::Int),
            ("owner_id", Kind::Int),
            ("asset_info", Kind::Varchar(1020)),
            ("registered_at", Kind::Datetime(6)),
        ];
        Table::new("shop.item_assets", &columns)
    }

    /// A row of the reference table, registered at its own microsecond.
    pub fn item(id: i64, owner: i64, info: &str) -> Vec<Cell> {
        vec![Cell::Int(id), Cell::Int(owner), Cell::text(info), Cell::Int(1_700_000_000_000_000 + id)]
    }

    /// A table that is not captured.
    pub fn foreign(name: &str) -> Self {
        Table { captured: false, ..Table::new(name, &[("id", Kind::Int), ("note", Kind::LongText)]) }
    }

    /// A TABLE_MAP's body.
    pub fn map(&self, id: u64, full: bool) -> Vec<u8> {
        let (database, table) = self.name.split_once('.').expect("database.table");
        let mut body = id.to_le_bytes()[..6].to_vec();
        body.extend_from_slice(&[1, 0]);
        for name in [database, table] {
            body.push(name.len() as u8);
            body.extend_from_slice(name.as_bytes());
            body.push(0);
        }
        body.extend(lenenc(self.columns.len() as u64));
        body.extend(self.columns.iter().map(|column| column.kind.code()));
        let metadata: Vec<u8> = self.columns.iter().flat_map(|column| column.kind.metadata()).collect();
        body.extend(lenenc(metadata.len() as u64));
        body.extend(metadata);
        body.extend(bits(self.columns.iter().map(|column| column.nullable)));
        self.optional(&mut body, full);
        body
    }

    /// Signedness and charset come with every setting, names and key with FULL only.
    fn optional(&self, body: &mut Vec<u8>, full: bool) {
        let mut field = |kind: u8, value: Vec<u8>| {
            body.push(kind);
            body.extend(lenenc(value.len() as u64));
            body.extend(value);
        };
        let numeric = self.columns.iter().filter(|column| column.kind.is_numeric());
        let unsigned = numeric.map(|column| column.kind == Kind::BigIntUnsigned);
        // The highest bit first here, unlike in every other bitmap.
        field(1, bits(unsigned).into_iter().map(u8::reverse_bits).collect());
        field(2, lenenc(255));
        if full {
            field(4, self.columns.iter().flat_map(|column| name(&column.name)).collect());
            field(8, self.primary_key.iter().flat_map(|&column| lenenc(column as u64)).collect());
        }
    }
}

impl Kind {
    fn code(&self) -> u8 {
        match self {
            Kind::TinyInt => 1,
            Kind::Int => 3,
            Kind::BigIntUnsigned => 8,
            Kind::Varchar(_) => 15,
            Kind::LongText => 252,
            Kind::Datetime(_) => 18,
        }
    }

    fn metadata(&self) -> Vec<u8> {
        match self {
            Kind::TinyInt | Kind::Int | Kind::BigIntUnsigned => Vec::new(),
            Kind::Varchar(bytes) => bytes.to_le_bytes().to_vec(),
            Kind::LongText => vec![4],
            Kind::Datetime(digits) => vec![*digits],
        }
    }

    fn is_numeric(&self) -> bool {
        matches!(self, Kind::TinyInt | Kind::Int | Kind::BigIntUnsigned)
    }
}

impl Cell {
    pub fn text(text: &str) -> Self {
        Cell::Text(text.to_owned())
    }
}

impl From<Value<'_>> for Cell {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Cell::Null,
            Value::Int(value) => Cell::Int(value),
            Value::UInt(value) => Cell::UInt(value),
            Value::Float(value) => Cell::Float(value),
            Value::Text(text) => Cell::Text(text.to_owned()),
            Value::Bytes(bytes) => Cell::Bytes(bytes.to_owned()),
            Value::Absent => Cell::Absent,
            Value::Undecoded => Cell::Undecoded,
        }
    }
}

impl Cell {
    pub fn value(&self) -> Value<'_> {
        match self {
            Cell::Null => Value::Null,
            Cell::Int(value) => Value::Int(*value),
            Cell::UInt(value) => Value::UInt(*value),
            Cell::Float(value) => Value::Float(*value),
            Cell::Text(text) => Value::Text(text),
            Cell::Bytes(bytes) => Value::Bytes(bytes),
            Cell::Absent => Value::Absent,
            Cell::Undecoded => Value::Undecoded,
        }
    }
}

/// A row image: null bits, then the values that are not null.
pub fn image(out: &mut Vec<u8>, columns: &[&Kind], cells: &[Cell]) {
    assert_eq!(columns.len(), cells.len(), "an image has a value for each of its columns");
    out.extend(bits(cells.iter().map(|cell| *cell == Cell::Null)));
    for (kind, cell) in columns.iter().zip(cells) {
        match (kind, cell) {
            (_, Cell::Null) => {}
            (Kind::TinyInt, Cell::Int(value)) => out.push(*value as u8),
            (Kind::Int, Cell::Int(value)) => out.extend_from_slice(&(*value as i32).to_le_bytes()),
            (Kind::BigIntUnsigned, Cell::UInt(value)) => out.extend_from_slice(&value.to_le_bytes()),
            (Kind::Varchar(bytes_max), Cell::Text(text)) => {
                let length = if *bytes_max > 255 { 2 } else { 1 };
                out.extend_from_slice(&text.len().to_le_bytes()[..length]);
                out.extend_from_slice(text.as_bytes());
            }
            (Kind::LongText, Cell::Text(text)) => {
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            (Kind::Datetime(digits), Cell::Int(micros)) => datetime(out, *micros, *digits),
            (kind, cell) => panic!("{cell:?} is no value of {kind:?}"),
        }
    }
}

/// A bit each, the first the lowest of the first byte.
pub fn bits(flags: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (i, flag) in flags.enumerate() {
        if i % 8 == 0 {
            bytes.push(0);
        }
        bytes[i / 8] |= u8::from(flag) << (i % 8);
    }
    bytes
}

fn datetime(out: &mut Vec<u8>, micros: i64, digits: u8) {
    let (days, clock) = (micros.div_euclid(civil::MICROS_PER_DAY), micros.rem_euclid(civil::MICROS_PER_DAY));
    let (year, month, day) = civil::date(days);
    let seconds = clock / 1_000_000;
    let date = (year * 13 + i64::from(month)) << 22 | i64::from(day) << 17;
    let packed = date | (seconds / 3600) << 12 | (seconds / 60 % 60) << 6 | (seconds % 60);
    out.extend_from_slice(&(packed + (1 << 39)).to_be_bytes()[3..]);
    let bytes = usize::from(digits.div_ceil(2));
    let fraction = clock % 1_000_000 / [1_000_000, 10_000, 100, 1][bytes];
    out.extend_from_slice(&fraction.to_be_bytes()[8 - bytes..]);
}

fn name(name: &str) -> Vec<u8> {
    [lenenc(name.len() as u64), name.as_bytes().to_vec()].concat()
}
