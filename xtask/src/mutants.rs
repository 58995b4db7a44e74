//! `cargo xtask mutants`: each patch of `tests/mutants` changes one line of a rule; its cases (`hindsight rule test`) and
//! the property test against the oracle must both find it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};

use crate::patches::{self, Patch, Tree};
use crate::plugins::{self, Plugin};
use crate::test_report::Report;
use crate::toolchain::Toolchain;
use crate::{child, files, repository};

const FOLDER: &str = "tests/mutants";

/// The test of the `fast` binary that tries any component against the oracle, and how it is told which and how often: a
/// mutant that this many cases do not find is not found well.
const PROPERTY: &str = "property::the_component_decides_every_log_as_the_oracle_does";
const RULE: &str = "HINDSIGHT_TEST_RULE";
const CASES: (&str, &str) = ("HINDSIGHT_TEST_CASES", "2000");

pub fn mutants(names: &[String]) -> Result<()> {
    let patches = patches::read(FOLDER, names)?;
    let toolchain = Toolchain::set_up()?;
    plugins::plugins(&[])?;
    child::run(child::cargo().args(["build", "--workspace"]))?;
    child::run(child::cargo().args(["test", "--workspace", "--test", "fast", "--no-run"]))?;
    let folder = repository::target().join("mutants");
    let rules = folder.join("rules");
    let tree = Tree::copy(folder.join("tree"), &[(&rules, &plugins::built())])?;

    let mut lines = Vec::new();
    let mut missed = Vec::new();
    for patch in &patches {
        println!("\n{}: {}", patch.name, patch.about);
        let plugin = plugin(patch)?;
        tree.apply(patch)?;
        let built = plugins::build(&toolchain, &tree.root, &rules, std::slice::from_ref(&plugin));
        tree.put_back(patch)?;
        let component = folder.join(format!("{}.wasm", patch.name));
        let (_, bytes) = built?.pop().context("one rule is built")?;
        if fs::read(plugins::component_path(&plugin.name)).is_ok_and(|original| original == bytes) {
            bail!("{} is the same component as without the patch", patch.name);
        }
        files::write(&component, &bytes)?;
        let cases = cases_find(&component, &plugin)?;
        let property = property_finds(&component)?;
        let word = |found: bool| if found { "found" } else { "MISSED" };
        println!("  by its cases: {}, by the property test: {}", word(cases), word(property));
        lines.push(format!("{:<36}{:<10}{:<10}", patch.name, word(cases), word(property)));
        if !(cases && property) {
            missed.push(patch.name.clone());
        }
    }

    // Last, so that a test which is always red does not pass for a good one.
    let sound = patches::read(FOLDER, names)?.first().map(plugin).transpose()?.expect("there is a patch");
    let original = plugins::component_path(&sound.name);
    let (cases, property) = (cases_find(&original, &sound)?, property_finds(&original)?);
    println!("\n{:<36}{:<10}{:<10}", "mutant", "cases", "property");
    println!("{}", lines.join("\n"));
    if cases || property {
        bail!("the rule without any patch is not green: its cases or the property test say nothing");
    }
    println!("{:<36}{:<10}{:<10}", "(the rule as it is)", "green", "green");
    if missed.is_empty() { Ok(()) } else { Err(anyhow!("not found by both: {}", missed.join(", "))) }
}

/// The rule that a patch changes.
fn plugin(patch: &Patch) -> Result<Plugin> {
    let rules = plugins::find(repository::root())?;
    let changes =
        |plugin: &Plugin| patch.files.iter().any(|file| file.starts_with(Path::new("plugins").join(&plugin.name)));
    rules.into_iter().find(changes).with_context(|| format!("{} changes no rule", patch.name))
}

fn cases_find(component: &Path, plugin: &Plugin) -> Result<bool> {
    let cases = repository::root().join("plugins").join(&plugin.name).join("cases");
    let mut test = child::command(repository::hindsight());
    test.args(["rule", "test"]).args([component, &cases]);
    let (status, _) = child::run_and_hear(&mut test)?;
    match status.code() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => bail!("{} ended with {status}", child::shown(&test)),
    }
}

fn property_finds(component: &Path) -> Result<bool> {
    let mut test = child::cargo();
    test.args(["test", "--workspace", "--test", "fast", "--", PROPERTY]).env(RULE, component).env(CASES.0, CASES.1);
    let (_, said) = child::run_and_hear(&mut test)?;
    let report = Report::read(&said);
    if report.passed == 0 && report.failed.is_empty() {
        bail!("there is no test {PROPERTY}* in tests/tests/fast");
    }
    Ok(!report.failed.is_empty())
}
