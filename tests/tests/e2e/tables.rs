//! Snapshots of tables of every form: each type in each time zone, entity keys under every kind of order, tables without a
//! key; what is printed as a remedy, and what a snapshot may cost the server.

mod cost;
mod explained;
mod keyless;
mod keys;
mod orders;
mod replay;
mod types;
