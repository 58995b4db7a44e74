//! Random damage under right checksums, so that it reaches the decoder: whatever comes, no panic, no endless loop, and
//! memory stays within bounds. Seeds are fixed and printed; `HINDSIGHT_TEST_FUZZ_SECONDS` gives it longer than the usual.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use hindsight_tests::binlog::{Events, HEADER, mend_checksum};
use hindsight_tests::program::Folder;
use hindsight_tests::say::say;

use super::{NAME, now, one_of_each_kind, outcome, resident_peak_mib, write};

/// At least so many damaged logs are read, and more while time is left.
const LOGS_MIN: u64 = 2_000;
const SECONDS: u64 = 4;

/// The small logs here take next to nothing; what is more comes from the tests that run beside this one.
const RESIDENT_MAX_MIB: u64 = 2048;

#[test]
fn random_damage_ends_in_an_answer() {
    let folder = Folder::new();
    let seconds = std::env::var("HINDSIGHT_TEST_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(SECONDS));
    let started = Instant::now();
    let (mut seed, mut n_errors) = (0, 0);
    while seed < LOGS_MIN || started.elapsed() < time {
        seed += 1;
        let mut random = Random(seed);
        let bytes = damaged(&mut random);
        write(&folder, NAME, &bytes);
        let batch = [1, 3, 1000][random.below(3)];
        let begun = Instant::now();
        let read = catch_unwind(AssertUnwindSafe(|| now(outcome(&folder, &[NAME], batch, None))));
        let got = read.unwrap_or_else(|_| panic!("seed {seed} made it panic"));
        assert!(begun.elapsed() < Duration::from_secs(5), "seed {seed} took {:?}", begun.elapsed());
        // An update of a key makes two changes of one row; the compressed part packs its rows well below ten to one.
        assert!(got.changes.len() < bytes.len() * 20, "seed {seed} gave {} changes", got.changes.len());
        n_errors += u64::from(got.error.is_some());
        let goes_on = catch_unwind(AssertUnwindSafe(|| now(outcome(&folder, &[NAME], batch, got.last.as_ref()))));
        assert!(goes_on.is_ok(), "seed {seed} made it panic when it went on at {:?}", got.last);
    }
    assert!(resident_peak_mib() < RESIDENT_MAX_MIB, "{} MiB were needed", resident_peak_mib());
    say(&format!("seeds 1 to {seed}: {n_errors} errors, {} read to their end", seed - n_errors));
    assert!(n_errors > seed / 2, "most damage is noticed, else it was none");
}

fn damaged(random: &mut Random) -> Vec<u8> {
    let mut log = one_of_each_kind();
    if random.below(4) == 0 {
        log = with_damaged_payload(log, random);
    }
    let starts: Vec<usize> = log.starts.iter().map(|start| start.0).chain([log.bytes.len()]).collect();
    let mut events: Vec<Vec<u8>> = starts.windows(2).map(|ends| log.bytes[ends[0]..ends[1]].to_vec()).collect();
    for _ in 0..=random.below(3) {
        let (event, other) = (random.below(events.len()), random.below(events.len()));
        match random.below(8) {
            0 => drop(events.remove(event)),
            1 => events.insert(other, events[event].clone()),
            2 => events.swap(event, other),
            3 => shorten(&mut events[event], random),
            _ => scribble(&mut events[event], random, HEADER),
        }
        if events.len() < 3 {
            break;
        }
    }
    for event in &mut events {
        mend_checksum(event, 0);
    }
    [b"\xfebin".to_vec(), events.concat()].concat()
}

/// One more compressed transaction, damaged inside.
fn with_damaged_payload(mut log: Events, random: &mut Random) -> Events {
    let whole = one_of_each_kind();
    log.gtid();
    let mut inner = log.inside();
    let table = hindsight_tests::binlog::Table::item_assets();
    let rows = [hindsight_tests::binlog::Table::item(1, 2, "x")];
    inner.begin().table_map(90, &table).insert(90, &table, &rows).xid();
    scribble(&mut inner.bytes, random, 0);
    log.payload([0, 255][random.below(2)], &inner);
    // The list of changes means nothing in a damaged log.
    log.changes = whole.changes;
    log
}

/// Some bytes become others.
fn scribble(bytes: &mut [u8], random: &mut Random, from: usize) {
    for _ in 0..=random.below(4) {
        if bytes.len() > from {
            let at = from + random.below(bytes.len() - from);
            bytes[at] = [0, 1, 0xff, 0xfe, 0x7f, random.next() as u8][random.below(6)];
        }
    }
}

/// The event loses bytes, and says so in its header.
fn shorten(event: &mut Vec<u8>, random: &mut Random) {
    let keep = HEADER + random.below((event.len() - HEADER).max(1));
    event.truncate(keep);
    event[9..13].copy_from_slice(&(keep as u32).to_le_bytes());
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}
