//! The shipped rules' components, as `cargo xtask plugins` built them into the target folder of this test's own binary.

use std::path::{Path, PathBuf};

use hindsight::rule::{Component, Limits};

/// A path in this variable stands for `scd2-by-owner`: so that mutants of the rule meet the same tests.
pub const RULE_UNDER_TEST: &str = "HINDSIGHT_TEST_RULE";

/// A shipped rule, by the name of its folder in `plugins/`.
pub fn component(rule: &str) -> Component {
    let path = path(rule);
    let bytes = std::fs::read(&path)
        .unwrap_or_else(|error| panic!("read component {}: {error}; run cargo xtask plugins", path.display()));
    Component::load(&path.display().to_string(), &bytes, Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

fn path(rule: &str) -> PathBuf {
    match std::env::var_os(RULE_UNDER_TEST) {
        Some(path) if rule == "scd2-by-owner" => path.into(),
        _ => target_folder().join("plugins").join(format!("{rule}.wasm")),
    }
}

/// Cargo marks it.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let marked = test.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists());
    marked.map(Path::to_owned).expect("tests lie in cargo's target folder")
}
