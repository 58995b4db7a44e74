//! `hindsight status`, `pause`, `resume`: a running pipeline, through its control port.

use std::path::Path;

use anyhow::anyhow;

use crate::cli::{Ask, Running};
use crate::config::{Config, defaults};
use crate::control::{Client, StatusAnswer, Unanswered};
use crate::failure::{Failure, Outcome};
use crate::ledger;
use crate::output;

pub async fn status(args: &Ask) -> Outcome<()> {
    let (client, _) = client(&args.running)?;
    show(&client.status().await?, args.json.json)
}

/// Answered when the batch in hand is committed.
pub async fn pause(args: &Ask) -> Outcome<()> {
    let (client, _) = client(&args.running)?;
    show(&client.pause().await?, args.json.json)
}

pub async fn resume(args: &Ask) -> Outcome<()> {
    let (client, _) = client(&args.running)?;
    show(&client.resume().await?, args.json.json)
}

/// The pipeline that a configuration means, and where it is found.
pub fn client(running: &Running) -> Outcome<(Client, Config)> {
    let config = Config::load(&running.file.config)?;
    match client_of(running, &config)? {
        Some(client) => Ok((client, config)),
        None => Err(Failure::outside(anyhow!(
            "pipeline {} has no control port: write [control] listen = \"{}\" into {} and start it again",
            config.name,
            defaults::CONTROL_LISTEN,
            file(&config.file),
        ))),
    }
}

/// Where a pipeline is found while it runs; none where it has no control port.
pub fn client_of(running: &Running, config: &Config) -> Outcome<Option<Client>> {
    match running.control.or(config.control) {
        Some(address) if address.port() != 0 => Ok(Some(Client { address, pipeline: config.name.clone() })),
        Some(_) => Err(Failure::usage(anyhow!(
            "[control] listen of {} leaves the port open: name the one that the log of `hindsight run` says, --control 127.0.0.1:PORT",
            file(&config.file)
        ))),
        None => Ok(None),
    }
}

fn file(path: &Path) -> String {
    path.display().to_string()
}

/// Exit code 3: nobody is there. 2: what was sent does not fit. 1: it was not done.
impl From<Unanswered> for Failure {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::Nobody(_) | Unanswered::Another(_) => Failure::outside(error),
            Unanswered::Unfit(_) => Failure::usage(error),
            Unanswered::Refused(_) => Failure::run(error),
        }
    }
}

/// Characters of a position that are shown.
const POSITION_MAX: usize = 400;

fn show(answer: &StatusAnswer, json: bool) -> Outcome<()> {
    if json {
        return output::print_json(&serde_json::to_value(answer).expect("an answer is plain data"));
    }
    output::print(&text(answer))
}

fn text(answer: &StatusAnswer) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| out += &format!("{name:<11}{value}\n");
    line("pipeline", format!("{}, {}, up for {}", answer.pipeline, answer.state, duration(answer.uptime_s)));
    line("rule", format!("{} {} ({})", answer.rule.name, ledger::short(&answer.rule.digest), answer.rule.origin));
    if let Some(previous) = &answer.previous {
        line("previous", format!("{} {} ({})", previous.name, ledger::short(&previous.digest), previous.origin));
    }
    let source = &answer.source;
    line("source", format!("{}: {}", if source.connected { "connected" } else { "away" }, source.about));
    if let Some([done, total]) = answer.snapshot_rows {
        line("snapshot", format!("{} of about {} rows", output::grouped(done), output::grouped(total)));
    }
    if let Some(capture) = &answer.capture {
        line(
            "captured",
            format!(
                "{} changes in {} transactions, {} a second{}",
                output::grouped(capture.changes),
                output::grouped(capture.transactions),
                output::grouped(capture.changes_per_second),
                capture.position.as_deref().map_or(String::new(), |position| format!("; {}", shortened(position))),
            ),
        );
    }
    line("position", answer.position.as_deref().map_or("nothing is committed yet".into(), shortened));
    line(
        "changes",
        format!(
            "{} in {} transactions, {} a second; {} history rows",
            output::grouped(answer.changes),
            output::grouped(answer.transactions),
            output::grouped(answer.changes_per_second),
            output::grouped(answer.history_rows),
        ),
    );
    if answer.dead_letters > 0 || answer.quarantined > 0 {
        line(
            "set aside",
            format!(
                "{} changes since the start; {} entities in quarantine (`hindsight dead-letters list`)",
                output::grouped(answer.dead_letters),
                output::grouped(answer.quarantined),
            ),
        );
    }
    line(
        "lag",
        answer
            .lag_ms
            .map_or("unknown to this source".into(), |lag_ms| format!("{} ms", output::grouped(lag_ms.max(0) as u64)))
            + &answer.lag_events.map_or(String::new(), |events| format!("; {} events wait", output::grouped(events))),
    );
    out
}

/// A snapshot's position grows with its chunks.
fn shortened(position: &str) -> String {
    match position.char_indices().nth(POSITION_MAX) {
        Some((end, _)) => format!("{}… (--json shows all)", &position[..end]),
        None => position.to_owned(),
    }
}

/// `2 d 3 h`, `4 min 5 s`
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}
