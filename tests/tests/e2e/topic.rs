//! A real server, a real broker, and the halves of a pipeline on either side of it.

pub(crate) mod apply;
mod both;
mod capture;
mod continuity;
mod foreign;
mod keys;
mod kills;
mod letters;
mod logins;
mod odd_messages;
mod rewinds;
mod schemas;
mod soak;
