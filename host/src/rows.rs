//! Rows of values, held end to end: the one form in which images, keys and history rows travel through the host.
//!
//! A value says little about itself; what it means is said once, by the [`Field`](crate::event::Field) of its column.

/// One value of a row. How a [`Logical`](crate::event::Logical) type is held:
/// boolean (0/1), int64, date (days), time and datetime (microseconds) as `Int`; uint64 as `UInt`; float64 as `Float`;
/// decimal (plain digits), text and json as `Text`; bytes as `Bytes`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// The row image does not carry this column (a partial image). Whoever needs it stops.
    Absent,
    /// The column's type or content cannot be decoded by its source. Whoever needs it stops.
    Undecoded,
}

impl Value<'_> {
    /// Appends an injective encoding: a tag and the value, texts and bytes with their length. It is stored: it stays as it is.
    ///
    /// # Panics
    /// Where there is no value: absent or undecoded.
    pub fn encode(self, out: &mut Vec<u8>) {
        let mut number = |tag: u8, bytes: [u8; 8]| {
            out.push(tag);
            out.extend_from_slice(&bytes);
        };
        match self {
            Value::Null => out.push(0),
            Value::Int(value) => number(1, value.to_le_bytes()),
            Value::UInt(value) => number(2, value.to_le_bytes()),
            Value::Float(value) => number(3, value.to_bits().to_le_bytes()),
            Value::Text(text) => {
                number(4, (text.len() as u64).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
            Value::Bytes(bytes) => {
                number(5, (bytes.len() as u64).to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Value::Absent | Value::Undecoded => unreachable!("keys were checked before"),
        }
    }

    /// Whether a row has a value here, NULL included.
    pub fn is_known(self) -> bool {
        !matches!(self, Value::Absent | Value::Undecoded)
    }
}

/// Rows of one width. Text and bytes lie in one buffer each, so that a row costs no allocation of its own.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    width: usize,
    len: usize,
    slots: Vec<Slot>,
    text: String,
    bytes: Vec<u8>,
}

/// 16 bytes a value; texts and bytes by their place in the buffers (so a `Rows` ends at 4 GiB of each).
#[derive(Clone, Copy, Debug)]
enum Slot {
    Null,
    Int(i64),
    UInt(u64),
    Float(f64),
    Text { start: u32, len: u32 },
    Bytes { start: u32, len: u32 },
    Absent,
    Undecoded,
}

/// A row of [`Rows`].
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    rows: &'a Rows,
    first: usize,
}

impl Rows {
    pub fn new(width: usize) -> Self {
        Rows { width, ..Rows::default() }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    /// The number of whole rows.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory in use by values, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>() + self.text.len() + self.bytes.len()
    }

    pub fn row(&self, row: usize) -> Row<'_> {
        assert!(row < self.len, "row {row} of {}", self.len);
        Row { rows: self, first: row * self.width }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = Row<'_>> + Clone {
        (0..self.len).map(|row| self.row(row))
    }

    /// Appends the next value; a row is complete after `width` of them, and [`Rows::end_row`] counts it.
    #[inline]
    pub fn push(&mut self, value: Value<'_>) {
        let slot = match value {
            Value::Null => Slot::Null,
            Value::Int(value) => Slot::Int(value),
            Value::UInt(value) => Slot::UInt(value),
            Value::Float(value) => Slot::Float(value),
            Value::Text(text) => {
                let start = place(self.text.len());
                self.text.push_str(text);
                Slot::Text { start, len: place(text.len()) }
            }
            Value::Bytes(bytes) => {
                let start = place(self.bytes.len());
                self.bytes.extend_from_slice(bytes);
                Slot::Bytes { start, len: place(bytes.len()) }
            }
            Value::Absent => Slot::Absent,
            Value::Undecoded => Slot::Undecoded,
        };
        self.slots.push(slot);
    }

    /// Appends a text that `write` produces in place (a decimal, a transcoded string).
    pub fn push_text_with(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        let len = place(self.text.len() - start);
        self.slots.push(Slot::Text { start: place(start), len });
    }

    /// Completes a row and gives its number.
    #[inline]
    pub fn end_row(&mut self) -> usize {
        self.len += 1;
        assert_eq!(self.slots.len(), self.len * self.width, "a row has {} values", self.width);
        self.len - 1
    }

    /// Appends a whole row and gives its number.
    pub fn push_row<'v>(&mut self, values: impl IntoIterator<Item = Value<'v>>) -> usize {
        values.into_iter().for_each(|value| self.push(value));
        self.end_row()
    }

    /// Forgets every row from `len` on, and the values of an unfinished one.
    pub fn truncate(&mut self, len: usize) {
        self.len = len.min(self.len);
        // Texts and bytes lie in the order of their slots: the first ones that go say where the rest ends.
        let gone = &self.slots[self.len * self.width..];
        let text = gone.iter().find_map(|slot| match slot {
            Slot::Text { start, .. } => Some(*start as usize),
            _ => None,
        });
        let bytes = gone.iter().find_map(|slot| match slot {
            Slot::Bytes { start, .. } => Some(*start as usize),
            _ => None,
        });
        self.text.truncate(text.unwrap_or(usize::MAX));
        self.bytes.truncate(bytes.unwrap_or(usize::MAX));
        self.slots.truncate(self.len * self.width);
    }
}

impl<'a> Row<'a> {
    #[inline]
    pub fn get(&self, column: usize) -> Value<'a> {
        assert!(column < self.rows.width, "column {column} of {}", self.rows.width);
        match self.rows.slots[self.first + column] {
            Slot::Null => Value::Null,
            Slot::Int(value) => Value::Int(value),
            Slot::UInt(value) => Value::UInt(value),
            Slot::Float(value) => Value::Float(value),
            Slot::Text { start, len } => Value::Text(&self.rows.text[start as usize..(start + len) as usize]),
            Slot::Bytes { start, len } => Value::Bytes(&self.rows.bytes[start as usize..(start + len) as usize]),
            Slot::Absent => Value::Absent,
            Slot::Undecoded => Value::Undecoded,
        }
    }

    pub fn values(self) -> impl ExactSizeIterator<Item = Value<'a>> + Clone {
        (0..self.rows.width).map(move |column| self.get(column))
    }
}

fn place(position: usize) -> u32 {
    // Batches are bounded to a few hundred megabytes by their makers, far below this.
    u32::try_from(position).expect("the texts of one batch stay below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_give_back_what_was_pushed_and_truncate_cuts_whole_rows() {
        let mut rows = Rows::new(3);
        let first = [Value::Int(-1), Value::Text("é"), Value::Bytes(&[0, 255])];
        let second = [Value::Null, Value::Text(""), Value::Undecoded];
        rows.push_row(first);
        rows.push_row(second);
        assert!(rows.row(0).values().eq(first) && rows.row(1).values().eq(second));
        rows.push(Value::Text("unfinished"));
        rows.truncate(1);
        assert_eq!((rows.len(), rows.text.as_str(), rows.bytes.len()), (1, "é", 2));
        rows.push_row(second);
        assert!(rows.row(1).values().eq(second));
    }
}
