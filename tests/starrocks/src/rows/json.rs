//! JSON in simple mode: each object is a row, its keys are the columns' names, `__op` says whether it is a deletion.
//!
//! A value stays the text that was sent until its column converts it, so that no number loses digits on its way.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Reader;
use super::format::Layout;
use crate::catalog::{Given, Value};

pub fn read(reader: &mut Reader<'_>, body: &[u8]) -> Result<(), String> {
    let Layout::Json { strip_outer_array } = reader.format.layout else { return Ok(()) };
    // Documents may follow each other.
    let mut at = 0;
    while let Some(skipped) = body[at..].iter().position(|byte| !byte.is_ascii_whitespace()) {
        at += skipped;
        let mut documents = serde_json::Deserializer::from_slice(&body[at..]).into_iter::<&RawValue>();
        let document = match documents.next() {
            Some(Ok(document)) => document.get(),
            Some(Err(error)) => return Err(format!("Failed to iterate document stream. error: {error}")),
            None => return Ok(()),
        };
        at += documents.byte_offset();
        let mut deserializer = serde_json::Deserializer::from_str(document);
        let done = match (document.as_bytes()[0], strip_outer_array) {
            (b'[', true) => deserializer.deserialize_seq(RowsVisitor(reader)),
            (b'{', _) => RowSeed(reader).deserialize(&mut deserializer),
            (b'[', false) => {
                reader.add_unreadable(
                    "The value is array type in json document stream, you can set strip_outer_array=true to parse each element \
                     of the array as individual rows",
                    document,
                );
                Ok(())
            }
            _ => {
                reader.add_unreadable("The value should be object type in json document stream", document);
                Ok(())
            }
        };
        done.map_err(|error| format!("Failed to parse document. error: {error}"))?;
    }
    Ok(())
}

struct RowsVisitor<'r, 't>(&'r mut Reader<'t>);

impl<'de> Visitor<'de> for RowsVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        while rows.next_element_seed(RowSeed(self.0))?.is_some() {}
        Ok(())
    }
}

struct RowSeed<'r, 't>(&'r mut Reader<'t>);

impl<'de> DeserializeSeed<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let reader = self.0;
        let mut values = vec![Value::Null; reader.table.columns.len()];
        let mut refused = None;
        let mut op = Ok(false);
        // Keys mostly come in the same order as the columns.
        let mut expected = 0;
        while let Some(key) = members.next_key_seed(KeySeed { reader, expected })? {
            match key {
                Key::Column(at) => {
                    let raw: &RawValue = members.next_value()?;
                    values[at] = reader.convert_raw(at, raw.get(), &mut refused);
                    expected = at + 1;
                }
                Key::Op => op = op_of(members.next_value::<&RawValue>()?.get()),
                Key::Other => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        match op {
            Ok(is_delete) => reader.add(is_delete, values, refused),
            Err(text) => reader.add_unreadable(&format!("Invalid value '{text}' of __op"), "{}"),
        }
        Ok(())
    }
}

impl Reader<'_> {
    fn convert_raw(&self, at: usize, raw: &str, refused: &mut Option<String>) -> Value {
        let unescaped: Cow<'_, str>;
        let given = match raw.as_bytes()[0] {
            b'n' => Given::Null,
            b't' => Given::Bool(true),
            b'f' => Given::Bool(false),
            b'{' | b'[' => Given::Json(raw),
            b'"' => {
                unescaped = text(raw);
                Given::Text(&unescaped)
            }
            _ => Given::Number(raw),
        };
        self.convert(at, given, refused)
    }
}

fn text(raw: &str) -> Cow<'_, str> {
    let inner = &raw[1..raw.len() - 1];
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    // A lone surrogate is no text of Rust's; StarRocks would refuse it as well.
    serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(inner), Cow::Owned)
}

fn op_of(raw: &str) -> Result<bool, String> {
    match raw.trim_matches('"') {
        "0" | "upsert" | "null" | "false" => Ok(false),
        "1" | "delete" | "true" => Ok(true),
        other => Err(other.to_owned()),
    }
}

enum Key {
    Column(usize),
    Op,
    Other,
}

struct KeySeed<'r, 't> {
    reader: &'r Reader<'t>,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_, '_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_, '_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        let columns = &self.reader.table.columns;
        if columns.get(self.expected).is_some_and(|column| column.name == key) {
            return Ok(Key::Column(self.expected));
        }
        if key == "__op" {
            return Ok(Key::Op);
        }
        Ok(columns.iter().position(|column| column.name == key).map_or(Key::Other, Key::Column))
    }
}
