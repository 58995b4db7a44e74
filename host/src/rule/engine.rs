//! The wasm engine, and what one instance of a component may use.

use std::sync::OnceLock;
use std::time::Duration;

use tracing::{Level, warn};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, ResourceLimiter, Store};

use super::bindings::{self, log, types};
use super::trap;

/// How long an epoch lasts: the grain of deadlines.
const EPOCH: Duration = Duration::from_millis(5);

/// Elements of all tables of one instance.
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Log lines that one instance may write; what comes after is dropped and said so once.
const LOG_LINES_MAX: u32 = 1_000;

/// What one rule may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of an instance, all its memories together, bytes.
    pub memory_bytes: usize,
    /// Time for one batch.
    pub deadline: Duration,
    /// Rows a batch may give, for each of its changes (beside revisions of the rows shown).
    pub output_rows_per_change: usize,
    /// Text and bytes a batch may give, for each of its changes.
    pub output_bytes_per_change: usize,
    pub instance: Instance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instance {
    /// One instance for many batches; one batch in 256 is run again on a fresh one and compared.
    Kept,
    /// A fresh instance for every batch: 40 to 110 µs each.
    Fresh,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory_bytes: 64 << 20,
            deadline: Duration::from_secs(1),
            output_rows_per_change: 64,
            output_bytes_per_change: 64 << 10,
            instance: Instance::Kept,
        }
    }
}

/// The engine of this process. One is enough: it compiles, and its epoch is the clock of all deadlines.
pub(super) fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.wasm_component_model(true);
        // Without it the floor of a call falls from 790 to 250 ns.
        config.concurrency_support(false);
        config.epoch_interruption(true);
        // A backtest gives the same on every machine.
        config.cranelift_nan_canonicalization(true);
        config.wasm_relaxed_simd(true);
        config.relaxed_simd_deterministic(true);
        match Cache::new(CacheConfig::new()) {
            Ok(cache) => drop(config.cache(Some(cache))),
            Err(error) => warn!("compiled rules are not cached: {error:#}"),
        }
        let engine = Engine::new(&config).expect("the engine's settings are constants that fit each other");
        let ticking = engine.clone();
        std::thread::Builder::new()
            .name("epoch".into())
            .spawn(move || {
                loop {
                    std::thread::sleep(EPOCH);
                    ticking.increment_epoch();
                }
            })
            .expect("start the thread that keeps deadlines");
        engine
    })
}

/// What a component may call: `log`, and nothing else.
pub(super) fn linker() -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine());
    bindings::Rule::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    Ok(linker)
}

/// A store for one instance of `rule`.
pub(super) fn store(rule: &str, limits: &Limits) -> Store<State> {
    let state = State {
        rule: rule.to_owned(),
        memory: Budget::new(limits.memory_bytes),
        tables: Budget::new(TABLE_ELEMENTS_MAX),
        refused_memory: None,
        last_error: None,
        log_lines: 0,
    };
    let mut store = Store::new(engine(), state);
    store.limiter(|state| state);
    store.set_epoch_deadline(ticks(limits.deadline));
    // Lists of an answer may overlap in the component's memory, each is copied: without this there is no bound. Twice, as
    // a record is larger here than there.
    store.set_hostcall_fuel(limits.memory_bytes.saturating_mul(2));
    store
}

/// A deadline in epochs, never shorter than the deadline itself.
pub(super) fn ticks(deadline: Duration) -> u64 {
    deadline.as_nanos().div_ceil(EPOCH.as_nanos()) as u64 + 1
}

/// What belongs to one instance.
pub(super) struct State {
    rule: String,
    memory: Budget,
    tables: Budget,
    /// The memory that a growth beyond the limit asked for, bytes.
    pub refused_memory: Option<usize>,
    /// The last line of level error: the SDK logs a panic's message so, just before the trap.
    pub last_error: Option<String>,
    log_lines: u32,
}

/// What an instance may use of something, over all that it is spread on.
struct Budget {
    max: usize,
    used: usize,
    /// The growth that was granted last: given back where it then fails for another reason.
    last: usize,
}

impl Budget {
    fn new(max: usize) -> Self {
        Budget { max, used: 0, last: 0 }
    }

    /// Grants a growth, or says how much it would have come to.
    fn grow(&mut self, from: usize, to: usize) -> Result<(), usize> {
        self.last = 0;
        let growth = to.saturating_sub(from);
        let used = self.used.saturating_add(growth);
        if used > self.max {
            return Err(used);
        }
        (self.used, self.last) = (used, growth);
        Ok(())
    }

    fn give_back(&mut self) {
        self.used -= std::mem::take(&mut self.last);
    }
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let granted = self.memory.grow(current, desired);
        self.refused_memory = granted.err().or(self.refused_memory);
        Ok(granted.is_ok())
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.give_back();
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(self.tables.grow(current, desired).is_ok())
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.tables.give_back();
        Ok(())
    }
}

impl types::Host for State {}

impl log::Host for State {
    fn log(&mut self, level: log::Level, message: String) {
        let message = trap::shortened(&message);
        self.log_lines += 1;
        if self.log_lines <= LOG_LINES_MAX {
            let rule = self.rule.as_str();
            match level {
                log::Level::Trace => tracing::event!(Level::TRACE, rule, "{message}"),
                log::Level::Debug => tracing::event!(Level::DEBUG, rule, "{message}"),
                log::Level::Info => tracing::event!(Level::INFO, rule, "{message}"),
                log::Level::Warn => tracing::event!(Level::WARN, rule, "{message}"),
                // An error is told again by the failure that follows it.
                log::Level::Error => tracing::event!(Level::DEBUG, rule, "{message}"),
            }
        } else if self.log_lines == LOG_LINES_MAX + 1 {
            warn!(rule = self.rule, "the rule has logged {LOG_LINES_MAX} lines; the rest is dropped");
        }
        if matches!(level, log::Level::Error) {
            self.last_error = Some(message);
        }
    }
}
