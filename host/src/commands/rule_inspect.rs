//! `hindsight rule inspect`: what a component is, what it asks for, and what it would write.

use std::path::Path;
use std::sync::Arc;

use comfy_table::{Table, presets};
use serde_json::json;

use crate::event::{Field, TableSchema};
use crate::failure::{Failure, Outcome};
use crate::history::{HistorySchema, Scope};
use crate::output;
use crate::rule::{Component, Plan, Rule, RuleError, Setting, WasmRule};
use crate::source::cases::{Case, default_table};

/// The tables that a plan is made for, and settings for it.
pub struct Subject {
    pub tables: Vec<Arc<TableSchema>>,
    pub settings: Vec<(String, String)>,
    /// Whether the user named them: a rule that makes no plan for the reference table is no fault of anyone.
    pub asked_for: bool,
}

impl Subject {
    /// The reference table, or what the case file says; `settings` win over the file's.
    ///
    /// # Errors
    /// Exit code 2: the case file does not load.
    pub fn read(case: Option<&Path>, settings: Vec<(String, String)>) -> Outcome<Self> {
        let asked_for = case.is_some() || !settings.is_empty();
        let (tables, mut all) = match case {
            Some(path) => {
                let case = Case::load(path).map_err(Failure::usage)?;
                (case.tables, case.settings)
            }
            None => (vec![Arc::new(default_table())], Vec::new()),
        };
        all.retain(|(name, _)| settings.iter().all(|(other, _)| other != name));
        all.extend(settings);
        Ok(Subject { tables, settings: all, asked_for })
    }
}

/// # Errors
/// Exit code 2: the rule makes no plan for the tables and settings that were asked for.
pub fn rule_inspect(inspected: &Inspected, asked_for: bool, json: bool) -> Outcome<()> {
    if json {
        output::print_json(&inspected.json())?;
    } else {
        output::print(&inspected.text())?;
    }
    match &inspected.plan {
        Err(reason) if asked_for => Err(Failure::usage(anyhow::anyhow!("{reason}"))),
        _ => Ok(()),
    }
}

/// Everything there is to show.
#[derive(Debug)]
pub struct Inspected {
    /// `builtin:NAME` or the path.
    pub place: String,
    pub size_bytes: usize,
    /// SHA-256 of the component's bytes, in hexadecimal digits.
    pub digest: String,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub name: String,
    pub version: String,
    pub summary: String,
    pub settings: Vec<Setting>,
    pub tables: Vec<Arc<TableSchema>>,
    /// The plan for these tables, or why the rule makes none.
    pub plan: Result<Arc<Plan>, String>,
}

impl Inspected {
    /// Asks the component for its plan.
    pub fn of(component: Component, subject: &Subject) -> Self {
        let plan = WasmRule::new(component.clone(), subject.settings.clone())
            .and_then(|mut rule| rule.configure(&subject.tables))
            .map_err(|error: RuleError| error.to_string());
        Inspected {
            place: component.origin,
            size_bytes: component.size_bytes,
            digest: component.digest,
            imports: component.imports,
            exports: component.exports,
            name: component.description.name,
            version: component.description.version,
            summary: component.description.summary,
            settings: component.description.settings,
            tables: subject.tables.clone(),
            plan,
        }
    }

    pub fn text(&self) -> String {
        let mut out = format!("{} {}: {}\n\n", self.name, self.version, self.summary);
        let mut line = |name: &str, value: &str| out += &format!("{name:<12}{value}\n");
        line("component", &format!("{}, {} bytes", self.place, self.size_bytes));
        line("digest", &format!("sha256:{}", self.digest));
        line("imports", &listed(&self.imports));
        line("exports", &listed(&self.exports));
        line("settings", if self.settings.is_empty() { "none" } else { "" });
        for Setting { name, summary, default } in &self.settings {
            let default = default.as_ref().map_or("no default".into(), |default| format!("default {default:?}"));
            line("", &format!("{name} ({default}): {summary}"));
        }
        let names: Vec<&str> = self.tables.iter().map(|table| table.name.as_str()).collect();
        out += &format!("\nPlan for {}\n", names.join(", "));
        match &self.plan {
            Ok(plan) => out += &plan_text(plan, &self.tables),
            Err(reason) => {
                out += &format!("  none: {reason}\n  --table CASE names a case file with the tables it is made for\n");
            }
        }
        out
    }

    pub fn json(&self) -> serde_json::Value {
        let settings: Vec<_> = self
            .settings
            .iter()
            .map(|setting| json!({ "name": setting.name, "summary": setting.summary, "default": setting.default }))
            .collect();
        let mut value = json!({
            "component": self.place,
            "size_bytes": self.size_bytes,
            "digest": format!("sha256:{}", self.digest),
            "imports": self.imports,
            "exports": self.exports,
            "name": self.name,
            "version": self.version,
            "summary": self.summary,
            "settings": settings,
        });
        match &self.plan {
            Ok(plan) => value["plan"] = plan_json(plan, &self.tables),
            Err(reason) => value["plan_refused"] = reason.clone().into(),
        }
        value
    }
}

fn plan_text(plan: &Plan, tables: &[Arc<TableSchema>]) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| out += &format!("  {name:<14}{value}\n");
    for (table, wanted) in tables.iter().zip(&plan.tables) {
        line("table", &table.name);
        line("  entity key", &names(&table.fields, &wanted.entity_key));
        line("  after", &names(&table.fields, &wanted.after));
        line("  before", &names(&table.fields, &wanted.before));
    }
    line("sees", &format!("{} of an entity: {}", scope_text(plan.scope), history_names(&plan.history, &plan.read)));
    line("revises", &history_names(&plan.history, &plan.revise));
    line("replay-safe", if plan.replay_safe { "yes" } else { "no" });
    line("complete", if plan.complete { "yes: every source row has a current row" } else { "no" });
    let mut columns = Table::new();
    columns.load_style(presets::UTF8_FULL_CONDENSED).set_header(["history column", "type", "", "from", "role"]);
    for (number, column) in plan.history.columns.iter().enumerate() {
        let Field { name, declared, nullable, .. } = &column.field;
        let null = if *nullable { "" } else { "not null" };
        let from = column.source.as_deref().unwrap_or("the rule");
        columns.add_row([name, declared, null, from, &roles(&plan.history, number).join(", ")]);
    }
    out + &columns.to_string() + "\n"
}

fn plan_json(plan: &Plan, tables: &[Arc<TableSchema>]) -> serde_json::Value {
    let picked = |fields: &[Field], columns: &[usize]| -> Vec<String> {
        columns.iter().map(|&column| fields[column].name.clone()).collect()
    };
    let uses = tables.iter().zip(&plan.tables).map(|(table, wanted)| {
        json!({
            "table": table.name,
            "entity_key": picked(&table.fields, &wanted.entity_key),
            "after": picked(&table.fields, &wanted.after),
            "before": picked(&table.fields, &wanted.before),
        })
    });
    let fields: Vec<Field> = plan.history.columns.iter().map(|column| column.field.clone()).collect();
    let columns = plan.history.columns.iter().enumerate().map(|(number, column)| {
        json!({
            "name": column.field.name,
            "type": column.field.logical.name(),
            "declared": column.field.declared,
            "nullable": column.field.nullable,
            "source": column.source,
            "roles": roles(&plan.history, number),
        })
    });
    json!({
        "tables": uses.collect::<Vec<_>>(),
        "history": columns.collect::<Vec<_>>(),
        "primary_key": picked(&fields, &plan.history.primary_key),
        "scope": match plan.scope { Scope::CurrentRows => "current-rows", Scope::AllRows => "all-rows" },
        "read": picked(&fields, &plan.read),
        "revise": picked(&fields, &plan.revise),
        "replay_safe": plan.replay_safe,
        "complete": plan.complete,
    })
}

/// What a history column is for.
fn roles(history: &HistorySchema, column: usize) -> Vec<&'static str> {
    let of = |is: bool, name| is.then_some(name);
    [
        of(history.primary_key.contains(&column), "primary key"),
        of(history.roles.entity_key.contains(&column), "entity key"),
        of(history.roles.start == column, "interval start"),
        of(history.roles.end == column, "interval end"),
        of(history.roles.current == Some(column), "current flag"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn scope_text(scope: Scope) -> &'static str {
    match scope {
        Scope::CurrentRows => "the current rows",
        Scope::AllRows => "all rows",
    }
}

fn names(fields: &[Field], columns: &[usize]) -> String {
    listed(&columns.iter().map(|&column| fields[column].name.as_str()).collect::<Vec<_>>())
}

fn history_names(history: &HistorySchema, columns: &[usize]) -> String {
    listed(&columns.iter().map(|&column| history.columns[column].field.name.as_str()).collect::<Vec<_>>())
}

fn listed<T: AsRef<str>>(texts: &[T]) -> String {
    if texts.is_empty() {
        return "none".into();
    }
    texts.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Stage;
    use crate::judge::tests::Behaviour;

    fn inspected(plan: Result<Arc<Plan>, String>) -> Inspected {
        Inspected {
            place: "mine.wasm".into(),
            size_bytes: 4711,
            digest: "00ff".into(),
            imports: vec!["hindsight:transform/log@0.1.0".into()],
            exports: vec![],
            name: "counting".into(),
            version: "1.2.3".into(),
            summary: "counts".into(),
            settings: vec![Setting { name: "owner".into(), summary: "whose".into(), default: Some("owner_id".into()) }],
            tables: vec![Arc::new(default_table())],
            plan,
        }
    }

    #[test]
    fn a_rule_is_shown_with_what_it_wants_and_writes() {
        let tables = vec![Arc::new(default_table())];
        let plan = Behaviour::Counts.rule(&[]).and_then(|mut rule| rule.configure(&tables)).expect("a plan");
        let inspected = inspected(Ok(plan));
        let text = inspected.text();
        for wanted in [
            "counting 1.2.3: counts",
            "mine.wasm, 4711 bytes",
            "sha256:00ff",
            "hindsight:transform/log@0.1.0",
            "exports     none",
            "owner (default \"owner_id\"): whose",
            "entity key  owner_id",
            "all rows of an entity: owner_id, changes",
            "primary key, entity key",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
        }
        let json = inspected.json();
        assert_eq!(json["plan"]["tables"][0]["after"], serde_json::json!(["id"]));
        assert_eq!(json["plan"]["history"][1]["roles"], serde_json::json!(["interval start", "interval end"]));
    }

    #[test]
    fn a_rule_without_a_plan_is_shown_with_its_reason_and_fails_only_where_the_table_was_asked_for() {
        let inspected = inspected(Err("there is no column customer".into()));
        assert!(inspected.text().contains("none: there is no column customer\n"), "{}", inspected.text());
        assert_eq!(inspected.json()["plan_refused"], "there is no column customer");
        assert!(rule_inspect(&inspected, false, true).is_ok());
        let failure = rule_inspect(&inspected, true, true).expect_err("the table was asked for");
        assert_eq!(failure.exit, crate::failure::Exit::Usage);
    }

    #[test]
    fn settings_of_the_command_line_win_over_the_case_files() {
        let folder = tempfile::tempdir().expect("make a temporary folder");
        let path = folder.path().join("case.toml");
        std::fs::write(&path, "settings = { a = 1, b = 2 }\n[expect]\nhistory = []\n").expect("write a case file");
        let subject = Subject::read(Some(&path), vec![("b".into(), "3".into())]).expect("the case file loads");
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(subject.settings, [setting("a", "1"), setting("b", "3")]);
    }
}
