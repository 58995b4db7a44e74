//! `cargo xtask bench`: the benchmarks of `tests/benches` in the release profile.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::{child, flink, kafka, mysql, plugins, repository};

pub fn bench(name: Option<&str>, arguments: &[String]) -> Result<()> {
    let known = benches()?;
    let chosen: Vec<&String> = known.iter().filter(|known| name.is_none_or(|name| name == known.as_str())).collect();
    if chosen.is_empty() {
        bail!("there is no benchmark {}; tests/benches has {}", name.unwrap_or("at all"), known.join(", "));
    }
    plugins::plugins(&[])?;
    let has = |those: &[&str]| chosen.iter().any(|name| those.contains(&name.as_str()));
    if has(&["flink", "live", "snapshot", "starrocks", "topic"]) {
        println!("server: {}", mysql::set_up()?);
    }
    if has(&["flink", "starrocks", "topic"]) {
        println!("broker: {}", kafka::set_up()?);
    }
    if has(&["flink"]) {
        println!("jobs: {}", flink::set_up()?);
    }
    // By name: `cargo bench` alone would also build every unit test once more, in the release profile.
    let mut command = child::cargo();
    command.args(["bench", "--workspace"]);
    for bench in chosen {
        command.args(["--bench", bench]);
    }
    child::run(command.arg("--").args(arguments))
}

fn benches() -> Result<Vec<String>> {
    let folder = repository::root().join("tests/benches");
    let entries = fs::read_dir(&folder).with_context(|| format!("read folder {}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let sources = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut names: Vec<String> =
        sources.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}
