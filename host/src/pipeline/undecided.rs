//! What is said of a change that cannot be decided: which rule, entity, change and place.

use anyhow::anyhow;

use super::deciding::Aside;
use crate::dead_letter::Cause;
use crate::event::Batch;
use crate::failure::Failure;
use crate::groups::{Moved, NoEntity};

/// The pipeline stops at it.
pub fn stopped(aside: &Aside, batch: &Batch, rule: &str) -> Failure {
    Failure::run(anyhow!("{}. Nothing of this batch was written", sentence(aside, batch, rule)))
}

/// One too many.
pub fn too_many(aside: &Aside, batch: &Batch, rule: &str, max: usize, among: usize) -> Failure {
    Failure::run(anyhow!(
        "more than {max} of the last {among} changes cannot be decided, which is what rule.limits.rejects allows. The last one: {}. \
         Nothing of this batch was written. Mend the rule, or raise the limit",
        sentence(aside, batch, rule)
    ))
}

pub fn without_entity(reject: &NoEntity, batch: &Batch) -> Failure {
    let NoEntity { change, entity, reason } = reject.clone();
    let aside = Aside { change, moved: Moved::Stays, entity, cause: Cause::NoEntity, reason };
    stopped(&aside, batch, "")
}

fn sentence(aside: &Aside, batch: &Batch, rule: &str) -> String {
    let Aside { change, moved, entity, cause, reason } = aside;
    let change = &batch.changes[*change as usize];
    let (op, place) = (change.op.letter(), batch.place(change));
    let entity = entity.as_ref().map(|entity| format!(" of entity {entity}")).unwrap_or_default();
    let side = match moved {
        Moved::Stays => "",
        Moved::Leaves => ", the entity it leaves",
        Moved::Arrives => ", the entity it arrives at",
    };
    match cause {
        Cause::Failed => {
            format!(
                "rule {rule} failed on{} (change {op}{side} at {place}): {reason}",
                entity.trim_start_matches(" of")
            )
        }
        Cause::NoEntity => format!("change {op}{entity} at {place} cannot be given to the rule: {reason}"),
        Cause::Rejected | Cause::Follows => {
            format!("rule {rule} rejects change {op}{entity}{side} at {place}: {reason}")
        }
    }
}
