//! Values as Debezium's converters write them by default, each by the declared type of its column.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::civil::{self, MICROS_PER_DAY, MICROS_PER_SECOND, Zone};
use crate::event::{self, Field, GEOMETRIES, Logical};
use crate::json;
use crate::rows::Value;

/// How DECIMAL columns are written: Debezium's `decimal.handling.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decimals {
    /// Base64 of the number without its point: two's complement, big-endian. The scale is the column's.
    #[default]
    Precise,
    /// Plain digits.
    String,
    /// A number; read only, as it loses digits.
    Double,
}

/// How times are written: Debezium's `time.precision.mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// Milliseconds for DATETIME(0..3), microseconds for DATETIME(4..6) and TIME (`adaptive_time_microseconds`).
    #[default]
    Adaptive,
    /// Milliseconds (`connect`); read only, as it loses digits.
    Connect,
    Microseconds,
    /// Read only, as it ends with the year 2262.
    Nanoseconds,
    /// Texts, in ISO 8601 (`isostring`).
    Iso,
}

impl Decimals {
    pub const ALL: [(&str, Decimals); 3] =
        [("precise", Decimals::Precise), ("string", Decimals::String), ("double", Decimals::Double)];

    pub fn of(word: &str) -> Option<Self> {
        named(&Self::ALL, word)
    }

    /// As configurations say it.
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }
}

impl Times {
    pub const ALL: [(&str, Times); 5] = [
        ("adaptive", Times::Adaptive),
        ("connect", Times::Connect),
        ("microseconds", Times::Microseconds),
        ("nanoseconds", Times::Nanoseconds),
        ("iso", Times::Iso),
    ];

    pub fn of(word: &str) -> Option<Self> {
        named(&Self::ALL, word)
    }

    /// As configurations say it.
    pub fn name(self) -> &'static str {
        name_of(&Self::ALL, self)
    }
}

fn named<T: Copy>(all: &[(&str, T)], word: &str) -> Option<T> {
    all.iter().find(|(name, _)| *name == word).map(|(_, value)| *value)
}

fn name_of<T: PartialEq>(all: &[(&'static str, T)], value: T) -> &'static str {
    all.iter().find(|(_, known)| *known == value).map_or("", |(name, _)| name)
}

/// How values are written where there is a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    pub decimals: Decimals,
    pub times: Times,
}

/// How a column's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Integers, DATE in days, TIME and DATETIME(4..6) in microseconds.
    Number,
    /// `true` or `false`.
    Truth,
    /// Base64 of so many bytes of a number, the lowest first.
    Bits(usize),
    /// Milliseconds of a time or a wall clock.
    Millis,
    Nanos,
    /// `"2024-02-29Z"`
    IsoDate,
    /// `"12:34:56.789Z"`
    IsoTime,
    /// `"2024-02-29T12:34:56.789Z"`, a wall clock as if it were of UTC.
    IsoDatetime,
    /// ISO 8601 in UTC, with so many digits of the second's fraction.
    Timestamp(usize),
    Float,
    Double,
    Text,
    Base64,
    /// With the digits behind the point.
    Decimal(usize),
    /// A decimal as a number.
    Digits,
    /// `{"wkb":"AQ…","srid":null}`, of four bytes of the SRID, the lowest first, and well-known binary.
    Geometry,
    /// The same with `x` and `y`.
    Point,
    /// Numbers, of four bytes each, the lowest first.
    Vector,
}

/// Why a value cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Absent,
    Undecoded,
}

impl Form {
    pub fn of(field: &Field, forms: Forms) -> Self {
        let argument = |number| event::argument(&field.declared, number);
        let Forms { decimals, times } = forms;
        match field.logical {
            Logical::Datetime if field.declared.starts_with("timestamp") => Form::Timestamp(argument(0).unwrap_or(0)),
            Logical::Datetime => match times {
                Times::Adaptive if argument(0).unwrap_or(0) <= 3 => Form::Millis,
                Times::Adaptive | Times::Microseconds => Form::Number,
                Times::Connect => Form::Millis,
                Times::Nanoseconds => Form::Nanos,
                Times::Iso => Form::IsoDatetime,
            },
            Logical::Time => match times {
                Times::Adaptive | Times::Microseconds => Form::Number,
                Times::Connect => Form::Millis,
                Times::Nanoseconds => Form::Nanos,
                Times::Iso => Form::IsoTime,
            },
            Logical::Date if times == Times::Iso => Form::IsoDate,
            Logical::Date => Form::Number,
            Logical::Boolean => Form::Truth,
            Logical::UInt64 if field.declared.starts_with("bit") => Form::Bits(argument(0).unwrap_or(1).div_ceil(8)),
            Logical::Int64 | Logical::UInt64 => Form::Number,
            Logical::Float64 if field.declared.starts_with("float") => Form::Float,
            Logical::Float64 => Form::Double,
            Logical::Decimal => match decimals {
                Decimals::Precise => Form::Decimal(argument(1).unwrap_or(0)),
                Decimals::String => Form::Text,
                Decimals::Double => Form::Digits,
            },
            Logical::Text | Logical::Json => Form::Text,
            Logical::Bytes => match field.declared.split('(').next() {
                Some("vector") => Form::Vector,
                Some("point") => Form::Point,
                Some(geometry) if GEOMETRIES.contains(&geometry) => Form::Geometry,
                _ => Form::Base64,
            },
        }
    }
}

/// `zone`: whose wall clock TIMESTAMP values show.
pub fn write(out: &mut Vec<u8>, value: Value<'_>, form: Form, zone: &Zone) -> Result<(), Flaw> {
    match (value, form) {
        (Value::Null, _) => out.extend(b"null"),
        (Value::Int(micros), Form::Millis) => json::integer(out, micros.div_euclid(1_000)),
        (Value::Int(micros), Form::Nanos) => json::integer(out, micros.saturating_mul(1_000)),
        (Value::Int(days), Form::IsoDate) => quoted(out, |text| civil::write_date(text, days)),
        (Value::Int(micros), Form::IsoTime) => quoted(out, |text| civil::write_time(text, micros)),
        (Value::Int(micros), Form::IsoDatetime) => quoted(out, |text| {
            let start = text.len();
            civil::write_datetime(text, micros);
            // Between date and clock.
            let blank = text[start..].find(' ').map_or(start, |at| start + at);
            text.replace_range(blank..=blank, "T");
        }),
        (Value::Int(micros), Form::Timestamp(digits)) => timestamp(out, zone.instant(micros), digits),
        (Value::Int(value), Form::Truth) => out.extend(if value == 0 { &b"false"[..] } else { b"true" }),
        (Value::Int(value), _) => json::integer(out, value),
        (Value::UInt(value), Form::Bits(bytes)) => base64(out, &value.to_le_bytes()[..bytes.min(8)]),
        (Value::UInt(value), _) => json::unsigned(out, value),
        (Value::Float(value), Form::Float) => json::write(out, &(value as f32)),
        (Value::Float(value), _) => json::write(out, &value),
        (Value::Text(text), Form::Decimal(scale)) => base64(out, unscaled(text, scale).significant()),
        (Value::Text(digits), Form::Digits) => out.extend(digits.as_bytes()),
        (Value::Text(value), _) => json::text(out, value),
        (Value::Bytes(bytes), Form::Geometry) => geometry(out, bytes, false),
        (Value::Bytes(bytes), Form::Point) => geometry(out, bytes, true),
        (Value::Bytes(bytes), Form::Vector) => vector(out, bytes),
        (Value::Bytes(bytes), _) => base64(out, bytes),
        (Value::Absent, _) => return Err(Flaw::Absent),
        (Value::Undecoded, _) => return Err(Flaw::Undecoded),
    }
    Ok(())
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut String)) {
    let mut text = String::with_capacity(32);
    write(&mut text);
    out.push(b'"');
    out.extend(text.as_bytes());
    out.extend(b"Z\"");
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
    out.push(b'"');
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    BASE64.encode_slice(bytes, &mut out[start..]).expect("four letters for three bytes");
    out.push(b'"');
}

/// Bytes of a SRID before a geometry.
pub const SRID: usize = 4;

/// Bytes before a point's `x`: the order of bytes, and what it is.
const BEFORE_X: usize = 5;

/// 0 is none.
fn geometry(out: &mut Vec<u8>, bytes: &[u8], is_point: bool) {
    let (srid, wkb) = bytes.split_at(bytes.len().min(SRID));
    let srid = srid.try_into().map_or(0, u32::from_le_bytes);
    out.push(b'{');
    let places = wkb.get(BEFORE_X..).unwrap_or_default().as_chunks().0.iter().map(|&place| f64::from_le_bytes(place));
    for (label, place) in [&br#""x":"#[..], br#""y":"#].into_iter().zip(places).filter(|_| is_point) {
        out.extend(label);
        json::write(out, &place);
        out.push(b',');
    }
    out.extend(br#""wkb":"#);
    base64(out, wkb);
    out.extend(br#","srid":"#);
    match srid {
        0 => out.extend(b"null"),
        srid => json::unsigned(out, srid.into()),
    }
    out.push(b'}');
}

fn vector(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'[');
    for (i, &number) in bytes.as_chunks().0.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json::write(out, &f32::from_le_bytes(number));
    }
    out.push(b']');
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
        write(&mut out, value, Form::of(&field, Forms::default()), &Zone::UTC).unwrap();
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
