//! Values of columns, and how a load's texts become them.
//!
//! A value is kept as StarRocks would print it, so that nothing is left to do when it is read: DATETIME with a fraction only
//! where there is one, DECIMAL with its scale.

use super::{Column, ColumnType};

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// What a load has for a column.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a> {
    Null,
    Bool(bool),
    Number(&'a str),
    Text(&'a str),
    /// An object or an array.
    Json(&'a str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// NULL in a nullable column, unless strict_mode is on.
    Unconvertible,
    /// The row is filtered, with this text.
    Filtered(String),
}

/// So many characters of a text that is too long are shown.
const SHOWN_CHARS_MAX: usize = 100;

impl Column {
    /// The value as this column has it. NULL is not looked at: a value that could not be converted becomes one first.
    pub fn convert(&self, given: Given<'_>) -> Result<Value, Refused> {
        let kind = self.kind;
        match (kind, given) {
            (_, Given::Null) => Ok(Value::Null),
            (ColumnType::Json, given) => json(given),
            (ColumnType::Varchar(max) | ColumnType::Char(max), given) => {
                let text = match given {
                    Given::Text(text) | Given::Number(text) | Given::Json(text) => text,
                    Given::Bool(value) => {
                        if value {
                            "1"
                        } else {
                            "0"
                        }
                    }
                    Given::Null => return Ok(Value::Null),
                };
                self.check_length(text, max)?;
                Ok(Value::Text(text.to_owned()))
            }
            (ColumnType::Varbinary(max), Given::Text(text)) => {
                self.check_length(text, max)?;
                Ok(Value::Bytes(text.as_bytes().to_vec()))
            }
            (ColumnType::Boolean, given) => boolean(given),
            (ColumnType::Float, given) => Ok(Value::Real(f64::from(real(given)? as f32))),
            (ColumnType::Double, given) => Ok(Value::Real(real(given)?)),
            (ColumnType::Decimal { precision, scale }, given) => self.decimal(given, precision, scale),
            (ColumnType::LargeInt, Given::Text(text) | Given::Number(text)) => {
                let number: i128 = text.trim().parse().map_err(|_| Refused::Unconvertible)?;
                Ok(Value::Text(number.to_string()))
            }
            (ColumnType::Date, Given::Text(text) | Given::Number(text)) => {
                let text = datetime(text).ok_or(Refused::Unconvertible)?;
                Ok(Value::Text(text[..10].to_owned()))
            }
            (ColumnType::DateTime, Given::Text(text) | Given::Number(text)) => {
                datetime(text).map(Value::Text).ok_or(Refused::Unconvertible)
            }
            (kind, given) => match kind.range() {
                Some(range) => integer(given, range),
                None => Err(Refused::Unconvertible),
            },
        }
    }

    fn check_length(&self, text: &str, max: u32) -> Result<(), Refused> {
        if text.len() <= max as usize {
            return Ok(());
        }
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        Err(Refused::Filtered(format!(
            "String '{shown}'(length={}) is too long. The max length of '{}' is {max}",
            text.len(),
            self.name
        )))
    }

    fn decimal(&self, given: Given<'_>, precision: u32, scale: u32) -> Result<Value, Refused> {
        let (Given::Text(text) | Given::Number(text)) = given else { return Err(Refused::Unconvertible) };
        let units = decimal_units(text, scale).ok_or(Refused::Unconvertible)?;
        if units.unsigned_abs() >= 10_u128.pow(precision) {
            return Err(Refused::Filtered(format!(
                "Decimal '{text}' is out of range. The type of '{}' is DECIMAL({precision},{scale})'",
                self.name
            )));
        }
        let digits = format!("{:0>width$}", units.unsigned_abs(), width = scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
        let sign = if units < 0 { "-" } else { "" };
        Ok(Value::Text(if scale == 0 { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }))
    }
}

fn json(given: Given<'_>) -> Result<Value, Refused> {
    Ok(Value::Text(match given {
        Given::Text(text) | Given::Json(text) | Given::Number(text) => match serde_json::from_str(text) {
            Ok(value) => spaced(&value),
            // A text that is no JSON is a JSON text.
            Err(_) => serde_json::Value::from(text).to_string(),
        },
        Given::Bool(value) => value.to_string(),
        Given::Null => return Ok(Value::Null),
    }))
}

/// StarRocks prints JSON with spaces.
fn spaced(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(members) => {
            let members: Vec<String> = members
                .iter()
                .map(|(key, value)| format!("{}: {}", serde_json::Value::from(key.as_str()), spaced(value)))
                .collect();
            format!("{{{}}}", members.join(", "))
        }
        serde_json::Value::Array(items) => format!("[{}]", items.iter().map(spaced).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn boolean(given: Given<'_>) -> Result<Value, Refused> {
    let value = match given {
        Given::Bool(value) => value,
        Given::Number(text) => text.parse::<f64>().map_err(|_| Refused::Unconvertible)? != 0.0,
        Given::Text(text) if text.eq_ignore_ascii_case("true") || text == "1" => true,
        Given::Text(text) if text.eq_ignore_ascii_case("false") || text == "0" => false,
        _ => return Err(Refused::Unconvertible),
    };
    Ok(Value::Int(value.into()))
}

fn integer(given: Given<'_>, (low, high): (i64, i64)) -> Result<Value, Refused> {
    let number = match given {
        Given::Bool(value) => value.into(),
        Given::Number(text) => match text.parse::<i64>() {
            Ok(number) => number,
            // A fraction is cut off.
            Err(_) => match text.parse::<f64>() {
                Ok(number) if number.abs() < 9e18 => number as i64,
                _ => return Err(Refused::Unconvertible),
            },
        },
        Given::Text(text) => text.trim().parse().map_err(|_| Refused::Unconvertible)?,
        _ => return Err(Refused::Unconvertible),
    };
    if (low..=high).contains(&number) { Ok(Value::Int(number)) } else { Err(Refused::Unconvertible) }
}

fn real(given: Given<'_>) -> Result<f64, Refused> {
    match given {
        Given::Text(text) | Given::Number(text) => text.trim().parse().map_err(|_| Refused::Unconvertible),
        Given::Bool(value) => Ok(f64::from(u8::from(value))),
        _ => Err(Refused::Unconvertible),
    }
}

/// The number times 10^scale, what is behind the scale rounded half up. None: it is no number, or past any DECIMAL.
fn decimal_units(text: &str, scale: u32) -> Option<i128> {
    let text = text.trim();
    let (text, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && fraction.is_empty() || exponent.abs() > 80 {
        return None;
    }
    let all: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if !all.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // So many of the digits count; those behind them only round.
    let n_kept = whole.len() as i64 + i64::from(exponent) + i64::from(scale);
    let mut units: i128 = 0;
    for at in 0..n_kept {
        let digit = all.get(at as usize).map_or(0, |digit| digit - b'0');
        units = units.checked_mul(10)?.checked_add(digit.into())?;
    }
    let next = usize::try_from(n_kept).ok().and_then(|at| all.get(at));
    if next.is_some_and(|digit| *digit >= b'5') {
        units += 1;
    }
    Some(sign * units)
}

/// The canonical form of a date or time, where the text is one.
pub fn datetime(text: &str) -> Option<String> {
    let text = text.trim();
    let bytes = text.as_bytes();
    // The form that is already canonical is the frequent one.
    let digits = |range: std::ops::Range<usize>| -> Option<u32> {
        let part = bytes.get(range)?;
        part.iter()
            .all(u8::is_ascii_digit)
            .then(|| part.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
    };
    if matches!(bytes.len(), 8 | 14) && bytes.iter().all(u8::is_ascii_digit) {
        let time = match bytes.len() {
            14 => format!(" {}:{}:{}", &text[8..10], &text[10..12], &text[12..]),
            _ => String::new(),
        };
        return datetime(&format!("{}-{}-{}{time}", &text[..4], &text[4..6], &text[6..8]));
    }
    if bytes.len() < 10 || bytes[4] != b'-' || bytes[7] != b'-' {
        return None;
    }
    let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
    if !(1..=12).contains(&month) || day == 0 || day > days_of(year, month) {
        return None;
    }
    if bytes.len() == 10 {
        return Some(format!("{text} 00:00:00"));
    }
    if bytes.len() < 19 || !matches!(bytes[10], b' ' | b'T') || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    if digits(11..13)? > 23 || digits(14..16)? > 59 || digits(17..19)? > 59 {
        return None;
    }
    let fraction = match &bytes[19..] {
        [] => "",
        [b'.', fraction @ ..]
            if fraction.len() <= 6 && !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit) =>
        {
            &text[20..]
        }
        _ => return None,
    };
    let mut canonical = String::with_capacity(26);
    canonical.push_str(&text[..10]);
    canonical.push(' ');
    canonical.push_str(&text[11..19]);
    if fraction.bytes().any(|digit| digit != b'0') {
        canonical.push('.');
        canonical.push_str(fraction);
        (fraction.len()..6).for_each(|_| canonical.push('0'));
    }
    Some(canonical)
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

impl Value {
    /// For error logs, as StarRocks shows the values of a row there.
    pub fn shown(&self) -> String {
        match self {
            Value::Null => "NULL".into(),
            Value::Int(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Text(text) => format!("'{text}'"),
            Value::Bytes(bytes) => format!("'{}'", String::from_utf8_lossy(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ColumnType, given: Given<'_>, expected: &str) {
        let column = Column { name: "c".into(), kind, nullable: true, default: None, comment: None };
        let got = match column.convert(given) {
            Ok(value) => value.shown(),
            Err(Refused::Unconvertible) => "unconvertible".into(),
            Err(Refused::Filtered(text)) => text,
        };
        assert_eq!(got, expected, "{kind:?} of {given:?}");
    }

    #[test]
    fn texts_become_what_starrocks_would_print() {
        let decimal = ColumnType::Decimal { precision: 5, scale: 2 };
        check(decimal, Given::Number("1.5"), "'1.50'");
        check(decimal, Given::Text("-1.005"), "'-1.01'");
        check(decimal, Given::Number("1e2"), "'100.00'");
        check(decimal, Given::Text("x"), "unconvertible");
        check(decimal, Given::Text("1000"), "Decimal '1000' is out of range. The type of 'c' is DECIMAL(5,2)'");
        check(ColumnType::DateTime, Given::Text("2026-01-01T00:00:01.120"), "'2026-01-01 00:00:01.120000'");
        check(ColumnType::DateTime, Given::Text("2026-01-01 00:00:01.000000"), "'2026-01-01 00:00:01'");
        check(ColumnType::DateTime, Given::Text("2026-02-29"), "unconvertible");
        check(ColumnType::TinyInt, Given::Number("128"), "unconvertible");
        check(ColumnType::BigInt, Given::Text("9223372036854775807"), "9223372036854775807");
        check(ColumnType::Boolean, Given::Bool(true), "1");
        check(ColumnType::Json, Given::Json("{\"a\":[1,2]}"), "'{\"a\": [1, 2]}'");
        check(
            ColumnType::Varchar(3),
            Given::Text("éé"),
            "String 'éé'(length=4) is too long. The max length of 'c' is 3",
        );
    }
}
