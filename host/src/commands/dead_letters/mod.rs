//! `hindsight dead-letters`: what was set aside, from the history's file itself; the pipeline may be running or not.

mod case;
mod replay;

use anyhow::anyhow;
use comfy_table::{Table, presets};
use serde_json::{Value, json};

use crate::assemble;
use crate::cli::{DeadLettersDrop, DeadLettersList, DeadLettersShow, Letters};
use crate::config::Config;
use crate::dead_letter::DeadLetter;
use crate::failure::{Failure, Outcome};
use crate::ledger;
use crate::output::{self, grouped};
use crate::rows::Rows;
use crate::sink::{Chain, Kept, LetterBox, Settled};

pub use case::case;
pub use replay::replay;

/// Letters that are in memory at once.
const LETTERS_MAX: usize = 1_000;

pub async fn list(args: &DeadLettersList) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let chains = chains(assemble::letter_box(&config)?.as_mut()).await?;
    if args.json.json {
        let list = chains.iter().map(|Chain { n_letters, first, .. }| {
            let mut value = letter_json(&config, first);
            value["changes"] = (*n_letters).into();
            value
        });
        return output::print_json(&list.collect());
    }
    if chains.is_empty() {
        return output::print(&format!("Nothing of pipeline {} is set aside.\n", config.name));
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["letter", "entity", "changes", "why", "since (UTC)", "first change"]);
    for Chain { n_letters, first, .. } in &chains {
        let Kept { letter, at, .. } = first;
        let entity = letter.entity.as_deref().unwrap_or("none");
        let first_change = format!("{} at {}", letter.op.letter(), letter.place);
        table.add_row([&id(&config, first), entity, &grouped(*n_letters), &why(letter), at, &first_change]);
    }
    let waiting = chains.iter().filter(|chain| waits(&chain.first.letter)).count();
    output::print(&format!(
        "{table}\n{} in quarantine: later changes follow, until `hindsight dead-letters replay` decides them or `drop` gives them up\n",
        if waiting == 1 { "1 entity is".to_owned() } else { format!("{} entities are", grouped(waiting as u64)) }
    ))
}

pub async fn show(args: &DeadLettersShow) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let mut letters = assemble::letter_box(&config)?;
    let mut shown = 0;
    for chain in chosen(&config, letters.as_mut(), &args.letters).await? {
        let mut after = 0;
        while shown < args.limit {
            let n_max = LETTERS_MAX.min(args.limit - shown);
            let found = letters.letters(&chain, after, n_max).await.map_err(|error| Failure::sink(error, false))?;
            let Some(last) = found.last() else { break };
            after = last.n;
            for kept in found.iter().filter(|kept| is_wanted(&config, kept, &args.letters)) {
                shown += 1;
                match args.json.json {
                    true => output::print(&format!("{}\n", letter_json(&config, kept)))?,
                    false => output::print(&letter_text(&config, kept))?,
                }
            }
        }
    }
    Ok(())
}

pub async fn drop(args: &DeadLettersDrop) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let mut letters = assemble::letter_box(&config)?;
    let (mut n_dropped, none) = (0, Rows::default());
    for chain in chosen(&config, letters.as_mut(), &args.letters).await? {
        let mut after = 0;
        loop {
            let found =
                letters.letters(&chain, after, LETTERS_MAX).await.map_err(|error| Failure::sink(error, false))?;
            let Some(last) = found.last() else { break };
            after = last.n;
            let wanted = found.iter().filter(|kept| is_wanted(&config, kept, &args.letters));
            let wanted: Vec<i64> = wanted.map(|kept| kept.n).collect();
            let settled = Settled { lane: &chain.lane, letters: &wanted, upserts: &none, deletes: &none };
            letters.settle(&settled).await.map_err(|error| Failure::sink(error, true))?;
            n_dropped += wanted.len() as u64;
        }
    }
    if args.json.json {
        return output::print_json(&json!({ "dropped": n_dropped }));
    }
    let changes = if n_dropped == 1 { "change is" } else { "changes are" };
    output::print(&format!("{} {changes} given up\n", grouped(n_dropped)))
}

async fn chains(letters: &mut dyn LetterBox) -> Outcome<Vec<Chain>> {
    letters.chains().await.map_err(|error| Failure::sink(error, false))
}

/// The chains that have what is asked for; without a word all of them.
async fn chosen(config: &Config, letters: &mut dyn LetterBox, wanted: &Letters) -> Outcome<Vec<Chain>> {
    let mut chosen = Vec::new();
    for chain in chains(letters).await? {
        let has = match (&wanted.key, &wanted.letter) {
            (Some(key), _) => is_entity(&chain.first.letter, key),
            (None, Some(letter)) => {
                let (lane, n) = lane_and_number(config, letter)?;
                let before = letters.letters(&chain, n - 1, 1).await.map_err(|error| Failure::sink(error, false))?;
                chain.lane == lane && before.first().is_some_and(|kept| kept.n == n)
            }
            (None, None) => true,
        };
        if has {
            chosen.push(chain);
        }
    }
    if let (true, Some(asked)) = (chosen.is_empty(), wanted.key.as_ref().or(wanted.letter.as_ref())) {
        return Err(Failure::usage(anyhow!(
            "there is no dead letter {asked} of pipeline {}: `hindsight dead-letters list` shows what there is",
            config.name
        )));
    }
    Ok(chosen)
}

fn is_wanted(config: &Config, kept: &Kept, wanted: &Letters) -> bool {
    wanted.letter.as_ref().is_none_or(|letter| *letter == id(config, kept))
}

/// Whether an entity is what `--key` says: `7`, `eu`, or `owner=1,region=eu` in any order.
fn is_entity(letter: &DeadLetter, key: &str) -> bool {
    let names: Vec<&str> = letter.entity_key.split(", ").collect();
    let values: Option<Vec<&str>> = match names.as_slice() {
        [name] => Some(vec![key.strip_prefix(&format!("{name}=")).unwrap_or(key)]),
        names => {
            let parts: Vec<(&str, &str)> = key.split(',').filter_map(|part| part.split_once('=')).collect();
            let value = |name: &&str| parts.iter().find(|(known, _)| known.trim() == *name).map(|(_, value)| *value);
            names.iter().map(value).collect()
        }
    };
    let Some(values) = values else { return false };
    // Texts are quoted there, numbers are not.
    let mut written = vec![String::new()];
    for (i, value) in values.iter().enumerate() {
        let separator = if i == 0 { "" } else { ", " };
        let plain = written.iter().map(|text| format!("{text}{separator}{value}"));
        let quoted = written.iter().map(|text| format!("{text}{separator}{value:?}"));
        written = plain.chain(quoted).collect();
    }
    letter.entity.as_ref().is_some_and(|entity| written.contains(entity))
}

/// Whether later changes wait for it.
fn waits(letter: &DeadLetter) -> bool {
    letter.quarantines && letter.entity.is_some()
}

/// `17`, or `2/17` in partition 2.
fn id(config: &Config, Kept { lane, n, .. }: &Kept) -> String {
    match lane.strip_prefix(&config.name).and_then(|rest| rest.strip_prefix('/')) {
        Some(partition) => format!("{partition}/{n}"),
        None => n.to_string(),
    }
}

fn lane_and_number(config: &Config, id: &str) -> Outcome<(String, i64)> {
    let (lane, n) = match id.split_once('/') {
        Some((partition, n)) => (format!("{}/{partition}", config.name), n),
        None => (config.name.clone(), id),
    };
    let n = n
        .parse()
        .map_err(|_| Failure::usage(anyhow!("--letter {id:?} is no letter; write it as `list` does: 17, or 2/17")))?;
    Ok((lane, n))
}

fn why(letter: &DeadLetter) -> String {
    let side = letter.moved.side().map(|side| format!(" ({side})")).unwrap_or_default();
    format!("{}{side}: {}", letter.cause.name(), letter.reason)
}

fn letter_json(config: &Config, kept: &Kept) -> Value {
    let Kept { letter, at, .. } = kept;
    json!({
        "letter": id(config, kept),
        "entity": letter.entity,
        "entity_key": &*letter.entity_key,
        "quarantines": waits(letter),
        "cause": letter.cause.name(),
        "reason": letter.reason,
        "op": letter.op.letter().to_string(),
        "side": letter.moved.side(),
        "place": letter.place,
        "rule": letter.rule,
        "at": at,
        "event": serde_json::from_str::<Value>(&letter.event).unwrap_or_else(|_| letter.event.clone().into()),
    })
}

/// A letter as the topic of dead letters has it: also who set it aside, and what its event's columns are.
pub(super) fn record(config: &Config, kept: &Kept) -> Value {
    let mut value = letter_json(config, kept);
    value["pipeline"] = config.name.as_str().into();
    value["schema"] = serde_json::from_str(&kept.letter.schema.document).unwrap_or_default();
    value
}

fn letter_text(config: &Config, kept: &Kept) -> String {
    let Kept { letter, at, .. } = kept;
    let entity = letter.entity.as_ref().map(|entity| format!(", entity {entity}")).unwrap_or_default();
    let mut text = format!(
        "letter {}{entity}: change {} at {}\n  {} (rule {}, {at} UTC)\n",
        id(config, kept),
        letter.op.letter(),
        letter.place,
        why(letter),
        ledger::short(&letter.rule),
    );
    let event: Value = serde_json::from_str(&letter.event).unwrap_or_default();
    for image in ["before", "after"] {
        if let Some(image_value) = event.get(image).filter(|value| !value.is_null()) {
            text += &format!("  {image:<6} {image_value}\n");
        }
    }
    text
}
