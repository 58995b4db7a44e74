//! Faults on demand: which one, where, and when.

mod fault;
mod rules;

pub use fault::{BadReply, Fault, Outage, Turn};
pub use rules::{Asked, Faults, Listed, Rule, When};
