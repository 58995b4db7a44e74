//! The Kafka topic between capture and history, and its side topics. The only place that knows a Kafka client.
//!
//! ```text
//! capture half: batch ──▶ writer ──one transaction──▶ <topic> (a message an event), <topic>.capture (the checkpoint)
//! apply half:   <topic> ──▶ group ──a partition's messages──▶ lane, a source ──▶ batch
//!               what was set aside ──▶ <topic>.dead-letters (a copy)
//! ```
//!
//! The topic may also be one that Debezium or Flink CDC writes (`foreign`): then there is no capture half.
//!
//! `writer` is opened once per run: it makes the topics where they are missing, fences every earlier writer of the
//! pipeline, and looks whether the topic holds what the checkpoint says (`continuity`). Each message carries its
//! sequence in a header, by which a reader drops repeats and notices gaps.

mod admin;
mod client;
mod continuity;
mod document;
mod foreign;
mod group;
mod inbox;
mod lane;
mod letters;
mod log;
mod offsets;
mod partition;
mod producer;
mod rewind;
mod schemas;
mod sequence;
mod survey;
mod tail;
mod writer;

pub use client::{TopicSettings, is_ours};
pub use group::{Begin, Ending, Group, Keeps, LaneSettings, Lanes};
pub use lane::Lane;
pub use lane::offset_of;
pub use letters::LetterLog;
pub use log::TopicLog;
pub use offsets::{Committed, NotKept, Offsets, group_offsets};
pub use rewind::{Target, To, partitions, targets};
pub use survey::{Finding, State, survey};

/// Each text names broker, topic and what to do.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The broker or a topic cannot serve (not reached, refused, wrong settings, foreign records): before the first batch exit code 3, 1
    /// afterwards.
    #[error("{0}")]
    Unfit(String),
    /// What is configured does not go together with what the topic holds, or is no setting at all: exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Nothing of the open transaction is in the topic: open it again, and go on at its checkpoint.
    #[error("{0}")]
    Again(String),
    /// Another process writes for this pipeline, or the topic has lost or gained records: exit code 1.
    #[error("{0}")]
    Stop(String),
}

/// Whatever happens, nothing waits for a broker longer than this without a word.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);
