//! Names of loads: no two loads ever have the same.

use sha2::{Digest, Sha256};

/// What the labels of a lane begin with: `hs-{pipeline}-{topic}-{partition}`, of the names a part of their digest, as labels take
/// neither every character nor any length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels(String);

impl Labels {
    pub fn of_partition(pipeline: &str, topic: &str, partition: u32) -> Self {
        Labels(format!("hs-{}-{}-{partition}", short(pipeline), short(topic)))
    }

    /// Of a pipeline without a topic.
    pub fn of_pipeline(pipeline: &str) -> Self {
        Labels(format!("hs-{}-d", short(pipeline)))
    }

    /// Of its marks, each of which has one label.
    pub fn of_progress(pipeline: &str) -> Self {
        Labels(format!("hs-{}-p", short(pipeline)))
    }

    /// The one of this number.
    pub fn fixed(&self, n: u64) -> String {
        format!("{}-{n}", self.0)
    }

    /// Of commands that settle dead letters.
    pub fn of_letters(pipeline: &str) -> Self {
        Labels(format!("hs-{}-letters", short(pipeline)))
    }

    /// One that nobody has used.
    pub fn next(&self, n: u64) -> String {
        format!("{}-{n}-{:016x}", self.0, fastrand::u64(..))
    }
}

fn short(name: &str) -> String {
    Sha256::digest(name.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_one_to_starrocks_and_is_used_once() {
        let labels = Labels::of_partition("item-assets", "a.topic.with.dots", 3);
        let (one, other) = (labels.next(7), labels.next(7));
        assert_ne!(one, other);
        assert!(one.starts_with(&format!("{}-7-", labels.0)), "{one}");
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        assert!(one.len() <= 128 && one.bytes().all(is_plain), "{one}");
        assert_ne!(Labels::of_partition("item-assets", "b", 3), Labels::of_partition("item-assets", "c", 3));
    }
}
