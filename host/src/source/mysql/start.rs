//! Where a live source begins when there is no checkpoint.

use std::fmt;
use std::str::FromStr;

use super::GtidSet;

/// `source.start`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest transaction that the server still has.
    Earliest,
    /// With what is committed from now on.
    Now,
    /// At a transaction's first byte in a binlog file.
    At { file: String, at: u64 },
    /// After these transactions.
    After(GtidSet),
}

impl FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = || "it is \"earliest\", \"now\", \"file:position\" or a GTID set".to_owned();
        match text {
            "earliest" => return Ok(Start::Earliest),
            "now" => return Ok(Start::Now),
            _ => {}
        }
        let (head, rest) = text.split_once(':').ok_or_else(help)?;
        // A file's name ends with a number behind a dot, a UUID has no dot.
        if head.contains('.') {
            let at = rest.parse().map_err(|_| format!("`{rest}` is no position in {head}; {}", help()))?;
            return Ok(Start::At { file: head.to_owned(), at });
        }
        text.parse().map(Start::After)
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::Earliest => f.write_str("earliest"),
            Start::Now => f.write_str("now"),
            Start::At { file, at } => write!(f, "{file}:{at}"),
            Start::After(set) => set.fmt(f),
        }
    }
}
