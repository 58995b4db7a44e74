//! A pipeline over binlog files, run by the built program in a folder of its own.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::oracle::{self, Change, CountTable, HistoryTable, OnOwnerChange};
use crate::program::{Answer, Folder, binary};
use crate::tables;

/// What a test's configuration says; everything else is the default.
#[derive(Clone, Debug)]
pub struct Pipeline<'a> {
    pub rule: Rule,
    /// Of the rule, as TOML: `columns = "asset_info,grade"`.
    pub settings: &'a str,
    pub files: Vec<PathBuf>,
    pub table: &'a str,
    pub time_zone: &'a str,
    /// Changes a batch.
    pub batch: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    ByOwner,
    CountChanges,
}

/// A pipeline's folder: configuration and history.
pub struct Place(pub Folder);

/// The history table's name.
pub const TABLE: &str = "item_asset_history";

impl Default for Pipeline<'_> {
    fn default() -> Self {
        Pipeline {
            rule: Rule::ByOwner,
            settings: "",
            files: Vec::new(),
            table: "shop.item_assets",
            time_zone: "UTC",
            batch: 8192,
        }
    }
}

impl Pipeline<'_> {
    /// Writes the configuration into a new folder.
    pub fn place(&self) -> Place {
        let place = Place(Folder::new());
        self.configure(&place);
        place
    }

    /// The same in a folder that has a history already.
    pub fn configure(&self, place: &Place) {
        let Pipeline { rule, settings, files, table, time_zone, batch } = self;
        let component = rule.component();
        let text = format!(
            "name = \"item-assets\"\n\
             [source]\nkind = \"binlog-file\"\nfiles = {files:?}\ntables = [{table:?}]\ntime-zone = {time_zone:?}\n\
             [rule]\ncomponent = {component:?}\nsettings = {{ {settings} }}\nlimits = {{ batch = {batch} }}\n\
             [sink]\npath = \"history.db\"\ntable = {TABLE:?}\n"
        );
        place.0.write("hindsight.toml", text);
    }

    /// Runs it once in a new folder.
    pub fn run(&self) -> (Place, Answer) {
        let place = self.place();
        let answer = place.run();
        (place, answer)
    }
}

impl Rule {
    /// As a configuration names it.
    #[track_caller]
    pub fn component(self) -> String {
        match self {
            Rule::ByOwner => "builtin:scd2-by-owner".to_owned(),
            Rule::CountChanges => component("count-changes").display().to_string(),
        }
    }
}

impl Place {
    pub fn run(&self) -> Answer {
        self.0.hindsight(&["run", "--json"])
    }

    /// `run`, not yet started.
    pub fn command(&self) -> Command {
        self.0.command(&["run", "--json"])
    }

    pub fn database(&self) -> PathBuf {
        self.0.path().join("history.db")
    }

    #[track_caller]
    pub fn history(&self) -> HistoryTable {
        tables::read_history(&self.database(), TABLE).expect("read the history")
    }

    #[track_caller]
    pub fn counts(&self) -> CountTable {
        tables::read_counts(&self.database(), TABLE).expect("read the counts")
    }

    /// The table of this rule is what the oracle makes of these changes.
    #[track_caller]
    pub fn assert_is(&self, rule: Rule, changes: &[Change], what: &str) {
        match rule {
            Rule::ByOwner => {
                let wanted = oracle::scd2_by_owner(changes, OnOwnerChange::Close).table;
                assert_same(&self.history(), &wanted, what);
            }
            Rule::CountChanges => assert_same(&self.counts(), &oracle::count_changes(changes), what),
        }
    }

    /// The position that the history has durably; none before the first commit.
    pub fn checkpoint(&self) -> Option<String> {
        let connection = Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let row = connection.query_row("SELECT position FROM hindsight_checkpoint", [], |row| row.get(0));
        // The program may be making the table at this moment.
        row.optional().ok().flatten()
    }

    /// The offset that each partition's lane has durably, of a pipeline with a topic.
    pub fn lanes(&self) -> BTreeMap<u32, u64> {
        let read = || {
            let connection = Connection::open_with_flags(self.database(), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let mut lanes = connection.prepare("SELECT pipeline, position FROM hindsight_checkpoint")?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
            lanes.query_map([], row)?.collect::<Result<Vec<_>, rusqlite::Error>>()
        };
        // The program may be making the table at this moment.
        let lanes = read().unwrap_or_default().into_iter();
        let lane = |(name, position): (String, String)| {
            let number = name.rsplit_once('/').and_then(|(_, number)| number.parse().ok()).expect("a lane's number");
            let word = |word: &str| word.strip_prefix("offset=").and_then(|offset| offset.parse().ok());
            (number, position.split(' ').find_map(word).expect("an offset"))
        };
        lanes.map(lane).collect()
    }
}

impl Answer {
    /// A number of the summary that `run --json` prints.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        assert_eq!(self.exit, Some(0), "{}", self.err);
        self.json()[name].as_u64().unwrap_or_else(|| panic!("no {name} in {}", self.out))
    }
}

/// A rule's component, built by `cargo xtask plugins`.
#[track_caller]
pub fn component(name: &str) -> PathBuf {
    let target = binary().ancestors().nth(2).expect("the program lies in <target>/<profile>");
    let path = target.join("plugins").join(format!("{name}.wasm"));
    assert!(path.exists(), "{} is not built: run `cargo xtask plugins`", path.display());
    path
}

/// The byte that a position of binlog files names: how far a checkpoint is, for what a test prints.
pub fn byte(position: Option<&str>) -> u64 {
    let at = position.and_then(|position| position.split_once("at=")?.1.split(' ').next()?.parse().ok());
    at.unwrap_or(0)
}

/// Equal, or a failure that shows a few rows and not the whole tables.
#[track_caller]
pub fn assert_same<K: Ord + Debug, V: PartialEq + Debug>(found: &BTreeMap<K, V>, wanted: &BTreeMap<K, V>, what: &str) {
    let differences = differences(found, wanted);
    let shown: Vec<&str> = differences.iter().take(5).map(String::as_str).collect();
    assert!(differences.is_empty(), "{what}: {} rows differ, such as\n{}", differences.len(), shown.join("\n"));
}

/// A line for each row that is not the same.
pub fn differences<K: Ord + Debug, V: PartialEq + Debug>(
    found: &BTreeMap<K, V>,
    wanted: &BTreeMap<K, V>,
) -> Vec<String> {
    let missing = wanted.iter().filter(|(key, row)| found.get(key) != Some(row));
    let missing = missing.map(|(key, row)| format!("{key:?}: is {:?}, should be {row:?}", found.get(key)));
    let surplus = found.iter().filter(|(key, _)| !wanted.contains_key(key));
    missing.chain(surplus.map(|(key, row)| format!("{key:?}: is {row:?}, should not be"))).collect()
}

/// A file of the tests' fixtures.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}
