//! What each command does; `cli` says how it is typed.

pub mod adopt;
pub mod audit;
pub mod capture;
mod captured;
pub mod ddl;
pub mod dead_letters;
pub mod doctor;
pub mod dry_run;
pub mod explain;
pub mod init;
mod progress;
pub mod query;
pub mod resnapshot;
pub mod rewind;
pub mod rule_inspect;
pub mod rule_list;
pub mod rule_test;
pub mod run;
mod run_apply;
mod run_both;
mod run_capture;
pub mod running;
mod signals;
pub mod swap;
mod telling;
pub mod validate;
