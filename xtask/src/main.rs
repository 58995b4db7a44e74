//! `cargo xtask`: what the README's commands call. One file a command; what they share is named by what it is.
//!
//! Nothing here is part of the program: this sets up what the repository needs, builds, shows and tests it.

mod apt;
mod bench;
mod child;
mod demo;
mod files;
mod flink;
mod guards;
mod kafka;
mod mutants;
mod mysql;
mod mysql_packages;
mod patches;
mod plugins;
mod repository;
mod services;
mod setup;
mod stages;
mod starrocks_clients;
mod test;
mod test_report;
mod toolchain;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Sets up, builds, shows and tests hindsight.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the program, run it on a recorded MySQL binlog, and show what came out.
    Demo {
        /// A binlog file of your own, instead of the recorded one.
        #[arg(long, value_name = "FILE")]
        binlog: Option<PathBuf>,
        /// The table of that file.
        #[arg(long, value_name = "DB.TABLE", default_value = demo::TABLE)]
        table: String,
    },
    /// Set everything up, build everything, and run every test: what CI runs.
    Test,
    /// Build the rules in plugins/ as components: target/plugins/NAME.wasm.
    Plugins {
        /// Only these (the names of their folders).
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Get what building and testing need beside Rust: a toolchain for rules; in target/services, MySQL, Kafka, StarRocks' clients.
    Setup,
    /// Run the benchmarks of tests/benches, in the release profile.
    Bench {
        /// Only this one.
        #[arg(value_name = "NAME")]
        name: Option<String>,
        /// What the benchmark is told.
        #[arg(last = true, value_name = "ARGUMENT")]
        arguments: Vec<String>,
    },
    /// Take each guard of tests/guards out of a copy of the tree, and see its test turn red.
    Guards {
        /// Only these (the names of the patches).
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Only say what there is.
        #[arg(long)]
        list: bool,
    },
    /// Change one line of the default rule, as each patch of tests/mutants does, and see the tests find it.
    Mutants {
        /// Only these (the names of the patches).
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo { binlog, table } => demo::demo(binlog.as_deref(), &table),
        Command::Test => test::test(),
        Command::Plugins { names } => plugins::plugins(&names),
        Command::Setup => setup::setup(),
        Command::Bench { name, arguments } => bench::bench(name.as_deref(), &arguments),
        Command::Guards { names, list } => guards::guards(&names, list),
        Command::Mutants { names } => mutants::mutants(&names),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}
