//! The walk over a server's events: what each one means for the batch and for the place.

use std::cmp::Ordering;
use std::sync::Arc;

use mysql_async::binlog::events::Event as Received;

use super::GtidSet;
use super::position::Place;
use crate::event::{Batch, Position, TableSchema};
use crate::source::SourceError;
use crate::source::binlog::changes::{Capture, Changes, Part, Step};
use crate::source::binlog::header::{Compression, Event, Payload, kind};
use crate::source::binlog::log::Placed;

/// Bytes of the common header.
const HEADER: usize = 19;

/// Where the first event of a file stands.
const FIRST_EVENT: u64 = 4;

/// What is to be done after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Next,
    /// A transaction has ended.
    Whole,
    /// The batch must end here, and the transaction in hand be read again.
    Again,
}

pub struct Walk {
    changes: Changes,
    /// Behind the last whole transaction.
    pub place: Place,
    /// The compressed transaction whose events come now.
    payload: Option<Unpacked>,
    /// The file that the server reads from, and whether its format was described.
    file: String,
    described: bool,
    /// How far its events have come in that file.
    reached: u64,
    /// What the snapshot's rows hold, until the place is behind all of it.
    pub held: Option<GtidSet>,
}

/// How many bytes the events of a compressed transaction have, and how many have come.
struct Unpacked {
    at: u64,
    packed_bytes: u64,
    got_bytes: u64,
}

impl Walk {
    /// `tables`: those that were met before.
    pub fn new(capture: Capture, place: Place, tables: &[Arc<TableSchema>]) -> Self {
        let mut changes = Changes::with_tables(capture, tables.to_vec());
        changes.resume(Part { skip: place.skip, crc: place.crc });
        Walk { changes, place, payload: None, file: String::new(), described: false, reached: 0, held: None }
    }

    /// The tables met so far.
    pub fn tables(&self) -> &[Arc<TableSchema>] {
        self.changes.tables()
    }

    /// The place is to be handed out though nothing was read: it is where the source begins.
    pub fn begins_here(&mut self) {
        self.changes.reached("", 0);
    }

    /// The connection is another one: the transaction in hand will come again.
    pub fn rewind(&mut self) {
        self.changes.rewind();
        self.payload = None;
        self.described = false;
    }

    /// Takes one event in.
    pub fn take(&mut self, received: &Received) -> Result<Taken, SourceError> {
        let header = received.header();
        let size = u64::from(header.event_size());
        let mut data = received.data();
        // Events of a compressed transaction have neither checksum nor place of their own.
        let inner = !received.footer().get_checksum_enabled();
        if let (Some(written), false) = (received.checksum(), inner) {
            verify(received, written).map_err(|text| self.damaged(&text))?;
        }
        match (&mut self.payload, inner) {
            (Some(payload), true) => payload.got_bytes += size,
            (Some(_), false) => return Err(self.broken_payload()),
            (None, true) => return Err(self.damaged("events of a compressed transaction without its envelope")),
            (None, false) => {}
        }
        let end = u64::from(header.log_pos());
        if !inner && end > 0 {
            self.reached = end;
        }
        let at = self.payload.as_ref().map_or(end.saturating_sub(size), |payload| payload.at);
        if header.event_type_raw() == kind::ROTATE && !self.described {
            // The first event comes before the format's description, so its checksum was taken for a part of the name.
            data = without_checksum(received, data);
        }
        match header.event_type_raw() {
            kind::FORMAT_DESCRIPTION => {
                self.described = true;
                return Ok(Taken::Next);
            }
            kind::ANONYMOUS_GTID => {
                return Err(SourceError::Stop(format!(
                    "{}:{at}: a transaction without a GTID, written while gtid_mode was not ON: it cannot be told apart when reading \
                     goes on elsewhere. Begin behind it: start = \"now\", or a GTID set, with a new history",
                    self.file
                )));
            }
            _ => {}
        }
        let event = Event {
            timestamp: header.timestamp(),
            kind: header.event_type_raw(),
            end: header.log_pos(),
            flags: header.flags_raw(),
            body: data,
        };
        match self.changes.step(&Placed { at, event })? {
            Step::Next | Step::Stopped => Ok(Taken::Next),
            Step::Unpack(payload) => self.unpack(at, &payload),
            Step::Rotate(name) => {
                if self.changes.in_transaction() {
                    return Err(self.damaged(&format!(
                        "{} ends inside {}",
                        self.file,
                        self.changes.transaction_name()
                    )));
                }
                if name != self.file {
                    self.file = name;
                    self.reached = FIRST_EVENT;
                }
                self.changes.enter(&self.file, FIRST_EVENT);
                Ok(Taken::Next)
            }
            Step::Committed => self.whole(end, Changes::commit),
            Step::RolledBack => self.whole(end, Changes::roll_back),
            Step::Reread => Ok(Taken::Again),
        }
    }

    /// Whether a place of the server's files lies behind, as `SHOW BINARY LOG STATUS` names it.
    pub fn has_reached(&self, file: &str, at: u64) -> bool {
        // The name ends with a number that grows, also in digits.
        let order = |file: &str| file.rsplit('.').next().and_then(|number| number.parse::<u64>().ok());
        match order(&self.file).cmp(&order(file)) {
            Ordering::Less => false,
            // An event's place has 32 bits: behind 4 GiB of one file it is read to that file's next event.
            Ordering::Equal => self.reached >= at & u64::from(u32::MAX),
            Ordering::Greater => true,
        }
    }

    /// Whether the last event was one inside a transaction.
    pub fn in_transaction(&self) -> bool {
        self.changes.in_transaction()
    }

    /// Whether whole transactions with changes are at hand.
    pub fn has_whole(&self) -> bool {
        self.changes.has_whole()
    }

    /// Whether there is a place to hand out.
    pub fn has_moved(&self) -> bool {
        self.changes.has_moved()
    }

    pub fn is_full(&self) -> bool {
        self.changes.is_full()
    }

    /// Everything up to the last whole transaction; none where nothing is new.
    pub fn hand_out_whole(&mut self) -> Option<(Batch, Position)> {
        let handed_out = self.changes.hand_out_whole();
        handed_out.map(|handed_out| self.positioned(handed_out))
    }

    /// The same with the part of the transaction in hand that was read.
    pub fn hand_out_all(&mut self) -> Option<(Batch, Position)> {
        let handed_out = self.changes.hand_out_all();
        handed_out.map(|handed_out| self.positioned(handed_out))
    }

    fn positioned(&self, (batch, Part { skip, crc }): (Batch, Part)) -> (Batch, Position) {
        let position = Position::from(&Place { skip, crc, ..self.place.clone() });
        (batch, position)
    }

    fn unpack(&mut self, at: u64, payload: &Payload<'_>) -> Result<Taken, SourceError> {
        if let Compression::Unknown(unknown) = payload.compression {
            return Err(SourceError::Stop(format!(
                "{}:{at}: the transaction is compressed by method {unknown}, which is not known; use a newer version of hindsight",
                self.file
            )));
        }
        let Some(packed_bytes) = payload.unpacked_bytes else {
            return Err(self.damaged("a compressed transaction does not say how large it is"));
        };
        self.payload = Some(Unpacked { at, packed_bytes, got_bytes: 0 });
        Ok(Taken::Next)
    }

    fn whole(
        &mut self,
        end: u64,
        finish: fn(&mut Changes, u64) -> Result<Option<crate::event::Gtid>, SourceError>,
    ) -> Result<Taken, SourceError> {
        // The transport says nothing of a payload that it could not unpack to its end.
        if self.payload.as_ref().is_some_and(|payload| payload.got_bytes != payload.packed_bytes) {
            return Err(self.broken_payload());
        }
        self.payload = None;
        if let Some(gtid) = self.changes.gtid()
            && self.place.gtids.contains(gtid)
        {
            return Err(self.damaged(&format!("transaction {gtid} comes a second time")));
        }
        let Some(gtid) = finish(&mut self.changes, end)? else {
            return Err(self.damaged("a transaction ends that has not begun"));
        };
        self.place.gtids.add(&gtid);
        if self.held.as_ref().is_some_and(|held| held.is_subset_of(&self.place.gtids)) {
            (self.held, self.place.snapshot) = (None, None);
        }
        (self.place.skip, self.place.crc) = (0, 0);
        self.place.time_us = self.changes.committed_us().unwrap_or(self.place.time_us);
        self.place.at = end;
        if self.place.file != self.file {
            self.place.file.clone_from(&self.file);
        }
        Ok(Taken::Whole)
    }

    fn broken_payload(&self) -> SourceError {
        let (packed, got) = self.payload.as_ref().map_or((0, 0), |payload| (payload.packed_bytes, payload.got_bytes));
        self.damaged(&format!(
            "a compressed transaction cannot be unpacked: {packed} bytes were packed, {got} came out"
        ))
    }

    fn damaged(&self, what: &str) -> SourceError {
        SourceError::Stop(format!("{}: {what}, behind transaction set {}; {DAMAGED}", self.file, self.place.gtids))
    }
}

/// What to do where the log is damaged.
pub const DAMAGED: &str = "what the source sends is damaged: look at its error log, and run `mysqlbinlog --verify-binlog-checksum` on the file there";

fn verify(received: &Received, written: [u8; 4]) -> Result<(), String> {
    let written = u32::from_le_bytes(written);
    let header = received.header();
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header_bytes(received));
    hasher.update(received.data());
    let computed = hasher.finalize();
    // The description's flag and algorithm are cut off in the transport.
    if computed == written || header.event_type_raw() == kind::FORMAT_DESCRIPTION {
        return Ok(());
    }
    Err(format!(
        "the checksum of the event that ends at {} is {computed:08x}, but {written:08x} is written",
        header.log_pos()
    ))
}

/// The common header as it came.
fn header_bytes(received: &Received) -> [u8; HEADER] {
    let header = received.header();
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&header.timestamp().to_le_bytes());
    bytes[4] = header.event_type_raw();
    bytes[5..9].copy_from_slice(&header.server_id().to_le_bytes());
    bytes[9..13].copy_from_slice(&header.event_size().to_le_bytes());
    bytes[13..17].copy_from_slice(&header.log_pos().to_le_bytes());
    bytes[17..19].copy_from_slice(&header.flags_raw().to_le_bytes());
    bytes
}

fn without_checksum<'a>(received: &Received, data: &'a [u8]) -> &'a [u8] {
    let Some((name, written)) = data.split_last_chunk::<4>() else { return data };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header_bytes(received));
    hasher.update(name);
    if hasher.finalize() == u32::from_le_bytes(*written) { name } else { data }
}
