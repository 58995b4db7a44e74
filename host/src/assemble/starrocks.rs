//! A history in StarRocks, from its configuration; and a lane's progress, kept with its offset in the group.

use std::time::Duration;

use anyhow::anyhow;

use crate::config::{Config, SinkKind, StarRocksConfig, TopicConfig};
use crate::failure::{Failure, Outcome};
use crate::sink::SinkError;
use crate::sink::starrocks::cluster::{Cluster, Door};
use crate::sink::starrocks::http::Access;
use crate::sink::starrocks::load::{Loader, Target};
use crate::sink::starrocks::progress_table::InTable;
use crate::sink::starrocks::{AWAY, Kept, Labels, Mark, Progress, Settings, StarRocks, StarRocksLetters};
use crate::topic::{self, NotKept, Offsets};

/// Without an interval a small cluster makes about so many loads a second of a lane.
const LOADS_A_SECOND: f64 = 20.0;

/// A partition's part of the history.
pub async fn open_lane(
    config: &Config,
    topic: &TopicConfig,
    starrocks: &StarRocksConfig,
    identity: &str,
    offsets: Offsets,
) -> Outcome<StarRocks> {
    let partition = offsets.partition();
    let settings = Settings {
        door: door(starrocks),
        target: target(config, starrocks),
        table: config.sink.table.clone(),
        sequence: starrocks.sequence.clone(),
        lane: format!("{}/{partition}", config.name),
        lanes: offsets.partitions(),
        labels: Labels::of_partition(&config.name, &topic.name, partition),
        source: identity.to_owned(),
        labels_needed: labels_needed(starrocks, offsets.partitions()),
    };
    let sink = StarRocks::open(settings, Box::new(InOffsets(offsets))).await;
    sink.map_err(|error| Failure::sink(error, false))
}

/// The whole history of a pipeline without a topic.
pub async fn open_whole(config: &Config, starrocks: &StarRocksConfig, identity: &str) -> Outcome<StarRocks> {
    let settings = Settings {
        door: door(starrocks),
        target: target(config, starrocks),
        table: config.sink.table.clone(),
        sequence: starrocks.sequence.clone(),
        lane: config.name.clone(),
        lanes: 1,
        labels: Labels::of_pipeline(&config.name),
        source: identity.to_owned(),
        // Each load, and the mark before it.
        labels_needed: labels_needed(starrocks, 2),
    };
    let progress = InTable::new(Cluster::new(door(starrocks)), &settings.target, &config.name);
    let sink = StarRocks::open(settings, Box::new(progress)).await;
    sink.map_err(|error| Failure::sink(error, false))
}

/// Of so many lanes.
fn labels_needed(starrocks: &StarRocksConfig, lanes: u32) -> u64 {
    let a_second = match starrocks.interval {
        Duration::ZERO => LOADS_A_SECOND,
        interval => interval.as_secs_f64().recip().min(LOADS_A_SECOND),
    };
    (a_second * f64::from(lanes) * AWAY.as_secs_f64()) as u64
}

/// The cluster's MySQL ports.
pub fn door(starrocks: &StarRocksConfig) -> Door {
    Door {
        at: starrocks.mysql.clone(),
        user: starrocks.user.clone(),
        password: starrocks.password.clone(),
        database: starrocks.database.clone(),
        redirect_host: starrocks.redirect_host.clone(),
    }
}

/// What a pipeline has set aside.
pub fn letters(config: &Config, starrocks: &StarRocksConfig) -> StarRocksLetters {
    StarRocksLetters::new(Cluster::new(door(starrocks)), &target(config, starrocks), &config.name)
}

/// Loads into the history table, by whoever only looks.
pub fn loader(config: &Config, starrocks: &StarRocksConfig) -> Loader {
    Loader::new(target(config, starrocks))
}

fn target(config: &Config, starrocks: &StarRocksConfig) -> Target {
    let StarRocksConfig { frontends, user, password, redirect_host, .. } = starrocks;
    // Redirects may lead to the hosts that the configuration names; whoever asks for more knows the cluster's own too.
    let hosts = frontends.iter().map(|at| at.host.clone()).collect();
    Target {
        frontends: frontends.clone(),
        access: Access::new(user, password, hosts, redirect_host.clone()),
        database: starrocks.database.clone(),
        table: config.sink.table.clone(),
        compression: starrocks.compression,
        sequence: starrocks.sequence.clone(),
        load_max: starrocks.load_max,
    }
}

/// The configuration of a history in StarRocks.
///
/// # Errors
/// Exit code 2: it is in SQLite.
pub fn configured(config: &Config) -> Outcome<&StarRocksConfig> {
    match &config.sink.kind {
        SinkKind::StarRocks(starrocks) => Ok(starrocks),
        SinkKind::Sqlite { .. } => Err(Failure::usage(anyhow!("the history is in SQLite, not in StarRocks"))),
    }
}

/// Marks as the text beside a partition's offset, which is where it goes on when there is no such text.
struct InOffsets(Offsets);

#[async_trait::async_trait]
impl Progress for InOffsets {
    async fn read(&mut self) -> Result<Kept, SinkError> {
        let committed = self.0.read().map_err(|error| SinkError::Unfit(error.to_string()))?;
        let is_here = |partition| partition == self.0.partition();
        Ok(match committed.iter().find(|committed| is_here(committed.partition)) {
            Some(here) => match here.metadata.as_str() {
                "" => Kept::Foreign(format!("the offset {} without a word of this program's", here.offset)),
                text => match Mark::parse(text) {
                    Ok(mark) if is_at(&mark, here.offset) => Kept::Mark(Box::new(mark)),
                    Ok(_) => Kept::Foreign(format!("the offset {} beside another one's text", here.offset)),
                    Err(what) => Kept::Foreign(what),
                },
            },
            None if committed.iter().any(|other| Mark::parse(&other.metadata).is_ok()) => Kept::New,
            None => Kept::Nothing,
        })
    }

    async fn write(&mut self, mark: &mut Mark) -> Result<(), SinkError> {
        let offset = mark.at.as_ref().map_or(Ok(0), topic::offset_of).map_err(SinkError::Stop)?;
        self.0.write(offset, mark.text()).await.map_err(|error| match error {
            NotKept::Lost(why) => SinkError::Fenced(why),
            NotKept::Refused(why) => SinkError::Stop(why),
        })
    }
}

fn is_at(mark: &Mark, offset: u64) -> bool {
    mark.at.as_ref().map_or(Ok(0), topic::offset_of) == Ok(offset)
}
