//! `hindsight rule list`: the ledger, from the history itself; the pipeline may be running or not.

use comfy_table::{Table, presets};
use serde_json::json;

use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::ledger::{self, Entry};
use crate::output;
use crate::sink;

pub fn rule_list(config: &Config, as_json: bool) -> Outcome<()> {
    let entries = sink::read_entries(&config.sink.path, &config.name).map_err(|error| Failure::sink(error, false))?;
    let last = entries.last();
    let (active, previous) = (last.map(|last| &last.digest), last.and_then(|last| last.previous.as_ref()));
    // A version may have had several turns: the newest is marked.
    let newest = |digest: &String| entries.iter().rev().find(|entry| entry.digest == *digest).map(|entry| entry.n);
    let (active, previous) = (active.and_then(newest), previous.and_then(newest));
    let mark = |entry: &Entry| match Some(entry.n) {
        n if n == active => "active",
        n if n == previous => "previous",
        _ => "",
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
        let place = config.sink.path.display();
        return output::print(&format!("No rule of pipeline {} has decided anything in {place} yet.\n", config.name));
    }
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(["", "rule", "digest", "reason", "at (UTC)", "since"]);
    for entry in &entries {
        let since = entry.since.as_deref().unwrap_or("the beginning");
        table.add_row([mark(entry), &entry.name, ledger::short(&entry.digest), &entry.reason, &entry.at, since]);
    }
    output::print(&format!("{table}\n"))
}
