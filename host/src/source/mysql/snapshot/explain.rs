//! How a snapshot would read each table: for `--explain` and `doctor`.

use std::sync::Arc;

use mysql_async::Row;
use mysql_async::prelude::Queryable;
use serde::Serialize;

use super::reader::{self, High};
use super::statements::{self, Chunks};
use super::tables::{self, Cut, Table};
use super::{SnapshotSettings, values};
use crate::event::TableSchema;
use crate::source::mysql::connect::{Server, Unusable};
use crate::source::{SourceError, TableFilter};

/// How a table would be read.
#[derive(Clone, Debug, Serialize)]
pub struct Explained {
    pub table: String,
    /// The server's estimate.
    pub rows: u64,
    /// The columns that chunks are cut by, and the index; none: whole, in one read view.
    pub key: Option<String>,
    pub index: Option<String>,
    /// Why it is read whole, and the statement that would avoid it.
    pub why: Option<String>,
    pub remedy: Option<String>,
    /// In the order in which they are said.
    pub statements: Vec<Statement>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Statement {
    /// What it is for.
    pub what: &'static str,
    pub sql: String,
}

/// The captured tables as the server has them now.
///
/// # Errors
/// [`SourceError::Unfit`]: the server cannot be asked, or a table is one that no snapshot reads.
pub async fn schemas(server: &Server, filter: &TableFilter) -> Result<Vec<Arc<TableSchema>>, SourceError> {
    let away = |unusable: Unusable| SourceError::Unfit(unusable.text().to_owned());
    let mut conn = server.connect().await.map_err(away)?;
    let tables = tables::captured(&mut conn, filter).await.map_err(|error| away(server.unusable(&error)))??;
    Ok(tables.into_iter().map(|table| table.schema).collect())
}

/// Asks the server what it has; runs none of the statements but the look for two boundaries.
///
/// # Errors
/// [`SourceError::Unfit`]: the server cannot be asked, or a table cannot be read by a snapshot.
pub async fn explain(
    server: &Server,
    filter: &TableFilter,
    settings: &SnapshotSettings,
) -> Result<Vec<Explained>, SourceError> {
    let away = |unusable: Unusable| SourceError::Unfit(unusable.text().to_owned());
    let failed = |error: mysql_async::Error| away(server.unusable(&error));
    let mut conn = server.connect().await.map_err(away)?;
    let tables = tables::captured(&mut conn, filter).await.map_err(failed)??;
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    conn.query_drop(statements::SESSION).await.map_err(failed)?;
    let high = reader::how_high(server).await.map_err(away)?;
    let schemas: Vec<Arc<TableSchema>> = tables.iter().map(|table| table.schema.clone()).collect();
    let keys = (settings.entity_key)(&schemas).map_err(SourceError::Unfit)?;
    let mut explained = Vec::new();
    for (table, entity_key) in tables.iter().zip(keys) {
        let one = match table.cut(&entity_key, settings.consistent) {
            Cut::Chunks { index, columns } => {
                let chunks = Chunks { table, index: &index, columns: &columns };
                let mut bounds = Vec::new();
                for _ in 0..2 {
                    let cut = chunks.boundary(bounds.last(), settings.chunk_rows);
                    let row: Option<Row> = conn.exec_first(cut, ()).await.map_err(failed)?;
                    bounds.extend(row.and_then(|row| values::key(&row, &chunks)));
                }
                let names: Vec<&str> =
                    columns.iter().map(|&column| table.schema.fields[column].name.as_str()).collect();
                let said = [
                    ("on every connection", statements::SESSION.to_owned()),
                    ("a boundary between chunks", chunks.boundary(bounds.first(), settings.chunk_rows)),
                    ("before a chunk: the low watermark", statements::LOW.to_owned()),
                    ("a chunk's rows", chunks.rows(bounds.first(), bounds.get(1))),
                    ("after a chunk: the high watermark", high_text(high)),
                ];
                Explained { key: Some(names.join(", ")), index: Some(index.clone()), ..of(table, said) }
            }
            Cut::Whole { why, remedy } => {
                let said = [
                    ("on every connection", statements::SESSION.to_owned()),
                    ("the low watermark", statements::LOW.to_owned()),
                    ("one read view", statements::OPEN_VIEW.to_owned()),
                    ("the high watermark", high_text(high)),
                    ("all rows", statements::all_rows(table)),
                ];
                Explained { why: Some(why), remedy, ..of(table, said) }
            }
        };
        explained.push(one);
    }
    Ok(explained)
}

fn of<const N: usize>(table: &Table, said: [(&'static str, String); N]) -> Explained {
    Explained {
        table: table.schema.name.clone(),
        rows: table.rows,
        key: None,
        index: None,
        why: None,
        remedy: None,
        statements: said.into_iter().map(|(what, sql)| Statement { what, sql }).collect(),
    }
}

fn high_text(high: High) -> String {
    match high {
        High::Status => statements::HIGH_STATUS.to_owned(),
        High::Place(statement) => statement.to_owned(),
    }
}
