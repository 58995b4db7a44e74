//! The stages of a long run: each timed, none hidden by another's failure, all told in one table at the end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

#[derive(Debug, Default)]
pub struct Stages {
    done: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    name: &'static str,
    kind: Kind,
    took: Duration,
    outcome: Outcome,
}

/// What a stage's seconds count as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    SetUp,
    Build,
    Test,
}

#[derive(Debug)]
enum Outcome {
    /// With a word on what was done.
    Done(String),
    Failed(String),
    Skipped(String),
}

impl Stages {
    /// Runs a stage now.
    pub fn run(&mut self, name: &'static str, kind: Kind, work: impl FnOnce() -> Result<String>) {
        println!("\n── {name} ──");
        let started = Instant::now();
        let done = work();
        self.add(name, kind, started.elapsed(), done);
    }

    /// Runs a stage, unless one that it needs is not done.
    pub fn run_after(
        &mut self,
        needs: &[&'static str],
        name: &'static str,
        kind: Kind,
        work: impl FnOnce() -> Result<String>,
    ) {
        let missing = needs.iter().find(|needed| !self.is_done(needed));
        match missing {
            None => self.run(name, kind, work),
            Some(missing) => {
                let outcome = Outcome::Skipped(format!("it needs {missing:?}"));
                self.done.push(Stage { name, kind, took: Duration::ZERO, outcome });
            }
        }
    }

    /// A stage that ran beside others.
    pub fn add(&mut self, name: &'static str, kind: Kind, took: Duration, done: Result<String>) {
        let outcome = match done {
            Ok(what) => Outcome::Done(what),
            Err(error) => {
                eprintln!("{name} failed: {error:#}");
                Outcome::Failed(format!("{error:#}"))
            }
        };
        self.done.push(Stage { name, kind, took, outcome });
    }

    fn is_done(&self, name: &str) -> bool {
        self.done.iter().any(|stage| stage.name == name && matches!(stage.outcome, Outcome::Done(_)))
    }

    /// The table. `elapsed`: of the whole run; stages that ran beside others add up to more.
    pub fn table(&self, elapsed: Duration) -> String {
        let mut out = format!("{:<12}{:>9}  \n", "stage", "seconds");
        for stage in &self.done {
            let outcome = match &stage.outcome {
                Outcome::Done(what) if what.is_empty() => "done".to_owned(),
                Outcome::Done(what) => format!("done: {what}"),
                Outcome::Failed(_) => "FAILED".to_owned(),
                Outcome::Skipped(why) => format!("skipped: {why}"),
            };
            let _ = writeln!(out, "{:<12}{:>9.1}  {outcome}", stage.name, stage.took.as_secs_f64());
        }
        let of = |kind: Kind| -> f64 {
            self.done.iter().filter(|stage| stage.kind == kind).map(|stage| stage.took.as_secs_f64()).sum()
        };
        let _ = writeln!(
            out,
            "{:<12}{:>9.1}  building {:.1}, tests {:.1}, set-up {:.1}",
            "whole run",
            elapsed.as_secs_f64(),
            of(Kind::Build),
            of(Kind::Test),
            of(Kind::SetUp),
        );
        out
    }

    /// All reasons in one place.
    pub fn outcome(&self) -> Result<()> {
        let mut reasons = Vec::new();
        for stage in &self.done {
            match &stage.outcome {
                Outcome::Done(_) => {}
                Outcome::Failed(reason) => reasons.push(format!("{}: {reason}", stage.name)),
                Outcome::Skipped(why) => reasons.push(format!("{}: not run, {why}", stage.name)),
            }
        }
        if reasons.is_empty() {
            return Ok(());
        }
        bail!("not everything is as it should be:\n{}", reasons.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_stage_stops_only_what_needs_it_and_all_reasons_are_told() {
        let mut stages = Stages::default();
        stages.run("format", Kind::Test, || bail!("a line is too long"));
        stages.run("build", Kind::Build, || Ok(String::new()));
        stages.run_after(&["build"], "fast", Kind::Test, || bail!("one test failed"));
        stages.run_after(&["build", "fast"], "demo", Kind::Test, || panic!("it needs what failed"));
        stages.run_after(&["build"], "e2e", Kind::Test, || Ok("7 tests".into()));
        let table = stages.table(Duration::from_secs(3));
        assert_eq!(table.lines().count(), 7, "{table}");
        for wanted in ["FAILED", "skipped: it needs \"fast\"", "done: 7 tests"] {
            assert!(table.contains(wanted), "{wanted} is not in\n{table}");
        }
        let reasons = stages.outcome().expect_err("there are reasons").to_string();
        for wanted in ["format: a line is too long", "fast: one test failed", "demo: not run"] {
            assert!(reasons.contains(wanted), "{wanted} is not in\n{reasons}");
        }
        assert!(Stages::default().outcome().is_ok());
    }
}
