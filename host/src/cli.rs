//! The command line: what can be typed, and the help that explains it. `commands` does what was typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::defaults;

/// Keeps the full history of MySQL tables, by rules that are WebAssembly components.
#[derive(Debug, Parser)]
#[command(name = "hindsight", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// The form of log lines on standard error.
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORM")]
    pub log_format: LogFormat,
    /// Log more: -v what the program does, -vv every detail.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

impl Cli {
    /// The command line of this process. A wrong one, and `--help`, end the process here.
    pub fn read() -> Self {
        Self::parse()
    }
}

const EXAMPLES: &str = "\
Examples:
  hindsight init                                     write a configuration to start from
  hindsight validate                                 say what is configured and whether it can work
  hindsight run                                      binlog files -> rule -> history
  hindsight query --key 123 --as-of 2025-01-01       what held then

Exit codes:
  0  fine
  1  a failure while running, or findings
  2  command line, configuration, or a component that does not load or fit
  3  something outside (file, server, right) is missing before the first batch";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read the source and write the history, from the checkpoint on: a live server for ever, files to their end.
    Run(Run),
    /// Read the source and write its change events to a file, from the file's last checkpoint on; no history is touched.
    Capture(Capture),
    /// Show where a running pipeline stands.
    Status(Ask),
    /// Let a running pipeline finish its batch, and take no other.
    Pause(Ask),
    /// Let a paused pipeline go on.
    Resume(Ask),
    /// Give a running pipeline another rule, at a batch edge.
    ///
    /// The rule is verified beside the running one: world, imports, settings, and a plan that writes the same history
    /// table. Where it does not fit, exit code 2, and the running rule goes on.
    Swap(Swap),
    /// Give a running pipeline its previous rule back.
    Rollback(Ask),
    /// Read a table's rows again and compare them with the history: what differs becomes changes.
    ///
    /// Where the pipeline runs, it does so at once, through its control port; else with the next `hindsight run`.
    Resnapshot(Resnapshot),
    /// Have the topic's messages applied again from an earlier place, or on from where some were deleted.
    ///
    /// A process that runs goes on there by itself.
    Rewind(Rewind),
    /// Take over a table in StarRocks that another program has written so far, as it is.
    ///
    /// The table is compared with what the rule writes; where it goes on is said by the old program's place.
    Adopt(Adopt),
    /// Show the rows that the next changes would write, and write nothing.
    DryRun(DryRun),
    /// Show an entity's history, or what held at an instant.
    Query(Query),
    /// Look for intervals that cannot be; exit code 1 when there are any.
    Audit(Audit),
    /// Look at the changes that were set aside; decide them now, or give them up.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Try a rule, look into it, or see which have decided.
    #[command(subcommand)]
    Rule(RuleCommand),
    /// Check a configuration and its rule, and say what is configured.
    Validate(Validate),
    /// Check everything outside (server, rights, logs, files, port) and say what mends each fault.
    ///
    /// Exit code 3 when something is red, 0 when all is green or yellow.
    Doctor(Doctor),
    /// Write the statement that makes the history table in StarRocks.
    ///
    /// Column types follow the source's tables, which are asked for; a VARCHAR counts bytes there and characters in MySQL, so it is
    /// four times as long.
    Ddl(Ddl),
    /// Write a commented configuration to start from.
    Init(Init),
}

/// The configuration a command works on.
#[derive(Debug, Args)]
pub struct ConfigFile {
    /// The configuration file.
    #[arg(value_name = "CONFIG", default_value = defaults::FILE)]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub struct Json {
    /// Answer with JSON, for programs.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Validate {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
pub struct Ddl {
    #[command(flatten)]
    pub file: ConfigFile,
    /// The table's name; without it the one of [sink].
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Tablets of the table: few, as each load writes into every one.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub buckets: u32,
    /// Copies of each tablet; a cluster of one backend can have one.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub replication: u32,
    /// A column that keeps which change wrote a row, so that a load that comes late changes nothing.
    #[arg(long, value_name = "NAME")]
    pub sequence_column: Option<String>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
pub struct Init {
    /// The file to write.
    #[arg(value_name = "PATH", default_value = defaults::FILE)]
    pub path: PathBuf,
    /// For a live MySQL server, instead of recorded binlog files.
    #[arg(long)]
    pub live: bool,
    /// Overwrite a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// One side of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Half {
    Capture,
    Apply,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hindsight run pipelines/item-assets.toml\n  \
                        hindsight run pipelines/item-assets.toml --only capture")]
pub struct Run {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Take no batch until `hindsight resume`.
    #[arg(long)]
    pub paused: bool,
    /// End with the last transaction that the source has at the start; a live source is else followed for ever.
    #[arg(long)]
    pub to_end: bool,
    /// Say how the rows that are in the tables already would be read, statement by statement, and end.
    #[arg(long)]
    pub explain: bool,
    /// With [topic]: run one half only, from the source to the topic, or from the topic to the history.
    #[arg(long, value_enum, value_name = "HALF")]
    pub only: Option<Half>,
    /// Also write the change events that are decided to this file, as `capture` does.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hindsight capture item-assets.toml --to events.jsonl --to-end")]
pub struct Capture {
    #[command(flatten)]
    pub file: ConfigFile,
    /// The file: a JSON line for each event, and for each checkpoint. It is made where it is not there.
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// End with the last transaction that the source has at the start; a live source is else followed for ever.
    #[arg(long)]
    pub to_end: bool,
    #[command(flatten)]
    pub json: Json,
}

/// A running pipeline.
#[derive(Debug, Args)]
pub struct Running {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Where its control port is, instead of the configuration's [control] listen.
    #[arg(long, value_name = "ADDRESS")]
    pub control: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub struct Ask {
    #[command(flatten)]
    pub running: Running,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hindsight swap my-rule.wasm --cases cases\n  \
                        hindsight swap builtin:scd2-by-owner item-assets.toml --set on-owner-change=ignore")]
pub struct Swap {
    /// The path of a component, or builtin:NAME.
    #[arg(value_name = "RULE")]
    pub rule: String,
    #[command(flatten)]
    pub running: Running,
    /// Case files, or folders of them, that the rule has to pass first; may be given several times.
    #[arg(long, value_name = "CASES")]
    pub cases: Vec<PathBuf>,
    /// A setting for the rule; may be given several times. Without any it gets the active rule's.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hindsight resnapshot shop.item_assets pipelines/item-assets.toml")]
pub struct Resnapshot {
    /// The captured table: DATABASE.TABLE.
    #[arg(value_name = "TABLE")]
    pub table: String,
    #[command(flatten)]
    pub running: Running,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hindsight rewind --to start --dry-run\n  hindsight rewind --to \"2025-06-01 00:00:00\" --accept\n  \
                        hindsight rewind item-assets.toml --to 0=4711,2=17 --accept"
)]
pub struct Rewind {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Where to go on: start, the oldest message that is there; a time, when it was written to the topic; or offsets,
    /// PARTITION=OFFSET with commas between several.
    #[arg(long, value_name = "PLACE")]
    pub to: String,
    /// Only show what would be moved.
    #[arg(long, conflicts_with = "accept")]
    pub dry_run: bool,
    /// Move it.
    #[arg(long)]
    pub accept: bool,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hindsight adopt --group item-assets-to-starrocks --accept\n  hindsight adopt --to 0=81000,1=80431 --accept\n  \
                        hindsight adopt --debezium offset.json --accept"
)]
pub struct Adopt {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Where the table goes on. With a topic: the first offsets that are not in it, PARTITION=OFFSET with commas between; or start.
    /// Without one: the GTID set that is in it.
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["group", "debezium"])]
    pub to: Option<String>,
    /// The same, as this consumer group keeps it: the old program's.
    #[arg(long, value_name = "GROUP", conflicts_with = "debezium")]
    pub group: Option<String>,
    /// The same, as Debezium has stored it: a file with its JSON.
    #[arg(long, value_name = "FILE")]
    pub debezium: Option<PathBuf>,
    /// Only look at the table and show where it would go on.
    #[arg(long, conflicts_with = "accept")]
    pub dry_run: bool,
    /// Take it over: the old program has ended.
    #[arg(long)]
    pub accept: bool,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  hindsight dry-run pipelines/item-assets.toml --limit 5")]
pub struct DryRun {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Stop after so many rows.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one)]
    pub limit: usize,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hindsight query --key 123\n  hindsight query --key 123 --as-of 2025-01-01\n  \
                        hindsight query item-assets.toml --key owner=1,region=eu --as-of \"2025-01-01 12:00:00\" --json")]
pub struct Query {
    #[command(flatten)]
    pub file: ConfigFile,
    /// The entity: its key's value, or name=value,… where the key has several columns.
    #[arg(long, value_name = "KEY")]
    pub key: String,
    /// Only what was true at this wall clock time: YYYY-MM-DD, or YYYY-MM-DD HH:MM:SS.
    #[arg(long, value_name = "TIME")]
    pub as_of: Option<String>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
pub struct Audit {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Show at most so many rows of each kind of finding.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub samples: usize,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// Show which entities are in quarantine, and why.
    List(DeadLettersList),
    /// Show the changes that were set aside, whole.
    #[command(after_help = "Examples:\n  hindsight dead-letters show --key 7\n  \
                            hindsight dead-letters show --letter 17 --json")]
    Show(DeadLettersShow),
    /// Write a chain as a case file, with the entity's history as it is before it: to try a rule on it with `rule test`.
    #[command(after_help = "Example:\n  hindsight dead-letters case --key 7 > cases/an-asset-without-a-time.toml")]
    Case(DeadLettersCase),
    /// Decide an entity's dead letters, in order, by the rule that is active now; those that it decides are in the
    /// history then, and the entity goes on. Also while the pipeline runs.
    ///
    /// Exit code 1 when some stay.
    #[command(after_help = "Examples:\n  hindsight dead-letters replay\n  hindsight dead-letters replay --key 7")]
    Replay(DeadLettersReplay),
    /// Give up dead letters: they are in no history, and what follows them can be replayed without them.
    #[command(
        after_help = "Examples:\n  hindsight dead-letters drop --letter 17\n  hindsight dead-letters drop --key 7"
    )]
    Drop(DeadLettersDrop),
}

#[derive(Debug, Args)]
pub struct DeadLettersList {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub json: Json,
}

/// Some of the dead letters.
#[derive(Debug, Args)]
pub struct Letters {
    /// Those of this entity: its key's value, or name=value,… where the key has several columns.
    #[arg(long, value_name = "KEY", conflicts_with = "letter")]
    pub key: Option<String>,
    /// This one, as `list` and `show` name it.
    #[arg(long, value_name = "LETTER")]
    pub letter: Option<String>,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, args = ["key", "letter"])]
pub struct DeadLettersCase {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub letters: Letters,
    /// At most so many of the chain's changes, from its first one on.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one)]
    pub limit: usize,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
pub struct DeadLettersShow {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub letters: Letters,
    /// Show at most so many.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one)]
    pub limit: usize,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
pub struct DeadLettersReplay {
    #[command(flatten)]
    pub file: ConfigFile,
    /// Only this entity's: its key's value, or name=value,… where the key has several columns.
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Give up what the rule still cannot decide, and go on behind it.
    #[arg(long)]
    pub drop_rejected: bool,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, args = ["key", "letter"])]
pub struct DeadLettersDrop {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub letters: Letters,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// Run case files in the sandbox and compare the history they leave, cell by cell.
    ///
    /// Each case is run in one batch and change by change, under the same limits as in production. Exit code 1 when a
    /// case fails, 2 when the component or a case file does not load.
    #[command(after_help = "Examples:\n  hindsight rule test builtin:scd2-by-owner plugins/scd2-by-owner/cases\n  \
                            hindsight rule test my-rule.wasm cases/a-late-change.toml --json")]
    Test(RuleTest),
    /// Show what a component is, what it asks for and what it would write.
    #[command(after_help = "Examples:\n  hindsight rule inspect builtin:scd2-by-owner\n  \
                            hindsight rule inspect my-rule.wasm --table cases/a-late-change.toml --set owner=customer_id")]
    Inspect(RuleInspect),
    /// Show which rules have decided the history, and from where on.
    List(RuleList),
}

#[derive(Debug, Args)]
pub struct RuleTest {
    /// The path of a component, or builtin:NAME.
    #[arg(value_name = "RULE")]
    pub rule: String,
    /// Case files, or folders of them.
    #[arg(value_name = "CASES", required = true)]
    pub cases: Vec<PathBuf>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
pub struct RuleInspect {
    /// The path of a component, or builtin:NAME.
    #[arg(value_name = "RULE")]
    pub rule: String,
    /// A case file whose tables and settings the plan is made for, instead of the reference table.
    #[arg(long, value_name = "CASE")]
    pub table: Option<PathBuf>,
    /// A setting for the rule; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub settings: Vec<(String, String)>,
    #[command(flatten)]
    pub json: Json,
}

#[derive(Debug, Args)]
pub struct RuleList {
    #[command(flatten)]
    pub file: ConfigFile,
    #[command(flatten)]
    pub json: Json,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a number from 1 on".into())
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
