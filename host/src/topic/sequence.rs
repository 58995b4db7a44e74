//! The number that each message carries: by it a reader drops repeats and notices gaps.

use std::fmt;
use std::str::FromStr;

/// Of a message, in the form of [`Sequence`]'s text.
pub const SEQUENCE_HEADER: &str = "hindsight.sequence";

/// Of a message of a change that moves a row between entities: `leaves`, `arrives`.
pub const MOVE_HEADER: &str = "hindsight.move";

/// Of a message: the hash of its table's schema.
pub const SCHEMA_HEADER: &str = "hindsight.schema";

/// `epoch:number:previous`, decimal.
///
/// Numbers are consecutive over all partitions within an epoch, from 1 on; `previous` is the last one sent to the same
/// partition in the epoch, 0 where there was none. Numbers of two epochs are not compared: a new one begins where it is not
/// proven that the topic goes on where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    pub epoch: u64,
    pub number: u64,
    pub previous: u64,
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.epoch, self.number, self.previous)
    }
}

impl FromStr for Sequence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let mut parts = text.split(':');
            let mut next = || parts.next()?.parse::<u64>().ok();
            let sequence = Sequence { epoch: next()?, number: next()?, previous: next()? };
            (parts.next().is_none() && sequence.previous < sequence.number).then_some(sequence)
        };
        parse().ok_or_else(|| format!("{SEQUENCE_HEADER} is {text:?}, not epoch:number:previous"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_reads_back() {
        let sequence = Sequence { epoch: 2, number: 17, previous: 11 };
        assert_eq!(sequence.to_string(), "2:17:11");
        assert_eq!("2:17:11".parse(), Ok(sequence));
        for wrong in ["", "1:2", "1:2:3:4", "1:2:2", "a:2:1", "-1:2:1"] {
            assert!(wrong.parse::<Sequence>().is_err(), "{wrong}");
        }
    }
}
