//! Tests of the built program, driven from outside.

mod compressed;
mod configuration;
mod control;
mod demo_counts;
mod documents;
mod foreign_plugins;
mod kills;
mod refusals;
mod restarts;
mod statements;
mod swaps;
mod values;
