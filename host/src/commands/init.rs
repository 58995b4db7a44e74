//! `hindsight init`: writes a configuration to start from.

use std::io::Write;
use std::path::Path;

use crate::failure::{Failure, Outcome};
use crate::output;

/// What the configuration is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    Recorded,
    Live,
}

impl Template {
    /// Commented, and valid as it is.
    fn text(self) -> &'static str {
        match self {
            Template::Recorded => include_str!("init.toml"),
            Template::Live => include_str!("init_live.toml"),
        }
    }

    /// What to do with it.
    fn next(self) -> &'static str {
        match self {
            Template::Recorded => "name your binlog files and tables in it, then run `hindsight validate`",
            Template::Live => "name your server and tables in it, then run `hindsight doctor`",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    Keep,
    Overwrite,
}

/// # Errors
/// The file is there and shall be kept, or cannot be written: exit code 2.
pub fn init(path: &Path, template: Template, existing: Existing) -> Outcome<()> {
    let mut options = std::fs::OpenOptions::new();
    match existing {
        // The check and the making are one step, so that no file of another process is lost.
        Existing::Keep => options.write(true).create_new(true),
        Existing::Overwrite => options.write(true).create(true).truncate(true),
    };
    let written = options.open(path).and_then(|mut file| file.write_all(template.text().as_bytes()));
    if let Err(error) = written {
        let shown = path.display();
        let text = match error.kind() {
            std::io::ErrorKind::AlreadyExists => format!("{shown} is there already; --force overwrites it"),
            _ => format!("write {shown}: {error}"),
        };
        return Err(Failure::usage(anyhow::anyhow!(text)));
    }
    output::print(&format!("wrote {}; {}\n", path.display(), template.next()))
}
