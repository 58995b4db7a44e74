//! What cargo's test programs said, read from their lines: how many tests, which failed, which did not run.

/// Of one run of `cargo test`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub passed: u64,
    pub failed: Vec<String>,
    /// With their reasons.
    pub ignored: Vec<String>,
}

impl Report {
    pub fn read(text: &str) -> Self {
        let mut report = Report::default();
        for line in text.lines() {
            if let Some(counts) = line.strip_prefix("test result: ") {
                // `ok. 12 passed; 0 failed; …`: of tests that print, the lines above are torn.
                let passed = counts.split_whitespace().zip(counts.split_whitespace().skip(1));
                let passed =
                    passed.filter(|(_, word)| word.starts_with("passed")).find_map(|(n, _)| n.parse::<u64>().ok());
                report.passed += passed.unwrap_or(0);
            } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) {
                if outcome.starts_with("FAILED") {
                    report.failed.push(name.to_owned());
                } else if let Some(why) = outcome.strip_prefix("ignored") {
                    report.ignored.push(format!("{name}{why}"));
                }
            }
        }
        report
    }

    /// `12 passed, 1 failed, 2 ignored`, without what there is none of.
    pub fn summary(&self) -> String {
        let mut text = format!("{} tests passed", self.passed);
        for (count, what) in [(self.failed.len(), "failed"), (self.ignored.len(), "ignored")] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_counted_from_what_the_test_programs_say() {
        let said = "running 4 tests\ntest a::works ... ok\ntest a::breaks ... FAILED\n\
                    test a::later ... ignored, takes an hour\ntest a::panics - should panic ... ok\n\n\
                    test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\n\
                    running 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 3 filtered out\n";
        let report = Report::read(said);
        assert_eq!((report.passed, report.failed.as_slice()), (3, &["a::breaks".to_owned()][..]));
        assert_eq!(report.ignored, ["a::later, takes an hour"]);
        assert_eq!(report.summary(), "3 tests passed, 1 failed, 1 ignored");
    }
}
