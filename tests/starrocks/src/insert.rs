//! Rows that a SQL statement writes: a transaction like any other, with a label of the FE's.

use std::sync::Arc;
use std::time::Duration;

use crate::catalog::Table;
use crate::cluster::{Begin, Hold, Kind, Load, State};
use crate::rows::{Row, Rows};
use crate::stand::Stand;

/// Until the leader shows them.
const VISIBLE_MAX: Duration = Duration::from_secs(60);

pub async fn commit(stand: &Arc<Stand>, table: &Table, rows: Vec<Row>) -> Result<(), String> {
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
