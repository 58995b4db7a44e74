//! What an instance's failure says to the rule's author.

use std::time::Duration;

use wasmtime::{Trap, WasmBacktrace};

use super::engine::{Limits, State};

/// Frames of the standard library between a panic and the function that panicked.
const MACHINERY: &[&str] = &[
    "std::",
    "core::",
    "alloc::",
    "__rust",
    "rust_",
    "__rustc",
    "<unknown>",
    "dlmalloc",
    "hindsight_rule::export",
    "wit_bindgen",
];

/// Longest text of a rule that is handed on to people, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// How many of the author's functions are shown.
const FRAMES_MAX: usize = 8;

/// The failure of a call in words: a limit that was exceeded, or the trap with the guest's functions.
pub(super) fn explain(error: &wasmtime::Error, state: &mut State, limits: &Limits) -> String {
    if matches!(error.downcast_ref(), Some(Trap::Interrupt)) {
        return format!("the deadline of {} for a batch is exceeded{}", seconds(limits.deadline), functions(error));
    }
    if error.root_cause().to_string().contains("fuel allocated for hostcalls") {
        return format!(
            "what it hands over is more than the memory limit of {} allows",
            mebibytes(limits.memory_bytes)
        );
    }
    if let Some(bytes) = state.refused_memory {
        return format!(
            "the memory limit of {} is exceeded ({bytes} bytes asked for){}",
            mebibytes(limits.memory_bytes),
            functions(error)
        );
    }
    match state.last_error.take() {
        Some(message) => format!("{} ({message}){}", trap(error), functions(error)),
        None => text(error),
    }
}

/// What a rule says, as much of it as anybody reads.
pub(super) fn shortened(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// The trap with the guest's functions, innermost first.
pub(super) fn text(error: &wasmtime::Error) -> String {
    format!("{}{}", trap(error), functions(error))
}

fn trap(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => format!("{:#}", error.root_cause()),
    }
}

fn functions(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    // Only the text form has demangled names: `  0: 0x1f2a - component!crate::function`.
    let text = backtrace.to_string();
    let names = text.lines().filter_map(|line| line.split_once(" - ")?.1.split_once('!'));
    let names: Vec<String> = names
        .map(|(_, name)| without_hashes(name.trim()))
        .filter(|name| !MACHINERY.iter().any(|prefix| name.trim_start_matches('<').starts_with(prefix)))
        .take(FRAMES_MAX)
        .collect();
    if names.is_empty() { String::new() } else { format!(", in {}", names.join(" <- ")) }
}

/// Rust's older names end with `::h0123456789abcdef`, its newer ones have `[0123456789abcdef]` after each crate.
fn without_hashes(name: &str) -> String {
    let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut name = name.rsplit_once("::h").filter(|(_, hash)| is_hash(hash)).map_or(name, |(name, _)| name);
    let mut plain = String::with_capacity(name.len());
    while let Some((before, after)) = name.split_once('[') {
        plain.push_str(before);
        name = match after.split_once(']') {
            Some((hash, rest)) if is_hash(hash) => rest,
            _ => {
                plain.push('[');
                after
            }
        };
    }
    plain + name
}

fn seconds(duration: Duration) -> String {
    format!("{duration:?}")
}

fn mebibytes(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authors_functions_are_named_without_the_compilers_hashes() {
        for (name, plain) in [
            ("my_rule::decide::h0123456789abcdef", "my_rule::decide"),
            (
                "<my_rule[eddc5f47a38ab149]::A as sdk[9cab0e0fc718b268]::Rule>::entity",
                "<my_rule::A as sdk::Rule>::entity",
            ),
            ("std[fa2a7a729f5c6365]::panicking::panic", "std::panicking::panic"),
            ("my_rule::sum::<[i64; 2]>::here", "my_rule::sum::<[i64; 2]>::here"),
            ("hindsight:transform/transformer@0.1.0#transform", "hindsight:transform/transformer@0.1.0#transform"),
        ] {
            assert_eq!(without_hashes(name), plain);
        }
    }
}
