//! What `doctor` found, for people and for programs.

use std::io::IsTerminal;

use serde_json::json;

use crate::source::mysql::preflight::{Check, Remedy, Verdict};
use crate::topic::{Finding, State};

/// What belongs together: a server, the rule, the sink.
pub struct Area {
    pub name: String,
    pub lines: Vec<Line>,
}

/// One thing that was looked at.
pub struct Line {
    name: String,
    found: String,
    pub mark: Mark,
    /// What is wrong; empty where nothing is.
    why: String,
    remedy: Option<Remedy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Green,
    Yellow,
    Red,
}

impl Line {
    pub fn green(name: &str, found: impl Into<String>) -> Self {
        Line { name: name.to_owned(), found: found.into(), mark: Mark::Green, why: String::new(), remedy: None }
    }

    pub fn red(name: &str, found: impl Into<String>, why: String) -> Self {
        Line { mark: Mark::Red, why, ..Line::green(name, found) }
    }

    pub fn yellow(name: &str, found: impl Into<String>, why: String) -> Self {
        Line { mark: Mark::Yellow, why, ..Line::green(name, found) }
    }

    /// To be executed on the server.
    pub fn with_statement(self, statement: String) -> Self {
        Line { remedy: Some(Remedy::Sql(vec![statement])), ..self }
    }

    pub fn with(self, remedy: &str) -> Self {
        Line { remedy: Some(Remedy::Elsewhere(remedy.to_owned())), ..self }
    }
}

impl From<Finding> for Line {
    fn from(Finding { name, found, state }: Finding) -> Self {
        match state {
            State::Fine => Line::green(name, found),
            State::Doubtful { why, remedy } => Line::yellow(name, found, why).with(&remedy),
            State::Wrong { why } => Line::red(name, found, why),
        }
    }
}

impl From<Check> for Line {
    fn from(Check { name, found, verdict }: Check) -> Self {
        let green = Line::green(name, if found.is_empty() { "(empty)".to_owned() } else { found });
        match verdict {
            Verdict::Fine => green,
            Verdict::Warning { why, remedy } => Line { mark: Mark::Yellow, why, remedy: remedy.map(advised), ..green },
            Verdict::Refused { why, remedy } => Line { mark: Mark::Red, why, remedy: Some(remedy), ..green },
        }
    }
}

/// A warning's remedy is statements where it ends as one.
fn advised(text: String) -> Remedy {
    match text.ends_with(';') {
        true => Remedy::Sql(text.lines().map(str::to_owned).collect()),
        false => Remedy::Elsewhere(text),
    }
}

impl Mark {
    fn sign(self) -> &'static str {
        match self {
            Mark::Green => "✓",
            Mark::Yellow => "!",
            Mark::Red => "✗",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Mark::Green => "\x1b[32m",
            Mark::Yellow => "\x1b[33m",
            Mark::Red => "\x1b[31m",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Mark::Green => "green",
            Mark::Yellow => "yellow",
            Mark::Red => "red",
        }
    }
}

pub fn count(areas: &[Area], mark: Mark) -> usize {
    areas.iter().flat_map(|area| &area.lines).filter(|line| line.mark == mark).count()
}

/// Statements stand on lines of their own, so that they can be copied as they are.
pub fn text(areas: &[Area]) -> String {
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut out = String::new();
    for Area { name, lines } in areas {
        out += &format!("{name}\n");
        for Line { name, found, mark, why, remedy } in lines {
            let sign = match colour {
                true => format!("{}{}\x1b[0m", mark.colour(), mark.sign()),
                false => mark.sign().to_owned(),
            };
            out += &format!("  {sign} {name:<31} {found}\n");
            why.lines().for_each(|line| out += &format!("      {line}\n"));
            match remedy {
                Some(Remedy::Sql(statements)) => {
                    out += "      As an administrator of the server, run:\n";
                    statements.iter().for_each(|statement| out += &format!("        {statement}\n"));
                }
                Some(Remedy::Configuration(line)) => {
                    out += "      Write into the server's my.cnf, below [mysqld], and restart it:\n";
                    out += &format!("        {line}\n");
                }
                Some(Remedy::Elsewhere(text)) => out += &format!("      {text}\n"),
                None => {}
            }
        }
        out += "\n";
    }
    let (red, yellow) = (count(areas, Mark::Red), count(areas, Mark::Yellow));
    out += &match (red, yellow) {
        (0, 0) => "All is green.\n".to_owned(),
        (0, n) => format!("Nothing is red, {n} yellow.\n"),
        (n, m) => format!("{n} red, {m} yellow: `hindsight run` needs what is red to be mended.\n"),
    };
    out
}

pub fn json(areas: &[Area]) -> serde_json::Value {
    let line = |Line { name, found, mark, why, remedy }: &Line| {
        let remedy = remedy.as_ref().map(|remedy| match remedy {
            Remedy::Sql(statements) => json!({ "sql": statements }),
            Remedy::Configuration(line) => json!({ "my.cnf": line }),
            Remedy::Elsewhere(text) => json!({ "text": text }),
        });
        json!({ "name": name, "found": found, "mark": mark.name(), "why": why, "remedy": remedy })
    };
    let area =
        |Area { name, lines }: &Area| json!({ "name": name, "checks": lines.iter().map(line).collect::<Vec<_>>() });
    json!({
        "red": count(areas, Mark::Red),
        "yellow": count(areas, Mark::Yellow),
        "areas": areas.iter().map(area).collect::<Vec<_>>(),
    })
}
