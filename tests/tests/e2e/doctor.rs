//! `hindsight doctor` on real servers and files: what is red is mended by what is printed, executed as it is printed.

use std::net::TcpListener;

use hindsight_tests::kafka;
use hindsight_tests::live::Live;
use hindsight_tests::mysql::{Client, Mysql};
use hindsight_tests::pipeline::{Pipeline, Place, fixture};
use hindsight_tests::program::{Answer, Folder};
use hindsight_tests::running::Running;
use hindsight_tests::say::say;
use hindsight_tests::topic::Topic;
use serde_json::Value;

const TABLE: &str = "CREATE DATABASE shop; USE shop;
    CREATE TABLE item_assets (id INT PRIMARY KEY, owner_id INT NOT NULL, asset_info VARCHAR(255) NOT NULL, registered_at DATETIME NOT NULL);";

/// What the harness sets for captures, as MySQL has it by itself: `binlog_row_metadata` since ever, GTIDs until 9.x.
const MYSQL_DEFAULTS: &[&str] = &["--binlog-row-metadata=MINIMAL", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"];

/// A check of `doctor --json`.
#[derive(Debug)]
struct Check {
    name: String,
    found: String,
    mark: String,
    why: String,
    remedy: Value,
}

impl Check {
    fn statements(&self) -> Vec<String> {
        let statements = self.remedy["sql"].as_array().map(Vec::as_slice).unwrap_or_default();
        statements.iter().map(|statement| statement.as_str().expect("a text").to_owned()).collect()
    }
}

fn doctor(place: &Place) -> (Answer, Vec<Check>) {
    let answer = place.0.hindsight(&["doctor", "--json"]);
    let json = answer.json();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let areas = json["areas"].as_array().expect("areas");
    let checks = areas.iter().flat_map(|area| area["checks"].as_array().expect("checks")).map(|check| Check {
        name: text(&check["name"]),
        found: text(&check["found"]),
        mark: text(&check["mark"]),
        why: text(&check["why"]),
        remedy: check["remedy"].clone(),
    });
    (answer, checks.collect())
}

fn marked<'a>(checks: &'a [Check], mark: &str) -> Vec<&'a str> {
    checks.iter().filter(|check| check.mark == mark).map(|check| check.name.as_str()).collect()
}

/// The one check of this name.
#[track_caller]
fn one<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    let found: Vec<&Check> = checks.iter().filter(|check| check.name == name).collect();
    match found.as_slice() {
        [check] => check,
        other => panic!("{} checks are called {name}: {checks:?}", other.len()),
    }
}

/// A server with the table and an account that may do nothing; the pipeline that shall follow it.
fn unfit(options: &[&str]) -> (Mysql, Place) {
    let server = Mysql::start(options);
    server.sql(TABLE);
    server.sql("CREATE USER 'reader'@'%' IDENTIFIED BY 'secret'");
    let place = Live { urls: vec![server.url_of("reader:secret")], start: "now", ..Live::default() }.place();
    (server, place)
}

/// Executes what stands below each red line, line by line in a session of its own, until all of them are green.
#[track_caller]
fn mend(client: &Client, place: &Place, expected: &[&str]) {
    let (answer, checks) = doctor(place);
    assert_eq!(answer.exit, Some(3), "{}", answer.err);
    assert_eq!(marked(&checks, "red"), expected, "{checks:#?}");
    let printed = place.0.hindsight(&["doctor"]);
    assert_eq!(printed.exit, Some(3));
    assert!(!printed.out.contains("secret") && !printed.out.contains('\x1b'), "{}", printed.out);
    for (i, name) in expected.iter().enumerate() {
        let check = one(&checks, name);
        let statements = check.statements();
        assert!(!statements.is_empty(), "{name} has no statement: {check:?}");
        for statement in &statements {
            let line = printed.out.lines().find(|line| line.trim() == statement);
            let line = line.unwrap_or_else(|| panic!("{statement} is no line of its own in:\n{}", printed.out));
            client.try_sql(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            say(&format!("{name} was {}; executed {}", check.found, line.trim()));
        }
        let (answer, checks) = doctor(place);
        assert_eq!(marked(&checks, "red"), expected[i + 1..], "after {name}");
        assert_eq!(answer.exit, Some(if i + 1 == expected.len() { 0 } else { 3 }), "{}", answer.err);
    }
}

/// Follows what is written from now on, and has it.
#[track_caller]
fn assert_captures(server: &Mysql, place: &Place) {
    server.sql("CREATE TABLE shop.other (id INT PRIMARY KEY)");
    let start = server.executed();
    Live { urls: vec![server.url_of("reader:secret")], start: &start, ..Live::default() }.configure(place);
    server.sql("INSERT INTO shop.item_assets VALUES (1, 10, 'laptop', '2025-01-01'), (2, 11, 'phone', '2025-01-02')");
    assert_eq!(place.run_to_end().count("changes"), 2);
}

#[test]
fn each_red_statement_turns_its_line_green_on_a_server_with_mysqls_defaults_and_a_fresh_account() {
    let (server, place) = unfit(MYSQL_DEFAULTS);
    mend(&server.client(), &place, &["gtid_mode", "binlog_row_metadata", "rights"]);
    // What is yellow has statements, too.
    let (_, checks) = doctor(&place);
    let unseen = one(&checks, "tables");
    assert_eq!((unseen.mark.as_str(), unseen.found.as_str()), ("yellow", "shop.item_assets meets no table"));
    for statement in unseen.statements() {
        server.sql(&statement);
    }
    let (_, checks) = doctor(&place);
    assert!(checks.iter().all(|check| check.mark == "green"), "{checks:#?}");
    assert_captures(&server, &place);
}

#[test]
fn each_red_statement_turns_its_line_green_on_a_server_on_which_everything_is_set_wrongly() {
    let options = [
        "--binlog-row-metadata=MINIMAL",
        "--gtid-mode=ON_PERMISSIVE",
        "--binlog-format=STATEMENT",
        "--binlog-row-image=MINIMAL",
        "--binlog-row-value-options=PARTIAL_JSON",
        "--binlog-expire-logs-seconds=3600",
    ];
    let (server, place) = unfit(&options);
    server.sql("GRANT REPLICATION SLAVE, SELECT ON *.* TO 'reader'@'%'; CREATE TABLE shop.keyless (id INT);");
    let red =
        ["gtid_mode", "binlog_format", "binlog_row_image", "binlog_row_metadata", "binlog_row_value_options", "rights"];
    let refused = place.run_to_end();
    assert_eq!(refused.exit, Some(3), "{}", refused.err);
    for word in
        red.into_iter().filter(|name| *name != "rights").chain(["lacks REPLICATION CLIENT;", "GRANT REPLICATION"])
    {
        let word = word.trim_end_matches(';');
        assert!(refused.err.contains(word), "{word} is not in: {}", refused.err);
    }
    mend(&server.client(), &place, &red);
    let (_, checks) = doctor(&place);
    let retention = one(&checks, "retention");
    assert_eq!((retention.mark.as_str(), retention.found.as_str()), ("yellow", "1.0 h"));
    for statement in retention.statements() {
        server.sql(&statement);
    }
    let (_, checks) = doctor(&place);
    assert!(checks.iter().all(|check| check.mark == "green"), "{checks:#?}");
    assert_captures(&server, &place);

    // Two patterns: one meets a table without a key, one meets nothing.
    Live { urls: vec![server.url_of("reader:secret")], table: "shop.k*", ..Live::default() }.configure(&place);
    let (_, checks) = doctor(&place);
    let keyless: Vec<&str> =
        checks.iter().filter(|check| check.name == "tables").map(|check| check.found.as_str()).collect();
    assert_eq!(keyless, ["shop.k* meets shop.keyless", "no primary key in shop.keyless"]);
    Live { urls: vec![server.url_of("reader:secret")], table: "shop.x*", ..Live::default() }.configure(&place);
    let (_, checks) = doctor(&place);
    assert!(one(&checks, "tables").why.contains("shop.item_assets, shop.keyless, shop.other"), "{checks:#?}");
}

#[test]
fn what_no_statement_can_mend_is_mended_by_the_line_of_my_cnf_that_is_printed() {
    for (option, name) in [("--skip-log-bin", "log_bin"), ("--server-id=0", "server_id")] {
        let (mut server, place) = unfit(&[option, hindsight_tests::mysql::OUTLIVES_KILLS[0]]);
        server.sql("GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO 'reader'@'%'");
        let (answer, checks) = doctor(&place);
        assert_eq!((answer.exit, marked(&checks, "red")), (Some(3), vec![name]), "{checks:#?}");
        let line = one(&checks, name).remedy["my.cnf"].as_str().expect("a line of my.cnf").to_owned();
        say(&format!("{option}: {line}"));
        server.kill();
        server.start_again(&[&format!("--{line}")]);
        let (answer, checks) = doctor(&place);
        assert_eq!(answer.exit, Some(0), "{checks:#?}");
    }
}

#[test]
fn a_checkpoint_is_held_against_what_the_server_still_has() {
    let server = Mysql::start(&[]);
    server.sql(TABLE);
    server.add_reader();
    server.sql("INSERT INTO shop.item_assets VALUES (1, 10, 'laptop', '2025-01-01')");
    let place = Live::of(&server).place();
    let state = |name: &str| {
        let (answer, checks) = doctor(&place);
        let Check { mark, found, why, .. } = one(&checks, name);
        say(&format!("{name}: {mark}, {found} {why}"));
        (answer.exit, mark.clone(), found.clone())
    };
    assert_eq!(state("checkpoint").2, "none yet");
    assert_eq!(place.run_to_end().count("changes"), 1);
    let (exit, _, found) = state("checkpoint");
    assert!(exit == Some(0) && found.starts_with("up to date, last transaction 0.0 h ago"), "{found}");

    server.sql("INSERT INTO shop.item_assets VALUES (2, 10, 'phone', '2025-01-02')");
    assert!(state("checkpoint").2.starts_with("still in its logs"));
    assert_eq!(state("retention left"), (Some(0), "green".into(), "720.0 h of 720.0 h".into()));

    server.sql("FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW() + INTERVAL 1 HOUR;");
    let (exit, mark, found) = state("checkpoint");
    assert_eq!((exit, mark.as_str(), found.as_str()), (Some(3), "red", "purged"));

    server.sql("RESET BINARY LOGS AND GTIDS");
    let (exit, mark, found) = state("checkpoint");
    assert_eq!((exit, mark.as_str(), found.as_str()), (Some(3), "red", "not in its gtid_executed"));
}

#[test]
fn a_server_that_is_not_there_and_an_account_that_is_refused_are_red() {
    let server = Mysql::start(&[]);
    server.sql(TABLE);
    server.add_reader();
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let urls = vec![server.url(), format!("mysql://repl:secret@{nobody}"), server.url_of("repl:wrong")];
    let place = Live { urls, ..Live::default() }.place();
    let (answer, checks) = doctor(&place);
    assert_eq!(answer.exit, Some(3));
    let connections: Vec<(&str, &str)> = checks
        .iter()
        .filter(|check| check.name == "connection")
        .map(|check| (check.mark.as_str(), check.why.as_str()))
        .collect();
    let [("green", ""), ("red", lost), ("red", refused)] = connections[..] else { panic!("{connections:?}") };
    assert!(lost.contains(&nobody.to_string()) && lost.contains("not reached"), "{lost}");
    assert!(refused.contains("Access denied"), "{refused}");
    assert!(!answer.out.contains("secret") && !answer.out.contains("wrong"), "{}", answer.out);
}

#[test]
fn beside_a_running_pipeline_with_a_swapped_rule_all_is_green_and_both_are_said() {
    let pipeline = Pipeline { files: vec![fixture("item_assets.binlog")], batch: 50, ..Pipeline::default() };
    let place = pipeline.place();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
    let path = place.0.path().join("hindsight.toml");
    let text = std::fs::read_to_string(&path).expect("it was written");
    place.0.write("hindsight.toml", format!("{text}[control]\nlisten = \"{port}\"\n"));
    let found = |name: &str| {
        let (answer, checks) = doctor(&place);
        assert_eq!(answer.exit, Some(0), "{checks:#?}");
        assert!(checks.iter().all(|check| check.mark == "green"), "{checks:#?}");
        one(&checks, name).found.clone()
    };
    assert_eq!(found("listen"), format!("{port} is free"));
    let running = Running::start(place.0.command(&["run", "--paused", "--json"])).expect("it starts");
    assert_eq!(found("listen"), format!("{port} answers: this pipeline is paused"));
    running.resume();
    while running.status()["batches"] == 0 {}
    running.pause();
    let swap = ["swap", "builtin:scd2-by-owner", "--set", "on-owner-change=ignore"];
    let swapped = place.0.hindsight(&swap);
    assert_eq!(swapped.exit, Some(0), "{}", swapped.err);
    let active = found("active");
    assert!(active.starts_with("scd2-by-owner ") && active.contains("swapped in"), "{active}");
    let other = place.0.path().join("other.toml");
    let text = std::fs::read_to_string(&path).expect("it was written");
    std::fs::write(&other, text.replace("\"item-assets\"", "\"other-assets\"").replace("history.db", "other.db"))
        .expect("write another configuration");
    let refused = place.0.hindsight(&["doctor", "other.toml"]);
    assert_eq!(refused.exit, Some(3), "{}", refused.out);
    assert!(
        refused.out.contains(&format!("{port} is taken")) && refused.out.contains("item-assets"),
        "{}",
        refused.out
    );
    running.kill();
    assert_eq!(found("active"), active);
    assert_eq!(found("listen"), format!("{port} is free"));
}

#[test]
fn rights_may_come_by_a_role_that_is_active() {
    let (server, place) = unfit(&[]);
    server.sql(
        "CREATE ROLE capture; GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO capture; GRANT SELECT ON shop.* TO capture;
         GRANT capture TO 'reader'@'%';",
    );
    let (answer, checks) = doctor(&place);
    assert_eq!((answer.exit, marked(&checks, "red")), (Some(3), vec!["rights"]));
    assert!(one(&checks, "rights").why.contains("its roles capture@% only"), "{checks:#?}");
    server.sql("SET DEFAULT ROLE ALL TO 'reader'@'%'");
    let (answer, checks) = doctor(&place);
    assert!(answer.exit == Some(0) && checks.iter().all(|check| check.mark == "green"), "{checks:#?}");
}

#[test]
fn recorded_files_the_rule_the_history_and_the_port_are_looked_at() {
    let good = Pipeline { files: vec![fixture("item_assets.binlog")], ..Pipeline::default() };
    let place = good.place();
    let all_green = |place: &Place, what: &str| {
        let (answer, checks) = doctor(place);
        assert_eq!(answer.exit, Some(0), "{what}: {checks:#?}");
        assert!(checks.iter().all(|check| check.mark == "green"), "{what}: {checks:#?}");
    };
    all_green(&place, "before the first run");
    assert!(!place.database().exists(), "nothing was made");
    assert_eq!(place.run().exit, Some(0));
    all_green(&place, "after it");

    let missing = place.0.path().join("gone.binlog");
    let text = place.0.write("text.binlog", "no log");
    Pipeline { files: vec![fixture("item_assets.binlog"), missing, text], ..good.clone() }.configure(&place);
    let (answer, checks) = doctor(&place);
    assert_eq!((answer.exit, marked(&checks, "red")), (Some(3), vec!["file", "file"]), "{checks:#?}");

    let red = |change: (&str, &str), name: &str, words: &[&str]| {
        let place = good.place();
        let path = place.0.path().join("hindsight.toml");
        let text = std::fs::read_to_string(&path).expect("it was written");
        assert!(text.contains(change.0), "{text}");
        place.0.write("hindsight.toml", text.replace(change.0, change.1));
        place.0.write("other.txt", "no database, though long enough to be looked at as one: ".repeat(40));
        let (answer, checks) = doctor(&place);
        assert_eq!((answer.exit, marked(&checks, "red")), (Some(3), vec![name]), "{checks:#?}");
        let check = checks.iter().find(|check| check.mark == "red").expect("it is red");
        let said = format!("{} {} {}", check.found, check.why, check.remedy);
        for word in words {
            assert!(said.contains(word), "{word} is not in: {said}");
        }
    };
    red(("builtin:scd2-by-owner", "builtin:nothing"), "component", &["nothing"]);
    red(("settings = {  }", "settings = { colour = \"red\" }"), "component", &["colour", "on-owner-change"]);
    red(("\"history.db\"", "\"other.txt\""), "file", &["other.txt", "not a database", "sink.path"]);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listen = format!("[control]\nlisten = \"{}\"\n[sink]", taken.local_addr().expect("it is bound"));
    red(("[sink]", &listen), "listen", &["taken", "another program", "[control] listen"]);
    let folder = Folder::new();
    let elsewhere = format!("{:?}", folder.path().join("none/history.db"));
    red(("\"history.db\"", &elsewhere), "folder", &["none"]);
}

/// The words of a remedy behind the name of Kafka's program.
fn arguments(command: &str) -> Vec<&str> {
    let words: Vec<&str> = command.split(' ').skip_while(|word| !word.starts_with("--alter")).collect();
    words.into_iter().map(|word| word.trim_end_matches('.')).collect()
}

#[test]
fn the_topic_and_its_side_topic_are_looked_at_and_mended_as_it_says() {
    let (server, broker) = (Mysql::start(&[]), kafka::shared());
    server.add_reader();
    server.sql(TABLE);
    let topic = Topic::on(broker);
    let section = topic.section();
    let live = Live { topic: &section, ..Live::of(&server) };
    let place = live.place();

    let (answer, checks) = doctor(&place);
    assert_eq!(answer.exit, Some(0), "{}{}", answer.out, answer.err);
    assert!(one(&checks, "topic").found.contains("the first run makes it, with 3 partitions"));
    assert_eq!(one(&checks, "side topic").mark, "green");
    assert_eq!(one(&checks, "transaction.max.timeout.ms").mark, "green");

    let answer = place.0.hindsight(&["run", "--to-end"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let (answer, checks) = doctor(&place);
    assert_eq!(answer.exit, Some(0), "{}", answer.out);
    assert!(one(&checks, "topic").found.ends_with(", 3 partitions"), "{checks:?}");
    assert!(one(&checks, "side topic").found.ends_with(", compacted, one partition"), "{checks:?}");
    assert_eq!(one(&checks, "retention.ms").found, "7 days");

    let alter = |name: &str, setting: &str| {
        let arguments = ["--alter", "--entity-type", "topics", "--entity-name", name, "--add-config", setting];
        broker.answer("kafka.admin.ConfigCommand", &arguments);
    };
    for setting in ["retention.ms=3600000", "compression.type=gzip", "cleanup.policy=compact"] {
        alter(&topic.name, setting);
    }
    alter(&topic.side(), "cleanup.policy=delete");
    let (answer, checks) = doctor(&place);
    assert_eq!(answer.exit, Some(3), "{}", answer.out);
    assert_eq!(marked(&checks, "red"), ["topic", "side topic"], "{checks:?}");
    for name in ["topic", "side topic"] {
        let why = one(&checks, name).why.as_str();
        let remedy = why.split("kafka-configs.sh ").nth(1).unwrap_or_else(|| panic!("a command in {why}"));
        broker.answer("kafka.admin.ConfigCommand", &arguments(remedy));
    }
    let (answer, checks) = doctor(&place);
    assert_eq!(answer.exit, Some(0), "{}", answer.out);
    assert_eq!(marked(&checks, "yellow"), ["retention.ms", "compression.type"], "{checks:?}");
    for name in ["retention.ms", "compression.type"] {
        let remedy = one(&checks, name).remedy["text"].as_str().expect("a command");
        broker.answer("kafka.admin.ConfigCommand", &arguments(remedy));
    }
    let (_, checks) = doctor(&place);
    assert!(marked(&checks, "yellow").is_empty() && marked(&checks, "red").is_empty(), "{checks:?}");

    let nobody = section.replace(&broker.address(), "127.0.0.1:1");
    Live { topic: &nobody, ..Live::of(&server) }.configure(&place);
    let (answer, checks) = doctor(&place);
    assert_eq!((answer.exit, marked(&checks, "red")), (Some(3), vec!["brokers"]), "{}", answer.out);
}
