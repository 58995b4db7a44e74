//! Tests over the library: no server, no process of the program.

mod account;
mod again;
mod architecture;
mod cases;
mod compose;
mod damaged_logs;
mod foreign_plugins;
mod groups;
mod linked_in;
mod overlay;
mod property;
mod set_aside;
mod sink;
mod source;
mod starrocks;
