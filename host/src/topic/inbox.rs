//! A partition's messages on their way from the client to its lane.
//!
//! The client has a queue of its own for each partition, which it fills up to a limit; the lane takes from it when it can. So
//! memory is bounded, and nothing that was fetched is thrown away and fetched again, as pausing would have it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use tokio::sync::Notify;

use super::group::Member;
use super::sequence::{MOVE_HEADER, SCHEMA_HEADER, SEQUENCE_HEADER, Sequence};
use crate::event::Sides;

/// Taken from by its lane, opened and closed by the thread that polls.
pub(super) struct Inbox {
    /// None once it is closed: the partition is not ours any more.
    queue: Mutex<Option<PartitionQueue<Member>>>,
    arrived: Arc<Notify>,
    /// The offset behind the last message that was taken.
    next: AtomicU64,
    /// No message lies behind that.
    is_at_end: AtomicBool,
    /// What the client said of the partition, for the thread that polls.
    errors: Mutex<Vec<KafkaError>>,
}

/// What a look into an inbox comes to.
pub(super) enum Taken<T> {
    /// What was made of a message.
    Made(T),
    /// None waits.
    Nothing,
    /// None waits, and none is behind the last one.
    End,
    /// There will be none any more.
    Closed,
}

impl Inbox {
    /// `next`: the offset of the first message.
    pub fn of(mut queue: PartitionQueue<Member>, next: u64) -> Arc<Self> {
        let arrived = Arc::new(Notify::new());
        let notify = arrived.clone();
        queue.set_nonempty_callback(move || notify.notify_one());
        let (next, is_at_end) = (AtomicU64::new(next), AtomicBool::new(false));
        Arc::new(Inbox { queue: Mutex::new(Some(queue)), arrived, next, is_at_end, errors: Mutex::default() })
    }

    /// Gives messages to `take` until it makes something of one, or none waits.
    pub fn each<T>(&self, mut take: impl FnMut(&BorrowedMessage<'_>) -> Option<T>) -> Taken<T> {
        let queue = self.queue();
        let Some(queue) = queue.as_ref() else { return Taken::Closed };
        loop {
            match queue.poll(Duration::ZERO) {
                Some(Ok(message)) => {
                    self.next.store(message.offset() as u64 + 1, Ordering::Relaxed);
                    self.is_at_end.store(false, Ordering::Relaxed);
                    if let Some(made) = take(&message) {
                        return Taken::Made(made);
                    }
                }
                // There was no other message then; by now there may be.
                Some(Err(KafkaError::PartitionEOF(_))) => self.is_at_end.store(true, Ordering::Relaxed),
                Some(Err(error)) => self.errors.lock().unwrap_or_else(PoisonError::into_inner).push(error),
                None if self.is_at_end() => return Taken::End,
                None => return Taken::Nothing,
            }
        }
    }

    /// Until something is there, or it is closed.
    pub async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Nothing is taken any more when this returns, and the client has its queue back.
    pub fn close(&self) {
        drop(self.queue().take());
        self.arrived.notify_one();
    }

    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    pub fn is_at_end(&self) -> bool {
        self.is_at_end.load(Ordering::Relaxed)
    }

    pub fn errors(&self) -> Vec<KafkaError> {
        std::mem::take(&mut *self.errors.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn queue(&self) -> MutexGuard<'_, Option<PartitionQueue<Member>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message, in the client's memory.
pub(super) struct Message<'a> {
    pub offset: u64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// None: it has no such header; an error: what is wrong with it.
    pub sequence: Option<Result<Sequence, String>>,
    pub schema: Option<&'a str>,
    pub sides: Sides,
}

impl<'a> Message<'a> {
    pub fn of(message: &'a BorrowedMessage<'_>) -> Self {
        let (offset, key, value) = (message.offset() as u64, message.key(), message.payload());
        let mut seen = Message { offset, key, value, sequence: None, schema: None, sides: Sides::Both };
        for header in message.headers().into_iter().flat_map(|headers| headers.iter()) {
            // What is no text is none of ours.
            let Some(value) = header.value.map(|value| std::str::from_utf8(value).unwrap_or_default()) else {
                continue;
            };
            match header.key {
                SEQUENCE_HEADER => seen.sequence = Some(value.parse()),
                SCHEMA_HEADER => seen.schema = Some(value),
                MOVE_HEADER if value == "leaves" => seen.sides = Sides::Before,
                MOVE_HEADER if value == "arrives" => seen.sides = Sides::After,
                _ => {}
            }
        }
        seen
    }

    pub fn held(&self) -> Held {
        Held {
            offset: self.offset,
            key: self.key.map(<[u8]>::to_vec),
            value: self.value.map(<[u8]>::to_vec),
            sequence: self.sequence.clone(),
            schema: self.schema.map(str::to_owned),
            sides: self.sides,
        }
    }
}

/// A message that waits.
pub(super) struct Held {
    offset: u64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    sequence: Option<Result<Sequence, String>>,
    schema: Option<String>,
    sides: Sides,
}

impl Held {
    pub fn message(&self) -> Message<'_> {
        Message {
            offset: self.offset,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            sequence: self.sequence.clone(),
            schema: self.schema.as_deref(),
            sides: self.sides,
        }
    }
}
