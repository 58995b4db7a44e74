//! A table's columns as the schema beside a message says them.

use super::super::connect::Schema;
use super::super::value::Form;
use crate::event::{Field, Logical};

/// The columns of a row, and how each is written, by the schema of a whole envelope.
///
/// # Errors
/// It is no such schema, or a column's type is not known.
pub fn columns(schema: &[u8]) -> Result<Vec<(Field, Form)>, String> {
    let schema: Schema =
        serde_json::from_slice(schema).map_err(|error| format!("its schema cannot be read: {error}"))?;
    let row = |name: &str| schema.fields.iter().find(|part| part.field.as_deref() == Some(name));
    let Some(row) = row("after").or_else(|| row("before")) else {
        return Err("its schema is not that of an envelope: it has neither before nor after".into());
    };
    row.fields.iter().map(column).collect()
}

fn column(schema: &Schema) -> Result<(Field, Form), String> {
    let name = schema.field.clone().ok_or("its schema has a column without a name")?;
    let number = |parameter: &str| schema.parameters.get(parameter).and_then(|text| text.parse::<usize>().ok());
    let choices = |word: &str| {
        // A comma within a name is escaped.
        let allowed = schema.parameters.get("allowed").map_or("", String::as_str).replace("\\,", "\0");
        let names = allowed.split(',').map(|name| format!("'{}'", name.replace('\'', "''").replace('\0', ",")));
        let names: Vec<String> = names.collect();
        format!("{word}({})", names.join(","))
    };
    let plain = |logical, declared: &str, form| (logical, declared.to_owned(), form);
    let semantic = schema.name.as_deref().unwrap_or_default();
    let (logical, declared, form) = match (semantic, schema.kind.as_str()) {
        ("org.apache.kafka.connect.data.Decimal", _) => {
            let scale = number("scale").ok_or_else(|| format!("the decimal {name} has no scale"))?;
            let precision = number("connect.decimal.precision").unwrap_or(65);
            (Logical::Decimal, format!("decimal({precision},{scale})"), Form::Decimal(scale))
        }
        ("io.debezium.time.Date" | "org.apache.kafka.connect.data.Date", _) => {
            plain(Logical::Date, "date", Form::Number)
        }
        ("io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp", _) => {
            plain(Logical::Datetime, "datetime(3)", Form::Millis)
        }
        ("io.debezium.time.MicroTimestamp", _) => plain(Logical::Datetime, "datetime(6)", Form::Number),
        ("io.debezium.time.NanoTimestamp", _) => plain(Logical::Datetime, "datetime(6)", Form::Nanos),
        ("io.debezium.time.IsoTimestamp", _) => plain(Logical::Datetime, "datetime(6)", Form::IsoDatetime),
        ("io.debezium.time.ZonedTimestamp", _) => plain(Logical::Datetime, "timestamp(6)", Form::Timestamp(6)),
        ("io.debezium.time.MicroTime", _) => plain(Logical::Time, "time(6)", Form::Number),
        ("io.debezium.time.Time" | "org.apache.kafka.connect.data.Time", _) => {
            plain(Logical::Time, "time(3)", Form::Millis)
        }
        ("io.debezium.time.NanoTime", _) => plain(Logical::Time, "time(6)", Form::Nanos),
        ("io.debezium.time.IsoTime", _) => plain(Logical::Time, "time(6)", Form::IsoTime),
        ("io.debezium.time.IsoDate", _) => plain(Logical::Date, "date", Form::IsoDate),
        ("io.debezium.time.Year", _) => plain(Logical::Int64, "year", Form::Number),
        ("io.debezium.data.Bits", _) => {
            let bits = number("length").unwrap_or(64);
            (Logical::UInt64, format!("bit({bits})"), Form::Bits(bits.div_ceil(8)))
        }
        ("io.debezium.data.Enum", _) => (Logical::Text, choices("enum"), Form::Text),
        ("io.debezium.data.EnumSet", _) => (Logical::Text, choices("set"), Form::Text),
        ("io.debezium.data.Json", _) => plain(Logical::Json, "json", Form::Text),
        ("io.debezium.data.geometry.Point", _) => plain(Logical::Bytes, "point", Form::Point),
        ("io.debezium.data.geometry.Geometry" | "io.debezium.data.geometry.Geography", _) => {
            plain(Logical::Bytes, "geometry", Form::Geometry)
        }
        ("io.debezium.data.FloatVector", _) => plain(Logical::Bytes, "vector", Form::Vector),
        ("", "int8" | "int16") => plain(Logical::Int64, "smallint", Form::Number),
        ("", "int32") => plain(Logical::Int64, "int", Form::Number),
        ("", "int64") => plain(Logical::Int64, "bigint", Form::Number),
        ("", "float" | "float32") => plain(Logical::Float64, "float", Form::Float),
        ("", "double" | "float64") => plain(Logical::Float64, "double", Form::Double),
        ("", "boolean") => plain(Logical::Boolean, "boolean", Form::Truth),
        ("", "string") => plain(Logical::Text, "text", Form::Text),
        ("", "bytes") => plain(Logical::Bytes, "blob", Form::Base64),
        ("", kind) => return Err(format!("column {name} is of type {kind}, which is not known")),
        (semantic, _) => return Err(format!("column {name} is of type {semantic}, which is not known")),
    };
    Ok((Field { name, logical, nullable: schema.optional, declared }, form))
}
