//! The history's columns as StarRocks has them: which type each needs, and which values that type holds.

use std::fmt;
use std::ops::RangeInclusive;

use crate::event::{self, Field, Logical};

/// Bytes of the longest VARCHAR.
const VARCHAR_MAX: usize = 1_048_576;

/// Digits of the longest DECIMAL that every release has (from 4.0 on it may have 76).
const DECIMAL_MAX: u8 = 38;

/// Bytes that a character of MySQL's takes at the most: VARCHAR(n) counts bytes here, and characters there.
const CHARACTER_BYTES: usize = 4;

/// A column's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Boolean,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    LargeInt,
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Date,
    /// To the microsecond.
    DateTime,
    /// In bytes.
    Varchar(usize),
    Json,
}

/// Why a column of the history has no place in a StarRocks table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} ({declared}) has no type that StarRocks loads exactly: {why}")]
pub struct NoType {
    pub column: String,
    pub declared: String,
    pub why: &'static str,
}

impl ColumnType {
    /// The narrowest one that holds every value of the column.
    ///
    /// # Errors
    /// None holds them.
    pub fn of(field: &Field) -> Result<Self, NoType> {
        let declared = field.declared.to_ascii_lowercase();
        let (word, unsigned) = (declared.split(['(', ' ']).next().unwrap_or_default(), declared.contains(" unsigned"));
        let argument = |number: usize| event::argument(&declared, number);
        let no_type = |why| Err(NoType { column: field.name.clone(), declared: field.declared.clone(), why });
        Ok(match field.logical {
            Logical::Boolean => ColumnType::Boolean,
            Logical::Int64 => match (word, unsigned) {
                ("tinyint", false) => ColumnType::TinyInt,
                ("tinyint", true) | ("smallint", false) | ("year", _) => ColumnType::SmallInt,
                ("smallint", true) | ("mediumint", _) | ("int" | "integer", false) => ColumnType::Int,
                _ => ColumnType::BigInt,
            },
            Logical::UInt64 => ColumnType::LargeInt,
            Logical::Float64 if word == "float" => ColumnType::Float,
            Logical::Float64 => ColumnType::Double,
            Logical::Decimal => {
                let (precision, scale) = (argument(0).unwrap_or(10), argument(1).unwrap_or(0));
                match (u8::try_from(precision), u8::try_from(scale)) {
                    (Ok(precision @ ..=DECIMAL_MAX), Ok(scale)) => ColumnType::Decimal { precision, scale },
                    // A text keeps every digit: sign, point and a zero before it beside them.
                    _ => ColumnType::Varchar(precision + 3),
                }
            }
            Logical::Date => ColumnType::Date,
            Logical::Datetime => ColumnType::DateTime,
            // `-838:59:59.000000`
            Logical::Time => ColumnType::Varchar(17),
            Logical::Json => ColumnType::Json,
            Logical::Text => ColumnType::Varchar(match (word, argument(0)) {
                ("varchar" | "char", Some(characters)) => (characters * CHARACTER_BYTES).clamp(1, VARCHAR_MAX),
                ("tinytext", _) => 255 * CHARACTER_BYTES,
                // No value is longer than all of its names together.
                ("enum" | "set", _) => declared.len().min(VARCHAR_MAX),
                _ => VARCHAR_MAX,
            }),
            Logical::Bytes => return no_type("bytes reach a VARBINARY through a function of its own only"),
        })
    }

    /// Whether a column of this type takes every value of one of the other.
    pub fn holds(self, other: Self) -> bool {
        use ColumnType::{BigInt, Decimal, Int, LargeInt, SmallInt, TinyInt, Varchar};
        let integer = |of: Self| [TinyInt, SmallInt, Int, BigInt, LargeInt].iter().position(|known| *known == of);
        match (self, other) {
            (Varchar(bytes), Varchar(wanted)) => bytes >= wanted,
            (Decimal { precision, scale }, Decimal { precision: wanted, scale: wanted_scale }) => {
                // As many digits behind the point, and before it.
                scale >= wanted_scale && precision.saturating_sub(scale) >= wanted.saturating_sub(wanted_scale)
            }
            (ColumnType::Double, ColumnType::Float) => true,
            (one, other) => match (integer(one), integer(other)) {
                (Some(one), Some(other)) => one >= other,
                _ => one == other,
            },
        }
    }

    /// Which integers it takes; none where it is no type of integers, or takes all that we have.
    pub fn integers(self) -> Option<RangeInclusive<i64>> {
        Some(match self {
            ColumnType::TinyInt => i64::from(i8::MIN)..=i64::from(i8::MAX),
            ColumnType::SmallInt => i64::from(i16::MIN)..=i64::from(i16::MAX),
            ColumnType::Int => i64::from(i32::MIN)..=i64::from(i32::MAX),
            _ => return None,
        })
    }

    /// Of the text that `SHOW FULL COLUMNS`, `DESC` or `information_schema` give.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let argument = |number| event::argument(&text, number);
        Some(match text.split('(').next()?.trim() {
            "boolean" => ColumnType::Boolean,
            // MySQL's word for a BOOLEAN has a width that a TINYINT has not got.
            "tinyint" if argument(0) == Some(1) => ColumnType::Boolean,
            "tinyint" => ColumnType::TinyInt,
            "smallint" => ColumnType::SmallInt,
            "int" => ColumnType::Int,
            "bigint" if text.contains("unsigned") => ColumnType::LargeInt,
            "bigint" => ColumnType::BigInt,
            "largeint" => ColumnType::LargeInt,
            "float" => ColumnType::Float,
            "double" => ColumnType::Double,
            "decimal" | "decimal32" | "decimal64" | "decimal128" | "decimalv2" => ColumnType::Decimal {
                precision: u8::try_from(argument(0).unwrap_or(10)).ok()?,
                scale: u8::try_from(argument(1).unwrap_or(0)).ok()?,
            },
            "date" => ColumnType::Date,
            "datetime" => ColumnType::DateTime,
            "varchar" => ColumnType::Varchar(argument(0).unwrap_or(1)),
            "string" => ColumnType::Varchar(65_533),
            "json" => ColumnType::Json,
            _ => return None,
        })
    }
}

impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Boolean => f.write_str("BOOLEAN"),
            ColumnType::TinyInt => f.write_str("TINYINT"),
            ColumnType::SmallInt => f.write_str("SMALLINT"),
            ColumnType::Int => f.write_str("INT"),
            ColumnType::BigInt => f.write_str("BIGINT"),
            ColumnType::LargeInt => f.write_str("LARGEINT"),
            ColumnType::Float => f.write_str("FLOAT"),
            ColumnType::Double => f.write_str("DOUBLE"),
            ColumnType::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            ColumnType::Date => f.write_str("DATE"),
            ColumnType::DateTime => f.write_str("DATETIME"),
            ColumnType::Varchar(bytes) => write!(f, "VARCHAR({bytes})"),
            ColumnType::Json => f.write_str("JSON"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(logical: Logical, declared: &str) -> Field {
        Field { name: "a".into(), logical, nullable: true, declared: declared.into() }
    }

    #[test]
    fn each_type_holds_every_value_of_its_column() {
        for (logical, declared, wanted) in [
            (Logical::Boolean, "tinyint(1)", "BOOLEAN"),
            (Logical::Int64, "tinyint", "TINYINT"),
            (Logical::Int64, "tinyint unsigned", "SMALLINT"),
            (Logical::Int64, "mediumint unsigned", "INT"),
            (Logical::Int64, "int", "INT"),
            (Logical::Int64, "int unsigned", "BIGINT"),
            (Logical::Int64, "bigint", "BIGINT"),
            (Logical::UInt64, "bigint unsigned", "LARGEINT"),
            (Logical::Decimal, "decimal(10,2)", "DECIMAL(10, 2)"),
            (Logical::Decimal, "decimal(65,30)", "VARCHAR(68)"),
            (Logical::Text, "varchar(255)", "VARCHAR(1020)"),
            (Logical::Text, "varchar(1)", "VARCHAR(4)"),
            (Logical::Text, "longtext", "VARCHAR(1048576)"),
            (Logical::Text, "enum('a','b')", "VARCHAR(13)"),
            (Logical::Datetime, "timestamp(6)", "DATETIME"),
            (Logical::Time, "time(6)", "VARCHAR(17)"),
        ] {
            let found = ColumnType::of(&field(logical, declared)).unwrap();
            assert_eq!(found.to_string(), wanted, "{declared}");
            assert_eq!(ColumnType::parse(wanted), Some(found), "{wanted}");
            assert!(found.holds(found));
        }
        let refused = ColumnType::of(&field(Logical::Bytes, "varbinary(9)")).unwrap_err().to_string();
        assert!(refused.contains("column a (varbinary(9))"), "{refused}");
    }

    #[test]
    fn a_wider_column_holds_a_narrower_one_and_not_the_other_way_round() {
        let parse = |text| ColumnType::parse(text).unwrap();
        for (wide, narrow) in [
            ("BIGINT", "INT"),
            ("LARGEINT", "TINYINT"),
            ("VARCHAR(1020)", "VARCHAR(255)"),
            ("DECIMAL(12, 2)", "DECIMAL(10, 2)"),
            ("DECIMAL(12, 4)", "DECIMAL(10, 2)"),
            ("DOUBLE", "FLOAT"),
        ] {
            assert!(parse(wide).holds(parse(narrow)) && !parse(narrow).holds(parse(wide)), "{wide} {narrow}");
        }
        for (one, other) in [("INT", "VARCHAR(9)"), ("DECIMAL(10, 4)", "DECIMAL(10, 2)"), ("DATE", "DATETIME")] {
            assert!(!parse(one).holds(parse(other)) && !parse(other).holds(parse(one)), "{one} {other}");
        }
    }
}
