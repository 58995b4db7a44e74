//! A source's batches, read when the pipeline wants them.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::event::{Batch, Position};
use crate::source::{Source, SourceError};

/// Batches that a source may have ready beside the one being decided: with `limits.batch` this bounds memory.
const BATCHES_AHEAD: usize = 1;

/// When batches are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// Beside the decision and the commit of others.
    #[default]
    Ahead,
    /// Where a commit costs time and not work: when the one before is committed, and no sooner than so long after that one was
    /// read. What comes meanwhile is one batch.
    Between(Duration),
}

pub(crate) type Next = Result<Option<(Batch, Position)>, SourceError>;

/// A source's batches.
pub(super) struct Batches {
    read: mpsc::Receiver<Next>,
    /// Asks for one; none: they come by themselves.
    ask: Option<mpsc::Sender<()>>,
    has_asked: bool,
    /// From one to the next.
    interval: Duration,
    not_before: Option<Instant>,
}

impl Batches {
    pub fn of(source: Box<dyn Source>, reading: Reading) -> Self {
        let (ask, interval, read) = match reading {
            Reading::Ahead => (None, Duration::ZERO, read_ahead(source)),
            Reading::Between(interval) => {
                let (ask, asked) = mpsc::channel(1);
                (Some(ask), interval, read(source, Some(asked)))
            }
        };
        Batches { read, ask, has_asked: false, interval, not_before: None }
    }

    /// May be dropped and called again.
    pub async fn next(&mut self) -> Next {
        if let Some(not_before) = self.not_before {
            tokio::time::sleep_until(not_before.into()).await;
        }
        if let Some(ask) = self.ask.as_ref().filter(|_| !self.has_asked) {
            // Where nobody listens, the end was said.
            let _ = ask.try_send(());
            self.has_asked = true;
        }
        let next = self.read.recv().await.expect("the source's task ends with an end or an error");
        self.has_asked = false;
        self.not_before = Some(Instant::now() + self.interval).filter(|_| !self.interval.is_zero());
        next
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.read.is_empty()
    }
}

/// The source in a task of its own, so that reading and committing overlap.
pub(crate) fn read_ahead(source: Box<dyn Source>) -> mpsc::Receiver<Next> {
    read(source, None)
}

/// `asked`: one batch each time.
fn read(mut source: Box<dyn Source>, mut asked: Option<mpsc::Receiver<()>>) -> mpsc::Receiver<Next> {
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    tokio::spawn(async move {
        loop {
            if let Some(asked) = &mut asked
                && asked.recv().await.is_none()
            {
                break;
            }
            // Whoever waits no more has the source end: one that connects again by itself would be in the way of the next one.
            let next = tokio::select! {
                next = source.next() => next,
                () = sender.closed() => break,
            };
            let last = !matches!(next, Ok(Some(_)));
            if sender.send(next).await.is_err() || last {
                break;
            }
        }
    });
    receiver
}
