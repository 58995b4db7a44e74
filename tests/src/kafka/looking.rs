//! A quick look at a topic while a test runs, by a client library: what is judged in the end is read by Kafka's own programs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Client;

/// A broker is beside the test.
const ANSWER_MAX: Duration = Duration::from_secs(10);

impl Client {
    fn consumer(&self) -> BaseConsumer {
        self.consumer_of("read_committed")
    }

    fn consumer_of(&self, isolation: &str) -> BaseConsumer {
        ClientConfig::new()
            .set("bootstrap.servers", self.address())
            .set("group.id", "a test looks")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", isolation)
            .create()
            .expect("make a consumer")
    }

    /// Records from the topic's beginning up to the ends of its partitions, at Kafka's `isolation.level`.
    #[track_caller]
    pub fn count(&self, topic: &str, isolation: &str) -> usize {
        let consumer = self.consumer_of(isolation);
        let (mut open, mut count) = (assign_all(&consumer, topic), 0);
        while open > 0 {
            match consumer.poll(ANSWER_MAX) {
                Some(Ok(_)) => count += 1,
                Some(Err(KafkaError::PartitionEOF(_))) => open -= 1,
                Some(Err(error)) => panic!("count {topic}: {error}"),
                None => panic!("nothing came of {topic}"),
            }
        }
        count
    }

    /// Every committed value of a topic from its beginning, as it comes, until `more` says that it is enough.
    #[track_caller]
    pub fn follow(&self, topic: &str, mut more: impl FnMut(&[u8]) -> bool) {
        let consumer = self.consumer();
        assign_all(&consumer, topic);
        loop {
            match consumer.poll(ANSWER_MAX) {
                Some(Ok(message)) => {
                    if !more(message.payload().unwrap_or_default()) {
                        return;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => panic!("read {topic}: {error}"),
                None => panic!("nothing came of {topic}"),
            }
        }
    }

    /// The value of the last committed record of a topic's first partition; none where there is none, or no topic.
    #[track_caller]
    pub fn last_value(&self, topic: &str) -> Option<String> {
        let consumer = self.consumer();
        let (low, high) = match consumer.fetch_watermarks(topic, 0, ANSWER_MAX) {
            Ok(ends) => ends,
            Err(KafkaError::MetadataFetch(
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownPartition,
            )) => return None,
            Err(error) => panic!("look at {topic}: {error}"),
        };
        // Behind a record stands the mark that ends its transaction; taken back ones may lie there too.
        let mut from = (high - 16).max(low);
        loop {
            let mut list = TopicPartitionList::new();
            list.add_partition_offset(topic, 0, Offset::Offset(from)).expect("a partition");
            consumer.assign(&list).expect("assign");
            let begun = Instant::now();
            let mut last = None;
            loop {
                match consumer.poll(ANSWER_MAX) {
                    Some(Ok(message)) => {
                        last = message.payload().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                    }
                    Some(Err(KafkaError::PartitionEOF(_))) => break,
                    Some(Err(error)) => panic!("read {topic}: {error}"),
                    None => assert!(begun.elapsed() < ANSWER_MAX, "nothing came of {topic}"),
                }
            }
            if last.is_some() || from == low {
                return last;
            }
            from = (from - 512).max(low);
        }
    }

    /// Where each partition ends.
    #[track_caller]
    pub fn ends(&self, topic: &str, partitions: u32) -> BTreeMap<u32, u64> {
        let consumer = self.consumer_of("read_committed");
        let end = |partition: u32| {
            let (_, high) = consumer.fetch_watermarks(topic, partition as i32, ANSWER_MAX).expect("a partition's ends");
            (partition, high as u64)
        };
        (0..partitions).map(end).collect()
    }

    /// Keeps offsets as a group of this name, which nobody is a member of.
    #[track_caller]
    pub fn keep_offsets(&self, group: &str, topic: &str, offsets: &BTreeMap<u32, u64>) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("group.id", group);
        let consumer: BaseConsumer = config.create().expect("make a consumer");
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            list.add_partition_offset(topic, *partition as i32, Offset::Offset(*offset as i64)).expect("an offset");
        }
        consumer.commit(&list, rdkafka::consumer::CommitMode::Sync).expect("the offsets are kept");
    }

    /// What a group keeps of each partition that it keeps anything of: the offset, and the text beside it.
    #[track_caller]
    pub fn group_offsets(&self, group: &str, topic: &str, partitions: u32) -> BTreeMap<u32, (u64, String)> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("group.id", group);
        let consumer: BaseConsumer = config.create().expect("make a consumer");
        let mut list = TopicPartitionList::new();
        (0..partitions).for_each(|partition| _ = list.add_partition(topic, partition as i32));
        let found = consumer.committed_offsets(list, ANSWER_MAX).expect("the group's offsets");
        let kept = found.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => {
                Some((element.partition() as u32, (offset as u64, element.metadata().to_owned())))
            }
            _ => None,
        });
        kept.collect()
    }

    /// Offsets that a topic's partitions have used, committed or not; 0 where there is no such topic.
    #[track_caller]
    pub fn offsets_used(&self, topic: &str, partitions: u32) -> u64 {
        let mut uncommitted = ClientConfig::new();
        uncommitted.set("bootstrap.servers", self.address()).set("group.id", "a test looks");
        let consumer: BaseConsumer =
            uncommitted.set("isolation.level", "read_uncommitted").create().expect("make a consumer");
        let end = |partition: u32| match consumer.fetch_watermarks(topic, partition as i32, ANSWER_MAX) {
            Ok((_, high)) => high as u64,
            Err(_) => 0,
        };
        (0..partitions).map(end).sum()
    }

    /// Writes messages into a topic's partitions by their keys, outside any transaction; a value of none is a tombstone.
    #[track_caller]
    pub fn write(&self, topic: &str, messages: &[(Option<String>, Option<String>)]) {
        let mut config = ClientConfig::new();
        let producer: BaseProducer = config.set("bootstrap.servers", self.address()).create().expect("make a producer");
        for (key, value) in messages {
            let mut record: BaseRecord<'_, str, str> = BaseRecord::to(topic);
            (record.key, record.payload) = (key.as_deref(), value.as_deref());
            producer.send(record).map_err(|(error, _)| error).expect("send a record");
        }
        producer.flush(ANSWER_MAX).expect("the records arrive");
    }

    /// A transaction of another producer, with a record in the topic's first partition, that stays open.
    #[track_caller]
    pub fn open_transaction(&self, topic: &str) -> OpenTransaction {
        // An id of the topic: a second producer of the same id would end this one's transaction.
        self.open_transaction_as(&format!("somebody-{topic}"), topic)
    }

    /// The same of a producer with this `transactional.id`.
    #[track_caller]
    pub fn open_transaction_as(&self, id: &str, topic: &str) -> OpenTransaction {
        let producer = self.session_of(id);
        producer.begin_transaction().expect("begin a transaction");
        let record = BaseRecord::to(topic).partition(0).key("somebody's").payload("record");
        producer.send(record).map_err(|(error, _)| error).expect("send a record");
        producer.flush(ANSWER_MAX).expect("the record arrives");
        OpenTransaction(producer)
    }

    /// Until all marks of this producer's transactions are written.
    #[track_caller]
    pub fn wait_for_marks_of(&self, id: &str) {
        self.session_of(id);
    }

    /// A session begins when all of the one before is ended.
    #[track_caller]
    fn session_of(&self, id: &str) -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set("transactional.id", id);
        let producer: BaseProducer = config.create().expect("make a producer");
        producer.init_transactions(ANSWER_MAX).expect("begin transactions");
        producer
    }
}

/// Has all partitions read from their beginnings; gives how many there are.
#[track_caller]
fn assign_all(consumer: &BaseConsumer, topic: &str) -> usize {
    let metadata = consumer.fetch_metadata(Some(topic), ANSWER_MAX).expect("look at the topic");
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics()[0].partitions() {
        list.add_partition_offset(topic, partition.id(), Offset::Beginning).expect("a partition");
    }
    consumer.assign(&list).expect("assign");
    list.count()
}

/// A producer within a transaction.
pub struct OpenTransaction(BaseProducer);

impl OpenTransaction {
    #[track_caller]
    pub fn abort(self) {
        self.0.abort_transaction(ANSWER_MAX).expect("take the transaction back");
    }
}
