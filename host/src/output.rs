//! Standard output, where only answers go; what the program has to say about itself goes to standard error.

use std::io::{ErrorKind, Write};

use anyhow::Context;

use crate::civil;
use crate::event::Logical;
use crate::failure::{Failure, Outcome};
use crate::rows::Value;

/// Writes an answer. A reader who has gone away (`hindsight query … | head`) has what it wanted.
pub fn print(text: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("write to standard output").map_err(Failure::run)
        }
        _ => Ok(()),
    }
}

/// An answer for programs: one JSON document and a newline.
pub fn print_json(value: &serde_json::Value) -> Outcome<()> {
    print(&format!("{value:#}\n"))
}

/// A value for programs: numbers as numbers, booleans as such, times as text, bytes as `0x…`.
pub fn json(value: Value<'_>, logical: Logical) -> serde_json::Value {
    let written = |write: fn(&mut String, i64), value: i64| {
        let mut text = String::new();
        write(&mut text, value);
        text.into()
    };
    match (value, logical) {
        (Value::Null | Value::Absent | Value::Undecoded, _) => serde_json::Value::Null,
        (Value::Int(value), Logical::Boolean) => (value != 0).into(),
        (Value::Int(value), Logical::Date) => written(civil::write_date, value),
        (Value::Int(value), Logical::Time) => written(civil::write_time, value),
        (Value::Int(value), Logical::Datetime) => written(civil::write_datetime, value),
        (Value::Int(value), _) => value.into(),
        // Above 2^63 many readers of JSON lose digits.
        (Value::UInt(value), _) => i64::try_from(value).map_or_else(|_| value.to_string().into(), Into::into),
        (Value::Float(value), _) => value.into(),
        (Value::Text(text), _) => text.into(),
        (Value::Bytes(bytes), _) => {
            format!("0x{}", bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).into()
        }
    }
}

/// A value for people: texts as they are, NULL in capitals.
pub fn cell(value: Value<'_>, logical: Logical) -> String {
    match json(value, logical) {
        serde_json::Value::Null => "NULL".into(),
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
