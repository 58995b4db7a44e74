//! The rows that are in the tables already, read without a lock while others write.

mod explain;
pub mod filter;
mod key;
mod progress;
mod reader;
pub mod reading;
pub mod statements;
pub mod tables;
mod values;
mod weights;
mod window;

use std::sync::Arc;

use crate::event::{EntityKey, TableSchema};
pub use explain::{Explained, explain, schemas};
pub use progress::Progress;

/// The entity key's columns by name, in its order: the same in every table.
fn key_names(schemas: &[Arc<TableSchema>], entity_keys: &[Vec<usize>]) -> Option<Arc<[String]>> {
    let (schema, key) = schemas.first().zip(entity_keys.first())?;
    Some(key.iter().map(|&column| schema.fields[column].name.clone()).collect())
}

/// The chunks' key must be the rule's entity key as long as the log is not behind them. Gives its columns.
///
/// # Errors
/// The rule has another one now.
pub fn fits(
    progress: &Progress,
    tables: &[tables::Table],
    settings: &SnapshotSettings,
) -> Result<Option<Arc<[String]>>, String> {
    let schemas: Vec<Arc<TableSchema>> = tables.iter().map(|table| table.schema.clone()).collect();
    if schemas.is_empty() {
        return Ok(None);
    }
    let entity_keys = (settings.entity_key)(&schemas)?;
    let names = |schema: &TableSchema, columns: &[usize]| {
        let mut names: Vec<String> = columns.iter().map(|&column| schema.fields[column].name.clone()).collect();
        names.sort_unstable();
        names
    };
    for (schema, columns) in schemas.iter().zip(&entity_keys) {
        let Some(read) = progress.tables.iter().find(|table| table.name == schema.name) else { continue };
        let mut key = read.key.clone();
        key.sort_unstable();
        let now = names(schema, columns);
        if !key.is_empty() && key != now {
            return Err(format!(
                "the snapshot of {} was read in chunks by ({}), and the rule's entity key is ({}) now: which changes its rows \
                 hold can only be told by the rule that it was read for. Configure that one again until the log is behind \
                 the snapshot (`hindsight status` shows a position without one), or start with a new history",
                schema.name,
                key.join(", "),
                now.join(", ")
            ));
        }
    }
    Ok(key_names(&schemas, &entity_keys))
}

/// When and how the rows are read that are in the tables already.
#[derive(Clone)]
pub struct SnapshotSettings {
    /// Before the first change, where there is no checkpoint.
    pub initial: bool,
    /// Where the position was purged; else that is an error.
    pub on_lost_position: bool,
    /// Whole tables in one read view, also where they could be cut.
    pub consistent: bool,
    pub readers: usize,
    /// Rows of a chunk, about: those of one entity are not parted.
    pub chunk_rows: usize,
    pub rows_per_second: Option<u64>,
    pub entity_key: EntityKey,
}

impl SnapshotSettings {
    /// Changes of the log only.
    pub fn never() -> Self {
        SnapshotSettings {
            initial: false,
            on_lost_position: false,
            consistent: false,
            readers: 1,
            chunk_rows: 1,
            rows_per_second: None,
            entity_key: Arc::new(|_| Err("no rows are read".into())),
        }
    }
}
