//! `hindsight ddl`: the statement that makes the history table in StarRocks, as the rule's plan has it.

use anyhow::anyhow;
use serde_json::json;

use crate::assemble;
use crate::cli::Ddl;
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::sink::starrocks::ddl::{TableOptions, create_table};

/// # Errors
/// Exit code 2: the rule makes no plan for the source's tables, or writes a column that StarRocks has no type for; 3: the
/// source cannot be asked for its tables.
pub async fn ddl(args: &Ddl) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let plan = assemble::configured_plan(&config).await?;
    let table = args.table.as_deref().unwrap_or(&config.sink.table);
    let sequence = args.sequence_column.clone();
    if let Some(name) = &sequence
        && plan.history.columns.iter().any(|column| column.field.name.eq_ignore_ascii_case(name))
    {
        return Err(Failure::usage(anyhow!("--sequence-column {name}: the rule writes a column of this name itself")));
    }
    let options = TableOptions { buckets: args.buckets, replication_num: args.replication, sequence };
    let statement = create_table(table, &plan.history, &options).map_err(|error| Failure::usage(anyhow!(error)))?;
    match args.json.json {
        true => output::print_json(&json!({ "table": table, "statement": statement })),
        false => output::print(&format!("{statement};\n")),
    }
}
