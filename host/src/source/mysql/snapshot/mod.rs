//! The rows that are in the tables already, read without a lock while others write.

mod key;
mod progress;

pub use progress::{Progress, Stage};
