//! Where the servers of the tests live: a folder each below the target folder, and a variable that names one that is there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{apt, child, files, repository};

/// What Debian calls Java and Maven.
const JAVA_PACKAGES: [&str; 2] = ["openjdk-17-jdk-headless", "maven"];

/// A service's folder, held: the processes of two checkouts may share it.
pub fn hold(name: &str) -> Result<(PathBuf, File)> {
    let folder = repository::target().join("services").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("make folder {}", folder.display()))?;
    let lock = folder.join("lock");
    let lock = File::create(&lock).with_context(|| format!("write {}", lock.display()))?;
    lock.lock().context("wait for another set-up")?;
    Ok((folder, lock))
}

/// The folder that a variable names, where it is set.
pub fn given(variable: &str) -> Result<Option<PathBuf>> {
    let home = std::env::var_os(variable).filter(|home| !home.is_empty());
    home.map(|home| fs::canonicalize(&home).with_context(|| format!("{variable}: find {}", home.display()))).transpose()
}

/// Java and Maven, where they are missing.
pub fn install_java() -> Result<()> {
    let answers = |program: &str, option: &str| child::answer(child::command(program).arg(option)).is_ok();
    if answers("java", "-version") && answers("mvn", "--version") {
        return Ok(());
    }
    let missing = || format!("java or mvn is missing: apt-get install {}", JAVA_PACKAGES.join(" "));
    apt::install(|| Ok(JAVA_PACKAGES.map(str::to_owned).to_vec())).with_context(missing)
}

/// A script that replaces itself by a JVM of the class it is told. `does`: what it runs, and who wrote it. `options` and
/// `classes`: words of the shell, in which `$home` is the folder above the script's.
pub fn write_java(program: &Path, does: &str, options: &str, classes: &str) -> Result<()> {
    let script = format!(
        "#!/bin/sh\n\
         # Runs {does}\n\
         home=$(CDPATH= cd -- \"$(dirname -- \"$0\")/..\" && pwd -P) || exit 1\n\
         exec java {options} -cp {classes} \"$@\"\n"
    );
    files::write_program(program, script.as_bytes()).map(drop)
}

/// Maven's artefacts of a project into `libs`, by way of another name: libraries that are there are whole. The project is
/// kept beside them.
pub fn fetch_artefacts(folder: &Path, project: &str) -> Result<()> {
    let new = folder.join("new");
    files::remove_folder(&new)?;
    files::write(&new.join("pom.xml"), project.as_bytes())?;
    let mut maven = child::command("mvn");
    maven.args(["-q", "-B", "-f"]).arg(new.join("pom.xml"));
    child::answer(maven.arg("dependency:copy-dependencies").arg("-DoutputDirectory=libs"))?;
    let libraries = folder.join("libs");
    files::remove_folder(&libraries)?;
    fs::rename(new.join("libs"), &libraries).with_context(|| format!("move {}", new.join("libs").display()))?;
    files::write(&folder.join("pom.xml"), project.as_bytes())?;
    files::remove_folder(&new)
}

/// The Java sources of a folder into `classes`, against `libs`, which are there.
pub fn compile_java(sources: &Path, folder: &Path) -> Result<()> {
    let classes = folder.join("classes");
    files::remove_folder(&classes)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(sources).with_context(|| format!("read folder {}", sources.display()))? {
        let path = entry.with_context(|| format!("read folder {}", sources.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "java") {
            files.push(path);
        }
    }
    let mut compiler = child::command("javac");
    compiler.args(["-nowarn", "-cp"]).arg(folder.join("libs/*")).arg("-d").arg(&classes);
    child::answer(compiler.args(files)).map(drop)
}
