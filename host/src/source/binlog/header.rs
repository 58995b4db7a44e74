//! Events: the common header, the checksum, and the bodies that carry no rows.
//!
//! Formats: `libs/mysql/binlog/event/` of the server (`binlog_event.h`, `control_events.h`).

use std::sync::Arc;

use super::frame::{Bytes, HEADER, Short};
use crate::event::Gtid;

/// Type codes of events.
pub mod kind {
    pub const QUERY: u8 = 2;
    pub const STOP: u8 = 3;
    pub const ROTATE: u8 = 4;
    pub const INTVAR: u8 = 5;
    pub const RAND: u8 = 13;
    pub const USER_VAR: u8 = 14;
    pub const FORMAT_DESCRIPTION: u8 = 15;
    pub const XID: u8 = 16;
    pub const TABLE_MAP: u8 = 19;
    pub const WRITE_ROWS_V1: u8 = 23;
    pub const UPDATE_ROWS_V1: u8 = 24;
    pub const DELETE_ROWS_V1: u8 = 25;
    pub const INCIDENT: u8 = 26;
    pub const HEARTBEAT: u8 = 27;
    pub const ROWS_QUERY: u8 = 29;
    pub const WRITE_ROWS: u8 = 30;
    pub const UPDATE_ROWS: u8 = 31;
    pub const DELETE_ROWS: u8 = 32;
    pub const GTID: u8 = 33;
    pub const ANONYMOUS_GTID: u8 = 34;
    pub const PREVIOUS_GTIDS: u8 = 35;
    pub const XA_PREPARE: u8 = 38;
    pub const PARTIAL_UPDATE_ROWS: u8 = 39;
    pub const TRANSACTION_PAYLOAD: u8 = 40;
    pub const GTID_TAGGED: u8 = 42;
    /// MariaDB's own events begin here.
    pub const MARIADB_FIRST: u8 = 160;
}

/// Whoever does not know the event may pass over it.
pub const FLAG_IGNORABLE: u16 = 0x80;

/// Set while the server writes the file; not in the checksum.
const FLAG_IN_USE: u8 = 0x01;

#[derive(Clone, Copy, Debug)]
pub struct Event<'a> {
    /// Seconds since 1970.
    pub timestamp: u32,
    pub kind: u8,
    /// Where the event ends in its file, the lower 32 bits; 0 where it was made for a reader and stands in no file.
    pub end: u32,
    pub flags: u16,
    /// Without header and checksum.
    pub body: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
pub enum EventError {
    Short,
    /// The checksum that is written, and the one that was computed.
    Checksum {
        written: u32,
        computed: u32,
    },
}

impl From<Short> for EventError {
    fn from(_: Short) -> Self {
        EventError::Short
    }
}

/// `bytes`: a whole event.
pub fn parse(bytes: &[u8], checksum: bool) -> Result<Event<'_>, EventError> {
    let mut body = &bytes[HEADER..];
    if checksum {
        let (covered, written) = bytes
            .split_at_checked(bytes.len() - 4)
            .filter(|(covered, _)| covered.len() >= HEADER)
            .ok_or(EventError::Short)?;
        let written = u32::from_le_bytes(written.try_into().expect("four bytes"));
        let computed = match bytes[4] {
            kind::FORMAT_DESCRIPTION => {
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(&covered[..17]);
                hasher.update(&[covered[17] & !FLAG_IN_USE]);
                hasher.update(&covered[18..]);
                hasher.finalize()
            }
            _ => crc32fast::hash(covered),
        };
        if written != computed {
            return Err(EventError::Checksum { written, computed });
        }
        body = &covered[HEADER..];
    }
    Ok(Event {
        timestamp: u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")),
        kind: bytes[4],
        end: u32::from_le_bytes(bytes[13..17].try_into().expect("four bytes")),
        flags: u16::from_le_bytes(bytes[17..19].try_into().expect("two bytes")),
        body,
    })
}

/// A FORMAT_DESCRIPTION's body: the server's version, and the algorithm of the file's checksums (0 none, 1 CRC-32).
pub struct Format {
    pub server_version: String,
    pub checksum_algorithm: u8,
}

/// `body`: everything after the header (checksum algorithm and checksum are its last five bytes).
pub fn format(body: &[u8]) -> Result<Format, Short> {
    let mut reader = Bytes(body);
    reader.take(2)?;
    let version = reader.take(50)?;
    let server_version = String::from_utf8_lossy(version).trim_end_matches('\0').to_owned();
    let algorithm = body.len().checked_sub(5).and_then(|at| body.get(at)).ok_or(Short)?;
    Ok(Format { server_version, checksum_algorithm: *algorithm })
}

/// What a GTID event says of its transaction.
#[derive(Debug, PartialEq, Eq)]
pub struct GtidEvent {
    /// None in an anonymous one.
    pub gtid: Option<Gtid>,
    /// Commit time on the server where it was committed first, microseconds since 1970; none before MySQL 8.0.1.
    pub commit_us: Option<i64>,
}

pub fn gtid(event: &Event<'_>) -> Result<GtidEvent, Short> {
    if event.kind == kind::GTID_TAGGED {
        return tagged_gtid(event.body);
    }
    let mut body = Bytes(event.body);
    body.take(1)?;
    let uuid = body.take(16)?.try_into().expect("sixteen bytes");
    let number = body.le(8)?;
    let gtid = (event.kind == kind::GTID).then_some(Gtid { uuid, tag: None, number });
    // Logical clock: a type byte and two numbers, then the commit times.
    let commit_us = match body.take(17).and_then(|_| body.le(7)) {
        Ok(immediate) => {
            let differs = immediate >> 55 & 1 == 1;
            Some(if differs { body.le(7)? } else { immediate } as i64)
        }
        Err(Short) => None,
    };
    Ok(GtidEvent { gtid, commit_us })
}

/// The tagged form is written by the server's serialization library: fields of a number and a value, integers of variable length.
fn tagged_gtid(body: &[u8]) -> Result<GtidEvent, Short> {
    let mut body = Bytes(body);
    // The format's version, the message's size, and the last field that must be understood.
    for _ in 0..3 {
        unsigned(&mut body)?;
    }
    let mut uuid = [0; 16];
    let (mut number, mut tag, mut immediate, mut original) = (0, None, None, None);
    while !body.0.is_empty() {
        match unsigned(&mut body)? {
            0 => drop(unsigned(&mut body)?),
            1 => {
                for byte in &mut uuid {
                    *byte = unsigned(&mut body)? as u8;
                }
            }
            2 => number = signed(&mut body)? as u64,
            3 => {
                let n = unsigned(&mut body)? as usize;
                let text = String::from_utf8_lossy(body.take(n)?).into_owned();
                tag = (!text.is_empty()).then(|| Arc::from(text));
            }
            4 | 5 => drop(signed(&mut body)?),
            6 => immediate = Some(unsigned(&mut body)? as i64),
            7 => original = Some(unsigned(&mut body)? as i64),
            // Transaction length, server versions and what later versions add: not needed.
            _ => break,
        }
    }
    Ok(GtidEvent { gtid: Some(Gtid { uuid, tag, number }), commit_us: original.or(immediate) })
}

/// As many one-bits as the first byte ends with, so many bytes follow; the rest of the bits is the number.
fn unsigned(body: &mut Bytes<'_>) -> Result<u64, Short> {
    let first = body.u8()?;
    let extra = first.trailing_ones() as usize;
    if extra == 8 {
        return body.le(8);
    }
    let low = u64::from(first) >> (extra + 1);
    Ok(body.le(extra)? << (7 - extra) | low)
}

/// The sign is the lowest bit.
fn signed(body: &mut Bytes<'_>) -> Result<i64, Short> {
    let number = unsigned(body)?;
    Ok((number >> 1) as i64 ^ -((number & 1) as i64))
}

/// A QUERY's database and statement.
pub fn query(body: &[u8]) -> Result<(&[u8], &[u8]), Short> {
    let mut body = Bytes(body);
    body.take(8)?;
    let database_length = usize::from(body.u8()?);
    body.take(2)?;
    let variables = body.le(2)? as usize;
    body.take(variables)?;
    let database = body.take(database_length)?;
    body.take(1)?;
    Ok((database, body.0))
}

/// A TRANSACTION_PAYLOAD's parts.
pub struct Payload<'a> {
    pub compression: Compression,
    /// Bytes of its events; the server always writes it.
    pub unpacked_bytes: Option<u64>,
    pub data: &'a [u8],
}

#[derive(Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Zstd,
    Unknown(u64),
}

pub fn payload(body: &[u8]) -> Result<Payload<'_>, Short> {
    let mut body = Bytes(body);
    let (mut size, mut unpacked_bytes, mut compression) = (None, None, Compression::Unknown(u64::MAX));
    loop {
        match body.lenenc()? {
            0 => break,
            field => {
                let mut value = Bytes(body.lenenc_bytes()?);
                match field {
                    1 => size = Some(value.lenenc()?),
                    2 => {
                        compression = match value.lenenc()? {
                            0 => Compression::Zstd,
                            255 => Compression::None,
                            unknown => Compression::Unknown(unknown),
                        }
                    }
                    3 => unpacked_bytes = Some(value.lenenc()?),
                    _ => {}
                }
            }
        }
    }
    let size = size.map_or(Ok(body.0.len()), |size| usize::try_from(size).map_err(|_| Short))?;
    Ok(Payload { compression, unpacked_bytes, data: body.take(size)? })
}
