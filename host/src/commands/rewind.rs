//! `hindsight rewind`: partitions of the topic are applied again from an earlier place, or on from where messages are missing.

use std::collections::BTreeMap;

use anyhow::anyhow;
use comfy_table::{Table, presets};
use serde_json::json;

use crate::assemble;
use crate::civil;
use crate::cli;
use crate::config::{Config, SourceKind};
use crate::failure::{Failure, Outcome};
use crate::history::{Checkpoint, Load};
use crate::output::{self, grouped};
use crate::topic::{self, Target, To};

pub async fn rewind(args: &cli::Rewind) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let Some(topic) = &config.topic else {
        return Err(Failure::usage(anyhow!(
            "{} has no [topic]: a history without one is read again into a new file, from where source.start says",
            config.file.display()
        )));
    };
    let to = to(&args.to, &config).map_err(|text| Failure::usage(anyhow!(text)))?;
    let chains = assemble::letter_box(&config)?.chains().await;
    if !chains.map_err(|error| Failure::sink(error, false))?.is_empty() {
        return Err(Failure::usage(anyhow!(
            "entities are in quarantine, and their dead letters would come a second time: replay or drop them first (`hindsight \
             dead-letters list`)"
        )));
    }
    let mut lanes = assemble::lanes_at_rest(&config, topic).await?;
    let reached: BTreeMap<_, _> =
        lanes.iter().filter_map(|(partition, lane)| Some((*partition, lane.position.clone()?))).collect();
    let is_foreign = matches!(config.source.kind, SourceKind::Topic { .. });
    let settings = assemble::topic_settings(&config, topic);
    let targets = topic::targets(&settings, &to, is_foreign, &reached).await;
    let targets = targets.map_err(|error| Failure::topic(error, false))?;
    if args.accept {
        for target in &targets {
            let lane = match lanes.get_mut(&target.partition) {
                Some(lane) => lane,
                None => lanes
                    .entry(target.partition)
                    .or_insert(assemble::lane_at_rest(&config, topic, target.partition).await?),
            };
            let checkpoint = Checkpoint { source: lane.identity.clone(), position: target.position.clone() };
            lane.sink.commit(&Load::empty(checkpoint)).await.map_err(|error| Failure::sink(error, true))?;
            lane.sink.idle().await.map_err(|error| Failure::sink(error, true))?;
        }
    }
    show(&targets, args)?;
    match args.accept || args.dry_run {
        true => Ok(()),
        false => Err(Failure::usage(anyhow!(
            "nothing was moved: add --accept to do it, or --dry-run to only look. Changes that are in the history already are decided \
             again: under a rule that is replay-safe, as scd2-by-owner is, that changes nothing; under another one begin a new history"
        ))),
    }
}

/// `start`, a time, or `PARTITION=OFFSET,…`.
pub(super) fn to(text: &str, config: &Config) -> Result<To, String> {
    if text == "start" {
        return Ok(To::Start);
    }
    if let Some(wall_us) = civil::parse_datetime(text) {
        return Ok(To::TimeMs(config.source.zone.instant(wall_us).div_euclid(1_000)));
    }
    let part = |part: &str| {
        let (partition, offset) = part.split_once('=')?;
        Some((partition.trim().parse().ok()?, offset.trim().parse().ok()?))
    };
    let offsets: Option<BTreeMap<u32, u64>> = text.split(',').map(part).collect();
    offsets.map(To::Offsets).ok_or_else(|| {
        format!(
            "--to {text:?} is none of: start; a time, \"YYYY-MM-DD HH:MM:SS\" in source.time-zone; offsets, PARTITION=OFFSET with commas \
             between several"
        )
    })
}

fn show(targets: &[Target], args: &cli::Rewind) -> Outcome<()> {
    if args.json.json {
        let list = targets.iter().map(|target| {
            json!({
                "partition": target.partition,
                "now": target.now,
                "goes_on_at": target.offset,
                "skips_deleted_messages": target.skips,
                "moved": args.accept,
            })
        });
        return output::print_json(&list.collect());
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["partition", "is at offset", "goes on at", ""]);
    for Target { partition, now, offset, skips, .. } in targets {
        let about = match now {
            _ if *skips => "messages before it were deleted, and are in no history".to_owned(),
            Some(now) if now > offset => format!("{} offsets again", grouped(now - offset)),
            Some(now) if now < offset => format!("{} offsets are passed over", grouped(offset - now)),
            Some(_) => "as it is".to_owned(),
            None => "it has not begun".to_owned(),
        };
        let now = now.map_or("the beginning".to_owned(), |now| now.to_string());
        table.add_row([partition.to_string(), now, offset.to_string(), about]);
    }
    output::print(&format!("{table}\n"))
}
