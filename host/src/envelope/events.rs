//! A batch's events and the checkpoint behind them, appended to a file as one.

use std::path::Path;

use anyhow::{Context, anyhow};

use super::file::{EventFile, FileError, write_checkpoint};
use super::{Envelope, Forms, Written};
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
        let envelope = Envelope::new(origin.pipeline, origin.zone, Forms::default());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Position;

    const SOURCE: &str = "mysql shop.item_assets";

    fn origin() -> Origin<'static> {
        Origin { pipeline: "a", source: SOURCE, zone: Zone::UTC }
    }

    fn at(position: &str) -> Checkpoint {
        Checkpoint { source: SOURCE.into(), position: Position(position.into()) }
    }

    /// Positions of the file's checkpoints.
    fn positions(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.map(|line| line["checkpoint"]["position"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_file_that_begins_anew_holds_where_the_sink_still_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let mut events = Events::beside(&path, origin(), None).unwrap();
        for position in ["1", "2"] {
            events.append(&Batch::default(), None, &at(position)).unwrap();
        }
        assert_eq!(positions(&path), ["1", "2"]);
        let anew = Batch { snapshot: Some(Snapshot::Anew), ..Batch::default() };
        events.append(&anew, None, &at("3")).unwrap();
        assert_eq!(positions(&path), ["2", "3"]);
        drop(events);
        // Killed before the sink had it, the sink is where it was.
        let events = Events::beside(&path, origin(), Some(at("2"))).unwrap();
        assert_eq!((positions(&path), events.checkpoint()), (vec!["2".into()], Some(&at("2"))));
        drop(events);
        let mut events = Events::open(&path, origin()).unwrap();
        assert_eq!(events.checkpoint(), Some(&at("2")));
        events.append(&Batch::default(), None, &at("4")).unwrap();
        assert_eq!(positions(&path), ["2", "4"]);
    }
}
