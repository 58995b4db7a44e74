//! `cargo xtask demo`: from a fresh clone to an answer about the past. It types what a user would type, and shows what
//! comes back. It needs no server: the changes are a recorded binlog of a real one.

use std::fs;
use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{child, files, plugins, repository};

/// The recorded table.
pub const TABLE: &str = "shop.item_assets";

const RECORDED: &str = "tests/fixtures/item_assets.binlog";

/// An owner of the recording with three assets on that day, and others since.
const RECORDED_QUESTION: (&str, &str) = ("221", "2025-01-01");

pub fn demo(binlog: Option<&Path>, table: &str) -> Result<()> {
    let recorded = repository::root().join(RECORDED);
    let binlog = match binlog {
        Some(own) => fs::canonicalize(own).with_context(|| format!("find {}", own.display()))?,
        None => recorded.clone(),
    };
    let folder = repository::target().join("demo");
    let stage = Stage { config: folder.join("hindsight.toml") };

    heading("Build the rules and the program");
    plugins::plugins(&[])?;
    child::run(child::cargo().args(["build", "--workspace", "--bin", "hindsight"]))?;

    heading("Configure a pipeline: a recorded binlog, the default rule, a new SQLite file");
    files::remove_folder(&folder)?;
    fs::create_dir_all(&folder).with_context(|| format!("make folder {}", folder.display()))?;
    child::run(&mut stage.hindsight(&["init"]))?;
    stage.point_at(&binlog, table)?;

    heading("Run it: every change of the binlog becomes history");
    child::run(&mut stage.hindsight(&["run"]))?;

    let findings = stage.findings()?;
    let question = if binlog == recorded {
        let (owner, instant) = RECORDED_QUESTION;
        Some(Question { owner: owner.into(), instant: instant.into() })
    } else {
        stage.question(&findings)?
    };
    match &question {
        Some(Question { owner, instant }) => {
            heading(&format!("Ask: what did owner {owner} have on {instant}?"));
            child::run(stage.hindsight(&["query"]).args(["--key", owner, "--as-of", instant]))?;
        }
        None => heading("Ask: no owner stands out; query one of yours, as shown below"),
    }

    heading("Audit: are there intervals that cannot be?");
    let mut audit = stage.hindsight(&["audit"]);
    audit.args(["--samples", "1"]);
    println!("$ {}", child::shown(&audit));
    let status = child::status(&mut audit)?;
    match status.code() {
        Some(0) => println!("Nothing was found."),
        Some(1) if findings.total > 0 => explain(binlog == recorded),
        _ => bail!("{} ended with {status}", child::shown(&audit)),
    }

    heading("Go on");
    stage.next(question.as_ref());
    Ok(())
}

fn heading(text: &str) {
    if stdout().is_terminal() {
        println!("\n\x1b[1m{text}\x1b[0m");
    } else {
        println!("\n{text}");
    }
}

fn explain(is_recorded: bool) {
    let why = "\
        A late change holds from a time before the row that it replaces began. The default rule keeps it as it was written:\n\
        the replaced row ends before it starts (negative), and the new one begins inside an earlier one (overlap). The audit\n\
        makes that visible. A rule that splices late changes into the past would leave nothing to find.";
    let expected = "Exit code 1, and expected here: the recording holds late changes on purpose.";
    println!(
        "\n{}\n{why}",
        if is_recorded { expected } else { "Exit code 1. Findings like these come from late changes." }
    );
}

/// The demo's folder.
struct Stage {
    config: PathBuf,
}

/// What the audit found.
struct Findings {
    total: u64,
    /// Rows, as JSON objects.
    samples: Vec<Value>,
}

struct Question {
    owner: String,
    instant: String,
}

impl Stage {
    fn hindsight(&self, words: &[&str]) -> Command {
        let mut command = child::command(repository::short(&repository::hindsight()));
        command.args(words).arg(repository::short(&self.config));
        command
    }

    /// Names the file and the table in what `init` wrote, and shows the two lines.
    fn point_at(&self, binlog: &Path, table: &str) -> Result<()> {
        let text = fs::read_to_string(&self.config).with_context(|| format!("read {}", self.config.display()))?;
        let folder = self.config.parent().expect("a file lies in a folder");
        let binlog = from(folder, binlog);
        let binlog = binlog.to_str().with_context(|| format!("{} is not UTF-8", binlog.display()))?;
        let lines = [("files = ", toml::Value::from(vec![binlog])), ("tables = ", toml::Value::from(vec![table]))];
        let mut changed = Vec::new();
        let mut written = String::new();
        for line in text.lines() {
            let ours = lines.iter().find(|(begin, _)| line.starts_with(begin));
            let line = ours.map_or_else(|| line.to_owned(), |(begin, value)| format!("{begin}{value}"));
            written += &format!("{line}\n");
            changed.extend(ours.map(|_| line));
        }
        if changed.len() != lines.len() {
            bail!("the template of `hindsight init` has other lines than the demo fills in");
        }
        println!("In it, two lines are set:\n  {}", changed.join("\n  "));
        files::write(&self.config, written.as_bytes()).map(drop)
    }

    fn findings(&self) -> Result<Findings> {
        let output =
            self.hindsight(&["audit"]).args(["--json", "--samples", "50"]).output().context("run hindsight audit")?;
        let answer: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("hindsight audit: {}", String::from_utf8_lossy(&output.stderr)))?;
        let kinds = answer.as_object().into_iter().flat_map(|kinds| kinds.values());
        let kinds: Vec<&Value> = kinds.filter(|kind| kind.is_object()).collect();
        let samples = kinds.iter().filter_map(|kind| kind["samples"].as_array()).flatten().cloned().collect();
        Ok(Findings { total: kinds.iter().filter_map(|kind| kind["count"].as_u64()).sum(), samples })
    }

    /// An owner with a past worth asking for: few enough rows to read, and an instant at which several things held.
    fn question(&self, findings: &Findings) -> Result<Option<Question>> {
        let mut best: Option<(usize, Question)> = None;
        let mut seen = Vec::new();
        for row in &findings.samples {
            let owner = row["owner_id"].to_string();
            if row["owner_id"].is_null() || seen.contains(&owner) {
                continue;
            }
            seen.push(owner.clone());
            let answer = child::answer(self.hindsight(&["query"]).args(["--key", &owner, "--json"]))?;
            let rows: serde_json::Result<Vec<Value>> = answer.lines().map(serde_json::from_str).collect();
            let rows = rows.context("read the answer of hindsight query")?;
            let Some((off, instant)) = liveliest(&rows) else { continue };
            if rows.len() <= 12 && best.as_ref().is_none_or(|(least, _)| off < *least) {
                best = Some((off, Question { owner, instant }));
            }
        }
        Ok(best.map(|(_, question)| question))
    }

    fn next(&self, question: Option<&Question>) {
        let shown = |words: &[&str], more: &[&str]| child::shown(self.hindsight(words).args(more));
        let owner = question.map_or("1", |question| question.owner.as_str());
        let program = repository::short(&repository::hindsight());
        let place = if std::env::current_dir().is_ok_and(|here| here == repository::root()) {
            String::new()
        } else {
            format!("  cd {}\n", repository::root().display())
        };
        println!(
            "Everything that owner had, from the first change to the last:\n  {}\n\
             Run it again: it goes on at its checkpoint and finds nothing left to do:\n  {}\n\
             What the rule is, what it asks for and what it writes:\n  {program} rule inspect builtin:scd2-by-owner",
            place + &shown(&["query"], &["--key", owner]),
            shown(&["run"], &[]),
        );
    }
}

/// The path as the configuration's folder sees it, where both lie in the repository.
fn from(folder: &Path, path: &Path) -> PathBuf {
    let root = repository::root();
    match (folder.strip_prefix(root), path.strip_prefix(root)) {
        (Ok(folder), Ok(path)) => folder.iter().map(|_| "..").collect::<PathBuf>().join(path),
        _ => path.to_owned(),
    }
}

/// The midnight at which about three rows held: an answer to read at a glance. Times are texts of one form, whose order
/// is theirs.
fn liveliest(rows: &[Value]) -> Option<(usize, String)> {
    const WANTED: usize = 3;
    let text = |row: &Value, column: &str| row[column].as_str().map(str::to_owned);
    let days =
        rows.iter().filter_map(|row| text(row, "effective_end_ts")).filter_map(|end| Some(end.get(..10)?.to_owned()));
    let held = |day: &String| {
        let midnight = format!("{day} 00:00:00");
        let holds = |row: &&Value| {
            text(row, "effective_start_ts").is_some_and(|start| start <= midnight)
                && text(row, "effective_end_ts").is_none_or(|end| midnight < end)
        };
        rows.iter().filter(holds).count()
    };
    let asked = days.map(|day| (held(&day), day)).filter(|(held, _)| *held > 0);
    asked.map(|(held, day)| (held.abs_diff(WANTED), day)).min()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_instant_of_the_question_is_one_at_which_about_three_rows_held() {
        let row = |start: &str, end: Option<&str>| json!({ "effective_start_ts": start, "effective_end_ts": end });
        let rows = [
            row("2024-01-01 08:00:00", Some("2024-01-05 09:00:00")),
            row("2024-01-04 08:00:00", Some("2024-01-06 09:00:00.5")),
            row("2024-01-05 09:00:00", None),
        ];
        assert_eq!(liveliest(&rows), Some((1, "2024-01-05".into())));
        assert_eq!(liveliest(&rows[2..]), None);
    }
}
