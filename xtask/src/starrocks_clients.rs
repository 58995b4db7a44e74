//! StarRocks' own clients, which the stand-in has to please, in `target/services/starrocks-clients`: the Java SDK with the
//! program of `tests/starrocks/sdk-check` that drives it, and a Python that has the dialect for SQLAlchemy.
//!
//! `bin/sdk` there is a JVM of that program (`SDK_JAVA_OPTIONS` are its options), `python/bin/python` the Python.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::{apt, child, files, repository, services};

const FOLDER: &str = "tests/starrocks";
/// What Debian lacks beside python3.
const PYTHON_PACKAGES: [&str; 2] = ["python3", "python3-venv"];

/// Sees to clients that are those of the sources, and says which they are.
pub fn set_up() -> Result<String> {
    let (folder, _held) = services::hold("starrocks-clients")?;
    let sdk = sdk(&folder).context("the Java SDK")?;
    let python = python(&folder).context("the Python client")?;
    Ok(format!("{sdk}, {python}"))
}

fn sdk(folder: &Path) -> Result<String> {
    let sources = repository::root().join(FOLDER).join("sdk-check");
    let pom = read(&sources.join("pom.xml"))?;
    let program = read(&sources.join("Load.java"))?;
    let home = folder.join("sdk");
    let is_made = |name: &str, text: &str| fs::read_to_string(home.join(name)).is_ok_and(|made| made == text);
    // Another list of artefacts is another set of libraries, and another program is another class.
    let has_libraries = is_made("pom.xml", &pom);
    if !has_libraries || !is_made("Load.java", &program) {
        services::install_java()?;
        if !has_libraries {
            services::fetch_artefacts(&home, &pom)?;
        }
        services::compile_java(&sources, &home)?;
        files::write(&home.join("Load.java"), program.as_bytes())?;
    }
    let does =
        "the check of StarRocks' SDK: MODE FE USER PASSWORD DATABASE TABLE ROWS. Written by `cargo xtask setup`.";
    let options = "${SDK_JAVA_OPTIONS-}";
    services::write_java(&folder.join("bin/sdk"), does, options, "\"$home/sdk/classes:$home/sdk/libs/*\" check.Load")?;
    Ok(format!("StarRocks' SDK {}", between(&pom, "sdk</artifactId><version>", "<").unwrap_or("of no version")))
}

/// A virtual environment with the packages of `requirements.txt`, made anew for another list.
fn python(folder: &Path) -> Result<String> {
    let wanted = read(&repository::root().join(FOLDER).join("python-check/requirements.txt"))?;
    let home = folder.join("python");
    let program = home.join("bin/python");
    let made = home.join("requirements.txt");
    let answers = || child::answer(child::command(&program).args(["-c", "import starrocks, pymysql"])).is_ok();
    if !fs::read_to_string(&made).is_ok_and(|text| text == wanted) || !answers() {
        files::remove_folder(&home)?;
        make_environment(&home)?;
        let list = folder.join("requirements.txt");
        files::write(&list, wanted.as_bytes())?;
        let mut pip = child::command(&program);
        child::answer(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]).arg(&list))?;
        files::write(&made, wanted.as_bytes())?;
    }
    Ok(wanted.lines().filter(|line| line.starts_with("starrocks")).collect())
}

fn make_environment(home: &Path) -> Result<()> {
    let make = || child::answer(child::command("python3").args(["-m", "venv"]).arg(home));
    if make().is_ok() {
        return Ok(());
    }
    let missing = || format!("python3 or its venv is missing: apt-get install {}", PYTHON_PACKAGES.join(" "));
    apt::install(|| Ok(PYTHON_PACKAGES.map(str::to_owned).to_vec())).with_context(missing)?;
    files::remove_folder(home)?;
    make().map(drop)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}
