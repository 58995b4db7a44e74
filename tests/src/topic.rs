//! A pipeline's topic as Kafka's own console consumer shows it, judged by the source's list of changes: nothing of the program
//! takes part.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::captured::{Event, assert_events, wanted};
use crate::kafka::{Client, Record};
use crate::live::{Reached, Running, WAIT_MAX};
use crate::mysql::Mysql;
use crate::oracle::Change;

/// Partitions of a topic that a test's pipeline makes.
pub const PARTITIONS: u32 = 3;

/// Between two looks at a checkpoint: no event tells when it moves.
const LOOK: Duration = Duration::from_millis(5);

/// A topic of a test's own on a broker.
#[derive(Clone, Debug)]
pub struct Topic {
    pub client: Client,
    pub name: String,
}

/// A message of a topic.
#[derive(Clone, Debug)]
pub struct Message {
    pub partition: u32,
    pub offset: u64,
    pub key: String,
    pub event: Event,
    /// epoch, number, previous
    pub sequence: [u64; 3],
}

impl Topic {
    /// With a name that no other test of this process has.
    pub fn on(client: Client) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Topic { client, name: format!("changes-{}-{number}", std::process::id()) }
    }

    /// The section of a configuration that names it.
    pub fn section(&self) -> String {
        format!("[topic]\nbrokers = {:?}\nname = {:?}\npartitions = {PARTITIONS}\n", self.client.address(), self.name)
    }

    pub fn side(&self) -> String {
        format!("{}.capture", self.name)
    }

    /// What a read_committed consumer sees, in the order of their sequences.
    #[track_caller]
    pub fn messages(&self) -> Vec<Message> {
        let mut messages: Vec<Message> = self.client.committed(&self.name).into_iter().map(Message::of).collect();
        messages.sort_by_key(|message| message.sequence);
        messages
    }

    /// How far the checkpoint is; nothing before the first commit.
    #[track_caller]
    pub fn reached(&self) -> Reached {
        let last = self.client.last_value(&self.side());
        last.map_or(Reached::default(), |last| {
            let last: Value = serde_json::from_str(&last).expect("JSON");
            Reached::parse(last["position"].as_str().expect("a position"))
        })
    }

    /// Waits until all that the server has executed is captured.
    #[track_caller]
    pub fn wait_until_all_is_captured(&self, server: &Mysql, capture: &mut Running) {
        let begun = Instant::now();
        while !server.has_all_executed_in(&self.reached().gtids) {
            capture.assert_runs();
            assert!(begun.elapsed() < WAIT_MAX, "not all was captured in {WAIT_MAX:?}: {}", capture.log());
            thread::sleep(LOOK);
        }
    }

    /// Checkpoints of the side topic, oldest first.
    #[track_caller]
    pub fn checkpoints(&self) -> Vec<Value> {
        let records = self.client.committed(&self.side());
        let checkpoints = records.into_iter().filter(|record| record.key.as_deref() == Some("checkpoint"));
        checkpoints.map(|record| serde_json::from_str(&record.value.expect("a value")).expect("JSON")).collect()
    }

    /// The topic holds these changes' events, each once, a key's in the source's order and in one partition, and each
    /// message says which one came before it. Gives the messages.
    #[track_caller]
    pub fn assert_holds(&self, changes: &[Change], what: &str) -> Vec<Message> {
        let messages = self.messages();
        let events: Vec<Event> = messages.iter().map(|message| message.event.clone()).collect();
        assert_events(&events, &wanted(changes), what);
        assert_sequences(&messages);
        messages
    }
}

/// Numbers are consecutive within an epoch, `previous` is the last one of the same partition, offsets and numbers rise
/// together, and a key keeps to its partition.
#[track_caller]
pub fn assert_sequences(messages: &[Message]) {
    let mut before: Option<[u64; 3]> = None;
    let mut last: HashMap<u32, (u64, u64, u64)> = HashMap::new();
    let mut partitions: HashMap<&str, u32> = HashMap::new();
    for message in messages {
        let [epoch, number, previous] = message.sequence;
        match before {
            Some([before_epoch, before_number, _]) if before_epoch == epoch => {
                assert_eq!(number, before_number + 1, "{message:?}");
            }
            _ => assert_eq!(number, 1, "an epoch begins with 1: {message:?}"),
        }
        before = Some(message.sequence);
        let (last_epoch, last_number, last_offset) =
            last.insert(message.partition, (epoch, number, message.offset)).unwrap_or((epoch, 0, 0));
        let wanted = if last_epoch == epoch { last_number } else { 0 };
        assert_eq!(previous, wanted, "{message:?}");
        assert!(last_number == 0 || last_offset < message.offset, "{message:?}");
        assert_eq!(*partitions.entry(&message.key).or_insert(message.partition), message.partition, "{message:?}");
    }
}

impl Message {
    #[track_caller]
    fn of(record: Record) -> Message {
        let sequence = record.header("hindsight.sequence").unwrap_or_else(|| panic!("no sequence: {record:?}"));
        let sequence: Vec<u64> = sequence.split(':').map(|part| part.parse().expect("a number")).collect();
        let key = record.key.clone().unwrap_or("null".into());
        let mut event = Map::new();
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        event.insert("key".into(), json(&key));
        event.insert("value".into(), json(record.value.as_deref().expect("no tombstones")));
        let moved = record.header("hindsight.move").map(|side| ("hindsight.move".to_owned(), Value::from(side)));
        event.insert("headers".into(), moved.into_iter().collect::<Map<_, _>>().into());
        Message {
            partition: record.partition,
            offset: record.offset,
            key,
            event: Event::of(&event.into()),
            sequence: sequence.try_into().expect("three numbers"),
        }
    }
}
