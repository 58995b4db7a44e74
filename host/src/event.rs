//! Change events: what a source says happened to the rows of its tables.
//!
//! Knows no client crate. A [`Batch`] is filled through [`Batch::push`], which holds the rules every source shares
//! (a changed primary key is a delete and a create).

use std::fmt;
use std::sync::Arc;

use crate::rows::{Row, Rows};

/// What a column means; see [`Value`](crate::rows::Value) for how each is held. The same list as `logical-type` of the WIT contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Logical {
    Boolean,
    Int64,
    UInt64,
    Float64,
    Decimal,
    Text,
    Json,
    Bytes,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds, may be negative.
    Time,
    /// Microseconds since 1970-01-01 00:00:00, a wall clock in the source's time zone.
    Datetime,
}

/// The declared types of geometries, in the order of the numbers that the log has for them (MySQL's `Field::geometry_type`).
pub const GEOMETRIES: [&str; 8] =
    ["geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geomcollection"];

/// A column, of a source table or of a history table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    pub name: String,
    pub logical: Logical,
    pub nullable: bool,
    /// The declared type in the source's words: `varchar(255)`, `int unsigned`, `datetime(6)`.
    pub declared: String,
}

/// The number at this place in the brackets of a declared type: 10 and 2 of `decimal(10,2)`.
pub fn argument(declared: &str, number: usize) -> Option<usize> {
    let (_, arguments) = declared.split_once('(')?;
    arguments.split_once(')')?.0.split(',').nth(number)?.trim().parse().ok()
}

/// A source table as it was when its rows were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// `database.table`.
    pub name: String,
    pub fields: Vec<Field>,
    /// Positions in `fields`, in key order; empty without a primary key.
    pub primary_key: Vec<usize>,
}

/// The entity key's columns of each table, as positions in its fields: what the rule says of tables of these shapes.
pub type EntityKey = Arc<dyn Fn(&[Arc<TableSchema>]) -> Result<Vec<Vec<usize>>, String> + Send + Sync>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Create,
    /// A row of the first snapshot.
    Read,
    Update,
    Delete,
}

/// One row change.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// Position in [`Batch::tables`].
    pub table: u32,
    pub op: Op,
    /// The delete or the create that an update of the primary key became.
    pub rekeys: bool,
    /// Whose change it is, where it moves a row between entities.
    pub sides: Sides,
    /// Commit time in the source, microseconds, as a wall clock in the source's time zone.
    pub time_us: i64,
    /// Row of the table's images, where the change has such an image.
    pub before: Option<u32>,
    pub after: Option<u32>,
    /// Position in [`Batch::transactions`].
    pub transaction: u32,
    /// Where the change stands in its log: the byte of its event, or its offset.
    pub at: u64,
}

/// Which entities a change is for: a snapshot may hold one side of a move already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sides {
    #[default]
    Both,
    /// The entity of the row before it.
    Before,
    /// The entity of the row after it.
    After,
}

/// What a batch is to the history beside its changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// All that was handed out before is void: the history begins anew with this batch.
    Anew,
    /// Its rows ([`Op::Read`]) are compared with the history, which may hold them already. All of an entity's rows of one
    /// table come in one batch.
    Again,
    /// As [`Snapshot::Anew`] for a snapshot that is compared: which rows it has met so far counts no more.
    AgainBegins,
    /// Every row of every captured table was in a batch of [`Snapshot::Again`], the last ones of this table ([`Batch::tables`]):
    /// what else the history holds as current is gone from the source, as of this wall clock (microseconds, in the source's
    /// time zone). Handed out once for all tables, as a history row does not say which one it came from; again after every
    /// restart until its position is committed.
    AgainEnds { table: u32, time_us: i64 },
}

/// A source transaction of a batch, for messages.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The file, or topic and partition.
    pub log: Arc<str>,
    pub gtid: Option<Gtid>,
}

/// A global transaction identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gtid {
    pub uuid: [u8; 16],
    pub tag: Option<Arc<str>>,
    pub number: u64,
}

/// A place in a source's log, as text that only its source reads or compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position(pub String);

/// Changes handled as one, in the source's order. A table keeps one schema throughout a batch.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The tables met since the source was opened, in the order in which they were met; also those without a change here.
    pub tables: Vec<Arc<TableSchema>>,
    /// Before and after images, one [`Rows`] per table, all columns of its schema.
    pub images: Vec<Rows>,
    pub changes: Vec<Change>,
    pub transactions: Vec<Transaction>,
    /// When the last whole transaction was committed, microseconds since 1970, UTC; for lag, never for decisions.
    pub committed_us: Option<i64>,
    /// More is to come of what holds together: an interrupted source hands all of it out again, from the last batch without
    /// this on.
    pub is_within: bool,
    /// None: changes of the log, or rows of a first snapshot.
    pub snapshot: Option<Snapshot>,
    /// Until the log is behind a snapshot: the columns of the entity key that its chunks are cut and the log's changes are
    /// filtered by, the same in every table. To a rule with another one some changes would be lost, or come twice.
    pub cut_by: Option<Arc<[String]>>,
    pub progress: Option<Progress>,
    /// What it was made of, where its source keeps account of that.
    pub records: Option<Records>,
    pub cuts: Option<Arc<dyn Cuts>>,
}

/// The records of a log that a batch was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Records {
    pub count: u64,
    /// Over their places, keys and values: of the same records the same, whatever batches they come in.
    pub sum: u64,
    /// Of the last one: rises with each, and no other record of the pipeline has it.
    pub sequence: u64,
}

/// Where a batch can be ended before its end: behind each of its records.
pub trait Cuts: std::fmt::Debug + Send + Sync {
    /// Records of the batch.
    fn n_records(&self) -> usize;

    /// The place before the record of this number, or behind the last one.
    fn at(&self, record: usize) -> Cut;
}

/// A place within a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Changes of the batch before it.
    pub n_changes: usize,
    /// What those were made of.
    pub records: Records,
    /// Where the source goes on from there.
    pub position: Position,
}

/// How far a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Into its log, where its end is known.
    Log { done_bytes: u64, total_bytes: u64 },
    /// Into a snapshot; the total is the server's estimate.
    Snapshot { done_rows: u64, total_rows: u64 },
}

/// A change as a source hands it to [`Batch::push`].
#[derive(Clone, Copy, Debug)]
pub struct RowChange {
    pub table: u32,
    pub op: Op,
    pub time_us: i64,
    pub before: Option<u32>,
    pub after: Option<u32>,
    pub at: u64,
}

impl Batch {
    /// Appends a change of the last transaction. An update that changes the primary key arrives in history as a delete
    /// and a create, both made here.
    pub fn push(&mut self, change: RowChange) {
        let RowChange { table, op, time_us, before, after, at } = change;
        let transaction = u32::try_from(self.transactions.len()).expect("fewer than 2^32 transactions") - 1;
        let one = |op, rekeys, before, after| {
            let sides = Sides::Both;
            Change { table, op, rekeys, sides, time_us, before, after, transaction, at }
        };
        match (op, before, after) {
            (Op::Update, Some(old), Some(new)) if self.primary_key_differs(table, old, new) => {
                self.changes.push(one(Op::Delete, true, Some(old), None));
                self.changes.push(one(Op::Create, true, None, Some(new)));
            }
            _ => self.changes.push(one(op, false, before, after)),
        }
    }

    pub fn schema(&self, change: &Change) -> &TableSchema {
        &self.tables[change.table as usize]
    }

    pub fn before(&self, change: &Change) -> Option<Row<'_>> {
        change.before.map(|row| self.images[change.table as usize].row(row as usize))
    }

    pub fn after(&self, change: &Change) -> Option<Row<'_>> {
        change.after.map(|row| self.images[change.table as usize].row(row as usize))
    }

    /// `binlog.000003:4711 (gtid 3e11…:5)`: where a change comes from, for messages.
    pub fn place(&self, change: &Change) -> String {
        let transaction = &self.transactions[change.transaction as usize];
        match &transaction.gtid {
            Some(gtid) => format!("{}:{} (gtid {gtid})", transaction.log, change.at),
            None => format!("{}:{}", transaction.log, change.at),
        }
    }

    /// Some of a batch's records as a batch, and where the source goes on behind them.
    pub fn part(&self, cuts: &dyn Cuts, records: std::ops::Range<usize>) -> (Batch, Position) {
        let (from, to) = (cuts.at(records.start), cuts.at(records.end));
        let changes = self.changes[from.n_changes..to.n_changes].to_vec();
        let records = Records {
            count: to.records.count - from.records.count,
            sum: to.records.sum.wrapping_sub(from.records.sum),
            sequence: to.records.sequence,
        };
        (Batch { changes, records: Some(records), cuts: None, ..self.clone() }, to.position)
    }

    /// Memory in use by the changes and their images, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.changes.len() * size_of::<Change>() + self.images.iter().map(Rows::size_bytes).sum::<usize>()
    }

    fn primary_key_differs(&self, table: u32, before: u32, after: u32) -> bool {
        let images = &self.images[table as usize];
        let (before, after) = (images.row(before as usize), images.row(after as usize));
        let key = &self.tables[table as usize].primary_key;
        key.iter().any(|&column| before.get(column) != after.get(column))
    }
}

/// The tables' columns and types, for messages and for the ledger.
pub fn shapes(tables: &[Arc<TableSchema>]) -> String {
    tables.iter().map(|table| table.shape()).collect::<Vec<_>>().join(", ")
}

impl TableSchema {
    /// `shop.item_assets(id int, owner_id int)`
    pub fn shape(&self) -> String {
        let fields: Vec<String> =
            self.fields.iter().map(|field| format!("{} {}", field.name, field.declared)).collect();
        format!("{}({})", self.name, fields.join(", "))
    }
}

impl Op {
    pub const ALL: [Op; 4] = [Op::Create, Op::Read, Op::Update, Op::Delete];

    /// The letter of Debezium's envelope.
    pub fn letter(self) -> char {
        match self {
            Op::Create => 'c',
            Op::Read => 'r',
            Op::Update => 'u',
            Op::Delete => 'd',
        }
    }
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        f.write_str(uuid::Uuid::from_bytes(self.uuid).as_hyphenated().encode_lower(&mut text))?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        write!(f, ":{}", self.number)
    }
}

impl Logical {
    pub const ALL: [Logical; 11] = [
        Logical::Boolean,
        Logical::Int64,
        Logical::UInt64,
        Logical::Float64,
        Logical::Decimal,
        Logical::Text,
        Logical::Json,
        Logical::Bytes,
        Logical::Date,
        Logical::Time,
        Logical::Datetime,
    ];

    /// The name in the WIT contract and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Logical::Boolean => "boolean",
            Logical::Int64 => "int64",
            Logical::UInt64 => "uint64",
            Logical::Float64 => "float64",
            Logical::Decimal => "decimal",
            Logical::Text => "text",
            Logical::Json => "json",
            Logical::Bytes => "bytes",
            Logical::Date => "date",
            Logical::Time => "time",
            Logical::Datetime => "datetime",
        }
    }
}
