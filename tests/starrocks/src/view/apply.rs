//! A version's rows into the visible table: one SQLite transaction, in the order of the load, so that the last row of a
//! key wins.

use anyhow::{Context, Result};
use rusqlite::types::ToSqlOutput;
use rusqlite::{ToSql, params_from_iter};

use super::{View, locked, qualified, quoted};
use crate::catalog::{Table, Value};
use crate::rows::Row;

impl View {
    /// `merge_condition`: a row replaces another only where its value of this column is not smaller; deletions always do.
    pub fn apply(&self, table: &Table, rows: &[Row], merge_condition: Option<&str>) -> Result<()> {
        let database = self.database(&table.database)?;
        let mut connection = locked(&database);
        let transaction = connection.transaction().context("begin")?;
        {
            let mut upsert =
                transaction.prepare_cached(&upsert(table, merge_condition)).context("prepare an upsert")?;
            let mut delete = None;
            for row in rows {
                if row.is_delete {
                    let delete = match &mut delete {
                        Some(delete) => delete,
                        None => {
                            delete.insert(transaction.prepare_cached(&deletion(table)).context("prepare a deletion")?)
                        }
                    };
                    delete.execute(params_from_iter(&row.values[..table.n_keys])).context("delete a row")?;
                } else {
                    upsert.execute(params_from_iter(&row.values)).context("upsert a row")?;
                }
            }
        }
        transaction.commit().context("commit")
    }
}

/// An update in place leaves the index alone, which REPLACE would not.
fn upsert(table: &Table, merge_condition: Option<&str>) -> String {
    let names: Vec<String> = table.columns.iter().map(|column| quoted(&column.name)).collect();
    let (keys, others) = names.split_at(table.n_keys);
    let marks = vec!["?"; names.len()].join(", ");
    let insert = format!("INSERT INTO {} ({}) VALUES ({marks})", qualified(table), names.join(", "));
    if others.is_empty() {
        return format!("{insert} ON CONFLICT DO NOTHING");
    }
    let set: Vec<String> = others.iter().map(|name| format!("{name} = excluded.{name}")).collect();
    let condition =
        merge_condition.map(quoted).map(|name| format!(" WHERE excluded.{name} >= {}.{name}", quoted(&table.name)));
    format!(
        "{insert} ON CONFLICT ({}) DO UPDATE SET {}{}",
        keys.join(", "),
        set.join(", "),
        condition.unwrap_or_default()
    )
}

fn deletion(table: &Table) -> String {
    let keys: Vec<String> = table.keys().iter().map(|column| format!("{} = ?", quoted(&column.name))).collect();
    format!("DELETE FROM {} WHERE {}", qualified(table), keys.join(" AND "))
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Value::Null => ToSqlOutput::Owned(rusqlite::types::Value::Null),
            Value::Int(number) => ToSqlOutput::from(*number),
            Value::Real(number) => ToSqlOutput::from(*number),
            Value::Text(text) => ToSqlOutput::from(text.as_str()),
            Value::Bytes(bytes) => ToSqlOutput::from(bytes.as_slice()),
        })
    }
}
