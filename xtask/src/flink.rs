//! The Flink jobs of the comparison, in `target/services/flink`: built from `tests/flink` and Maven's artefacts.
//!
//! `bin/job CLASS ARGUMENT…` there runs one of them in a JVM, by which it replaces itself.

use std::fs;

use anyhow::{Context, Result};

use crate::{repository, services};

/// Options of a job's JVM: the heap of a small task manager, and what Flink's serializers open on Java 17.
const JVM: &str = "-Xms1g -Xmx1g -Dorg.slf4j.simpleLogger.defaultLogLevel=warn --add-opens=java.base/java.lang=ALL-UNNAMED \
     --add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.time=ALL-UNNAMED";

/// Sees to jobs that are those of the sources, and says which Flink they are for.
pub fn set_up() -> Result<String> {
    services::install_java()?;
    let (folder, _held) = services::hold("flink")?;
    let sources = repository::root().join("tests/flink");
    let pom = fs::read_to_string(sources.join("pom.xml")).context("read tests/flink/pom.xml")?;
    // Another list of artefacts is another set of libraries.
    if fs::read_to_string(folder.join("pom.xml")).unwrap_or_default() != pom {
        services::fetch_artefacts(&folder, &pom)?;
    }
    services::compile_java(&sources, &folder)?;
    let does = "one of the jobs, named by its class. Written by `cargo xtask bench flink`.";
    services::write_java(&folder.join("bin/job"), does, JVM, "\"$home/classes:$home/libs/*\"")?;
    let version = pom.split_once("<flink>").and_then(|(_, rest)| rest.split_once("</flink>"));
    Ok(format!("Flink {}", version.context("tests/flink/pom.xml does not say the version")?.0))
}
