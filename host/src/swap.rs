//! Exchanges the rule of a running pipeline: verifies a candidate beside it, hands it over, and tells what came of it.
//!
//! Everything that takes time (compiling, configuring, comparing plans) happens here; the pipeline only puts one rule in
//! the other's place at a batch edge.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};

use crate::event::shapes;
use crate::ledger::{Reason, RuleVersion};
use crate::pipeline::{Exchange, Exchanged, Status};
use crate::rule::{self, Component, Limits, Rule, WasmRule};

/// A component that may become the rule.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// For people: a path, or `builtin:NAME`.
    pub origin: String,
    pub component: Vec<u8>,
    /// None: the active rule's.
    pub settings: Option<Vec<(String, String)>>,
}

/// Why an exchange was not made. The rule that was active goes on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The candidate cannot take the rule's place.
    #[error("{0}")]
    Unfit(String),
    /// Not now: there is no previous rule, or another exchange is under way.
    #[error("{0}")]
    NotNow(String),
    /// The pipeline ended before the exchange was durable; what its ledger says holds.
    #[error(
        "the pipeline ended before the exchange was committed: its ledger says which rule goes on (`hindsight rule list`)"
    )]
    Ended,
}

pub struct Manager {
    limits: Limits,
    time_zone: String,
    status: watch::Receiver<Status>,
    exchanges: mpsc::Sender<Exchange>,
    /// Held while an exchange is under way.
    turn: tokio::sync::Mutex<()>,
    /// The components of the active and the previous rule, where they were compiled in this process.
    compiled: Mutex<Vec<Component>>,
    /// Why no exchange is made at all.
    never: Option<&'static str>,
}

impl Manager {
    /// `status`: the pipeline's, which takes `exchanges`.
    pub fn new(
        limits: Limits,
        time_zone: String,
        status: watch::Receiver<Status>,
        exchanges: mpsc::Sender<Exchange>,
    ) -> Self {
        let (turn, compiled) = (tokio::sync::Mutex::new(()), Mutex::default());
        Manager { limits, time_zone, status, exchanges, turn, compiled, never: None }
    }

    /// The same, which refuses every exchange and says why.
    pub fn refusing(self, why: &'static str) -> Self {
        Manager { never: Some(why), ..self }
    }

    /// Goes on with another rule.
    pub async fn swap(&self, candidate: Candidate) -> Result<Exchanged, Refusal> {
        let _turn = self.turn()?;
        let Candidate { origin, component: bytes, settings } = candidate;
        let settings = settings.unwrap_or_else(|| self.status.borrow().version.settings.clone());
        let (limits, time_zone) = (self.limits.clone(), self.time_zone.clone());
        let loading = tokio::task::spawn_blocking(move || {
            let component = Component::load(&origin, &bytes, limits).map_err(unfit)?;
            let title = component.description.title();
            let version = RuleVersion::new(title, origin, bytes.into(), settings, &time_zone);
            Ok((component, Arc::new(version)))
        });
        let (component, version) = loading.await.expect("loading a component does not panic")?;
        self.exchange(component, version, Reason::Swap).await
    }

    /// Goes back to the previous rule.
    pub async fn rollback(&self) -> Result<Exchanged, Refusal> {
        let _turn = self.turn()?;
        let previous = self.status.borrow().previous.clone();
        let version = previous.ok_or_else(|| Refusal::NotNow("there is no previous rule to go back to".into()))?;
        let component = match self.compiled(&version) {
            Some(component) => component,
            None => {
                let (version, limits) = (version.clone(), self.limits.clone());
                let loading = tokio::task::spawn_blocking(move || {
                    Component::load(&version.origin, &version.component, limits).map_err(unfit)
                });
                loading.await.expect("loading a component does not panic")?
            }
        };
        self.exchange(component, version, Reason::Rollback).await
    }

    fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Refusal> {
        if let Some(why) = self.never {
            return Err(Refusal::NotNow(why.into()));
        }
        self.turn.try_lock().map_err(|_| Refusal::NotNow("another swap or rollback is under way".into()))
    }

    /// Verifies the candidate against what the pipeline has met of its source, and hands it over.
    async fn exchange(
        &self,
        component: Component,
        version: Arc<RuleVersion>,
        reason: Reason,
    ) -> Result<Exchanged, Refusal> {
        let status = self.status.borrow().clone();
        if version.digest == status.version.digest {
            return Err(Refusal::Unfit(format!("rule {version} is active already, with these settings")));
        }
        let (candidate, asked_for) = (component.clone(), version.clone());
        let verifying = tokio::task::spawn_blocking(move || verify(candidate, &asked_for, &status));
        let (rule, configured) = verifying.await.expect("verifying a rule does not panic")?;
        let (reply, answer) = oneshot::channel();
        let exchange = Exchange {
            rule: Box::new(rule),
            version: version.clone(),
            configured,
            reason,
            asked: Instant::now(),
            reply,
        };
        self.exchanges.send(exchange).await.map_err(|_| Refusal::Ended)?;
        let exchanged = answer.await.map_err(|_| Refusal::Ended)?.map_err(Refusal::Unfit)?;
        self.keep(component, &exchanged);
        // Who asks next sees it, also where that is at once; an error: the pipeline has ended since.
        let _ = self.status.clone().wait_for(|status| status.version.digest == exchanged.to.digest).await;
        Ok(exchanged)
    }

    fn compiled(&self, version: &RuleVersion) -> Option<Component> {
        let compiled = self.compiled.lock().expect("nothing panics with it");
        compiled.iter().find(|component| component.digest == version.component_digest).cloned()
    }

    fn keep(&self, component: Component, exchanged: &Exchanged) {
        let mut compiled = self.compiled.lock().expect("nothing panics with it");
        compiled.retain(|kept| kept.digest == exchanged.from.component_digest && kept.digest != component.digest);
        compiled.push(component);
    }
}

type Configured = (Vec<Arc<crate::event::TableSchema>>, Arc<rule::Plan>);

/// A rule ready to decide the next batch. Before the first captured row there is nothing to configure it for.
fn verify(
    component: Component,
    version: &RuleVersion,
    status: &Status,
) -> Result<(WasmRule, Option<Configured>), Refusal> {
    let mut rule = WasmRule::new(component, version.settings.clone()).map_err(unfit)?;
    let Some(active) = &status.plan else { return Ok((rule, None)) };
    let plan = rule.configure(&status.tables).map_err(unfit)?;
    let differences = rule::compare_plans(active, &plan);
    if !differences.is_empty() {
        return Err(Refusal::Unfit(format!(
            "rule {version} writes another history table than {}: {} (for {})",
            status.version,
            differences.join("; "),
            shapes(&status.tables),
        )));
    }
    Ok((rule, Some((status.tables.clone(), plan))))
}

fn unfit(error: rule::RuleError) -> Refusal {
    Refusal::Unfit(error.to_string())
}
