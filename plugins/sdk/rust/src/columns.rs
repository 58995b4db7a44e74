//! Packed columns, read as rows and written from cells.

use crate::bindings::hindsight::transform::types::{Column, LogicalType, Packed, Values};
use crate::entity::Cell;

/// A value, borrowed from the batch. Boolean (0/1), int64, date (days), time and datetime (microseconds) are `Int`;
/// text, decimal and json are `Text`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// One row of a set of columns.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    columns: &'a [View<'a>],
    row: usize,
}

impl<'a> Row<'a> {
    pub(crate) fn new(columns: &'a [View<'a>], row: usize) -> Self {
        Row { columns, row }
    }

    /// The value of a column, by its place in what the plan asked for.
    #[inline]
    pub fn value(&self, column: usize) -> Value<'a> {
        self.columns[column].value(self.row)
    }

    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let row = self.row;
        self.columns.iter().map(move |column| column.value(row))
    }

    pub fn is_null(&self, column: usize) -> bool {
        self.value(column) == Value::Null
    }

    /// An int64, boolean, date, time or datetime; none when it is null.
    ///
    /// # Panics
    /// When the column is of another type.
    #[inline]
    pub fn int(&self, column: usize) -> Option<i64> {
        match self.value(column) {
            Value::Int(value) => Some(value),
            Value::Null => None,
            other => panic!("column {column} holds {other:?}, not an integer or a time"),
        }
    }

    /// A text, decimal or json; none when it is null.
    ///
    /// # Panics
    /// When the column is of another type.
    #[inline]
    pub fn text(&self, column: usize) -> Option<&'a str> {
        match self.value(column) {
            Value::Text(value) => Some(value),
            Value::Null => None,
            other => panic!("column {column} holds {other:?}, not a text"),
        }
    }
}

/// A column made ready for reading: texts are checked to be UTF-8 once, for the whole batch.
pub(crate) struct View<'a> {
    nulls: &'a [u8],
    data: Data<'a>,
}

enum Data<'a> {
    /// A column of a set without rows.
    Empty,
    U8(&'a [u8]),
    I64(&'a [i64]),
    U64(&'a [u64]),
    F64(&'a [f64]),
    Text(&'a [u32], &'a str),
    Bytes(&'a [u32], &'a [u8]),
}

impl<'a> View<'a> {
    /// # Errors
    /// The host's data breaks the contract.
    pub fn new(column: &'a Column, logical: LogicalType) -> Result<Self, String> {
        let data = match (&column.values, logical) {
            (Values::U8s(values), _) => Data::U8(values),
            (Values::S64s(values), _) => Data::I64(values),
            (Values::U64s(values), _) => Data::U64(values),
            (Values::F64s(values), _) => Data::F64(values),
            (Values::Packed(Packed { offsets, data }), LogicalType::Bytes) => Data::Bytes(offsets, data),
            (Values::Packed(Packed { offsets, data }), _) => Data::Text(
                offsets,
                std::str::from_utf8(data)
                    .map_err(|error| format!("the host sent a text that is not UTF-8: {error}"))?,
            ),
        };
        Ok(View { nulls: &column.nulls, data })
    }

    pub fn empty() -> Self {
        View { nulls: &[], data: Data::Empty }
    }

    #[inline]
    fn value(&self, row: usize) -> Value<'a> {
        if !self.nulls.is_empty() && self.nulls[row] == 1 {
            return Value::Null;
        }
        match self.data {
            Data::U8(values) => Value::Int(i64::from(values[row])),
            Data::I64(values) => Value::Int(values[row]),
            Data::U64(values) => Value::UInt(values[row]),
            Data::F64(values) => Value::Float(values[row]),
            Data::Text(offsets, text) => Value::Text(&text[offsets[row] as usize..offsets[row + 1] as usize]),
            Data::Bytes(offsets, bytes) => Value::Bytes(&bytes[offsets[row] as usize..offsets[row + 1] as usize]),
            Data::Empty => unreachable!("a set without rows has no row {row}"),
        }
    }
}

/// A column being written.
pub(crate) struct Writer {
    nulls: Vec<u8>,
    /// Whether any mark is not 0.
    marked: bool,
    values: Values,
}

/// `nulls` of a revision: leave the value as it is.
const LEAVE: u8 = 2;

impl Writer {
    pub fn new(logical: LogicalType, rows: usize) -> Self {
        let values = match logical {
            LogicalType::Boolean => Values::U8s(Vec::with_capacity(rows)),
            LogicalType::Int64 | LogicalType::Date | LogicalType::Time | LogicalType::Datetime => {
                Values::S64s(Vec::with_capacity(rows))
            }
            LogicalType::Uint64 => Values::U64s(Vec::with_capacity(rows)),
            LogicalType::Float64 => Values::F64s(Vec::with_capacity(rows)),
            LogicalType::Decimal | LogicalType::Text | LogicalType::Json | LogicalType::Bytes => {
                let mut offsets = Vec::with_capacity(rows + 1);
                offsets.push(0);
                Values::Packed(Packed { offsets, data: Vec::with_capacity(rows * 16) })
            }
        };
        Writer { nulls: Vec::with_capacity(rows), marked: false, values }
    }

    /// # Panics
    /// When the cell is of another type than the column: a bug of the rule, told with its value.
    #[inline]
    pub fn push(&mut self, cell: &Cell<'_>) {
        let value = match cell {
            Cell::Value(value) => *value,
            Cell::Made(text) => Value::Text(text),
            Cell::Unset => return self.push_mark(LEAVE),
        };
        match (&mut self.values, value) {
            (_, Value::Null) => return self.push_mark(1),
            (Values::U8s(values), Value::Int(value)) => values.push(value as u8),
            (Values::S64s(values), Value::Int(value)) => values.push(value),
            (Values::U64s(values), Value::UInt(value)) => values.push(value),
            (Values::F64s(values), Value::Float(value)) => values.push(value),
            (Values::Packed(packed), Value::Text(text)) => packed.push(text.as_bytes()),
            (Values::Packed(packed), Value::Bytes(bytes)) => packed.push(bytes),
            (_, other) => panic!("{other:?} does not fit the type of its history column"),
        }
        self.nulls.push(0);
    }

    pub fn finish(self) -> Column {
        Column { nulls: if self.marked { self.nulls } else { Vec::new() }, values: self.values }
    }

    fn push_mark(&mut self, mark: u8) {
        self.marked = true;
        self.nulls.push(mark);
        match &mut self.values {
            Values::U8s(values) => values.push(0),
            Values::S64s(values) => values.push(0),
            Values::U64s(values) => values.push(0),
            Values::F64s(values) => values.push(0.0),
            Values::Packed(packed) => packed.push(&[]),
        }
    }
}

impl Packed {
    #[inline]
    fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.offsets.push(self.data.len() as u32);
    }
}
