//! Patches that make the program wrong on purpose, each tried on a copy of the tree.
//!
//! A patch file begins with lines that say what it is; `red:` lines among them name the tests that must fail with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{child, files, repository};

#[derive(Clone, Debug)]
pub struct Patch {
    /// The file's name without `.patch`.
    pub name: String,
    /// Its first line.
    pub about: String,
    /// What follows `red:`.
    pub red: Vec<String>,
    pub path: PathBuf,
    /// The files it changes, from the repository's root.
    pub files: BTreeSet<PathBuf>,
}

/// The patches of a folder of the repository, by name; `names`: only these.
pub fn read(folder: &str, names: &[String]) -> Result<Vec<Patch>> {
    let path = repository::root().join(folder);
    let mut patches = Vec::new();
    for entry in fs::read_dir(&path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "patch") {
            let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let name = path.file_stem().expect("it has an extension").to_string_lossy().into_owned();
            patches.push(Patch { path, ..Patch::parse(name, &text) });
        }
    }
    patches.sort_by(|one, two| one.name.cmp(&two.name));
    if let Some(unknown) = names.iter().find(|name| patches.iter().all(|patch| patch.name != **name)) {
        let known: Vec<&str> = patches.iter().map(|patch| patch.name.as_str()).collect();
        bail!("{folder}/{unknown}.patch is not there; there is {}", known.join(", "));
    }
    patches.retain(|patch| names.is_empty() || names.contains(&patch.name));
    if patches.is_empty() {
        bail!("{folder} holds no patches");
    }
    Ok(patches)
}

impl Patch {
    /// Whether it could be applied to the tree as it is.
    pub fn fits(&self) -> Result<()> {
        self.apply(repository::root(), &["--dry-run"])
    }

    fn apply(&self, root: &Path, more: &[&str]) -> Result<()> {
        let mut apply = child::command("patch");
        apply.current_dir(root).args(["--strip=1", "--forward", "--fuzz=0", "--no-backup-if-mismatch", "--batch"]);
        child::answer(apply.args(more).arg(format!("--input={}", self.path.display())))
            .with_context(|| format!("{} does not fit the tree any more", repository::short(&self.path)))?;
        Ok(())
    }

    fn parse(name: String, text: &str) -> Self {
        let begins = |line: &&str| line.starts_with("--- ") || line.starts_with("diff ");
        let head = text.lines().take_while(|line| !begins(line)).map(|line| line.trim_start_matches(['#', ' ']));
        let head: Vec<&str> = head.filter(|line| !line.is_empty()).collect();
        let red = head.iter().filter_map(|line| line.strip_prefix("red:")).map(|test| test.trim().to_owned());
        let changed = text.lines().filter_map(|line| line.strip_prefix("+++ b/"));
        Patch {
            name,
            about: head.first().copied().unwrap_or_default().to_owned(),
            red: red.collect(),
            path: PathBuf::new(),
            files: changed.filter_map(|file| file.split('\t').next()).map(PathBuf::from).collect(),
        }
    }
}

/// A copy of the tree as it is now, with target folders of its own. They are kept, so that only what changed is built.
pub struct Tree {
    pub root: PathBuf,
}

impl Tree {
    /// Brings the copy up to date; files that did not change keep their times. `targets`: the copy's target folders,
    /// each with the folders of the real tree that it begins with, for what is built there need not be built again.
    pub fn copy(root: PathBuf, targets: &[(&Path, &[PathBuf])]) -> Result<Self> {
        for (target, parts) in targets {
            if !target.exists() {
                // Every file of a fresh copy is newer than what was built of the real tree.
                files::remove_folder(&root)?;
                seed(target, parts)?;
            }
        }
        let here = repository::root();
        let mut listed = child::command("git");
        listed.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let listed = child::answer(&mut listed)?;
        let wanted: BTreeSet<PathBuf> =
            listed.split('\0').map(PathBuf::from).filter(|file| here.join(file).is_file()).collect();
        for gone in all_files(&root)?.difference(&wanted) {
            fs::remove_file(root.join(gone)).with_context(|| format!("remove {}", gone.display()))?;
        }
        for file in &wanted {
            restore(&root, file)?;
        }
        Ok(Tree { root })
    }

    /// The copy with a patch. Its files are put back by [`Tree::put_back`].
    pub fn apply(&self, patch: &Patch) -> Result<()> {
        patch.apply(&self.root, &[])
    }

    pub fn put_back(&self, patch: &Patch) -> Result<()> {
        for file in &patch.files {
            restore(&self.root, file)?;
            for left in ["rej", "orig"] {
                let _ = fs::remove_file(self.root.join(format!("{}.{left}", file.display())));
            }
        }
        Ok(())
    }
}

fn restore(root: &Path, file: &Path) -> Result<()> {
    let original = repository::root().join(file);
    let bytes = fs::read(&original).with_context(|| format!("read {}", original.display()))?;
    files::write(&root.join(file), &bytes).map(drop)
}

/// By way of another name: a folder that is there is whole.
fn seed(target: &Path, parts: &[PathBuf]) -> Result<()> {
    let new = target.with_extension("new");
    files::remove_folder(&new)?;
    fs::create_dir_all(&new).with_context(|| format!("make folder {}", new.display()))?;
    for part in parts.iter().filter(|part| part.exists()) {
        child::answer(child::command("cp").arg("-Rp").args([part, &new]))?;
    }
    fs::rename(&new, target).with_context(|| format!("move {} to {}", new.display(), target.display()))
}

/// Paths below the folder.
fn all_files(root: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let entry = entry.with_context(|| format!("read folder {}", folder.display()))?;
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                folders.push(entry.path());
            } else {
                found.insert(entry.path().strip_prefix(root).expect("it lies below").to_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_says_what_it_is_and_what_turns_red() {
        let text = "# The sum of an event is not looked at.\n# red: fast damaged_logs::a_flipped_bit_is_found\n\
                    # red: host source::tests::sums\n\n--- a/host/src/x.rs\n+++ b/host/src/x.rs\n@@ -1 +1 @@\n-a\n+red: b\n";
        let patch = Patch::parse("sum".into(), text);
        assert_eq!(patch.about, "The sum of an event is not looked at.");
        assert_eq!(patch.red, ["fast damaged_logs::a_flipped_bit_is_found", "host source::tests::sums"]);
        assert_eq!(patch.files, [PathBuf::from("host/src/x.rs")].into());
    }
}
