//! Foreign components under the built program: refused before anything is written, or stopped at the last commit.

use hindsight_rule::native::{Deletes, Output, Plan, Reject, Revisions, Upserts};
use hindsight_tests::binlog::{Cell, Events, Table};
use hindsight_tests::forged::{Configure, Forged, Transform, columns, plan};
use hindsight_tests::program::{Answer, Folder};

/// A batch is a transaction here.
const CONFIGURATION: &str = r#"
name = "item-assets"
[source]
kind = "binlog-file"
files = ["binlog.000001"]
tables = ["shop.item_assets"]
[rule]
component = "rule.wasm"
limits = { batch = 1, deadline = "200ms", memory = "8MiB" }
on-reject = "stop"
[sink]
kind = "sqlite"
path = "history.db"
table = "item_asset_history"
"#;

/// A folder with a configuration, a log and a component.
fn folder(log: &Events, component: &[u8]) -> Folder {
    let folder = Folder::new();
    folder.write("hindsight.toml", CONFIGURATION);
    folder.write("rule.wasm", component);
    log.write(folder.path(), "binlog.000001");
    folder
}

/// Two rows of owner 7 are made, in a transaction each.
fn two_creates() -> Events {
    let table = Table::item_assets();
    let mut log = Events::new();
    for id in 1..=2 {
        log.transaction(|t| {
            t.table_map(90, &table).insert(90, &table, &[Table::item(id, 7, "a")]);
        });
    }
    log
}

/// One of them is deleted.
fn and_a_delete(log: &Events) -> Events {
    let (mut log, table) = (log.clone(), Table::item_assets());
    log.transaction(|t| {
        t.table_map(90, &table).delete(90, &table, &[Table::item(1, 7, "a")]);
    });
    log
}

/// One row of owner 7 for the one change of a batch.
fn one_row() -> Output {
    let plan: Plan = plan();
    let types: Vec<_> = plan.history.iter().map(|column| column.field.logical).collect();
    let mut row = vec![Cell::Int(7), Cell::Int(1), Cell::Int(50), Cell::Null, Cell::Int(1), Cell::text("a row")];
    row.resize(types.len(), Cell::Null);
    Output { upserts: Upserts { cause: vec![0], columns: columns(&types, &[row]) }, ..nothing() }
}

fn nothing() -> Output {
    Output {
        upserts: Upserts { cause: Vec::new(), columns: Vec::new() },
        revisions: Revisions { cause: Vec::new(), row: Vec::new(), columns: Vec::new() },
        deletes: Deletes { cause: Vec::new(), row: Vec::new() },
        rejects: Vec::new(),
    }
}

/// All rows and checkpoints of the history, as plain SQLite shows them.
fn dump(folder: &Folder) -> Vec<String> {
    let connection = rusqlite::Connection::open(folder.path().join("history.db")).unwrap();
    let mut lines = Vec::new();
    for query in [
        "SELECT owner_id || ' ' || source_id || ' ' || start || ' ' || is_current || ' ' || a_text FROM item_asset_history",
        "SELECT pipeline || ' ' || version || ' ' || source || ' ' || position FROM hindsight_checkpoint",
    ] {
        let mut statement = connection.prepare(query).unwrap();
        let found = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        lines.extend(found.map(Result::unwrap));
    }
    lines
}

#[track_caller]
fn says(answer: &Answer, exit: i32, words: &[&str]) {
    assert_eq!(answer.exit, Some(exit), "{}{}", answer.out, answer.err);
    // Long lines are wrapped.
    let text = answer.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

#[test]
fn a_component_that_does_not_load_ends_with_exit_code_2_and_nothing_is_written() {
    let component = |text: &str| wat::parse_str(text).unwrap();
    let wasi = component(
        r#"(component (import "wasi:cli/environment@0.2.3" (instance)) (import "wasi:random/random@0.2.3" (instance)))"#,
    );
    let other =
        component(r#"(component (instance $i) (export "hindsight:transform/transformer@0.2.0" (instance $i)))"#);
    let mut whole = Forged::new().component();
    whole.truncate(whole.len() / 2);
    for (bytes, words) in [
        (Vec::new(), "is empty"),
        (b"fn main() {}".to_vec(), "no wasm file"),
        (component("(module)"), "core wasm module"),
        (whole, "rule.wasm"),
        (wasi, "imports wasi:cli/environment@0.2.3, wasi:random/random@0.2.3; a rule may import only"),
        (other, "does not export hindsight:transform/transformer@0.1.0"),
    ] {
        let folder = folder(&two_creates(), &bytes);
        says(&folder.hindsight(&["run"]), 2, &[words, "rule.wasm"]);
        assert!(!folder.path().join("history.db").exists(), "a history of no rule: {words}");
        says(&folder.hindsight(&["rule", "inspect", "rule.wasm"]), 2, &[words]);
    }
    let folder = folder(&two_creates(), b"");
    std::fs::remove_file(folder.path().join("rule.wasm")).unwrap();
    says(&folder.hindsight(&["run"]), 2, &["rule.wasm", "No such file"]);
}

#[test]
fn a_plan_that_does_not_fit_ends_with_exit_code_2_and_no_history_table() {
    let mut beyond = plan();
    beyond.read.push(99);
    for (configure, words) in [
        (Configure::Plan(Box::new(beyond)), "read names column 99 of 13"),
        (Configure::Sentence("write owner = \"owner_id\"".into()), "write owner = \"owner_id\""),
        (Configure::Does("(loop $again (br $again)) unreachable".into()), "deadline of 200ms"),
    ] {
        let folder = folder(&two_creates(), &Forged { configure, ..Forged::new() }.component());
        says(&folder.hindsight(&["run"]), 2, &["rule forged", words]);
        let connection = rusqlite::Connection::open(folder.path().join("history.db")).unwrap();
        let tables = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'item_asset%'";
        let count = |query| connection.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!((count(tables), count("SELECT count(*) FROM hindsight_checkpoint")), (0, 0), "{words}");
    }
}

#[test]
fn a_rule_that_fails_while_running_stops_at_the_last_commit_with_rule_entity_change_and_place() {
    let greedy = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let mut wrong = one_row();
    wrong.upserts.cause[0] = 5;
    let rejecting = Output { rejects: vec![Reject { change: 0, reason: "no such asset".into() }], ..nothing() };
    let does = |text: &str| Transform::Does(text.into());
    let creates = two_creates();
    let whole = and_a_delete(&creates);
    // The rows event of the delete, before its XID.
    let place = format!(
        "binlog.000001:{} (gtid {}",
        whole.starts[whole.starts.len() - 2].0,
        "3e11fa47-71ca-11e1-9e33-c80aa9429562:3"
    );
    for (otherwise, words) in [
        (does("(call $close_the_row)"), ["failed on entity 7", "close_the_row <- transform"]),
        (does("(loop $again (br $again)) unreachable"), ["failed on entity 7", "the deadline of 200ms"]),
        (does(greedy), ["failed on entity 7", "the memory limit of 8 MiB"]),
        (does("(call $again_and_again (i32.const 0))"), ["failed on entity 7", "again_and_again"]),
        (Transform::Sentence("I do not know".into()), ["failed on entity 7", "it said: I do not know"]),
        (Transform::Output(Box::new(wrong)), ["failed on entity 7", "breaks the contract: upserts: cause 5"]),
        (Transform::Output(Box::new(rejecting)), ["rejects change d of entity 7", "no such asset"]),
    ] {
        let transform = Transform::UnlessDelete(Box::new(one_row()), Box::new(otherwise));
        let folder = folder(&creates, &Forged { transform, ..Forged::new() }.component());
        says(&folder.hindsight(&["run"]), 0, &[]);
        let committed = dump(&folder);
        assert_eq!(committed.len(), 2, "a row and a checkpoint: {committed:?}");
        assert!(committed[1].starts_with("item-assets 2 "), "two commits: {committed:?}");

        whole.write(folder.path(), "binlog.000001");
        let answer = folder.hindsight(&["run"]);
        let expected = ["rule forged", "change d", place.as_str(), "Nothing of this batch was written"];
        says(&answer, 1, &expected);
        says(&answer, 1, &words);
        assert_eq!(dump(&folder), committed, "rows and checkpoint as of the last commit");
        // Again, and from the beginning in one go: it ends at the same place.
        says(&folder.hindsight(&["run"]), 1, &[place.as_str()]);
        std::fs::remove_file(folder.path().join("history.db")).unwrap();
        says(&folder.hindsight(&["run"]), 1, &[place.as_str()]);
        assert_eq!(dump(&folder), committed, "in one go");
    }
}

#[test]
fn a_rule_that_keeps_state_stops_by_name() {
    let table = Table::item_assets();
    let mut log = Events::new();
    for id in 0..300 {
        log.transaction(|t| {
            t.table_map(90, &table).insert(90, &table, &[Table::item(id, 7, "a")]);
        });
    }
    let remembers = Transform::Remembers(10, Box::new(one_row()), Box::new(nothing()));
    let folder = folder(&log, &Forged { transform: remembers, ..Forged::new() }.component());
    says(&folder.hindsight(&["run"]), 1, &["rule forged keeps state between batches", "start a new history"]);
    assert!(dump(&folder)[1].starts_with("item-assets 255 "), "stopped at the comparison: {:?}", dump(&folder));
}
