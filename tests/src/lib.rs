//! The harness of the tests: the program and servers from outside, the oracle, contract suites, what benches need.

pub mod asset_log;
pub mod program;
pub mod rounds;
