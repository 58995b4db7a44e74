//! `hindsight ddl`: the statements that make the history table in StarRocks, as the rule's plan has it, and the one of what is set
//! aside; without a topic, also the one of how far the pipeline is.

use anyhow::anyhow;
use serde_json::json;

use crate::assemble;
use crate::cli::Ddl;
use crate::config::{Config, SinkKind};
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::sink::starrocks::ddl::{TableOptions, create_table};
use crate::sink::starrocks::{letters, progress_table};

/// # Errors
/// Exit code 2: the rule makes no plan for the source's tables, or writes a column that StarRocks has no type for; 3: the
/// source cannot be asked for its tables.
pub async fn ddl(args: &Ddl) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let plan = assemble::configured_plan(&config).await?;
    let table = args.table.as_deref().unwrap_or(&config.sink.table);
    let configured = match &config.sink.kind {
        SinkKind::StarRocks(starrocks) => starrocks.sequence.clone(),
        SinkKind::Sqlite { .. } => None,
    };
    let sequence = args.sequence_column.clone().or(configured);
    if let Some(name) = &sequence
        && plan.history.columns.iter().any(|column| column.field.name.eq_ignore_ascii_case(name))
    {
        return Err(Failure::usage(anyhow!(
            "the sequence column {name}: the rule writes a column of this name itself"
        )));
    }
    let options = TableOptions { buckets: args.buckets, replication_num: args.replication, sequence };
    let statement = create_table(table, &plan.history, &options).map_err(|error| Failure::usage(anyhow!(error)))?;
    let mut statements = vec![statement, letters::create_table(args.replication)];
    if config.topic.is_none() {
        statements.push(progress_table::create_table(args.replication));
    }
    match args.json.json {
        true => output::print_json(&json!({ "table": table, "statements": statements })),
        false => output::print(&statements.iter().map(|statement| format!("{statement};\n")).collect::<String>()),
    }
}
