//! `hindsight dead-letters replay`: entities' dead letters decided in their order, each step of them written as one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::anyhow;
use serde_json::json;

use super::{LETTERS_MAX, chains, id, is_entity, waits, why};
use crate::assemble;
use crate::cli::DeadLettersReplay;
use crate::config::Config;
use crate::dead_letter::{Cause, DeadLetter, Quarantine};
use crate::envelope::read::{Place, Reader, Record};
use crate::event::{Batch, Sides, Transaction};
use crate::failure::{Failure, Outcome};
use crate::groups::Moved;
use crate::ledger::RuleVersion;
use crate::output::{self, grouped};
use crate::pipeline::OnReject;
use crate::pipeline::deciding::{self, Aside, Decided, Undecided};
use crate::rule::Rule;
use crate::sink::{Chain, Kept, LetterBox, Settled};

/// # Errors
/// Exit code 1 when a rule still cannot decide some: they stay, and what follows them.
pub async fn replay(args: &DeadLettersReplay) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let mut letters = assemble::letter_box(&config)?;
    let wanted = |chain: &Chain| args.key.as_ref().is_none_or(|key| is_entity(&chain.first.letter, key));
    let chosen: Vec<Chain> = chains(letters.as_mut()).await?.into_iter().filter(wanted).collect();
    if let (true, Some(key)) = (chosen.is_empty(), &args.key) {
        return Err(Failure::usage(anyhow!(
            "entity {key} of pipeline {} is not in quarantine: `hindsight dead-letters list` shows what is",
            config.name
        )));
    }
    let on_reject = if args.drop_rejected { OnReject::Skip } else { OnReject::Quarantine };
    letters.begin().await.map_err(|error| Failure::sink(error, true))?;
    let mut rules = BTreeMap::new();
    let mut outcomes = Vec::new();
    for chain in chosen {
        let outcome = if waits(&chain.first.letter) {
            if !rules.contains_key(&chain.lane) {
                let active = letters.active_rule(&chain.lane).await.map_err(|error| Failure::sink(error, false))?;
                rules.insert(chain.lane.clone(), assemble::replaying(&config, active)?);
            }
            let (rule, version) = rules.get_mut(&chain.lane).expect("it was put there");
            replay_chain(&config, letters.as_mut(), &chain, (rule.as_mut(), version), on_reject).await?
        } else {
            // What came after it is in the history already.
            let why = "it has no place any more that it could be decided in: only `drop` is left".to_owned();
            Replayed { stays: Some((chain.first.clone(), why)), ..Replayed::default() }
        };
        outcomes.push((chain, outcome));
    }
    report(&config, &outcomes, &rules.into_values().map(|(_, version)| version).collect::<Vec<_>>(), args.json.json)?;
    match outcomes.iter().filter(|(_, outcome)| outcome.stays.is_some()).count() {
        0 => Ok(()),
        1 => Err(Failure::run(anyhow!("1 dead letter could not be replayed; what follows it waits"))),
        n => Err(Failure::run(anyhow!("{n} dead letters could not be replayed; what follows them waits"))),
    }
}

/// What became of a chain.
#[derive(Default)]
struct Replayed {
    n_decided: u64,
    n_dropped: u64,
    /// The letter that the chain begins with now, and why.
    stays: Option<(Kept, String)>,
}

/// Until nothing of the chain is left: a running pipeline may add to it meanwhile.
async fn replay_chain(
    config: &Config,
    letters: &mut dyn LetterBox,
    chain: &Chain,
    (rule, version): (&mut dyn Rule, &Arc<RuleVersion>),
    on_reject: OnReject,
) -> Outcome<Replayed> {
    let mut replayed = Replayed::default();
    loop {
        let mut step = letters.letters(chain, 0, LETTERS_MAX).await.map_err(|error| Failure::sink(error, false))?;
        if step.is_empty() {
            return Ok(replayed);
        }
        cut_to_one_schema(&mut step);
        let batch = batch(config, &step)?;
        let plan = rule.configure(&batch.tables).map_err(|error| Failure::rule(error, false))?;
        let entity_key = plan.history.entity_key();
        if *step[0].letter.entity_key != *entity_key {
            return Err(Failure::usage(anyhow!(
                "the dead letters are of entities by ({}), and rule {version} tells entities by ({entity_key}): swap a rule in that tells \
                 them as before, or drop them",
                step[0].letter.entity_key
            )));
        }
        let sink = |error| Failure::sink(error, false);
        letters.prepare(&plan.history).await.map_err(sink)?;
        let sorted = deciding::sort(&batch, &plan, &Quarantine::default(), on_reject);
        let mut sorted = sorted.map_err(|text| Failure::run(anyhow!(text)))?;
        sorted.groups.history = letters.entity_rows(&sorted.groups.keys, plan.scope).await.map_err(sink)?;
        let decided =
            deciding::decide(rule, sorted, on_reject, usize::MAX, &|_| None).map_err(|undecided| match undecided {
                Undecided::Rule(error) => Failure::rule(error, true),
                Undecided::TooMany(_) => unreachable!("as many as there are may be rejected"),
            })?;
        let Decided { upserts, deletes, aside, .. } = decided;
        let goes =
            |change: usize| on_reject == OnReject::Skip || aside.iter().all(|aside| aside.change as usize != change);
        let going: Vec<i64> = (0..step.len()).filter(|change| goes(*change)).map(|change| step[change].n).collect();
        let settled = Settled { lane: &chain.lane, letters: &going, upserts: &upserts, deletes: &deletes };
        letters.settle(&settled).await.map_err(|error| Failure::sink(error, true))?;
        if on_reject == OnReject::Skip {
            replayed.n_dropped += aside.len() as u64;
            replayed.n_decided += (going.len() - aside.len()) as u64;
            continue;
        }
        replayed.n_decided += going.len() as u64;
        if let Some(Aside { change, reason, .. }) = aside.iter().find(|aside| aside.cause != Cause::Follows) {
            replayed.stays = Some((step[*change as usize].clone(), reason.clone()));
            return Ok(replayed);
        }
    }
}

/// A batch has one schema of a table: the letters up to the first one of another.
pub(super) fn cut_to_one_schema(step: &mut Vec<Kept>) {
    let schema = step.first().map(|first| first.letter.schema.hash.clone());
    let n_alike = step.iter().take_while(|kept| Some(&kept.letter.schema.hash) == schema.as_ref()).count();
    step.truncate(n_alike);
}

/// Letters as a batch, change by change.
pub(super) fn batch(config: &Config, step: &[Kept]) -> Outcome<Batch> {
    let unreadable = |text: String| Failure::run(anyhow!(text).context("a dead letter cannot be read"));
    let mut reader = Reader::new(config.source.zone.clone());
    let lane = format!("dead letters of {}", step[0].lane);
    let place = |n: i64| Place { topic: &lane, partition: 0, offset: n as u64 };
    let schema = &step[0].letter.schema;
    reader.know(&schema.hash, schema.document.as_bytes()).map_err(unreadable)?;
    reader.turn_to(&schema.hash, place(step[0].n)).map_err(|error| unreadable(error.to_string()))?;
    let transactions = vec![Transaction { log: lane.as_str().into(), gtid: None }];
    let mut batch = Batch { transactions, ..reader.batch() };
    for Kept { n, letter: DeadLetter { moved, schema, event, .. }, .. } in step {
        let sides = match moved {
            Moved::Stays => Sides::Both,
            Moved::Leaves => Sides::Before,
            Moved::Arrives => Sides::After,
        };
        let record = Record { value: event.as_bytes(), schema: &schema.hash, sides, place: place(*n) };
        reader.read(&mut batch, &record).map_err(|error| unreadable(error.to_string()))?;
    }
    assert_eq!(batch.changes.len(), step.len(), "a letter is one change");
    Ok(batch)
}

fn report(
    config: &Config,
    outcomes: &[(Chain, Replayed)],
    versions: &[Arc<RuleVersion>],
    as_json: bool,
) -> Outcome<()> {
    if as_json {
        let list = outcomes.iter().map(|(chain, Replayed { n_decided, n_dropped, stays })| {
            json!({
                "entity": chain.first.letter.entity,
                "decided": n_decided,
                "dropped": n_dropped,
                "stays": stays.as_ref().map(|(kept, why)| json!({ "letter": id(config, kept), "why": why })),
            })
        });
        return output::print_json(&list.collect());
    }
    if outcomes.is_empty() {
        return output::print(&format!("Nothing of pipeline {} is set aside.\n", config.name));
    }
    // Mostly one: lanes may be apart for a moment.
    let versions: BTreeSet<String> = versions.iter().map(|version| version.to_string()).collect();
    let mut text = match versions.is_empty() {
        true => String::new(),
        false => format!("by rule {}:\n", versions.into_iter().collect::<Vec<_>>().join(", ")),
    };
    for (chain, Replayed { n_decided, n_dropped, stays }) in outcomes {
        let entity = chain.first.letter.entity.as_deref().unwrap_or("none");
        text += &format!("entity {entity}: {} decided", grouped(*n_decided));
        if *n_dropped > 0 {
            text += &format!(", {} given up", grouped(*n_dropped));
        }
        match stays {
            Some((kept, reason)) if reason != &kept.letter.reason => {
                text += &format!("; letter {} stays: {reason}", id(config, kept));
            }
            Some((kept, _)) => text += &format!("; letter {} stays: {}", id(config, kept), why(&kept.letter)),
            None => text += "; goes on",
        }
        text += "\n";
    }
    output::print(&text)
}
