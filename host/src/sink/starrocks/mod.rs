//! StarRocks: rows by Stream Load, read back over the MySQL port.
//!
//! [`load::Loader`] speaks the transaction interface and [`reply`] alone says what an answer means; [`attempt`] follows one label
//! to its end. [`rows::RowWriter`] makes a load's body, [`columns`] and [`ddl`] say what the table looks like, [`sql::Session`]
//! reads it.

pub mod attempt;
pub mod columns;
pub mod ddl;
pub mod http;
pub mod load;
pub mod reply;
pub mod rows;
pub mod sql;
