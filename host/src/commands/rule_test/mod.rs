//! `hindsight rule test`: judges a rule by case files and shows what differs, cell by cell.

mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, anyhow};

use crate::document::Faults;
use crate::failure::{Failure, Outcome};
use crate::judge::{self, Stage, Unjudged, Verdict};
use crate::output;
use crate::source::cases::Case;

/// What became of a case file.
#[derive(Debug)]
pub struct Tested {
    pub path: PathBuf,
    /// The case's sentence.
    pub name: String,
    pub result: Result<Verdict, Unloaded>,
}

/// Why a case says nothing about the rule.
#[derive(Debug)]
pub enum Unloaded {
    Faults(Faults),
    Other(String),
}

/// Judges the rule of `stage` by every case, prints the outcome, and fails when the outcome is not good.
///
/// # Errors
/// Exit code 2: no case files, or one that does not load or does not fit the rule. Exit code 1: a case failed.
pub async fn rule_test(paths: &[PathBuf], stage: &impl Stage, json: bool) -> Outcome<()> {
    let tested = test_all(paths, stage).await?;
    if json {
        output::print_json(&report::json(&tested))?;
    } else {
        output::print(&report::text(&tested))?;
    }
    outcome(&tested)
}

/// Judges the rule before it is put to work: says nothing where every case is good, and all of it where one is not.
///
/// # Errors
/// Exit code 2, with the report.
pub async fn require(paths: &[PathBuf], stage: &impl Stage) -> Outcome<()> {
    let tested = test_all(paths, stage).await?;
    outcome(&tested).map_err(|failure| Failure::usage(failure.error.context(report::text(&tested))))
}

async fn test_all(paths: &[PathBuf], stage: &impl Stage) -> Outcome<Vec<Tested>> {
    let mut tested = Vec::new();
    for path in case_files(paths).map_err(Failure::usage)? {
        let (name, result) = test(&path, stage).await;
        tested.push(Tested { path, name, result });
    }
    Ok(tested)
}

fn outcome(tested: &[Tested]) -> Outcome<()> {
    let count = |is: fn(&Tested) -> bool| tested.iter().filter(|tested| is(tested)).count();
    let unloaded = count(|tested| tested.result.is_err());
    let failed = count(|tested| matches!(&tested.result, Ok(verdict) if !verdict.findings.is_empty()));
    let of = tested.len();
    if unloaded > 0 {
        return Err(Failure::usage(anyhow!("{unloaded} of {of} cases could not be run")));
    }
    if failed > 0 {
        return Err(Failure::run(anyhow!("{failed} of {of} cases failed")));
    }
    Ok(())
}

async fn test(path: &Path, stage: &impl Stage) -> (String, Result<Verdict, Unloaded>) {
    let case = match Case::load(path) {
        Ok(case) => Arc::new(case),
        Err(error) => {
            let unloaded = match error.downcast::<Faults>() {
                Ok(faults) => Unloaded::Faults(faults),
                Err(error) => Unloaded::Other(format!("{error:#}")),
            };
            return (path.display().to_string(), Err(unloaded));
        }
    };
    let verdict = judge::judge(&case, stage).await.map_err(|error| match error {
        Unjudged::Case(faults) => Unloaded::Faults(faults),
        Unjudged::Rule(error) => Unloaded::Other(error),
    });
    (case.name.clone(), verdict)
}

/// Files as named; of a folder its `.toml` files by name.
fn case_files(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).with_context(|| format!("read folder {}", path.display()))? {
            let file = entry.with_context(|| format!("read folder {}", path.display()))?.path();
            if file.extension().is_some_and(|extension| extension == "toml") {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(anyhow!("{} holds no case files (*.toml)", path.display()));
        }
        found.sort();
        files.append(&mut found);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;
    use crate::judge::tests::{Behaviour, CASE};

    /// The exit code, the text and the JSON of testing the files, read from a folder.
    fn tested(files: &[(&str, &str)], behaviour: Behaviour) -> (Option<Exit>, String, serde_json::Value) {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("write a case file");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        match runtime.block_on(test_all(&[folder.path().to_owned()], &behaviour)) {
            Ok(tested) => {
                let exit = outcome(&tested).err().map(|failure| failure.exit);
                (exit, report::text(&tested), report::json(&tested))
            }
            Err(failure) => (Some(failure.exit), failure.to_string(), serde_json::Value::Null),
        }
    }

    #[test]
    fn good_cases_are_named_and_end_well() {
        let (exit, text, json) = tested(&[("b-two.toml", CASE), ("a-one.toml", CASE), ("x.md", "")], Behaviour::Counts);
        assert_eq!((exit, text.as_str()), (None, "ok      a one\nok      b two\n\n2 cases: 2 ok, 0 failed\n"));
        assert_eq!((&json["cases"][1]["name"], &json["cases"][1]["outcome"]), (&"b two".into(), &"ok".into()));
    }

    #[test]
    fn a_failed_case_shows_the_cells_that_differ_and_ends_with_1() {
        let (exit, text, json) = tested(&[("it-counts.toml", CASE)], Behaviour::ForgetsTheRest);
        assert_eq!(exit, Some(Exit::Run));
        assert!(text.contains("FAILED  it counts ("), "{text}");
        let wanted = "in one batch:\n            row owner_id = 7 (written by change 0)\n              changes: expected 7, got 2\n";
        assert!(text.contains(wanted) && text.contains("change by change:\n"), "{text}");
        let finding = &json["cases"][0]["findings"][1];
        assert_eq!(finding["batches"], "change-by-change");
        assert_eq!((&finding["expected"]["changes"], &finding["got"]["changes"]), (&7.into(), &1.into()));
        assert_eq!(finding["written_by"], 1);
    }

    #[test]
    fn a_case_that_cannot_be_run_ends_with_2_and_hides_no_other() {
        let files =
            [("a.toml", "chnge = []"), ("b.toml", CASE), ("c.toml", &CASE.replace("changes = 5", "chnges = 5"))];
        let (exit, text, json) = tested(&files, Behaviour::Counts);
        assert_eq!(exit, Some(Exit::Usage));
        for wanted in
            ["unknown key `chnge`", "ok      b\n", "no column `chnges`", "3 cases: 1 ok, 0 failed, 2 could not be run"]
        {
            assert!(text.contains(wanted), "{wanted:?} is not in {text}");
        }
        assert_eq!(json["cases"][2]["faults"][0]["line"], 2);
    }

    #[test]
    fn a_folder_without_case_files_is_refused() {
        let (exit, text, _) = tested(&[("x.md", "")], Behaviour::Counts);
        assert!(exit == Some(Exit::Usage) && text.contains("holds no case files (*.toml)"), "{text}");
    }
}
