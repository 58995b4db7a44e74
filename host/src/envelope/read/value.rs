//! Values as [`super::super::value`] and Debezium's converters write them, each by the declared type of its column.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

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
        Form::Truth if matches!(scanner.peek(), Some(b't' | b'f')) => {
            let value = scanner.take_exactly(b"true");
            if !value && !scanner.take_exactly(b"false") {
                return scanner.fault("no truth value");
            }
            rows.push(Value::Int(value.into()));
        }
        Form::Truth => {
            let value = scanner.integer()?;
            rows.push(Value::Int((value != 0).into()));
        }
        Form::Bits(n) => {
            let text = text(scanner, &mut reading.escaped)?;
            let bytes = &mut reading.bytes;
            let fits = base64(text, bytes).is_some() && bytes.len() <= 8 && bytes.len() <= n;
            if !fits {
                return Err(misfit(scanner, text, &format!("the base64 of {n} bytes")));
            }
            let number = bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
            rows.push(Value::UInt(number));
        }
        Form::Geometry | Form::Point => {
            geometry(scanner, reading)?;
            rows.push(Value::Bytes(&reading.bytes));
        }
        Form::Vector => {
            reading.bytes.clear();
            scanner.array(|scanner| {
                let text = scanner.number()?;
                let number: f32 = text.parse().map_err(|_| misfit(scanner, text, "a float"))?;
                reading.bytes.extend(number.to_le_bytes());
                Ok(())
            })?;
            rows.push(Value::Bytes(&reading.bytes));
        }
        Form::Number => rows.push(Value::Int(scanner.integer()?)),
        Form::Millis => {
            let millis = scanner.integer()?;
            match millis.checked_mul(1_000) {
                Some(micros) => rows.push(Value::Int(micros)),
                None => return scanner.fault(format!("{millis} ms are on no calendar")),
            }
        }
        Form::Nanos => {
            let nanos = scanner.integer()?;
            if nanos % 1_000 != 0 {
                return scanner.fault(format!("{nanos} ns are finer than a microsecond"));
            }
            rows.push(Value::Int(nanos / 1_000));
        }
        Form::IsoDate => {
            let text = text(scanner, &mut reading.escaped)?;
            let days = civil::parse_date(text.strip_suffix('Z').unwrap_or(text));
            rows.push(Value::Int(days.ok_or_else(|| misfit(scanner, text, "a date, 2025-01-01Z"))?));
        }
        Form::IsoTime => {
            let text = text(scanner, &mut reading.escaped)?;
            let micros = civil::parse_time(text.strip_suffix('Z').unwrap_or(text));
            rows.push(Value::Int(micros.ok_or_else(|| misfit(scanner, text, "a time, 12:34:56Z"))?));
        }
        Form::IsoDatetime => {
            let text = text(scanner, &mut reading.escaped)?;
            let micros = instant(text).ok_or_else(|| misfit(scanner, text, "a time, 2025-01-01T00:00:00Z"))?;
            rows.push(Value::Int(micros));
        }
        Form::Digits => {
            let text = scanner.number()?;
            if !text.contains(['e', 'E']) {
                rows.push(Value::Text(text));
            } else {
                let value: f64 = text.parse().map_err(|_| misfit(scanner, text, "a number"))?;
                rows.push(Value::Text(&value.to_string()));
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

/// Its well-known binary behind the SRID, as MySQL has it.
fn geometry(scanner: &mut Scanner<'_>, reading: &mut Reading<'_>) -> Result<(), Fault> {
    let Reading { escaped, bytes, .. } = reading;
    let (mut srid, mut wkb) = (0, None);
    scanner.object(|scanner, name| {
        match name {
            "srid" if scanner.take_null() => {}
            "srid" => {
                let number = scanner.integer()?;
                let Ok(number) = u32::try_from(number) else { return scanner.fault(format!("{number} is no SRID")) };
                srid = number;
            }
            "wkb" => {
                let text = text(scanner, escaped)?;
                let mut read = Vec::new();
                base64(text, &mut read).ok_or_else(|| misfit(scanner, text, "base64"))?;
                wkb = Some(read);
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })?;
    let Some(wkb) = wkb else { return scanner.fault("a geometry without its wkb") };
    bytes.clear();
    bytes.extend(srid.to_le_bytes());
    bytes.extend(wkb);
    Ok(())
}

/// Strict: with its padding, without anything else. None where it is not that.
fn base64(text: &str, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    BASE64.decode_vec(text, out).ok()
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
