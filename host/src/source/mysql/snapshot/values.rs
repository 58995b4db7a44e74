//! A result's row into [`Rows`], as the log's decoder would have read it.

use mysql_async::{Row, Value as Sent};

use super::key::{Key, Part};
use super::statements::Chunks;
use crate::civil::{self, MICROS_PER_SECOND, Zone};
use crate::rows::{Rows, Value};
use crate::source::binlog::charset::Text;
use crate::source::binlog::json;
use crate::source::binlog::row::{self, Column, push_string};

/// What the server sent is not what the column holds.
#[derive(Debug)]
pub struct Unlike {
    /// Position of the column.
    pub column: usize,
    pub sent: String,
}

/// Appends a row of the binary protocol, one value for each column.
pub fn push(row: &Row, columns: &[Column], zone: &Zone, rows: &mut Rows) -> Result<(), Unlike> {
    for (i, column) in columns.iter().enumerate() {
        let sent = row.as_ref(i).unwrap_or(&Sent::NULL);
        if value(sent, column, zone, rows).is_none() {
            return Err(Unlike { column: i, sent: format!("{sent:?}").chars().take(80).collect() });
        }
    }
    rows.end_row();
    Ok(())
}

fn value(sent: &Sent, column: &Column, zone: &Zone, rows: &mut Rows) -> Option<()> {
    // Of these it was asked whether they are NULL.
    if let Column::Undecoded(_) = column {
        rows.push(if integer(sent)? == 1 { Value::Null } else { Value::Undecoded });
        return Some(());
    }
    let value = match (column, sent) {
        (_, Sent::NULL) => Value::Null,
        (Column::Unsigned(_), sent) => Value::UInt(unsigned(sent)?),
        (Column::Signed(_) | Column::UnsignedAsInt(_) | Column::Year, sent) => Value::Int(integer(sent)?),
        (Column::Float, Sent::Float(number)) => Value::Float(f64::from(*number)),
        (Column::Double, Sent::Double(number)) => Value::Float(*number),
        (Column::Decimal { .. }, Sent::Bytes(digits)) => Value::Text(std::str::from_utf8(digits).ok()?),
        (Column::Binary { .. }, Sent::Bytes(bytes)) => Value::Bytes(bytes),
        (Column::Utf8Short | Column::Utf8Long, Sent::Bytes(bytes)) => {
            push_string(bytes, Text::Utf8, rows);
            return Some(());
        }
        (Column::Char1(encoding) | Column::String { encoding, .. }, Sent::Bytes(bytes)) => {
            push_string(bytes, *encoding, rows);
            return Some(());
        }
        (Column::Truth, Sent::Bytes(bits)) => Value::Int((number(bits)? & 1) as i64),
        (Column::Bits(_), Sent::Bytes(bits)) => Value::UInt(number(bits)?),
        (Column::Enum { names, .. }, sent) => row::choice(unsigned(sent)?, names).ok()?,
        (Column::Set { names, .. }, sent) => {
            let chosen = unsigned(sent)?;
            rows.push_text_with(|text| row::choices(text, chosen, names));
            return Some(());
        }
        (Column::Json(_), Sent::Bytes(text)) => {
            let text = std::str::from_utf8(text).ok()?;
            rows.push_text_with(|out| json::compact(out, text));
            return Some(());
        }
        (Column::Date, &Sent::Date(year, month, day, ..)) => {
            civil::days(year.into(), month.into(), day.into()).map_or(Value::Null, Value::Int)
        }
        (Column::Datetime(_), &Sent::Date(..)) => instant(sent)?.map_or(Value::Null, Value::Int),
        // The session's time zone is UTC.
        (Column::Timestamp(_), &Sent::Date(..)) => {
            instant(sent)?.map_or(Value::Null, |instant| Value::Int(zone.wall_clock(instant)))
        }
        (Column::Time(_), &Sent::Time(negative, days, hours, minutes, seconds, micros)) => {
            let hours = i64::from(days) * 24 + i64::from(hours);
            let seconds = hours * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
            let micros = seconds * MICROS_PER_SECOND + i64::from(micros);
            Value::Int(if negative { -micros } else { micros })
        }
        _ => return None,
    };
    rows.push(value);
    Some(())
}

fn integer(sent: &Sent) -> Option<i64> {
    match *sent {
        Sent::Int(number) => Some(number),
        Sent::UInt(number) => i64::try_from(number).ok(),
        _ => None,
    }
}

fn unsigned(sent: &Sent) -> Option<u64> {
    match *sent {
        Sent::UInt(number) => Some(number),
        Sent::Int(number) => u64::try_from(number).ok(),
        _ => None,
    }
}

/// A BIT's bytes, the highest first.
fn number(bits: &[u8]) -> Option<u64> {
    (bits.len() <= 8).then(|| bits.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// None inside: a date that is on no calendar.
fn instant(sent: &Sent) -> Option<Option<i64>> {
    let &Sent::Date(year, month, day, hour, minute, second, micros) = sent else { return None };
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    let days = civil::days(year.into(), month.into(), day.into());
    Some(days.map(|days| days * civil::MICROS_PER_DAY + seconds * MICROS_PER_SECOND + i64::from(micros)))
}

/// The wall clock of the server's `UTC_TIMESTAMP`.
pub fn now(sent: &Sent, zone: &Zone) -> Option<i64> {
    instant(sent)?.map(|instant| zone.wall_clock(instant))
}

/// A key as [`Chunks::boundary`] selects it: each text is followed by its weight.
pub fn key(row: &Row, chunks: &Chunks<'_>) -> Option<Key> {
    let mut sent = 0..;
    let mut next = || sent.next().and_then(|i| row.as_ref(i));
    let parts = chunks.columns.iter().map(|&column| {
        let value = next()?;
        Some(match (&chunks.table.columns[column], value) {
            (_, Sent::NULL) => Part::Null,
            (Column::Unsigned(_), sent) => Part::UInt(unsigned(sent)?),
            (Column::Signed(_) | Column::UnsignedAsInt(_), sent) => Part::Int(integer(sent)?),
            (_, Sent::Bytes(raw)) => match chunks.collation(column) {
                Some(collation) => match next()? {
                    Sent::Bytes(weight) => {
                        Part::Text { raw: raw.clone(), weight: weight.clone(), pad: collation.pad.clone() }
                    }
                    _ => return None,
                },
                None => Part::Bytes(raw.clone()),
            },
            _ => return None,
        })
    });
    parts.collect::<Option<_>>().map(Key)
}
