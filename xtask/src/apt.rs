//! Packages of the system, where there is no other way to what building and testing need.

use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};

use crate::child;

/// Brings the lists up to date and installs what is chosen from them. One at a time, as apt allows no other beside it.
pub fn install(choose: impl FnOnce() -> Result<Vec<String>>) -> Result<()> {
    static TURN: Mutex<()> = Mutex::new(());
    if !rustix::process::geteuid().is_root() {
        bail!("only root installs packages");
    }
    let _held = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    child::answer(child::command("apt-get").args(["-q", "update"]))?;
    let mut install = child::command("apt-get");
    install.args(["-q", "-y", "--no-install-recommends", "install"]).args(choose()?);
    child::answer(install.env("DEBIAN_FRONTEND", "noninteractive")).map(drop)
}
