//! Tests over the library: no server, no process of the program.

mod architecture;
mod cases;
mod property;
mod damaged_logs;
mod source;
