//! `hindsight init`: writes a configuration to start from.

use std::io::Write;
use std::path::Path;

use crate::failure::{Failure, Outcome};
use crate::output;

/// Commented, and valid as it is.
pub const TEMPLATE: &str = include_str!("init.toml");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Keep,
    Overwrite,
}

/// # Errors
/// The file is there and shall be kept, or cannot be written: exit code 2.
pub fn init(path: &Path, existing: Existing) -> Outcome<()> {
    let mut options = std::fs::OpenOptions::new();
    match existing {
        // The check and the making are one step, so that no file of another process is lost.
        Existing::Keep => options.write(true).create_new(true),
        Existing::Overwrite => options.write(true).create(true).truncate(true),
    };
    let written = options.open(path).and_then(|mut file| file.write_all(TEMPLATE.as_bytes()));
    if let Err(error) = written {
        let shown = path.display();
        let text = match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("{shown} is there already; --force overwrites it"),
            _ => format!("write {shown}: {error}"),
        };
        return Err(Failure::usage(anyhow::anyhow!(text)));
    }
    let next = "name your binlog files and tables in it, then run `hindsight validate`";
    output::print(&format!("wrote {}; {next}\n", path.display()))
}
