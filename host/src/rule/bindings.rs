//! `wit/transform.wit` as wasmtime gives it.

#![allow(clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "rule",
    additional_derives: [PartialEq],
});

pub use exports::hindsight::transform::transformer as wit;
pub use hindsight::transform::{log, types};
