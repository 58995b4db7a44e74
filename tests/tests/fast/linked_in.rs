//! A rule decides alike as a component and linked in, to the byte: what tests and benches show of one holds for the other.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use count_changes::CountChanges;
use hindsight::source::cases::default_table;
use hindsight_rule::{Rule, native};
use hindsight_tests::linked_in;
use hindsight_tests::oracle::OnOwnerChange;
use proptest::test_runner::TestCaseError;
use scd2_by_owner::ByOwner;

use crate::property::check;
use crate::property::player::{Player, Repeat};

const CASES: u32 = 1_000;

#[test]
fn scd2_by_owner_linked_in_answers_every_batch_as_its_component_does() {
    for (on_owner_change, setting) in [(OnOwnerChange::Close, "close"), (OnOwnerChange::Ignore, "ignore")] {
        let settings = vec![("on-owner-change".to_owned(), setting.to_owned())];
        answers_alike::<ByOwner>("scd2-by-owner", Player::scd2_by_owner(on_owner_change), settings);
    }
}

#[test]
fn count_changes_linked_in_answers_every_batch_as_its_component_does() {
    answers_alike::<CountChanges>("count-changes", Player::count_changes(), Vec::new());
}

fn answers_alike<R: Rule>(name: &str, player: Player, settings: Vec<(String, String)>) {
    let table = linked_in::table(&default_table());
    let (rule, _) = native::Instance::<R>::configure(&[table], settings).unwrap();
    let (compared, difference) = (Rc::new(Cell::new(0_u32)), Rc::new(RefCell::new(None)));
    let (counted, told) = (compared.clone(), difference.clone());
    let player = player.watched(move |batch, answer| {
        let said = linked_in::output(rule.transform(&linked_in::batch(batch)).unwrap());
        counted.set(counted.get() + 1);
        if said != *answer {
            told.replace(Some(format!("linked in it answers\n{said:?}\nas a component\n{answer:?}\n")));
        }
    });
    let player = RefCell::new(player);
    check(&format!("{name} linked in = its component"), CASES, |log| {
        player.borrow_mut().play(&log.changes, &log.edges, Repeat::Nothing);
        difference.take().map_or(Ok(()), |difference| Err(TestCaseError::fail(difference)))
    });
    assert!(compared.get() >= CASES, "only {} batches were compared", compared.get());
}
