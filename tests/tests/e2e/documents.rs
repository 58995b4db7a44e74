//! The README's transcripts are what the program says: every command of ours in a `console` block is run again.

use std::fs;

use hindsight_tests::program::{Folder, binary, repository};

/// Where the commands run: the repository's files that they name, and the demo's configuration over the recorded binlog.
fn stage() -> Folder {
    let folder = Folder::new();
    let demo = folder.path().join("target/demo");
    fs::create_dir_all(&demo).expect("make the demo's folder");
    assert_eq!(folder.hindsight(&["init", "target/demo/hindsight.toml"]).exit, Some(0));
    point_at_recording(&folder, "target/demo/hindsight.toml");
    std::os::unix::fs::symlink(repository().join("plugins"), folder.path().join("plugins")).expect("link the plugins");
    folder
}

/// What the reader does in an editor: name the file.
fn point_at_recording(folder: &Folder, config: &str) {
    let path = folder.path().join(config);
    let text = fs::read_to_string(&path).expect("init wrote it");
    let recording = repository().join("tests/fixtures/item_assets.binlog");
    let pointed = text.replace("\"binlog.000001\"", &format!("{:?}", recording.display().to_string()));
    assert_ne!(pointed, text, "init's template names binlog.000001");
    fs::write(path, pointed).expect("write the configuration");
}

/// A command and the output that the document shows for it.
pub(crate) struct Shown {
    pub command: String,
    pub output: Vec<String>,
}

/// The commands of the `console` blocks. The output of one ends where another begins, or with the block.
pub(crate) fn shown(document: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let (mut inside, mut listening) = (false, false);
    for line in document.lines() {
        if line.starts_with("```") {
            (inside, listening) = (line == "```console", false);
        } else if let Some(command) = line.strip_prefix("$ ").filter(|_| inside) {
            shown.push(Shown { command: command.to_owned(), output: Vec::new() });
            listening = true;
        } else if listening && let Some(last) = shown.last_mut() {
            last.output.push(line.to_owned());
        }
    }
    shown
}

/// A page with the outputs that its commands have now.
pub(crate) struct Renewed {
    name: &'static str,
    was: String,
    is: String,
}

/// Runs a page's commands, in their order, in a folder. `masked`: a line without what differs from run to run.
pub(crate) fn renewed(name: &'static str, folder: &Folder, mut masked: impl FnMut(&str) -> String) -> Renewed {
    let was = fs::read_to_string(repository().join(name)).expect("read the page");
    let (mut is, mut rest) = (String::new(), was.as_str());
    for Shown { command, output } in shown(&was) {
        let arguments: Vec<&str> = command.split(' ').skip(1).collect();
        let answer = folder.hindsight(&arguments);
        let said = match answer.exit {
            Some(0) => answer.out,
            // What failed has said something before, or nothing.
            _ => {
                answer.out
                    + &answer.err.lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>().join("\n")
            }
        };
        let block = |lines: &[String]| {
            let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
            format!("$ {command}\n{lines}")
        };
        let shown = block(&output);
        let at = rest.find(&shown).expect("the blocks come in this order");
        is += &rest[..at];
        is += &block(&said.lines().map(&mut masked).collect::<Vec<_>>());
        rest = &rest[at + shown.len()..];
    }
    is += rest;
    Renewed { name, was, is }
}

impl Renewed {
    #[track_caller]
    pub fn assert_same(&self) {
        let Renewed { name, was, is } = self;
        if was != is {
            let place = binary().with_file_name(name.rsplit('/').next().unwrap_or(name));
            fs::write(&place, is).expect("leave the renewed page");
            panic!("{name} shows other outputs than the program's; the renewed page is {}", place.display());
        }
    }
}

/// Seconds and rates differ from run to run.
fn masked(line: &str) -> String {
    match line.strip_suffix(" changes a second") {
        Some(_) => "(seconds and rate)".to_owned(),
        None => line.to_owned(),
    }
}

fn lines<'a>(text: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut lines: Vec<String> = text.map(masked).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

#[test]
fn the_readmes_transcripts_are_what_the_program_says() {
    let folder = stage();
    let readme = fs::read_to_string(repository().join("README.md")).expect("read README.md");
    let mut n_compared = 0;
    for Shown { command, output } in shown(&readme) {
        if command.starts_with("$EDITOR hindsight.toml") {
            point_at_recording(&folder, "hindsight.toml");
        }
        let mut words = command.split_whitespace();
        let program = words.next().unwrap_or_default();
        let arguments: Vec<&str> = words.collect();
        if program.rsplit('/').next() != Some("hindsight") || arguments.contains(&"target/plugins/scd2-by-owner.wasm") {
            continue;
        }
        let answer = folder.hindsight(&arguments);
        assert_eq!(answer.exit, Some(0), "{command}: {}", answer.err);
        let (said, shown) = (lines(answer.out.lines()), lines(output.iter().map(String::as_str)));
        assert_eq!(said, shown, "README.md shows another output of `{command}`; it is now:\n{}", answer.out);
        n_compared += 1;
    }
    assert!(n_compared >= 5, "{n_compared} commands of README.md were run");
}

#[test]
fn every_file_that_a_document_links_to_is_there() {
    let documents = fs::read_dir(repository().join("docs")).expect("read docs/").map(|entry| entry.expect("an entry"));
    let pages: Vec<String> = documents.map(|page| format!("docs/{}", page.file_name().to_string_lossy())).collect();
    let others = ["README.md", "ARCHITECTURE.md", "tests/fixtures/README.md"];
    for document in pages.iter().map(String::as_str).chain(others) {
        let text =
            fs::read_to_string(repository().join(document)).unwrap_or_else(|error| panic!("{document}: {error}"));
        let folder = repository().join(document);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if !link.contains("://") && !link.starts_with('#') {
                let target = folder.parent().expect("a file has a folder").join(link);
                assert!(target.exists(), "{document} links to {link}, which is not there");
            }
        }
    }
}
