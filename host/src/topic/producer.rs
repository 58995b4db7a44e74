//! Transactions: messages go in together or not at all.

use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tracing::warn;

use super::client::{Told, TopicSettings};
use super::{PATIENCE, TopicError};

/// How long a transaction may stay open before the broker ends it: Kafka's own default for producers.
const TRANSACTION_MAX: Duration = Duration::from_secs(60);

/// After so long without an answer a wait is said in the log, and goes on.
const SAY_AFTER: Duration = Duration::from_secs(5);

/// How long what was refused may take to be told, behind an error.
const REFUSED_MAX: Duration = Duration::from_secs(1);

/// How long it is looked whether all messages are with the broker, before the client does.
const WAITED_HERE: Duration = Duration::from_secs(1);

/// Between two looks at the client, asleep: for the last millisecond of its own wait it would look without a pause.
const LOOK: Duration = Duration::from_micros(500);

/// A transactional producer, in a transaction or between two.
pub(super) struct Transactions {
    producer: BaseProducer<Told>,
    settings: TopicSettings,
}

/// A message of a transaction.
pub(super) struct Message<'a> {
    pub topic: &'a str,
    pub partition: u32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Option<OwnedHeaders>,
}

impl Transactions {
    /// Ends every transaction that an earlier process of this pipeline left open, and keeps such a process from writing.
    pub fn begin_session(settings: &TopicSettings) -> Result<Self, TopicError> {
        let producer: BaseProducer<Told> = settings.create(&settings.producer(TRANSACTION_MAX))?;
        let begun = Instant::now();
        loop {
            match producer.init_transactions(PATIENCE) {
                Ok(()) => return Ok(Transactions { producer, settings: settings.clone() }),
                // The transaction that is being ended may take its time.
                Err(KafkaError::Transaction(error)) if error.is_retriable() && begun.elapsed() < 2 * PATIENCE => {}
                Err(error) => {
                    let what = format!("transactions could not begin as {}", settings.transactional_id());
                    return Err(settings.unreached(&what, &error, producer.context()));
                }
            }
        }
    }

    pub fn begin(&self) -> Result<(), TopicError> {
        self.producer.begin_transaction().map_err(|error| self.failed("a transaction could not begin", &error))
    }

    /// Hands a message to the client's queue; waits while it is full.
    pub fn send(&self, message: Message<'_>) -> Result<(), TopicError> {
        let Message { topic, partition, key, value, headers } = message;
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(partition as i32);
        (record.key, record.payload, record.headers) = (key, value, headers);
        let (mut begun, mut said) = (None, SAY_AFTER);
        loop {
            let (error, refused) = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => {
                    let begun = *begun.get_or_insert_with(Instant::now);
                    if begun.elapsed() > said {
                        self.say_waiting("to take messages", begun);
                        said = begun.elapsed() * 2;
                    }
                    self.look();
                    record = refused;
                }
                Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    let bytes = value.map_or(0, <[u8]>::len) + key.map_or(0, <[u8]>::len);
                    return Err(TopicError::Stop(format!(
                        "a message of {bytes} bytes for topic {topic} is larger than the client sends: raise \"message.max.bytes\" in \
                         [topic.librdkafka], and max.message.bytes of the topic (kafka-configs.sh --alter --entity-type topics \
                         --entity-name {topic} --add-config max.message.bytes=…)"
                    )));
                }
                _ => return Err(self.failed(&format!("a message for topic {topic} could not be sent"), &error)),
            }
        }
    }

    /// Commits: waits as long as it takes, and repeats nothing but the commit.
    pub fn commit(&self) -> Result<(), TopicError> {
        let begun = Instant::now();
        self.wait_for_messages();
        loop {
            match self.producer.commit_transaction(SAY_AFTER) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut)) => {
                    self.say_waiting("to take messages", begun)
                }
                Err(KafkaError::Transaction(error)) if error.is_retriable() => self.say_waiting("to commit", begun),
                Err(error) => return Err(self.failed("a transaction could not be committed", &error)),
            }
        }
    }

    /// Until all that was sent is with the broker. After a second the rest is left to the commit: the client's own way to
    /// wait looks every 100 ms only, but where the transaction cannot end well any more, nothing else says it.
    pub fn wait_for_messages(&self) {
        self.wait_so_long(WAITED_HERE);
    }

    fn wait_so_long(&self, max: Duration) {
        let begun = Instant::now();
        while self.producer.in_flight_count() > 0 && begun.elapsed() < max {
            self.look();
        }
    }

    fn look(&self) {
        self.producer.poll(Duration::ZERO);
        thread::sleep(LOOK);
    }

    /// Ends what an earlier session has open in a partition and the broker has forgotten. A mark ends all that its producer has
    /// open where it stands, whichever session began it; and to have one put there, a record has to be, which is taken
    /// back by it.
    pub fn end_forgotten(&self, topic: &str, partition: u32) -> Result<(), TopicError> {
        self.begin()?;
        // A compacted topic wants a key.
        let key = Some(&b"taken back"[..]);
        self.send(Message { topic, partition, key, value: None, headers: None })?;
        self.wait_so_long(PATIENCE);
        self.abort()
    }

    /// Takes back what was sent since `begin`.
    pub fn abort(&self) -> Result<(), TopicError> {
        self.abort_as_it_comes().map_err(|error| self.failed("a transaction could not be taken back", &error))
    }

    fn abort_as_it_comes(&self) -> Result<(), KafkaError> {
        let begun = Instant::now();
        loop {
            match self.producer.abort_transaction(SAY_AFTER) {
                Err(KafkaError::Transaction(error)) if error.is_retriable() => self.say_waiting("to abort", begun),
                other => return other,
            }
        }
    }

    fn say_waiting(&self, what: &str, begun: Instant) {
        if begun.elapsed() >= SAY_AFTER {
            let said = self.producer.context().said().map(|said| format!(": {said}")).unwrap_or_default();
            warn!(
                "waiting for the broker at {} {what}, {} s by now{said}",
                self.settings.address(),
                begun.elapsed().as_secs()
            );
        }
    }

    /// What an error within a transaction means. One that only ends the transaction has it taken back here.
    fn failed(&self, what: &str, error: &KafkaError) -> TopicError {
        // Why a message was refused lies in a queue, or is about to.
        let failed = Instant::now();
        while self.producer.context().refused().is_none()
            && self.producer.client().fatal_error().is_none()
            && failed.elapsed() < REFUSED_MAX
        {
            self.look();
        }
        let said = self.producer.context().said().map(|said| format!(" ({said})")).unwrap_or_default();
        let id = self.settings.transactional_id();
        let fatal = self.producer.client().fatal_error();
        let code = fatal.as_ref().map(|(code, _)| *code).or_else(|| error.rdkafka_error_code());
        let why = fatal.map_or_else(|| error.to_string(), |(_, why)| why);
        match code {
            Some(
                RDKafkaErrorCode::Fenced | RDKafkaErrorCode::ProducerFenced | RDKafkaErrorCode::InvalidProducerEpoch,
            ) => TopicError::Stop(format!(
                "{what}: another process has begun to write for this pipeline ({id}), or this one was still for longer than \
                     {} s: {why}. Nothing of the transaction is in the topic. If two of them run, end one; else start it again",
                TRANSACTION_MAX.as_secs()
            )),
            // What the broker refuses it refuses again.
            _ if let Some(refused) = self.producer.context().refused().filter(is_final) => {
                let remedy = match refused {
                    RDKafkaErrorCode::MessageSizeTooLarge => {
                        "raise max.message.bytes of the topic (kafka-configs.sh --alter --entity-type topics --add-config \
                         max.message.bytes=…) or, where the broker allows no more, message.max.bytes of the broker"
                    }
                    _ => "see the topic and the rights of the user of [topic.librdkafka]",
                };
                TopicError::Stop(format!(
                    "{what} at {}: topic {} refuses a message: {refused}; {remedy}",
                    self.settings.address(),
                    self.settings.name
                ))
            }
            _ => {
                let ends = matches!(error, KafkaError::Transaction(error) if error.txn_requires_abort());
                if ends && self.abort_as_it_comes().is_ok() {
                    return TopicError::Again(format!("{what}: {why}{said}"));
                }
                TopicError::Stop(format!("{what} at {}: {why}{said}", self.settings.address()))
            }
        }
    }
}

/// Whether a message that was refused would be refused again.
fn is_final(code: &RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::PolicyViolation
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::UnknownPartition
    )
}
