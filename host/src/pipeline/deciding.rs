//! A batch decided: what cannot be decided is set aside, and everything else stands.
//!
//! Entities do not know each other, so a batch that a rule fails on is halved until one entity is left, and that one is
//! shortened until its first change that fails. What comes before it is decided; it and what follows is set aside.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::dead_letter::{Cause, Quarantine};
use crate::event::Batch;
use crate::groups::{self, Entry, Groups, Moved, NoEntity};
use crate::rows::Rows;
use crate::rule::{Decision, Plan, Reject, Rule, RuleError};

/// What becomes of a change that cannot be decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnReject {
    /// It is set aside, and its entity's later changes follow it, in order.
    #[default]
    Quarantine,
    /// It is set aside; the entity's later changes are decided without it.
    Skip,
    /// The pipeline ends, with nothing of the batch written.
    Stop,
}

impl OnReject {
    /// As configurations say it.
    pub const ALL: [(&str, OnReject); 3] =
        [("quarantine", OnReject::Quarantine), ("skip", OnReject::Skip), ("stop", OnReject::Stop)];

    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

/// A change of a batch that is not decided, for one of its entities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aside {
    /// Position in [`Batch::changes`].
    pub change: u32,
    pub moved: Moved,
    pub entity: Option<String>,
    pub cause: Cause,
    pub reason: String,
}

/// A batch by entity, without what is set aside before any rule sees it.
pub struct Sorted<'b> {
    pub groups: Groups<'b>,
    pub aside: Vec<Aside>,
    /// Updates that move a row from one entity to another, set aside or not.
    pub n_moves: u64,
}

/// Groups a batch; changes without an entity, and those of entities in quarantine, are set aside.
///
/// # Errors
/// As [`groups::group`].
pub fn sort<'b>(
    batch: &'b Batch,
    plan: &Plan,
    quarantine: &Quarantine,
    on_reject: OnReject,
) -> Result<Sorted<'b>, String> {
    let (groups, no_entity) = groups::group(batch, plan)?;
    let n_moves = groups.entries.iter().filter(|entry| entry.moved == Moved::Leaves).count() as u64;
    if no_entity.is_empty() && quarantine.is_empty() {
        return Ok(Sorted { groups, aside: Vec::new(), n_moves });
    }
    let mut aside: Vec<Aside> = no_entity.into_iter().map(without_entity).collect();
    // By entity: from which change on it has to wait.
    let mut waits: FxHashMap<&str, u32> = FxHashMap::default();
    if on_reject != OnReject::Skip {
        for Aside { change, entity, .. } in aside.iter().rev() {
            entity.as_deref().map(|entity| waits.insert(entity, *change));
        }
    }
    let names: Vec<String> = (0..groups.len()).map(|group| groups.entity(group)).collect();
    let from: Vec<u32> = names
        .iter()
        .map(|name| if quarantine.holds(name) { 0 } else { waits.get(name.as_str()).copied().unwrap_or(u32::MAX) })
        .collect();
    let groups = groups.keep(|group, entry| {
        let is_kept = entry.change < from[group];
        if !is_kept {
            aside.push(follows(entry, &names[group]));
        }
        is_kept
    });
    Ok(Sorted { groups, aside, n_moves })
}

fn without_entity(NoEntity { change, entity, reason }: NoEntity) -> Aside {
    Aside { change, moved: Moved::Stays, entity, cause: Cause::NoEntity, reason }
}

fn follows(entry: Entry, entity: &str) -> Aside {
    let reason = "its entity is in quarantine".to_owned();
    Aside { change: entry.change, moved: entry.moved, entity: Some(entity.to_owned()), cause: Cause::Follows, reason }
}

/// What a batch comes to.
#[derive(Default)]
pub struct Decided {
    pub upserts: Rows,
    pub deletes: Rows,
    /// In no order.
    pub aside: Vec<Aside>,
    /// How many of them the rule would not or could not decide.
    pub n_rejects: usize,
}

/// Why a batch is not decided.
pub enum Undecided {
    /// More was set aside than may be; this is the last of it.
    TooMany(Aside),
    Rule(RuleError),
}

/// Decides a sorted batch. `rejects_max`: so many changes may be set aside for the rule's sake; with
/// [`OnReject::Stop`] none. `refuses`: what is refused of a decision is set aside as what the rule fails on.
///
/// # Errors
/// [`Undecided::TooMany`] as soon as it is more, or the rule cannot be called any further.
pub fn decide(
    rule: &mut dyn Rule,
    sorted: Sorted<'_>,
    on_reject: OnReject,
    rejects_max: usize,
    refuses: Refuses<'_>,
) -> Result<Decided, Undecided> {
    let Sorted { groups, aside, .. } = sorted;
    let rejects_max = if on_reject == OnReject::Stop { 0 } else { rejects_max };
    let mut deciding = Deciding { rule, on_reject, rejects_max, refuses, decided: Decided::default() };
    for aside in aside {
        deciding.set_aside(aside)?;
    }
    if !groups.is_empty() {
        deciding.decide(&groups)?;
    }
    Ok(deciding.decided)
}

/// Why a decision cannot be written, though the rule has made it; none where it can.
pub type Refuses<'r> = &'r dyn Fn(&Decision) -> Option<String>;

struct Deciding<'r> {
    rule: &'r mut dyn Rule,
    refuses: Refuses<'r>,
    on_reject: OnReject,
    rejects_max: usize,
    decided: Decided,
}

impl Deciding<'_> {
    fn transform(&mut self, groups: &Groups<'_>) -> Result<Decision, RuleError> {
        let decision = self.rule.transform(groups)?;
        match (self.refuses)(&decision) {
            Some(why) => Err(RuleError::Batch(why)),
            None => Ok(decision),
        }
    }

    fn decide(&mut self, groups: &Groups<'_>) -> Result<(), Undecided> {
        match self.transform(groups) {
            Ok(decision) if decision.rejects.is_empty() => {
                self.take(decision);
                Ok(())
            }
            Ok(decision) => self.rejected(groups, decision),
            Err(RuleError::Batch(_)) if groups.len() > 1 => {
                let middle = groups.len() / 2;
                self.decide(&groups.part(0..middle))?;
                self.decide(&groups.part(middle..groups.len()))
            }
            Err(RuleError::Batch(reason)) => self.failed(groups, reason),
            Err(error) => Err(Undecided::Rule(error)),
        }
    }

    /// What the rule rejects of some entities; where these have to wait, everything before it is decided anew.
    fn rejected(&mut self, groups: &Groups<'_>, mut decision: Decision) -> Result<(), Undecided> {
        let mut rejects = std::mem::take(&mut decision.rejects);
        rejects.sort_by_key(|reject| reject.entry);
        // The first of each group, which hold ranges of entries one after the other.
        let mut last = None;
        for Reject { entry, reason } in rejects {
            let group = groups.group_of(entry);
            if self.on_reject != OnReject::Skip && last.replace(group) == Some(group) {
                continue;
            }
            self.reject(groups, entry, Cause::Rejected, reason)?;
        }
        if self.on_reject == OnReject::Skip {
            self.take(decision);
            return Ok(());
        }
        self.decide_kept(groups)
    }

    /// One entity that the rule fails on: its shortest part that fails ends with the change to set aside.
    fn failed(&mut self, groups: &Groups<'_>, mut reason: String) -> Result<(), Undecided> {
        let prefix = |n: usize| {
            let mut taken = 0;
            groups.keep(|_, _| {
                taken += 1;
                taken <= n
            })
        };
        let (mut fits, mut fails) = (0, groups.entries.len());
        while fails - fits > 1 {
            let middle = fits + (fails - fits) / 2;
            match self.transform(&prefix(middle)) {
                Ok(_) => fits = middle,
                Err(RuleError::Batch(shorter)) => (fails, reason) = (middle, shorter),
                Err(error) => return Err(Undecided::Rule(error)),
            }
        }
        self.reject(groups, fits as u32, Cause::Failed, reason)?;
        self.decide_kept(groups)
    }

    /// Sets an entry aside, and what has to wait for it.
    fn reject(&mut self, groups: &Groups<'_>, entry: u32, cause: Cause, reason: String) -> Result<(), Undecided> {
        let group = groups.group_of(entry);
        let entity = groups.entity(group);
        let Entry { change, moved } = groups.entries[entry as usize];
        self.set_aside(Aside { change, moved, entity: Some(entity.clone()), cause, reason })?;
        if self.on_reject != OnReject::Skip {
            for &later in &groups.entries[entry as usize + 1..groups.offsets[group + 1] as usize] {
                self.set_aside(follows(later, &entity))?;
            }
        }
        Ok(())
    }

    /// Decides what is not set aside.
    fn decide_kept(&mut self, groups: &Groups<'_>) -> Result<(), Undecided> {
        let aside: FxHashSet<(u32, u8)> =
            self.decided.aside.iter().map(|aside| (aside.change, aside.moved as u8)).collect();
        let kept = groups.keep(|_, entry| !aside.contains(&(entry.change, entry.moved as u8)));
        if kept.is_empty() { Ok(()) } else { self.decide(&kept) }
    }

    fn set_aside(&mut self, aside: Aside) -> Result<(), Undecided> {
        if aside.cause != Cause::Follows {
            self.decided.n_rejects += 1;
            if self.decided.n_rejects > self.rejects_max {
                return Err(Undecided::TooMany(aside));
            }
        }
        self.decided.aside.push(aside);
        Ok(())
    }

    fn take(&mut self, decision: Decision) {
        let Decided { upserts, deletes, .. } = &mut self.decided;
        append(upserts, decision.upserts);
        append(deletes, decision.deletes);
    }
}

fn append(rows: &mut Rows, more: Rows) {
    if rows.is_empty() {
        *rows = more;
    } else {
        more.iter().for_each(|row| _ = rows.push_row(row.values()));
    }
}
