//! How the outcome of a rule test reads: lines for people, a document for programs.

use serde_json::json;

use super::{Tested, Unloaded};
use crate::event::Logical;
use crate::history::HistorySchema;
use crate::judge::{Difference, Edges, Finding};
use crate::output;
use crate::source::cases::Cell;

pub fn text(tested: &[Tested]) -> String {
    let mut out = String::new();
    let (mut failed, mut unloaded) = (0, 0);
    for Tested { path, name, result } in tested {
        match result {
            Ok(verdict) if verdict.findings.is_empty() => out += &format!("ok      {name}\n"),
            Ok(verdict) => {
                failed += 1;
                out += &format!("FAILED  {name} ({})\n", path.display());
                let mut edges = None;
                for finding in &verdict.findings {
                    if edges != Some(finding.edges) {
                        edges = Some(finding.edges);
                        out += &format!("          {}:\n", edges_text(finding.edges));
                    }
                    for line in lines(finding, &verdict.schema) {
                        out += &format!("            {line}\n");
                    }
                }
            }
            Err(Unloaded::Faults(faults)) => {
                unloaded += 1;
                out += &format!("ERROR   {}\n{}", path.display(), faults.render(false));
            }
            Err(Unloaded::Other(error)) => {
                unloaded += 1;
                out += &format!("ERROR   {}\n          {}\n", path.display(), error.replace('\n', "\n          "));
            }
        }
    }
    let ok = tested.len() - failed - unloaded;
    out += &format!("\n{} cases: {ok} ok, {failed} failed", tested.len());
    if unloaded > 0 {
        out += &format!(", {unloaded} could not be run");
    }
    out + "\n"
}

pub fn json(tested: &[Tested]) -> serde_json::Value {
    let case = |Tested { path, name, result }: &Tested| {
        let mut case = json!({ "file": path.display().to_string(), "name": name });
        let outcome = match result {
            Ok(verdict) => {
                let findings: Vec<_> = verdict.findings.iter().map(|one| finding_json(one, &verdict.schema)).collect();
                json!({ "outcome": if findings.is_empty() { "ok" } else { "failed" }, "findings": findings })
            }
            Err(Unloaded::Faults(faults)) => json!({ "outcome": "error", "faults": faults.to_json() }),
            Err(Unloaded::Other(error)) => json!({ "outcome": "error", "faults": [{ "message": error }] }),
        };
        for (key, value) in outcome.as_object().into_iter().flatten() {
            case[key] = value.clone();
        }
        case
    };
    json!({ "cases": tested.iter().map(case).collect::<Vec<_>>() })
}

fn edges_text(edges: Edges) -> &'static str {
    match edges {
        Edges::OneBatch => "in one batch",
        Edges::ChangeByChange => "change by change",
        Edges::Both => "in one batch and change by change alike",
    }
}

fn lines(finding: &Finding, schema: &HistorySchema) -> Vec<String> {
    match &finding.what {
        Difference::Failed(error) => error.lines().map(str::to_owned).collect(),
        Difference::Cells { got, cells } => {
            let mut lines = vec![format!("row {}", key_text(got, schema))];
            for (column, expected) in cells {
                let field = &schema.columns[*column].field;
                let (expected, got) = (cell_text(expected, field.logical), cell_text(&got[*column], field.logical));
                lines.push(format!("  {}: expected {expected}, got {got}", field.name));
            }
            lines
        }
        Difference::Missing(row) => vec![format!("missing row {}", row_text(row, schema))],
        Difference::Unexpected(row) => vec![format!("unexpected row {}", row_text(row, schema))],
        Difference::MissingReject(reject) => match &reject.reason {
            Some(reason) => vec![format!("change {} was not rejected with the reason {reason:?}", reject.change)],
            None => vec![format!("change {} was not rejected", reject.change)],
        },
        Difference::UnexpectedReject { change, reason } => {
            vec![format!("change {change} was rejected: {reason:?}")]
        }
    }
}

fn finding_json(finding: &Finding, schema: &HistorySchema) -> serde_json::Value {
    let row = |row: &[Cell]| -> serde_json::Value {
        let columns = schema.columns.iter().zip(row);
        let column = |(column, cell): (&crate::history::HistoryColumn, &Cell)| {
            (column.field.name.clone(), cell_json(cell, column.field.logical))
        };
        serde_json::Value::Object(columns.map(column).collect())
    };
    let edges = match finding.edges {
        Edges::OneBatch => "one-batch",
        Edges::ChangeByChange => "change-by-change",
        Edges::Both => "both",
    };
    let mut value = match &finding.what {
        Difference::Failed(error) => json!({ "kind": "rule-failed", "error": error }),
        Difference::Cells { got, cells } => {
            let expected = cells.iter().map(|(column, cell)| {
                let field = &schema.columns[*column].field;
                (field.name.clone(), cell_json(cell, field.logical))
            });
            let expected = serde_json::Value::Object(expected.collect());
            json!({ "kind": "cells-differ", "got": row(got), "expected": expected })
        }
        Difference::Missing(missing) => json!({ "kind": "row-missing", "expected": row(missing) }),
        Difference::Unexpected(unexpected) => json!({ "kind": "row-unexpected", "got": row(unexpected) }),
        Difference::MissingReject(reject) => {
            json!({ "kind": "reject-missing", "change": reject.change, "reason": reject.reason })
        }
        Difference::UnexpectedReject { change, reason } => {
            json!({ "kind": "reject-unexpected", "change": change, "reason": reason })
        }
    };
    value["batches"] = edges.into();
    value
}

fn key_text(row: &[Cell], schema: &HistorySchema) -> String {
    named(schema.primary_key.iter().copied(), row, schema)
}

fn row_text(row: &[Cell], schema: &HistorySchema) -> String {
    format!("{{ {} }}", named(0..row.len(), row, schema))
}

fn named(columns: impl Iterator<Item = usize>, row: &[Cell], schema: &HistorySchema) -> String {
    let texts: Vec<String> = columns
        .map(|column| {
            let field = &schema.columns[column].field;
            format!("{} = {}", field.name, cell_text(&row[column], field.logical))
        })
        .collect();
    texts.join(", ")
}

/// As a case file has it, so that it can be copied there; NULL is what a case file leaves out.
fn cell_text(cell: &Cell, logical: Logical) -> String {
    match cell_json(cell, logical) {
        serde_json::Value::Null => "NULL".into(),
        value => value.to_string(),
    }
}

fn cell_json(cell: &Cell, logical: Logical) -> serde_json::Value {
    match cell {
        Cell::Any => json!("*"),
        cell => output::json(cell.value(), logical),
    }
}
