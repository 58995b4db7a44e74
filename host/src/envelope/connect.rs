//! Schemas as Kafka Connect's JSON converter writes them beside each message, and those of our own envelopes.
//!
//! Names of types: Debezium's documentation of its MySQL connector, "Data type mappings"; Connect's logical types. Fields of an
//! envelope: as Debezium 3.6 wrote them (`tests/fixtures/debezium/stream-schemas.jsonl`); without its `doc` texts, and
//! without columns' defaults, which are in no log.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::value::{Form, Forms};
use crate::event::{Field, Logical, TableSchema, argument};

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Schema {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Schema>,
    /// Of an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items: Option<Box<Schema>>,
    #[serde(default)]
    pub optional: bool,
    /// What it means, beside what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Schema {
    fn of(kind: &str) -> Self {
        Schema { kind: kind.to_owned(), ..Schema::default() }
    }

    fn structure(name: String, fields: Vec<Schema>) -> Self {
        Schema { fields, name: Some(name), ..Schema::of("struct") }
    }

    fn meaning(self, name: &str) -> Self {
        Schema { name: Some(name.to_owned()), version: Some(1), ..self }
    }

    fn with(mut self, parameter: &str, value: impl ToString) -> Self {
        self.parameters.insert(parameter.to_owned(), value.to_string());
        self
    }

    fn optional(self) -> Self {
        Schema { optional: true, ..self }
    }

    fn at(self, field: &str) -> Self {
        Schema { field: Some(field.to_owned()), ..self }
    }
}

/// Of a message's value. `topic`: what the structures are named by.
pub fn of_value(topic: &str, table: &TableSchema, forms: Forms) -> Schema {
    let row = || {
        let columns = table.fields.iter().map(|field| column(field, forms)).collect();
        Schema::structure(format!("{topic}.Value"), columns).optional()
    };
    let text = |field: &str| Schema::of("string").at(field);
    let number = |field: &str| Schema::of("int64").at(field);
    let snapshot = Schema {
        default: Some("false".into()),
        ..Schema::of("string").meaning("io.debezium.data.Enum").optional().at("snapshot")
    };
    let source = Schema::structure(
        String::new(),
        vec![
            text("version"),
            text("connector"),
            text("name"),
            number("ts_ms"),
            snapshot
                .with("allowed", "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"),
            text("db"),
            text("sequence").optional(),
            number("ts_us").optional(),
            number("ts_ns").optional(),
            text("table").optional(),
            number("server_id"),
            text("gtid").optional(),
            text("file"),
            number("pos"),
            Schema::of("int32").at("row"),
            number("thread").optional(),
            text("query").optional(),
        ],
    );
    let transaction = vec![text("id"), number("total_order"), number("data_collection_order")];
    let envelope = vec![
        row().at("before"),
        row().at("after"),
        source.meaning("io.debezium.connector.mysql.Source").at("source"),
        Schema::structure(String::new(), transaction).meaning("event.block").optional().at("transaction"),
        text("op"),
        number("ts_ms").optional(),
        number("ts_us").optional(),
        number("ts_ns").optional(),
    ];
    Schema { version: Some(2), ..Schema::structure(format!("{topic}.Envelope"), envelope) }
}

/// Of a message's key, which has these columns.
pub fn of_key(topic: &str, table: &TableSchema, columns: &[usize], forms: Forms) -> Schema {
    let columns = columns.iter().map(|&number| column(&table.fields[number], forms)).collect();
    Schema::structure(format!("{topic}.Key"), columns)
}

fn column(field: &Field, forms: Forms) -> Schema {
    let Field { name, declared, nullable, .. } = field;
    let schema = match Form::of(field, forms) {
        Form::Number => number(field),
        Form::Truth => Schema::of("boolean"),
        Form::Bits(_) => {
            Schema::of("bytes").meaning("io.debezium.data.Bits").with("length", argument(declared, 0).unwrap_or(1))
        }
        Form::Millis if field.logical == Logical::Time => Schema::of("int32").meaning("io.debezium.time.Time"),
        Form::Millis => Schema::of("int64").meaning("io.debezium.time.Timestamp"),
        Form::Nanos if field.logical == Logical::Time => Schema::of("int64").meaning("io.debezium.time.NanoTime"),
        Form::Nanos => Schema::of("int64").meaning("io.debezium.time.NanoTimestamp"),
        Form::IsoDate => Schema::of("string").meaning("io.debezium.time.IsoDate"),
        Form::IsoTime => Schema::of("string").meaning("io.debezium.time.IsoTime"),
        Form::IsoDatetime => Schema::of("string").meaning("io.debezium.time.IsoTimestamp"),
        Form::Timestamp(_) => Schema::of("string").meaning("io.debezium.time.ZonedTimestamp"),
        Form::Float => Schema::of("float"),
        Form::Double | Form::Digits => Schema::of("double"),
        Form::Text => text(field),
        Form::Base64 => Schema::of("bytes"),
        Form::Decimal(scale) => Schema::of("bytes")
            .meaning("org.apache.kafka.connect.data.Decimal")
            .with("scale", scale)
            .with("connect.decimal.precision", argument(declared, 0).unwrap_or(65)),
        Form::Geometry => geometry(Vec::new()).meaning("io.debezium.data.geometry.Geometry"),
        Form::Point => {
            let places = ["x", "y"].map(|place| Schema::of("double").at(place));
            geometry(places.into()).meaning("io.debezium.data.geometry.Point")
        }
        Form::Vector => Schema { items: Some(Box::new(Schema::of("float"))), ..Schema::of("array") }
            .meaning("io.debezium.data.FloatVector"),
    };
    Schema { optional: *nullable, ..schema.at(name) }
}

fn number(field: &Field) -> Schema {
    let is_unsigned = field.declared.contains(" unsigned");
    match (field.logical, word(&field.declared)) {
        (Logical::Date, _) => Schema::of("int32").meaning("io.debezium.time.Date"),
        (Logical::Time, _) => Schema::of("int64").meaning("io.debezium.time.MicroTime"),
        (Logical::Datetime, _) => Schema::of("int64").meaning("io.debezium.time.MicroTimestamp"),
        (_, "year") => Schema::of("int32").meaning("io.debezium.time.Year"),
        (_, "tinyint") => Schema::of("int16"),
        (_, "smallint") if !is_unsigned => Schema::of("int16"),
        (_, "smallint" | "mediumint") => Schema::of("int32"),
        (_, "int" | "integer") if !is_unsigned => Schema::of("int32"),
        _ => Schema::of("int64"),
    }
}

fn text(field: &Field) -> Schema {
    let chosen = |name: &str| {
        let names: Vec<String> = choices(&field.declared).iter().map(|name| name.replace(',', "\\,")).collect();
        Schema::of("string").meaning(name).with("allowed", names.join(","))
    };
    match word(&field.declared) {
        "enum" => chosen("io.debezium.data.Enum"),
        "set" => chosen("io.debezium.data.EnumSet"),
        "json" => Schema::of("string").meaning("io.debezium.data.Json"),
        _ => Schema::of("string"),
    }
}

fn geometry(mut places: Vec<Schema>) -> Schema {
    let wkb = Schema::of("bytes");
    let wkb = if places.is_empty() { wkb } else { wkb.optional() };
    places.extend([wkb.at("wkb"), Schema::of("int32").optional().at("srid")]);
    Schema { fields: places, ..Schema::of("struct") }
}

/// `int` of `int unsigned`.
fn word(declared: &str) -> &str {
    declared.split(['(', ' ']).next().unwrap_or_default()
}

/// The names of `enum('a','it''s')`.
fn choices(declared: &str) -> Vec<String> {
    let inside = declared.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')')).map_or("", |(inside, _)| inside);
    let mut names = Vec::new();
    let mut letters = inside.chars().peekable();
    while letters.find(|letter| *letter == '\'').is_some() {
        let mut name = String::new();
        while let Some(letter) = letters.next() {
            if letter == '\'' && letters.next_if_eq(&'\'').is_none() {
                break;
            }
            name.push(letter);
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_choices_are_told_apart() {
        assert_eq!(choices("enum('a','it''s','with,comma','')"), ["a", "it's", "with,comma", ""]);
        assert!(choices("int").is_empty());
    }
}
