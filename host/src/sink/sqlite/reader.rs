//! Reads a history without the rule that wrote it: the table's columns and roles are noted beside it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row as SqlRow};
use serde::{Deserialize, Serialize};

use super::table::quoted;
use super::value;
use crate::event::{Field, Logical};
use crate::history::{HistoryColumn, HistorySchema, Roles};
use crate::rows::{Rows, Value};
use crate::sink::SinkError;

/// Opens a history's file to be read while a pipeline may be writing it.
///
/// # Errors
/// [`SinkError::Unfit`]: no such file, or it cannot be opened.
pub(super) fn connect(path: &Path) -> Result<Connection, SinkError> {
    let unfit = |text: String| SinkError::Unfit(format!("open history {}: {text}", path.display()));
    if !path.exists() {
        return Err(unfit("there is no such file; `hindsight run` makes it".into()));
    }
    // Read-write: a write-ahead log that nobody has open cannot be read otherwise. Nothing is written.
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE);
    let connection = connection.map_err(|error| unfit(error.to_string()))?;
    connection.pragma_update(None, "query_only", true).map_err(|error| unfit(error.to_string()))?;
    Ok(connection)
}

/// A history table, opened to be read while a pipeline may be writing it.
pub struct Reader {
    connection: Connection,
    path: PathBuf,
    table: String,
    pub history: HistorySchema,
}

impl Reader {
    /// # Errors
    /// [`SinkError::Unfit`]: no such file, or no history table of that name in it.
    pub fn open(path: &Path, table: &str) -> Result<Self, SinkError> {
        let unfit = |text: String| SinkError::Unfit(format!("open history {}: {text}", path.display()));
        let connection = connect(path)?;
        let stored: Option<String> = connection
            .query_row("SELECT schema FROM hindsight_history WHERE name = ?", [table], |row| row.get(0))
            .optional()
            .map_err(|error| unfit(format!("it holds no history of hindsight ({error})")))?;
        let stored =
            stored.ok_or_else(|| unfit(format!("it holds no history table {table}; `hindsight run` makes it")))?;
        let stored: Stored =
            serde_json::from_str(&stored).map_err(|error| unfit(format!("the noted schema of {table}: {error}")))?;
        let history = stored.try_into().map_err(unfit)?;
        Ok(Reader { connection, path: path.to_owned(), table: table.to_owned(), history })
    }

    /// The rows of an entity in the order of their start, all of them or those that held at an instant
    /// (start <= T and (T < end or end is NULL)).
    pub fn entity(&self, key: &Rows, as_of: Option<i64>) -> Result<Rows, SinkError> {
        let HistorySchema { columns, roles, .. } = &self.history;
        let name = |column: usize| quoted(&columns[column].field.name);
        let mut condition: Vec<String> =
            roles.entity_key.iter().map(|&column| format!("{} = ?", name(column))).collect();
        let (start, end) = (name(roles.start), name(roles.end));
        if as_of.is_some() {
            condition.push(format!("{start} <= ?"));
            condition.push(format!("({end} IS NULL OR ? < {end})"));
        }
        let order: Vec<String> = self.history.primary_key.iter().map(|&column| name(column)).collect();
        let text = format!(
            "SELECT {} FROM {} WHERE {} ORDER BY {start}, {}",
            self.names(),
            quoted(&self.table),
            condition.join(" AND "),
            order.join(", ")
        );
        let mut statement = self.connection.prepare(&text).map_err(|error| self.failed(error))?;
        let row = key.row(0);
        for (i, &column) in roles.entity_key.iter().enumerate() {
            value::bind(&mut statement, i + 1, row.get(i), &columns[column].field)?;
        }
        if let Some(instant) = as_of {
            for i in 1..=2 {
                value::bind(
                    &mut statement,
                    roles.entity_key.len() + i,
                    Value::Int(instant),
                    &columns[roles.start].field,
                )?;
            }
        }
        let mut rows = Rows::new(columns.len());
        let mut found = statement.raw_query();
        while let Some(row) = found.next().map_err(|error| self.failed(error))? {
            self.read(row, &mut rows)?;
        }
        Ok(rows)
    }

    /// Every row, ordered by the primary key without the interval's start, then by the start; one at a time.
    pub fn sweep<E: From<SinkError>>(&self, mut each: impl FnMut(&Rows) -> Result<(), E>) -> Result<(), E> {
        let HistorySchema { columns, roles, primary_key } = &self.history;
        let order = primary_key.iter().filter(|&&column| column != roles.start).chain([&roles.start]);
        let order: Vec<String> = order.map(|&column| quoted(&columns[column].field.name)).collect();
        let text = format!("SELECT {} FROM {} ORDER BY {}", self.names(), quoted(&self.table), order.join(", "));
        let mut statement = self.connection.prepare(&text).map_err(|error| self.failed(error))?;
        let mut found = statement.raw_query();
        let mut rows = Rows::new(columns.len());
        while let Some(row) = found.next().map_err(|error| self.failed(error))? {
            rows.truncate(0);
            self.read(row, &mut rows)?;
            each(&rows)?;
        }
        Ok(())
    }

    fn names(&self) -> String {
        self.history.columns.iter().map(|column| quoted(&column.field.name)).collect::<Vec<_>>().join(", ")
    }

    fn read(&self, row: &SqlRow<'_>, rows: &mut Rows) -> Result<(), SinkError> {
        for (i, column) in self.history.columns.iter().enumerate() {
            let cell = row.get_ref(i).map_err(|error| self.failed(error))?;
            value::read(cell, &column.field, rows)
                .map_err(|misfit| SinkError::Stop(format!("{} in {}: {misfit}", self.table, self.path.display())))?;
        }
        rows.end_row();
        Ok(())
    }

    fn failed(&self, error: rusqlite::Error) -> SinkError {
        SinkError::Stop(format!("read history {}: {error}", self.path.display()))
    }
}

/// A history schema as it is noted in the file.
#[derive(Serialize, Deserialize)]
pub struct Stored {
    columns: Vec<StoredColumn>,
    primary_key: Vec<usize>,
    entity_key: Vec<usize>,
    start: usize,
    end: usize,
    current: Option<usize>,
}

#[derive(Serialize, Deserialize)]
struct StoredColumn {
    name: String,
    logical: String,
    nullable: bool,
    declared: String,
    source: Option<String>,
}

impl From<&HistorySchema> for Stored {
    fn from(history: &HistorySchema) -> Self {
        let column = |HistoryColumn { field, source }: &HistoryColumn| StoredColumn {
            name: field.name.clone(),
            logical: field.logical.name().to_owned(),
            nullable: field.nullable,
            declared: field.declared.clone(),
            source: source.clone(),
        };
        let Roles { entity_key, start, end, current } = history.roles.clone();
        Stored {
            columns: history.columns.iter().map(column).collect(),
            primary_key: history.primary_key.clone(),
            entity_key,
            start,
            end,
            current,
        }
    }
}

impl TryFrom<Stored> for HistorySchema {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let column = |column: StoredColumn| {
            let logical = Logical::ALL.into_iter().find(|logical| logical.name() == column.logical);
            let logical =
                logical.ok_or_else(|| format!("column {} has the unknown type {}", column.name, column.logical))?;
            let field = Field { name: column.name, logical, nullable: column.nullable, declared: column.declared };
            Ok(HistoryColumn { field, source: column.source })
        };
        let columns = stored.columns.into_iter().map(column).collect::<Result<Vec<_>, String>>()?;
        let roles =
            Roles { entity_key: stored.entity_key, start: stored.start, end: stored.end, current: stored.current };
        let positions =
            stored.primary_key.iter().chain(&roles.entity_key).chain([&roles.start, &roles.end]).chain(&roles.current);
        if let Some(position) = positions.copied().find(|&position| position >= columns.len()) {
            return Err(format!("the noted schema names column {position} of {}", columns.len()));
        }
        Ok(HistorySchema { columns, primary_key: stored.primary_key, roles })
    }
}
