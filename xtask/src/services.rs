//! Where the servers of the tests live: a folder each below the target folder, and a variable that names one that is there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{child, files, repository};

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
