//! Plans that do not fit their table or themselves are refused with every fault.

use hindsight::rule::Limits;
use hindsight_rule::native::{Plan, TableUse};
use hindsight_rule::{LogicalType, Scope};
use hindsight_tests::forged::{Configure, Forged, plan};

use super::{configured, unfit};

/// A plan that is right but for one thing.
#[track_caller]
fn refused(wrong: impl FnOnce(&mut Plan), words: &[&str]) {
    let mut plan = plan();
    wrong(&mut plan);
    let forged = Forged { configure: Configure::Plan(Box::new(plan)), ..Forged::new() };
    let words: Vec<&str> = ["rule forged", "its plan does not fit"].iter().chain(words).copied().collect();
    unfit(configured(&forged, Limits::default()), &words);
}

#[test]
fn positions_out_of_range_are_refused() {
    refused(|plan| plan.primary_key = vec![0, 1, 13], &["primary-key names column 13 of 13"]);
    refused(|plan| plan.roles.entity_key = vec![u32::MAX], &["roles.entity-key names column 4294967295 of 13"]);
    refused(|plan| plan.roles.start = 13, &["roles names column 13 of 13"]);
    refused(|plan| plan.roles.end = 99, &["roles names column 99 of 13"]);
    refused(|plan| plan.roles.current = Some(13), &["roles names column 13 of 13"]);
    refused(|plan| plan.read.push(13), &["read names column 13 of 13"]);
    refused(|plan| plan.revise.push(13), &["revise names column 13 of 13"]);
    refused(|plan| plan.tables[0].entity_key = vec![4], &["shop.item_assets: entity-key names column 4 of 4"]);
    refused(|plan| plan.tables[0].after.push(4), &["shop.item_assets: after names column 4 of 4"]);
    refused(|plan| plan.tables[0].before.push(9), &["shop.item_assets: before names column 9 of 4"]);
}

#[test]
fn positions_named_twice_are_refused() {
    refused(|plan| plan.primary_key = vec![0, 1, 1], &["primary-key names column 1 twice"]);
    refused(|plan| plan.read = vec![2, 2], &["read names column 2 twice"]);
    refused(|plan| plan.revise = vec![3, 4, 3], &["revise names column 3 twice"]);
    refused(|plan| plan.tables[0].after = vec![0, 0], &["after names column 0 twice"]);
    refused(|plan| plan.roles.end = 2, &["roles names column 2 twice"]);
}

#[test]
fn every_fault_is_named_at_once() {
    let wrong = |plan: &mut Plan| {
        plan.read.push(50);
        plan.revise.push(60);
        plan.tables.clear();
    };
    refused(wrong, &["read names column 50", "revise names column 60", "0 table-uses for 1 tables"]);
    let second = TableUse { entity_key: vec![1], after: Vec::new(), before: Vec::new() };
    refused(|plan| plan.tables.push(second), &["2 table-uses for 1 tables"]);
}

#[test]
fn roles_and_keys_that_make_no_history_are_refused() {
    refused(|plan| plan.history[2].field.logical = LogicalType::Int64, &["start (start int64)", "one time type"]);
    refused(|plan| plan.history[3].field.logical = LogicalType::Date, &["one time type"]);
    refused(|plan| plan.history[3].field.nullable = false, &["the end column end has to be nullable"]);
    refused(|plan| plan.roles.current = Some(5), &["the current column a_text has to be boolean"]);
    refused(
        |plan| (plan.roles.current, plan.scope) = (None, Scope::CurrentRows),
        &["scope current-rows needs roles.current"],
    );
    refused(|plan| plan.history[5].field.name.clear(), &["history column 5 has no name"]);
    refused(|plan| plan.history[5].field.name = "OWNER_ID".into(), &["history column OWNER_ID is named twice"]);
    refused(|plan| plan.revise.push(0), &["revise holds owner_id, a column of the primary key"]);
    refused(|plan| plan.history[1].field.nullable = true, &["primary key column source_id is nullable"]);
    refused(|plan| plan.primary_key.clear(), &["the primary key is empty"]);
    refused(|plan| plan.primary_key = vec![1, 2], &["the primary key lacks owner_id"]);
    refused(|plan| plan.roles.entity_key.clear(), &["the entity key is empty"]);
    refused(|plan| plan.tables[0].entity_key = vec![2], &["differ in number or type from roles.entity-key"]);
    refused(|plan| plan.tables[0].entity_key = vec![0, 1], &["differ in number or type"]);
}
