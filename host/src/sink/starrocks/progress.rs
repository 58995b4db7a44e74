//! How far a lane is, and what of it is under way: what is kept elsewhere than in the history's table, and in which order.
//!
//! A load begins on the server, then the mark that names it is written, then its rows are sent. So whoever comes next finds by the
//! mark what may still happen, and can end it: what has begun can be ended, what has not begun is never sent.

use serde::{Deserialize, Serialize};

use crate::event::{Position, Records};
use crate::sink::SinkError;

const MOVES_SHIFT: u32 = 40;

/// Moves of a lane that its rows' sequences have room for.
pub const MOVES_MAX: u64 = (1 << (48 - MOVES_SHIFT)) - 1;

/// Version of what is kept.
const FORMAT: u32 = 1;

/// Where a lane's marks are kept.
#[async_trait::async_trait]
pub trait Progress: Send + Sync {
    /// What is kept now; called once, before anything else.
    async fn read(&mut self) -> Result<Kept, SinkError>;

    /// Keeps a mark, of a load that has begun or of one that is done; when this returns, whoever reads has it, and nothing older is
    /// ever kept after it. Its number may be another one then, a larger one.
    ///
    /// # Errors
    /// [`SinkError::Fenced`]: the lane is another process's, and the mark is not kept, or nobody reads it.
    async fn write(&mut self, mark: &mut Mark) -> Result<(), SinkError>;
}

/// What is kept of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    Mark(Box<Mark>),
    /// Nothing; of other lanes there is.
    New,
    /// Nothing of any lane.
    Nothing,
    /// What is there is not ours, or of another version: the text says what.
    Foreign(String),
}

/// How far a lane is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    v: u32,
    /// Counts a lane's marks.
    pub n: u64,
    /// Kind and name of the source, as checkpoints have it.
    pub source: String,
    /// How many lanes there are: with more of them keys would lie elsewhere.
    pub lanes: u32,
    /// All before it is in the table; none: the beginning.
    #[serde(with = "text", skip_serializing_if = "Option::is_none", default)]
    pub at: Option<Position>,
    /// The last label that was seen visible: as long as the server knows it, it has not forgotten a later one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prev: Option<String>,
    /// The rule version that decides, or has decided, and since when.
    pub digest: String,
    #[serde(with = "text", skip_serializing_if = "Option::is_none", default)]
    pub since: Option<Position>,
    /// How often somebody has moved the lane to another place. From then on rows replace all that were written before, also where
    /// a column says which is newer.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub moves: u64,
    /// Dead letters from this number on go with what is under way, or with what comes next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub letters: Option<u64>,
    /// A load of dead letters that has begun.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub letters_load: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub load: Option<Intent>,
}

/// A load that has begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub label: String,
    /// It holds all from [`Mark::at`] to here.
    #[serde(with = "text_of_one")]
    pub to: Position,
    pub count: u64,
    pub sum: u64,
    /// In the rows' sequence column, where they have one.
    pub sequence: u64,
}

impl Mark {
    pub fn new(source: String, lanes: u32) -> Self {
        Mark {
            v: FORMAT,
            n: 0,
            source,
            lanes,
            at: None,
            prev: None,
            digest: String::new(),
            since: None,
            moves: 0,
            letters: None,
            letters_load: None,
            load: None,
        }
    }

    /// The one behind it, with nothing more under way.
    pub fn next(&self) -> Self {
        Mark { n: self.n + 1, letters_load: None, ..self.clone() }
    }

    /// What the rows of a batch have in their sequence column: `of_records` is an epoch in its upper 16 bits and a number in its lower
    /// 40; the moves lie between them. So it rises with each of the three, and no two batches of a pipeline have the same.
    pub fn sequence(&self, of_records: u64) -> u64 {
        of_records | self.moves << MOVES_SHIFT
    }

    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a mark is plain data")
    }

    /// # Errors
    /// It is not one of this version; the text says so.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mark: Mark = serde_json::from_str(text).map_err(|_| format!("`{text}`, which is not ours"))?;
        match mark.v {
            FORMAT => Ok(mark),
            v => Err(format!("of format {v}, and this version writes {FORMAT}: use the version that wrote it")),
        }
    }
}

impl Intent {
    pub fn records(&self) -> Records {
        Records { count: self.count, sum: self.sum, sequence: self.sequence }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

mod text {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::event::Position;

    #[expect(clippy::ref_option, reason = "as serde calls it")]
    pub fn serialize<S: Serializer>(position: &Option<Position>, to: S) -> Result<S::Ok, S::Error> {
        match position {
            Some(Position(text)) => to.serialize_str(text),
            None => to.serialize_none(),
        }
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Option<Position>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Position))
    }
}

mod text_of_one {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::event::Position;

    pub fn serialize<S: Serializer>(position: &Position, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&position.0)
    }

    pub fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Position, D::Error> {
        String::deserialize(from).map(Position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_reads_back_and_another_text_is_refused() {
        let mut mark = Mark::new("topic changes".into(), 3);
        assert_eq!(Mark::parse(&mark.text()), Ok(mark.clone()));
        mark.at = Some(Position("topic/1 offset=4 epoch=1 number=9".into()));
        (mark.since, mark.prev, mark.digest) = (mark.at.clone(), Some("hs-1".into()), "ab".into());
        let to = Position("topic/1 offset=9 epoch=1 number=12".into());
        mark.load = Some(Intent { label: "hs-2".into(), to, count: 5, sum: 1 << 40, sequence: 7 });
        assert_eq!(Mark::parse(&mark.text()), Ok(mark.clone()));
        assert!(mark.text().len() < 600, "a broker keeps 4,096 bytes: {}", mark.text());

        assert!(Mark::parse("flink").unwrap_err().contains("not ours"));
        let newer = mark.text().replacen("\"v\":1", "\"v\":2", 1);
        assert!(Mark::parse(&newer).unwrap_err().contains("format 2"));
    }
}
