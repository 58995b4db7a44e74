//! The topics themselves: made with the right settings where they are missing, refused with wrong ones.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaRespErr;
use tracing::info;

use super::client::{Isolation, Onlooker, Told, TopicSettings};
use super::{PATIENCE, TopicError};

/// A topic as it has to be.
struct Wanted<'a> {
    name: &'a str,
    partitions: u32,
    settings: &'a [(&'a str, &'a str)],
    compacted: bool,
}

/// Of the change topic: everything stays until it is old; compaction would leave the last change of an entity only.
const CHANGES: &[(&str, &str)] = &[("cleanup.policy", "delete")];

/// Of the side topics: the last record of a key stays for ever. Small segments, as the one that is written to is never
/// compacted, and a checkpoint is written with every transaction.
const SIDE: &[(&str, &str)] =
    &[("cleanup.policy", "compact"), ("segment.bytes", "16777216"), ("min.cleanable.dirty.ratio", "0.1")];

/// Makes topics and asks for their settings; what it is asked first is asked by a client that tells why nobody answers.
pub(super) struct Admin {
    pub client: Onlooker<AdminClient<Told>>,
    looking: Onlooker<BaseConsumer<Told>>,
}

/// How long a client that got no answer may take to say why.
const SAY_MAX: Duration = Duration::from_millis(500);

impl Admin {
    /// # Errors
    /// The settings make no client.
    pub fn new(settings: &TopicSettings) -> Result<Self, TopicError> {
        let client = Onlooker::new(settings.create(&settings.admin())?);
        let looking = Onlooker::new(settings.create(&settings.reader(Isolation::Committed))?);
        Ok(Admin { client, looking })
    }

    /// Of one topic, or of all.
    ///
    /// # Errors
    /// Nobody answers, with what the client says of it.
    pub fn metadata(&self, settings: &TopicSettings, topic: Option<&str>) -> Result<Metadata, TopicError> {
        self.looking.fetch_metadata(topic, PATIENCE).map_err(|error| {
            let failed = Instant::now();
            // What went wrong lies in a queue.
            while self.looking.context().said().is_none() && failed.elapsed() < SAY_MAX {
                let _ = self.looking.poll(Duration::from_millis(10));
            }
            let what =
                topic.map_or("nobody answers".to_owned(), |topic| format!("topic {topic} could not be looked at"));
            settings.unreached(&what, &error, self.looking.context())
        })
    }
}

/// Sees to both topics; gives how many partitions the change topic has.
///
/// # Errors
/// The broker cannot be reached, a topic can neither be found nor made, or it has settings that lose records.
pub(super) async fn see_to(settings: &TopicSettings) -> Result<u32, TopicError> {
    let admin = Admin::new(settings)?;
    let side = settings.side();
    let changes = Wanted { name: &settings.name, partitions: settings.partitions, settings: CHANGES, compacted: false };
    let checkpoints = Wanted { name: &side, partitions: 1, settings: SIDE, compacted: true };
    let mut partitions = 0;
    for wanted in [checkpoints, changes] {
        partitions = find_or_make(&admin, settings, &wanted).await?;
    }
    Ok(partitions)
}

/// Sees to a topic of dead letters: one of its own name.
///
/// # Errors
/// As [`see_to`].
pub(super) async fn see_to_letters(settings: &TopicSettings) -> Result<(), TopicError> {
    let admin = Admin::new(settings)?;
    let letters = Wanted { name: &settings.name, partitions: 1, settings: SIDE, compacted: true };
    find_or_make(&admin, settings, &letters).await.map(drop)
}

/// Gives how many partitions it has.
async fn find_or_make(admin: &Admin, settings: &TopicSettings, wanted: &Wanted<'_>) -> Result<u32, TopicError> {
    let Some(found) = count(admin, settings, wanted.name)? else { return make(admin, settings, wanted).await };
    check(admin, settings, wanted, found).await?;
    Ok(found)
}

/// Looks at a change topic that is there; gives how many partitions it has.
///
/// # Errors
/// As [`see_to`]; nothing is made.
pub(super) async fn see_changes(settings: &TopicSettings) -> Result<u32, TopicError> {
    see(settings, &settings.name, false).await
}

/// Looks at a side topic that is there.
///
/// # Errors
/// As [`see_to`]; nothing is made.
pub(super) async fn see_side(settings: &TopicSettings) -> Result<(), TopicError> {
    see(settings, &settings.side(), true).await.map(drop)
}

async fn see(settings: &TopicSettings, name: &str, compacted: bool) -> Result<u32, TopicError> {
    let admin = Admin::new(settings)?;
    let wanted = Wanted { name, partitions: 0, settings: &[], compacted };
    let Some(partitions) = count(&admin, settings, name)? else {
        return Err(TopicError::Unfit(format!("there is no topic {name} at {}", settings.address())));
    };
    check(&admin, settings, &wanted, partitions).await?;
    Ok(partitions)
}

/// Looks at a topic that others write; gives how many partitions it has.
///
/// # Errors
/// The broker cannot be reached, there is no such topic, or it is compacted.
pub(super) async fn see_foreign(settings: &TopicSettings) -> Result<u32, TopicError> {
    let admin = Admin::new(settings)?;
    let changes = Wanted { name: &settings.name, partitions: 0, settings: &[], compacted: false };
    let Some(partitions) = count(&admin, settings, changes.name)? else {
        return Err(TopicError::Unfit(format!(
            "there is no topic {} at {}: with source.kind = \"topic\" somebody else writes it, and it is not made here",
            settings.name,
            settings.address()
        )));
    };
    check(&admin, settings, &changes, partitions).await?;
    Ok(partitions)
}

/// How many partitions a topic has, each with a leader; none where there is no such topic.
fn count(admin: &Admin, settings: &TopicSettings, name: &str) -> Result<Option<u32>, TopicError> {
    let begun = Instant::now();
    loop {
        let metadata = admin.metadata(settings, Some(name))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
        let partitions = topic.partitions();
        match topic.error() {
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => return Ok(None),
            Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE) => {}
            Some(error) => {
                let code = RDKafkaErrorCode::from(error);
                return Err(TopicError::Unfit(format!(
                    "topic {name} at {} cannot be used: {code}; give the user of [topic.librdkafka] the right on it",
                    settings.address()
                )));
            }
            None if !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0) => {
                return Ok(Some(partitions.len() as u32));
            }
            None => {}
        }
        if begun.elapsed() > PATIENCE {
            return Err(TopicError::Unfit(format!(
                "topic {name} at {} has partitions without a leader; start the brokers that hold them, or see kafka-topics.sh \
                 --describe --topic {name}",
                settings.address()
            )));
        }
        // The broker is asked again, as nothing tells when a leader is there.
        std::thread::sleep(Duration::from_millis(50));
    }
}

async fn make(admin: &Admin, settings: &TopicSettings, wanted: &Wanted<'_>) -> Result<u32, TopicError> {
    let replication = settings.replication.map_or(-1, i32::from);
    let topic = NewTopic::new(wanted.name, wanted.partitions as i32, TopicReplication::Fixed(replication));
    let topic = wanted.settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
    let options = AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE));
    let what = format!("topic {} could not be made", wanted.name);
    let made = admin.client.create_topics([&topic], &options).await;
    let made = made.map_err(|error| settings.unreached(&what, &error, admin.looking.context()))?;
    match made.into_iter().next() {
        // Another process was quicker.
        None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => {}
        Some(Err((_, code))) => {
            return Err(TopicError::Unfit(format!(
                "{what} at {}: {code}. Make it yourself: kafka-topics.sh --create --topic {} --partitions {}{}",
                settings.address(),
                wanted.name,
                wanted.partitions,
                wanted.settings.iter().map(|(name, value)| format!(" --config {name}={value}")).collect::<String>()
            )));
        }
    }
    let begun = Instant::now();
    loop {
        if let Some(found) = count(admin, settings, wanted.name)? {
            info!(topic = wanted.name, partitions = found, "topic made");
            check(admin, settings, wanted, found).await?;
            return Ok(found);
        }
        if begun.elapsed() > PATIENCE {
            return Err(TopicError::Unfit(format!(
                "topic {} was made at {}, and is not there; see kafka-topics.sh --describe --topic {}",
                wanted.name,
                settings.address(),
                wanted.name
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn check(
    admin: &Admin,
    settings: &TopicSettings,
    wanted: &Wanted<'_>,
    partitions: u32,
) -> Result<(), TopicError> {
    let Wanted { name, compacted, .. } = wanted;
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let what = format!("the settings of topic {name} could not be read");
    let described = admin.client.describe_configs([&ResourceSpecifier::Topic(name)], &options).await;
    let described = described.map_err(|error| settings.unreached(&what, &error, admin.looking.context()))?;
    let resource = match described.into_iter().next() {
        Some(Ok(resource)) => resource,
        Some(Err(code)) => {
            return Err(TopicError::Unfit(format!(
                "{what} at {}: {code}; give the user of [topic.librdkafka] the right DescribeConfigs on it",
                settings.address()
            )));
        }
        None => return Err(TopicError::Unfit(format!("{what} at {}: the broker gave none", settings.address()))),
    };
    let policy = resource.get("cleanup.policy").and_then(|entry| entry.value.clone()).unwrap_or_default();
    let has = |word: &str| policy.split(',').any(|one| one.trim() == word);
    let alter = |policy: &str| {
        format!(
            "kafka-configs.sh --bootstrap-server {} --alter --entity-type topics --entity-name {name} --add-config cleanup.policy={policy}",
            settings.address()
        )
    };
    match compacted {
        false if has("compact") => Err(TopicError::Unfit(format!(
            "topic {name} has cleanup.policy={policy}: compaction keeps the last change of a key only, and the history would \
             lose the others. Mend it before changes are lost: {}",
            alter("delete")
        ))),
        true if !has("compact") || has("delete") => Err(TopicError::Unfit(format!(
            "topic {name} has cleanup.policy={policy}: in time what it holds would be deleted. Mend it: {}",
            alter("compact")
        ))),
        true if partitions != 1 => Err(TopicError::Unfit(format!(
            "topic {name} has {partitions} partitions, and has to have one: which of its records is the last could not be told. Delete it if \
             it was made by hand and is empty, or name another [topic] name"
        ))),
        _ => Ok(()),
    }
}
