//! The program: reads the command line, starts the log, runs the command, and prints a failure once.

use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::process::ExitCode;

use hindsight::assemble::{self, Sandbox};
use hindsight::cli::{Cli, Command, DeadLettersCommand, LogFormat, RuleCommand};
use hindsight::commands::init::{self, Existing, Template};
use hindsight::commands::rule_inspect::{self, Inspected, Subject};
use hindsight::commands::{
    adopt, audit, capture, ddl, dead_letters, doctor, dry_run, explain, query, resnapshot, rewind, rule_list,
    rule_test, run, running, swap, validate,
};
use hindsight::config::{ComponentPlace, Config, defaults};
use hindsight::document::Faults;
use hindsight::failure::{Failure, Outcome};
use hindsight::rule::Component;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // A wrong command line ends here, with exit code 2.
    let cli = Cli::read();
    start_log(cli.log_format, cli.verbose);
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn dispatch(command: Command) -> Outcome<()> {
    let runtime = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build();
        runtime.map_err(|error| Failure::outside(anyhow::Error::new(error).context("start threads")))
    };
    match command {
        Command::Run(args) => {
            if args.explain {
                return runtime()?.block_on(explain::explain(&Config::load(&args.file.config)?, args.json.json));
            }
            runtime()?.block_on(run::run(&Config::load(&args.file.config)?, &args))
        }
        Command::Capture(args) => runtime()?.block_on(capture::capture(&args)),
        Command::Status(args) => runtime()?.block_on(running::status(&args)),
        Command::Pause(args) => runtime()?.block_on(running::pause(&args)),
        Command::Resume(args) => runtime()?.block_on(running::resume(&args)),
        Command::Swap(args) => runtime()?.block_on(swap::swap(&args)),
        Command::Rollback(args) => runtime()?.block_on(swap::rollback(&args)),
        Command::Resnapshot(args) => runtime()?.block_on(resnapshot::resnapshot(&args)),
        Command::Rewind(args) => runtime()?.block_on(rewind::rewind(&args)),
        Command::Adopt(args) => runtime()?.block_on(adopt::adopt(&args)),
        Command::Ddl(args) => runtime()?.block_on(ddl::ddl(&args)),
        Command::Doctor(args) => runtime()?.block_on(doctor::doctor(&args.file.config, args.json.json)),
        Command::DryRun(args) => runtime()?.block_on(dry_run::dry_run(&args)),
        Command::Query(args) => query::query(&args),
        Command::Audit(args) => audit::audit(&args),
        Command::DeadLetters(command) => runtime()?.block_on(async {
            match command {
                DeadLettersCommand::List(args) => dead_letters::list(&args).await,
                DeadLettersCommand::Show(args) => dead_letters::show(&args).await,
                DeadLettersCommand::Case(args) => dead_letters::case(&args).await,
                DeadLettersCommand::Replay(args) => dead_letters::replay(&args).await,
                DeadLettersCommand::Drop(args) => dead_letters::drop(&args).await,
            }
        }),
        Command::Rule(RuleCommand::Test(args)) => {
            let sandbox = Sandbox(component(&args.rule)?);
            runtime()?.block_on(rule_test::rule_test(&args.cases, &sandbox, args.json.json))
        }
        Command::Rule(RuleCommand::Inspect(args)) => {
            let subject = Subject::read(args.table.as_deref(), args.settings)?;
            let inspected = Inspected::of(component(&args.rule)?, &subject);
            rule_inspect::rule_inspect(&inspected, subject.asked_for, args.json.json)
        }
        Command::Rule(RuleCommand::List(args)) => {
            rule_list::rule_list(&Config::load(&args.file.config)?, args.json.json)
        }
        Command::Validate(args) => validate::validate(&args.file.config, args.json.json),
        Command::Init(args) => {
            let template = if args.live { Template::Live } else { Template::Recorded };
            init::init(&args.path, template, if args.force { Existing::Overwrite } else { Existing::Keep })
        }
    }
}

/// A component that was named on the command line, under the default limits.
fn component(rule: &str) -> Outcome<Component> {
    assemble::component(&ComponentPlace::parse(rule, Path::new("")), assemble::limits(&defaults::LIMITS))
}

/// Log lines go to standard error: standard output holds answers only.
fn start_log(format: LogFormat, verbose: u8) {
    let filter = match verbose {
        0 => "warn,hindsight=info",
        1 => "warn,hindsight=debug",
        _ => "info,hindsight=trace",
    };
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(filter)).with_writer(stderr);
    match format {
        LogFormat::Text => log.with_target(false).with_ansi(colour()).init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Faults of a text as code frames, everything else as one line.
fn report(failure: &Failure) {
    match failure.error.downcast_ref::<Faults>() {
        Some(faults) => eprint!("{}", faults.render(colour())),
        None => eprintln!("error: {failure}"),
    }
}

fn colour() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}
