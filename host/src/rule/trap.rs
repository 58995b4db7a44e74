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
        Some(trap) => format!("trap: {trap}"),
        None => format!("{:#}", error.root_cause()),
    }
}

fn functions(error: &wasmtime::Error) -> String {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return String::new() };
    // Only the text form has demangled names: `  0: 0x1f2a - component!crate::function::h0123456789abcdef`.
    let text = backtrace.to_string();
    let names = text.lines().filter_map(|line| line.split_once(" - ")?.1.split_once('!')).map(|(_, name)| {
        let name = name.trim();
        name.rsplit_once("::h").filter(|(_, hash)| hash.len() == 16).map_or(name, |(name, _)| name)
    });
    let names: Vec<&str> = names
        .filter(|name| !MACHINERY.iter().any(|prefix| name.trim_start_matches('<').starts_with(prefix)))
        .take(FRAMES_MAX)
        .collect();
    if names.is_empty() { String::new() } else { format!(", in {}", names.join(" <- ")) }
}

fn seconds(duration: Duration) -> String {
    format!("{duration:?}")
}

fn mebibytes(bytes: usize) -> String {
    if bytes.is_multiple_of(1 << 20) { format!("{} MiB", bytes >> 20) } else { format!("{bytes} bytes") }
}
