//! The MySQL server of the tests, in `target/services/mysql`: never part of the system, nothing to clean up.
//!
//! `bin/mysqld`, `bin/mysql` and `bin/mysqlbinlog` there are what tests start. Each replaces itself by the program, so
//! that its process is the server's. `HINDSIGHT_TEST_MYSQL_HOME` names a server that is there already.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::{child, files, mysql_packages, services};

const PROGRAMS: [&str; 3] = ["mysqld", "mysql", "mysqlbinlog"];

/// A folder with `bin/mysqld`, `bin/mysql` and `bin/mysqlbinlog`, instead of a download.
const HOME: &str = "HINDSIGHT_TEST_MYSQL_HOME";

/// Sees to a server that starts, and says which one it is.
pub fn set_up() -> Result<String> {
    let (folder, _held) = services::hold("mysql")?;
    if let Some(home) = services::given(HOME)? {
        wrap(&folder, &|program| given(&home, program))?;
        return version(&folder).with_context(|| format!("{HOME} = {} has no server that starts", home.display()));
    }
    let unpacked = || {
        wrap_unpacked(&folder)?;
        version(&folder)
    };
    if let Ok(version) = unpacked() {
        return Ok(version);
    }
    let ways: [(&str, mysql_packages::Way); 3] = [
        ("packages kept from before", mysql_packages::unpack_kept),
        ("apt with folders of its own", mysql_packages::download),
        ("debootstrap", mysql_packages::debootstrap),
    ];
    let mut tried = Vec::new();
    for (name, way) in ways {
        match way(&folder).and_then(|()| unpacked()) {
            Ok(version) => return Ok(version),
            Err(error) => tried.push(format!("  {name}: {error:#}")),
        }
    }
    Err(anyhow!(
        "no MySQL server could be had for the tests:\n{}\nInstall one (8.0 or newer) and set {HOME} to the folder that holds \
         bin/mysqld, bin/mysql and bin/mysqlbinlog",
        tried.join("\n"),
    ))
}

/// All programs answer: their loader, libraries and they themselves are whole.
fn version(folder: &Path) -> Result<String> {
    let mut server = String::new();
    for program in PROGRAMS {
        let text =
            child::answer(child::command(folder.join("bin").join(program)).args(["--no-defaults", "--version"]))?;
        if program == "mysqld" {
            let at = text.find("Ver ").context("mysqld does not say its version")?;
            server = text[at + 4..].split_whitespace().next().unwrap_or_default().to_owned();
        }
    }
    Ok(format!("MySQL {server}"))
}

fn wrap(folder: &Path, script: &dyn Fn(&str) -> Result<String>) -> Result<()> {
    for program in PROGRAMS {
        files::write_program(&folder.join("bin").join(program), script(program)?.as_bytes())?;
    }
    Ok(())
}

fn given(home: &Path, program: &str) -> Result<String> {
    let places = ["bin", "sbin", "libexec"].map(|folder| home.join(folder).join(program));
    let found = places.iter().find(|path| path.exists());
    let path = found.with_context(|| format!("{HOME} = {}: there is no bin/{program}", home.display()))?;
    Ok(format!("#!/bin/sh\n# Written by `cargo xtask setup` for {HOME}.\nexec {} \"$@\"\n", quoted(path)))
}

/// Packages that were unpacked, not installed: their programs are run by the loader and libraries that came with them,
/// and the server is told where its files are.
fn wrap_unpacked(folder: &Path) -> Result<()> {
    let root = folder.join("root");
    let contents = Contents::of(&root);
    let below = |path: &Path| {
        let path = path.strip_prefix(&root).expect("it was found below the root");
        format!("\"$root\"/{}", quoted(path))
    };
    let loader = below(contents.loader.as_deref().context("no loader is unpacked")?);
    let libraries: Vec<String> = contents.libraries.iter().map(|path| below(path)).collect();
    let libraries = libraries.join(":");
    wrap(folder, &|program| {
        let places = ["usr/sbin", "usr/bin"].map(|place| root.join(place).join(program));
        let path = places.iter().find(|path| path.exists()).with_context(|| format!("{program} is not unpacked"))?;
        let server = if program == "mysqld" { SERVER_ARGUMENTS } else { "" };
        Ok(format!(
            "#!/bin/sh\n\
             # Runs {program} by the loader and the libraries that were unpacked with it. Written by `cargo xtask setup`.\n\
             root=$(CDPATH= cd -- \"$(dirname -- \"$0\")/../root\" && pwd -P) || exit 1\n\
             {server}exec {loader} --library-path {libraries} {} \"$@\"\n",
            below(path),
        ))
    })
}

/// An option that says which option files are read must come first.
const SERVER_ARGUMENTS: &str = r#"case "${1-}" in
  --no-defaults | --defaults-file=* | --defaults-extra-file=*) first=$1; shift ;;
  *) first= ;;
esac
set -- ${first:+"$first"} --basedir="$root/usr" --lc-messages-dir="$root/usr/share/mysql" \
  --character-sets-dir="$root/usr/share/mysql/charsets" --plugin-dir="$root/usr/lib/mysql/plugin" --secure-file-priv= "$@"
"#;

/// What of unpacked packages is needed to run their programs.
#[derive(Default)]
struct Contents {
    loader: Option<PathBuf>,
    /// Folders.
    libraries: Vec<PathBuf>,
}

impl Contents {
    fn of(root: &Path) -> Self {
        let mut contents = Contents::default();
        let mut folders = ["usr/lib", "usr/lib64"].map(|folder| root.join(folder)).to_vec();
        while let Some(folder) = folders.pop() {
            // Some machines have no lib64.
            let entries = fs::read_dir(&folder).into_iter().flatten();
            let mut holds_libraries = false;
            for entry in entries.flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                } else if name.starts_with("ld-linux") && name.contains(".so") {
                    contents.loader = Some(entry.path());
                } else if name.starts_with("lib") && name.contains(".so") {
                    holds_libraries = true;
                }
            }
            if holds_libraries {
                contents.libraries.push(folder);
            }
        }
        contents.libraries.sort();
        contents
    }
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
