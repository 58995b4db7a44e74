//! Tests over the library: no server, no process of the program.

mod architecture;
mod cases;
mod damaged_logs;
mod property;
mod source;
