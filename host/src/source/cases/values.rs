//! Values of a case file, read by the declared type of their column.

use crate::civil;
use crate::document::{Fault, Faults, Node, NodeValue, Table, nearest};
use crate::event::{Field, Logical};
use crate::rows::Value;

/// A value that owns its text.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Int(i64),
    UInt(u64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    /// `"*"` of an expectation: any value, also NULL.
    Any,
}

/// Where a row stands: what is allowed in it follows from that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Of a change: a zero, partial or impossible date is read as NULL, as every source does.
    Image,
    History,
    /// `"*"` stands for any value.
    Expectation,
}

/// A row in the order of `fields`; a column left out is NULL.
pub fn read_row(table: &Table, fields: &[&Field], place: &str, reading: Reading, faults: &mut Faults) -> Vec<Cell> {
    let mut cells = vec![Cell::Null; fields.len()];
    for entry in &table.entries {
        let Some(column) = fields.iter().position(|field| field.name == entry.key) else {
            let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
            let all = format!("its columns: {}", names.join(", "));
            let help = match nearest(&entry.key, names.iter().copied()) {
                Some(name) => format!("did you mean `{name}`? {all}"),
                None => all,
            };
            let message = format!("{place}: there is no column `{}`", entry.key);
            faults.push(Fault::new(entry.key_span.clone(), message).label("no such column").help(help));
            continue;
        };
        let is_unsigned = || fields[column].declared.to_ascii_lowercase().contains("unsigned");
        let read = match read_value(&entry.node, fields[column].logical, reading) {
            Ok(Cell::Int(number)) if number < 0 && is_unsigned() => Err("an integer without a sign"),
            read => read,
        };
        match read {
            Ok(cell) => cells[column] = cell,
            Err(wanted) => {
                let Field { name, declared, .. } = fields[column];
                let message = format!("{place}: this is no value for column `{name}` ({declared})");
                faults.push(Fault::new(entry.node.span.clone(), message).label(format!("expected {wanted}")));
            }
        }
    }
    cells
}

/// An error says what was expected.
fn read_value(node: &Node, logical: Logical, reading: Reading) -> Result<Cell, &'static str> {
    if reading == Reading::Expectation
        && let NodeValue::Text(text) = &node.value
        && text.value == "*"
    {
        return Ok(Cell::Any);
    }
    let text = match &node.value {
        NodeValue::Text(text) => Some(text.value.as_str()),
        NodeValue::Time(text) => Some(text.as_str()),
        _ => None,
    };
    let date = |parsed: Option<i64>, wanted: &'static str| match (parsed, text) {
        (Some(value), _) => Ok(Cell::Int(value)),
        (None, Some(text)) if reading == Reading::Image && is_date_shaped(text) => Ok(Cell::Null),
        _ => Err(wanted),
    };
    match (logical, &node.value) {
        (Logical::Boolean, NodeValue::Boolean(flag)) => Ok(Cell::Int(i64::from(*flag))),
        (Logical::Boolean, NodeValue::Integer(number @ (0 | 1))) => Ok(Cell::Int(*number as i64)),
        (Logical::Boolean, _) => Err("true or false"),
        (Logical::Int64, value) => {
            integer(value).and_then(|number| i64::try_from(number).ok()).map(Cell::Int).ok_or("an integer of 64 bits")
        }
        (Logical::UInt64, value) => integer(value)
            .and_then(|number| u64::try_from(number).ok())
            .map(Cell::UInt)
            .ok_or("an unsigned integer of 64 bits (above 2^63 as a string)"),
        (Logical::Float64, NodeValue::Float(number)) => Ok(Cell::Float(*number)),
        (Logical::Float64, NodeValue::Integer(number)) => Ok(Cell::Float(*number as f64)),
        (Logical::Float64, _) => Err("a number"),
        (Logical::Decimal, _) => {
            let text = text.filter(|text| is_decimal(text));
            text.map(|text| Cell::Text(text.into())).ok_or("plain digits as a string, such as \"-1.50\"")
        }
        (Logical::Text, NodeValue::Text(text)) => Ok(Cell::Text(text.value.clone())),
        (Logical::Text, _) => Err("a string"),
        (Logical::Json, NodeValue::Text(text)) => Ok(Cell::Text(text.value.clone())),
        (Logical::Json, _) => Err("JSON in a string"),
        (Logical::Bytes, _) => text.and_then(hex).map(Cell::Bytes).ok_or("bytes as a string \"0x…\""),
        (Logical::Date, _) => date(text.and_then(civil::parse_date), "a date \"YYYY-MM-DD\""),
        (Logical::Datetime, _) => date(
            text.and_then(civil::parse_datetime),
            "a time \"YYYY-MM-DD HH:MM:SS\", with up to six digits after a point",
        ),
        (Logical::Time, _) => text
            .and_then(civil::parse_time)
            .map(Cell::Int)
            .ok_or("a time \"HH:MM:SS\", with up to six digits after a point"),
    }
}

impl Cell {
    pub fn value(&self) -> Value<'_> {
        match self {
            // Only expectations hold it, and they are matched, never written.
            Cell::Null | Cell::Any => Value::Null,
            Cell::Int(value) => Value::Int(*value),
            Cell::UInt(value) => Value::UInt(*value),
            Cell::Float(value) => Value::Float(*value),
            Cell::Text(text) => Value::Text(text),
            Cell::Bytes(bytes) => Value::Bytes(bytes),
        }
    }

    pub fn matches(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Cell::Any, _) => true,
            // A rule's NaN is the NaN that was expected.
            (Cell::Float(a), Value::Float(b)) => *a == b || a.is_nan() && b.is_nan(),
            (cell, value) => cell.value() == value,
        }
    }
}

fn integer(value: &NodeValue) -> Option<i128> {
    match value {
        NodeValue::Integer(number) => Some(*number),
        NodeValue::Text(text) => text.value.parse().ok(),
        _ => None,
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}

/// `0000-00-00`, `2026-02-30 10:00:00`: a date in form, whose day there may not be.
fn is_date_shaped(text: &str) -> bool {
    let (date, clock) = text.split_once([' ', 'T']).map_or((text, None), |(date, clock)| (date, Some(clock)));
    let date_fits = date.len() == 10
        && date
            .bytes()
            .enumerate()
            .all(|(i, byte)| if i == 4 || i == 7 { byte == b'-' } else { byte.is_ascii_digit() });
    // The clock is judged on a day that there is.
    date_fits && clock.is_none_or(|clock| civil::parse_datetime(&format!("2000-01-01 {clock}")).is_some())
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").filter(|digits| digits.len().is_multiple_of(2))?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect()
}
