//! Tests of the built program, driven from outside.

mod configuration;
mod documents;
mod foreign_plugins;
mod demo_counts;
mod kills;
mod restarts;
mod values;
