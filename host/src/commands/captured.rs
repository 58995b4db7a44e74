//! What a capture did, for people and for programs.

use std::time::Duration;

use serde_json::json;

use super::progress;
use crate::capture::Captured;
use crate::config::Config;
use crate::failure::Outcome;
use crate::output;

/// When the file or topic was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    Before,
    Now,
}

pub struct Report<'a> {
    pub config: &'a Config,
    /// The file, or `topic NAME`.
    pub to: String,
    pub captured: Captured,
    pub begun: Begun,
    pub elapsed: Duration,
}

impl Report<'_> {
    pub fn print(&self, json: bool) -> Outcome<()> {
        if json {
            return output::print_json(&self.json());
        }
        let Report { config, to, captured: Captured { summary, events }, begun, elapsed } = self;
        if summary.changes() == 0 {
            let tables = config.source.tables.join(", ");
            return output::print(&match begun {
                Begun::Before => format!("No change of {tables} was left to read: {to} is up to date.\n"),
                Begun::Now => format!("The source holds no change of {tables}. Is [source] right?\n"),
            });
        }
        output::print(&format!(
            "{}{} events written to {to}\n{:.2} s, {} changes a second\n",
            progress::changes(summary),
            output::grouped(*events),
            elapsed.as_secs_f64(),
            output::grouped(self.rate()),
        ))
    }

    pub fn json(&self) -> serde_json::Value {
        let Report { captured: Captured { summary, events }, elapsed, .. } = self;
        json!({
            "batches": summary.batches,
            "transactions": summary.transactions,
            "reads": summary.reads,
            "inserts": summary.inserts,
            "updates": summary.updates,
            "deletes": summary.deletes,
            "moves": summary.moves,
            "changes": summary.changes(),
            "events": events,
            "elapsed_ms": elapsed.as_millis() as u64,
            "changes_per_second": self.rate(),
        })
    }

    fn rate(&self) -> u64 {
        (self.captured.summary.changes() as f64 / self.elapsed.as_secs_f64().max(1e-3)) as u64
    }
}
