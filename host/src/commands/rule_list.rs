//! `hindsight rule list`: the ledger, from the history itself; the pipeline may be running or not.

use comfy_table::{Table, presets};
use serde_json::json;

use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::ledger::{self, Entry};
use crate::output;
use crate::sink;

pub fn rule_list(config: &Config, as_json: bool) -> Outcome<()> {
    let path =
        config.sink.sqlite("rule list", "what decides a partition stands in its offset's metadata in the group")?;
    let entries = sink::read_entries(path, &config.name).map_err(|error| Failure::sink(error, false))?;
    let mark = |entry: &Entry| {
        // Each lane for itself. A version may have had several turns: the newest is marked.
        let lane = || entries.iter().rev().filter(|other| other.partition == entry.partition);
        let newest = |digest: &String| lane().find(|other| other.digest == *digest).map(|other| other.n);
        let last = lane().next();
        match Some(entry.n) {
            n if n == last.and_then(|last| newest(&last.digest)) => "active",
            n if n == last.and_then(|last| newest(last.previous.as_ref()?)) => "previous",
            _ => "",
        }
    };
    if as_json {
        let list = entries.iter().map(|entry| {
            let mut value = serde_json::to_value(entry).expect("an entry is plain data");
            value["mark"] = mark(entry).into();
            value
        });
        return output::print_json(&json!(list.collect::<Vec<_>>()));
    }
    if entries.is_empty() {
        let place = path.display();
        return output::print(&format!("No rule of pipeline {} has decided anything in {place} yet.\n", config.name));
    }
    let mut table = Table::new();
    let has_lanes = entries.iter().any(|entry| entry.partition.is_some());
    let partition = has_lanes.then_some("partition");
    let header = partition.into_iter().chain(["", "rule", "digest", "reason", "at (UTC)", "since"]);
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header);
    for entry in &entries {
        let since = entry.since.as_deref().unwrap_or("the beginning");
        let partition = entry.partition.map(|partition| partition.to_string());
        let rest = [mark(entry), &entry.name, ledger::short(&entry.digest), &entry.reason, &entry.at, since];
        table.add_row(partition.as_deref().into_iter().chain(rest));
    }
    output::print(&format!("{table}\n"))
}
