//! Where reading goes on: the text that only this source reads.

use std::fmt;
use std::str::FromStr;

use crate::event::Position;

/// After a source transaction, or inside one that is larger than a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Base name of the file.
    pub file: String,
    /// Of the next transaction's first byte.
    pub at: u64,
    /// Row changes of that transaction that are done, and the CRC-32 of the last one's bytes.
    pub skip: u64,
    pub crc: u32,
    /// CRC-32 of the file's first events: another log of the same name has another.
    pub log: u32,
}

/// The form's version.
const FORMAT: &str = "binlog-file/1";

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { file, at, skip, crc, log } = self;
        // The name comes last: it may hold anything.
        write!(f, "{FORMAT} at={at} skip={skip} crc={crc:08x} log={log:08x} file={file}")
    }
}

impl From<&Place> for Position {
    fn from(place: &Place) -> Self {
        Position(place.to_string())
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| format!("the checkpoint's position `{text}` is not one of this version ({FORMAT})"))
    }
}

fn parse(text: &str) -> Option<Place> {
    let rest = text.strip_prefix(FORMAT)?.strip_prefix(" at=")?;
    let (at, rest) = rest.split_once(" skip=")?;
    let (skip, rest) = rest.split_once(" crc=")?;
    let (crc, rest) = rest.split_once(" log=")?;
    let (log, file) = rest.split_once(" file=")?;
    let hex = |text: &str| u32::from_str_radix(text, 16).ok();
    Some(Place {
        file: file.to_owned(),
        at: at.parse().ok()?,
        skip: skip.parse().ok()?,
        crc: hex(crc)?,
        log: hex(log)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back_whatever_the_files_name() {
        let place = Place { file: "a file=b log=.000001".into(), at: 4711, skip: 3, crc: 0xdead_beef, log: 1 };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert!("binlog-file/2 at=1".parse::<Place>().unwrap_err().contains("binlog-file/2"));
    }
}
