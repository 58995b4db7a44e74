//! A case written down by the program: what it reads back as is what it was made of.

use crate::civil;
use crate::event::{Batch, Field, Logical, TableSchema};
use crate::history::HistorySchema;
use crate::rows::{Row, Rows, Value};

/// What a case is made of.
pub struct Draft<'a> {
    /// Lines of a comment on top.
    pub about: &'a [String],
    pub settings: &'a [(String, String)],
    /// Changes of one table.
    pub batch: &'a Batch,
    pub schema: &'a HistorySchema,
    /// The rows before the changes, which a person turns into those behind them.
    pub history: &'a Rows,
}

impl Draft<'_> {
    pub fn text(&self) -> String {
        let Draft { about, settings, batch, schema, history } = self;
        let mut text: String = about.iter().map(|line| format!("# {line}\n")).collect();
        let settings = settings.iter().map(|(name, value)| format!("{} = {}", key(name), quoted(value)));
        text += &format!("settings = {}\n", inline(settings));
        let table = &batch.tables[0];
        text += &format!("table = {}\n", inline(described(table).into_iter()));
        let fields: Vec<&Field> = schema.columns.iter().map(|column| &column.field).collect();
        let rows: String = history.iter().map(|row| format!("    {},\n", record(row, &fields))).collect();
        let list = if rows.is_empty() { "[]".to_owned() } else { format!("[\n{rows}]") };
        text += &format!("history = {list}\n");
        let fields: Vec<&Field> = table.fields.iter().collect();
        for change in &batch.changes {
            text += &format!("\n[[change]]\nop = \"{}\"\n", change.op.letter());
            text += &format!("ts = \"{}\"\n", datetime(change.time_us));
            for (side, image) in [("before", batch.before(change)), ("after", batch.after(change))] {
                if let Some(row) = image {
                    text += &format!("{side:<6} = {}\n", record(row, &fields));
                }
            }
        }
        text += "\n# The rows that have to be there after the changes; these are the ones from before.\n";
        text + &format!("[expect]\nhistory = {list}\nrejects = []   # or [{{ change = 0, reason = \"*\" }}]\n")
    }
}

fn described(table: &TableSchema) -> Vec<String> {
    let columns = table.fields.iter().map(|field| format!("{} = {}", key(&field.name), quoted(&field.declared)));
    let mut parts = vec![format!("name = {}", quoted(&table.name))];
    if !table.primary_key.is_empty() {
        let names: Vec<String> = table.primary_key.iter().map(|&column| quoted(&table.fields[column].name)).collect();
        parts.push(format!("primary-key = [{}]", names.join(", ")));
    }
    parts.push(format!("columns = {}", inline(columns)));
    parts
}

fn inline(parts: impl Iterator<Item = String>) -> String {
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", parts.join(", ")) }
}

/// A column left out is NULL.
fn record(row: Row<'_>, fields: &[&Field]) -> String {
    let known = row.values().zip(fields).filter(|(value, _)| *value != Value::Null && value.is_known());
    inline(known.map(|(value, field)| format!("{} = {}", key(&field.name), written(value, field.logical))))
}

fn written(value: Value<'_>, logical: Logical) -> String {
    let as_text = |write: fn(&mut String, i64), value: i64| {
        let mut text = String::new();
        write(&mut text, value);
        quoted(&text)
    };
    match (value, logical) {
        (Value::Int(value), Logical::Boolean) => (value != 0).to_string(),
        (Value::Int(value), Logical::Date) => as_text(civil::write_date, value),
        (Value::Int(value), Logical::Datetime) => quoted(&datetime(value)),
        (Value::Int(value), Logical::Time) => as_text(civil::write_time, value),
        (Value::Int(value), _) => value.to_string(),
        (Value::UInt(value), _) if value > i64::MAX as u64 => quoted(&value.to_string()),
        (Value::UInt(value), _) => value.to_string(),
        (Value::Float(value), _) if value.is_nan() => "nan".to_owned(),
        // With a point or an exponent: `inf` has neither.
        (Value::Float(value), _) => format!("{value:?}"),
        (Value::Text(text), _) => quoted(text),
        (Value::Bytes(bytes), _) => {
            let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\"0x{digits}\"")
        }
        (Value::Null | Value::Absent | Value::Undecoded, _) => unreachable!("such columns are left out"),
    }
}

fn datetime(micros: i64) -> String {
    let mut text = String::new();
    civil::write_datetime(&mut text, micros);
    text
}

fn key(name: &str) -> String {
    let is_bare = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_bare { name.to_owned() } else { quoted(name) }
}

/// TOML has JSON's escapes, and wants one more character escaped.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}
