//! `hindsight dry-run`: the rows that the next changes would write, decided as `run` does and written nowhere.
//!
//! It is the pipeline itself, from the checkpoint, over a history that is only looked at; the rule in it notes what it
//! decides. What the source has now is read, then it ends.

use std::sync::{Arc, Mutex};

use comfy_table::{Table, presets};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::assemble::{self, Parts};
use crate::cli::DryRun;
use crate::config::Config;
use crate::event::TableSchema;
use crate::failure::Outcome;
use crate::groups::Groups;
use crate::history::HistorySchema;
use crate::output;
use crate::pipeline::{self, Opening, Switches};
use crate::rows::{Row, Rows};
use crate::rule::{Decision, Plan, Rule, RuleError};

/// # Errors
/// As `run`; what was decided before is shown all the same.
pub async fn dry_run(args: &DryRun) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let Parts { source, opening, mut sink, pipeline, .. } = assemble::dry_parts(&config).await?;
    let (stop, stopped) = watch::channel(false);
    let (_running, paused) = watch::channel(false);
    let (_nobody, exchanges) = mpsc::channel(1);
    let switches = Switches { stop: stopped, paused, exchanges };
    let notes = Arc::new(Mutex::new(Notes { plan: None, noted: Vec::new(), more: false, limit: args.limit, stop }));
    let rule = Box::new(Noting { rule: opening.rule, notes: notes.clone() });
    let opening = Opening { rule, ..opening };
    let outcome =
        pipeline::run(source, opening, sink.as_mut(), &pipeline, switches, &mut |_, _, _| Ok(()), |_| {}).await;
    let notes = notes.lock().expect("nothing panics with it");
    match notes.plan.as_deref() {
        Some(plan) if args.json.json => output::print(&json_lines(&notes.noted, &plan.history))?,
        _ if args.json.json => {}
        Some(plan) if !notes.noted.is_empty() => output::print(&text(&notes, &plan.history))?,
        _ if outcome.is_ok() => output::print(&format!(
            "No row would be written: there is no change of {} left to read that leads to one\n",
            config.source.tables.join(", ")
        ))?,
        _ => {}
    }
    outcome.map(|_| ())
}

/// A row that would be written.
struct Noted {
    write: Write,
    /// One row.
    row: Rows,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Write {
    Upsert,
    /// The row is a primary key.
    Delete,
}

/// The change that leads to it.
struct Cause {
    op: char,
    table: String,
    /// `binlog.000003:4711 (gtid 3e11…:5)`
    place: String,
}

/// A rule that notes what another one decides.
struct Noting {
    rule: Box<dyn Rule>,
    notes: Arc<Mutex<Notes>>,
}

/// What was decided; has the pipeline end once it is enough.
struct Notes {
    plan: Option<Arc<Plan>>,
    noted: Vec<Noted>,
    /// More was decided than is noted.
    more: bool,
    limit: usize,
    stop: watch::Sender<bool>,
}

impl Rule for Noting {
    fn configure(&mut self, tables: &[Arc<TableSchema>]) -> Result<Arc<Plan>, RuleError> {
        let plan = self.rule.configure(tables)?;
        self.notes.lock().expect("nothing panics with it").plan = Some(plan.clone());
        Ok(plan)
    }

    fn transform(&mut self, groups: &Groups<'_>) -> Result<Decision, RuleError> {
        let decision = self.rule.transform(groups);
        let mut notes = self.notes.lock().expect("nothing panics with it");
        match &decision {
            Ok(decision) if decision.rejects.is_empty() => notes.note(decision, groups),
            // The pipeline ends here; the parts of the batch that it may still try, to name the entity, are no decision.
            _ => notes.limit = 0,
        }
        decision
    }
}

impl Notes {
    fn note(&mut self, decision: &Decision, groups: &Groups<'_>) {
        let deletes = decision.deletes.iter().zip(&decision.delete_causes);
        let upserts = decision.upserts.iter().zip(&decision.upsert_causes);
        let writes = deletes
            .map(|(row, cause)| (Write::Delete, row, *cause))
            .chain(upserts.map(|(row, cause)| (Write::Upsert, row, *cause)));
        for (write, row, cause) in writes {
            if self.noted.len() >= self.limit {
                self.more = true;
                break;
            }
            self.noted.push(Noted { write, row: one(row), cause: Cause::of(groups, cause) });
        }
        if self.noted.len() >= self.limit {
            self.stop.send_replace(true);
        }
    }
}

impl Cause {
    fn of(groups: &Groups<'_>, entry: u32) -> Self {
        let change = groups.change(entry);
        Cause {
            op: change.op.letter(),
            table: groups.batch.schema(change).name.clone(),
            place: groups.batch.place(change),
        }
    }
}

fn one(row: Row<'_>) -> Rows {
    let values = row.values();
    let mut rows = Rows::new(values.len());
    rows.push_row(values);
    rows
}

impl Noted {
    /// Positions of its values in the history table.
    fn columns(&self, history: &HistorySchema) -> Vec<usize> {
        match self.write {
            Write::Upsert => (0..history.columns.len()).collect(),
            Write::Delete => history.primary_key.clone(),
        }
    }

    fn name(&self) -> &'static str {
        match self.write {
            Write::Upsert => "upsert",
            Write::Delete => "delete",
        }
    }
}

fn text(notes: &Notes, history: &HistorySchema) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let names = history.columns.iter().map(|column| column.field.name.as_str());
    table.set_header(["write"].into_iter().chain(names).chain(["because of"]));
    for noted in &notes.noted {
        let columns = noted.columns(history);
        let mut cells = vec![String::new(); history.columns.len()];
        for (i, &column) in columns.iter().enumerate() {
            cells[column] = output::cell(noted.row.row(0).get(i), history.columns[column].field.logical);
        }
        let Cause { op, table: from, place } = &noted.cause;
        table.add_row([noted.name().to_owned()].into_iter().chain(cells).chain([format!("{op} of {from} at {place}")]));
    }
    let n_rows = output::grouped(notes.noted.len() as u64);
    let more = if notes.more { " (--limit shows more)" } else { "" };
    format!("{table}\n{n_rows} rows that `run` would write next{more}; nothing was written\n")
}

/// One object a line.
fn json_lines(noted: &[Noted], history: &HistorySchema) -> String {
    let line = |noted: &Noted| {
        let columns = noted.columns(history).into_iter().enumerate();
        let row: serde_json::Map<_, _> = columns
            .map(|(i, column)| {
                let field = &history.columns[column].field;
                (field.name.clone(), output::json(noted.row.row(0).get(i), field.logical))
            })
            .collect();
        let Cause { op, table, place } = &noted.cause;
        let cause = json!({ "op": op.to_string(), "table": table, "place": place });
        format!("{}\n", json!({ "op": noted.name(), "row": row, "cause": cause }))
    };
    noted.iter().map(line).collect()
}
