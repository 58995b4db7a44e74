//! `hindsight dead-letters case`: a chain as a case file, to try another rule on.
//!
//! The entity's rows are still as they were before its first letter: nothing decides it while it is in quarantine.

use anyhow::anyhow;
use serde_json::json;

use super::{LETTERS_MAX, chosen, id, replay, waits, why};
use crate::assemble;
use crate::cli::DeadLettersCase;
use crate::config::Config;
use crate::dead_letter::Quarantine;
use crate::failure::{Failure, Outcome};
use crate::history::Scope;
use crate::output;
use crate::pipeline::OnReject;
use crate::pipeline::deciding;
use crate::rows::Rows;
use crate::source::cases::Draft;

pub async fn case(args: &DeadLettersCase) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let mut letters = assemble::letter_box(&config)?;
    let mut chosen = chosen(&config, letters.as_mut(), &args.letters).await?;
    if chosen.len() > 1 {
        return Err(Failure::usage(anyhow!(
            "{} chains have it: name the first letter of one with --letter, as `hindsight dead-letters list` shows it",
            chosen.len()
        )));
    }
    let chain = chosen.pop().expect("none is an error");
    let outside = |error| Failure::sink(error, false);
    let mut step = letters.letters(&chain, 0, args.limit.min(LETTERS_MAX)).await.map_err(outside)?;
    replay::cut_to_one_schema(&mut step);
    let batch = replay::batch(&config, &step)?;
    let active = letters.active_rule(&chain.lane).await.map_err(outside)?;
    let (mut rule, version) = assemble::replaying(&config, active)?;
    let plan = rule.configure(&batch.tables).map_err(|error| Failure::rule(error, false))?;
    letters.prepare(&plan.history).await.map_err(outside)?;
    let sorted = deciding::sort(&batch, &plan, &Quarantine::default(), OnReject::Quarantine);
    let sorted = sorted.map_err(|text| Failure::run(anyhow!(text)))?;
    let history = match waits(&chain.first.letter) {
        true => letters.entity_rows(&sorted.groups.keys, Scope::AllRows).await.map_err(outside)?.rows,
        // It has no entity.
        false => Rows::new(plan.history.columns.len()),
    };
    let about = about(&config, &chain, step.len(), &version.to_string());
    let draft =
        Draft { about: &about, settings: &version.settings, batch: &batch, schema: &plan.history, history: &history };
    let text = draft.text();
    if args.json.json {
        let names: Vec<String> = step.iter().map(|kept| id(&config, kept)).collect();
        return output::print_json(&json!({ "letters": names, "case": text }));
    }
    output::print(&text)
}

fn about(config: &Config, chain: &crate::sink::Chain, n_shown: usize, version: &str) -> Vec<String> {
    let first = &chain.first;
    let entity = first.letter.entity.as_ref().map(|entity| format!(" of entity {entity}")).unwrap_or_default();
    vec![
        format!(
            "Dead letter {} of pipeline {}: {} changes{entity}, the first {n_shown} here.",
            id(config, first),
            config.name,
            chain.n_letters
        ),
        format!("{} at {}, by rule {version}", why(&first.letter), first.letter.place),
    ]
}
