//! The control port: a running pipeline is looked at, paused and given another rule over HTTP on the loopback interface.
//!
//! `server` answers, `client` asks (for `hindsight status` and its like), `answers` is what they exchange. Who can reach
//! the port can change what is written to history, so it listens on loopback only, and is deaf to web pages.

mod answers;
mod client;
mod server;

pub use answers::{
    CaptureAnswer, ErrorAnswer, ExchangeAnswer, ResnapshotAnswer, RuleAnswer, SourceAnswer, StatusAnswer,
};
pub use client::{Client, Unanswered};
pub use server::{CaptureHalf, Control, Port};

/// Every request that changes something carries `hindsight-control: 1`. A web page in a browser on this machine can post
/// to any local port, but not with a header of its own: that needs the port's consent to a preflight, which never comes.
const CONSENT: &str = "hindsight-control";

/// Names the pipeline that is meant: two of them with one configured port would otherwise be taken for each other.
const PIPELINE: &str = "hindsight-pipeline";

/// Where a swapped component comes from, for people.
const ORIGIN: &str = "hindsight-origin";

/// A swapped component's settings, a JSON object of texts; left out: the active rule's.
const SETTINGS: &str = "hindsight-settings";

/// The table that is to be read again.
const TABLE: &str = "hindsight-table";

/// The largest component that is taken; rules in JavaScript or Python carry their engine.
const COMPONENT_BYTES_MAX: usize = 64 << 20;
