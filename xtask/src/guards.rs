//! `cargo xtask guards`: each patch of `tests/guards` takes a guard out of a copy of the tree; the tests it names must
//! turn red then, and are green without it. A guard whose test stays green is held by nothing.
//!
//! `red:` lines name a test binary and a test: `red: fast damaged_logs::a_flipped_bit_is_found`; `host` stands for the
//! program's unit tests.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use crate::patches::{self, Patch, Tree};
use crate::test_report::Report;
use crate::toolchain::Toolchain;
use crate::{child, files, plugins, repository};

const FOLDER: &str = "tests/guards";

pub fn guards(names: &[String], list: bool) -> Result<()> {
    let patches = patches::read(FOLDER, names)?;
    if list {
        return show(&patches);
    }
    let bench = Bench::set_up()?;
    println!("Without any patch:");
    let mut all: Vec<&str> = patches.iter().flat_map(|patch| &patch.red).map(String::as_str).collect();
    all.sort_unstable();
    all.dedup();
    for test in all {
        match bench.judge(test)? {
            Verdict::Green => println!("  green  {test}"),
            Verdict::Red => bail!("{test} fails without any patch"),
        }
    }
    let mut held = Vec::new();
    let mut found = Vec::new();
    for patch in &patches {
        println!("\n{}: {}", patch.name, patch.about);
        let outcome = bench.without(patch);
        bench.tree.put_back(patch)?;
        match outcome {
            Ok(lines) => held.push(format!("{}: {}", patch.name, lines.join(", "))),
            Err(error) => found.push(format!("{}: {error:#}", patch.name)),
        }
    }
    println!("\n{} of {} guards are held by their tests:\n  {}", held.len(), patches.len(), held.join("\n  "));
    if found.is_empty() { Ok(()) } else { Err(anyhow!("{}", found.join("\n"))) }
}

/// For the run of all tests: every patch still fits the tree. That its test turns red is the long form's to show.
pub fn check_list() -> Result<String> {
    let guards = patches::read(FOLDER, &[])?;
    show(&guards)?;
    for patch in &guards {
        patch.fits()?;
        if let Some(test) = patch.red.iter().find(|test| split(test).is_err()) {
            bail!("{}: red: {test}: name a test binary and a test", patch.name);
        }
        if patch.red.is_empty() {
            bail!("{} names no test that turns red", patch.name);
        }
    }
    Ok(format!("{} patches fit; `cargo xtask guards` tries them", guards.len()))
}

fn show(patches: &[Patch]) -> Result<()> {
    for patch in patches {
        println!("{}: {}", patch.name, patch.about);
        for test in &patch.red {
            println!("    red: {test}");
        }
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Green,
    Red,
}

/// The copy, and a target folder of its own: a program with a hole must never lie where the real one is looked for.
struct Bench {
    tree: Tree,
    target: PathBuf,
    /// The target folder of rules.
    rules: PathBuf,
}

impl Bench {
    fn set_up() -> Result<Self> {
        let folder = repository::target().join("guards");
        let (target, rules) = (folder.join("build"), folder.join("rules"));
        // Cargo marks a target folder by a file, and the host's build looks for the mark.
        let built = ["debug", "CACHEDIR.TAG"].map(|part| repository::target().join(part));
        let seeds: [(&Path, &[PathBuf]); 2] = [(&target, &built), (&rules, &plugins::built())];
        let tree = Tree::copy(folder.join("tree"), &seeds)?;
        match symlink(repository::target().join("services"), target.join("services")) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).context("link the services' folder");
            }
            _ => {}
        }
        let bench = Bench { tree, target, rules };
        bench.place_rules()?;
        Ok(bench)
    }

    /// The rules of the real tree, where the copy's build looks for them.
    fn place_rules(&self) -> Result<()> {
        for plugin in plugins::find(repository::root())? {
            let path = plugins::component_path(&plugin.name);
            let bytes = fs::read(&path).with_context(|| format!("read {} (cargo xtask plugins)", path.display()))?;
            files::write(&self.target.join("plugins").join(format!("{}.wasm", plugin.name)), &bytes)?;
        }
        Ok(())
    }

    /// Every test of the patch must be red.
    fn without(&self, patch: &Patch) -> Result<Vec<String>> {
        if patch.red.is_empty() {
            bail!("it names no test that turns red");
        }
        self.tree.apply(patch)?;
        let touches_rules = patch.files.iter().any(|file| file.starts_with("plugins") || file.starts_with("wit"));
        if touches_rules {
            let rules = plugins::find(&self.tree.root)?;
            for (plugin, component) in plugins::build(&Toolchain::set_up()?, &self.tree.root, &self.rules, &rules)? {
                files::write(&self.target.join("plugins").join(format!("{}.wasm", plugin.name)), &component)?;
            }
        }
        let mut lines = Vec::new();
        for test in &patch.red {
            match self.judge(test)? {
                Verdict::Red => lines.push(format!("{test} is red")),
                Verdict::Green => bail!("{test} stays green without the guard"),
            }
        }
        if touches_rules {
            self.place_rules()?;
        }
        Ok(lines)
    }

    fn judge(&self, test: &str) -> Result<Verdict> {
        let (selection, name) = split(test)?;
        if selection.contains(&"e2e") {
            child::run(&mut self.cargo(&["build", "--workspace"]))?;
        }
        // A tree that does not build proves nothing about a test.
        let select = |words: &[&'static str]| [&["test", "--workspace"], selection, words].concat();
        child::run(&mut self.cargo(&select(&["--no-run"])))?;
        let mut run = self.cargo(&select(&["--no-fail-fast", "--"]));
        let (_, said) = child::run_and_hear(run.args(["--exact", name]))?;
        let report = Report::read(&said);
        match (report.failed.len(), report.passed) {
            (0, 0) => bail!("there is no test {test}"),
            (0, _) => Ok(Verdict::Green),
            _ => Ok(Verdict::Red),
        }
    }

    fn cargo(&self, words: &[&str]) -> std::process::Command {
        let mut cargo = child::cargo();
        cargo.current_dir(&self.tree.root).env("CARGO_TARGET_DIR", &self.target).args(words);
        cargo
    }
}

/// `fast name` as what cargo is told and the test's name.
fn split(test: &str) -> Result<(&'static [&'static str], &str)> {
    let (binary, name) = test.split_once(' ').with_context(|| format!("red: {test}: name a test binary and a test"))?;
    let selection: &[&str] = match binary {
        "host" => &["--lib"],
        "fast" => &["--test", "fast"],
        "e2e" => &["--test", "e2e"],
        _ => bail!("red: {test}: {binary} is not host, fast or e2e"),
    };
    Ok((selection, name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_red_line_names_a_binary_and_a_test() {
        assert_eq!(split("fast sink::stops").expect("it is whole"), (&["--test", "fast"][..], "sink::stops"));
        assert_eq!(split("host a::b").expect("it is whole"), (&["--lib"][..], "a::b"));
        for wrong in ["sink::stops", "slow sink::stops"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
