//! The oracle and the component over random logs: few assets, few owners, times from a small set, so that every row and
//! corner of the rule's definition is met often. The batches' edges are random too: no rule may see them.
//!
//! A failure prints the shrunk log and the seed; `HINDSIGHT_TEST_SEED` repeats a run, `HINDSIGHT_TEST_CASES` makes it longer.

mod corners;
pub mod log;
pub mod player;

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

use corners::Corners;
use hindsight_tests::oracle::{OnOwnerChange, count_changes, scd2_by_owner};
use hindsight_tests::say::say;
use log::Log;
use player::{Player, Repeat};

/// Cases of the main property.
const CASES: u32 = 20_000;

/// Every corner is met in at least so many of them.
const CASES_PER_CORNER: usize = 500;

#[test]
fn the_component_decides_every_log_as_the_oracle_does_wherever_batches_end() {
    let corners = RefCell::new(Corners::default());
    let mut players = [OnOwnerChange::Close, OnOwnerChange::Ignore].map(Player::scd2_by_owner);
    let players = RefCell::new(&mut players);
    let cases = check("oracle = component", CASES, |log| {
        let wanted = scd2_by_owner(&log.changes, log.on_owner_change);
        let player = &mut players.borrow_mut()[usize::from(log.on_owner_change == OnOwnerChange::Ignore)];
        for (how, edges) in [("in these batches", &log.edges), ("in one batch", &Vec::new())] {
            let got = player.play(&log.changes, edges, Repeat::Nothing);
            differ(how, got.history(), wanted.table.clone())?;
            differ(how, got.rejects, wanted.rejects.clone())?;
        }
        corners.borrow_mut().count(&log.changes, log.on_owner_change);
        Ok(())
    });
    let corners = corners.into_inner();
    say(&format!("{cases} cases; how many met each row and corner of the rule's definition:\n{corners}"));
    let wanted = CASES_PER_CORNER * cases as usize / CASES as usize;
    let rare = corners.rarer_than(wanted);
    assert!(rare.is_empty(), "met in fewer than {wanted} of {cases} cases: {rare:?}");
}

/// What the plan of scd2-by-owner promises as replay-safe.
#[test]
fn deciding_a_batch_a_second_time_changes_nothing_under_scd2_by_owner() {
    let mut players = [OnOwnerChange::Close, OnOwnerChange::Ignore].map(Player::scd2_by_owner);
    let players = RefCell::new(&mut players);
    check("transform(transform(S, b), b) = transform(S, b)", CASES / 5, |log| {
        let player = &mut players.borrow_mut()[usize::from(log.on_owner_change == OnOwnerChange::Ignore)];
        let once = player.play(&log.changes, &log.edges, Repeat::Nothing);
        let twice = player.play(&log.changes, &log.edges, Repeat::EveryBatch);
        differ("with every batch decided twice", twice.history(), once.history())
    });
}

#[test]
fn count_changes_counts_every_log_as_the_oracle_does_wherever_batches_end_and_shows_a_batch_decided_twice() {
    let mut player = Player::count_changes();
    let player = RefCell::new(&mut player);
    check("oracle = component of count-changes", CASES / 5, |log| {
        let wanted = count_changes(&log.changes);
        let mut player = player.borrow_mut();
        for (how, edges) in [("in these batches", &log.edges), ("in one batch", &Vec::new())] {
            differ(how, player.play(&log.changes, edges, Repeat::Nothing).counts(), wanted.clone())?;
        }
        let twice = player.play(&log.changes, &log.edges, Repeat::EveryBatch).counts();
        if twice == wanted && !wanted.is_empty() {
            return Err(TestCaseError::fail("a batch decided twice was not seen"));
        }
        Ok(())
    });
}

/// Runs the property over random logs and gives the number of cases; panics with the smallest log that fails.
pub fn check(name: &str, cases: u32, property: impl Fn(&Log) -> Result<(), TestCaseError>) -> u32 {
    check_over(&log::logs().prop_map(Log::from), name, cases, |log| property(&log))
}

/// The same over anything.
pub fn check_over<S: Strategy>(
    values: &S,
    name: &str,
    cases: u32,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) -> u32 {
    let number = |variable: &str| {
        let text = std::env::var(variable).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
    };
    let cases = number("HINDSIGHT_TEST_CASES").map_or(cases, |cases| cases as u32);
    let seed = number("HINDSIGHT_TEST_SEED").unwrap_or_else(|| RandomState::new().hash_one(name));
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        max_shrink_iters: 50_000,
        ..Config::default()
    };
    let started = std::time::Instant::now();
    if let Err(failure) = TestRunner::new(config).run(values, property) {
        panic!("{name}: HINDSIGHT_TEST_SEED={seed}: {failure}");
    }
    say(&format!("{name}: {cases} cases in {:.1} s, HINDSIGHT_TEST_SEED={seed}", started.elapsed().as_secs_f64()));
    cases
}

/// One row or reject a line.
pub fn differ<T: PartialEq + std::fmt::Debug>(
    how: &str,
    got: impl IntoIterator<Item = T>,
    wanted: impl IntoIterator<Item = T>,
) -> Result<(), TestCaseError> {
    let (got, wanted) = (got.into_iter().collect::<Vec<_>>(), wanted.into_iter().collect::<Vec<_>>());
    if got == wanted {
        return Ok(());
    }
    let lines = |all: &[T]| all.iter().map(|one| format!("    {one:?}\n")).collect::<String>();
    Err(TestCaseError::fail(format!("{how} it gave\n{}and should have given\n{}", lines(&got), lines(&wanted))))
}
