//! The last record of a partition that somebody looks for.

use std::time::Instant;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{Ends, Told, TopicSettings};
use super::{PATIENCE, TopicError};

/// Offsets looked at first, from the end; eight times as many when it was not among them. Most often the last but one is it:
/// behind it is the mark that ends its transaction.
const FIRST_WINDOW: i64 = 16;

/// Reads a partition backwards, window by window, for the last record before its end of which `wanted` makes something.
pub(super) fn last<T>(
    settings: &TopicSettings,
    consumer: &BaseConsumer<Told>,
    (topic, partition): (&str, u32),
    ends: Ends,
    mut wanted: impl FnMut(&BorrowedMessage<'_>) -> Option<T>,
) -> Result<Option<T>, TopicError> {
    let mut window = FIRST_WINDOW;
    let mut end = ends.high;
    while end > ends.low {
        let start = (end - window).max(ends.low);
        if let Some(found) = last_within(settings, consumer, (topic, partition), start..end, &mut wanted)? {
            return Ok(Some(found));
        }
        (end, window) = (start, window * 8);
    }
    Ok(None)
}

fn last_within<T>(
    settings: &TopicSettings,
    consumer: &BaseConsumer<Told>,
    (topic, partition): (&str, u32),
    offsets: std::ops::Range<i64>,
    wanted: &mut impl FnMut(&BorrowedMessage<'_>) -> Option<T>,
) -> Result<Option<T>, TopicError> {
    let what = || format!("topic {topic}, partition {partition} could not be read");
    let unreached = |error: &KafkaError| settings.unreached(&what(), error, consumer.context());
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition as i32, Offset::Offset(offsets.start)).map_err(|e| unreached(&e))?;
    consumer.assign(&list).map_err(|error| unreached(&error))?;
    let mut found = None;
    let mut heard = Instant::now();
    loop {
        match consumer.poll(PATIENCE) {
            Some(Ok(message)) => {
                heard = Instant::now();
                if message.offset() < offsets.end {
                    found = wanted(&message).or(found);
                }
                if message.offset() + 1 >= offsets.end {
                    break;
                }
            }
            // Behind the last record are marks, which no consumer sees.
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) if heard.elapsed() > PATIENCE => return Err(unreached(&error)),
            Some(Err(_)) => {}
            None => {
                return Err(TopicError::Unfit(format!(
                    "{} at {}: nothing came for {} s{}; is the broker there?",
                    what(),
                    settings.address(),
                    PATIENCE.as_secs(),
                    consumer.context().said().map(|said| format!(" ({said})")).unwrap_or_default()
                )));
            }
        }
    }
    consumer.unassign().map_err(|error| unreached(&error))?;
    Ok(found)
}
