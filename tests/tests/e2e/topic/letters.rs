//! Dead letters with a topic: each partition has its own, and a topic has a copy of them, whatever is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::kafka;
use hindsight_tests::live::WAIT_MAX;
use hindsight_tests::pipeline::{Pipeline, Place, Rule};
use hindsight_tests::program::Answer;
use hindsight_tests::say::say;
use hindsight_tests::topic::Topic;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use super::apply::QUICK;
use crate::dead_letters::{Log, assert_history, letters, log};

/// Letters by the name that the topic has them under.
type Letters = BTreeMap<String, Value>;

/// The log's changes are in the topic.
fn captured(log: &Log, topic: &Topic) -> Place {
    let place = Pipeline { files: vec![log.file.clone()], batch: 100, ..Pipeline::default() }.place();
    let config = place.0.path().join("hindsight.toml");
    let text = std::fs::read_to_string(&config).expect("read the configuration")
        + &topic.section()
        + QUICK
        + "[control]\nlisten = \"127.0.0.1:0\"\n";
    std::fs::write(&config, text).expect("write the configuration");
    done(&place.0.hindsight(&["run", "--only", "capture", "--to-end"]));
    place
}

fn apply(place: &Place) -> Answer {
    let answer = place.0.hindsight(&["run", "--only", "apply", "--to-end"]);
    done(&answer);
    answer
}

#[track_caller]
fn done(answer: &Answer) {
    assert_eq!(answer.exit, Some(0), "{}{}", answer.out, answer.err);
}

/// What the history's file holds, by plain SQL.
fn kept(place: &Place) -> Letters {
    let file = place.0.path().join("history.db");
    let file = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("open the history");
    let text =
        "SELECT pipeline || '/' || n, entity, cause, reason, op, side, place, rule, event FROM hindsight_dead_letters";
    let mut select = file.prepare(text).expect("a table of dead letters");
    let found = select.query_map([], |row| {
        let text = |column: usize| row.get::<_, Option<String>>(column);
        let event: Value = serde_json::from_str(&row.get::<_, String>(8)?).expect("JSON");
        let letter = json!({
            "entity": text(1)?, "cause": text(2)?, "reason": text(3)?, "op": text(4)?, "side": text(5)?, "place": text(6)?,
            "rule": text(7)?, "event": event,
        });
        Ok((row.get(0)?, letter))
    });
    found.and_then(Iterator::collect).expect("read the dead letters")
}

/// What its topic holds: the last record of each name, where it has a value; and how many records there are.
fn copied(topic: &Topic) -> (Letters, usize) {
    let records = topic.client.committed(&format!("{}.dead-letters", topic.name));
    let n_records = records.len();
    let mut letters = Letters::new();
    for record in records {
        let name = record.key.expect("a letter's name");
        match record.value.filter(|value| value != "null") {
            None => _ = letters.remove(&name),
            Some(value) => {
                let mut value: Value = serde_json::from_str(&value).expect("JSON");
                let whole = value.as_object_mut().expect("an object");
                assert_eq!(whole.remove("pipeline"), Some("item-assets".into()));
                let schema = whole.remove("schema").expect("a schema");
                assert_eq!(schema["table"], "shop.item_assets");
                for more in ["letter", "entity_key", "quarantines", "at"] {
                    assert!(whole.remove(more).is_some(), "{name} has no {more}");
                }
                letters.insert(name, value);
            }
        }
    }
    (letters, n_records)
}

#[track_caller]
fn assert_copied(place: &Place, topic: &Topic, what: &str) -> usize {
    let (letters, n_records) = copied(topic);
    let kept = kept(place);
    let names = |letters: &Letters| letters.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&letters), names(&kept), "{what}");
    assert!(letters == kept, "{what}: {letters:?}, kept {kept:?}");
    n_records
}

#[test]
fn with_a_topic_each_partition_keeps_its_own_dead_letters_and_a_topic_has_a_copy() {
    let log = log(14, 2_000);
    let topic = Topic::on(kafka::shared());
    let place = captured(&log, &topic);
    apply(&place);
    assert_history(&place, Rule::ByOwner, &log.changes, true, "set aside with all that follows");
    let list = letters(&place, &["list", "--json"]).json();
    let list = list.as_array().unwrap();
    let lanes: BTreeSet<&str> =
        list.iter().map(|chain| chain["letter"].as_str().unwrap().split_once('/').unwrap().0).collect();
    assert!(lanes.len() > 1, "{lanes:?}");
    let place_in_topic = list[0]["place"].as_str().unwrap();
    assert!(place_in_topic.contains("partition") && place_in_topic.contains("offset"), "{place_in_topic}");
    let letter = list[0]["letter"].as_str().unwrap();
    assert_eq!(
        letters(&place, &["show", "--letter", letter]).out.lines().count(),
        if list[0]["op"] == "u" { 4 } else { 3 }
    );
    let n_letters = assert_copied(&place, &topic, "as they were set aside");
    assert_eq!(n_letters, kept(&place).len(), "each once");
    assert!(n_letters > 50, "{n_letters} letters");

    letters(&place, &["replay", "--drop-rejected"]);
    assert_history(&place, Rule::ByOwner, &log.changes, false, "replayed without the rejects");
    // Who settles them says it to the file only; whoever applies next tells the topic.
    apply(&place);
    let n_records = assert_copied(&place, &topic, "replayed");
    say(&format!("{n_letters} letters and {} that are settled, in {lanes:?}", n_records - n_letters));
    assert!(n_records > n_letters, "{n_records} records");
    apply(&place);
    assert_eq!(assert_copied(&place, &topic, "nothing new"), n_records);
}

#[test]
fn kills_between_the_topic_of_dead_letters_and_the_file_forget_none() {
    let log = log(15, 2_000);
    let topic = Topic::on(kafka::shared());
    let place = captured(&log, &topic);
    for point in ["letters.sent", "letters.committed"] {
        let mut run = place.0.command(&["run", "--only", "apply", "--to-end"]);
        let killed = run.env("HINDSIGHT_TEST_CRASH", format!("{point}:1")).output().expect("run hindsight");
        assert_eq!(killed.status.code(), None, "{point}: {}", String::from_utf8_lossy(&killed.stderr));
        // None of a transaction that was not committed.
        assert_eq!(copied(&topic).1 > 0, point == "letters.committed", "{point}");
    }
    apply(&place);
    assert_history(&place, Rule::ByOwner, &log.changes, true, "after kills");
    let n_records = assert_copied(&place, &topic, "after kills");
    let n_letters = kept(&place).len();
    say(&format!("{n_letters} letters in {n_records} records"));
    assert!(n_records > n_letters, "what was committed before a kill is there again, under the same name");
}

/// Several processes tell one topic, and each settled letter is gone there soon, whoever told it.
#[test]
fn processes_of_a_group_tell_one_topic_while_letters_are_settled() {
    let log = log(16, 2_000);
    let topic = Topic::on(kafka::shared());
    let place = captured(&log, &topic);
    let mut members: Vec<_> =
        (0..2).map(|_| place.start(&["run", "--only", "apply", "--json", "--log-format", "json"], |_| {})).collect();
    let same = |members: &mut Vec<hindsight_tests::live::Running>, n_letters: &dyn Fn(usize) -> bool| {
        let begun = Instant::now();
        while !place.0.path().join("history.db").exists()
            || place.lanes().len() < 3
            || !n_letters(kept(&place).len())
            || copied(&topic).0 != kept(&place)
        {
            members.iter_mut().for_each(|member| member.assert_runs());
            assert!(begun.elapsed() < WAIT_MAX, "the topic is not told: {}", members[0].log());
            thread::sleep(Duration::from_millis(20));
        }
    };
    same(&mut members, &|n| n > 50);
    for _ in 0..3 {
        let list = letters(&place, &["list", "--json"]).json();
        let first = list.as_array().unwrap().iter().find(|chain| chain["quarantines"] == true).expect("a chain");
        let n_before = kept(&place).len();
        done(&letters(&place, &["drop", "--key", first["entity"].as_str().unwrap()]));
        same(&mut members, &|n| n < n_before);
    }
    members.into_iter().for_each(|member| done(&member.stop()));
    assert_copied(&place, &topic, "in the end");
}
