//! Every default of the configuration. Keys that are not listed here have none: `name`, `source.files` (or `source.url`),
//! `source.tables`, `rule.component`, `sink.path` and `sink.table`.

use std::time::Duration;

use super::{Instance, Limits};
use crate::pipeline::AMONG_CHANGES;
use crate::source::Tls;

/// The configuration that commands read when none is named.
pub const FILE: &str = "hindsight.toml";

pub const SOURCE_KIND: &str = "mysql";
pub const TIME_ZONE: &str = "UTC";
/// Three of them without a word from the server are a lost connection.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
pub const TLS: Tls = Tls::Preferred;
pub const SNAPSHOT_READERS: usize = 2;
pub const TOPIC_PARTITIONS: usize = 4;
pub const TOPIC_COMPRESSION: &str = "lz4";
pub const SINK_KIND: &str = "sqlite";
pub const STARROCKS_USER: &str = "root";
pub const STARROCKS_LOAD_MAX: Duration = Duration::from_secs(60);
/// Each load is a version of every tablet, which have to be merged: some a second are as many as a small cluster bears.
pub const STARROCKS_INTERVAL: Duration = Duration::from_millis(200);
/// A load is waited for, and put off, no longer than this: a member of a group that stands still for five minutes is put out.
pub const STARROCKS_WAIT_MAX: Duration = Duration::from_secs(90);
/// With `sequence-column = true`.
pub const SEQUENCE_COLUMN: &str = "change_sequence";
pub const CONTROL_LISTEN: &str = "127.0.0.1:8787";

pub const LIMITS: Limits = Limits {
    memory_bytes: 64 << 20,
    deadline: Duration::from_secs(1),
    // A rule's cost per change is flat from about 1,000 on; the sink's falls further, as a page is written once a batch.
    // Twice as many take the program over 150 MB.
    batch_changes: 16_384,
    instance: Instance::Kept,
    output_rows: 64,
    output_bytes: 64 << 10,
    rejects: AMONG_CHANGES / 100,
};
