//! One attempt to load rows, from the label that was begun to what became of it.
//!
//! A reply is believed where it is plain success. Everything else is asked of the leader, and an attempt that is still open is
//! ended first: so when this returns, nothing of it can happen later.

use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tracing::{debug, warn};

use super::cluster::Waiting;
use super::load::Loader;
use super::reply::{LabelState, Rejection, Reply};
use crate::crash;

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its rows are there and can be read at the leader.
    Applied,
    /// Nothing of it is there, and never will be: another label may be tried.
    NotApplied(String),
    /// The same, because the server has too much to do.
    NotNow(String),
    /// The same, because of its rows.
    Rejected(Rejection),
    /// The leader does not know the label: it never led to anything, or it did and was forgotten since.
    Unknown(String),
    /// The same as [`Outcome::NotApplied`], and it would not be different the next time.
    Stop(String),
}

/// Between two questions: the first ones come quickly, as most commits are visible soon.
const ASK_AFTER: Duration = Duration::from_millis(5);
const ASK_AFTER_MAX: Duration = Duration::from_secs(1);

/// After so long without an end it is said in the log, and goes on.
const SAY_AFTER: Duration = Duration::from_secs(10);

impl Loader {
    /// Sends rows under a label that was begun, once, and commits them.
    pub async fn send(&self, label: &str, rows: Bytes) -> Outcome {
        let refused = match self.load(label, rows).await {
            Reply::Done => {
                crash::point("starrocks.loaded");
                let committed = self.commit(label).await;
                crash::point("starrocks.committed");
                match committed {
                    Reply::Done => return Outcome::Applied,
                    refused => refused,
                }
            }
            refused => refused,
        };
        debug!(label, ?refused, "a load was not plainly done");
        match (self.settle(label, !matches!(refused, Reply::Later)).await, refused) {
            (Outcome::NotApplied(_), Reply::Rejected(rejection)) => Outcome::Rejected(rejection),
            (Outcome::NotApplied(_), Reply::Stop(why)) => Outcome::Stop(why),
            // Why the server has ended it says less than why it was refused.
            (Outcome::NotApplied(_), Reply::Ask(why)) => Outcome::NotApplied(why),
            (Outcome::NotApplied(_), Reply::NotNow(why)) => Outcome::NotNow(why),
            (outcome, _) => outcome,
        }
    }

    /// What the leader says of a label, once it says something.
    pub async fn known_state(&self, label: &str) -> LabelState {
        let mut waiting = Waiting::new();
        loop {
            match self.state(label).await {
                LabelState::Unanswered(why) => waiting.again(|| format!("label {label} is asked for: {why}")).await,
                state => return state,
            }
        }
    }

    /// Finds out what became of a label, and waits until that is final. One that is open is ended; `ends`: at once, or only if
    /// it is still open when the server's own time for it is over.
    pub async fn settle(&self, label: &str, mut ends: bool) -> Outcome {
        let (begun, mut pause, mut said) = (Instant::now(), ASK_AFTER, SAY_AFTER);
        loop {
            ends |= begun.elapsed() > self.load_max();
            let state = self.state(label).await;
            match &state {
                LabelState::Visible => return Outcome::Applied,
                LabelState::Aborted(reason) => return Outcome::NotApplied(format!("it was ended: {reason}")),
                LabelState::Unknown => return Outcome::Unknown(format!("label {label} is not known to the leader")),
                LabelState::Open if ends => {
                    let ended = self.roll_back(label).await;
                    debug!(label, ?ended, "an open load is ended");
                }
                LabelState::Open | LabelState::Committed | LabelState::Unanswered(_) => {}
            }
            if begun.elapsed() > said {
                warn!(label, "waiting for a load to end, {} s by now: {state:?}", begun.elapsed().as_secs());
                said *= 2;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(ASK_AFTER_MAX);
        }
    }
}
