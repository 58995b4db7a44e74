//! Ways to Debian's packages of MySQL, none of which touches the system: each leaves an unpacked tree in `root`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{child, files};

/// Fills `root` of the folder.
pub type Way = fn(&Path) -> Result<()>;

const PACKAGES: [&str; 2] = ["mysql-server-core", "mysql-client-core"];

/// The server is in the unstable release only.
const RELEASE: &str = "sid";

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What an earlier download left: it works without a network.
pub fn unpack_kept(folder: &Path) -> Result<()> {
    let kept = kept(folder);
    for package in PACKAGES {
        let starts = format!("{package}_");
        if !kept.iter().any(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&starts))) {
            bail!("{package} is not there");
        }
    }
    unpack(folder)
}

/// An apt whose lists, state and packages are folders of ours.
pub fn download(folder: &Path) -> Result<()> {
    for sub in ["lists/partial", "cache/archives/partial"] {
        let path = folder.join(sub);
        fs::create_dir_all(&path).with_context(|| format!("make folder {}", path.display()))?;
    }
    let write = |name: &str, text: &str| files::write(&folder.join(name), text.as_bytes());
    // Nothing is installed as far as this apt knows, so it fetches every library too.
    write("status", "")?;
    write("sources.list", &format!("deb [signed-by={KEYRING}] {} {RELEASE} main\n", mirror()))?;
    child::answer(apt_get(folder).args(["-q", "update"]))?;
    // Of an older state of the release, which moves.
    for old in kept(folder) {
        fs::remove_file(&old).with_context(|| format!("remove {}", old.display()))?;
    }
    child::answer(apt_get(folder).args(["-q", "-y", "--download-only", "install"]).args(PACKAGES))?;
    unpack(folder)
}

/// A whole small system, unpacked and configured.
pub fn debootstrap(folder: &Path) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("only root can run it");
    }
    let root = folder.join("root");
    files::remove_folder(&root)?;
    let include = format!("--include={}", PACKAGES.join(","));
    let mut command = child::command("debootstrap");
    child::answer(command.args(["--variant=minbase", &include, RELEASE]).arg(&root))?;
    Ok(())
}

fn apt_get(folder: &Path) -> std::process::Command {
    let mut command = child::command("apt-get");
    for (option, sub) in [
        ("Dir::State::Lists", "lists"),
        ("Dir::State::status", "status"),
        ("Dir::Etc::sourcelist", "sources.list"),
        ("Dir::Cache", "cache"),
    ] {
        command.arg(format!("-o{option}={}", folder.join(sub).display()));
    }
    command.args([
        "-oDir::Etc::sourceparts=/dev/null",
        "-oAPT::Install-Recommends=false",
        "-oDebug::NoLocking=1",
        "-oAcquire::Retries=2",
        "-oAcquire::http::Timeout=20",
    ]);
    command
}

/// The system's own mirror, where it is a Debian.
fn mirror() -> String {
    let sources = fs::read_to_string("/etc/apt/sources.list.d/debian.sources").unwrap_or_default();
    let named = sources.lines().find_map(|line| line.strip_prefix("URIs:"));
    let first = named.and_then(|mirrors| mirrors.split_whitespace().next());
    first.unwrap_or("http://deb.debian.org/debian").to_owned()
}

fn kept(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.join("cache/archives")).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect()
}

/// By way of another name: a tree that is there is whole.
fn unpack(folder: &Path) -> Result<()> {
    let new = folder.join("root.new");
    files::remove_folder(&new)?;
    for package in kept(folder) {
        child::answer(child::command("dpkg-deb").arg("-x").args([&package, &new]))?;
    }
    let root = folder.join("root");
    files::remove_folder(&root)?;
    fs::rename(&new, &root).with_context(|| format!("move {} to {}", new.display(), root.display()))
}
