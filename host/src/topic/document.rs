//! The capture half's checkpoint, as the side topic holds it: JSON under the key [`CHECKPOINT_KEY`], the last one counts.

use serde::{Deserialize, Serialize};

use super::TopicError;

/// The key of the checkpoint's records.
pub const CHECKPOINT_KEY: &str = "checkpoint";

/// What a checkpoint has for the columns where each table's messages are keyed by its primary key.
pub const BY_PRIMARY_KEY: &str = "(primary key)";

/// How the keys of schemas begin; the hash follows that their messages name.
pub const SCHEMA_KEY: &str = "schema:";

/// The form's version.
const VERSION: u32 = 1;

/// How far the capture half is: committed with the messages that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub v: u32,
    /// As checkpoints name the source: kind and tables.
    pub source: String,
    /// Where the source goes on; only it reads this.
    pub position: String,
    /// The columns that messages are keyed by: `owner_id`; or [`BY_PRIMARY_KEY`]. Empty before the first message.
    pub key: String,
    pub epoch: u64,
    /// The last sequence of this epoch in each partition, 0 where it has none. As many as the topic has partitions.
    pub sent: Vec<u64>,
}

impl Checkpoint {
    /// Before the first message of all.
    pub fn new(source: &str, partitions: u32) -> Self {
        Checkpoint {
            v: VERSION,
            source: source.to_owned(),
            position: String::new(),
            key: String::new(),
            epoch: 1,
            sent: vec![0; partitions as usize],
        }
    }

    /// The last sequence of the epoch.
    pub fn last(&self) -> u64 {
        self.sent.iter().copied().max().unwrap_or(0)
    }

    /// Begins an epoch: numbers start again, and are not compared with earlier ones.
    pub fn begin_epoch(&mut self) {
        self.epoch += 1;
        self.sent.fill(0);
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a checkpoint is plain data")
    }

    /// `place`: the record, for messages.
    ///
    /// # Errors
    /// It is not one, or of a version that this program does not know.
    pub fn from_json(bytes: &[u8], place: &str) -> Result<Self, TopicError> {
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let unreadable = |why: String| {
            TopicError::Unfit(format!(
                "{place} holds no checkpoint of hindsight: {why}. Is the topic written by something else? Name another [topic] name"
            ))
        };
        let version: Version = serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))?;
        if version.v != VERSION {
            return Err(TopicError::Unfit(format!(
                "{place} holds a checkpoint of version {}, and this program knows version {VERSION}: run the program that wrote it, \
                 or a newer one",
                version.v
            )));
        }
        serde_json::from_slice(bytes).map_err(|error| unreadable(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_and_another_version_is_named() {
        let mut checkpoint = Checkpoint::new("mysql shop.a", 3);
        checkpoint.sent = vec![4, 0, 9];
        checkpoint.position = "mysql/1 skip=0".into();
        assert_eq!(checkpoint.last(), 9);
        assert_eq!(Checkpoint::from_json(&checkpoint.to_json(), "here").unwrap(), checkpoint);
        checkpoint.begin_epoch();
        assert_eq!((checkpoint.epoch, checkpoint.last()), (2, 0));
        let newer = br#"{"v":2,"anything":"else"}"#;
        let refused = Checkpoint::from_json(newer, "a.capture at 7").unwrap_err().to_string();
        assert!(refused.contains("a.capture at 7") && refused.contains("version 2"), "{refused}");
        assert!(Checkpoint::from_json(b"nothing", "here").is_err());
    }
}
