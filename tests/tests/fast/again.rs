//! A re-snapshot over the library: sources that change unseen are read again, with kills between any two commits.
//!
//! Judged twice: what was emitted is what the design's text says (`world`), and the table is what the oracle makes of it.

mod exchange;
pub mod play;
mod world;

use std::collections::BTreeSet;

use hindsight::event::{Batch, Snapshot};
use hindsight_tests::contract::sink::Home;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use crate::property::{check_over, differ};
use crate::sink::{File, Kept};
use play::{Kill, Shipped, When, play, table};
use world::{Deed, Part, Round, Step, World, by_owner, counted, rounds};

/// Each opens several files.
const CASES: u32 = 100;

const OWNERS: std::ops::RangeInclusive<i64> = 0..=20;

fn kills() -> impl Strategy<Value = Vec<Kill>> {
    let when = prop_oneof![Just(When::Before), Just(When::After)];
    prop::collection::vec((0..8_usize, when).prop_map(|(commit, when)| Kill { commit, when }), 0..=3)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

#[test]
fn what_a_re_snapshot_emits_is_what_the_design_says_wherever_it_is_killed() {
    let (by_owner_rule, counting) = (Shipped::by_owner(), Shipped::count_changes("owner_id"));
    let runtime = runtime();
    let over = async |homes: &mut [Box<dyn Home>; 2], rounds: &[Round], kills: &[Kill]| {
        let world = World::of(rounds);
        let batches = world.batches();
        let [first, second] = homes;
        let (emitted, wanted) = by_owner(&world.script);
        let got = play(first.as_mut(), &by_owner_rule, &batches, kills, None).await.unwrap();
        differ("as changes", got, emitted)?;
        differ("as history", table(first.as_mut(), &by_owner_rule, OWNERS).await.history(), wanted)?;

        let (emitted, wanted) = counted(&world.script);
        let got = play(second.as_mut(), &counting, &batches, kills, None).await.unwrap();
        differ("as changes to count", got, emitted)?;
        differ("as counts", table(second.as_mut(), &counting, OWNERS).await.counts(), wanted)
    };
    let property = |(rounds, kills): (Vec<Round>, Vec<Kill>)| -> Result<(), TestCaseError> {
        runtime.block_on(async {
            over(&mut [Box::new(File::new()), Box::new(File::new())], &rounds, &kills).await?;
            over(&mut [Box::new(Kept::default()), Box::new(Kept::default())], &rounds, &kills).await
        })
    };
    check_over(&(rounds(), kills()), "a re-snapshot with kills", CASES, property);
}

/// Each asset has two owners of its own and a new time with every change: nothing is closed by a neighbour, nothing is late.
#[test]
fn where_owners_have_one_asset_each_what_is_current_afterwards_is_the_source() {
    let shipped = Shipped::by_owner();
    let runtime = runtime();
    let property = |rounds: Vec<Round>| -> Result<(), TestCaseError> {
        let mut clock = 0;
        let mut rounds = rounds;
        for step in rounds.iter_mut().flat_map(|round| round.logged.iter_mut().chain(&mut round.unseen)) {
            clock += 1;
            (step.owner, step.registered_s) = (step.id * 2 + step.owner % 2, clock);
        }
        let mut world = World::of(&rounds);
        let once = world.script.len();
        world.read_again(&BTreeSet::from([4]));
        let mut home = File::new();
        runtime.block_on(async {
            let batches = world.batches();
            play(&mut home, &shipped, &batches[..once], &[], None).await.unwrap();
            let history = table(&mut home, &shipped, OWNERS).await.history();
            let current = history.into_iter().filter(|(_, row)| row.is_current);
            let mut current: Vec<_> = current.map(|(key, row)| world::image(&key, &row.info)).collect();
            current.sort_by_key(|row| row.id);
            differ("as current rows", current, world.rows.values().cloned())?;
            let got = play(&mut home, &shipped, &batches, &[], None).await.unwrap();
            differ("for a source that did not change", got, [])
        })
    };
    check_over(&rounds(), "the source is current after a re-snapshot", CASES, property);
}

/// A first snapshot into what an earlier one left behind.
#[tokio::test]
async fn a_snapshot_that_begins_anew_decides_by_nothing_that_was_there() {
    let shipped = Shipped::by_owner();
    for kill in [None, Some(When::Before), Some(When::After)] {
        let mut world = World::default();
        let old = [write(1, 1, "old"), write(2, 1, "old"), write(3, 2, "old")];
        let logged = old.iter().filter_map(|step| world.step(step)).collect();
        world.script.push(Part::Log(logged));
        // Under the default rule an update closes what is current.
        let updated = world.step(&write(1, 1, "new")).into_iter().collect::<Vec<_>>();
        world.script.push(Part::Log(updated.clone()));
        let mut batches = world.batches();
        batches[1].snapshot = Some(Snapshot::Anew);
        let kills: Vec<Kill> = kill.map(|when| Kill { commit: 1, when }).into_iter().collect();
        let mut home = File::new();
        play(&mut home, &shipped, &batches, &kills, None).await.unwrap();
        let (_, wanted) = by_owner(&[Part::Log(updated)]);
        assert_eq!(table(&mut home, &shipped, OWNERS).await.history(), wanted, "{kill:?}");
    }
}

/// More than a page of them, and an owner whose rows alone are more than one.
#[tokio::test]
async fn what_is_gone_is_deleted_once_page_by_page_wherever_that_is_killed() {
    let mut world = World::default();
    let owners = 3_000;
    let many = (1..=4_000_i64).map(|id| write(id, if id < 1_200 { 7 } else { 100 + id % (owners - 100) }, "a"));
    let logged = many.filter_map(|step| world.step(&step)).collect();
    world.script.push(Part::Log(logged));
    world.rows.retain(|_, row| row.owner == Some(150));
    world.read_again(&BTreeSet::from([1_000]));
    let batches = world.batches();
    for (rule, kills) in [(Shipped::by_owner(), 0), (Shipped::by_owner(), 9), (Shipped::count_changes("owner_id"), 9)] {
        let kills: Vec<Kill> = (0..kills)
            .map(|n| Kill { commit: 1 + n % 2, when: if n % 3 == 0 { When::Before } else { When::After } })
            .collect();
        let mut home = File::new();
        let emitted = play(&mut home, &rule, &batches, &kills, None).await.unwrap();
        let played = table(&mut home, &rule, 0..=owners).await;
        if rule.name() == "scd2-by-owner" {
            let (changes, wanted) = by_owner(&world.script);
            assert!(emitted == changes && played.history() == wanted, "under {kills:?}");
        } else {
            let (changes, wanted) = counted(&world.script);
            assert!(emitted == changes && played.counts() == wanted, "under {kills:?}");
        }
    }
}

#[tokio::test]
async fn a_batch_of_a_re_snapshot_that_is_decided_twice_shows() {
    let rule = Shipped::count_changes("owner_id");
    let mut world = World::default();
    let first = [write(1, 1, "a"), write(2, 2, "a")];
    let logged = first.iter().filter_map(|step| world.step(step)).collect();
    world.script.push(Part::Log(logged));
    world.step(&write(2, 3, "a"));
    world.read_again(&BTreeSet::new());
    let (_, wanted) = counted(&world.script);
    for (repeated, shows) in [(None, false), (Some(1), true), (Some(2), true)] {
        let mut home = File::new();
        play(&mut home, &rule, &world.batches(), &[], repeated).await.unwrap();
        let got = table(&mut home, &rule, OWNERS).await.counts();
        assert_eq!(got != wanted, shows, "batch {repeated:?} was decided twice");
    }
}

#[tokio::test]
async fn a_rule_that_asks_for_what_the_history_does_not_carry_is_refused_before_anything_is_compared() {
    let rule = Shipped::count_changes("id,owner_id");
    let mut world = World::default();
    let logged = world.step(&write(1, 1, "a")).into_iter().collect();
    world.script.push(Part::Log(logged));
    world.read_again(&BTreeSet::new());
    let mut home = File::new();
    let batches: Vec<Batch> = world.batches();
    let error = play(&mut home, &rule, &batches, &[], None).await.unwrap_err().to_string();
    for words in ["item_assets", "asks for id", "does not carry it", "settings"] {
        assert!(error.contains(words), "{error}");
    }
    let position = home.open().checkpoint().await.unwrap().checkpoint.unwrap().position;
    assert_eq!(position.0, "1", "the log before it was committed, nothing behind it");
}

fn write(id: i64, owner: i64, info: &'static str) -> Step {
    Step { deed: Deed::Write, id, owner, info, registered_s: id + i64::from(info == "new") * 10_000 }
}
