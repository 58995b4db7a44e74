//! Named places at which a test kills the process, to fall between two steps on purpose.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `HINDSIGHT_TEST_CRASH=NAME:NTH` ends the process at the nth pass of a place, as SIGKILL would: nothing is flushed, no destructor runs.
pub fn point(name: &str) {
    static WANTED: OnceLock<Option<(String, u64)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);
    let wanted = WANTED.get_or_init(|| {
        let wanted = std::env::var("HINDSIGHT_TEST_CRASH").ok()?;
        let (name, nth) = wanted.rsplit_once(':')?;
        Some((name.to_owned(), nth.parse().ok()?))
    });
    if let Some((wanted, nth)) = wanted
        && wanted == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *nth
    {
        std::process::abort();
    }
}
