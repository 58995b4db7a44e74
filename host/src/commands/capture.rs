//! `hindsight capture`: the source's change events, appended to a file; no sink is opened or made.
//!
//! The rule is configured, as it says by which columns an entity is told, and never decides.

use std::time::Instant;

use anyhow::anyhow;
use tokio::sync::watch;
use tracing::info;

use super::captured::{Begun, Report};
use super::progress::Progress;
use super::signals::stop_on_signal;
use crate::assemble::{self, CaptureParts};
use crate::capture::{self, Captured, Edge, EventLog, LogError, Switches};
use crate::cli::Capture;
use crate::config::Config;
use crate::envelope::{Events, Written};
use crate::event::{Batch, Position};
use crate::failure::{Failure, Outcome};
use crate::history::Checkpoint;
use crate::rule::Plan;
use crate::source::mysql::End;

/// Goes on to the source's end where it has one, or until SIGINT or SIGTERM, as `run` does.
///
/// # Errors
/// A value that the envelope has no form for yet, and all that `run` stops at but for what the rule decides and the sink.
pub async fn capture(args: &Capture) -> Outcome<()> {
    let started = Instant::now();
    let config = Config::load(&args.file.config)?;
    let end = if args.to_end { End::AsOpened } else { End::Never };
    let parts = assemble::capture_parts(&config, &args.to, end).await?;
    let start = parts.events.checkpoint().map(|checkpoint| checkpoint.position.0.clone());
    info!(
        pipeline = config.name,
        file = %args.to.display(),
        start = start.as_deref().unwrap_or("the beginning"),
        "capturing"
    );
    let progress = Progress::new();
    let captured = follow(parts, &progress).await;
    progress.end();
    let captured = captured.map_err(|error| match error {
        LogError::Stop(failure) => failure,
        // A file that begins anew is cut by itself.
        LogError::Again(why) => Failure::run(anyhow!(why)),
    })?;
    let begun = if start.is_some() { Begun::Before } else { Begun::Now };
    let to = args.to.display().to_string();
    Report { config: &config, to, captured, begun, elapsed: started.elapsed() }.print(args.json.json)
}

async fn follow(parts: CaptureParts, progress: &Progress) -> Result<Captured, LogError> {
    let CaptureParts { source, rule, events, identity } = parts;
    let position = events.checkpoint().map(|checkpoint| checkpoint.position.clone());
    let (_held, paused) = watch::channel(false);
    let switches = Switches { stop: stop_on_signal(), paused };
    let mut log = FileLog { events, identity };
    let show = |edge: Edge<'_>| progress.show(&edge.captured.summary);
    capture::follow(source, rule, &mut log, position, Captured::default(), switches, show).await
}

/// A file as what captured batches are appended to: each with a checkpoint behind it.
struct FileLog {
    events: Events,
    /// As checkpoints name the source.
    identity: String,
}

impl EventLog for FileLog {
    fn append(&mut self, batch: &Batch, plan: Option<&Plan>, position: &Position) -> Result<Written, LogError> {
        let checkpoint = Checkpoint { source: self.identity.clone(), position: position.clone() };
        Ok(self.events.append(batch, plan, &checkpoint).map_err(Failure::run)?)
    }

    fn is_full(&self) -> bool {
        true
    }

    fn commit(&mut self) -> Result<(), LogError> {
        Ok(())
    }
}
