//! What is no rule of this contract is refused before any of its code runs, or in its first call.

use std::time::Duration;

use hindsight::rule::{Limits, WasmRule};
use hindsight_rule::native::Setting;
use hindsight_tests::forged::{Configure, Forged};

use super::{configured, load, unfit};

/// A component in text form.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).expect("the component's text is sound")
}

#[test]
fn what_is_no_component_is_refused_with_what_it_is() {
    let whole = Forged::new().component();
    let module = wat::parse_str("(module)").unwrap();
    let future = [b"\0asm".as_slice(), &[0x0e, 0, 1, 0]].concat();
    for (bytes, words) in [
        (Vec::new(), "is empty"),
        (b"#!/bin/sh".to_vec(), "no wasm file"),
        (b"\n  (component)".to_vec(), "text form"),
        (b"\0as".to_vec(), "no wasm file"),
        (module, "core wasm module, not a component"),
        (future, "version that is not known"),
        (whole[..8].to_vec(), "does not export hindsight:transform/transformer@0.1.0 (it exports nothing)"),
    ] {
        unfit(load(&bytes, Limits::default()), &[words, "rules/forged.wasm"]);
    }
    for cut in (9..whole.len()).step_by(whole.len() / 60) {
        unfit(load(&whole[..cut], Limits::default()), &["rules/forged.wasm"]);
    }
}

#[test]
fn a_component_that_was_damaged_is_refused_or_does_not_trouble_the_host() {
    let whole = Forged::new().component();
    // Each byte costs a compilation, so only some; not before the kind of file.
    for at in (8..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x21;
        if let Ok(component) = load(&bytes, Limits::default()) {
            let _ = WasmRule::new(component, Vec::new());
        }
    }
}

#[test]
fn every_import_beyond_the_contract_is_named() {
    let wasi = component(
        r#"(import "wasi:cli/environment@0.2.3" (instance))
           (import "wasi:clocks/wall-clock@0.2.3" (instance (export "now" (func))))
           (import "wasi:io/poll@0.2.3" (instance (export "pollable" (type (sub resource)))))
           (import "hindsight:transform/log@0.1.0" (instance))
           (import "random" (func (result u64)))"#,
    );
    let words = [
        "wasi:cli/environment@0.2.3",
        "wasi:clocks/wall-clock@0.2.3",
        "wasi:io/poll@0.2.3",
        "random",
        "may import only hindsight:transform/log@0.1.0",
        "wasm32-unknown-unknown",
    ];
    unfit(load(&wasi, Limits::default()), &words);
}

#[test]
fn another_world_or_version_is_refused_with_what_it_exports() {
    let other = component(r#"(instance $i) (export "hindsight:transform/transformer@0.2.0" (instance $i))"#);
    let words =
        ["does not export hindsight:transform/transformer@0.1.0", "it exports hindsight:transform/transformer@0.2.0"];
    unfit(load(&other, Limits::default()), &words);
    let hollow = component(r#"(instance $i) (export "hindsight:transform/transformer@0.1.0" (instance $i))"#);
    unfit(load(&hollow, Limits::default()), &["does not fit the contract", "describe"]);
    // A function of the right name and another type.
    let misfit = component(
        r#"(core module $m (func (export "f") (result i32) i32.const 7))
           (core instance $c (instantiate $m))
           (func $f (result u32) (canon lift (core func $c "f")))
           (instance $i (export "describe" (func $f)) (export "configure" (func $f)) (export "transform" (func $f)))
           (export "hindsight:transform/transformer@0.1.0" (instance $i))"#,
    );
    unfit(load(&misfit, Limits::default()), &["describe", "expected `record` found `u32`"]);
}

#[test]
fn a_rule_that_cannot_say_who_it_is_is_refused() {
    let quick = Limits { deadline: Duration::from_millis(50), ..Limits::default() };
    for (more, words) in [
        ("(start $boom) (func $boom unreachable)", "unreachable"),
        ("(start $on) (func $on (loop $again (br $again)))", "interrupt"),
    ] {
        let forged = Forged { more: more.into(), ..Forged::new() };
        unfit(load(&forged.component(), quick.clone()), &["`describe` failed", words]);
    }
    let mut named = Forged::new();
    named.description.name = "NAME".into();
    named.replaced = Some((b"NAME".into(), b"\xffAME".into()));
    unfit(load(&named.component(), quick), &["`describe` failed", "utf-8"]);
    // More memory at the start than the limit.
    let large = Forged { pages: 2000, ..Forged::new() };
    unfit(load(&large.component(), Limits::default()), &["memory"]);
}

#[test]
fn settings_that_the_rule_does_not_know_are_refused_with_those_it_knows() {
    let setting = |name: &str, default: Option<&str>| Setting {
        name: name.into(),
        summary: "for the test".into(),
        default: default.map(Into::into),
    };
    let mut forged = Forged::new();
    forged.description.settings = vec![setting("columns", Some("a, b")), setting("owner", None)];
    let component = load(&forged.component(), Limits::default()).unwrap();
    assert_eq!(component.description.settings[0].default.as_deref(), Some("a, b"));
    assert_eq!(component.description.settings[1].default, None);
    let given = [("owner", "x"), ("colums", "a"), ("clock", "now")].map(|(name, value)| (name.into(), value.into()));
    unfit(WasmRule::new(component, given.into()), &["forged", "colums, clock", "it knows columns, owner"]);
}

#[test]
fn a_rule_that_cannot_be_configured_is_refused_with_its_sentence_or_its_failure() {
    let quick = Limits { deadline: Duration::from_millis(50), ..Limits::default() };
    for (configure, words) in [
        (Configure::Sentence("owner: there is no such column".into()), "owner: there is no such column"),
        (Configure::Does("(call $close_the_row)".into()), "close_the_row"),
        (Configure::Does("(loop $again (br $again)) unreachable".into()), "deadline of 50ms"),
        (Configure::Does("(i32.const -8)".into()), "`configure` failed"),
    ] {
        let forged = Forged { configure, ..Forged::new() };
        unfit(configured(&forged, quick.clone()), &["rule forged", words]);
    }
}
