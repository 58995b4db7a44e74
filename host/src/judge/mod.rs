//! Judges a rule by a case: plays the case's changes through production's own grouping, the rule and a sink, and
//! compares what is in the table then with what the case expects.
//!
//! Each case is played twice, in one batch and change by change: a rule must not see where batches end.

use std::sync::Arc;

use crate::document::Faults;
use crate::groups;
use crate::history::{Checkpoint, HistorySchema, Load};
use crate::rows::{Row, Rows, Value};
use crate::rule::{Plan, Rule, RuleError};
use crate::sink::{Memory, Sink};
use crate::source::Source;
use crate::source::cases::{Case, CaseSource, Cell, ExpectedReject};

/// Where the batches of a play ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edges {
    OneBatch,
    ChangeByChange,
    /// Both plays ended alike.
    Both,
}

/// What a play left behind that the case does not expect, or the other way round.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    pub edges: Edges,
    pub what: Difference,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// The rule trapped, took too long, gave an error or broke the contract.
    Failed(String),
    /// `cells`: what was expected, columns by their place in the history table.
    Cells {
        got: Vec<Cell>,
        cells: Vec<(usize, Cell)>,
        written_by: WrittenBy,
    },
    Missing(Vec<Cell>),
    Unexpected {
        got: Vec<Cell>,
        written_by: WrittenBy,
    },
    MissingReject(ExpectedReject),
    UnexpectedReject {
        change: usize,
        reason: String,
    },
}

/// The change (its position in [`Case::changes`]) that made a row what it is, as the rule gave its cause; none where no
/// change touched it.
pub type WrittenBy = Option<usize>;

/// A case's outcome.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What the columns of the findings' rows are.
    pub schema: HistorySchema,
    pub findings: Vec<Finding>,
}

/// Why a case could not be judged: nothing is known about the rule's decisions then.
#[derive(Debug, thiserror::Error)]
pub enum Unjudged {
    /// The case file does not fit the rule's plan.
    #[error(transparent)]
    Case(#[from] Faults),
    #[error("{0}")]
    Rule(String),
}

/// Makes what a play needs, fresh for each.
pub trait Stage {
    type Table: Table;
    fn rule(&self, settings: &[(String, String)]) -> Result<Box<dyn Rule>, RuleError>;
    fn table(&self) -> Self::Table;
}

/// A sink whose whole content can be looked at.
pub trait Table: Sink {
    /// All rows, whole, in any order.
    fn all_rows(&self) -> Rows;
}

impl Table for Memory {
    fn all_rows(&self) -> Rows {
        self.rows()
    }
}

/// Plays the case both ways.
pub async fn judge(case: &Arc<Case>, stage: &impl Stage) -> Result<Verdict, Unjudged> {
    let one = play(case, stage, usize::MAX).await?;
    let each = play(case, stage, 1).await?;
    let schema = one.plan.history.clone();
    let expected = case.expected_history(&schema)?;
    let judged = [
        (Edges::OneBatch, differences(&one, &expected, &case.expected_rejects)),
        (Edges::ChangeByChange, differences(&each, &expected, &case.expected_rejects)),
    ];
    let findings = if judged[0].1 == judged[1].1 {
        let [(_, both), _] = judged;
        both.into_iter().map(|what| Finding { edges: Edges::Both, what }).collect()
    } else {
        let with_edges = |(edges, list): (Edges, Vec<Difference>)| {
            list.into_iter().map(move |what| Finding { edges, what }).collect::<Vec<_>>()
        };
        judged.into_iter().flat_map(with_edges).collect()
    };
    Ok(Verdict { schema, findings })
}

/// What a play left behind.
struct Played {
    plan: Arc<Plan>,
    rows: Rows,
    written: Written,
    /// Change of the file and reason, in order.
    rejects: Vec<(usize, String)>,
    failed: Option<String>,
}

/// Primary keys of the rows that were written, in order, each with its cause.
#[derive(Default)]
struct Written(Vec<(Vec<Cell>, usize)>);

impl Written {
    fn add(&mut self, row: Row<'_>, key: &[usize], change: usize) {
        let row = owned(row);
        self.0.push((key.iter().map(|&column| row[column].clone()).collect(), change));
    }

    fn last(&self, row: &[Cell], key: &[usize]) -> WrittenBy {
        let is_row =
            |(written, _): &&(Vec<Cell>, usize)| key.iter().zip(written).all(|(&column, cell)| row[column] == *cell);
        self.0.iter().rev().find(is_row).map(|(_, change)| *change)
    }
}

async fn play(case: &Arc<Case>, stage: &impl Stage, batch_changes: usize) -> Result<Played, Unjudged> {
    let mut rule = stage.rule(&case.settings).map_err(|error| Unjudged::Rule(error.to_string()))?;
    let mut table = stage.table();
    let mut source = CaseSource::open(case.clone(), batch_changes, None).map_err(unjudged)?;
    let plan = rule.configure(&case.tables).map_err(|error| Unjudged::Rule(error.to_string()))?;
    let history = case.history(&plan.history)?;
    table.prepare(&plan.history).await.map_err(unjudged)?;
    let mut position = crate::event::Position("case/1 done=0".into());
    let load = |upserts, deletes, position| Load {
        upserts,
        deletes,
        ..Load::empty(Checkpoint { source: "case".into(), position })
    };
    let no_deletes = Rows::new(plan.history.primary_key.len());
    table.commit(&load(history, no_deletes, position.clone())).await.map_err(unjudged)?;

    let mut played = Played {
        plan: plan.clone(),
        rows: Rows::default(),
        written: Written::default(),
        rejects: Vec::new(),
        failed: None,
    };
    while let Some((batch, after)) = source.next().await.map_err(unjudged)? {
        position = after;
        let (mut groups, no_entity) = groups::group(&batch, &plan).map_err(Unjudged::Rule)?;
        let in_file = |change: u32| batch.changes[change as usize].at as usize;
        played.rejects.extend(no_entity.into_iter().map(|none| (in_file(none.change), none.reason)));
        if groups.is_empty() {
            continue;
        }
        groups.history = table.entity_rows(&groups.keys, plan.scope).await.map_err(unjudged)?;
        match rule.transform(&groups) {
            Ok(decision) => {
                let cause = |entry: u32| in_file(groups.entries[entry as usize].change);
                played.rejects.extend(decision.rejects.into_iter().map(|reject| (cause(reject.entry), reject.reason)));
                for (row, &entry) in decision.upserts.iter().zip(&decision.upsert_causes) {
                    played.written.add(row, &plan.history.primary_key, cause(entry));
                }
                table.commit(&load(decision.upserts, decision.deletes, position.clone())).await.map_err(unjudged)?;
            }
            Err(error) => {
                played.failed = Some(error.to_string());
                break;
            }
        }
    }
    played.rejects.sort();
    played.rows = table.all_rows();
    Ok(played)
}

fn unjudged(error: impl std::fmt::Display) -> Unjudged {
    Unjudged::Rule(error.to_string())
}

fn differences(played: &Played, expected: &[Vec<Cell>], expected_rejects: &[ExpectedReject]) -> Vec<Difference> {
    if let Some(error) = &played.failed {
        return vec![Difference::Failed(error.clone())];
    }
    let mut differences = row_differences(&played.rows, expected, &played.plan.history.primary_key, &played.written);
    let mut rejects = played.rejects.clone();
    for wanted in expected_rejects {
        let met = |(change, reason): &(usize, String)| {
            *change == wanted.change && wanted.reason.as_ref().is_none_or(|wanted| wanted == reason)
        };
        match rejects.iter().position(met) {
            Some(met) => {
                rejects.remove(met);
            }
            None => differences.push(Difference::MissingReject(wanted.clone())),
        }
    }
    let unexpected = |(change, reason)| Difference::UnexpectedReject { change, reason };
    differences.extend(rejects.into_iter().map(unexpected));
    differences
}

/// Rows are told apart by their primary key. Expected rows whose key holds a wildcard take what the others left over,
/// a row equal to them first.
fn row_differences(got: &Rows, expected: &[Vec<Cell>], key: &[usize], written: &Written) -> Vec<Difference> {
    let mut left: Vec<Row<'_>> = got.iter().collect();
    let same_key = |wanted: &[Cell], row: &Row<'_>| key.iter().all(|&column| wanted[column].matches(row.get(column)));
    let equal =
        |wanted: &[Cell], row: &Row<'_>| wanted.iter().zip(row.values()).all(|(cell, value)| cell.matches(value));
    let has_wildcard = |wanted: &&Vec<Cell>| key.iter().any(|&column| wanted[column] == Cell::Any);
    let (wild, plain): (Vec<&Vec<Cell>>, Vec<&Vec<Cell>>) = expected.iter().partition(has_wildcard);
    let mut differences = Vec::new();
    for wanted in plain.into_iter().chain(wild) {
        let met = left.iter().position(|row| equal(wanted, row));
        let Some(met) = met.or_else(|| left.iter().position(|row| same_key(wanted, row))) else {
            differences.push(Difference::Missing(wanted.clone()));
            continue;
        };
        let row = left.swap_remove(met);
        let cells: Vec<(usize, Cell)> = wanted
            .iter()
            .zip(row.values())
            .enumerate()
            .filter(|(_, (cell, value))| !cell.matches(*value))
            .map(|(column, (cell, _))| (column, cell.clone()))
            .collect();
        if !cells.is_empty() {
            let got = owned(row);
            let written_by = written.last(&got, key);
            differences.push(Difference::Cells { got, cells, written_by });
        }
    }
    differences.extend(left.into_iter().map(owned).map(|got| {
        let written_by = written.last(&got, key);
        Difference::Unexpected { got, written_by }
    }));
    differences
}

fn owned(row: Row<'_>) -> Vec<Cell> {
    row.values()
        .map(|value| match value {
            Value::Null | Value::Absent | Value::Undecoded => Cell::Null,
            Value::Int(value) => Cell::Int(value),
            Value::UInt(value) => Cell::UInt(value),
            Value::Float(value) => Cell::Float(value),
            Value::Text(text) => Cell::Text(text.to_owned()),
            Value::Bytes(bytes) => Cell::Bytes(bytes.to_vec()),
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests;
