//! A rule that is a wasm component: configured, called under its limits, its output checked.

use std::sync::Arc;

use wasmtime::Store;

use super::bindings::{self, types, wit};
use super::component::Component;
use super::engine::{self, Instance as Keep, State};
use super::{Decision, Plan, Rule, RuleError, check, plan, trap, wire};
use crate::event::TableSchema;
use crate::groups::Groups;

/// One batch in so many is decided again on a fresh instance, to catch a rule that keeps state.
const RECHECK_EVERY: u64 = 256;

/// The contract names a change's table by one byte.
const TABLES_MAX: usize = 256;

/// A component with its settings.
pub struct WasmRule {
    component: Component,
    settings: Vec<(String, String)>,
    configured: Option<Configured>,
    batches: u64,
}

struct Configured {
    tables: Vec<types::Table>,
    plan: Arc<Plan>,
    /// None after a trap: the next batch makes a fresh one.
    instance: Option<Instance>,
}

struct Instance {
    store: Store<State>,
    rule: bindings::Rule,
}

impl WasmRule {
    /// # Errors
    /// [`RuleError::Unfit`]: a setting that the rule does not know.
    pub fn new(component: Component, settings: Vec<(String, String)>) -> Result<Self, RuleError> {
        let known: Vec<&str> = component.description.settings.iter().map(|setting| setting.name.as_str()).collect();
        let unknown: Vec<&str> =
            settings.iter().map(|(name, _)| name.as_str()).filter(|name| !known.contains(name)).collect();
        if !unknown.is_empty() {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(RuleError::Unfit(format!(
                "rule {} does not know the setting {}; it knows {known}",
                component.description.name,
                unknown.join(", "),
            )));
        }
        Ok(WasmRule { component, settings, configured: None, batches: 0 })
    }

    /// The name the rule gives itself.
    pub fn name(&self) -> &str {
        &self.component.description.name
    }

    pub fn component(&self) -> &Component {
        &self.component
    }

    /// A fresh instance, configured for `tables`.
    fn start(&self, tables: &[types::Table]) -> Result<(Instance, wit::Plan), RuleError> {
        let unfit = |text: String| RuleError::Unfit(format!("rule {}: {text}", self.name()));
        let limits = &self.component.limits;
        let started = self.component.instantiate();
        let (mut store, rule) = started.map_err(|error| unfit(format!("does not start: {error:#}")))?;
        store.set_epoch_deadline(engine::ticks(limits.deadline));
        match rule.hindsight_transform_transformer().call_configure(&mut store, tables, &self.settings) {
            Ok(Ok(plan)) => Ok((Instance { store, rule }, plan)),
            Ok(Err(sentence)) => Err(unfit(trap::shortened(&sentence))),
            Err(error) => {
                Err(unfit(format!("`configure` failed: {}", trap::explain(&error, store.data_mut(), limits))))
            }
        }
    }

    /// Calls `transform` on a configured instance.
    fn enter(&self, instance: &mut Instance, batch: &wit::Batch) -> Result<wit::Output, Fault> {
        let limits = &self.component.limits;
        instance.store.set_epoch_deadline(engine::ticks(limits.deadline));
        match instance.rule.hindsight_transform_transformer().call_transform(&mut instance.store, batch) {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(sentence)) => Err(Fault::Said(trap::shortened(&sentence))),
            Err(error) => Err(Fault::Trapped(trap::explain(&error, instance.store.data_mut(), limits))),
        }
    }
}

enum Fault {
    /// The rule answered with an error; its instance lives.
    Said(String),
    /// The instance cannot be entered again.
    Trapped(String),
}

impl Fault {
    fn text(self) -> String {
        match self {
            Fault::Said(sentence) => format!("it said: {sentence}"),
            Fault::Trapped(text) => text,
        }
    }
}

impl Rule for WasmRule {
    fn configure(&mut self, tables: &[Arc<TableSchema>]) -> Result<Arc<Plan>, RuleError> {
        if tables.len() > TABLES_MAX {
            return Err(RuleError::Unfit(format!(
                "{} tables were met, the last {}; a rule sees at most {TABLES_MAX}. Give the pipeline fewer tables, and the others one of their own",
                tables.len(),
                tables[tables.len() - 1].name,
            )));
        }
        let wit_tables: Vec<types::Table> = tables.iter().map(|table| wire::table(table)).collect();
        let (instance, answer) = self.start(&wit_tables)?;
        let plan = plan::check(answer, tables).map_err(|faults| {
            RuleError::Unfit(format!("rule {}: its plan does not fit: {}", self.name(), faults.join("; ")))
        })?;
        let plan = Arc::new(plan);
        self.configured = Some(Configured { tables: wit_tables, plan: plan.clone(), instance: Some(instance) });
        Ok(plan)
    }

    fn transform(&mut self, groups: &Groups<'_>) -> Result<Decision, RuleError> {
        let batch = self.pack(groups)?;
        let output = self.call(&batch)?;
        self.check(&output, groups)
    }
}

/// The steps of `transform`, which benches also take one by one.
impl WasmRule {
    /// The groups as the contract's columns.
    pub fn pack(&self, groups: &Groups<'_>) -> Result<wit::Batch, RuleError> {
        wire::batch(groups, self.plan()).map_err(RuleError::Batch)
    }

    /// The component's answer, as it gave it.
    pub fn call(&mut self, batch: &wit::Batch) -> Result<wit::Output, RuleError> {
        let mut configured = self.configured.take().expect("configure comes before transform");
        let output = self.ask(&mut configured, batch);
        self.configured = Some(configured);
        self.batches += 1;
        output
    }

    /// The answer as whole rows, if it keeps the contract.
    pub fn check(&self, output: &wit::Output, groups: &Groups<'_>) -> Result<Decision, RuleError> {
        check::decision(output, groups, self.plan(), &self.component.limits)
            .map_err(|breach| RuleError::Batch(format!("its output breaks the contract: {breach}")))
    }

    fn plan(&self) -> &Plan {
        &self.configured.as_ref().expect("configure comes before transform").plan
    }

    fn ask(&self, configured: &mut Configured, batch: &wit::Batch) -> Result<wit::Output, RuleError> {
        let mut instance = match configured.instance.take() {
            Some(instance) => instance,
            None => self.start(&configured.tables)?.0,
        };
        let called = self.enter(&mut instance, batch);
        let keep = self.component.limits.instance == Keep::Kept && !matches!(called, Err(Fault::Trapped(_)));
        if keep {
            configured.instance = Some(instance);
        }
        let output = called.map_err(|fault| RuleError::Batch(fault.text()))?;
        if keep && self.batches % RECHECK_EVERY == RECHECK_EVERY - 1 {
            self.recheck(&configured.tables, batch, &output)?;
        }
        Ok(output)
    }

    /// A rule is a pure function: a fresh instance says the same.
    fn recheck(&self, tables: &[types::Table], batch: &wit::Batch, output: &wit::Output) -> Result<(), RuleError> {
        let (mut fresh, _) = self.start(tables)?;
        match self.enter(&mut fresh, batch) {
            Ok(again) if again == *output => Ok(()),
            Ok(_) => Err(RuleError::Stop(format!(
                "rule {} keeps state between batches: a fresh instance decides the same batch differently. \
                 What it remembered is in the history already; mend the rule and start a new history, or set limits.instance = \"fresh\"",
                self.name(),
            ))),
            Err(fault) => Err(RuleError::Stop(format!(
                "rule {} fails on a fresh instance with a batch that it had decided before: {}. It keeps state between batches, \
                 or its limits are too tight; mend the rule, or raise rule.limits",
                self.name(),
                fault.text(),
            ))),
        }
    }
}
