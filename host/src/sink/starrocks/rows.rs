//! A load's rows as the JSON that Stream Load takes: `[{"source_id":1,…},{…,"__op":1}]`.
//!
//! What a column cannot hold is told here, by row and column: StarRocks would say it of the whole load, or cut it silently.

use super::columns::ColumnType;
use crate::civil;
use crate::event::Logical;
use crate::history::HistorySchema;
use crate::json;
use crate::rows::{Row, Rows, Value};

/// Writes rows of one history table.
#[derive(Debug)]
pub struct RowWriter {
    columns: Vec<Column>,
    /// Of a delete, positions in `columns`.
    primary_key: Vec<usize>,
    /// `,"__seq":`, where the table keeps the sequence that wrote a row.
    sequence: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Column {
    name: String,
    /// `,"source_id":`
    label: Vec<u8>,
    logical: Logical,
    holds: ColumnType,
    nullable: bool,
}

/// A column of the table that is written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableColumn {
    pub name: String,
    pub holds: ColumnType,
    pub nullable: bool,
}

/// A value that its column does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {why}")]
pub struct Misfit {
    /// Of the load, from 0.
    pub row: usize,
    pub column: String,
    pub why: String,
}

impl RowWriter {
    /// `table`: the columns as they are, in the history's order. `sequence`: the name of a column that is no column of the history.
    pub fn new(history: &HistorySchema, table: &[TableColumn], sequence: Option<&str>) -> Self {
        let label = |name: &str| {
            let mut label = vec![b','];
            json::write(&mut label, name);
            label.push(b':');
            label
        };
        let column = |(column, there): (&crate::history::HistoryColumn, &TableColumn)| Column {
            name: there.name.clone(),
            label: label(&there.name),
            logical: column.field.logical,
            holds: there.holds,
            nullable: there.nullable,
        };
        RowWriter {
            columns: history.columns.iter().zip(table).map(column).collect(),
            primary_key: history.primary_key.clone(),
            sequence: sequence.map(label),
        }
    }

    /// Appends deletes by primary key and then upserts of whole rows. `sequence`: of the upserts, where the table keeps it.
    ///
    /// # Errors
    /// The first value that does not fit; what was appended is of no use.
    pub fn write(&self, out: &mut Vec<u8>, deletes: &Rows, upserts: &Rows, sequence: u64) -> Result<(), Misfit> {
        let start = out.len();
        for (number, row) in deletes.iter().enumerate() {
            let object = begin(out);
            for (place, &column) in self.primary_key.iter().enumerate() {
                self.value(out, column, row.get(place), number)?;
            }
            out.extend(br#","__op":1}"#);
            out[object] = b'{';
        }
        for (number, row) in upserts.iter().enumerate() {
            let object = begin(out);
            self.row(out, row, number)?;
            if let Some(label) = &self.sequence {
                out.extend(label);
                json::unsigned(out, sequence);
            }
            out.push(b'}');
            out[object] = b'{';
        }
        // Each object begins with the comma before it.
        match out.get_mut(start) {
            Some(first) => *first = b'[',
            None => out.push(b'['),
        }
        out.push(b']');
        Ok(())
    }

    fn row(&self, out: &mut Vec<u8>, row: Row<'_>, number: usize) -> Result<(), Misfit> {
        (0..self.columns.len()).try_for_each(|column| self.value(out, column, row.get(column), number))
    }

    fn value(&self, out: &mut Vec<u8>, column: usize, value: Value<'_>, row: usize) -> Result<(), Misfit> {
        let column = &self.columns[column];
        out.extend(&column.label);
        let misfit = |why: String| Err(Misfit { row, column: column.name.clone(), why });
        match value {
            Value::Null if column.nullable => out.extend(b"null"),
            Value::Null => return misfit("NULL, and the table's column is NOT NULL".into()),
            Value::Int(micros) if column.logical == Logical::Datetime => {
                out.push(b'"');
                civil::datetime_into(out, micros);
                out.push(b'"');
            }
            Value::Int(value) => match column.logical {
                Logical::Boolean => out.extend(if value == 0 { &b"false"[..] } else { b"true" }),
                Logical::Date | Logical::Time => {
                    let mut text = String::with_capacity(20);
                    match column.logical {
                        Logical::Date => civil::write_date(&mut text, value),
                        _ => civil::write_time(&mut text, value),
                    }
                    out.push(b'"');
                    out.extend(text.as_bytes());
                    out.push(b'"');
                }
                _ => match column.holds.integers() {
                    Some(holds) if !holds.contains(&value) => {
                        return misfit(format!("{value} is out of the range of {}", column.holds));
                    }
                    _ => json::integer(out, value),
                },
            },
            Value::UInt(value) => json::unsigned(out, value),
            Value::Float(value) if column.holds == ColumnType::Float => json::write(out, &(value as f32)),
            Value::Float(value) => json::write(out, &value),
            Value::Text(text) => {
                if let ColumnType::Varchar(bytes) = column.holds
                    && text.len() > bytes
                {
                    return misfit(format!("a text of {} bytes, and VARCHAR({bytes}) counts bytes", text.len()));
                }
                // A decimal as a text keeps every digit, a number in JSON may be read as a double.
                json::text(out, text);
            }
            Value::Bytes(_) => return misfit("bytes cannot be loaded".into()),
            Value::Absent | Value::Undecoded => return misfit("the row has no value for it".into()),
        }
        Ok(())
    }
}

/// Behind the comma before it; its first label begins with another, which becomes the bracket.
fn begin(out: &mut Vec<u8>) -> usize {
    out.push(b',');
    out.len()
}
