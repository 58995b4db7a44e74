//! The stand-in as real clients meet it: curl, StarRocks' Java SDK, its dialect for SQLAlchemy, MySQL's own client; and as
//! a process of its own.
//!
//! `cargo xtask setup` gets the clients. One that is not there is named, and its tests see nothing.

mod clients;
mod curl;
mod mysql_client;
mod process;
mod python;
mod sdk;
