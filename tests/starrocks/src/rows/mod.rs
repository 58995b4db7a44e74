//! From a load's bytes to rows: unpacked, read as JSON or CSV, converted and filtered.

mod compression;
mod csv;
mod format;
mod json;

use crate::catalog::{ColumnType, Given, Refused, Table, Value};
pub use compression::unpack;
pub use format::{Format, Layout};

/// An upsert or a deletion; a deletion's other columns mean nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub is_delete: bool,
    pub values: Vec<Value>,
}

/// What a load's bytes came to.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    pub rows: Vec<Row>,
    pub n_total: u64,
    pub n_filtered: u64,
    /// Lines of the log behind ErrorURL.
    pub errors: Vec<String>,
}

/// Lines that an error log keeps.
const ERRORS_MAX: usize = 50;

/// Reads the bodies of one transaction, in their order. The error is the message of a load that fails as a whole.
pub fn read(table: &Table, format: &Format, bodies: &[Vec<u8>]) -> Result<Rows, String> {
    let mut reader = Reader { table, format, found: Rows::default() };
    for body in bodies {
        match &format.layout {
            Layout::Json { .. } => json::read(&mut reader, body)?,
            Layout::Csv { .. } => csv::read(&mut reader, body)?,
        }
    }
    Ok(reader.found)
}

/// Whether so many filtered rows fail the load.
pub fn is_too_bad(rows: &Rows, max_filter_ratio: f64) -> bool {
    rows.n_total > 0 && rows.n_filtered as f64 / rows.n_total as f64 > max_filter_ratio
}

/// Why a primary key of these rows is refused.
pub fn check_keys(table: &Table, rows: &Rows, bytes_max: usize) -> Result<(), String> {
    let fixed: usize =
        table.keys().iter().filter(|column| !is_text(column.kind)).map(|column| column.kind.key_bytes()).sum();
    let is_too_long = |row: &Row| {
        let texts = table.keys().iter().zip(&row.values).filter(|(column, _)| is_text(column.kind));
        let texts: usize = texts.map(|(_, value)| if let Value::Text(text) = value { text.len() } else { 0 }).sum();
        fixed + texts > bytes_max
    };
    match rows.rows.iter().any(is_too_long) {
        true => Err("primary key size exceed the limit.".into()),
        false => Ok(()),
    }
}

fn is_text(kind: ColumnType) -> bool {
    matches!(kind, ColumnType::Char(_) | ColumnType::Varchar(_))
}

struct Reader<'t> {
    table: &'t Table,
    format: &'t Format,
    found: Rows,
}

impl Reader<'_> {
    /// Takes a row whose columns were converted, or not. Columns that a load has not named have been filled already.
    fn add(&mut self, is_delete: bool, mut values: Vec<Value>, refused: Option<String>) {
        self.found.n_total += 1;
        if let Some(column) = &self.format.nulled
            && let Some(at) = self.table.position(column)
        {
            values[at] = Value::Null;
        }
        match refused.or_else(|| self.lacking(is_delete, &values)) {
            None => self.found.rows.push(Row { is_delete, values }),
            Some(reason) => {
                let shown: Vec<String> = values.iter().map(Value::shown).collect();
                self.filter(&reason, &format!("[{}]", shown.join(", ")));
            }
        }
    }

    /// A row that could not even be cut into columns.
    fn add_unreadable(&mut self, reason: &str, row: &str) {
        self.found.n_total += 1;
        self.filter(reason, row);
    }

    fn filter(&mut self, reason: &str, row: &str) {
        self.found.n_filtered += 1;
        if self.found.errors.len() < ERRORS_MAX {
            self.found.errors.push(format!("Error: {reason}. Row: {row}"));
        }
    }

    fn lacking(&self, is_delete: bool, values: &[Value]) -> Option<String> {
        // A deletion needs its key only.
        let n_needed = if is_delete { self.table.n_keys } else { values.len() };
        let mut columns = self.table.columns.iter().zip(values).take(n_needed);
        let (column, _) = columns.find(|(column, value)| !column.nullable && **value == Value::Null)?;
        Some(format!("NULL value in non-nullable column '{}'", column.name))
    }

    /// One column's value; `refused` keeps the first reason to filter the row.
    fn convert(&self, at: usize, given: Given<'_>, refused: &mut Option<String>) -> Value {
        let column = &self.table.columns[at];
        match column.convert(given) {
            Ok(value) => value,
            Err(Refused::Filtered(reason)) => {
                refused.get_or_insert(reason);
                Value::Null
            }
            Err(Refused::Unconvertible) => {
                if self.format.strict {
                    let (Given::Text(text) | Given::Number(text) | Given::Json(text)) = given else {
                        refused.get_or_insert(format!(
                            "Value can't be converted. The type of '{}' is {}",
                            column.name,
                            column.kind.name()
                        ));
                        return Value::Null;
                    };
                    refused.get_or_insert(format!(
                        "Value '{text}' can't be converted. The type of '{}' is {}",
                        column.name,
                        column.kind.name()
                    ));
                }
                Value::Null
            }
        }
    }
}
