//! Snapshots of real servers while others write: each run's emitted events against the server's own log, and its table
//! against the oracle over them.

mod again;
mod follower;
mod killing;
mod kills;
mod lost;
mod modes;
mod repeated;
mod unseen;
mod writers;
