//! `hindsight query`: an entity's whole history, or what held at an instant.

use anyhow::anyhow;
use comfy_table::{Table, presets};

use crate::civil;
use crate::cli::Query;
use crate::config::Config;
use crate::event::{Field, Logical};
use crate::failure::{Failure, Outcome};
use crate::history::HistorySchema;
use crate::output;
use crate::rows::{Rows, Value};
use crate::sink::Reader;

pub fn query(args: &Query) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let path = config.sink.sqlite("query", "ask the table itself, at a frontend's port 9030")?;
    let reader = Reader::open(path, &config.sink.table).map_err(|error| Failure::sink(error, false))?;
    let key = key(&args.key, &reader.history).map_err(|text| Failure::usage(anyhow!(text)))?;
    let as_of = args.as_of.as_deref().map(|text| instant(text, &reader.history)).transpose();
    let as_of = as_of.map_err(|text| Failure::usage(anyhow!(text)))?;
    let rows = reader.entity(&key, as_of).map_err(|error| Failure::sink(error, false))?;
    if args.json.json { json(&rows, &reader.history) } else { text(&rows, &reader.history, args) }
}

fn text(rows: &Rows, history: &HistorySchema, args: &Query) -> Outcome<()> {
    if rows.is_empty() {
        let names: Vec<&str> =
            history.roles.entity_key.iter().map(|&column| history.columns[column].field.name.as_str()).collect();
        let when = args.as_of.as_ref().map(|instant| format!(" as of {instant}")).unwrap_or_default();
        return output::print(&format!("no history rows for {} = {}{when}\n", names.join(", "), args.key));
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(history.columns.iter().map(|column| column.field.name.as_str()));
    for row in rows.iter() {
        table.add_row(
            history.columns.iter().enumerate().map(|(i, column)| output::cell(row.get(i), column.field.logical)),
        );
    }
    output::print(&format!("{table}\n"))
}

/// One object a line.
fn json(rows: &Rows, history: &HistorySchema) -> Outcome<()> {
    let mut lines = String::new();
    for row in rows.iter() {
        let columns = history.columns.iter().enumerate();
        let object: serde_json::Map<_, _> = columns
            .map(|(i, column)| (column.field.name.clone(), output::json(row.get(i), column.field.logical)))
            .collect();
        lines += &format!("{}\n", serde_json::Value::Object(object));
    }
    output::print(&lines)
}

/// `123`, or `owner=1,region=eu` in any order.
fn key(text: &str, history: &HistorySchema) -> Result<Rows, String> {
    let fields: Vec<&Field> = history.roles.entity_key.iter().map(|&column| &history.columns[column].field).collect();
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let form = names.iter().map(|name| format!("{name}=…")).collect::<Vec<_>>().join(",");
    let mut values: Vec<Option<&str>> = vec![None; fields.len()];
    match fields.as_slice() {
        [field] => values[0] = Some(text.strip_prefix(&format!("{}=", field.name)).unwrap_or(text)),
        _ => {
            for part in text.split(',') {
                let (name, value) =
                    part.split_once('=').ok_or_else(|| format!("the key has several columns; write --key {form}"))?;
                let column = names.iter().position(|known| *known == name.trim());
                let column = column.ok_or_else(|| format!("{name} is no column of the key; write --key {form}"))?;
                values[column] = Some(value);
            }
        }
    }
    let mut rows = Rows::new(fields.len());
    for (field, text) in fields.iter().zip(values) {
        let text = text.ok_or_else(|| format!("the key lacks {}; write --key {form}", field.name))?;
        let misfit = || format!("{text:?} is no value for {} ({})", field.name, field.declared);
        let value = match field.logical {
            Logical::Int64 => Value::Int(text.trim().parse().map_err(|_| misfit())?),
            Logical::UInt64 => Value::UInt(text.trim().parse().map_err(|_| misfit())?),
            Logical::Float64 => Value::Float(text.trim().parse().map_err(|_| misfit())?),
            Logical::Boolean => Value::Int(text.trim().parse::<bool>().map(i64::from).map_err(|_| misfit())?),
            Logical::Date => Value::Int(civil::parse_date(text).ok_or_else(misfit)?),
            Logical::Time => Value::Int(civil::parse_time(text).ok_or_else(misfit)?),
            Logical::Datetime => Value::Int(civil::parse_datetime(text).ok_or_else(misfit)?),
            Logical::Decimal | Logical::Text | Logical::Json => Value::Text(text),
            Logical::Bytes => {
                return Err(format!("the key column {} is binary, which cannot be typed here", field.name));
            }
        };
        rows.push(value);
    }
    rows.end_row();
    Ok(rows)
}

fn instant(text: &str, history: &HistorySchema) -> Result<i64, String> {
    let parsed = match history.columns[history.roles.start].field.logical {
        Logical::Date => civil::parse_date(text),
        _ => civil::parse_datetime(text),
    };
    parsed.ok_or_else(|| format!("--as-of {text:?} is no time; write YYYY-MM-DD or \"YYYY-MM-DD HH:MM:SS\""))
}
