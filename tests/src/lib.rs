//! The harness of the tests: the program and servers from outside, the oracle, contract suites, what benches need.

pub mod asset_log;
pub mod binlog;
pub mod captured;
pub mod components;
pub mod contract;
pub mod dump;
pub mod forged;
pub mod generator;
pub mod linked_in;
pub mod live;
pub mod measured;
pub mod mysql;
pub mod oracle;
pub mod pipeline;
pub mod program;
pub mod proxy;
pub mod recorded;
pub mod rounds;
pub mod running;
pub mod say;
pub mod served_log;
pub mod steps;
pub mod tables;
pub mod wall_clock;
