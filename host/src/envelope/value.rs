//! Values as Debezium's converters write them by default, each by the declared type of its column.

use crate::civil::{self, MICROS_PER_DAY, MICROS_PER_SECOND, Zone};
use crate::event::{Field, Logical};
use crate::rows::Value;

/// How DECIMAL columns are written: Debezium's `decimal.handling.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decimals {
    /// Base64 of the number without its point: two's complement, big-endian. The scale is the column's.
    #[default]
    Precise,
    /// Plain digits.
    String,
}

/// How a column's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Integers, DATE in days, TIME and DATETIME(4..6) in microseconds.
    Number,
    /// DATETIME(0..3), in milliseconds.
    Millis,
    /// ISO 8601 in UTC, with so many digits of the second's fraction.
    Timestamp(usize),
    Float,
    Double,
    Text,
    Base64,
    /// With the digits behind the point.
    Decimal(usize),
}

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Absent,
    Undecoded,
}

impl Form {
    pub fn of(field: &Field, decimals: Decimals) -> Self {
        let argument = |number: usize| {
            let (_, arguments) = field.declared.split_once('(')?;
            arguments.split_once(')')?.0.split(',').nth(number)?.trim().parse().ok()
        };
        match field.logical {
            Logical::Datetime if field.declared.starts_with("timestamp") => Form::Timestamp(argument(0).unwrap_or(0)),
            Logical::Datetime if argument(0).unwrap_or(0) <= 3 => Form::Millis,
            Logical::Datetime | Logical::Date | Logical::Time => Form::Number,
            Logical::Boolean | Logical::Int64 | Logical::UInt64 => Form::Number,
            Logical::Float64 if field.declared.starts_with("float") => Form::Float,
            Logical::Float64 => Form::Double,
            Logical::Decimal if decimals == Decimals::Precise => Form::Decimal(argument(1).unwrap_or(0)),
            Logical::Decimal | Logical::Text | Logical::Json => Form::Text,
            Logical::Bytes => Form::Base64,
        }
    }
}

/// `zone`: whose wall clock TIMESTAMP values show.
pub fn write(out: &mut Vec<u8>, value: Value<'_>, form: Form, zone: &Zone) -> Result<(), Flaw> {
    match (value, form) {
        (Value::Null, _) => out.extend(b"null"),
        (Value::Int(micros), Form::Millis) => integer(out, micros.div_euclid(1_000)),
        (Value::Int(micros), Form::Timestamp(digits)) => timestamp(out, zone.instant(micros), digits),
        (Value::Int(value), _) => integer(out, value),
        (Value::UInt(value), _) => unsigned(out, value),
        (Value::Float(value), Form::Float) => json(out, &(value as f32)),
        (Value::Float(value), _) => json(out, &value),
        (Value::Text(text), Form::Decimal(scale)) => base64(out, unscaled(text, scale).significant()),
        (Value::Text(text), _) => json(out, text),
        (Value::Bytes(bytes), _) => base64(out, bytes),
        (Value::Absent, _) => return Err(Flaw::Absent),
        (Value::Undecoded, _) => return Err(Flaw::Undecoded),
    }
    Ok(())
}

/// A text with its quotes and escapes, or a float with as few digits as read back to it.
pub fn json<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("texts and numbers are JSON, and a vector takes every write");
}

pub fn integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    unsigned(out, value.unsigned_abs());
}

pub fn unsigned(out: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), value);
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend(&digits[at..]);
}

/// `"2024-02-29T12:34:56.789Z"`
fn timestamp(out: &mut Vec<u8>, micros: i64, digits: usize) {
    let fraction = micros.rem_euclid(MICROS_PER_SECOND);
    let mut text = String::with_capacity(32);
    civil::write_date(&mut text, micros.div_euclid(MICROS_PER_DAY));
    text.push('T');
    civil::write_time(&mut text, micros.rem_euclid(MICROS_PER_DAY) - fraction);
    if digits > 0 {
        text += &format!(".{fraction:06}")[..=digits.min(6)];
    }
    out.push(b'"');
    out.extend(text.as_bytes());
    out.extend(b"Z\"");
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    out.push(b'"');
    for three in bytes.chunks(3) {
        let byte = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        let letters = [18, 12, 6, 0].map(|shift| LETTERS[(bits >> shift & 63) as usize]);
        out.extend(&letters[..=three.len()]);
        out.extend(&b"=="[..3 - three.len()]);
    }
    out.push(b'"');
}

/// A whole number, two's complement, big-endian: 65 digits and the sign need 28 bytes.
struct Whole([u8; 28]);

impl Whole {
    /// The fewest bytes that hold it, its sign included.
    fn significant(&self) -> &[u8] {
        let mut bytes = &self.0[..];
        while let [0, 0..=0x7f, ..] | [0xff, 0x80..=0xff, ..] = bytes {
            bytes = &bytes[1..];
        }
        bytes
    }
}

/// A decimal's digits without the point, of which `scale` are behind it.
fn unscaled(text: &str, scale: usize) -> Whole {
    let behind = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let digits = text.bytes().filter(u8::is_ascii_digit).map(|digit| u64::from(digit - b'0'));
    // Least first.
    let mut limbs = [0_u32; 7];
    for digit in digits.chain(std::iter::repeat_n(0, scale.saturating_sub(behind))) {
        let mut carry = digit;
        for limb in &mut limbs {
            carry += u64::from(*limb) * 10;
            *limb = carry as u32;
            carry >>= 32;
        }
    }
    if text.starts_with('-') {
        let mut carry = true;
        for limb in &mut limbs {
            (*limb, carry) = (!*limb).overflowing_add(u32::from(carry));
        }
    }
    let mut bytes = [0; 28];
    for (four, limb) in bytes.rchunks_mut(4).zip(limbs) {
        four.copy_from_slice(&limb.to_be_bytes());
    }
    Whole(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: Value<'_>, logical: Logical, declared: &str) -> String {
        let field = Field { name: "a".into(), logical, nullable: true, declared: declared.into() };
        let mut out = Vec::new();
        write(&mut out, value, Form::of(&field, Decimals::Precise), &Zone::UTC).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn decimals_are_the_shortest_twos_complement() {
        // What Debezium wrote for these values.
        for (declared, text, wanted) in [
            ("decimal(10,2)", "-99999999.99", "/av0HAE="),
            ("decimal(10,2)", "99999999.99", "AlQL4/8="),
            ("decimal(5,0)", "-99999", "/nlh"),
            ("decimal(5,0)", "99999", "AYaf"),
            ("decimal(5,0)", "128", "AIA="),
            ("decimal(5,0)", "-128", "gA=="),
            ("decimal(5,0)", "-129", "/38="),
            ("decimal(9,9)", "-0.999999999", "xGU2AQ=="),
            ("decimal(20,0) unsigned", "99999999999999999999", "BWvHXi1jD///"),
            ("decimal(20,0) unsigned", "0", "AA=="),
            (
                "decimal(65,30)",
                "-99999999999999999999999999999999999.999999999999999999999999999999",
                "/wzp2OOAPG91dBC5sca6EIXayfYAAAAAAAAAAQ==",
            ),
            (
                "decimal(65,30)",
                "99999999999999999999999999999999999.999999999999999999999999999999",
                "APMWJxx/w5CKi+9GTjlF73olNgn//////////w==",
            ),
            // Digits that the text leaves out are zeros.
            ("decimal(10,2)", "1.5", "AJY="),
        ] {
            assert_eq!(written(Value::Text(text), Logical::Decimal, declared), format!("\"{wanted}\""), "{text}");
        }
    }

    #[test]
    fn times_have_the_unit_of_their_digits() {
        let micros = civil::parse_datetime("2024-02-29 12:34:56.789012").unwrap();
        let millis = civil::parse_datetime("2024-02-29 12:34:56.700").unwrap();
        let second = civil::parse_datetime("1970-01-01 00:00:01").unwrap();
        let before = civil::parse_datetime("1969-12-31 23:59:59.999").unwrap();
        for (declared, value, wanted) in [
            ("datetime", millis - 700_000, "1709210096000"),
            ("datetime(1)", millis, "1709210096700"),
            ("datetime(3)", before, "-1"),
            ("datetime(4)", micros, "1709210096789012"),
            ("datetime(6)", before, "-1000"),
            ("timestamp", second, "\"1970-01-01T00:00:01Z\""),
            ("timestamp(1)", second, "\"1970-01-01T00:00:01.0Z\""),
            ("timestamp(3)", millis, "\"2024-02-29T12:34:56.700Z\""),
            ("timestamp(6)", micros, "\"2024-02-29T12:34:56.789012Z\""),
        ] {
            assert_eq!(written(Value::Int(value), Logical::Datetime, declared), wanted, "{declared}");
        }
        assert_eq!(written(Value::Int(-3_020_399_000_000), Logical::Time, "time(3)"), "-3020399000000");
        assert_eq!(written(Value::Int(-354_285), Logical::Date, "date"), "-354285");
    }

    #[test]
    fn a_timestamp_of_a_zone_is_written_in_utc() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        for text in ["2024-07-15 10:00:00", "2024-01-15 11:00:00", "2024-10-27 00:30:00"] {
            let instant = civil::parse_datetime(text).unwrap();
            let mut out = Vec::new();
            write(&mut out, Value::Int(zone.wall_clock(instant)), Form::Timestamp(0), &zone).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"{}Z\"", text.replace(' ', "T")));
        }
        // Half past two is there twice in this night: it is taken for the first one, in summer time.
        let (first, second) = ("2024-10-27 00:30:00", "2024-10-27 01:30:00");
        let [first, second] = [first, second].map(|text| civil::parse_datetime(text).unwrap());
        assert_eq!(zone.wall_clock(first), zone.wall_clock(second));
        assert_eq!(zone.instant(zone.wall_clock(second)), first);
    }

    #[test]
    fn numbers_keep_every_digit_and_bytes_are_base64() {
        assert_eq!(written(Value::Int(i64::MIN), Logical::Int64, "bigint"), "-9223372036854775808");
        assert_eq!(written(Value::UInt(u64::MAX), Logical::UInt64, "bigint unsigned"), "18446744073709551615");
        assert_eq!(written(Value::Float(f64::from(0.1_f32)), Logical::Float64, "float"), "0.1");
        assert_eq!(written(Value::Float(0.1), Logical::Float64, "double"), "0.1");
        for (bytes, wanted) in
            [(&b""[..], ""), (&[0], "AA=="), (&[0xca, 0xfe], "yv4="), (&[255, 0, 254], "/wD+"), (b"abcd", "YWJjZA==")]
        {
            assert_eq!(written(Value::Bytes(bytes), Logical::Bytes, "blob"), format!("\"{wanted}\""));
        }
    }
}
