//! Tests of the built program, driven from outside.

mod compressed;
mod configuration;
mod control;
mod ddl;
mod dead_letters;
mod demo_counts;
mod doctor;
mod documents;
mod dry_run;
mod envelope;
mod foreign_plugins;
mod golden;
mod kills;
mod live;
mod operations;
mod refusals;
mod restarts;
mod snapshot;
mod starrocks;
mod statements;
mod swaps;
mod tables;
mod topic;
mod values;
