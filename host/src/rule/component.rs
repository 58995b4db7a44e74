//! A rule's component: loaded, looked into, and refused when it is something else.

use sha2::{Digest, Sha256};
use wasmtime::Store;
use wasmtime::component::Component as Compiled;

use super::RuleError;
use super::bindings::{self, RulePre, wit};
use super::engine::{self, Limits, State};

const TRANSFORMER: &str = "hindsight:transform/transformer@0.1.0";
const IMPORTS: &[&str] = &["hindsight:transform/log@0.1.0", "hindsight:transform/types@0.1.0"];

/// The rules in this program, by name; none where `cargo xtask plugins` had not built one before.
const BUILTIN: &[(&str, Option<&[u8]>)] = include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// A compiled component that fits the contract's world.
#[derive(Clone)]
pub struct Component {
    /// Where it comes from: a path, or `builtin:NAME`.
    pub origin: String,
    /// SHA-256 of its bytes, hex.
    pub digest: String,
    pub size_bytes: usize,
    pub imports: Vec<String>,
    pub exports: Vec<String>,
    pub description: Description,
    pub(super) limits: Limits,
    pre: RulePre<State>,
}

/// Who the rule says it is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Description {
    pub name: String,
    pub version: String,
    pub summary: String,
    pub settings: Vec<Setting>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    pub name: String,
    pub summary: String,
    pub default: Option<String>,
}

impl Description {
    /// Name and version, as the rule says them.
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version).trim_end().to_owned()
    }
}

impl Component {
    /// A rule of this program.
    ///
    /// # Errors
    /// [`RuleError::Unfit`]: no such rule, or built without it.
    pub fn builtin(name: &str, limits: Limits) -> Result<Self, RuleError> {
        Component::load(&format!("builtin:{name}"), Component::builtin_bytes(name)?, limits)
    }

    /// The component of a rule of this program.
    ///
    /// # Errors
    /// As [`Component::builtin`].
    pub fn builtin_bytes(name: &str) -> Result<&'static [u8], RuleError> {
        let Some((_, bytes)) = BUILTIN.iter().find(|(known, _)| *known == name) else {
            let known: Vec<String> = BUILTIN.iter().map(|(known, _)| format!("builtin:{known}")).collect();
            return Err(RuleError::Unfit(format!("builtin:{name} is not known; there is {}", known.join(", "))));
        };
        bytes.ok_or_else(|| {
            RuleError::Unfit(format!(
                "builtin:{name} is not in this build; run `cargo xtask plugins`, then build again"
            ))
        })
    }

    /// Compiles a component and asks it who it is. `origin` names it in messages.
    ///
    /// # Errors
    /// [`RuleError::Unfit`]: no component, another world, every import that is not allowed.
    pub fn load(origin: &str, bytes: &[u8], limits: Limits) -> Result<Self, RuleError> {
        let unfit = |text: String| RuleError::Unfit(format!("{origin}: {text}"));
        refuse_other_files(bytes).map_err(|text| unfit(text.into()))?;
        let engine = engine::engine();
        let compiled =
            Compiled::new(engine, bytes).map_err(|error| unfit(format!("is no valid component: {error:#}")))?;
        let component_type = compiled.component_type();
        let names = |items: Vec<&str>| items.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let imports = names(component_type.imports(engine).map(|(name, _)| name).collect());
        let exports = names(component_type.exports(engine).map(|(name, _)| name).collect());
        let foreign: Vec<&str> = imports.iter().map(String::as_str).filter(|name| !IMPORTS.contains(name)).collect();
        if !foreign.is_empty() {
            return Err(unfit(format!(
                "imports {}; a rule may import only {}. Build it for a target without WASI (wasm32-unknown-unknown)",
                foreign.join(", "),
                IMPORTS.join(" and "),
            )));
        }
        if !exports.iter().any(|name| name == TRANSFORMER) {
            let exports = if exports.is_empty() { "nothing".into() } else { exports.join(", ") };
            return Err(unfit(format!("does not export {TRANSFORMER} (it exports {exports}); see wit/transform.wit")));
        }
        let pre = engine::linker().and_then(|linker| RulePre::new(linker.instantiate_pre(&compiled)?));
        let pre = pre.map_err(|error| unfit(format!("does not fit the contract: {error:#}")))?;
        let mut component = Component {
            origin: origin.to_owned(),
            digest: Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
            size_bytes: bytes.len(),
            imports,
            exports,
            description: Description {
                name: origin.to_owned(),
                version: String::new(),
                summary: String::new(),
                settings: Vec::new(),
            },
            limits,
            pre,
        };
        component.description = component.describe().map_err(unfit)?;
        Ok(component)
    }

    /// A fresh instance in a store of its own.
    pub(super) fn instantiate(&self) -> wasmtime::Result<(Store<State>, bindings::Rule)> {
        let mut store = engine::store(&self.description.name, &self.limits);
        let rule = self.pre.instantiate(&mut store)?;
        Ok((store, rule))
    }

    fn describe(&self) -> Result<Description, String> {
        let description = self
            .instantiate()
            .and_then(|(mut store, rule)| rule.hindsight_transform_transformer().call_describe(&mut store));
        let wit::Description { name, version, summary, settings } =
            description.map_err(|error| format!("`describe` failed: {}", super::trap::text(&error)))?;
        let settings =
            settings.into_iter().map(|wit::Setting { name, summary, default }| Setting { name, summary, default });
        Ok(Description { name, version, summary, settings: settings.collect() })
    }
}

fn refuse_other_files(bytes: &[u8]) -> Result<(), &'static str> {
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => Err(
            "is a core wasm module, not a component; make it one with `cargo xtask plugins` or `wasm-tools component new`",
        ),
        [0, b'a', b's', b'm', ..] => {
            Err("is a wasm file of a version that is not known; a rule is a component (binary version 0x0d)")
        }
        [] => Err("is empty; a rule is a wasm component"),
        bytes if bytes.trim_ascii_start().starts_with(b"(") => {
            Err("is wasm in text form; a rule is a binary component")
        }
        _ => Err("is no wasm file; a rule is a wasm component"),
    }
}
