//! hindsight keeps the full history of MySQL tables, by rules that are WebAssembly components.
//!
//! ```text
//! source ──batch──▶ groups ──▶ rule ──decision──▶ sink
//! ```
//!
//! [`source`], [`rule`] and [`sink`] are the three seams; [`pipeline`] is the loop over them, read it first;
//! [`assemble`] is the one place that turns a configuration into concrete parts.

pub mod assemble;
pub mod capture;
pub mod civil;
pub mod cli;
pub mod commands;
pub mod config;
pub mod control;
pub mod crash;
pub mod dead_letter;
pub mod document;
pub mod envelope;
pub mod event;
pub mod failure;
pub mod groups;
pub mod history;
pub mod json;
pub mod judge;
pub mod ledger;
pub mod metrics;
pub mod output;
pub mod pipeline;
pub mod rows;
pub mod rule;
pub mod sink;
pub mod source;
pub mod start;
pub mod swap;
pub mod topic;
