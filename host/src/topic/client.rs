//! How clients are made: the settings that exactly-once rests on, and those that a user may add.

use std::ops::Deref;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{NoCustomPartitioner, ProducerContext};
use tracing::{debug, info, warn};

use super::{PATIENCE, TopicError};
use crate::envelope::{Forms, KeyedBy};

/// What a pipeline's topic is and how it is reached.
#[derive(Clone, Debug)]
pub struct TopicSettings {
    /// `host:port`, any of the cluster's.
    pub brokers: Vec<String>,
    /// The topic of changes; `<name>.capture` and `<name>.dead-letters` are its side topics.
    pub name: String,
    /// The pipeline's name: names the clients and the transactions.
    pub pipeline: String,
    /// Of messages that are written here.
    pub key: KeyedBy,
    /// How many partitions a topic gets that is made here.
    pub partitions: u32,
    /// Copies of each partition of a topic that is made here; none: as many as the broker's default says.
    pub replication: Option<u16>,
    /// A member that restarts within its session keeps its partitions; none: each start is another member.
    pub member: Option<String>,
    /// `none`, `gzip`, `snappy`, `lz4`, `zstd`.
    pub compression: &'static str,
    /// Of values, where there is a choice.
    pub forms: Forms,
    /// Whether each message that is written here has its schema beside it.
    pub schemas: bool,
    /// Settings of librdkafka by its own names: security, above all.
    pub librdkafka: Vec<(String, String)>,
}

/// What nobody else sets: order, atomicity and what counts as read hang on them, or a key of `[topic]` says it.
const OURS: [&str; 29] = [
    "acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "client.id",
    "compression.codec",
    "compression.type",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "partitioner",
    "request.required.acks",
    "retries",
    "statistics.interval.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Whether a setting of librdkafka is not the user's to set.
pub fn is_ours(name: &str) -> bool {
    OURS.binary_search(&name).is_ok() || name == "message.send.max.retries"
}

/// librdkafka's own default.
const POLL_MAX: Duration = Duration::from_secs(300);

/// What all partitions' queues hold together, and one at the least and at the most.
const QUEUED_KIB: u32 = 16 << 10;
const QUEUED_KIB_OF_ONE: (u32, u32) = (512, 4 << 10);

impl TopicSettings {
    /// The topic that holds the capture half's checkpoint and the tables' schemas.
    pub fn side(&self) -> String {
        format!("{}.capture", self.name)
    }

    /// The topic that has a copy of what was set aside.
    pub fn letters(&self) -> String {
        format!("{}.dead-letters", self.name)
    }

    /// `127.0.0.1:9092`, for messages.
    pub(super) fn address(&self) -> String {
        self.brokers.join(",")
    }

    /// The same for every process that writes this topic for this pipeline: the last one to begin ends all others.
    pub(super) fn transactional_id(&self) -> String {
        format!("hindsight.{}.{}", self.pipeline, self.name)
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in &self.librdkafka {
            config.set(name, value);
        }
        config
            .set("bootstrap.servers", self.address())
            .set("client.id", format!("hindsight.{}", self.pipeline))
            .set("allow.auto.create.topics", "false")
            .set_log_level(RDKafkaLogLevel::Info);
        config
    }

    pub(super) fn admin(&self) -> ClientConfig {
        self.base()
    }

    /// `transaction_max`: how long a transaction may stay open before the broker ends it.
    pub(super) fn producer(&self, transaction_max: Duration) -> ClientConfig {
        let mut config = self.base();
        let transaction_ms = transaction_max.as_millis().to_string();
        config
            .set("transactional.id", self.transactional_id())
            .set("transaction.timeout.ms", &transaction_ms)
            // A message that is not delivered by then could only be delivered into nothing.
            .set("message.timeout.ms", &transaction_ms)
            .set("compression.type", self.compression)
            // The outcome is the transaction's.
            .set("delivery.report.only.error", "true");
        // What bounds memory and fills requests; a user may know better.
        for (name, value) in
            [("queue.buffering.max.kbytes", "65536"), ("queue.buffering.max.messages", "500000"), ("linger.ms", "0")]
        {
            if self.librdkafka.iter().all(|(set, _)| set != name) {
                config.set(name, value);
            }
        }
        config
    }

    /// How long a member may not poll until it is put out of its group.
    pub(super) fn poll_max(&self) -> Duration {
        let set = self.librdkafka.iter().find(|(name, _)| name == "max.poll.interval.ms");
        set.and_then(|(_, ms)| ms.parse().ok()).map_or(POLL_MAX, Duration::from_millis)
    }

    /// Reads partitions that it is told, and commits nothing.
    pub(super) fn reader(&self, isolation: Isolation) -> ClientConfig {
        let mut config = self.base();
        config
            // Without a group librdkafka assigns no partitions.
            .set("group.id", format!("hindsight.{}.look", self.pipeline))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            // An end is told by an answer without records: the broker gives none before this.
            .set("fetch.wait.max.ms", "10")
            .set("isolation.level", isolation.name());
        config
    }

    /// A member of the pipeline's group. `partitions`: of the topic, each of which may be its own.
    pub(super) fn member(&self, partitions: u32) -> ClientConfig {
        let mut config = self.reader(Isolation::Committed);
        config
            .set("group.id", &self.pipeline)
            // While a partition's end is waited at, the client fetches nothing else of its broker.
            .set("fetch.wait.max.ms", "20")
            // Where partitions end, for the lag.
            .set("statistics.interval.ms", "1000");
        if let Some(member) = &self.member {
            config.set("group.instance.id", format!("{}.{member}", self.pipeline));
        }
        let queued_kib = (QUEUED_KIB / partitions.max(1)).clamp(QUEUED_KIB_OF_ONE.0, QUEUED_KIB_OF_ONE.1).to_string();
        // Where a queue was full, the client looks again after so long only.
        for (name, value) in [("queued.max.messages.kbytes", &*queued_kib), ("fetch.queue.backoff.ms", "5")] {
            if self.librdkafka.iter().all(|(set, _)| set != name) {
                config.set(name, value);
            }
        }
        config
    }

    /// # Errors
    /// What `[topic.librdkafka]` says is no setting of librdkafka, or not one of its values.
    pub(super) fn create<C: FromClientConfigAndContext<Told>>(&self, config: &ClientConfig) -> Result<C, TopicError> {
        self.create_with(config, Told::default())
    }

    /// The same that tells somebody else.
    pub(super) fn create_with<T: ClientContext, C: FromClientConfigAndContext<T>>(
        &self,
        config: &ClientConfig,
        context: T,
    ) -> Result<C, TopicError> {
        config.create_with_context(context).map_err(|error| match error {
            // Its value may be a password.
            KafkaError::ClientConfig(_, why, name, _) => TopicError::Usage(format!("[topic.librdkafka] {name}: {why}")),
            error => TopicError::Usage(format!("[topic] makes no Kafka client: {error}")),
        })
    }

    /// An error before anything is written, with what the client said last.
    pub(super) fn unreached(&self, what: &str, error: &KafkaError, told: &Told) -> TopicError {
        let said = told.said().map(|said| format!(" ({said})")).unwrap_or_default();
        let remedy = match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::TopicAuthorizationFailed) => "give the user of [topic.librdkafka] the right on it",
            Some(
                RDKafkaErrorCode::ClusterAuthorizationFailed | RDKafkaErrorCode::TransactionalIdAuthorizationFailed,
            ) => {
                "give the user of [topic.librdkafka] the rights to create topics, and to write with its transactional id"
            }
            _ => "is the broker there, is [topic] brokers its address, and does [topic.librdkafka] say how to log in?",
        };
        TopicError::Unfit(format!("{what} at {}: {error}{said}; {remedy}", self.address()))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Isolation {
    Committed,
    /// With what is in no transaction's end yet.
    Uncommitted,
}

impl Isolation {
    fn name(self) -> &'static str {
        match self {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        }
    }
}

/// Takes what a client says of its own accord: to the log, and the last error for the message that a call ends with.
#[derive(Default)]
pub(super) struct Told {
    last: Mutex<Option<String>>,
    /// Why a message was not delivered.
    refused: Mutex<Option<RDKafkaErrorCode>>,
}

impl Told {
    /// The client's last error.
    pub(super) fn said(&self) -> Option<String> {
        self.last.lock().ok().and_then(|last| last.clone())
    }

    /// Why a message was not delivered, where one was not.
    pub(super) fn refused(&self) -> Option<RDKafkaErrorCode> {
        self.refused.lock().ok().and_then(|refused| *refused)
    }
}

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                warn!(facility, "kafka: {message}");
            }
            // What is lost and found again is not the user's business until a call fails.
            RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => info!(facility, "kafka: {message}"),
            _ => debug!(facility, "kafka: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!("kafka: {error}: {reason}");
        if let Ok(mut last) = self.last.lock() {
            *last = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Told {}

impl ProducerContext<NoCustomPartitioner> for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result
            && let Ok(mut refused) = self.refused.lock()
        {
            *refused = error.rdkafka_error_code();
        }
    }
}

/// A client that has only looked. It takes a tenth of a second to end, for which nobody waits.
pub(super) struct Onlooker<C: Send + 'static>(Option<C>);

impl<C: Send> Onlooker<C> {
    pub(super) fn new(client: C) -> Self {
        Onlooker(Some(client))
    }
}

impl<C: Send> Deref for Onlooker<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<C: Send> Drop for Onlooker<C> {
    fn drop(&mut self) {
        let client = self.0.take();
        thread::spawn(move || drop(client));
    }
}

/// Where a partition begins and ends, as one kind of reader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub low: i64,
    pub high: i64,
}

pub(super) fn ends(consumer: &BaseConsumer<Told>, topic: &str, partition: u32) -> KafkaResult<Ends> {
    use rdkafka::consumer::Consumer;
    let (low, high) = consumer.fetch_watermarks(topic, partition as i32, PATIENCE)?;
    Ok(Ends { low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ours_is_found() {
        assert!(OURS.is_sorted());
        assert!(is_ours("isolation.level") && is_ours("acks") && is_ours("transactional.id"));
        assert!(!is_ours("security.protocol") && !is_ours("message.max.bytes"));
    }
}
