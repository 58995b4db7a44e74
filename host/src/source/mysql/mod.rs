//! A running MySQL server as a source.

pub mod preflight;
