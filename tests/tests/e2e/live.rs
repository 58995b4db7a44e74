//! The live source on real servers: killed, frozen, failed over, altered, refused; latency, and how it ends.

mod faults;
mod gtid_sets;
mod kills;
mod latency;
mod refusals;
mod schemas;
mod signals;
mod starts;
