//! `wit/transform.wit` as wasmtime gives it.

#![allow(clippy::all, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "rule",
    additional_derives: [PartialEq],
});

pub use self::hindsight::transform::{log, types};
pub use exports::hindsight::transform::transformer as wit;
