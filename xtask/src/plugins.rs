//! `cargo xtask plugins`: builds the rules in `plugins/` and encodes them as components.
//!
//! A rule in Rust is a folder `plugins/<rule>/rust` whose package makes a cdylib. Its component is
//! `target/plugins/<rule>.wasm`; the host embeds the default rules from there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::files::{self, Written};
use crate::toolchain::{TARGET, Toolchain};
use crate::{child, repository};

/// A rule's package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// Its folder's name.
    pub name: String,
    package: String,
}

pub fn plugins(names: &[String]) -> Result<()> {
    let root = repository::root();
    let found = find(root)?;
    if let Some(unknown) = names.iter().find(|name| found.iter().all(|plugin| plugin.name != **name)) {
        let known: Vec<&str> = found.iter().map(|plugin| plugin.name.as_str()).collect();
        bail!("plugins/{unknown}/rust is no rule; there is {}", known.join(", "));
    }
    let wanted: Vec<Plugin> =
        found.into_iter().filter(|plugin| names.is_empty() || names.contains(&plugin.name)).collect();
    let toolchain = Toolchain::set_up()?;
    println!("Rules are built by {}.", toolchain.name);
    for (plugin, component) in build(&toolchain, root, &build_folder(), &wanted)? {
        let path = component_path(&plugin.name);
        let written = files::write(&path, &component)?;
        let digest: String = Sha256::digest(&component).iter().map(|byte| format!("{byte:02x}")).collect();
        println!(
            "{}: {} bytes, sha256:{digest}{}",
            repository::short(&path),
            component.len(),
            if written == Written::Unchanged { ", as before" } else { "" },
        );
    }
    Ok(())
}

pub fn component_path(name: &str) -> PathBuf {
    repository::target().join("plugins").join(format!("{name}.wasm"))
}

/// The rules of a tree, by name.
pub fn find(root: &Path) -> Result<Vec<Plugin>> {
    let folder = root.join("plugins");
    let mut plugins = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("read folder {}", folder.display()))? {
        let entry = entry.with_context(|| format!("read folder {}", folder.display()))?;
        let manifest = entry.path().join("rust/Cargo.toml");
        let Ok(text) = fs::read_to_string(&manifest) else { continue };
        let manifest: toml::Table = text.parse().with_context(|| format!("read {}", manifest.display()))?;
        let package = manifest.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str);
        let makes = manifest.get("lib").and_then(|lib| lib.get("crate-type")).and_then(toml::Value::as_array);
        // The SDK lies beside the rules and makes none.
        let is_rule = makes.is_some_and(|types| types.iter().any(|kind| kind.as_str() == Some("cdylib")));
        if let (Some(package), true) = (package, is_rule) {
            plugins
                .push(Plugin { name: entry.file_name().to_string_lossy().into_owned(), package: package.to_owned() });
        }
    }
    plugins.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(plugins)
}

/// Where cargo builds this tree's rules: apart from the program, as it may be another cargo.
pub fn build_folder() -> PathBuf {
    repository::target().join("plugins/build")
}

/// What another target folder of rules may begin with: the standard library, the SDK's dependencies, procedural macros.
pub fn built() -> [PathBuf; 2] {
    [TARGET, "plugin"].map(|part| build_folder().join(part))
}

/// Builds rules of a tree, this one or a copy of it. No two trees may share a target folder: cargo tells packages apart by
/// their place in the workspace and goes by times, so the one's component could pass for the other's.
pub fn build(toolchain: &Toolchain, root: &Path, target: &Path, plugins: &[Plugin]) -> Result<Vec<(Plugin, Vec<u8>)>> {
    let mut build = toolchain.cargo_build();
    build.current_dir(root).arg("--target-dir").arg(target);
    for plugin in plugins {
        build.args(["--package", &plugin.package]);
    }
    child::run(&mut build)?;
    let built = target.join(TARGET).join("plugin");
    let encoded = plugins.iter().map(|plugin| {
        let path = built.join(format!("{}.wasm", plugin.package.replace('-', "_")));
        let module = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        Ok((plugin.clone(), encode(&module).with_context(|| format!("encode {}", path.display()))?))
    });
    encoded.collect()
}

/// A core module with the contract's custom section as a component. Its names stay: a trap shows the author's functions.
fn encode(module: &[u8]) -> Result<Vec<u8>> {
    wit_component::ComponentEncoder::default().validate(true).module(module)?.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_found_and_the_sdk_is_none() {
        let found = find(repository::root()).expect("the plugins of this repository");
        let names: Vec<&str> = found.iter().map(|plugin| plugin.name.as_str()).collect();
        assert!(names.contains(&"scd2-by-owner") && names.contains(&"count-changes"), "{names:?}");
        assert!(!names.contains(&"sdk"), "{names:?}");
    }

    #[test]
    fn an_unknown_rule_is_refused_with_those_that_there_are() {
        let error = plugins(&["scd2".into()]).expect_err("there is no such rule").to_string();
        assert!(error.contains("plugins/scd2/rust") && error.contains("count-changes, scd2-by-owner"), "{error}");
    }
}
