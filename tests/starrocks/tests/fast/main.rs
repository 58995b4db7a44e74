//! The stand-in over real sockets, from a client that shows each moment.

mod faults;
mod labels;
mod loads;
mod raw;
mod roles;
mod rows;
mod sql;
mod transactions;
