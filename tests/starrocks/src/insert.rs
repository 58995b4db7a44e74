//! `INSERT INTO … VALUES`: a transaction like any other, with a label of the FE's. Tests fill tables so.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::{Given, Table, Value};
use crate::cluster::{Begin, Hold, Kind, Load, State};
use crate::ddl;
use crate::rows::{Row, Rows};
use crate::sql::{Tokens, insert_values, tokens};
use crate::stand::Stand;

/// Until the leader shows them.
const VISIBLE_MAX: Duration = Duration::from_secs(60);

/// How many rows; the error is a MySQL error's text. `current`: the session's database.
pub async fn run(stand: &Arc<Stand>, current: Option<&str>, text: &str) -> Result<u64, String> {
    let found = tokens(text)?;
    let mut tokens = Tokens::new(&found);
    if !tokens.words("INSERT INTO") {
        return Err("INSERT wants INTO".into());
    }
    let (database, name) = ddl::named(&mut tokens, current)?;
    let table = ddl::table(stand, &database, &name)?;
    let (columns, given) = insert_values(&mut tokens)?;
    let rows = converted(&table, &columns, given)?;
    let n = rows.len() as u64;
    commit(stand, &table, rows).await?;
    Ok(n)
}

fn converted(table: &Table, columns: &[String], given: Vec<Vec<Option<String>>>) -> Result<Vec<Row>, String> {
    let places: Option<Vec<usize>> = match columns {
        [] => Some((0..table.columns.len()).collect()),
        columns => columns.iter().map(|column| table.position(column)).collect(),
    };
    let places = places.ok_or("INSERT names a column that the table has not")?;
    let mut rows = Vec::new();
    for constants in given {
        if constants.len() != places.len() {
            return Err("Column count doesn't match value count".into());
        }
        let mut texts: Vec<Option<String>> = table.columns.iter().map(|column| column.default.clone()).collect();
        places.iter().zip(constants).for_each(|(at, constant)| texts[*at] = constant);
        let mut values = Vec::new();
        for (column, text) in table.columns.iter().zip(&texts) {
            let given = text.as_deref().map_or(Given::Null, Given::Text);
            let value = column.convert(given).map_err(|refused| format!("Insert has filtered data: {refused:?}"))?;
            if !column.nullable && value == Value::Null {
                return Err(format!("Insert has filtered data: NULL value in non-nullable column '{}'", column.name));
            }
            values.push(value);
        }
        rows.push(Row { is_delete: false, values });
    }
    Ok(rows)
}

async fn commit(stand: &Arc<Stand>, table: &Table, rows: Vec<Row>) -> Result<(), String> {
    let label = format!("insert_{:032x}", fastrand::u128(..));
    let asked = Begin {
        database: &table.database,
        table: &table.name,
        label: &label,
        kind: Kind::Plain,
        coordinator: 0,
        timeout_s: None,
        idle_timeout_s: 0,
    };
    let rows = Rows { n_total: rows.len() as u64, rows, ..Rows::default() };
    let id = stand.update(|cluster| {
        let id = cluster.begin(&asked).map_err(|refused| refused.message())?;
        let load = Load { rows, ..Load::default() };
        cluster.commit_loaded(&table.database, id, load, Hold::No).map_err(|refused| refused.message())?;
        Ok::<_, String>(id)
    })?;
    let is_visible = |state: Option<State>| state.is_none_or(|state| state == State::Visible);
    let seen = stand.until(VISIBLE_MAX, |cluster| {
        is_visible(cluster.transaction(&table.database, id).map(|found| found.state)).then_some(())
    });
    seen.await.ok_or_else(|| "Publish timeout".into())
}
