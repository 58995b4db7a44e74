//! Declared column types, as MySQL's words (`int unsigned`, `varchar(255)`, `datetime(6)`), and what they mean.
//!
//! For places where a schema is written down by a person: case files and `[topic.columns]`.

use crate::event::{GEOMETRIES, Logical};

/// The meaning of a declared type. Case and spaces between words do not matter.
///
/// # Errors
/// A sentence that names the type and those that are known.
pub fn parse(declared: &str) -> Result<Logical, String> {
    let unknown = |why: &str| {
        format!(
            "{declared:?} is not a column type{why}; known are the integer types (also `unsigned`), boolean, float, double, \
             decimal(p,s), char(n), varchar(n), text, json, enum(…), set(…), binary(n), varbinary(n), blob, date, time(n), \
             datetime(n), timestamp(n), year, bit(n), vector(n), point and the other geometries"
        )
    };
    let lower = declared.trim().to_ascii_lowercase();
    let (base, arguments, attributes) = parts(&lower).ok_or_else(|| unknown(": a bracket is not closed"))?;
    let mut unsigned = false;
    for attribute in attributes.split_whitespace() {
        match attribute {
            "unsigned" | "zerofill" => unsigned = true,
            "signed" => {}
            _ => return Err(unknown(&format!(" ({attribute:?} is not known)"))),
        }
    }
    let numbers = arguments.map_or(Ok(Vec::new()), |arguments| {
        arguments.split(',').map(|number| number.trim().parse::<u32>()).collect::<Result<Vec<u32>, _>>()
    });
    let logical = match base {
        // As the log's decoder has them: all but BIGINT fit int64.
        "bigint" if unsigned => Logical::UInt64,
        "bit" if numbers.as_ref().is_ok_and(|numbers| numbers.as_slice() > &[1]) => Logical::UInt64,
        "bit" => Logical::Boolean,
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year" => Logical::Int64,
        "bool" | "boolean" => Logical::Boolean,
        "float" | "double" | "real" | "double precision" => Logical::Float64,
        "decimal" | "dec" | "numeric" | "fixed" => Logical::Decimal,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => Logical::Text,
        "json" => Logical::Json,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => Logical::Bytes,
        geometry if GEOMETRIES.contains(&geometry) => Logical::Bytes,
        "date" => Logical::Date,
        "time" => Logical::Time,
        "datetime" | "timestamp" => Logical::Datetime,
        _ => return Err(unknown("")),
    };
    if base == "enum" || base == "set" {
        return if arguments.is_some() { Ok(logical) } else { Err(unknown(": its values are missing")) };
    }
    let numeric = matches!(logical, Logical::Int64 | Logical::UInt64 | Logical::Float64 | Logical::Decimal);
    if unsigned && (!numeric || base == "bit") {
        return Err(unknown(": only numbers can be unsigned"));
    }
    let numbers = numbers.map_err(|_| unknown(": in brackets stand numbers"))?;
    let fits = match (logical, numbers.as_slice()) {
        (_, []) => !matches!(base, "varchar" | "varbinary"),
        (Logical::Time | Logical::Datetime, [digits]) => *digits <= 6,
        (Logical::Decimal, [precision]) => (1..=65).contains(precision),
        (Logical::Decimal, [precision, scale]) => (1..=65).contains(precision) && *scale <= 30 && scale <= precision,
        (Logical::Float64, [_, _]) => true,
        (_, [bits]) if base == "bit" => (1..=64).contains(bits),
        (Logical::Boolean | Logical::Json | Logical::Date, _) => false,
        _ if GEOMETRIES.contains(&base) => false,
        (_, [_]) => true,
        _ => false,
    };
    if fits { Ok(logical) } else { Err(unknown(": the numbers in brackets do not fit")) }
}

/// `decimal(10,2) unsigned` as `decimal`, `10,2`, ` unsigned`.
fn parts(declared: &str) -> Option<(&str, Option<&str>, &str)> {
    if let Some((base, rest)) = declared.split_once('(') {
        let (arguments, attributes) = rest.rsplit_once(')')?;
        return Some((base.trim(), Some(arguments), attributes));
    }
    if declared == "double precision" {
        return Some((declared, None, ""));
    }
    match declared.split_once(' ') {
        Some((base, attributes)) => Some((base, None, attributes)),
        None => Some((declared, None, "")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_mean_what_mysql_means() {
        for (declared, logical) in [
            ("int", Logical::Int64),
            ("TINYINT(1)", Logical::Int64),
            ("bigint(20) unsigned", Logical::UInt64),
            ("int unsigned", Logical::Int64),
            ("bit", Logical::Boolean),
            ("bit(1)", Logical::Boolean),
            ("bit(64)", Logical::UInt64),
            ("vector(3)", Logical::Bytes),
            ("POINT", Logical::Bytes),
            ("boolean", Logical::Boolean),
            ("decimal(10,2)", Logical::Decimal),
            ("decimal(10, 2) unsigned", Logical::Decimal),
            ("double precision", Logical::Float64),
            ("varchar(255)", Logical::Text),
            ("longtext", Logical::Text),
            ("enum('a)','b(')", Logical::Text),
            ("json", Logical::Json),
            ("varbinary(16)", Logical::Bytes),
            ("date", Logical::Date),
            ("time(3)", Logical::Time),
            ("datetime(6)", Logical::Datetime),
            ("timestamp", Logical::Datetime),
            ("year", Logical::Int64),
        ] {
            assert_eq!(parse(declared), Ok(logical), "{declared}");
        }
        for declared in [
            "",
            "integr",
            "varchar",
            "varchar(x)",
            "datetime(7)",
            "decimal(3,5)",
            "int(",
            "text unsigned",
            "date(1)",
            "int big",
            "bit(65)",
            "bit(8) unsigned",
            "point(2)",
        ] {
            let error = parse(declared).expect_err(declared);
            assert!(error.contains(&format!("{declared:?}")), "{error}");
        }
    }
}
