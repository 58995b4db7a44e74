//! The harness of the tests: the program and servers from outside, the oracle, contract suites.

pub mod components;
pub mod oracle;
pub mod program;
pub mod tables;
