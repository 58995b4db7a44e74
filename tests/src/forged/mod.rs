//! Rules that no SDK would make: components written by hand, whose answers are laid out in memory beforehand.
//!
//! [`Forged`] holds the answers and what the functions do; [`Forged::component`] makes a core module in text form from
//! it and wraps that as any toolchain does. So a rule can say anything that the canonical ABI can carry, and some that it cannot.

mod layout;
mod sample;

use std::fmt::Write;

use hindsight_rule::native::{Description, Output, Plan};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::program::repository;
use layout::Memory;
pub use sample::{columns, output, plan};

/// Where the answers lie; what the host passes in comes behind them.
const ANSWERS: usize = 1024;

/// A forged rule.
#[derive(Clone)]
pub struct Forged {
    pub description: Description,
    pub configure: Configure,
    pub transform: Transform,
    /// Pages of 64 KiB at the start.
    pub pages: usize,
    /// More of the core module, in text form.
    pub more: String,
    /// Bytes of the answers to replace by others of the same length, for what no Rust type can hold.
    pub replaced: Option<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone)]
pub enum Configure {
    Plan(Box<Plan>),
    Sentence(String),
    /// Instructions that leave the address of a result.
    Does(String),
}

#[derive(Clone)]
pub enum Transform {
    Output(Box<Output>),
    Sentence(String),
    Does(String),
    /// The second answer from the instance's n-th call on.
    Remembers(u32, Box<Output>, Box<Output>),
    /// The output, unless the batch's first change is a delete.
    UnlessDelete(Box<Output>, Box<Transform>),
}

impl Forged {
    /// A rule for the reference table that keeps the contract: see [`plan`] and [`output`].
    #[allow(clippy::new_without_default, reason = "the answers are a sample, not a default")]
    pub fn new() -> Self {
        Forged {
            description: Description {
                name: "forged".into(),
                version: "0.0.1".into(),
                summary: "says what it is told to say".into(),
                settings: Vec::new(),
            },
            configure: Configure::Plan(Box::new(plan())),
            transform: Transform::Output(Box::new(output())),
            pages: 4,
            more: String::new(),
            replaced: None,
        }
    }

    pub fn does(instructions: &str) -> Self {
        Forged { transform: Transform::Does(instructions.into()), ..Forged::new() }
    }

    /// The binary component.
    pub fn component(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.module()).expect("the module's text is sound");
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_path(repository().join("wit")).expect("wit/ parses");
        let world = resolve.select_world(&[package], Some("rule")).expect("wit/ has the world");
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embed the world");
        let mut encoder = ComponentEncoder::default();
        encoder.validate(false).module(&module).expect("the module fits the world");
        encoder.encode().expect("make a component")
    }

    fn module(&self) -> String {
        let mut memory = Memory::new(ANSWERS);
        let description = memory.description(&self.description);
        let configure = match &self.configure {
            Configure::Plan(plan) => constant(memory.planned(Ok(plan))),
            Configure::Sentence(text) => constant(memory.planned(Err(text))),
            Configure::Does(instructions) => instructions.clone(),
        };
        let transform = self.transform.instructions(&mut memory);
        let mut answers = memory.bytes;
        if let Some((old, new)) = &self.replaced {
            assert_eq!(old.len(), new.len(), "nothing moves");
            let at = answers.windows(old.len()).position(|window| window == old).expect("the bytes to replace");
            answers[at..at + old.len()].copy_from_slice(new);
        }
        let mut data = String::new();
        answers.iter().for_each(|byte| write!(data, "\\{byte:02x}").expect("write into a string"));
        let heap = (ANSWERS + answers.len()).next_multiple_of(16);
        let pages = self.pages.max(heap / 65_536 + 2);
        let interface = "hindsight:transform/transformer@0.1.0";
        format!(
            r#"(module
  (import "hindsight:transform/log@0.1.0" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") {pages})
  (global $heap (mut i32) (i32.const {heap}))
  (global $calls (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $address i32)
    (local.set $address (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
    (global.set $heap (i32.add (local.get $address) (local.get 3)))
    (local.get $address))
  (func $describe (export "{interface}#describe") (result i32) (i32.const {description}))
  (func $configure (export "{interface}#configure") (param i32 i32 i32 i32) (result i32) {configure})
  (func $transform (export "{interface}#transform") (param i32) (result i32) {transform})
  (func (export "cabi_post_{interface}#transform") (param i32) (global.set $heap (i32.const {heap})))
  (func $close_the_row (result i32) unreachable)
  (func $again_and_again (param i32) (result i32)
    (i32.add (call $again_and_again (local.get 0)) (i32.load8_u (local.get 0))))
  {more}
  (data (i32.const {ANSWERS}) "{data}"))"#,
            more = self.more
        )
    }
}

impl Transform {
    fn instructions(&self, memory: &mut Memory) -> String {
        match self {
            Transform::Output(output) => constant(memory.decided(Ok(output))),
            Transform::Sentence(text) => constant(memory.decided(Err(text))),
            Transform::Does(instructions) => instructions.clone(),
            Transform::Remembers(call, first, then) => {
                let (first, then) = (memory.decided(Ok(first)), memory.decided(Ok(then)));
                format!(
                    "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                     (select (i32.const {first}) (i32.const {then}) (i32.lt_u (global.get $calls) (i32.const {call})))"
                )
            }
            Transform::UnlessDelete(output, otherwise) => {
                // The list of ops is the fifth of the batch's fields.
                format!(
                    "(if (result i32) (i32.eq (i32.load8_u (i32.load offset=32 (local.get 0))) (i32.const {delete}))
                       (then {otherwise}) (else {output}))",
                    delete = b'd',
                    otherwise = otherwise.instructions(memory),
                    output = constant(memory.decided(Ok(output))),
                )
            }
        }
    }
}

fn constant(address: usize) -> String {
    format!("(i32.const {address})")
}
