//! `cargo xtask` builds this package alone. What it builds must be what a build of the whole workspace uses: where
//! cargo unites other features, crates (wit-component, at one time) would be built twice on every fresh clone.

use std::process::Command;

#[test]
fn every_selection_of_packages_builds_dependencies_with_the_same_features() {
    // Procedural macros have features of their own: what is built for the target is compared without them too.
    for edges in ["normal,no-proc-macro", "normal,build"] {
        let whole = features(&["--workspace", "--edges", &format!("{edges},dev")]);
        for packages in [&["--package", "xtask"][..], &["--workspace"]] {
            let other: Vec<_> = features(&[packages, &["--edges", edges]].concat());
            let other: Vec<_> = other.into_iter().filter(|line| !whole.contains(line)).collect();
            assert!(
                other.is_empty(),
                "built again with {packages:?}: {other:#?}; name the features in xtask/Cargo.toml"
            );
        }
    }
}

/// Dependencies with their features, without the workspace's own packages.
fn features(arguments: &[&str]) -> Vec<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    cargo.args(["tree", "--offline", "--prefix", "none", "--format", "{p} [{f}]"]).args(arguments);
    let output = cargo.output().expect("run cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let lines = text.lines().map(|line| line.trim_end_matches(" (*)").to_owned());
    lines.filter(|line| !line.is_empty() && !line.contains(" (/")).collect()
}
