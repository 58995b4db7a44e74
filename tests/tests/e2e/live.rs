//! The live source on real servers: killed, frozen, failed over, altered, refused; latency, and how it ends.

mod capture;
mod contract;
mod document;
mod faults;
mod gtid_sets;
mod kills;
mod large;
mod latency;
mod refusals;
mod schemas;
mod signals;
mod starts;
