//! A batch's events and the checkpoint behind them, appended to a file as one.

use std::path::Path;

use anyhow::{Context, anyhow};

use super::file::{EventFile, FileError, write_checkpoint};
use super::{Decimals, Envelope, Written};
use crate::civil::Zone;
use crate::event::{Batch, Snapshot};
use crate::history::Checkpoint;
use crate::rule::Plan;

/// Whose events they are.
pub struct Origin<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// As checkpoints name it.
    pub source: &'a str,
    /// Whose wall clock the source's batches show.
    pub zone: Zone,
}

/// A file of events that is being written.
pub struct Events {
    envelope: Envelope,
    file: EventFile,
    /// Behind the last of its events.
    checkpoint: Option<Checkpoint>,
    lines: Vec<u8>,
}

impl Events {
    /// A file that knows itself how far it is: what lies behind its last checkpoint is cut away.
    ///
    /// # Errors
    /// It cannot be written, another process writes it, or it is not a file of this source's events.
    pub fn open(path: &Path, origin: Origin<'_>) -> Result<Self, FileError> {
        let mut file = EventFile::open(path)?;
        let checkpoint = file.cut_to_last(origin.source)?;
        Ok(Self::of(file, origin, checkpoint))
    }

    /// A file beside a sink: what lies behind the sink's checkpoint is cut away, everything where it has none. An empty
    /// file begins at that checkpoint.
    ///
    /// # Errors
    /// As [`Events::open`], or the file does not hold that checkpoint.
    pub fn beside(path: &Path, origin: Origin<'_>, checkpoint: Option<Checkpoint>) -> Result<Self, FileError> {
        let mut file = EventFile::open(path)?;
        match &checkpoint {
            Some(checkpoint) => file.cut_to(checkpoint)?,
            None => file.cut_to_nothing(origin.source)?,
        }
        Ok(Self::of(file, origin, checkpoint))
    }

    fn of(file: EventFile, origin: Origin<'_>, checkpoint: Option<Checkpoint>) -> Self {
        let envelope = Envelope::new(origin.pipeline, origin.zone, Decimals::default());
        Events { envelope, file, checkpoint, lines: Vec::new() }
    }

    /// How far the file is; none before its first checkpoint.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Appends a batch's events and the checkpoint behind them.
    ///
    /// # Errors
    /// A value cannot be written, or the file cannot: nothing that follows the last checkpoint counts.
    pub fn append(&mut self, batch: &Batch, plan: Option<&Plan>, checkpoint: &Checkpoint) -> anyhow::Result<Written> {
        self.lines.clear();
        let anew = batch.snapshot == Some(Snapshot::Anew);
        // Until the sink has the batch it stands at this one, and after a kill the file has to hold it.
        if let (true, Some(before)) = (anew, &self.checkpoint) {
            write_checkpoint(&mut self.lines, before);
        }
        let written = self.envelope.write(&mut self.lines, batch, plan).map_err(|text| anyhow!(text))?;
        write_checkpoint(&mut self.lines, checkpoint);
        let cleared = if anew { self.file.clear() } else { Ok(()) };
        let appended = cleared.and_then(|()| self.file.append(&self.lines));
        appended.with_context(|| format!("write events to {}", self.file.path().display()))?;
        self.checkpoint = Some(checkpoint.clone());
        Ok(written)
    }
}
