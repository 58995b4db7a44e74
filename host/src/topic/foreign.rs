//! A topic that others write, before it is read: whether its first messages can be understood, and are in order.

use std::time::Instant;

use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{Isolation, Told, TopicSettings};
use super::{PATIENCE, TopicError, admin};
use crate::civil::Zone;
use crate::envelope::read::{Foreign, ForeignSettings, Look, Place, Reader};

/// Messages of a partition that are looked at, where the first ones are tombstones and heartbeats.
const LOOKED_AT: usize = 16;

/// Sees to the topic; gives how many partitions it has.
///
/// # Errors
/// Broker or topic do not serve, or a first message says that its order or its columns cannot be told.
pub(super) async fn see_to(settings: &TopicSettings, foreign: &ForeignSettings) -> Result<u32, TopicError> {
    let partitions = admin::see_foreign(settings).await?;
    let (settings, foreign) = (settings.clone(), Foreign::new(foreign.clone(), partitions));
    let looked = tokio::task::spawn_blocking(move || look(&settings, foreign, partitions)).await;
    looked.expect("looking at a topic does not panic")?;
    Ok(partitions)
}

fn look(settings: &TopicSettings, mut foreign: Foreign, partitions: u32) -> Result<(), TopicError> {
    let consumer: BaseConsumer<Told> = settings.create(&settings.reader(Isolation::Committed))?;
    let topic = &settings.name;
    let mut reader = Reader::new(Zone::UTC);
    for partition in 0..partitions {
        let unreached = |error: &KafkaError| {
            let what = format!("topic {topic}, partition {partition} could not be read");
            settings.unreached(&what, error, consumer.context())
        };
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).map_err(|error| unreached(&error))?;
        consumer.assign(&list).map_err(|error| unreached(&error))?;
        let (mut n_seen, mut heard) = (0, Instant::now());
        while n_seen < LOOKED_AT {
            match consumer.poll(PATIENCE) {
                Some(Ok(message)) => {
                    (n_seen, heard) = (n_seen + 1, Instant::now());
                    let Some(value) = message.payload() else { continue };
                    let place = Place { topic, partition, offset: message.offset() as u64 };
                    match foreign.look(message.key(), value, &mut reader) {
                        Ok(Look::Change { .. }) => break,
                        Ok(Look::Nothing) => {}
                        Err(wrong) => return Err(TopicError::Usage(format!("{place}: {wrong}"))),
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => break,
                Some(Err(error)) if heard.elapsed() > PATIENCE => return Err(unreached(&error)),
                Some(Err(_)) => {}
                None => {
                    return Err(TopicError::Unfit(format!(
                        "topic {topic}, partition {partition} at {}: nothing came for {} s; is the broker there?",
                        settings.address(),
                        PATIENCE.as_secs()
                    )));
                }
            }
        }
    }
    Ok(())
}
