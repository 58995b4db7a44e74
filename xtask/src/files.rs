//! Files written so that nobody sees half of one, and cargo sees no change where there is none.

use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    New,
    Unchanged,
}

/// Writes the file, by way of another name, when its bytes differ. A file that stays keeps its time: cargo builds
/// nothing again for it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<Written> {
    write_for(path, bytes, 0o644)
}

/// The same for a file that can be run.
pub fn write_program(path: &Path, bytes: &[u8]) -> Result<Written> {
    write_for(path, bytes, 0o755)
}

/// Removes a folder with all that is in it; that it is not there is fine.
pub fn remove_folder(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove folder {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn write_for(path: &Path, bytes: &[u8], mode: u32) -> Result<Written> {
    if fs::read(path).is_ok_and(|before| before == bytes) {
        return Ok(Written::Unchanged);
    }
    let folder = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder).with_context(|| format!("make folder {}", folder.display()))?;
    let mut name = OsString::from(".");
    name.push(path.file_name().expect("a file has a name"));
    name.push(".new");
    let new = folder.join(name);
    fs::write(&new, bytes).with_context(|| format!("write {}", new.display()))?;
    let allowed = fs::set_permissions(&new, fs::Permissions::from_mode(mode));
    allowed.with_context(|| format!("set who may use {}", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("move {} to {}", new.display(), path.display()))?;
    Ok(Written::New)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;

    #[test]
    fn a_file_that_stays_the_same_keeps_its_time() {
        let folder = repository::target().join("tmp").join("xtask-files");
        remove_folder(&folder).expect("a folder of our own");
        let path = folder.join("deeper").join("x.wasm");
        let time = || fs::metadata(&path).and_then(|metadata| metadata.modified()).expect("the file's time");
        assert_eq!(write(&path, b"one").expect("write"), Written::New);
        let first = time();
        assert_eq!(write(&path, b"one").expect("write"), Written::Unchanged);
        assert_eq!(time(), first);
        assert_eq!(write(&path, b"two").expect("write"), Written::New);
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::read_dir(folder.join("deeper")).expect("list").count(), 1, "no half-written file is left");
        remove_folder(&folder).expect("clean up");
    }
}
