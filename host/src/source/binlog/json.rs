//! MySQL's binary JSON as text: as the server prints it, without the blanks behind its commas and colons.
//!
//! Format: `sql-common/json_binary.h`; the text's: `sql-common/json_dom.cc` and, for doubles, `my_gcvt` of `strings/dtoa.cc`.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::decimal;
use super::frame::{Bytes, Short};
use super::table_map::code;
use crate::civil::{self, MICROS_PER_DAY, MICROS_PER_SECOND};

/// As deep as the server stores documents.
const DEPTH_MAX: u32 = 100;

/// How a value's type is told.
mod kind {
    pub const SMALL_OBJECT: u8 = 0;
    pub const LARGE_OBJECT: u8 = 1;
    pub const SMALL_ARRAY: u8 = 2;
    pub const LARGE_ARRAY: u8 = 3;
    pub const LITERAL: u8 = 4;
    pub const INT16: u8 = 5;
    pub const UINT16: u8 = 6;
    pub const INT32: u8 = 7;
    pub const UINT32: u8 = 8;
    pub const INT64: u8 = 9;
    pub const UINT64: u8 = 10;
    pub const DOUBLE: u8 = 11;
    pub const STRING: u8 = 12;
    pub const OPAQUE: u8 = 15;
}

/// Appends a document's text.
///
/// # Errors
/// The bytes are none.
pub fn write(out: &mut String, document: &[u8]) -> Result<(), Short> {
    match document {
        // What a NOT NULL column holds of rows that were there before it.
        [] => out.push_str("null"),
        [kind, rest @ ..] => value(out, *kind, rest, 0)?,
    }
    Ok(())
}

/// Appends a text of the server's in the same form.
pub fn compact(out: &mut String, text: &str) {
    let (mut rest, mut within) = (text, false);
    while let Some(at) = rest.find(['"', ' ', '\\']) {
        out.push_str(&rest[..at]);
        let (special, behind) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = behind;
        match special {
            b' ' if !within => {}
            b'\\' => {
                // An escape is of one ASCII letter, or begins with one.
                out.push('\\');
                let escaped = behind.chars().next().map_or(0, char::len_utf8);
                out.push_str(&behind[..escaped]);
                rest = &behind[escaped..];
            }
            _ => {
                within ^= special == b'"';
                out.push(special.into());
            }
        }
    }
    out.push_str(rest);
}

fn value(out: &mut String, kind: u8, bytes: &[u8], depth: u32) -> Result<(), Short> {
    let mut read = Bytes(bytes);
    match kind {
        kind::SMALL_OBJECT | kind::LARGE_OBJECT | kind::SMALL_ARRAY | kind::LARGE_ARRAY => {
            return container(out, kind, bytes, depth);
        }
        kind::LITERAL => out.push_str(match read.u8()? {
            0 => "null",
            1 => "true",
            2 => "false",
            _ => return Err(Short),
        }),
        kind::INT16 => number(out, read.le(2)? as i16),
        kind::UINT16 => number(out, read.le(2)?),
        kind::INT32 => number(out, read.le(4)? as i32),
        kind::UINT32 => number(out, read.le(4)?),
        kind::INT64 => number(out, read.le(8)? as i64),
        kind::UINT64 => number(out, read.le(8)?),
        kind::DOUBLE => double(out, f64::from_bits(read.le(8)?)),
        kind::STRING => {
            let text = counted(&mut read)?;
            string(out, std::str::from_utf8(text).map_err(|_| Short)?);
        }
        kind::OPAQUE => {
            let code = read.u8()?;
            opaque(out, code, counted(&mut read)?)?;
        }
        _ => return Err(Short),
    }
    Ok(())
}

fn number(out: &mut String, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("a string takes every write");
}

/// Entries are found by their offsets from the container's first byte; small values stand in place of an offset.
fn container(out: &mut String, kind: u8, bytes: &[u8], depth: u32) -> Result<(), Short> {
    if depth >= DEPTH_MAX {
        return Err(Short);
    }
    let is_object = matches!(kind, kind::SMALL_OBJECT | kind::LARGE_OBJECT);
    let width = if matches!(kind, kind::LARGE_OBJECT | kind::LARGE_ARRAY) { 4 } else { 2 };
    let mut read = Bytes(bytes);
    let n = read.le(width)? as usize;
    let size = read.le(width)? as usize;
    let bytes = bytes.get(..size).ok_or(Short)?;
    let key_bytes = if is_object { n.checked_mul(width + 2).ok_or(Short)? } else { 0 };
    let mut keys = Bytes(read.take(key_bytes)?);
    out.push(if is_object { '{' } else { '[' });
    for i in 0..n {
        if i > 0 {
            out.push(',');
        }
        if is_object {
            let (at, length) = (keys.le(width)? as usize, keys.le(2)? as usize);
            let key = bytes.get(at..).and_then(|rest| rest.get(..length)).ok_or(Short)?;
            string(out, std::str::from_utf8(key).map_err(|_| Short)?);
            out.push(':');
        }
        let kind = read.u8()?;
        let place = read.take(width)?;
        let in_place = matches!(kind, kind::LITERAL | kind::INT16 | kind::UINT16)
            || width == 4 && matches!(kind, kind::INT32 | kind::UINT32);
        if in_place {
            value(out, kind, place, depth + 1)?;
        } else {
            let at = Bytes(place).le(width)? as usize;
            value(out, kind, bytes.get(at..).ok_or(Short)?, depth + 1)?;
        }
    }
    out.push(if is_object { '}' } else { ']' });
    Ok(())
}

/// Bytes behind their number, seven bits a byte, the lowest first.
fn counted<'a>(read: &mut Bytes<'a>) -> Result<&'a [u8], Short> {
    let mut length = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = read.u8()?;
        length |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return read.take(usize::try_from(length).map_err(|_| Short)?);
        }
    }
    Err(Short)
}

fn string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            8 => out.push_str("\\b"),
            b'\t' => out.push_str("\\t"),
            b'\n' => out.push_str("\\n"),
            12 => out.push_str("\\f"),
            b'\r' => out.push_str("\\r"),
            other => write!(out, "\\u{other:04x}").expect("a string takes every write"),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// As few digits as read back to it: plain up to 15 places before the point and 14 zeros behind it, else with an exponent.
fn double(out: &mut String, value: f64) {
    let shortest = format!("{value:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let digits = mantissa.replace('.', "");
    let (n, point) = (digits.len() as i32, exponent + 1);
    out.push_str(sign);
    let plain = point > -PLAIN_DIGITS && (point <= PLAIN_DIGITS || n > point);
    if !plain {
        out.push_str(mantissa);
        number(out, format_args!("e{exponent}"));
    } else if point <= 0 {
        out.push_str("0.");
        (point..0).for_each(|_| out.push('0'));
        out.push_str(&digits);
    } else if n > point {
        let (whole, fraction) = digits.split_at(point as usize);
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    } else {
        out.push_str(&digits);
        (n..point).for_each(|_| out.push('0'));
        // Else it would read as an integer.
        out.push_str(".0");
    }
}

const PLAIN_DIGITS: i32 = 15;

/// A value that JSON has no type for.
fn opaque(out: &mut String, kind: u8, bytes: &[u8]) -> Result<(), Short> {
    match kind {
        code::NEWDECIMAL => {
            let [precision, scale, packed @ ..] = bytes else { return Err(Short) };
            if packed.len() != decimal::size(*precision, *scale) {
                return Err(Short);
            }
            decimal::write(out, packed, *precision, *scale)?;
        }
        code::DATE | code::DATETIME | code::TIMESTAMP | code::TIME => {
            let packed = Bytes(bytes).le(8)? as i64;
            out.push('"');
            temporal(out, kind, packed);
            out.push('"');
        }
        _ => {
            write!(out, "\"base64:type{kind}:").expect("a string takes every write");
            BASE64.encode_string(bytes, out);
            out.push('"');
        }
    }
    Ok(())
}

/// As [`super::row`] has them, with a fraction of 24 bits in microseconds. It need not be on a calendar.
fn temporal(out: &mut String, kind: u8, packed: i64) {
    let (clock, fraction) = (packed.abs() >> 24, packed.abs() & 0xff_ffff);
    let of_day = |clock: i64, hours: i64| hours * 3600 + (clock >> 6 & 63) * 60 + (clock & 63);
    let micros = |seconds: i64| seconds * MICROS_PER_SECOND + fraction % MICROS_PER_SECOND;
    if kind == code::TIME {
        if packed < 0 {
            out.push('-');
        }
        return clock_with_fraction(out, micros(of_day(clock, clock >> 12 & 1023)));
    }
    let (months, day) = (clock >> 22, clock >> 17 & 31);
    write!(out, "{:04}-{:02}-{day:02}", months / 13, months % 13).expect("a string takes every write");
    if kind != code::DATE {
        out.push(' ');
        clock_with_fraction(out, micros(of_day(clock, clock >> 12 & 31)).min(MICROS_PER_DAY - 1));
    }
}

/// Six digits of it, zero or not.
fn clock_with_fraction(out: &mut String, micros: i64) {
    civil::write_time(out, micros);
    if micros % MICROS_PER_SECOND == 0 {
        out.push_str(".000000");
    }
}
