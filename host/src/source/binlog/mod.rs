//! MySQL binlog files as a source: an own event parser and row decoder over one buffer.
//!
//! [`BinlogFile`] walks the events; `log` is the files, [`changes`] the batch and the transaction in hand.

pub(super) mod catalog;
pub(super) mod changes;
pub(super) mod charset;
mod decimal;
mod frame;
pub(super) mod header;
pub(super) mod json;
pub(super) mod log;
mod position;
pub(super) mod row;
mod statement;
pub(super) mod table_map;

use std::path::PathBuf;

use super::{Source, SourceError, TableFilter};
use crate::civil::Zone;
use crate::event::{Batch, Position};
use changes::{Capture, Changes, Part, Step};
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
    /// Behind the last whole transaction.
    place: Place,
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
        let log = Log::open(settings.files, place.as_ref())?;
        let mut changes = Changes::new(Capture {
            tables: settings.tables,
            zone: settings.zone,
            batch_changes_max: settings.batch_changes_max,
            batch_bytes_max: settings.batch_bytes_max,
            damaged: "the file is damaged, copy it from the server again",
            later: "give files written after it",
        });
        let place = place.unwrap_or_else(|| log.place());
        changes.resume(Part { skip: place.skip, crc: place.crc });
        changes.enter(&place.file, place.at);
        let place = Place { skip: 0, crc: 0, ..place };
        Ok(BinlogFile { log, changes, place, failed: None, ended: false })
    }

    /// Reads until a batch is full, or the log ends.
    fn fill(&mut self) -> Result<Option<(Batch, Position)>, SourceError> {
        let from = self.log.read_bytes();
        loop {
            let more = self.log.advance()?;
            let entered = self.log.entered_file();
            if (entered || !more) && self.changes.in_transaction() {
                return Err(self.log.ends_inside_transaction(&self.changes.transaction_name()));
            }
            if !more {
                self.ended = true;
                return Ok(self.hand_out_whole());
            }
            if entered {
                self.place = self.log.place();
                self.changes.reached(&self.place.file, self.place.at);
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
                    self.place = self.log.place();
                    self.changes.commit(self.place.at)?;
                }
                Step::RolledBack => {
                    self.log.consume();
                    self.log.leave_payload()?;
                    self.place = self.log.place();
                    self.changes.roll_back(self.place.at)?;
                }
                Step::Reread => {
                    // The table has another shape from this transaction on: the batch ends before it.
                    let batch = self.hand_out_whole();
                    self.log.seek(self.changes.begin())?;
                    return Ok(batch);
                }
            }
            if self.changes.is_full() {
                let handed_out = self.changes.hand_out_all();
                return Ok(handed_out.map(|handed_out| self.positioned(handed_out)));
            }
            if self.log.read_bytes() - from > IDLE_BYTES_MAX && !self.changes.in_transaction() {
                return Ok(self.hand_out_whole());
            }
        }
    }

    fn hand_out_whole(&mut self) -> Option<(Batch, Position)> {
        let handed_out = self.changes.hand_out_whole();
        handed_out.map(|handed_out| self.positioned(handed_out))
    }

    fn positioned(&self, (mut batch, Part { skip, crc }): (Batch, Part)) -> (Batch, Position) {
        batch.progress = Some(self.log.progress());
        // A recorded log lags behind nothing.
        batch.committed_us = None;
        (batch, Position::from(&Place { skip, crc, ..self.place.clone() }))
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
            Err(error) => match self.hand_out_whole() {
                Some(batch) => {
                    self.failed = Some(error);
                    Ok(Some(batch))
                }
                None => Err(error),
            },
        }
    }
}
