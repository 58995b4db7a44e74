//! CSV as Stream Load has it by default: separators that are not escaped, `\N` for NULL.

use super::Reader;
use super::format::{Layout, Mapped};
use crate::catalog::{Given, Value};

pub fn read(reader: &mut Reader<'_>, body: &[u8]) -> Result<(), String> {
    let Layout::Csv { column_separator, row_delimiter, columns, n_skipped, trim } = &reader.format.layout else {
        return Ok(());
    };
    let text = std::str::from_utf8(body).map_err(|_| "the CSV is not UTF-8")?;
    let names: Vec<Mapped> = match columns {
        Some(columns) => columns.clone(),
        None => reader.table.columns.iter().map(|column| Mapped::Field(column.name.clone())).collect(),
    };
    let plan = Plan::new(reader, &names)?;
    for line in text.split(row_delimiter.as_str()).skip(*n_skipped) {
        if line.is_empty() {
            continue;
        }
        let mut fields: Vec<&str> = line.split(column_separator.as_str()).collect();
        if *trim {
            fields.iter_mut().for_each(|field| *field = field.trim());
        }
        plan.row(reader, line, &fields);
    }
    Ok(())
}

/// Where each column of the table, and `__op`, come from.
struct Plan {
    n_fields: usize,
    columns: Vec<From>,
    op: From,
}

#[derive(Clone)]
enum From {
    Field(usize),
    Constant(String),
    Nowhere,
}

impl Plan {
    fn new(reader: &Reader<'_>, names: &[Mapped]) -> Result<Self, String> {
        let fields: Vec<&str> = names
            .iter()
            .filter_map(|name| if let Mapped::Field(name) = name { Some(name.as_str()) } else { None })
            .collect();
        let field = |name: &str| {
            let at = fields.iter().position(|field| field.eq_ignore_ascii_case(name));
            at.ok_or_else(|| format!("Column '{name}' cannot be resolved."))
        };
        let mut plan = Plan {
            n_fields: fields.len(),
            columns: vec![From::Nowhere; reader.table.columns.len()],
            op: From::Nowhere,
        };
        for mapped in names {
            let (name, from) = match mapped {
                Mapped::Field(name) => (name, From::Field(field(name)?)),
                Mapped::Constant(name, value) => (name, From::Constant(value.clone())),
                Mapped::Copy(name, other) => (name, From::Field(field(other)?)),
            };
            // A field that is no column is a name to copy from.
            match reader.table.position(name) {
                Some(at) => plan.columns[at] = from,
                None if name == "__op" => plan.op = from,
                None => {}
            }
        }
        Ok(plan)
    }

    fn row(&self, reader: &mut Reader<'_>, line: &str, fields: &[&str]) {
        if fields.len() != self.n_fields {
            let reason =
                format!("Value count does not match column count. Expect {}, but got {}", self.n_fields, fields.len());
            return reader.add_unreadable(&reason, line);
        }
        let mut refused = None;
        let mut values = Vec::with_capacity(self.columns.len());
        for (at, from) in self.columns.iter().enumerate() {
            let given = match from {
                From::Field(field) if fields[*field] == "\\N" => Given::Null,
                From::Field(field) => Given::Text(fields[*field]),
                From::Constant(text) => Given::Text(text),
                From::Nowhere => match &reader.table.columns[at].default {
                    Some(text) => Given::Text(text),
                    None => Given::Null,
                },
            };
            values.push(match given {
                Given::Null => Value::Null,
                given => reader.convert(at, given, &mut refused),
            });
        }
        let op = match &self.op {
            From::Field(field) => fields[*field],
            From::Constant(text) => text,
            From::Nowhere => "0",
        };
        match op.trim() {
            "0" | "upsert" => reader.add(false, values, refused),
            "1" | "delete" => reader.add(true, values, refused),
            other => reader.add_unreadable(&format!("Invalid value '{other}' of __op"), line),
        }
    }
}
