//! The control port of a running pipeline, and the commands that use it: what is shown, paused, exchanged and refused.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use hindsight_tests::binlog::{Cell, Column, Events, Kind, Table};
use hindsight_tests::generator::DEMO;
use hindsight_tests::oracle::{self, OnOwnerChange};
use hindsight_tests::pipeline::{Place, assert_same, component, fixture};
use hindsight_tests::program::{Answer, Folder};
use hindsight_tests::running::Running;

fn place() -> Place {
    let folder = Folder::new();
    configure(&folder, "builtin:scd2-by-owner", "");
    Place(folder)
}

fn configure(folder: &Folder, rule: &str, settings: &str) {
    let file = fixture("item_assets.binlog");
    folder.write(
        "hindsight.toml",
        format!(
            "name = \"item-assets\"\n\
             [source]\nkind = \"binlog-file\"\nfiles = [{file:?}]\ntables = [\"shop.item_assets\"]\n\
             [rule]\ncomponent = {rule:?}\nsettings = {{ {settings} }}\nlimits = {{ batch = 50 }}\n\
             [sink]\npath = \"history.db\"\ntable = \"item_asset_history\"\n\
             [control]\nlisten = \"127.0.0.1:0\"\n"
        ),
    );
}

/// Started, and paused before it has taken a batch.
#[track_caller]
fn start_paused(place: &Place) -> Running {
    Running::start(place.0.command(&["run", "--paused", "--json"])).expect("it starts")
}

/// Paused somewhere inside the log.
#[track_caller]
fn paused_inside(place: &Place) -> Running {
    let running = start_paused(place);
    running.resume();
    while running.status()["batches"] == 0 {}
    let status = running.pause();
    assert_eq!(status["state"], "paused");
    assert!(status["changes"].as_u64() < Some(21_000), "it was too quick to be paused inside: {status}");
    running
}

/// A command that asks the running pipeline.
fn command(place: &Place, running: &Running, words: &[&str]) -> Answer {
    let address = running.address();
    place.0.hindsight(&[words, &["--control", &address]].concat())
}

#[track_caller]
fn says(answer: &Answer, exit: i32, words: &[&str]) {
    assert_eq!(answer.exit, Some(exit), "{}{}", answer.out, answer.err);
    let text = format!("{}{}", answer.out, answer.err);
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// Reason and mark of every turn.
#[track_caller]
fn turns(place: &Place) -> Vec<(String, String)> {
    let list = place.0.hindsight(&["rule", "list", "--json"]);
    assert_eq!(list.exit, Some(0), "{}", list.err);
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let list = list.json();
    list.as_array().expect("a list").iter().map(|turn| (text(&turn["reason"]), text(&turn["mark"]))).collect()
}

fn turn(reason: &str, mark: &str) -> (String, String) {
    (reason.to_owned(), mark.to_owned())
}

#[test]
fn a_pipeline_is_looked_at_paused_and_resumed_and_ends_on_a_signal_also_while_paused() {
    let place = place();
    let running = paused_inside(&place);
    let [one, two] = [(); 2].map(|()| running.status());
    assert_eq!((&one["position"], &one["changes"]), (&two["position"], &two["changes"]), "a paused one stands");
    assert_eq!(one["position"].as_str(), place.checkpoint().as_deref(), "and shows what the history has");
    says(&command(&place, &running, &["status"]), 0, &["item-assets, paused", "scd2-by-owner", "binlog-file/1 at="]);
    for path in ["/health", "/ready"] {
        assert_eq!(running.ask("GET", path, &[], b"").expect("it runs").code, 200, "{path}");
    }
    let answer = running.terminate();
    says(&answer, 0, &[]);
    let first = answer.json()["changes"].as_u64().expect("a number");
    assert_eq!(first, one["changes"].as_u64().expect("a number"), "what was committed, and nothing more");

    let running = start_paused(&place);
    says(&command(&place, &running, &["resume"]), 0, &["running"]);
    let rest = running.wait();
    assert_eq!(rest.json()["changes"].as_u64().expect("a number") + first, 21_008);
    let wanted = oracle::scd2_by_owner(&DEMO.list(), OnOwnerChange::Close).table;
    assert_same(&place.history(), &wanted, "paused, ended and resumed");
}

#[test]
fn a_rule_that_does_not_fit_is_refused_with_the_difference_and_the_old_one_goes_on() {
    let place = place();
    let running = paused_inside(&place);
    let counting = component("count-changes").display().to_string();
    let core = place.0.write("core.wasm", [0, b'a', b's', b'm', 1, 0, 0, 0]).display().to_string();
    let before = running.status();
    for (words, exit, said) in [
        (
            &["swap", &counting][..],
            2,
            &["another history table", "column 1 was source_id int int64, is owner_id int int64"][..],
        ),
        (&["swap", "builtin:scd2-by-owner", "--set", "colour=red"], 2, &["does not know the setting colour"]),
        (&["swap", "builtin:scd2-by-owner", "--set", "on-owner-change=perhaps"], 2, &["perhaps", "close"]),
        (&["swap", "builtin:scd2-by-owner"], 2, &["is active already"]),
        (&["swap", "builtin:scd3"], 2, &["builtin:scd3 is not known"]),
        (&["swap", &core], 2, &["core wasm module"]),
        (&["swap", "gone.wasm"], 2, &["gone.wasm", "No such file"]),
        (&["rollback"], 1, &["no previous rule"]),
    ] {
        says(&command(&place, &running, words), exit, said);
        let now = running.status();
        assert_eq!((&now["rule"], &now["previous"]), (&before["rule"], &before["previous"]), "after {words:?}");
    }
    running.resume();
    says(&running.wait(), 0, &[]);
    assert_eq!(turns(&place), [turn("start", "active")]);
    let wanted = oracle::scd2_by_owner(&DEMO.list(), OnOwnerChange::Close).table;
    assert_same(&place.history(), &wanted, "after all refusals");
}

/// A pipeline of a live source that does not run: its checkpoint, written by plain SQLite.
fn resting(position: Option<&str>, tables: &str) -> Place {
    let folder = Folder::new();
    folder.write(
        "hindsight.toml",
        format!(
            "name = \"item-assets\"\n[source]\nurl = \"mysql://root@127.0.0.1:1\"\ntables = [{tables}]\n\
             [rule]\ncomponent = \"builtin:scd2-by-owner\"\n[sink]\npath = \"history.db\"\ntable = \"item_asset_history\"\n\
             [control]\nlisten = \"{}\"\n",
            nobody()
        ),
    );
    let place = Place(folder);
    if let Some(position) = position {
        let connection = rusqlite::Connection::open(place.0.path().join("history.db")).expect("make the history");
        let insert = format!(
            "CREATE TABLE hindsight_checkpoint (pipeline TEXT PRIMARY KEY, format INTEGER NOT NULL, version INTEGER NOT NULL, \
             source TEXT NOT NULL, position TEXT NOT NULL); \
             INSERT INTO hindsight_checkpoint VALUES ('item-assets', 1, 7, 'mysql {}', '{position}')",
            tables.replace(['"', ','], "")
        );
        connection.execute_batch(&insert).expect("write a checkpoint");
    }
    place
}

/// An address at which nobody listens.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").to_string()
}

#[test]
fn a_table_of_a_pipeline_that_rests_is_read_again_by_the_next_run() {
    const TABLE: &str = "shop.item_assets";
    const POSITION: &str = "mysql/1 skip=0 crc=00000000 time=0 file=binlog.000001 at=157 gtids=";
    let place = resting(Some(POSITION), "\"shop.item_assets\"");
    let answer = place.0.hindsight(&["resnapshot", TABLE, "--json"]);
    says(&answer, 0, &["next `hindsight run`"]);
    assert_eq!(answer.json()["table"], TABLE);
    let position = place.checkpoint().expect("it is there still");
    let (before, asked) = position.split_once(" snapshot=").expect("the position says so");
    assert!(before == POSITION && asked.contains(TABLE), "{position}");
    says(&place.0.hindsight(&["resnapshot", TABLE]), 0, &["shop.item_assets: the next `hindsight run`"]);
    assert_eq!(place.checkpoint().as_deref(), Some(position.as_str()), "asked twice is asked");

    // A pipeline that is named but does not answer may be a wrong number: its checkpoint is not moved behind its back.
    says(&place.0.hindsight(&["resnapshot", TABLE, "--control", &nobody()]), 3, &["no pipeline answers"]);
    says(&place.0.hindsight(&["resnapshot", "shop.item_asset"]), 2, &["not captured", TABLE]);
    says(&place.0.hindsight(&["resnapshot", "item_assets"]), 2, &["DATABASE.TABLE", TABLE]);
    says(&resting(None, "\"shop.item_assets\"").0.hindsight(&["resnapshot", TABLE]), 3, &["no checkpoint", "anyway"]);
    for tables in ["\"shop.*\"", "\"shop.item_assets\", \"shop.other\""] {
        let place = resting(Some(POSITION), tables);
        says(&place.0.hindsight(&["resnapshot", TABLE]), 2, &["several tables", "new history"]);
        assert_eq!(place.checkpoint().as_deref(), Some(POSITION), "nothing was noted");
    }
}

#[test]
fn a_source_of_files_has_no_table_to_read_again() {
    let place = place();
    let running = paused_inside(&place);
    says(&command(&place, &running, &["resnapshot", "shop.item_assets"]), 2, &["binlog files"]);
    let table = ("hindsight-table", "shop.item_assets");
    let said = running.post("/resnapshot", &[table], b"").expect("it runs");
    assert_eq!(said.code, 422, "{}", said.text);
    let said = running.post("/resnapshot", &[], b"").expect("it runs");
    assert!(said.code == 400 && said.text.contains("hindsight-table"), "{}", said.text);
    assert_eq!(running.ask("POST", "/resnapshot", &[table], b"").expect("it runs").code, 403, "without consent");
}

#[test]
fn red_cases_keep_a_rule_from_being_sent_and_green_ones_do_not() {
    let place = place();
    let running = paused_inside(&place);
    let cases = hindsight_tests::program::repository().join("plugins/scd2-by-owner/cases");
    let case = |name: &str| cases.join(name).display().to_string();
    let good = case("a-deletes-end-keeps-its-fraction.toml");
    let text = std::fs::read_to_string(&good).expect("read a case").replace("is_current = false", "is_current = true");
    let red = place.0.write("red.toml", text).display().to_string();
    let swap = ["swap", "builtin:scd2-by-owner", "--set", "on-owner-change=ignore"];
    let answer = command(&place, &running, &[&swap[..], &["--cases", &good, "--cases", &red]].concat());
    says(&answer, 2, &["the rule was not sent", "FAILED  red"]);
    assert!(running.status()["previous"].is_null());
    let answer = command(&place, &running, &[&swap[..], &["--cases", &good]].concat());
    says(&answer, 0, &["swapped: scd2-by-owner", "since binlog-file/1 at=", "paused for"]);
    running.kill();
}

#[test]
fn an_exchange_is_durable_when_it_is_answered_and_a_restart_keeps_it_until_the_configuration_changes() {
    let place = place();
    let running = paused_inside(&place);
    let swap = ["swap", "builtin:scd2-by-owner", "--set", "on-owner-change=ignore", "--json"];
    let swapped = command(&place, &running, &swap).json();
    assert_eq!((&swapped["verified"], &swapped["from"]["name"]), (&true.into(), &swapped["to"]["name"]));
    assert_ne!(swapped["from"]["digest"], swapped["to"]["digest"], "another setting is another rule");
    assert_eq!(turns(&place), [turn("start", "previous"), turn("swap", "active")], "while it runs");
    running.kill();
    assert_eq!(turns(&place), [turn("start", "previous"), turn("swap", "active")], "after a kill");

    // The file is as it was: the swapped rule stays.
    let running = start_paused(&place);
    let status = running.status();
    assert_eq!((&status["rule"], &status["previous"]), (&swapped["to"], &swapped["from"]));
    let rolled = command(&place, &running, &["rollback", "--json"]).json();
    assert_eq!((&rolled["from"], &rolled["to"]), (&swapped["to"], &swapped["from"]), "to where it came from");
    assert_eq!(rolled["verified"], false, "no captured row was met since the start");
    let again = command(&place, &running, &["rollback", "--json"]).json();
    assert_eq!(again["to"], swapped["to"], "and back again");
    let log = running.terminate();
    says(&log, 0, &["which was swapped in, stays; the configuration names"]);

    // Now the file says something new, first something that cannot be.
    let history = place.history();
    let counting = component("count-changes").display().to_string();
    configure(&place.0, &counting, "");
    says(&place.run(), 2, &["the configuration names another rule", "is not the one that the rule writes"]);
    configure(&place.0, "builtin:scd2-by-owner", "on-owner-change = \"perhaps\"");
    says(&place.run(), 2, &["perhaps"]);
    assert_same(&place.history(), &history, "a start that is refused changes nothing");
    let reasons = ["start", "swap", "rollback", "rollback"];
    assert_eq!(turns(&place).iter().map(|(reason, _)| reason.as_str()).collect::<Vec<_>>(), reasons);

    configure(&place.0, "builtin:scd2-by-owner", "on-owner-change = \"close\"");
    says(&place.run(), 0, &["the configuration has changed"]);
    let turns = turns(&place);
    assert_eq!(turns.last(), Some(&turn("configuration", "active")));
    assert_eq!(turns[3], turn("rollback", "previous"), "what was active until then");

    // The very same again: nothing is new.
    says(&place.run(), 0, &[]);
    assert_eq!(self::turns(&place), turns);
}

/// Before the first captured row of a run there is no plan to compare.
#[test]
fn a_misfit_that_was_swapped_in_unseen_stops_at_the_first_row_and_says_how_to_go_back() {
    let place = place();
    paused_inside(&place).kill();
    let history = place.history();
    let running = start_paused(&place);
    let counting = component("count-changes").display().to_string();
    let swapped = command(&place, &running, &["swap", &counting]);
    says(&swapped, 0, &["its plan could not be compared"]);
    running.resume();
    let words = ["count-changes", "was swapped in before its plan could be compared", "hindsight rollback"];
    says(&running.wait(), 3, &words);
    assert_same(&place.history(), &history, "nothing was written by it");
    says(&place.run(), 3, &words);
    let running = start_paused(&place);
    says(&command(&place, &running, &["rollback"]), 0, &["-> scd2-by-owner"]);
    running.resume();
    says(&running.wait(), 0, &[]);
    let wanted = oracle::scd2_by_owner(&DEMO.list(), OnOwnerChange::Close).table;
    assert_same(&place.history(), &wanted, "the rule before it has decided everything");
}

#[test]
fn a_component_whose_file_has_changed_is_a_swap_at_the_start() {
    let bytes = std::fs::read(component("scd2-by-owner")).expect("read a component");
    let folder = Folder::new();
    folder.write("rule.wasm", &bytes);
    configure(&folder, "rule.wasm", "");
    let place = Place(folder);
    let running = paused_inside(&place);
    running.kill();
    let words = b"an owner's assets";
    let at = bytes.windows(words.len()).position(|window| window == words).expect("its own words");
    let mut other = bytes.clone();
    other[at..at + words.len()].copy_from_slice(b"the owner's asset");
    place.0.write("rule.wasm", &other);
    says(&place.run(), 0, &["the configuration has changed"]);
    assert_eq!(turns(&place), [turn("start", "previous"), turn("configuration", "active")]);
    let wanted = oracle::scd2_by_owner(&DEMO.list(), OnOwnerChange::Close).table;
    assert_same(&place.history(), &wanted, "two components that decide alike");
    assert_eq!(kept_components(&place.database()), 2, "each component once");
}

fn kept_components(database: &Path) -> i64 {
    let connection = rusqlite::Connection::open(database).expect("open the history");
    connection.query_row("SELECT count(*) FROM hindsight_components", [], |row| row.get(0)).expect("count")
}

#[test]
fn the_port_is_deaf_to_web_pages_and_to_who_means_another_pipeline() {
    let place = place();
    let running = paused_inside(&place);
    for (path, headers, code, word) in [
        ("/resume", &[][..], 403, "hindsight-control"),
        ("/swap", &[("hindsight-control", "yes")], 403, "hindsight-control"),
        ("/resume", &[("hindsight-control", "1"), ("host", "evil.example:8787")], 403, "127.0.0.1"),
        ("/resume", &[("hindsight-control", "1"), ("hindsight-pipeline", "another")], 421, "item-assets runs here"),
        ("/swap", &[("hindsight-control", "1"), ("hindsight-settings", "[1]")], 400, "JSON object"),
        ("/stop", &[("hindsight-control", "1")], 404, ""),
    ] {
        let said = running.ask("POST", path, headers, b"").expect("it runs");
        assert_eq!(said.code, code, "{path} {headers:?}: {}", said.text);
        assert!(said.text.contains(word), "{word:?} is not in {}", said.text);
    }
    assert_eq!(running.status()["state"], "paused");
    let other = Folder::new();
    let text = std::fs::read_to_string(place.0.path().join("hindsight.toml")).expect("read the configuration");
    other.write("hindsight.toml", text.replace("item-assets", "another"));
    let answer = other.hindsight(&["pause", "--control", &running.address()]);
    says(&answer, 3, &["pipeline item-assets runs here, not another"]);
    running.kill();
}

#[test]
fn what_cannot_be_reached_or_listened_on_is_said_with_its_remedy() {
    let place = place();
    says(&place.0.hindsight(&["status"]), 2, &["leaves the port open", "--control"]);
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
    let address = listener.local_addr().expect("its address").to_string();
    let text = std::fs::read_to_string(place.0.path().join("hindsight.toml")).expect("read the configuration");
    place.0.write("hindsight.toml", text.replace("127.0.0.1:0", &address));
    says(&place.run(), 3, &["control port", &address, "[control] listen ="]);
    assert!(!place.database().exists(), "nothing was touched");
    drop(listener);
    says(&place.0.hindsight(&["status"]), 3, &["no pipeline answers", &address, "hindsight run"]);
    place.0.write("hindsight.toml", text.replace("127.0.0.1:0", "0.0.0.0:8787"));
    says(&place.run(), 2, &["loopback", "ssh -L"]);
    place.0.write("hindsight.toml", text.split("[control]").next().expect("a part"));
    says(&place.0.hindsight(&["pause"]), 3, &["has no control port", "[control] listen"]);
    says(&place.0.hindsight(&["run", "--paused"]), 2, &["--paused needs a control port"]);
}

#[test]
fn metrics_are_well_formed_and_count_what_was_done() {
    let place = place();
    let running = paused_inside(&place);
    let swap = ["swap", "builtin:scd2-by-owner", "--set", "on-owner-change=ignore"];
    says(&command(&place, &running, &swap), 0, &[]);
    let status = running.status();
    let said = running.ask("GET", "/metrics", &[], b"").expect("it runs");
    assert_eq!(said.code, 200);
    let samples = read_metrics(&said.text);
    let value = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("no {name} in {samples:?}"));
    let sum = |name: &str| {
        let of = samples.iter().filter(|(sample, _)| sample.split('{').next() == Some(name));
        of.map(|(_, value)| value).sum::<f64>()
    };
    let label = "{pipeline=\"item-assets\"}";
    assert_eq!(sum("hindsight_changes_total"), status["changes"].as_f64().expect("a number"));
    assert_eq!(sum("hindsight_history_rows_total"), status["history_rows"].as_f64().expect("a number"));
    let batches = status["batches"].as_f64().expect("a number");
    assert_eq!(value(&format!("hindsight_batches_total{label}")), batches);
    assert_eq!(value(&format!("hindsight_batch_seconds_count{label}")), batches);
    assert_eq!(value(&format!("hindsight_paused{label}")), 1.0);
    assert_eq!(value(&format!("hindsight_source_connected{label}")), 1.0);
    assert_eq!(value("hindsight_exchanges_total{pipeline=\"item-assets\",kind=\"swap\"}"), 1.0);
    assert_eq!(value(&format!("hindsight_exchange_pause_seconds_count{label}")), 1.0);
    assert!(sum("hindsight_stage_seconds_total") > 0.0);
    assert_eq!(sum("hindsight_build_info"), 1.0);
    running.kill();
}

/// Reads OpenMetrics, strictly: every sample belongs to the family declared above it, with HELP and TYPE, and ends as its
/// type wants; buckets grow; the end is marked.
#[track_caller]
fn read_metrics(text: &str) -> BTreeMap<String, f64> {
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let (mut family, mut kind) = (String::new(), String::new());
    let mut families = Vec::new();
    let mut samples = BTreeMap::new();
    let mut bucket = f64::NEG_INFINITY;
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(is_name(name) && help.ends_with('.') && !families.contains(&name.to_owned()), "{line}");
            (family, kind) = (name.to_owned(), String::new());
            families.push(family.clone());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').expect("a type");
            assert!(name == family && kind.is_empty(), "{line} follows {family}");
            assert!(["counter", "gauge", "histogram", "info"].contains(&of), "{line}");
            kind = of.to_owned();
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let value: f64 = value.parse().expect("a number");
            let (name, labels) = sample.split_once('{').expect("labels");
            assert!(labels.ends_with("\"}") && labels.starts_with("pipeline=\""), "{line}");
            let ending = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let endings: &[&str] = match kind.as_str() {
                "counter" => &["_total"],
                "gauge" => &[""],
                "info" => &["_info"],
                _ => &["_bucket", "_count", "_sum"],
            };
            assert!(endings.contains(&ending), "{line} is no {kind}");
            assert!(kind != "counter" || value >= 0.0, "{line}");
            if ending == "_bucket" {
                assert!(value >= bucket, "buckets are cumulative: {line}");
                bucket = value;
            } else {
                bucket = f64::NEG_INFINITY;
            }
            assert!(samples.insert(sample.to_owned(), value).is_none(), "{line} is there twice");
        }
    }
    samples
}

#[test]
fn another_shape_of_the_table_after_a_stop_is_a_turn_of_the_ledger_or_named_beside_the_old_one() {
    let before = Table::item_assets();
    let other = |columns: &[(&str, Kind)]| Table::new("shop.item_assets", columns);
    let (id, owner, time) = (("id", Kind::Int), ("owner_id", Kind::Int), ("registered_at", Kind::Datetime(6)));
    let wider =
        other(&[id.clone(), owner.clone(), ("asset_info", Kind::Varchar(1020)), time.clone(), ("n", Kind::Int)]);
    let number = other(&[id.clone(), owner.clone(), ("asset_info", Kind::Int), time.clone()]);
    let without = other(&[id, owner, time]);
    let row = |table: &Table| -> Vec<Cell> {
        let value = |column: &Column| match (column.name.as_str(), &column.kind) {
            ("id", _) => Cell::Int(2),
            (_, Kind::Int) => Cell::Int(7),
            (_, Kind::Varchar(_)) => Cell::text("b"),
            _ => Cell::Int(1_700_000_000_000_000),
        };
        table.columns.iter().map(value).collect()
    };
    for (after, exit, words) in [
        (&wider, 0, &[][..]),
        (&number, 3, &["asset_info varchar(255)", "asset_info int", "is not the one that the rule writes"]),
        (&without, 2, &["asset_info varchar(255)", "(id int, owner_id int, registered_at datetime(6))"]),
    ] {
        let place = place();
        let mut log = Events::new();
        log.transaction(|t| {
            t.table_map(90, &before).insert(90, &before, &[Table::item(1, 7, "a")]);
        });
        log.write(place.0.path(), "binlog.000001");
        let text = std::fs::read_to_string(place.0.path().join("hindsight.toml")).expect("read the configuration");
        let file = format!("{:?}", fixture("item_assets.binlog"));
        place.0.write("hindsight.toml", text.replace(&file, "\"binlog.000001\""));
        says(&place.run(), 0, &[]);
        assert_eq!(turns(&place), [turn("start", "active")]);
        let checkpoint = place.checkpoint();
        log.transaction(|t| {
            t.table_map(91, after).insert(91, after, &[row(after)]);
        });
        log.write(place.0.path(), "binlog.000001");
        let answer = place.run();
        says(&answer, exit, words);
        if exit == 0 {
            assert_eq!(turns(&place), [turn("start", ""), turn("schema", "active")]);
            says(&place.run(), 0, &[]);
            assert_eq!(turns(&place).len(), 2, "it is known now");
        } else {
            says(&answer, exit, &["schema changed", "Was: shop.item_assets(id int", "Is: shop.item_assets(id int"]);
            assert_eq!(place.checkpoint(), checkpoint, "nothing was written");
        }
    }
}
