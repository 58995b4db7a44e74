//! Row images, decoded from the event's bytes straight into [`Rows`].
//!
//! Formats: `sql/field.cc` (`pack`), `my_time.cc` (`my_*_packed_to_binary`), as the server writes them.

use std::sync::Arc;

use super::charset::Text;
use super::frame::{Bytes, Short};
use super::{decimal, json};
use crate::civil::{self, MICROS_PER_SECOND, Zone};
use crate::rows::{Rows, Value};

/// How a column's value stands in a row image.
#[derive(Clone, Debug, PartialEq)]
pub enum Column {
    /// Bytes of the number.
    Signed(u8),
    /// As `uint64`.
    Unsigned(u8),
    /// As `int64`, which holds it.
    UnsignedAsInt(u8),
    Year,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
        size: u8,
    },
    /// A text or bytes behind a length of so many bytes; UTF-8 with lengths of 1 and 2 have arms of their own.
    Utf8Short,
    Utf8Long,
    Char1(Text),
    String {
        length: u8,
        encoding: Text,
    },
    /// BINARY(size): the server cuts trailing zeros, they are put back.
    Binary {
        length: u8,
        size: u16,
    },
    Date,
    /// Fractional digits.
    Time(u8),
    Datetime(u8),
    Timestamp(u8),
    /// BIT(1): a truth value.
    Truth,
    /// BIT: a number of so many bytes.
    Bits(u8),
    /// The number of one of these, from 1; 0 is the empty text that stands for what is none of them.
    Enum {
        size: u8,
        names: Arc<[String]>,
    },
    /// A bit for each of these.
    Set {
        size: u8,
        names: Arc<[String]>,
    },
    /// A document behind a length of so many bytes.
    Json(u8),
    /// A value of so many bytes that is not decoded.
    Undecoded(u16),
}

impl Column {
    pub fn string(length: u8, encoding: Text) -> Self {
        match (length, encoding) {
            (1, Text::Utf8) => Column::Utf8Short,
            (2, Text::Utf8) => Column::Utf8Long,
            (length, encoding) => Column::String { length, encoding },
        }
    }
}

/// Decodes one image and appends it as a row. `present`: the columns that the image carries, a bit each.
#[inline]
pub fn decode(
    image: &mut Bytes<'_>,
    columns: &[Column],
    present: &[u8],
    all_present: bool,
    zone: &Zone,
    rows: &mut Rows,
) -> Result<u32, Short> {
    let n_present = if all_present { columns.len() } else { (0..columns.len()).filter(|&i| bit(present, i)).count() };
    let nulls = image.take(n_present.div_ceil(8))?;
    let mut seen = 0;
    for (i, column) in columns.iter().enumerate() {
        if !all_present && !bit(present, i) {
            rows.push(Value::Absent);
            continue;
        }
        if bit(nulls, seen) {
            rows.push(Value::Null);
        } else {
            value(image, column, zone, rows)?;
        }
        seen += 1;
    }
    Ok(rows.end_row() as u32)
}

/// Whether bit `i` is set, the first bit the lowest of the first byte.
#[inline]
pub fn bit(bits: &[u8], i: usize) -> bool {
    bits.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1)
}

#[inline]
fn value(image: &mut Bytes<'_>, column: &Column, zone: &Zone, rows: &mut Rows) -> Result<(), Short> {
    match *column {
        Column::Signed(4) => rows.push(Value::Int(i64::from(image.le(4)? as i32))),
        Column::Signed(bytes) => {
            let unused = 64 - 8 * u32::from(bytes);
            rows.push(Value::Int((image.le(usize::from(bytes))? << unused) as i64 >> unused));
        }
        Column::Unsigned(bytes) => rows.push(Value::UInt(image.le(usize::from(bytes))?)),
        Column::UnsignedAsInt(bytes) => rows.push(Value::Int(image.le(usize::from(bytes))? as i64)),
        Column::Utf8Short => {
            let n = usize::from(image.u8()?);
            rows.push(utf8(image.take(n)?));
        }
        Column::Utf8Long => {
            let n = image.le(2)? as usize;
            rows.push(utf8(image.take(n)?));
        }
        Column::Char1(encoding) => string(image, 1, encoding, rows)?,
        Column::String { length, encoding } => string(image, length, encoding, rows)?,
        Column::Datetime(digits) => rows.push(datetime(image, digits)?),
        Column::Timestamp(digits) => rows.push(timestamp(image, digits, zone)?),
        Column::Date => rows.push(date(image)?),
        Column::Time(digits) => rows.push(time(image, digits)?),
        Column::Year => {
            let year = image.u8()?;
            rows.push(Value::Int(if year == 0 { 0 } else { 1900 + i64::from(year) }));
        }
        Column::Float => rows.push(Value::Float(f64::from(f32::from_bits(image.le(4)? as u32)))),
        Column::Double => rows.push(Value::Float(f64::from_bits(image.le(8)?))),
        Column::Decimal { precision, scale, size } => {
            let packed = image.take(usize::from(size))?;
            let mut result = Ok(());
            rows.push_text_with(|text| result = decimal::write(text, packed, precision, scale));
            result?;
        }
        Column::Binary { length, size } => {
            let n = image.le(usize::from(length))? as usize;
            let mut bytes = image.take(n)?.to_vec();
            bytes.resize(usize::from(size).max(n), 0);
            rows.push(Value::Bytes(&bytes));
        }
        Column::Undecoded(n) => {
            image.take(usize::from(n))?;
            rows.push(Value::Undecoded);
        }
        Column::Truth => rows.push(Value::Int((image.u8()? & 1).into())),
        Column::Bits(bytes) => rows.push(Value::UInt(image.be(usize::from(bytes))?)),
        Column::Enum { size, ref names } => rows.push(choice(image.le(usize::from(size))?, names)?),
        Column::Set { size, ref names } => {
            let chosen = image.le(usize::from(size))?;
            rows.push_text_with(|text| choices(text, chosen, names));
        }
        Column::Json(length) => {
            let document = counted(image, length)?;
            let mut result = Ok(());
            rows.push_text_with(|text| result = json::write(text, document));
            result?;
        }
    }
    Ok(())
}

fn counted<'a>(image: &mut Bytes<'a>, length: u8) -> Result<&'a [u8], Short> {
    let n = image.le(usize::from(length.min(8)))?;
    image.take(usize::try_from(n).map_err(|_| Short)?)
}

fn string(image: &mut Bytes<'_>, length: u8, encoding: Text, rows: &mut Rows) -> Result<(), Short> {
    push_string(counted(image, length)?, encoding, rows);
    Ok(())
}

/// An ENUM's value.
pub fn choice(number: u64, names: &[String]) -> Result<Value<'_>, Short> {
    match usize::try_from(number).map_err(|_| Short)? {
        0 => Ok(Value::Text("")),
        number => names.get(number - 1).map(|name| Value::Text(name)).ok_or(Short),
    }
}

/// A SET's value: its members with commas between them.
pub fn choices(out: &mut String, chosen: u64, names: &[String]) {
    let mut separator = "";
    for (_, name) in names.iter().enumerate().filter(|(i, _)| chosen >> i & 1 == 1) {
        out.push_str(separator);
        out.push_str(name);
        separator = ",";
    }
}

/// Bytes as they are stored, in the column's character set.
pub fn push_string(bytes: &[u8], encoding: Text, rows: &mut Rows) {
    match encoding {
        Text::Binary => rows.push(Value::Bytes(bytes)),
        encoding => rows.push(encoding.read(bytes).as_deref().map_or(Value::Undecoded, Value::Text)),
    }
}

#[inline]
fn utf8(bytes: &[u8]) -> Value<'_> {
    std::str::from_utf8(bytes).map_or(Value::Undecoded, Value::Text)
}

/// Three bytes: year in 15 bits, month in 4, day in 5.
fn date(image: &mut Bytes<'_>) -> Result<Value<'static>, Short> {
    let packed = image.le(3)?;
    let days = civil::days((packed >> 9) as i64, (packed >> 5 & 15) as u32, (packed & 31) as u32);
    Ok(days.map_or(Value::Null, Value::Int))
}

/// Five bytes, big-endian, offset by 2^39: year × 13 + month in 17 bits, day 5, hour 5, minute 6, second 6; then the fraction.
#[inline]
fn datetime(image: &mut Bytes<'_>, digits: u8) -> Result<Value<'static>, Short> {
    let packed = image.be(5)? as i64 - (1 << 39);
    let micros = fraction(image, digits)?;
    if packed < 0 {
        return Ok(Value::Null);
    }
    let (months, day, clock) = (packed >> 22, packed >> 17 & 31, packed & 0x1_ffff);
    let seconds = (clock >> 12) * 3600 + (clock >> 6 & 63) * 60 + (clock & 63);
    let days = civil::days(months / 13, (months % 13) as u32, day as u32);
    Ok(days.map_or(Value::Null, |days| Value::Int(days * civil::MICROS_PER_DAY + seconds * MICROS_PER_SECOND + micros)))
}

/// Four bytes of seconds since 1970 in UTC, big-endian; all zero is '0000-00-00 00:00:00'.
fn timestamp(image: &mut Bytes<'_>, digits: u8, zone: &Zone) -> Result<Value<'static>, Short> {
    let seconds = image.be(4)? as i64;
    let micros = fraction(image, digits)?;
    Ok(match (seconds, micros) {
        (0, 0) => Value::Null,
        _ => Value::Int(zone.wall_clock(seconds * MICROS_PER_SECOND + micros)),
    })
}

/// The fraction of a DATETIME or TIMESTAMP in microseconds: 1, 2 or 3 bytes for up to 2, 4 or 6 digits.
#[inline]
fn fraction(image: &mut Bytes<'_>, digits: u8) -> Result<i64, Short> {
    let bytes = usize::from(digits.div_ceil(2)).min(3);
    Ok(image.be(bytes)? as i64 * [0, 10_000, 100, 1][bytes])
}

/// Hours in 10 bits, minutes and seconds in 6 each, offset so that negative times sort; the fraction behind them is a part of the
/// number: -00:00:01.5 is stored as one below -1 with a fraction of 0.5 above it.
fn time(image: &mut Bytes<'_>, digits: u8) -> Result<Value<'static>, Short> {
    let fraction_bytes = u32::from(digits.div_ceil(2)).min(3);
    let bits = 24 + 8 * fraction_bytes;
    let packed = image.be(bits as usize / 8)? as i64 - (1 << (bits - 1));
    let (negative, packed) = (packed < 0, packed.abs());
    let (clock, fraction) = (packed >> (8 * fraction_bytes), packed & ((1 << (8 * fraction_bytes)) - 1));
    let seconds = (clock >> 12 & 1023) * 3600 + (clock >> 6 & 63) * 60 + (clock & 63);
    let micros = seconds * MICROS_PER_SECOND + fraction * [0, 10_000, 100, 1][fraction_bytes as usize];
    Ok(Value::Int(if negative { -micros } else { micros }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(column: Column, bytes: &[u8]) -> Value<'static> {
        let mut rows = Rows::new(1);
        let image: Vec<u8> = [&[0], bytes].concat();
        let mut image = Bytes(&image);
        decode(&mut image, &[column], &[1], true, &Zone::UTC, &mut rows).unwrap();
        assert!(image.0.is_empty(), "all bytes are read");
        match rows.row(0).get(0) {
            Value::Int(value) => Value::Int(value),
            Value::UInt(value) => Value::UInt(value),
            Value::Text(text) => Value::Text(text.to_owned().leak()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn integers_keep_their_sign_in_every_width() {
        for bytes in [1_u8, 2, 3, 4, 8] {
            let bits = 8 * u32::from(bytes);
            for value in [0, -1, 1, i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)] {
                assert_eq!(one(Column::Signed(bytes), &value.to_le_bytes()[..usize::from(bytes)]), Value::Int(value));
            }
            let max = u64::MAX >> (64 - bits);
            assert_eq!(one(Column::Unsigned(bytes), &max.to_le_bytes()[..usize::from(bytes)]), Value::UInt(max));
        }
    }

    #[test]
    fn negative_times_with_a_fraction_are_right() {
        // -00:00:01.5 as TIME(1): 0x800000 - 2, then 256 - 50.
        assert_eq!(one(Column::Time(1), &[0x7f, 0xff, 0xfe, 0xce]), Value::Int(-1_500_000));
        assert_eq!(one(Column::Time(2), &[0x7f, 0xff, 0xff, 0xf6]), Value::Int(-100_000));
        assert_eq!(one(Column::Time(0), &[0x80, 0, 1]), Value::Int(1_000_000));
    }

    #[test]
    fn absent_columns_are_told_from_null_ones() {
        for n in [7, 8, 9, 65] {
            let columns = vec![Column::Signed(1); n];
            let mut present = vec![0_u8; n.div_ceil(8)];
            // Every second column is there, and of these every second is null.
            (0..n).step_by(2).for_each(|i| present[i / 8] |= 1 << (i % 8));
            let n_present = n.div_ceil(2);
            let mut image = vec![0_u8; n_present.div_ceil(8)];
            (0..n_present).step_by(2).for_each(|i| image[i / 8] |= 1 << (i % 8));
            image.extend((0..n_present / 2).map(|i| i as u8));
            let mut rows = Rows::new(n);
            decode(&mut Bytes(&image), &columns, &present, false, &Zone::UTC, &mut rows).unwrap();
            let mut values = 0..;
            for (i, value) in rows.row(0).values().enumerate() {
                match i % 4 {
                    1 | 3 => assert_eq!(value, Value::Absent),
                    0 => assert_eq!(value, Value::Null),
                    _ => assert_eq!(value, Value::Int(values.next().unwrap())),
                }
            }
        }
    }
}
