//! Values as [`super::super::value`] and Debezium's converters write them, each by the declared type of its column.

use super::super::value::Form;
use super::scan::{Fault, Scanner, Str};
use crate::civil::{self, Zone};
use crate::event::{Field, Logical};
use crate::rows::{Rows, Value};

/// What a value is read with.
pub struct Reading<'z> {
    /// Whose wall clock TIMESTAMP columns show.
    pub zone: &'z Zone,
    /// A string that had escapes.
    pub escaped: String,
    pub bytes: Vec<u8>,
}

/// Reads the next value and appends it to a row. After an error nothing or the value was appended.
pub fn read(
    scanner: &mut Scanner<'_>,
    field: &Field,
    form: Form,
    reading: &mut Reading<'_>,
    rows: &mut Rows,
) -> Result<(), Fault> {
    if scanner.take_null() {
        rows.push(Value::Null);
        return Ok(());
    }
    match form {
        Form::Number if field.logical == Logical::UInt64 => {
            let value = unsigned(scanner)?;
            rows.push(Value::UInt(value));
        }
        Form::Number if field.logical == Logical::Boolean && matches!(scanner.peek(), Some(b't' | b'f')) => {
            let value = scanner.take_exactly(b"true");
            if !value && !scanner.take_exactly(b"false") {
                return scanner.fault("no truth value");
            }
            rows.push(Value::Int(value.into()));
        }
        Form::Number => rows.push(Value::Int(scanner.integer()?)),
        Form::Millis => {
            let millis = scanner.integer()?;
            match millis.checked_mul(1_000) {
                Some(micros) => rows.push(Value::Int(micros)),
                None => return scanner.fault(format!("{millis} ms are on no calendar")),
            }
        }
        Form::Float => {
            let text = scanner.number()?;
            let value: f32 = text.parse().map_err(|_| misfit(scanner, text, "a float"))?;
            rows.push(Value::Float(value.into()));
        }
        Form::Double => {
            let text = scanner.number()?;
            let value = text.parse().map_err(|_| misfit(scanner, text, "a double"))?;
            rows.push(Value::Float(value));
        }
        Form::Text => {
            let text = text(scanner, &mut reading.escaped)?;
            rows.push(Value::Text(text));
        }
        Form::Timestamp(_) => {
            let text = text(scanner, &mut reading.escaped)?;
            let instant = instant(text).ok_or_else(|| misfit(scanner, text, "a time in UTC, 2025-01-01T00:00:00Z"))?;
            rows.push(Value::Int(reading.zone.wall_clock(instant)));
        }
        Form::Base64 => {
            let text = text(scanner, &mut reading.escaped)?;
            base64(text, &mut reading.bytes).ok_or_else(|| misfit(scanner, text, "base64"))?;
            rows.push(Value::Bytes(&reading.bytes));
        }
        Form::Decimal(scale) => {
            let text = text(scanner, &mut reading.escaped)?;
            let fits = base64(text, &mut reading.bytes).is_some() && (1..=WHOLE_BYTES).contains(&reading.bytes.len());
            if !fits {
                return Err(misfit(scanner, text, "the base64 of a whole number of 28 bytes at the most"));
            }
            rows.push_text_with(|out| digits(out, &reading.bytes, scale));
        }
    }
    Ok(())
}

fn misfit(scanner: &Scanner<'_>, text: &str, wanted: &str) -> Fault {
    let shown: String = text.chars().take(40).collect();
    Fault { at: scanner.at(), what: format!("{shown:?} is not {wanted}, before this place") }
}

/// Debezium writes those above 2^63 as the negative number of the same bits, unless it is told otherwise.
fn unsigned(scanner: &mut Scanner<'_>) -> Result<u64, Fault> {
    let text = scanner.number()?;
    let negative = || text.parse::<i64>().map(|value| value as u64);
    text.parse().or_else(|_| negative()).map_err(|_| misfit(scanner, text, "an integer of 64 bits"))
}

/// A string, wherever it lies.
pub fn text<'t, 'a: 't>(scanner: &mut Scanner<'a>, escaped: &'t mut String) -> Result<&'t str, Fault> {
    Ok(match scanner.string(escaped)? {
        Str::Plain(text) => text,
        Str::Written => escaped,
    })
}

/// `2025-01-01T00:00:00[.123456]Z`, in microseconds since 1970.
fn instant(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let time = civil::parse_time(time).filter(|time| (0..civil::MICROS_PER_DAY).contains(time))?;
    Some(civil::parse_date(date)? * civil::MICROS_PER_DAY + time)
}

/// Strict: with its padding, without anything else. None where it is not that.
fn base64(text: &str, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    let (fours, rest) = text.as_bytes().as_chunks::<4>();
    if !rest.is_empty() {
        return None;
    }
    let letter = |byte: u8| {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    for (number, four) in fours.iter().enumerate() {
        let padding = four.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || padding > 0 && number + 1 < fours.len() {
            return None;
        }
        let mut bits = 0;
        for &byte in &four[..4 - padding] {
            bits = bits << 6 | letter(byte)?;
        }
        bits <<= 6 * padding;
        let bytes = bits.to_be_bytes();
        if bytes[4 - padding..].iter().any(|byte| *byte != 0) {
            return None;
        }
        out.extend(&bytes[1..4 - padding]);
    }
    Some(())
}

/// What a decimal of 65 digits and its sign needs.
const WHOLE_BYTES: usize = 28;

/// Writes a whole number, two's complement and big-endian, with `scale` of its digits behind the point.
fn digits(out: &mut String, bytes: &[u8], scale: usize) {
    let negative = bytes[0] >= 0x80;
    // Least first.
    let mut limbs = [if negative { u32::MAX } else { 0 }; WHOLE_BYTES / 4];
    for (number, byte) in bytes.iter().rev().enumerate() {
        let shift = 8 * (number % 4);
        let limb = &mut limbs[number / 4];
        *limb = *limb & !(0xff << shift) | u32::from(*byte) << shift;
    }
    if negative {
        let mut carry = true;
        for limb in &mut limbs {
            (*limb, carry) = (!*limb).overflowing_add(u32::from(carry));
        }
    }
    // The digits, least first.
    let (mut written, mut n_written) = ([b'0'; 80], 0);
    while limbs.iter().any(|limb| *limb != 0) {
        let mut rest = 0_u64;
        for limb in limbs.iter_mut().rev() {
            let value = rest << 32 | u64::from(*limb);
            (*limb, rest) = ((value / 10) as u32, value % 10);
        }
        written[n_written] = b'0' + rest as u8;
        n_written += 1;
    }
    if negative {
        out.push('-');
    }
    for at in (0..n_written.max(scale + 1)).rev() {
        out.push(written.get(at).copied().unwrap_or(b'0') as char);
        if at == scale && scale > 0 {
            out.push('.');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_strict() {
        let read = |text: &str| {
            let mut bytes = Vec::new();
            base64(text, &mut bytes).map(|()| bytes)
        };
        assert_eq!(read(""), Some(vec![]));
        assert_eq!(read("AA=="), Some(vec![0]));
        assert_eq!(read("yv4="), Some(vec![0xca, 0xfe]));
        assert_eq!(read("YWJj"), Some(b"abc".to_vec()));
        assert_eq!(read("/wD+"), Some(vec![255, 0, 254]));
        for wrong in ["A", "AA", "AA=", "AB==", "yv5=", "====", "A===", "AA==AA==", "AA=A", "A A=", "AA-="] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn decimals_are_what_debezium_wrote_for_them() {
        for (scale, text, base) in [
            (2, "-99999999.99", "/av0HAE="),
            (2, "99999999.99", "AlQL4/8="),
            (0, "-99999", "/nlh"),
            (0, "128", "AIA="),
            (0, "-128", "gA=="),
            (9, "-0.999999999", "xGU2AQ=="),
            (0, "99999999999999999999", "BWvHXi1jD///"),
            (0, "0", "AA=="),
            (2, "0.00", "AA=="),
            (2, "1.50", "AJY="),
            (
                30,
                "-99999999999999999999999999999999999.999999999999999999999999999999",
                "/wzp2OOAPG91dBC5sca6EIXayfYAAAAAAAAAAQ==",
            ),
        ] {
            let mut bytes = Vec::new();
            base64(base, &mut bytes).unwrap();
            let mut out = String::new();
            digits(&mut out, &bytes, scale);
            assert_eq!(out, text);
        }
    }
}
