//! What the cluster knows of its tables.

mod column_type;
mod print;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use column_type::ColumnType;
pub use print::create_statement;
pub use value::{Given, Refused, Value, datetime};

/// As `CREATE TABLE` says it.
#[derive(Clone, Debug, Default)]
pub struct NewTable {
    pub name: String,
    pub columns: Vec<Column>,
    pub primary_key: Vec<String>,
    pub distributed_by: Vec<String>,
    pub buckets: Option<u32>,
    pub order_by: Vec<String>,
    pub comment: Option<String>,
    pub properties: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub kind: ColumnType,
    pub nullable: bool,
    pub default: Option<String>,
    pub comment: Option<String>,
}

#[derive(Debug)]
pub struct Table {
    /// Another table of the same name has another one.
    pub id: u64,
    pub database: String,
    pub name: String,
    pub columns: Vec<Column>,
    /// The first so many columns are the primary key.
    pub n_keys: usize,
    pub distributed_by: Vec<String>,
    pub buckets: Option<u32>,
    pub order_by: Vec<String>,
    pub comment: Option<String>,
    pub properties: Vec<(String, String)>,
}

impl Table {
    pub fn new(id: u64, database: &str, new: NewTable) -> Self {
        let mut columns = new.columns;
        for column in &mut columns[..new.primary_key.len()] {
            column.nullable = false;
        }
        Table {
            id,
            database: database.to_owned(),
            name: new.name,
            columns,
            n_keys: new.primary_key.len(),
            distributed_by: new.distributed_by,
            buckets: new.buckets,
            order_by: new.order_by,
            comment: new.comment,
            properties: new.properties,
        }
    }

    pub fn keys(&self) -> &[Column] {
        &self.columns[..self.n_keys]
    }

    pub fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }
}

#[derive(Debug, Default)]
pub struct Database {
    pub id: u64,
    pub tables: BTreeMap<String, Arc<Table>>,
}
