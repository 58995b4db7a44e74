//! The toolchain for rules: a cargo, a standard library and a linker for wasm32-unknown-unknown.
//!
//! First what is there, without asking any server: the toolchain in use, then Debian's. Then what can be had:
//! rustup's target, then Debian's packages. Where nothing helps, one message says what to install.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail};

use crate::{apt, child};

pub const TARGET: &str = "wasm32-unknown-unknown";

/// Where rustup's server does not answer, it is not waited for.
const RUSTUP_LIMIT: Duration = Duration::from_secs(20);

const DEBIAN_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

#[derive(Debug)]
pub struct Toolchain {
    /// For people: which one it is.
    pub name: String,
    whose: Whose,
    /// Where the compiler's own linker is missing.
    linker: Option<PathBuf>,
}

/// None: it is not here.
type Way = fn() -> Result<Option<Toolchain>>;

#[derive(Debug)]
enum Whose {
    /// The one that runs this program.
    Ours,
    /// Debian's, beside it, with a standard library that is there or that is built from its sources with each target folder.
    Debian { std: Std },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Std {
    Shipped,
    Source,
}

const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CARGO: &str = "/usr/bin/cargo";

impl Toolchain {
    /// Finds one, or gets one.
    pub fn set_up() -> Result<Self> {
        let mut tried = Vec::new();
        let ways: [(&str, Way); 4] = [
            ("the toolchain in use", ours),
            ("Debian's toolchain", debian),
            ("rustup target add", by_rustup),
            ("Debian's packages", by_apt),
        ];
        for (name, way) in ways {
            match way() {
                Ok(Some(toolchain)) => return Ok(toolchain),
                Ok(None) => {}
                Err(error) => tried.push(format!("  {name}: {error:#}")),
            }
        }
        Err(anyhow!(
            "no Rust toolchain for {TARGET} is here, and none could be had:\n{}\nInstall one of: `rustup target add {TARGET}`; \
             your distribution's standard library for it (rust-std-static-{TARGET}, libstd-rust-dev-wasm32); or, on Debian, \
             `apt-get install {} lld-N` with the newest N",
            tried.join("\n"),
            DEBIAN_PACKAGES.join(" "),
        ))
    }

    /// `cargo build` for the target: the packages to build and a target folder are still to be said.
    pub fn cargo_build(&self) -> Command {
        let mut command = match self.whose {
            Whose::Ours => child::cargo(),
            Whose::Debian { std } => {
                let mut command = child::command(DEBIAN_CARGO);
                // What rustup and the reader's environment say of compilers is about another toolchain.
                for name in
                    ["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOC", "LD_LIBRARY_PATH"]
                {
                    command.env_remove(name);
                }
                command.env("RUSTC", DEBIAN_RUSTC);
                if std == Std::Source {
                    // A stable compiler builds its own standard library only when told that it may.
                    command.env("RUSTC_BOOTSTRAP", "1");
                }
                command
            }
        };
        // Flags that are meant for this machine's programs.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        if let Some(linker) = &self.linker {
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        command.args(["build", "--profile", "plugin", "--target", TARGET]);
        if matches!(self.whose, Whose::Debian { std: Std::Source }) {
            command.arg("-Zbuild-std=std,panic_abort");
        }
        command
    }
}

fn ours() -> Result<Option<Toolchain>> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    if !has_std(&rustc)? {
        return Ok(None);
    }
    let linker = linker(&rustc)?;
    Ok(Some(Toolchain { name: version(&rustc)?, whose: Whose::Ours, linker }))
}

/// Debian's backport of a new Rust lies in /usr/bin, beside a rustup that goes before it in PATH.
fn debian() -> Result<Option<Toolchain>> {
    if !Path::new(DEBIAN_RUSTC).exists() || !Path::new(DEBIAN_CARGO).exists() {
        return Ok(None);
    }
    let rustc = OsString::from(DEBIAN_RUSTC);
    let name = version(&rustc)?;
    let needed = env!("CARGO_PKG_RUST_VERSION");
    if numbers(&name) < numbers(needed) {
        bail!("{DEBIAN_RUSTC} is {name}; {needed} is needed");
    }
    let std = if has_std(&rustc)? {
        Std::Shipped
    } else if sysroot(&rustc)?.join("lib/rustlib/src/rust/library/std").is_dir() {
        Std::Source
    } else {
        return Ok(None);
    };
    let linker = linker(&rustc)?;
    Ok(Some(Toolchain { name: format!("Debian's {name}"), whose: Whose::Debian { std }, linker }))
}

fn by_rustup() -> Result<Option<Toolchain>> {
    let mut rustup = child::command("rustup");
    child::answer_within(rustup.args(["target", "add", TARGET]), RUSTUP_LIMIT)?;
    ours()
}

fn by_apt() -> Result<Option<Toolchain>> {
    apt::install(|| {
        let listed = child::answer(child::command("apt-cache").args(["search", "--names-only", "^lld-[0-9]+$"]))?;
        let lld = listed.lines().filter_map(|line| line.split_whitespace().next()).max_by_key(|name| numbers(name));
        let lld = lld.context("apt knows no lld-N")?;
        Ok(DEBIAN_PACKAGES.iter().copied().chain([lld]).map(str::to_owned).collect())
    })?;
    debian()?
        .map_or_else(|| Err(anyhow!("the packages hold no toolchain for {TARGET}")), |toolchain| Ok(Some(toolchain)))
}

/// Whether the compiler's standard library for the target is installed.
fn has_std(rustc: &OsString) -> Result<bool> {
    let mut asked = child::command(rustc);
    let folder = child::answer(asked.args(["--print", "target-libdir", "--target", TARGET]))?;
    let Ok(entries) = fs::read_dir(folder.trim()) else { return Ok(false) };
    Ok(entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
}

/// None where the compiler brings its own; else the newest of LLVM's.
fn linker(rustc: &OsString) -> Result<Option<PathBuf>> {
    let own = fs::read_dir(sysroot(rustc)?.join("lib/rustlib")).into_iter().flatten().flatten();
    if own.into_iter().any(|target| target.path().join("bin/rust-lld").exists()) {
        return Ok(None);
    }
    let versions = fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let llvm = versions.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("llvm-")));
    let newest = llvm
        .filter(|path| path.join("bin/wasm-ld").exists())
        .max_by_key(|path| numbers(&path.to_string_lossy()))
        .map(|path| path.join("bin/wasm-ld"));
    let in_path = || {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|folder| folder.join("wasm-ld")).find(|linker| linker.exists())
    };
    newest.or_else(in_path).map(Some).context("no wasm-ld is installed (LLVM's lld)")
}

fn sysroot(rustc: &OsString) -> Result<PathBuf> {
    Ok(child::answer(child::command(rustc).args(["--print", "sysroot"]))?.trim().into())
}

fn version(rustc: &OsString) -> Result<String> {
    let text = child::answer(child::command(rustc).arg("--version"))?;
    Ok(text.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

/// The numbers of a text, so that lld-22 is newer than lld-9.
fn numbers(text: &str) -> Vec<u32> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(numbers("lld-22") > numbers("lld-9"));
        assert!(numbers("rustc 1.96.0") > numbers("1.95") && numbers("rustc 1.63.0") < numbers("1.95"));
    }

    #[test]
    fn debians_cargo_is_told_its_own_compiler_and_nothing_of_rustups() {
        let whose = Whose::Debian { std: Std::Source };
        let command = Toolchain { name: String::new(), whose, linker: Some("/usr/bin/wasm-ld".into()) }.cargo_build();
        let said = |name: &str| command.get_envs().find(|(known, _)| *known == name).map(|(_, value)| value);
        assert_eq!(said("RUSTC").flatten(), Some(DEBIAN_RUSTC.as_ref()));
        assert_eq!(said("RUSTUP_TOOLCHAIN"), Some(None));
        assert_eq!(command.get_program(), DEBIAN_CARGO);
        assert!(command.get_args().any(|word| word == "-Zbuild-std=std,panic_abort"));
    }
}
