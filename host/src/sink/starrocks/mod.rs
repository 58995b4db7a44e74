//! StarRocks: rows by Stream Load, read back over the MySQL port.
//!
//! [`load::Loader`] speaks the transaction interface and [`reply`] alone says what an answer means; [`attempt`] follows one label
//! to its end. [`rows::RowWriter`] makes a load's body, [`columns`] and [`ddl`] say what the table looks like, [`sql::Session`]
//! reads it, [`cluster::Cluster`] where it shows what was loaded. [`StarRocks`] is the sink: what it loads, and what `recovery` does
//! about a load that was under way, hangs on a lane's [`progress`].

pub mod attempt;
mod cache;
pub mod cluster;
pub mod columns;
pub mod ddl;
pub mod http;
mod labels;
mod letter_box;
pub mod letters;
pub mod load;
pub mod progress;
pub mod progress_table;
mod recovery;
pub mod reply;
pub mod rows;
mod sink;
pub mod sql;

pub use labels::Labels;
pub use letter_box::StarRocksLetters;
pub use progress::{Kept, Mark, Progress};
pub use sink::{AWAY, Settings, StarRocks};
