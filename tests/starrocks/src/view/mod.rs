//! What one FE shows: its published rows in SQLite, in memory, which also answers SELECT.
//!
//! A connection for each StarRocks database, with the database attached under its name: SQLite attaches only ten to one
//! connection, and tests make more. So one SELECT reads one database.

mod apply;
mod decimal;
mod select;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow};
use rusqlite::Connection;

use crate::catalog::Table;
pub use select::{Cell, Column, Holds, Selected, query};

/// Statements that a connection keeps ready.
const STATEMENTS_MAX: usize = 64;

#[derive(Debug, Default)]
pub struct View {
    databases: Mutex<BTreeMap<String, Arc<Mutex<Connection>>>>,
}

impl View {
    pub fn create_database(&self, name: &str) -> Result<()> {
        let connection = open(name).with_context(|| format!("open database {name}"))?;
        locked(&self.databases).insert(name.to_owned(), Arc::new(Mutex::new(connection)));
        Ok(())
    }

    pub fn drop_database(&self, name: &str) {
        locked(&self.databases).remove(name);
    }

    pub fn database(&self, name: &str) -> Result<Arc<Mutex<Connection>>> {
        locked(&self.databases).get(name).cloned().ok_or_else(|| anyhow!("Unknown database '{name}'"))
    }

    pub fn create_table(&self, table: &Table) -> Result<()> {
        let database = self.database(&table.database)?;
        let columns: Vec<String> =
            table.columns.iter().map(|column| format!("{} {}", quoted(&column.name), column.kind.declared())).collect();
        let keys: Vec<String> = table.keys().iter().map(|column| quoted(&column.name)).collect();
        let name = qualified(table);
        let mut sql =
            format!("CREATE TABLE {name} ({}, PRIMARY KEY ({})) WITHOUT ROWID;", columns.join(", "), keys.join(", "));
        // Buckets of StarRocks are found by these columns; here an index does it, unless the key begins with them.
        let by = &table.distributed_by;
        let begins_with = table.keys().iter().zip(by).all(|(key, by)| key.name.eq_ignore_ascii_case(by));
        if !begins_with {
            let by: Vec<String> = by.iter().map(|name| quoted(name)).collect();
            let index = format!("{}.{}", quoted(&table.database), quoted(&format!("{} by bucket", table.name)));
            sql += &format!("CREATE INDEX {index} ON {} ({});", quoted(&table.name), by.join(", "));
        }
        locked(&database).execute_batch(&sql).with_context(|| format!("create table {}", table.name))
    }

    pub fn drop_table(&self, table: &Table) -> Result<()> {
        let database = self.database(&table.database)?;
        locked(&database).execute_batch(&format!("DROP TABLE {}", qualified(table))).context("drop a table")
    }

    pub fn truncate(&self, table: &Table) -> Result<()> {
        let database = self.database(&table.database)?;
        locked(&database).execute_batch(&format!("DELETE FROM {}", qualified(table))).context("truncate a table")
    }
}

fn open(name: &str) -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.create_collation("decimal", decimal::compare)?;
    connection.execute(&format!("ATTACH ':memory:' AS {}", quoted(name)), [])?;
    // Nothing here outlives the process, so nothing is rolled back by a journal on a disk either.
    connection.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA case_sensitive_like = ON;")?;
    Ok(connection)
}

/// Without any table: for SELECTs of constants.
pub fn scratch() -> rusqlite::Result<Connection> {
    Connection::open_in_memory()
}

fn qualified(table: &Table) -> String {
    format!("{}.{}", quoted(&table.database), quoted(&table.name))
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A panic in another thread has said its word already.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
