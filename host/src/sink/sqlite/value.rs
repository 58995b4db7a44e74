//! Values as SQLite holds them, so that plain `sqlite3` reads them: times as text whose order is time order, booleans 0/1,
//! decimals as text.

use rusqlite::types::ValueRef;
use rusqlite::{Statement, ToSql};

use crate::civil;
use crate::event::{Field, Logical};
use crate::rows::{Rows, Value};
use crate::sink::SinkError;

/// The column type of a new table. TEXT wherever SQLite's NUMERIC affinity could turn a text into a number (DECIMAL, DATETIME and
/// JSON would have it, and a comparison with '2025' would compare numbers).
pub fn column_type(logical: Logical) -> &'static str {
    match logical {
        Logical::Boolean => "BOOLEAN",
        Logical::Int64 | Logical::UInt64 => "INTEGER",
        Logical::Float64 => "REAL",
        Logical::Bytes => "BLOB",
        Logical::Decimal | Logical::Text | Logical::Json | Logical::Date | Logical::Time | Logical::Datetime => "TEXT",
    }
}

/// Whether a column that somebody else declared so keeps the values as they are (SQLite's affinity rules).
pub fn keeps(declared: &str, logical: Logical) -> bool {
    let declared = declared.to_ascii_uppercase();
    let has = |part: &str| declared.contains(part);
    let integer = has("INT");
    let text = !integer && (has("CHAR") || has("CLOB") || has("TEXT"));
    let blob = !integer && !text && (has("BLOB") || declared.is_empty());
    let real = !integer && !text && !blob && (has("REAL") || has("FLOA") || has("DOUB"));
    let numeric = !(integer || text || blob || real);
    match logical {
        Logical::Boolean | Logical::Int64 | Logical::UInt64 => integer || numeric || blob,
        Logical::Float64 => real || blob,
        // A date or a time never looks like a number, so NUMERIC leaves it alone.
        Logical::Date | Logical::Time | Logical::Datetime => text || blob || numeric,
        Logical::Decimal | Logical::Text | Logical::Json => text || blob,
        Logical::Bytes => blob || text || numeric,
    }
}

/// Binds parameter `index` (from 1).
#[inline]
pub fn bind(statement: &mut Statement<'_>, index: usize, value: Value<'_>, field: &Field) -> Result<(), SinkError> {
    let mut bind = |value: &dyn ToSql| {
        statement
            .raw_bind_parameter(index, value)
            .map_err(|error| SinkError::Stop(format!("write column {}: {error}", field.name)))
    };
    match (value, field.logical) {
        (Value::Null, _) => bind(&rusqlite::types::Null),
        (Value::Int(value), Logical::Boolean | Logical::Int64) => bind(&value),
        (Value::Int(value), logical @ (Logical::Datetime | Logical::Date | Logical::Time)) => {
            let mut text = String::with_capacity(26);
            write_time(&mut text, value, logical);
            bind(&text)
        }
        (Value::UInt(value), _) => match i64::try_from(value) {
            Ok(value) => bind(&value),
            Err(_) => Err(SinkError::Stop(format!(
                "column {} ({}): {value} is above 2^63 - 1, which SQLite cannot hold; leave the column out of the rule's settings, or use another sink",
                field.name, field.declared
            ))),
        },
        (Value::Float(value), _) => bind(&value),
        (Value::Text(text), _) => bind(&text),
        (Value::Bytes(bytes), _) => bind(&bytes),
        (value, logical) => {
            Err(SinkError::Stop(format!("column {}: {value:?} is not of type {}", field.name, logical.name())))
        }
    }
}

pub fn write_time(text: &mut String, value: i64, logical: Logical) {
    match logical {
        Logical::Date => civil::write_date(text, value),
        Logical::Time => civil::write_time(text, value),
        _ => civil::write_datetime(text, value),
    }
}

/// Appends a cell to the row being read.
///
/// # Errors
/// What stands there is not what was written.
#[inline]
pub fn read(cell: ValueRef<'_>, field: &Field, rows: &mut Rows) -> Result<(), String> {
    let text = |bytes: &'_ [u8]| std::str::from_utf8(bytes).map(str::to_owned).unwrap_or_default();
    let misfit = || format!("column {} holds {cell:?}, which is no {}", field.name, field.logical.name());
    match (cell, field.logical) {
        (ValueRef::Null, _) => rows.push(Value::Null),
        (ValueRef::Integer(value), Logical::Int64) => rows.push(Value::Int(value)),
        (ValueRef::Integer(value @ 0..=1), Logical::Boolean) => rows.push(Value::Int(value)),
        (ValueRef::Integer(value), Logical::UInt64) => {
            rows.push(Value::UInt(u64::try_from(value).map_err(|_| misfit())?))
        }
        (ValueRef::Real(value), Logical::Float64) => rows.push(Value::Float(value)),
        (ValueRef::Text(bytes), Logical::Decimal | Logical::Text | Logical::Json) => {
            rows.push(Value::Text(std::str::from_utf8(bytes).map_err(|_| misfit())?));
        }
        (ValueRef::Blob(bytes), Logical::Bytes) => rows.push(Value::Bytes(bytes)),
        (ValueRef::Text(bytes), logical @ (Logical::Date | Logical::Time | Logical::Datetime)) => {
            let text = text(bytes);
            let value = match logical {
                Logical::Date => civil::parse_date(&text),
                Logical::Time => civil::parse_time(&text),
                _ => civil::parse_datetime(&text),
            };
            rows.push(Value::Int(value.ok_or_else(misfit)?));
        }
        _ => return Err(misfit()),
    }
    Ok(())
}
