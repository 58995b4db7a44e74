//! Which rule decides what: a rule's versions, and the turns at which one followed another. Knows no client crate.
//!
//! A sink keeps the ledger beside the checkpoint and moves both in one transaction, so that every history row was
//! decided by the version that the ledger names for its position.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::event::Position;

/// A component with its settings: two of one digest decide alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleVersion {
    /// SHA-256, hex, over the component, the settings and the time zone that the rule sees times in.
    pub digest: String,
    /// SHA-256 of the component's bytes, hex.
    pub component_digest: String,
    /// Name and version that the rule gives itself.
    pub name: String,
    /// Where the component came from: a path, or `builtin:NAME`.
    pub origin: String,
    /// Ordered by name.
    pub settings: Vec<(String, String)>,
    pub component: Arc<[u8]>,
}

/// Form of what is digested.
const FORMAT: &[u8] = b"hindsight-rule/1";

impl RuleVersion {
    pub fn new(
        name: String,
        origin: String,
        component: Arc<[u8]>,
        mut settings: Vec<(String, String)>,
        time_zone: &str,
    ) -> Self {
        settings.sort();
        let component_digest = hex(&Sha256::digest(&component));
        let mut hasher = Sha256::new();
        // Each text with its length: no two lists give the same bytes.
        let mut text = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        text(FORMAT);
        text(component_digest.as_bytes());
        text(time_zone.as_bytes());
        for (name, value) in &settings {
            text(name.as_bytes());
            text(value.as_bytes());
        }
        let digest = hex(&hasher.finalize());
        RuleVersion { digest, component_digest, name, origin, settings, component }
    }

    /// Whether the component is the one that was digested.
    pub fn is_whole(&self) -> bool {
        hex(&Sha256::digest(&self.component)) == self.component_digest
    }

    /// Enough of the digest to tell versions apart, for people.
    pub fn short(&self) -> &str {
        short(&self.digest)
    }
}

/// `scd2-by-owner 0.1.0 (3e11fa4771ca)`
impl std::fmt::Display for RuleVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.short())
    }
}

/// The first twelve digits.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// From a position on, a version decides.
#[derive(Clone, Debug)]
pub struct Turn {
    pub version: Arc<RuleVersion>,
    /// None: from the beginning.
    pub since: Option<Position>,
    pub reason: Reason,
    /// What `rollback` goes back to from here on.
    pub previous: Option<Arc<RuleVersion>>,
    /// Digest of the rule that the configuration names.
    pub configured: String,
    /// The source tables that the version is configured for, as [`shapes`](crate::event::shapes) says them; empty where
    /// none was met yet.
    pub tables: String,
}

/// Why a turn was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The first one.
    Start,
    Swap,
    Rollback,
    /// At a start, the configuration named another rule than at the start before.
    Configuration,
    /// The same version, configured for tables of another shape.
    Schema,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Start => "start",
            Reason::Swap => "swap",
            Reason::Rollback => "rollback",
            Reason::Configuration => "configuration",
            Reason::Schema => "schema",
        }
    }
}

/// A turn as the ledger's reader tells it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Entry {
    /// Of a pipeline with a topic: the partition that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<u32>,
    /// From 1.
    pub n: i64,
    /// None: from the beginning.
    pub since: Option<String>,
    pub digest: String,
    pub previous: Option<String>,
    pub reason: String,
    pub tables: String,
    /// The host's clock, UTC.
    pub at: String,
    pub name: String,
    pub origin: String,
}

/// Where the ledger stands: what its last turn says.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// None before the first turn.
    pub active: Option<Arc<RuleVersion>>,
    pub previous: Option<Arc<RuleVersion>>,
    /// Digest of the rule that the configuration named then.
    pub configured: Option<String>,
    pub tables: Option<String>,
}

impl Ledger {
    /// The ledger after a turn.
    pub fn turn(&mut self, turn: &Turn) {
        self.active = Some(turn.version.clone());
        self.previous.clone_from(&turn.previous);
        self.configured = Some(turn.configured.clone());
        self.tables = Some(turn.tables.clone());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(component: &[u8], settings: &[(&str, &str)], time_zone: &str) -> String {
        let settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        RuleVersion::new("a rule".into(), "a.wasm".into(), component.into(), settings, time_zone).digest
    }

    #[test]
    fn a_version_is_its_component_its_settings_in_any_order_and_the_time_zone() {
        let one = digest(b"one", &[("a", "1"), ("b", "2")], "UTC");
        assert_eq!(one, digest(b"one", &[("b", "2"), ("a", "1")], "UTC"));
        for other in [
            digest(b"two", &[("a", "1"), ("b", "2")], "UTC"),
            digest(b"one", &[("a", "1")], "UTC"),
            digest(b"one", &[("a", "1b"), ("", "2")], "UTC"),
            digest(b"one", &[("a", "1"), ("b", "2")], "Europe/Berlin"),
        ] {
            assert_ne!(one, other);
        }
        let known = RuleVersion::new("a rule".into(), "a.wasm".into(), Arc::from(&b""[..]), Vec::new(), "UTC");
        assert_eq!(known.component_digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(known.short().len(), 12);
    }
}
