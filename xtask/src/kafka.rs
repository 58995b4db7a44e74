//! The Kafka broker of the tests, in `target/services/kafka`: its own artefacts from Maven's repository, run by a JDK.
//!
//! `bin/kafka CLASS ARGUMENT…` there runs one of its programs (`kafka.Kafka`, `org.apache.kafka.tools.consumer.ConsoleConsumer`)
//! and replaces itself by it, so that its process is the broker's. `HINDSIGHT_TEST_KAFKA_HOME` names a distribution that is
//! there already.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow};

use crate::{child, services};

/// A folder with `libs/*.jar`, as a distribution unpacks, instead of a download.
const HOME: &str = "HINDSIGHT_TEST_KAFKA_HOME";

const POM: &str = include_str!("kafka_pom.xml");

/// Sees to a broker that starts, and says which one it is.
pub fn set_up() -> Result<String> {
    let (folder, _held) = services::hold("kafka")?;
    if let Some(home) = services::given(HOME)? {
        wrap(&folder, &format!("'{}'", home.join("libs").display().to_string().replace('\'', r"'\''")))?;
        return version(&folder).with_context(|| format!("{HOME} = {} has no broker that starts", home.display()));
    }
    wrap(&folder, "\"$home\"/libs")?;
    // Another list of artefacts is another broker.
    let made_from = fs::read_to_string(folder.join("pom.xml")).unwrap_or_default();
    if made_from == POM
        && let Ok(version) = version(&folder)
    {
        return Ok(version);
    }
    let fetched =
        services::install_java().and_then(|()| services::fetch_artefacts(&folder, POM)).and_then(|()| version(&folder));
    fetched.map_err(|error| {
        anyhow!(
            "no Kafka broker could be had for the tests: {error:#}\nUnpack a release (3.8 or newer) and set {HOME} to its folder; \
             a JDK (17 or newer) must be on the PATH"
        )
    })
}

fn wrap(folder: &Path, libraries: &str) -> Result<()> {
    let does = "one of Kafka's programs, named by its class. Written by `cargo xtask setup`.";
    services::write_java(&folder.join("bin/kafka"), does, "${KAFKA_JAVA_OPTIONS-}", &format!("{libraries}'/*'"))
}

/// The broker's program answers: the JDK and its libraries are whole.
fn version(folder: &Path) -> Result<String> {
    let text = child::answer(child::command(folder.join("bin/kafka")).args(["kafka.Kafka", "--version"]))?;
    let version = text.lines().last().and_then(|line| line.split_whitespace().next());
    Ok(format!("Kafka {}", version.context("the broker does not say its version")?))
}
