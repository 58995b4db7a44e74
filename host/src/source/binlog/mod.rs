//! MySQL binlog files as a source: an own event parser and row decoder over one buffer.
//!
//! [`BinlogFile`] walks the events; `log` is the files, [`changes`] the batch and the transaction in hand.

mod changes;
mod charset;
mod decimal;
mod frame;
mod header;
mod log;
mod position;
mod row;
mod statement;
mod table_map;

use std::path::PathBuf;

use super::{Source, SourceError, TableFilter};
use crate::civil::Zone;
use crate::event::{Batch, Position};
use changes::{Changes, Step};
use header::Payload;
use log::Log;
use position::Place;

/// What is read, and how much at once.
#[derive(Clone, Debug)]
pub struct BinlogFileSettings {
    /// In the order in which the server wrote them.
    pub files: Vec<PathBuf>,
    pub tables: TableFilter,
    /// The zone whose wall clock DATETIME columns show.
    pub zone: Zone,
    pub batch_changes_max: usize,
    /// Memory of a batch's images.
    pub batch_bytes_max: usize,
}

/// A batch without changes moves the position on after so many bytes.
const IDLE_BYTES_MAX: u64 = 64 << 20;

/// Recorded binlog files, read to their end.
pub struct BinlogFile {
    log: Log,
    changes: Changes,
    /// What is left to say once all whole transactions have been handed out.
    failed: Option<SourceError>,
    ended: bool,
}

impl BinlogFile {
    /// Opens the files at a position, or at their beginning.
    ///
    /// # Errors
    /// A file is missing or no MySQL binlog, or the position belongs to other files.
    pub fn open(settings: BinlogFileSettings, start: Option<&Position>) -> Result<Self, SourceError> {
        let place = match start {
            Some(position) => Some(position.0.parse::<Place>().map_err(SourceError::Unfit)?),
            None => None,
        };
        let log = Log::open(settings.files.clone(), place.as_ref())?;
        let mut changes = Changes::new(settings, log.file_name());
        changes.resume(place.unwrap_or_else(|| log.place()));
        Ok(BinlogFile { log, changes, failed: None, ended: false })
    }

    /// Reads until a batch is full, or the log ends.
    fn fill(&mut self) -> Result<Option<(Batch, Position)>, SourceError> {
        let from = self.log.read_bytes();
        loop {
            let progress = self.log.progress();
            let more = self.log.advance()?;
            let entered = self.log.entered_file();
            if (entered || !more) && self.changes.in_transaction() {
                return Err(self.log.ends_inside_transaction(&self.changes.transaction_name()));
            }
            if !more {
                self.ended = true;
                return Ok(self.changes.hand_out_whole(progress));
            }
            if entered {
                self.changes.reached(self.log.place());
            }
            match self.changes.step(&self.log.event()?)? {
                Step::Next => self.log.consume(),
                Step::Unpack(Payload { compression, unpacked_bytes, data }) => {
                    let data = data.to_vec();
                    self.log.unpack(compression, unpacked_bytes, data)?;
                }
                Step::Rotate(name) => {
                    self.log.consume();
                    self.log.rotated(&name)?;
                }
                Step::Stopped => {
                    self.log.consume();
                    self.log.stopped();
                }
                Step::Committed => {
                    self.log.consume();
                    self.log.leave_payload()?;
                    self.changes.commit(self.log.place())?;
                }
                Step::RolledBack => {
                    self.log.consume();
                    self.log.leave_payload()?;
                    self.changes.roll_back(self.log.place())?;
                }
                Step::Reread => {
                    // The table has another shape from this transaction on: the batch ends before it.
                    let batch = self.changes.hand_out_whole(progress);
                    self.log.seek(self.changes.place().at)?;
                    return Ok(batch);
                }
            }
            if self.changes.is_full() {
                return Ok(self.changes.hand_out_all(self.log.progress()));
            }
            if self.log.read_bytes() - from > IDLE_BYTES_MAX && !self.changes.in_transaction() {
                return Ok(self.changes.hand_out_whole(self.log.progress()));
            }
        }
    }
}

#[async_trait::async_trait]
impl Source for BinlogFile {
    async fn next(&mut self) -> Result<Option<(Batch, Position)>, SourceError> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        if self.ended {
            return Ok(None);
        }
        match self.fill() {
            Ok(batch) => Ok(batch),
            Err(error) => {
                let progress = self.log.progress();
                match self.changes.hand_out_whole(progress) {
                    Some(batch) => {
                        self.failed = Some(error);
                        Ok(Some(batch))
                    }
                    None => Err(error),
                }
            }
        }
    }
}
