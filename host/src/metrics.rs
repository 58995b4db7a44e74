//! What a running pipeline counts, in the text form that Prometheus reads (OpenMetrics).
//!
//! Everything is taken from the pipeline's [`Status`] at each batch edge, so that nothing is counted before it is durable.

use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::ledger::Reason;
use crate::pipeline::{Exchanged, Stages, Status, Summary};

/// The media type of [`Metrics::text`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How such a text ends.
pub const END: &str = "# EOF\n";

type Label = [(&'static str, &'static str); 1];
type Seconds = Counter<f64, AtomicU64>;
type Fraction = Gauge<f64, AtomicU64>;

/// Upper bounds in seconds: of a batch, and of the pause that an exchange makes.
const BATCH_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
const PAUSE_BUCKETS: [f64; 10] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 1.0];

/// How far back the rate looks, at the least.
const RATE_SPAN: Duration = Duration::from_secs(5);

pub struct Metrics {
    registry: Registry,
    changes: Family<Label, Counter>,
    moves: Counter,
    transactions: Counter,
    batches: Counter,
    rows: Family<Label, Counter>,
    negative_intervals: Counter,
    dead_letters: Counter,
    quarantined: Gauge,
    stages: Family<Label, Seconds>,
    batch: Histogram,
    lag: Fraction,
    lag_events: Gauge,
    paused: Gauge,
    connected: Gauge,
    exchanges: Family<Label, Counter>,
    pause: Histogram,
    seen: Mutex<Seen>,
}

/// What was counted last.
struct Seen {
    summary: Summary,
    lag_ms: Option<i64>,
    /// Changes at two earlier instants: the rate is taken from the older one.
    marks: [(Instant, u64); 2],
}

impl Metrics {
    pub fn new(pipeline: &str) -> Self {
        Metrics::with_prefix(pipeline, "hindsight")
    }

    /// Of a capture half: what is committed is in the topic, and each name begins with `hindsight_capture`.
    pub fn of_capture(pipeline: &str) -> Self {
        Metrics::with_prefix(pipeline, "hindsight_capture")
    }

    fn with_prefix(pipeline: &str, prefix: &str) -> Self {
        let labels = [("pipeline".into(), pipeline.to_owned().into())];
        let mut registry = Registry::with_prefix_and_labels(prefix, labels.into_iter());
        let start = (Instant::now(), 0);
        let metrics = Metrics {
            registry: Registry::default(),
            changes: Family::default(),
            moves: Counter::default(),
            transactions: Counter::default(),
            batches: Counter::default(),
            rows: Family::default(),
            negative_intervals: Counter::default(),
            dead_letters: Counter::default(),
            quarantined: Gauge::default(),
            stages: Family::default(),
            batch: Histogram::new(BATCH_BUCKETS),
            lag: Gauge::default(),
            lag_events: Gauge::default(),
            paused: Gauge::default(),
            connected: Gauge::default(),
            exchanges: Family::default(),
            pause: Histogram::new(PAUSE_BUCKETS),
            seen: Mutex::new(Seen { summary: Summary::default(), lag_ms: None, marks: [start, start] }),
        };
        registry.register("changes", "Row changes that are committed", metrics.changes.clone());
        registry.register("moves", "Updates that moved a row to another entity", metrics.moves.clone());
        registry.register("transactions", "Source transactions committed", metrics.transactions.clone());
        registry.register("batches", "Batches committed", metrics.batches.clone());
        registry.register("history_rows", "History rows written", metrics.rows.clone());
        let negative = metrics.negative_intervals.clone();
        registry.register("negative_intervals", "History rows written that end before they start", negative);
        let (dead_letters, quarantined) = (metrics.dead_letters.clone(), metrics.quarantined.clone());
        registry.register("dead_letters", "Changes that were set aside", dead_letters);
        registry.register("quarantined_entities", "Entities whose changes are set aside now", quarantined);
        registry.register("stage_seconds", "Time spent in each stage", metrics.stages.clone());
        registry.register("batch_seconds", "From edge to edge, waiting for the source included", metrics.batch.clone());
        let lag = "Age of the last source transaction when its history was committed; 0 before the first";
        registry.register("lag_seconds", lag, metrics.lag.clone());
        registry.register(
            "lag_events",
            "Messages of a topic that are not done yet; 0 without one",
            metrics.lag_events.clone(),
        );
        registry.register("paused", "1 while the pipeline takes no batch", metrics.paused.clone());
        registry.register("source_connected", "1 while the source has its server", metrics.connected.clone());
        registry.register("exchanges", "Rules exchanged while running", metrics.exchanges.clone());
        registry.register("exchange_pause_seconds", "Pauses made by exchanges", metrics.pause.clone());
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The program", Info::new(version));
        Metrics { registry, ..metrics }
    }

    /// At a batch edge.
    pub fn observe(&self, status: &Status) {
        let mut seen = self.seen.lock().expect("nothing panics with it");
        let (old, new) = (&seen.summary, &status.summary);
        self.paused.set(i64::from(status.paused));
        self.quarantined.set(status.quarantined as i64);
        self.lag_events.set(status.lag_events.unwrap_or(0) as i64);
        if new.batches == old.batches {
            return;
        }
        for (op, old, new) in [
            ("read", old.reads, new.reads),
            ("insert", old.inserts, new.inserts),
            ("update", old.updates, new.updates),
            ("delete", old.deletes, new.deletes),
        ] {
            self.changes.get_or_create(&[("op", op)]).inc_by(new - old);
        }
        self.moves.inc_by(new.moves - old.moves);
        self.transactions.inc_by(new.transactions - old.transactions);
        self.batches.inc_by(new.batches - old.batches);
        self.rows.get_or_create(&[("write", "upsert")]).inc_by(new.rows_upserted - old.rows_upserted);
        self.rows.get_or_create(&[("write", "delete")]).inc_by(new.rows_deleted - old.rows_deleted);
        self.negative_intervals.inc_by(new.negative_intervals - old.negative_intervals);
        self.dead_letters.inc_by(new.dead_letters - old.dead_letters);
        let times = |stages: &Stages| [stages.source, stages.group, stages.read, stages.rule, stages.commit];
        let names = ["source", "group", "read", "rule", "commit"];
        for (name, (old, new)) in names.into_iter().zip(times(&old.stages).into_iter().zip(times(&new.stages))) {
            self.stages.get_or_create(&[("stage", name)]).inc_by((new - old).as_secs_f64());
        }
        self.batch.observe(new.last_batch.as_secs_f64());
        seen.lag_ms = new.committed_us.map(|committed_us| (now_us() - committed_us).max(0) / 1000);
        self.lag.set(seen.lag_ms.unwrap_or(0) as f64 / 1000.0);
        if seen.marks[1].0.elapsed() > RATE_SPAN {
            seen.marks = [seen.marks[1], (Instant::now(), new.changes())];
        }
        seen.summary = new.clone();
    }

    pub fn observe_exchange(&self, reason: Reason, exchanged: &Exchanged) {
        self.exchanges.get_or_create(&[("kind", reason.name())]).inc();
        self.pause.observe(exchanged.pause.as_secs_f64());
    }

    pub fn observe_source(&self, connected: bool) {
        self.connected.set(i64::from(connected));
    }

    /// How old the last source transaction was when its history was committed; none where the source does not say.
    pub fn lag_ms(&self) -> Option<i64> {
        self.seen.lock().expect("nothing panics with it").lag_ms
    }

    /// Changes a second, over the last 5 to 10 seconds or more where no batch came.
    pub fn rate(&self) -> u64 {
        let seen = self.seen.lock().expect("nothing panics with it");
        let (since, changes) = seen.marks[0];
        ((seen.summary.changes() - changes) as f64 / since.elapsed().as_secs_f64().max(1e-3)) as u64
    }

    pub fn text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("write into a string");
        text
    }
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}
