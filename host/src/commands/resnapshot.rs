//! `hindsight resnapshot`: a table's rows are read again, by the pipeline that runs or by the next one.

use anyhow::anyhow;

use crate::assemble;
use crate::cli;
use crate::commands::running;
use crate::config::{Config, SourceKind};
use crate::control::ResnapshotAnswer;
use crate::failure::{Failure, Outcome};
use crate::history::{Checkpoint, Load};
use crate::output;
use crate::sink::Reader;
use crate::source::{TableFilter, mysql};

pub async fn resnapshot(args: &cli::Resnapshot) -> Outcome<()> {
    let config = Config::load(&args.running.file.config)?;
    may_be_read_again(&args.table, &config)?;
    let answer = match running::client_of(&args.running, &config)? {
        // Who names a port means a pipeline that runs: with a wrong number it would be fenced from behind.
        Some(client) if args.running.control.is_some() || client.is_anybody_there().await => {
            client.resnapshot(&args.table).await?
        }
        _ => note(&args.table, &config).await?,
    };
    if args.json.json {
        return output::print_json(&serde_json::to_value(answer).expect("an answer is plain data"));
    }
    output::print(&format!("{}: {}\n", answer.table, answer.about))
}

/// What the configuration alone says against it.
fn may_be_read_again(table: &str, config: &Config) -> Outcome<()> {
    let why = match config.source.kind {
        SourceKind::BinlogFile { .. } => Some("the source is binlog files, which hold changes only"),
        SourceKind::Topic { .. } => Some("somebody else captures the source: have it read again there"),
        SourceKind::Mysql(_) => None,
    };
    if let Some(why) = why {
        return Err(Failure::usage(anyhow!("{table} cannot be read again: {why}")));
    }
    let filter = TableFilter::parse(&config.source.tables).map_err(|error| Failure::usage(anyhow!(error)))?;
    filter.resnapshot_refusal(table).map_or(Ok(()), |why| Err(Failure::usage(anyhow!(why))))
}

/// Moves the checkpoint on by the word that the table is to be read. A pipeline that runs all the same, unseen, stops at its
/// next commit.
async fn note(table: &str, config: &Config) -> Outcome<ResnapshotAnswer> {
    let never_ran = || {
        Failure::outside(anyhow!(
            "pipeline {} has no checkpoint in {}: the first `hindsight run` reads the whole table anyway (source.snapshot)",
            config.name,
            config.sink.place()
        ))
    };
    let path = config.sink.sqlite("reading a table again", "begin a new history in another table")?;
    if !path.exists() {
        return Err(never_ran());
    }
    let (mut sink, position) = assemble::at_rest(config).await?;
    let position = position.ok_or_else(never_ran)?;
    // Without a table nothing was captured yet, and nothing has to be compared.
    if let Ok(reader) = Reader::open(path, &config.sink.table) {
        let history = &reader.history;
        let lacks =
            |column: &usize| history.columns[*column].source.is_none() && !history.roles.entity_key.contains(column);
        let lacking: Vec<String> = history
            .source_key()
            .iter()
            .filter(|column| lacks(column))
            .map(|&column| history.columns[column].field.name.clone())
            .collect();
        if !lacking.is_empty() {
            return Err(Failure::usage(anyhow!(
                "{table} cannot be read again: {} of {}'s primary key carry no source column, so its rows cannot be compared \
                 with the source's. Read the source into a new history (another `name`, another `sink.table`)",
                lacking.join(", "),
                config.sink.table
            )));
        }
    }
    let position = mysql::read_again(&position, table)
        .map_err(|why| Failure::outside(anyhow!("{table} cannot be read again: {why}")))?;
    let checkpoint = Checkpoint { source: assemble::source_identity(config), position };
    sink.commit(&Load::empty(checkpoint)).await.map_err(|error| Failure::sink(error, false))?;
    let about = "the next `hindsight run` reads it again, before it goes on with the log".to_owned();
    Ok(ResnapshotAnswer { table: table.to_owned(), about })
}
