//! Which rule a run begins with: the one that the ledger says is active, or the configuration's where that has changed.

use std::sync::Arc;

use crate::ledger::{Ledger, Reason, RuleVersion};

#[derive(Clone, Debug)]
pub struct Choice {
    pub version: Arc<RuleVersion>,
    /// What a rollback goes back to.
    pub previous: Option<Arc<RuleVersion>>,
    /// Why the ledger gets a turn with the first batch; none where it goes on as it stands.
    pub turn: Option<Reason>,
}

/// The configuration counts when it is new: the first time, and when it names another rule than at the start before. In
/// between a rule that was swapped in stays.
pub fn choose(ledger: &Ledger, configured: Arc<RuleVersion>) -> Choice {
    let Ledger { active, previous, configured: before, .. } = ledger;
    match active {
        None => Choice { version: configured, previous: None, turn: Some(Reason::Start) },
        Some(active) if before.as_ref() == Some(&configured.digest) => {
            Choice { version: active.clone(), previous: previous.clone(), turn: None }
        }
        // It says now what was swapped in before: that goes on, and the ledger learns what is configured.
        Some(active) if active.digest == configured.digest => {
            Choice { version: configured, previous: previous.clone(), turn: Some(Reason::Configuration) }
        }
        Some(active) => {
            Choice { version: configured, previous: Some(active.clone()), turn: Some(Reason::Configuration) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(component: &str) -> Arc<RuleVersion> {
        let component = component.as_bytes().into();
        Arc::new(RuleVersion::new("a rule".into(), "a.wasm".into(), component, Vec::new(), "UTC"))
    }

    fn ledger(active: &str, previous: Option<&str>, configured: &str) -> Ledger {
        Ledger {
            active: Some(version(active)),
            previous: previous.map(version),
            configured: Some(version(configured).digest.clone()),
            tables: None,
        }
    }

    #[test]
    fn a_swapped_rule_stays_until_the_configuration_names_another() {
        for (what, ledger, configured, wanted) in [
            ("the first start", Ledger::default(), "one", ("one", None, Some(Reason::Start))),
            ("nothing was swapped", ledger("one", None, "one"), "one", ("one", None, None)),
            ("a swap stays", ledger("two", Some("one"), "one"), "one", ("two", Some("one"), None)),
            ("a rollback stays", ledger("one", Some("two"), "one"), "one", ("one", Some("two"), None)),
            (
                "another file is a swap",
                ledger("two", Some("one"), "one"),
                "three",
                ("three", Some("two"), Some(Reason::Configuration)),
            ),
            (
                "the swapped one is configured now",
                ledger("two", Some("one"), "one"),
                "two",
                ("two", Some("one"), Some(Reason::Configuration)),
            ),
            (
                "and back in the file, though it is the previous one",
                ledger("two", Some("one"), "two"),
                "one",
                ("one", Some("two"), Some(Reason::Configuration)),
            ),
        ] {
            let (active, previous, turn) = wanted;
            let choice = choose(&ledger, version(configured));
            assert_eq!(choice.version, version(active), "{what}");
            assert_eq!(choice.previous, previous.map(version), "{what}");
            assert_eq!(choice.turn, turn, "{what}");
        }
    }
}
