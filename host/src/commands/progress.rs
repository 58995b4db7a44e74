//! How far a command is that reads a source, for people: a bar while it reads, and what it read.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::event;
use crate::output;
use crate::pipeline::Summary;

const LOG_BAR: &str = "{bar:32} {percent:>3} %  {bytes}/{total_bytes}  {msg}  {eta} left";
const SNAPSHOT_BAR: &str = "snapshot {bar:32} {percent:>3} %  {human_pos}/{human_len} rows  {per_sec}  {eta} left";

/// A bar on a terminal, nothing elsewhere.
pub struct Progress(Option<ProgressBar>);

impl Progress {
    pub fn new() -> Self {
        if !std::io::stderr().is_terminal() {
            return Progress(None);
        }
        Progress(Some(ProgressBar::new(0)))
    }

    pub fn show(&self, summary: &Summary) {
        let (Some(bar), Some(progress)) = (&self.0, summary.progress) else { return };
        let (template, done, total) = match progress {
            event::Progress::Log { done_bytes, total_bytes } => (LOG_BAR, done_bytes, total_bytes),
            // The total is an estimate: a bar is never fuller than full.
            event::Progress::Snapshot { done_rows, total_rows } => (SNAPSHOT_BAR, done_rows, total_rows.max(done_rows)),
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is a constant"));
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(format!("{} changes", output::grouped(summary.changes())));
    }

    pub fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// What was read, as one or two lines.
pub fn changes(summary: &Summary) -> String {
    let snapshot = match summary.reads {
        0 => String::new(),
        reads => format!("{} rows of the snapshot: what was in the tables already\n", output::grouped(reads)),
    };
    format!(
        "{snapshot}{} changes in {} transactions: {} inserts, {} updates ({} between entities), {} deletes\n",
        output::grouped(summary.changes() - summary.reads),
        output::grouped(summary.transactions),
        output::grouped(summary.inserts),
        output::grouped(summary.updates),
        output::grouped(summary.moves),
        output::grouped(summary.deletes),
    )
}
