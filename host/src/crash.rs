//! Named places at which a test kills the process, to fall between two steps on purpose.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `HINDSIGHT_TEST_CRASH=NAME:NTH` ends the process at the nth pass of a place, as SIGKILL would: nothing is flushed, no destructor runs.
/// `HINDSIGHT_TEST_FREEZE` stops it there, as SIGSTOP does, until it is told to continue.
pub fn point(name: &str) {
    static CRASH: Place = Place::new("HINDSIGHT_TEST_CRASH");
    static FREEZE: Place = Place::new("HINDSIGHT_TEST_FREEZE");
    if CRASH.is_passed(name) {
        std::process::abort();
    }
    if FREEZE.is_passed(name) {
        // In the middle of it, whatever else it does: that a test has no such program is no test.
        let stopped = std::process::Command::new("kill").args(["-STOP", &std::process::id().to_string()]).status();
        assert!(stopped.is_ok_and(|status| status.success()), "a test has to be able to stop the process");
    }
}

/// A pass of a place that something happens at.
struct Place {
    variable: &'static str,
    wanted: OnceLock<Option<(String, u64)>>,
    passed: AtomicU64,
}

impl Place {
    const fn new(variable: &'static str) -> Self {
        Place { variable, wanted: OnceLock::new(), passed: AtomicU64::new(0) }
    }

    fn is_passed(&self, name: &str) -> bool {
        let wanted = self.wanted.get_or_init(|| {
            let wanted = std::env::var(self.variable).ok()?;
            let (name, nth) = wanted.rsplit_once(':')?;
            Some((name.to_owned(), nth.parse().ok()?))
        });
        let Some((wanted, nth)) = wanted else { return false };
        wanted == name && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == *nth
    }
}
