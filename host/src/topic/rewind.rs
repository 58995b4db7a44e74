//! Where each partition would go on, from an earlier place.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{Ends, Isolation, Told, TopicSettings, ends};
use super::continuity::sequence_of;
use super::lane::{Last, Reached};
use super::{PATIENCE, TopicError, admin, tail};
use crate::event::Position;

/// Where to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// With the oldest message that is there.
    Start,
    /// With the first message that was written then or later: milliseconds since 1970, of the messages' own timestamps.
    TimeMs(i64),
    /// By partition; the others stay where they are.
    Offsets(BTreeMap<u32, u64>),
}

/// A partition's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub partition: u32,
    /// Where it goes on now; none: at the beginning.
    pub now: Option<u64>,
    pub offset: u64,
    pub position: Position,
    /// Messages before the oldest one that is there were deleted, and the place lies behind them: they are in no history.
    pub skips: bool,
}

/// How many partitions the topic has.
///
/// # Errors
/// Broker or topic do not serve.
pub async fn partitions(settings: &TopicSettings, is_foreign: bool) -> Result<u32, TopicError> {
    match is_foreign {
        true => admin::see_foreign(settings).await,
        false => admin::see_changes(settings).await,
    }
}

/// The places of all partitions that are to move. `reached`: where each goes on now. Blocks.
///
/// # Errors
/// Broker or topic do not serve, or an offset lies outside of its partition.
pub async fn targets(
    settings: &TopicSettings,
    to: &To,
    is_foreign: bool,
    reached: &BTreeMap<u32, Position>,
) -> Result<Vec<Target>, TopicError> {
    let partitions = partitions(settings, is_foreign).await?;
    let (settings, to, reached) = (settings.clone(), to.clone(), reached.clone());
    let found = tokio::task::spawn_blocking(move || {
        let consumer: BaseConsumer<Told> = settings.create(&settings.reader(Isolation::Committed))?;
        let look = Look { settings: &settings, consumer, is_foreign };
        look.targets(&to, partitions, &reached)
    });
    found.await.expect("looking at a topic does not panic")
}

struct Look<'a> {
    settings: &'a TopicSettings,
    consumer: BaseConsumer<Told>,
    is_foreign: bool,
}

impl Look<'_> {
    fn targets(&self, to: &To, partitions: u32, reached: &BTreeMap<u32, Position>) -> Result<Vec<Target>, TopicError> {
        let topic = &self.settings.name;
        if let To::Offsets(offsets) = to
            && let Some(partition) = offsets.keys().find(|partition| **partition >= partitions)
        {
            return Err(TopicError::Usage(format!("topic {topic} has {partitions} partitions, and none {partition}")));
        }
        let mut targets = Vec::new();
        for partition in 0..partitions {
            let what = format!("topic {topic}, partition {partition} could not be looked at");
            let unreached = |error: &KafkaError| self.settings.unreached(&what, error, self.consumer.context());
            let Ends { low, high } = ends(&self.consumer, topic, partition).map_err(|error| unreached(&error))?;
            let offset = match to {
                To::Start => low,
                To::TimeMs(time_ms) => {
                    self.at_time(partition, *time_ms).map_err(|error| unreached(&error))?.unwrap_or(high)
                }
                To::Offsets(offsets) => match offsets.get(&partition) {
                    Some(offset) => *offset as i64,
                    None => continue,
                },
            };
            if offset < low || offset > high {
                return Err(TopicError::Usage(format!(
                    "topic {topic}, partition {partition} holds the offsets {low} to {high}, and not {offset}"
                )));
            }
            let now = match reached.get(&partition) {
                Some(Position(text)) => Some(text.parse::<Reached>().map_err(TopicError::Stop)?),
                None => None,
            };
            let (last, previous) = self.last_before(partition, Ends { low, high }, offset)?;
            let position = Position(Reached { offset: offset as u64, last }.to_string());
            // The next message says what came before it.
            let skips =
                offset == low && low > 0 && previous > 0 && now.as_ref().is_none_or(|now| now.offset < low as u64);
            targets.push(Target { partition, now: now.map(|now| now.offset), offset: offset as u64, position, skips });
        }
        Ok(targets)
    }

    /// The offset of the first message of this time or later.
    fn at_time(&self, partition: u32, time_ms: i64) -> Result<Option<i64>, KafkaError> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.settings.name, partition as i32, Offset::Offset(time_ms))?;
        let found = self.consumer.offsets_for_times(list, PATIENCE)?;
        Ok(found.elements().first().and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }

    /// What the lane has to hold for the last message, so that the one at the offset follows it; and that one's `previous`.
    fn last_before(&self, partition: u32, ends: Ends, offset: i64) -> Result<(Last, u64), TopicError> {
        if self.is_foreign {
            return Ok((Last::From(None), 0));
        }
        let topic = &self.settings.name;
        if let Some(sequence) = self.first_from(partition, ends, offset)? {
            let last = Last::Numbered { epoch: sequence.epoch, number: sequence.previous };
            return Ok((last, sequence.previous));
        }
        // None follows yet: the last one there is.
        let last = tail::last(self.settings, &self.consumer, (topic, partition), ends, sequence_of)?;
        let (epoch, number) = last.map_or((0, 0), |last| (last.epoch, last.number));
        Ok((Last::Numbered { epoch, number }, 0))
    }

    fn first_from(
        &self,
        partition: u32,
        ends: Ends,
        offset: i64,
    ) -> Result<Option<super::sequence::Sequence>, TopicError> {
        if offset >= ends.high {
            return Ok(None);
        }
        let topic = &self.settings.name;
        let what = format!("topic {topic}, partition {partition} could not be read");
        let unreached = |error: &KafkaError| self.settings.unreached(&what, error, self.consumer.context());
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition as i32, Offset::Offset(offset))
            .map_err(|error| unreached(&error))?;
        self.consumer.assign(&list).map_err(|error| unreached(&error))?;
        let begun = Instant::now();
        let found = loop {
            match self.consumer.poll(PATIENCE) {
                Some(Ok(message)) => match sequence_of(&message) {
                    Some(sequence) => break Some(sequence),
                    None => {
                        return Err(TopicError::Stop(format!(
                            "topic {topic}, partition {partition} has a record at offset {} that is not ours",
                            message.offset()
                        )));
                    }
                },
                Some(Err(KafkaError::PartitionEOF(_))) => break None,
                Some(Err(error)) if begun.elapsed() > PATIENCE => return Err(unreached(&error)),
                Some(Err(_)) => {}
                None => return Err(TopicError::Unfit(format!("{what}: nothing came for {} s", PATIENCE.as_secs()))),
            }
        };
        self.consumer.unassign().map_err(|error| unreached(&error))?;
        Ok(found)
    }
}
