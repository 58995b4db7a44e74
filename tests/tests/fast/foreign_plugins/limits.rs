//! Traps, loops, hunger: the batch fails within its bounds, with what the author needs, and the next batch is decided.

use std::time::{Duration, Instant};

use hindsight::rule::{Limits, Rule, RuleError};
use hindsight_rule::native::Output;
use hindsight_tests::forged::{Forged, Transform, output};

use super::{batch, configured, decide, fails, groups, unfit};

#[test]
fn a_trap_names_the_authors_functions_innermost_first() {
    fails(
        decide(&Forged::does("(call $close_the_row)"), Limits::default()),
        &["unreachable", "close_the_row <- transform"],
    );
    let divided = Forged::does("(i32.div_u (i32.const 1) (i32.load8_u (i32.const 0)))");
    fails(decide(&divided, Limits::default()), &["divide by zero", "in transform"]);
    let beyond = Forged::does("(i32.load (i32.const 0x7fffffff))");
    fails(decide(&beyond, Limits::default()), &["out of bounds", "in transform"]);
}

#[test]
fn a_line_of_level_error_before_a_trap_is_its_message() {
    let forged = Forged {
        more: r#"(data (i32.const 16) "no such owner, said the rule")"#.into(),
        ..Forged::does("(call $log (i32.const 4) (i32.const 16) (i32.const 28)) (call $close_the_row)")
    };
    fails(decide(&forged, Limits::default()), &["unreachable", "(no such owner, said the rule)", "close_the_row"]);
}

#[test]
fn an_endless_loop_ends_at_the_deadline() {
    let limits = Limits { deadline: Duration::from_millis(100), ..Limits::default() };
    let (mut rule, plan) = configured(&Forged::does("(loop $again (br $again)) unreachable"), limits).unwrap();
    let begun = Instant::now();
    fails(rule.transform(&groups(&batch(), &plan)), &["the deadline of 100ms for a batch is exceeded", "in transform"]);
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(100), "not before the deadline: {took:?}");
    // The bound is wide because this machine may be busy; a loop that is not stopped never ends.
    assert!(took < Duration::from_secs(10), "soon after the deadline: {took:?}");
}

#[test]
fn memory_beyond_the_limit_is_named_with_limit_and_wish() {
    let greedy = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) unreachable";
    let limits = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    fails(
        decide(&Forged::does(greedy), limits),
        &["memory limit of 8 MiB is exceeded", "bytes asked for", "in transform"],
    );
}

#[test]
fn the_memory_limit_is_for_all_memories_of_an_instance_together() {
    // Twelve of 8 MiB each, under a limit of 64.
    let memories = Forged { more: "(memory 128)".repeat(12), ..Forged::new() };
    unfit(decide(&memories, Limits::default()), &["memory"]);
    let tables = Forged { more: "(table 90000 funcref)".repeat(60), ..Forged::new() };
    unfit(decide(&tables, Limits::default()), &["table"]);
    let few = Forged { more: "(memory 128)".repeat(3), ..Forged::new() };
    decide(&few, Limits::default()).expect("three fit");
}

#[test]
fn endless_recursion_is_a_trap() {
    let forged = Forged::does("(call $again_and_again (i32.const 0))");
    fails(decide(&forged, Limits::default()), &["stack", "again_and_again"]);
}

#[test]
fn a_sentence_of_the_rule_is_handed_on() {
    let forged = Forged { transform: Transform::Sentence("owner 7 makes no sense".into()), ..Forged::new() };
    fails(decide(&forged, Limits::default()), &["it said: owner 7 makes no sense"]);
}

#[test]
fn the_instance_is_replaced_after_a_trap_and_the_next_batch_is_decided() {
    let trap = Transform::Does("(call $close_the_row)".into());
    let forged = Forged { transform: Transform::UnlessDelete(Box::new(output()), Box::new(trap)), ..Forged::new() };
    let (mut rule, plan) = configured(&forged, Limits::default()).unwrap();
    let sound = batch();
    let mut poisoned = batch();
    poisoned.changes[0].op = hindsight::event::Op::Delete;
    (poisoned.changes[0].before, poisoned.changes[0].after) = (poisoned.changes[0].after, None);
    for _ in 0..3 {
        rule.transform(&groups(&sound, &plan)).expect("a sound batch");
        fails(rule.transform(&groups(&poisoned, &plan)), &["close_the_row"]);
        fails(rule.transform(&groups(&poisoned, &plan)), &["close_the_row"]);
    }
}

#[test]
fn more_output_than_the_limits_allow_fails() {
    let rows = Limits { output_rows_per_change: 0, ..Limits::default() };
    // Three rows were shown, so three may be written beside none for each change.
    fails(decide(&Forged::new(), rows), &["4 rows for 3 changes", "limits.output.rows", "(3)"]);
    let bytes = Limits { output_bytes_per_change: 4, ..Limits::default() };
    fails(decide(&Forged::new(), bytes), &["upserts", "bytes of text", "limits.output.bytes", "(12)"]);
}

#[test]
fn a_setting_of_fresh_instances_gives_the_same() {
    let limits = Limits { instance: hindsight::rule::Instance::Fresh, ..Limits::default() };
    let nothing =
        Output { upserts: hindsight_rule::native::Upserts { cause: Vec::new(), columns: Vec::new() }, ..output() };
    let remembers = Transform::Remembers(2, Box::new(output()), Box::new(nothing));
    let (mut rule, plan) = configured(&Forged { transform: remembers, ..Forged::new() }, limits).unwrap();
    for _ in 0..3 {
        assert_eq!(rule.transform(&groups(&batch(), &plan)).expect("the first call of an instance").upserts.len(), 3);
    }
    assert!(!matches!(rule.transform(&groups(&batch(), &plan)), Err(RuleError::Stop(_))));
}

#[test]
fn what_the_rule_says_to_people_has_a_limit() {
    let long = "é".repeat(1 << 20);
    let sentence = Forged { transform: Transform::Sentence(long), ..Forged::new() };
    let logged = Forged {
        more: r#"(func $spell (local $at i32)
            (loop $on
              (i32.store8 (i32.add (i32.const 0x100000) (local.get $at)) (i32.const 0x61))
              (br_if $on (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 0x100000)))))"#
            .into(),
        pages: 40,
        ..Forged::does(
            "(call $spell) (call $log (i32.const 4) (i32.const 0x100000) (i32.const 0x100000)) (call $close_the_row)",
        )
    };
    for (forged, words) in [(sentence, "it said: ééé"), (logged, "(aaa")] {
        match decide(&forged, Limits::default()) {
            Err(RuleError::Batch(text)) => {
                assert!(text.contains(words), "{}", &text[..200]);
                assert!(text.len() < 10_000, "{words}: a message of {} bytes", text.len());
            }
            other => panic!("{words}: {other:?}"),
        }
    }
}

/// A list whose every entry is the same text: little memory in the component, any amount in the host.
#[test]
fn an_answer_that_is_larger_than_its_memory_fails() {
    let forged = Forged {
        more: r#"(func $flood (result i32) (local $at i32)
            (loop $on
              (i32.store (i32.add (i32.const 0x100004) (local.get $at)) (i32.const 0x200000))
              (i32.store (i32.add (i32.const 0x100008) (local.get $at)) (i32.const 0x200000))
              (br_if $on (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 12))) (i32.const 12000))))
            (memory.fill (i32.const 16) (i32.const 0) (i32.const 68))
            (i32.store (i32.const 76) (i32.const 0x100000))
            (i32.store (i32.const 80) (i32.const 1000))
            (i32.const 16))"#
            .into(),
        pages: 70,
        ..Forged::does("(call $flood)")
    };
    // 1000 reasons of 2 MiB each.
    let limits = Limits { memory_bytes: 16 << 20, ..Limits::default() };
    fails(decide(&forged, limits), &["more than the memory limit of 16 MiB"]);
}
