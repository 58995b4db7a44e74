//! Tests of the built program, driven from outside.

mod configuration;
mod documents;
