//! A SELECT that SQLite understands, and its rows as texts.

use std::fmt::Write;

use anyhow::{Result, bail};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

/// Rows and bytes that one answer may have.
const ROWS_MAX: usize = 20_000_000;
const BYTES_MAX: usize = 2 << 30;

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    /// As the table's column was declared; None for an expression.
    pub declared: Option<String>,
    pub holds: Holds,
}

/// What the first value of a column is that is not NULL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Text,
    Integer,
    Real,
}

/// None is NULL.
pub type Cell = Option<Vec<u8>>;

#[derive(Clone, Debug, Default)]
pub struct Selected {
    pub columns: Vec<Column>,
    pub rows: Vec<Vec<Cell>>,
}

pub fn query(connection: &Connection, sql: &str) -> Result<Selected> {
    let mut statement = connection.prepare(sql)?;
    if !statement.readonly() {
        bail!("only a SELECT is run here");
    }
    let columns: Vec<Column> = statement
        .columns()
        .map(|column| Column {
            name: column.name().to_owned(),
            declared: column.decl_type().map(str::to_owned),
            holds: Holds::Text,
        })
        .collect();
    let is_float: Vec<bool> = columns
        .iter()
        .map(|column| column.declared.as_deref().is_some_and(|declared| declared.starts_with("SR_FLOAT")))
        .collect();
    let mut selected = Selected { columns, rows: Vec::new() };
    let mut known = vec![false; is_float.len()];
    let mut bytes = 0;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut cells = Vec::with_capacity(is_float.len());
        for (at, is_float) in is_float.iter().enumerate() {
            let value = row.get_ref(at)?;
            if !known[at] && value != ValueRef::Null {
                known[at] = true;
                selected.columns[at].holds = match value {
                    ValueRef::Integer(_) => Holds::Integer,
                    ValueRef::Real(_) => Holds::Real,
                    _ => Holds::Text,
                };
            }
            let cell = text(value, *is_float);
            bytes += cell.as_ref().map_or(0, Vec::len);
            cells.push(cell);
        }
        selected.rows.push(cells);
        if selected.rows.len() > ROWS_MAX || bytes > BYTES_MAX {
            bail!("the answer is larger than the stand-in gives ({ROWS_MAX} rows, {BYTES_MAX} bytes)");
        }
    }
    Ok(selected)
}

fn text(value: ValueRef<'_>, is_float: bool) -> Cell {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(number.to_string().into_bytes()),
        ValueRef::Real(number) => {
            let mut text = String::new();
            // Writing to a text cannot fail.
            let _ = if is_float { write!(text, "{}", number as f32) } else { write!(text, "{number}") };
            Some(text.into_bytes())
        }
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Some(bytes.to_vec()),
    }
}
