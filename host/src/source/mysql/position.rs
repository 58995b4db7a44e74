//! Where a live source goes on: the text that only this source reads.

use std::fmt;
use std::str::FromStr;

use super::GtidSet;
use crate::event::Position;

/// The transactions that are done, and how far the next one is where it is larger than a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub gtids: GtidSet,
    /// Row changes of the next transaction that are done, and the CRC-32 of the last one's bytes.
    pub skip: u64,
    pub crc: u32,
    /// When the last of them was committed, microseconds since 1970, UTC; 0 where none was read yet.
    pub time_us: i64,
    /// Where reading stood in the server's own files: for people, servers number them differently.
    pub file: String,
    pub at: u64,
}

/// The form's version.
const FORMAT: &str = "mysql/1";

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { gtids, skip, crc, time_us, file, at } = self;
        write!(f, "{FORMAT} skip={skip} crc={crc:08x} time={time_us} file={file} at={at} gtids={gtids}")
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
    let rest = text.strip_prefix(FORMAT)?.strip_prefix(" skip=")?;
    let (skip, rest) = rest.split_once(" crc=")?;
    let (crc, rest) = rest.split_once(" time=")?;
    let (time_us, rest) = rest.split_once(" file=")?;
    // From the end: a file's name may hold anything.
    let (rest, gtids) = rest.rsplit_once(" gtids=")?;
    let (file, at) = rest.rsplit_once(" at=")?;
    Some(Place {
        gtids: gtids.parse().ok()?,
        skip: skip.parse().ok()?,
        crc: u32::from_str_radix(crc, 16).ok()?,
        time_us: time_us.parse().ok()?,
        file: file.to_owned(),
        at: at.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back() {
        let place = Place {
            gtids: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7:blue:1".parse().unwrap(),
            skip: 3,
            crc: 0xdead_beef,
            time_us: 1_700_000_000_000_000,
            file: "my at=log.000001".into(),
            at: 4711,
        };
        assert_eq!(place.to_string().parse(), Ok(place));
        assert_eq!(Place::default().to_string().parse(), Ok(Place::default()));
        assert!("mysql/2 skip=1".parse::<Place>().unwrap_err().contains("mysql/2"));
    }
}
