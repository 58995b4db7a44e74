//! What the benches of topics measure alike: a half of the program, and the apply half's way as a library.

mod counting;

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use counting::Counting;
use hindsight::assemble;
use hindsight::config::Config;
use hindsight::event::Position;
use hindsight::pipeline::{self, Opening, Pipeline, Reading, Rejects, Switches};
use hindsight::rule::WasmRule;
use hindsight::source::Source;
use hindsight::source::mysql::End;
use hindsight::topic::{Begin, Ending, Group, Lane, Lanes, Offsets, TopicError};
use hindsight_tests::kafka::Client;
use hindsight_tests::live::Running;
use hindsight_tests::measured::{own_cpu, process_cpu, rss_kib};
use hindsight_tests::pipeline::Place;
use hindsight_tests::rounds::rate;
use hindsight_tests::topic::{PARTITIONS, Topic};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// What some work took.
pub struct Taken {
    pub what: String,
    /// Changes.
    pub n: u64,
    pub wall: Duration,
    pub cpu: Duration,
    /// Resident memory at the most, where it is a process of its own.
    pub rss_kib: Option<u64>,
}

impl Display for Taken {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Taken { what, n, wall, cpu, rss_kib } = self;
        let (wall_s, cpu_s) = (wall.as_secs_f64(), cpu.as_secs_f64());
        let million = cpu_s * 1e6 / *n as f64;
        write!(
            f,
            "{what:<44} {:>10} {wall_s:>8.2} s wall {cpu_s:>8.2} s CPU, {million:>5.2} a million",
            rate(*n, *wall)
        )?;
        rss_kib.map_or(Ok(()), |kib| write!(f, ", {} MiB", kib / 1024))
    }
}

/// How often a topic is asked for its ends: each time takes a little of the machine's time.
const LOOK: Duration = Duration::from_millis(100);

/// For so long nothing comes any more: twice the time between two checkpoints of the Flink job, which would commit what is
/// in an open transaction.
const QUIET: Duration = Duration::from_secs(2);

/// In which all has to be captured.
const CAPTURE_MAX: Duration = Duration::from_secs(300);

/// The capture half's process over a server's backlog.
pub fn capture_half(place: &Place, topic: &Topic, changes: u64) -> Taken {
    let mut running = place.start(&["run", "--only", "capture", "--json", "--log-format", "json"], |_| {});
    let to = (&topic.client, topic.name.as_str());
    let taken = captured("run --only capture", running.id(), to, changes, || running.is_running());
    running.stop();
    taken
}

/// A process that captures into a topic, from its first messages until all are there and no more come: how long it takes to
/// begin is in its CPU time only, as it never ends. `runs`: whether it still does.
pub fn captured(
    what: &str,
    process: u32,
    (client, topic): (&Client, &str),
    changes: u64,
    mut runs: impl FnMut() -> bool,
) -> Taken {
    let (begun, mut looked, mut first, mut last) = (Instant::now(), Instant::now(), None, (0, Instant::now()));
    let (cpu, rss_kib) = watched(process, || {
        assert!(begun.elapsed() < CAPTURE_MAX && runs(), "{what} ended or stands still at {} of {changes}", last.0);
        if looked.elapsed() > LOOK {
            looked = Instant::now();
            let now = client.offsets_used(topic, PARTITIONS);
            if now > last.0 {
                first = first.or(Some((now, looked)));
                last = (now, looked);
            }
        }
        last.0 < changes || last.1.elapsed() < QUIET
    });
    let (n_first, first) = first.expect("first messages");
    let wall = last.1 - first;
    // The first look came to some of them already.
    Taken {
        what: what.to_owned(),
        n: changes,
        wall: wall.mul_f64(last.0 as f64 / (last.0 - n_first) as f64),
        cpu,
        rss_kib: Some(rss_kib),
    }
}

/// Watches a process until it ends or `goes_on` says no; gives its CPU time and its resident memory at the most.
pub fn watched(process: u32, mut goes_on: impl FnMut() -> bool) -> (Duration, u64) {
    let (mut most, mut cpu) = (0, Duration::ZERO);
    while goes_on() {
        most = rss_kib(process).unwrap_or(0).max(most);
        cpu = process_cpu(process).unwrap_or(cpu);
        thread::sleep(Duration::from_millis(10));
    }
    (cpu, most)
}

/// A half of the program to the end of what is there.
pub fn half(place: &Place, half: &str) -> Taken {
    let arguments = ["run", "--only", half, "--to-end", "--json"];
    let started = Instant::now();
    let mut running: Running = place.start(&arguments, |_| {});
    let (cpu, rss_kib) = watched(running.id(), || running.is_running());
    let wall = started.elapsed();
    let ended = running.end();
    assert_eq!(ended.exit, Some(0), "{}", ended.err);
    Taken { what: format!("run --only {half}"), n: ended.count("changes"), wall, cpu, rss_kib: Some(rss_kib) }
}

/// The topic up to its end into batches, or, where the rule `decides`, into rows in memory; on so many threads beside the
/// client's.
pub fn read(config: &Config, what: &str, decides: bool, threads: usize) -> Taken {
    let (started, cpu) = (Instant::now(), own_cpu());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let n = runtime.expect("a runtime").block_on(read_all(config, decides));
    Taken { what: what.to_owned(), n, wall: started.elapsed(), cpu: own_cpu() - cpu, rss_kib: None }
}

/// The topic's partitions to their ends as they are now; gives how many changes their batches had.
async fn read_all(config: &Config, decides: bool) -> u64 {
    let topic = config.topic.as_ref().expect("it has a topic");
    let mut settings = assemble::topic_settings(config, topic);
    settings.pipeline = format!("bench-{decides}");
    let lanes = Arc::new(Counted {
        config: config.clone(),
        decides,
        runtime: Handle::current(),
        lanes: Mutex::default(),
        n: Mutex::default(),
    });
    let (ended, mut has_ended) = mpsc::unbounded_channel();
    let tell = move |result: Result<(), TopicError>| drop(ended.send(result));
    let lane_settings = assemble::lane_settings(config, End::AsOpened, None).expect("the rule");
    let group = Group::join(&settings, lane_settings, lanes.clone(), tell).await;
    let group = group.expect("join the group");
    has_ended.recv().await.expect("it ends").expect("without an error");
    tokio::task::block_in_place(|| drop(group));
    *lanes.n.lock().expect("nothing panics with it")
}

struct Counted {
    config: Config,
    decides: bool,
    runtime: Handle,
    lanes: Mutex<BTreeMap<u32, JoinHandle<u64>>>,
    n: Mutex<u64>,
}

impl Lanes for Counted {
    fn begin(&self, _: Offsets) -> Result<Begin, TopicError> {
        Ok(Begin::default())
    }

    fn run(&self, partition: u32, mut lane: Lane) {
        let decided = self.decides.then(|| self.config.clone());
        let task = self.runtime.spawn(async move {
            match decided {
                Some(config) => decide(&config, lane).await,
                None => {
                    let mut n = 0;
                    while let Some((batch, _)) = lane.next().await.expect("read the topic") {
                        n += batch.changes.len() as u64;
                    }
                    n
                }
            }
        });
        self.lanes.lock().expect("nothing panics with it").insert(partition, task);
    }

    fn end(&self, _: Ending, _: Duration) {
        let lanes = std::mem::take(&mut *self.lanes.lock().expect("nothing panics with it"));
        for task in lanes.into_values() {
            let n = self.runtime.block_on(task).expect("a lane");
            *self.n.lock().expect("nothing panics with it") += n;
        }
    }

    fn was_fenced(&self) -> bool {
        false
    }

    fn positions(&self) -> Vec<(u32, Position)> {
        Vec::new()
    }

    fn lag(&self, _: u64) {}
}

async fn decide(config: &Config, lane: Lane) -> u64 {
    let (component, version) = assemble::configured(config).expect("the rule");
    let rule = WasmRule::new(component, version.settings.clone()).expect("the rule");
    let configured = version.digest.clone();
    let (rule, tables) = (Box::new(rule), String::new());
    let opening = Opening { rule, version, previous: None, configured, turn: None, tables, cut_by: None };
    let pipeline = Pipeline {
        source: "bench".into(),
        start: None,
        rejects: Rejects::default(),
        reading: Reading::Ahead,
        repeat_batch: None,
    };
    let (_stop, stop) = watch::channel(false);
    let (_paused, paused) = watch::channel(false);
    let (_exchange, exchanges) = mpsc::channel(1);
    let switches = Switches { stop, paused, exchanges };
    let mut tap = |_: &_, _: Option<&_>, _: &_| Ok(());
    let mut sink = Counting::default();
    let ended = pipeline::run(Box::new(lane), opening, &mut sink, &pipeline, switches, &mut tap, |_| {}).await;
    ended.map(|summary| summary.changes()).unwrap_or_else(|failure| panic!("{failure}"))
}
