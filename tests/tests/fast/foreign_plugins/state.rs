//! A rule that remembers something between batches is found, by a fresh instance that decides differently.

use hindsight::rule::{Limits, Rule, RuleError};
use hindsight_tests::forged::{Forged, Transform, output};

use super::{batch, configured, groups, says};

/// One batch in so many is decided again: the host's own number, as its documentation says it.
const RECHECK_EVERY: usize = 256;

#[test]
fn a_rule_that_keeps_state_is_stopped_at_the_comparison() {
    let mut forgetful = output();
    forgetful.deletes.row.clear();
    forgetful.deletes.cause.clear();
    let remembers = Transform::Remembers(3, Box::new(output()), Box::new(forgetful));
    let (mut rule, plan) = configured(&Forged { transform: remembers, ..Forged::new() }, Limits::default()).unwrap();
    let batch = batch();
    let groups = groups(&batch, &plan);
    for number in 1..RECHECK_EVERY {
        rule.transform(&groups).unwrap_or_else(|error| panic!("batch {number}: {error}"));
    }
    match rule.transform(&groups) {
        Err(RuleError::Stop(text)) => {
            says(&text, &["rule forged keeps state", "limits.instance = \"fresh\"", "new history"])
        }
        other => panic!("a rule with a memory went on: {other:?}"),
    }
}

#[test]
fn a_rule_without_state_passes_the_comparison() {
    let (mut rule, plan) = configured(&Forged::new(), Limits::default()).unwrap();
    let batch = batch();
    let groups = groups(&batch, &plan);
    for number in 0..RECHECK_EVERY + 2 {
        rule.transform(&groups).unwrap_or_else(|error| panic!("batch {number}: {error}"));
    }
}
