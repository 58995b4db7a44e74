//! `hindsight run --explain`: how a snapshot would read the tables, statement by statement, and nothing is read.

use anyhow::anyhow;
use serde_json::json;

use crate::assemble;
use crate::config::{Config, SourceKind};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::source::TableFilter;
pub use crate::source::mysql::explain as ask;
use crate::source::mysql::{Explained, SnapshotSettings};

/// # Errors
/// Exit code 2: no live source, or no snapshot of it. Exit code 3: the server cannot be asked.
pub async fn explain(config: &Config, json: bool) -> Outcome<()> {
    let SourceKind::Mysql(mysql) = &config.source.kind else {
        return Err(Failure::usage(anyhow!(
            "--explain says how the rows of a live source are read; others have changes only"
        )));
    };
    if !mysql.snapshot.initial && !mysql.snapshot.on_lost_position {
        return Err(Failure::usage(anyhow!(
            "snapshot = \"never\": no rows are read. Write snapshot = \"initial\" or \"when-needed\""
        )));
    }
    let settings = assemble::configured_snapshot(config, &mysql.snapshot)?;
    let tables = TableFilter::parse(&config.source.tables).map_err(|error| Failure::usage(anyhow!(error)))?;
    let servers = assemble::servers(mysql)?;
    let explained = ask(&servers[0], &tables, &settings).await.map_err(|error| Failure::source(error, false))?;
    if json {
        return output::print_json(&json!({ "tables": explained }));
    }
    output::print(&text(&explained, &settings))
}

fn text(explained: &[Explained], settings: &SnapshotSettings) -> String {
    if explained.is_empty() {
        return "none of the captured tables is there yet: there are no rows to read\n".into();
    }
    let mut out = String::new();
    for table in explained {
        out += &format!("{}\n  {}\n", table.table, how(table, settings));
        if let Some(remedy) = &table.remedy {
            out += &format!("  this would cut it into chunks:\n    {remedy}\n");
        }
        for statement in &table.statements {
            out += &format!("  {}\n    {}\n", statement.what, statement.sql);
        }
    }
    out
}

/// How a table is read, in one sentence.
pub fn how(table: &Explained, settings: &SnapshotSettings) -> String {
    let rows = output::grouped(table.rows);
    let limit = settings.rows_per_second.map(|rows| format!(", at most {} a second", output::grouped(rows)));
    let limit = limit.unwrap_or_default();
    match (&table.key, &table.index) {
        (Some(key), Some(index)) => format!(
            "about {rows} rows in chunks of {} by ({key}), index {index}, {} readers{limit}",
            output::grouped(settings.chunk_rows as u64),
            settings.readers
        ),
        _ => {
            let why = table.why.as_deref().unwrap_or_default();
            format!("about {rows} rows whole, in one read view, anew after an interruption{limit}: {why}")
        }
    }
}
