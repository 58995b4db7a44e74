//! What a look from outside finds of the broker and the topics: nothing is made, and nobody is fenced.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::admin::{AdminOptions, ResourceSpecifier};
use rdkafka::metadata::Metadata;

use super::PATIENCE;
use super::admin::{self, Admin};
use super::client::TopicSettings;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub name: &'static str,
    pub found: String,
    pub state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Fine,
    /// It works, but not for long or not safely.
    Doubtful {
        why: String,
        remedy: String,
    },
    Wrong {
        why: String,
    },
}

/// Shorter than this a weekend outlasts it.
const RETENTION_FEW: Duration = Duration::from_secs(3 * 24 * 3600);

/// Ours; a broker that allows less refuses the capture half.
const TRANSACTION_MS: u64 = 60_000;

/// Looks at the broker, the topic and its side topic. `is_foreign`: others write the topic.
pub async fn survey(settings: &TopicSettings, is_foreign: bool) -> Vec<Finding> {
    let admin = match Admin::new(settings) {
        Ok(admin) => admin,
        Err(error) => return vec![wrong("brokers", settings.address(), error.to_string())],
    };
    let metadata = match admin.metadata(settings, None) {
        Ok(metadata) => metadata,
        Err(error) => return vec![wrong("brokers", settings.address(), error.to_string())],
    };
    let n_brokers = metadata.brokers().len();
    let noun = if n_brokers == 1 { "broker" } else { "brokers" };
    let mut findings = vec![fine("brokers", format!("{n_brokers} {noun} at {}", settings.address()))];
    findings.extend(topic(&admin, settings, &metadata, is_foreign).await);
    if !is_foreign {
        findings.push(side(settings, &metadata).await);
        findings.extend(transactions(&admin, &metadata).await);
    }
    findings
}

async fn topic(admin: &Admin, settings: &TopicSettings, metadata: &Metadata, is_foreign: bool) -> Vec<Finding> {
    let name = settings.name.as_str();
    if !has(metadata, name) && !is_foreign {
        let made = format!("{name} (the first run makes it, with {} partitions)", settings.partitions);
        return vec![fine("topic", made)];
    }
    let seen = match is_foreign {
        true => admin::see_foreign(settings).await,
        false => admin::see_changes(settings).await,
    };
    let partitions = match seen {
        Ok(partitions) => partitions,
        Err(error) => return vec![wrong("topic", name.to_owned(), error.to_string())],
    };
    let noun = if partitions == 1 { "partition" } else { "partitions" };
    let mut findings = vec![fine("topic", format!("{name}, {partitions} {noun}"))];
    let configured = match configured(admin, &ResourceSpecifier::Topic(name)).await {
        Ok(configured) => configured,
        Err(why) => return [findings, vec![wrong("settings", name.to_owned(), why)]].concat(),
    };
    let number = |key: &str| configured.get(key).and_then(|value| value.parse::<i64>().ok());
    let alter = |setting: &str| {
        format!(
            "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {name} --add-config {setting}",
            settings.address()
        )
    };
    if let Some(retention_ms) = number("retention.ms") {
        findings.push(match u64::try_from(retention_ms).map(Duration::from_millis) {
            Err(_) => fine("retention.ms", "for ever".into()),
            Ok(kept) if kept >= RETENTION_FEW => fine("retention.ms", for_long(kept)),
            Ok(kept) => Finding {
                name: "retention.ms",
                found: for_long(kept),
                state: State::Doubtful {
                    why: "a change that is not applied by then is lost to the history, which stops there".into(),
                    remedy: alter("retention.ms=604800000"),
                },
            },
        });
    }
    let replicas = metadata.topics().iter().find(|topic| topic.name() == name);
    let replicas = replicas.and_then(|topic| topic.partitions().iter().map(|one| one.replicas().len()).min());
    if let Some(replicas) = replicas {
        let found = format!("{replicas}, of which {} have to be in step", number("min.insync.replicas").unwrap_or(1));
        findings.push(match (replicas, metadata.brokers().len()) {
            (1, 2..) => Finding {
                name: "replication",
                found,
                state: State::Doubtful {
                    why: "a broker whose disk is lost takes its changes with it".into(),
                    remedy: "kafka-reassign-partitions.sh gives partitions more replicas; topics that are made get [topic] replication".into(),
                },
            },
            _ => fine("replication", found),
        });
    }
    if let Some(compression) = configured.get("compression.type") {
        findings.push(match compression.as_str() {
            "producer" => fine("compression.type", "producer".into()),
            other if other == settings.compression => fine("compression.type", other.to_owned()),
            other => Finding {
                name: "compression.type",
                found: other.to_owned(),
                state: State::Doubtful {
                    why: format!(
                        "the broker packs everything again, as [topic] compression is {}",
                        settings.compression
                    ),
                    remedy: alter("compression.type=producer"),
                },
            },
        });
    }
    if let Some(bytes) = number("max.message.bytes") {
        findings.push(fine("max.message.bytes", format!("{bytes}: a row with both images has to fit")));
    }
    findings
}

async fn side(settings: &TopicSettings, metadata: &Metadata) -> Finding {
    let name = settings.side();
    if !has(metadata, &name) {
        return match has(metadata, &settings.name) {
            false => fine("side topic", format!("{name} (the first run makes it)")),
            true => Finding {
                name: "side topic",
                found: format!("there is no {name}"),
                state: State::Doubtful {
                    why: format!(
                        "the checkpoint is in it: where {} holds messages already, the capture half stops",
                        settings.name
                    ),
                    remedy: "where it was deleted, begin with another [topic] name".into(),
                },
            },
        };
    }
    match admin::see_side(settings).await {
        Ok(()) => fine("side topic", format!("{name}, compacted, one partition")),
        Err(error) => wrong("side topic", name, error.to_string()),
    }
}

/// Whether the broker lets a transaction be open for as long as ours may be.
async fn transactions(admin: &Admin, metadata: &Metadata) -> Option<Finding> {
    let broker = metadata.brokers().first()?.id();
    let configured = configured(admin, &ResourceSpecifier::Broker(broker)).await.ok()?;
    let max_ms: u64 = configured.get("transaction.max.timeout.ms")?.parse().ok()?;
    let found = format!("{max_ms}");
    let name = "transaction.max.timeout.ms";
    Some(match max_ms >= TRANSACTION_MS {
        true => fine(name, found),
        false => {
            wrong(name, found, format!("it has to be {TRANSACTION_MS} at the least, in the broker's server.properties"))
        }
    })
}

async fn configured(admin: &Admin, of: &ResourceSpecifier<'_>) -> Result<HashMap<String, String>, String> {
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let described = admin.client.describe_configs([of], &options).await.map_err(|error| error.to_string())?;
    match described.into_iter().next() {
        Some(Ok(resource)) => {
            Ok(resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect())
        }
        Some(Err(code)) => Err(format!("{code}; give the user of [topic.librdkafka] the right DescribeConfigs on it")),
        None => Err("the broker gave none".into()),
    }
}

fn has(metadata: &Metadata, name: &str) -> bool {
    metadata.topics().iter().any(|topic| topic.name() == name && !topic.partitions().is_empty())
}

fn fine(name: &'static str, found: String) -> Finding {
    Finding { name, found, state: State::Fine }
}

fn wrong(name: &'static str, found: String, why: String) -> Finding {
    Finding { name, found, state: State::Wrong { why } }
}

/// `7 days`, `36 hours`, `90 s`
fn for_long(duration: Duration) -> String {
    match duration.as_secs() {
        seconds if seconds >= 2 * 86_400 => format!("{} days", seconds / 86_400),
        seconds if seconds >= 2 * 3_600 => format!("{} hours", seconds / 3_600),
        seconds => format!("{seconds} s"),
    }
}
