//! Finds the entity that a rule cannot do, in a batch that failed as a whole.

use super::{Rule, RuleError};
use crate::groups::Groups;

/// Halves the batch until one entity is left that fails alone; gives its group and the error. None when no part fails:
/// then it takes several entities together (memory or time of the whole batch).
pub fn find(rule: &mut dyn Rule, groups: &Groups<'_>) -> Option<(usize, RuleError)> {
    search(rule, groups, 0, groups.len())
}

fn search(rule: &mut dyn Rule, groups: &Groups<'_>, start: usize, end: usize) -> Option<(usize, RuleError)> {
    let error = match rule.transform(&groups.part(start..end)) {
        Err(error @ RuleError::Batch(_)) => error,
        _ => return None,
    };
    if end - start == 1 {
        return Some((start, error));
    }
    let middle = start + (end - start) / 2;
    search(rule, groups, start, middle).or_else(|| search(rule, groups, middle, end))
}
