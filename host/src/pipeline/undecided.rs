//! What is said of a change that cannot be decided: which rule, entity, change and place.

use anyhow::anyhow;

use crate::event::Batch;
use crate::failure::Failure;
use crate::groups::{Groups, Moved, NoEntity};
use crate::rule::{self, Reject, Rule, RuleError};

/// Names the entity that cannot be done, by deciding ever smaller parts of the batch.
pub fn failed(error: RuleError, rule: &mut dyn Rule, groups: &Groups<'_>, name: &str) -> Failure {
    let RuleError::Batch(whole) = &error else { return Failure::rule(error, true) };
    let (group, reason) = match rule::poison::find(rule, groups) {
        Some((group, reason)) => (group, reason.to_string()),
        None if groups.len() == 1 => (0, whole.clone()),
        None => {
            let (first, last) = (groups.change(0), groups.change(groups.entries.len() as u32 - 1));
            return Failure::run(anyhow!(
                "rule {name} failed on a batch of {} changes from {} to {}, though on none of its entities alone: {whole}",
                groups.entries.len(),
                groups.batch.place(first),
                groups.batch.place(last),
            ));
        }
    };
    let entries = groups.offsets[group]..groups.offsets[group + 1];
    let (first, last) = (groups.change(entries.start), groups.change(entries.end - 1));
    let n_changes = match entries.len() {
        1 => format!("change {} at {}", first.op.letter(), groups.batch.place(first)),
        n => format!("{n} changes from {} to {}", groups.batch.place(first), groups.batch.place(last)),
    };
    Failure::run(anyhow!(
        "rule {name} failed on entity {} ({n_changes}): {reason}. Nothing of this batch was written",
        groups.entity(group),
    ))
}

pub fn rejected(reject: &Reject, groups: &Groups<'_>, name: &str) -> Failure {
    let change = groups.change(reject.entry);
    let side = match groups.entries[reject.entry as usize].moved {
        Moved::Stays => "",
        Moved::Leaves => ", the entity it leaves",
        Moved::Arrives => ", the entity it arrives at",
    };
    Failure::run(anyhow!(
        "rule {name} rejects change {} of entity {}{side} at {}: {}. Nothing of this batch was written",
        change.op.letter(),
        groups.entity(groups.group_of(reject.entry)),
        groups.batch.place(change),
        reject.reason,
    ))
}

pub fn without_entity(reject: &NoEntity, batch: &Batch) -> Failure {
    let change = &batch.changes[reject.change as usize];
    let entity = reject.entity.as_ref().map(|entity| format!(" of entity {entity}")).unwrap_or_default();
    Failure::run(anyhow!(
        "change {}{entity} at {} cannot be given to the rule: {}. Nothing of this batch was written",
        change.op.letter(),
        batch.place(change),
        reject.reason,
    ))
}
