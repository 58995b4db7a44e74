//! `hindsight swap` and `hindsight rollback`: another rule for a running pipeline.

use std::path::Path;

use crate::assemble::{self, Sandbox};
use crate::cli::{Ask, Swap};
use crate::commands::{rule_test, running};
use crate::config::ComponentPlace;
use crate::control::ExchangeAnswer;
use crate::failure::{Failure, Outcome};
use crate::ledger;
use crate::output;
use crate::rule::Component;

/// Tries the rule on its cases in this process, under the pipeline's limits, and sends it when all are good.
pub async fn swap(args: &Swap) -> Outcome<()> {
    let (client, config) = running::client(&args.running)?;
    let place = ComponentPlace::parse(&args.rule, Path::new(""));
    let (origin, bytes) = (place.to_string(), assemble::bytes(&place)?);
    if !args.cases.is_empty() {
        let component = Component::load(&origin, &bytes, assemble::limits(&config.rule.limits));
        let sandbox = Sandbox(component.map_err(|error| Failure::rule(error, false))?);
        let good = rule_test::require(&args.cases, &sandbox).await;
        good.map_err(|failure| Failure { error: failure.error.context("the rule was not sent"), ..failure })?;
    }
    let settings = (!args.settings.is_empty()).then_some(args.settings.as_slice());
    show("swapped", &client.swap(bytes, &origin, settings).await?, args.json.json)
}

pub async fn rollback(args: &Ask) -> Outcome<()> {
    let (client, _) = running::client(&args.running)?;
    show("rolled back", &client.rollback().await?, args.json.json)
}

fn show(done: &str, answer: &ExchangeAnswer, json: bool) -> Outcome<()> {
    if json {
        return output::print_json(&serde_json::to_value(answer).expect("an answer is plain data"));
    }
    let ExchangeAnswer { from, to, since, pause_us, verified } = answer;
    let mut text = format!(
        "{done}: {} {} -> {} {}\nsince {}; the pipeline paused for {} µs\n",
        from.name,
        ledger::short(&from.digest),
        to.name,
        ledger::short(&to.digest),
        since.as_deref().unwrap_or("the beginning"),
        output::grouped(*pause_us),
    );
    if !verified {
        text += "No captured row was met yet, so its plan could not be compared: it is configured at the first one, and \
                 the pipeline stops there if it does not fit.\n";
    }
    output::print(&text)
}
