//! Changes that cannot be decided, from the log to the dead letters and from there into the history, with the built
//! program: under both rules, and with kills.

use std::path::PathBuf;

use hindsight_tests::asset_log::Random;
use hindsight_tests::binlog::{Cell, Events, Table};
use hindsight_tests::contract::source::Seen;
use hindsight_tests::oracle::{self, Change, OnOwnerChange, Op, Row};
use hindsight_tests::pipeline::{Pipeline, Place, Rule, assert_same};
use hindsight_tests::program::{Answer, Folder};
use hindsight_tests::say::say;

use crate::documents::renewed;

/// A log of some owners' assets, in which an owner or a time is NULL now and then, and its changes.
pub(crate) struct Log {
    pub file: PathBuf,
    pub changes: Vec<Change>,
    _folder: Folder,
}

pub(crate) fn log(seed: u64, n_changes: usize) -> Log {
    let (table, mut random) = (Table::item_assets(), Random(seed));
    let mut assets: Vec<Vec<Cell>> = Vec::new();
    let mut events = Events::new();
    let mut n_made = 0;
    while events.changes.len() < n_changes {
        events.transaction(|events| {
            events.table_map(90, &table);
            for _ in 0..1 + random.below(3) {
                let mut draw = |id: i64| {
                    let owner = Cell::Int(1 + i64::from(random.below(150)));
                    let time = Cell::Int(1_735_689_600_000_000 + i64::from(random.below(100)) * 1_000_000);
                    let null_or = |cell: Cell, is_null: bool| if is_null { Cell::Null } else { cell };
                    let owner = null_or(owner, random.below(60) == 0);
                    let time = null_or(time, random.below(150) == 0);
                    vec![Cell::Int(id), owner, Cell::text(&format!("é{}", random.below(9))), time]
                };
                let place = |random: &mut Random, n: usize| random.below(n as u32) as usize;
                match n_made % 4 {
                    _ if assets.len() < 100 => {
                        assets.push(draw(n_made));
                        events.insert(90, &table, &assets[assets.len() - 1..]);
                    }
                    0 => {
                        let row = draw(n_made);
                        events.insert(90, &table, std::slice::from_ref(&row));
                        assets.push(row);
                    }
                    1 | 2 => {
                        let new = draw(n_made);
                        let at = place(&mut random, assets.len());
                        let mut new = [vec![assets[at][0].clone()], new[1..].to_vec()].concat();
                        if random.below(2) == 0 {
                            new[1] = assets[at][1].clone();
                        }
                        events.update(90, &table, &[(assets[at].clone(), new.clone())]);
                        assets[at] = new;
                    }
                    _ => {
                        let at = place(&mut random, assets.len());
                        let row = assets.swap_remove(at);
                        events.delete(90, &table, &[row]);
                    }
                }
                n_made += 1;
            }
        });
    }
    let folder = Folder::new();
    let file = events.write(folder.path(), "binlog.000001");
    Log { file, changes: events.changes.iter().map(change).collect(), _folder: folder }
}

fn change(seen: &Seen) -> Change {
    let row = |cells: &Vec<Cell>| {
        let number = |cell: &Cell| match cell {
            Cell::Int(value) => Some(*value),
            _ => None,
        };
        let info = match &cells[2] {
            Cell::Text(text) => Some(text.clone()),
            _ => None,
        };
        Row { id: number(&cells[0]), owner: number(&cells[1]), info, registered_us: number(&cells[3]) }
    };
    let op = match seen.op.letter() {
        'c' => Op::Create,
        'u' => Op::Update,
        'd' => Op::Delete,
        other => panic!("no log has a change {other}"),
    };
    Change { op, time_us: seen.time_us, before: seen.before.as_ref().map(row), after: seen.after.as_ref().map(row) }
}

/// The history of the rule where changes that cannot be decided are set aside, with or without all that follows them.
#[track_caller]
pub(crate) fn assert_history(place: &Place, rule: Rule, changes: &[Change], waits: bool, what: &str) {
    match rule {
        Rule::ByOwner => {
            let wanted = oracle::scd2_by_owner_set_aside(changes, OnOwnerChange::Close, waits, |_| false);
            assert_same(&place.history(), &wanted.table, what);
        }
        Rule::CountChanges => {
            let wanted = oracle::count_events(&oracle::counted_events(changes, waits));
            assert_same(&place.counts(), &wanted, what);
        }
    }
}

pub(crate) fn letters(place: &Place, arguments: &[&str]) -> Answer {
    place.0.hindsight(&[&["dead-letters"], arguments].concat())
}

/// How many letters there are, and how many entities wait.
pub(crate) fn listed(place: &Place) -> (u64, usize) {
    let answer = letters(place, &["list", "--json"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let list = answer.json();
    let list = list.as_array().expect("a list");
    let n_letters = list.iter().map(|chain| chain["changes"].as_u64().expect("a number")).sum();
    (n_letters, list.iter().filter(|chain| chain["quarantines"] == true).count())
}

#[test]
fn an_entity_with_a_reject_waits_and_its_chain_is_replayed_in_order() {
    for rule in [Rule::ByOwner, Rule::CountChanges] {
        let log = log(11, 3_000);
        let pipeline = Pipeline { rule, files: vec![log.file.clone()], batch: 500, ..Pipeline::default() };
        let (place, answer) = pipeline.run();
        assert_history(&place, rule, &log.changes, true, "set aside with all that follows");
        let (n_letters, n_entities) = listed(&place);
        say(&format!("{rule:?}: {n_letters} of {} changes set aside, {n_entities} owners wait", log.changes.len()));
        assert_eq!(answer.count("dead_letters"), n_letters);
        assert!(n_entities > 5 && n_letters > 5 * n_entities as u64, "chains are long");

        // What they begin with is still no change that the rule could decide.
        let stays = letters(&place, &["replay"]);
        assert_eq!(stays.exit, Some(1), "{}{}", stays.out, stays.err);
        assert!(
            stays.out.contains("stays:") && stays.err.contains("could not be replayed"),
            "{}{}",
            stays.out,
            stays.err
        );
        assert_eq!(listed(&place), (n_letters, n_entities));
        assert_history(&place, rule, &log.changes, true, "after a replay that decides nothing");

        let dropping = letters(&place, &["replay", "--drop-rejected"]);
        // A change without any owner waits for nobody, and has no place to be decided in.
        let without = listed(&place);
        assert_eq!(without.1, 0, "{}", dropping.out);
        assert_eq!(dropping.exit, Some(if without.0 == 0 { 0 } else { 1 }), "{}{}", dropping.out, dropping.err);
        assert_history(&place, rule, &log.changes, false, "replayed without the rejects");
    }
}

#[test]
fn kills_lose_no_dead_letter_and_replay_none_twice() {
    for rule in [Rule::ByOwner, Rule::CountChanges] {
        let log = log(12, 4_000);
        let pipeline = Pipeline { rule, files: vec![log.file.clone()], batch: 100, ..Pipeline::default() };
        let place = pipeline.place();
        let mut n_kills = 0;
        for (n, point) in ["sink.dead-letters", "sink.rows", "sink.committed", "sink.dead-letters"]
            .iter()
            .cycle()
            .take(12)
            .enumerate()
        {
            let crash = format!("{point}:{}", 1 + n % 3);
            let output = place.command().env("HINDSIGHT_TEST_CRASH", &crash).output().expect("run hindsight");
            n_kills += usize::from(output.status.code().is_none());
        }
        let answer = place.run();
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
        assert!(n_kills >= 8, "{n_kills} kills");
        assert_history(&place, rule, &log.changes, true, "after kills");
        let before = listed(&place);

        for nth in [1, 2, 5] {
            let mut replay = place.0.command(&["dead-letters", "replay", "--drop-rejected"]);
            let killed = replay.env("HINDSIGHT_TEST_CRASH", format!("dead-letters.settled:{nth}")).output();
            assert_eq!(killed.expect("run hindsight").status.code(), None, "it is killed");
        }
        assert!(listed(&place).0 < before.0, "some were replayed before the kill");
        letters(&place, &["replay", "--drop-rejected"]);
        assert_eq!(listed(&place).1, 0);
        assert_history(&place, rule, &log.changes, false, "replayed, with kills");
        say(&format!(
            "{rule:?}: {n_kills} kills of the run, 3 of the replay; {} letters of {} entities",
            before.0, before.1
        ));
    }
}

#[test]
fn a_letter_is_shown_whole_and_can_be_given_up() {
    let log = log(13, 1_500);
    let pipeline = Pipeline { files: vec![log.file.clone()], batch: 500, ..Pipeline::default() };
    let (place, answer) = pipeline.run();
    let told = place.0.hindsight(&["run"]);
    assert_eq!(answer.exit, Some(0), "{}", told.err);
    let list = letters(&place, &["list", "--json"]).json();
    let chain =
        list.as_array().unwrap().iter().find(|chain| {
            chain["quarantines"] == true && chain["changes"].as_u64() > Some(2) && chain["side"].is_null()
        });
    let chain = chain.expect("an owner with a chain");
    let (letter, entity) = (chain["letter"].as_str().unwrap(), chain["entity"].as_str().unwrap());
    let table = letters(&place, &["list"]);
    assert!(table.out.contains("in quarantine: later changes follow"), "{}", table.out);

    let shown = letters(&place, &["show", "--key", entity]);
    let first = format!("letter {letter}, entity {entity}: change");
    assert!(shown.out.contains(&first) && shown.out.contains("follows: its entity is in quarantine"), "{}", shown.out);
    let shown = letters(&place, &["show", "--letter", letter, "--json"]);
    let shown = shown.json();
    assert_eq!(shown["event"]["op"], shown["op"]);
    assert_eq!(shown["event"]["source"]["table"], "item_assets");

    for (arguments, words) in [
        (&["show", "--key", "4711"][..], "there is no dead letter 4711"),
        (&["drop", "--letter", "x"], "--letter \"x\" is no letter"),
        (&["replay", "--key", "4711"], "entity 4711 of pipeline item-assets is not in quarantine"),
        (&["drop"], "--key <KEY>|--letter <LETTER>"),
    ] {
        let answer = letters(&place, arguments);
        assert_eq!(answer.exit, Some(2), "{}", answer.err);
        assert!(answer.err.contains(words), "{}", answer.err);
    }

    // As a case: without its first change set down as a reject it fails, with it the history is what it was.
    let case = letters(&place, &["case", "--letter", letter, "--limit", "1"]);
    assert_eq!(case.exit, Some(0), "{}", case.err);
    let tested = |text: &str| {
        place.0.write("case.toml", text);
        place.0.hindsight(&["rule", "test", "builtin:scd2-by-owner", "case.toml"])
    };
    let failed = tested(&case.out);
    assert_eq!(failed.exit, Some(1), "{}{}\n{}", failed.out, failed.err, case.out);
    let of_one_side = case.out.replace("rejects = []", "rejects = [{ change = 0, reason = \"*\" }]");
    let passed = tested(&of_one_side);
    assert_eq!(passed.exit, Some(0), "{}{}\n{of_one_side}", passed.out, passed.err);

    // Without its first change the owner's chain can be decided, up to the next reject at least.
    let dropped = letters(&place, &["drop", "--letter", letter]);
    assert_eq!((dropped.exit, dropped.out.as_str()), (Some(0), "1 change is given up\n"), "{}", dropped.err);
    let replayed = letters(&place, &["replay", "--key", &format!("owner_id={entity}"), "--json"]).json();
    assert!(replayed[0]["decided"].as_u64() > Some(0), "{replayed}");
    if !replayed[0]["stays"].is_null() {
        assert_eq!(letters(&place, &["drop", "--key", entity]).exit, Some(0));
    }
    let left = letters(&place, &["list", "--json"]).json();
    assert!(left.as_array().unwrap().iter().all(|chain| chain["entity"] != entity || chain["quarantines"] == false));
}

/// Owner 7 has a reject in the middle, and a move to owner 8 behind it.
#[test]
fn the_transcripts_of_the_dead_letters_page_are_what_the_program_says() {
    let table = Table::item_assets();
    let item = |id: i64, owner: i64, info: &str, second: Option<i64>| {
        let time = second.map_or(Cell::Null, |second| Cell::Int(1_735_689_600_000_000 + second * 1_000_000));
        vec![Cell::Int(id), Cell::Int(owner), Cell::text(info), time]
    };
    let mut events = Events::new();
    let steps: [(Option<Vec<Cell>>, Vec<Cell>); 5] = [
        (None, item(1, 7, "laptop", Some(1))),
        (None, item(2, 8, "phone", Some(2))),
        (Some(item(1, 7, "laptop", Some(1))), item(1, 7, "laptop, used", None)),
        (None, item(3, 7, "desk", Some(4))),
        (Some(item(1, 7, "laptop, used", None)), item(1, 8, "laptop, used", Some(5))),
    ];
    for (before, after) in steps {
        events.transaction(|events| {
            events.table_map(90, &table);
            match before {
                None => events.insert(90, &table, &[after]),
                Some(before) => events.update(90, &table, &[(before, after)]),
            };
        });
    }
    let folder = Folder::new();
    events.write(folder.path(), "binlog.000001");
    folder.write(
        "hindsight.toml",
        "name = \"item-assets\"\n[source]\nkind = \"binlog-file\"\nfiles = [\"binlog.000001\"]\ntables = [\"shop.item_assets\"]\n\
         [rule]\ncomponent = \"builtin:scd2-by-owner\"\n[sink]\npath = \"history.db\"\ntable = \"item_asset_history\"\n",
    );
    let masked = |line: &str| {
        let is_digest = |word: &&str| {
            let bare = word.trim_matches(['(', ')', ',', ':']);
            bare.len() == 12 && bare.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let is_date = |word: &&str| word.len() == 10 && word.as_bytes()[4] == b'-' && word.as_bytes()[7] == b'-';
        let is_clock = |word: &&str| word.len() == 8 && word.as_bytes()[2] == b':' && word.as_bytes()[5] == b':';
        if line.ends_with(" changes a second") {
            return "… s, … changes a second".to_owned();
        }
        let word = |word: &str| match &word {
            word if is_digest(word) => word.replace(|letter: char| letter.is_ascii_hexdigit(), "a"),
            word if is_date(word) => "2025-11-25".to_owned(),
            word if is_clock(word) => "12:00:00".to_owned(),
            word => (*word).to_owned(),
        };
        line.split(' ').map(word).collect::<Vec<_>>().join(" ")
    };
    renewed("docs/dead-letters.md", &folder, masked).assert_same();
}
