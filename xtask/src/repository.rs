//! Where things lie: the repository, and the target folder that this program was built into.

use std::path::{Path, PathBuf};

/// The root of the repository. Paths that are shown or typed start here.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the repository")
}

/// Cargo marks the target folder itself; `CARGO_TARGET_DIR` and configuration files may have put it anywhere.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().ok();
    let marked = program.iter().flat_map(|path| path.ancestors()).find(|folder| folder.join("CACHEDIR.TAG").exists());
    marked.map_or_else(|| root().join("target"), Path::to_owned)
}

/// The program as the dev profile builds it.
pub fn hindsight() -> PathBuf {
    target().join("debug").join(format!("hindsight{}", std::env::consts::EXE_SUFFIX))
}

/// A path as it is shown and typed: from the repository's root where it lies below it.
pub fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}
