//! Rules: a fault, an endpoint, and which of its calls.

use serde::{Deserialize, Serialize};

use super::fault::{ENDPOINTS, Fault};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rule {
    pub endpoint: String,
    #[serde(flatten)]
    pub fault: Fault,
    #[serde(default)]
    pub when: When,
    /// So often at the most; None: without end.
    #[serde(default)]
    pub times: Option<u64>,
    /// Only for labels that begin so.
    #[serde(default)]
    pub label: Option<String>,
    /// Only at this node: `fe0`, `be1`, `mysql1`.
    #[serde(default)]
    pub node: Option<String>,
}

/// Which of the calls that a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    #[default]
    Every,
    /// Only this one, counted from 1.
    Nth(u64),
    /// By chance, from this seed.
    Probability { p: f64, seed: u64 },
}

impl Rule {
    pub fn new(endpoint: &str, fault: Fault) -> Self {
        Rule { endpoint: endpoint.to_owned(), fault, when: When::Every, times: None, label: None, node: None }
    }

    pub fn nth(mut self, n: u64) -> Self {
        self.when = When::Nth(n);
        self
    }

    pub fn times(mut self, n: u64) -> Self {
        self.times = Some(n);
        self
    }

    pub fn label(mut self, begins_with: &str) -> Self {
        self.label = Some(begins_with.to_owned());
        self
    }

    fn check(&self) -> Result<(), String> {
        if !ENDPOINTS.contains(&self.endpoint.as_str()) {
            return Err(format!("there is no endpoint {}; there are {}", self.endpoint, ENDPOINTS.join(", ")));
        }
        if !self.fault.plays_at(&self.endpoint) {
            return Err(format!("{} has no effect at {}", self.fault.name(), self.endpoint));
        }
        match self.when {
            When::Probability { p, .. } if !(0.0..=1.0).contains(&p) => Err(format!("{p} is no probability")),
            When::Nth(0) => Err("calls are counted from 1".into()),
            _ => Ok(()),
        }
    }
}

/// A call that a fault is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    pub node: &'a str,
    /// `be.load`
    pub hop: &'a str,
    /// `load`, where this node carries the operation out.
    pub operation: Option<&'a str>,
    pub label: &'a str,
}

/// Rules that can be open together.
const RULES_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub struct Faults {
    rules: Vec<Open>,
    n: u64,
}

#[derive(Debug)]
struct Open {
    id: u64,
    rule: Rule,
    n_seen: u64,
    n_played: u64,
    chance: fastrand::Rng,
}

/// A rule with what has come of it.
#[derive(Clone, Debug, Serialize)]
pub struct Listed {
    pub id: u64,
    #[serde(flatten)]
    pub rule: Rule,
    pub seen: u64,
    pub played: u64,
}

impl Faults {
    pub fn add(&mut self, rule: Rule) -> Result<u64, String> {
        rule.check()?;
        if self.rules.len() >= RULES_MAX {
            return Err(format!("there are {RULES_MAX} rules"));
        }
        self.n += 1;
        let seed = if let When::Probability { seed, .. } = rule.when { seed } else { 0 };
        self.rules.push(Open { id: self.n, rule, n_seen: 0, n_played: 0, chance: fastrand::Rng::with_seed(seed) });
        Ok(self.n)
    }

    /// One rule, or all.
    pub fn clear(&mut self, id: Option<u64>) {
        self.rules.retain(|open| id.is_some_and(|id| id != open.id));
    }

    pub fn list(&self) -> Vec<Listed> {
        let listed =
            |open: &Open| Listed { id: open.id, rule: open.rule.clone(), seen: open.n_seen, played: open.n_played };
        self.rules.iter().map(listed).collect()
    }

    /// The first rule that has a fault for the call. Every rule for it counts it.
    pub fn pick(&mut self, asked: &Asked<'_>) -> Option<Fault> {
        let mut picked = None;
        for open in &mut self.rules {
            let rule = &open.rule;
            let is_for = (rule.endpoint == asked.hop || Some(rule.endpoint.as_str()) == asked.operation)
                && rule.label.as_deref().is_none_or(|prefix| asked.label.starts_with(prefix))
                && rule.node.as_deref().is_none_or(|node| asked.node == node);
            if !is_for {
                continue;
            }
            open.n_seen += 1;
            let is_due = match rule.when {
                When::Every => true,
                When::Nth(n) => n == open.n_seen,
                When::Probability { p, .. } => open.chance.f64() < p,
            };
            if is_due && picked.is_none() && rule.times.is_none_or(|times| open.n_played < times) {
                open.n_played += 1;
                picked = Some(rule.fault.clone());
            }
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_plays_at_its_calls_and_nowhere_else() {
        let mut faults = Faults::default();
        faults.add(Rule::new("load", Fault::TxnInProcessing).times(2).label("a-")).unwrap();
        faults.add(Rule::new("be.load", Fault::LoseReply).nth(4)).unwrap();
        let asked = |label: &'static str| Asked { node: "be0", hop: "be.load", operation: Some("load"), label };
        let mut pick = |label| faults.pick(&asked(label)).map(|fault| fault.name());
        assert_eq!(pick("b-1"), None);
        assert_eq!(pick("a-1").as_deref(), Some("txn_in_processing"));
        assert_eq!(pick("a-2").as_deref(), Some("txn_in_processing"));
        assert_eq!(pick("a-3").as_deref(), Some("lose_reply"));
        assert_eq!(pick("a-4"), None);
    }

    #[test]
    fn a_rule_that_could_never_play_is_refused() {
        let mut faults = Faults::default();
        let mut refused = |rule: &str| {
            let rule: Rule = serde_json::from_str(rule).unwrap();
            faults.add(rule).unwrap_err()
        };
        assert!(refused(r#"{"endpoint":"be.lod","fault":"lose_reply"}"#).starts_with("there is no endpoint be.lod"));
        assert_eq!(refused(r#"{"endpoint":"cancel","fault":"disk_full"}"#), "disk_full has no effect at cancel");
        let nth = r#"{"endpoint":"be.begin","fault":"late_abort","after_ms":5,"when":{"nth":0}}"#;
        assert_eq!(refused(nth), "late_abort has no effect at be.begin");
    }
}
