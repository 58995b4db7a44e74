//! The command line and the configuration as a user meets them: the built binary, driven from outside.

use hindsight_tests::program::{Answer, Folder};

fn hindsight(folder: &Folder, arguments: &[&str]) -> Answer {
    let mut command = folder.command(arguments);
    command.env("HINDSIGHT_CLI_SECRET", "s3cr3t-value").env_remove("HINDSIGHT_CLI_MISSING");
    command.output().expect("run hindsight").into()
}

/// The least that is needed.
const LEAST: &str = r#"
name = "item-assets"
[source]
kind = "binlog-file"
files = ["binlog.000001"]
tables = ["shop.item_assets"]
[rule]
component = "builtin:scd2-by-owner"
[sink]
path = "history.db"
table = "item_asset_history"
"#;

/// `change`: what of [`LEAST`] is replaced by what. The refusal must hold every one of `words`, as one line of text
/// per fault (`validate --json`) and on the terminal, and end with exit code 2.
#[track_caller]
fn refused(change: (&str, &str), words: &[&str]) {
    let folder = Folder::new();
    assert!(LEAST.contains(change.0), "nothing to replace: {}", change.0);
    folder.write("hindsight.toml", LEAST.replacen(change.0, change.1, 1));
    let answer = hindsight(&folder, &["validate"]);
    assert_eq!(answer.exit, Some(2), "{}", answer.err);
    // Frames wrap long lines, so words are looked for without the wrapping.
    let frames = answer.err.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(frames.contains(word), "{word:?} is not in:\n{}", answer.err);
    }
    assert!(answer.err.contains("hindsight.toml:"), "no code frame in:\n{}", answer.err);
    let json = hindsight(&folder, &["validate", "--json"]);
    assert_eq!(json.exit, Some(2));
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("--json answers with JSON");
    assert_eq!(json["valid"], false);
    assert!(json["faults"][0]["line"].as_u64().expect("a line number") >= 1);
}

#[test]
fn an_unknown_key_is_refused_with_the_key_that_was_meant() {
    refused(("files =", "flies ="), &["unknown key `flies` in [source]", "did you mean `files`?"]);
    refused(("[rule]", "[rule]\nlimits = { memroy = \"1MiB\" }"), &["unknown key `memroy`", "did you mean `memory`?"]);
    refused(("[sink]", "[snik]"), &["unknown key `snik`", "did you mean `sink`?", "`path` is missing in [sink]"]);
}

#[test]
fn a_wrong_type_is_refused_with_the_type_that_is_wanted() {
    refused(("\"item-assets\"", "7"), &["`name` of the file is a string, not an integer"]);
    refused(("[\"binlog.000001\"]", "\"binlog.000001\""), &["`files` of [source] is a list of strings, not a string"]);
    refused(
        ("[rule]", "[rule]\nlimits = { batch = \"8\" }"),
        &["`batch` of [rule.limits] is an integer, not a string"],
    );
}

#[test]
fn a_duplicate_key_is_refused_at_its_second_place() {
    refused(("path =", "path = \"a.db\"\npath ="), &["duplicate key `path`"]);
    refused(("[sink]", "[rule]\n[sink]"), &["duplicate key `rule`"]);
}

#[test]
fn broken_syntax_is_refused_with_its_place() {
    refused(("name = \"item-assets\"", "name = \"item-assets"), &["hindsight.toml:2"]);
    let folder = Folder::new();
    folder.write(
        "hindsight.toml",
        LEAST.replace("[\"binlog.000001\"]", "[\"binlog.000001\"").replace("name =", "nmae ="),
    );
    let answer = hindsight(&folder, &["validate"]);
    assert!(answer.exit == Some(2) && !answer.err.contains("nmae"), "only the syntax is at fault:\n{}", answer.err);
}

#[test]
fn what_is_required_is_named_when_it_is_missing() {
    refused(("name = \"item-assets\"", ""), &["`name` is missing"]);
    refused(("kind = \"binlog-file\"", ""), &["`kind` is missing in [source]", "kind = \"binlog-file\""]);
    refused(("files = [\"binlog.000001\"]", ""), &["`files` is missing in [source]", "name the binlog files in order"]);
    refused(("[\"binlog.000001\"]", "[]"), &["`files` of [source] is empty"]);
    refused(("component = \"builtin:scd2-by-owner\"", ""), &["`component` is missing in [rule]"]);
    refused(("table = \"item_asset_history\"", ""), &["`table` is missing in [sink]"]);
}

#[test]
fn what_is_said_of_starrocks_is_checked() {
    let with = |fe: &str, more: &str| {
        format!("[topic]\nbrokers = \"h:1\"\nname = \"c\"\n[sink]\nkind = \"starrocks\"\nfe = {fe}\n{more}")
    };
    let whole = "mysql = \"h:9030\"\ndatabase = \"d\"\n";
    for (fe, more, wanted) in [
        ("[]", whole.to_owned(), "`fe` of [sink] is empty"),
        ("\"https://h:8030\"", whole.to_owned(), "`fe` of [sink] cannot be \"https://h:8030\""),
        ("\"http://h\"", whole.to_owned(), "fe = [\"http://127.0.0.1:8030\"]"),
        ("\"http://h:8030\"", "mysql = \"h\"\ndatabase = \"d\"".into(), "`mysql` of [sink] cannot be \"h\""),
        ("\"http://h:8030\"", "mysql = \"h:1\"".into(), "`database` is missing in [sink]"),
        ("\"http://h:8030\"", "mysql = \"h:1\"\ndatabase = \"a-b\"".into(), "`database` of [sink] cannot be \"a-b\""),
        ("\"http://h:8030\"", format!("{whole}sequence-column = 7"), "a column's name or a boolean"),
        ("\"http://h:8030\"", format!("{whole}interval = \"5min\""), "it lies between 0ns and 90s"),
        ("\"http://h:8030\"", format!("{whole}load-timeout = \"10ms\""), "`load-timeout` of [sink] cannot be \"10ms\""),
        ("\"http://h:8030\"", format!("{whole}compression = \"gzip\""), "`compression`"),
        ("\"http://h:8030\"", format!("{whole}pasword = \"x\""), "did you mean `password`?"),
    ] {
        refused(("[sink]\npath = \"history.db\"", &with(fe, &more)), &[wanted]);
    }
}

#[test]
fn what_is_said_of_rejects_is_checked() {
    refused(("[rule]", "[rule]\non-reject = \"ignore\""), &["`on-reject` of [rule]", "quarantine"]);
    for share in ["1", "101%", "-1%", "a%", ""] {
        let limits = format!("[rule]\nlimits = {{ rejects = {share:?} }}");
        refused(("[rule]", &limits), &["`rejects` of [rule.limits] cannot be", "a share of the last 10,000 changes"]);
    }
}

#[test]
fn keys_of_parts_that_are_not_built_yet_are_checked_all_the_same() {
    refused(
        ("[rule]", "[topic]\nbrokers = \"h:1\"\nname = \"c\"\ntombstones = true\n[rule]"),
        &["`tombstones` of [topic] without key = \"primary-key\""],
    );
    refused(
        ("[rule]", "[topic]\nbrokers = \"h:1\"\nname = \"c\"\nmember = \"a b\"\n[rule]"),
        &["`member` of [topic] cannot be"],
    );
    refused(("[rule]", "[topic]\nbroker = \"h:1\"\nname = \"c\"\n[rule]"), &["did you mean `brokers`?"]);
    refused(
        ("[rule]", "[topic]\nbrokers = \"h\"\nname = \"c\"\n[rule]"),
        &["`brokers` of [topic] cannot be \"h\"", "127.0.0.1:9092"],
    );
    refused(("[rule]", "[topic]\nbrokers = \"h:1\"\nname = \"a b\"\n[rule]"), &["`name` of [topic] cannot be \"a b\""]);
    refused(
        ("[rule]", "[topic]\nbrokers = \"h:1\"\nname = \"c\"\ncolumns = { a = \"datetme\" }\n[rule]"),
        &["\"datetme\" is not a column type"],
    );
    refused(("kind = \"binlog-file\"", "kind = \"mysql\"\nsnapshot = \"often\""), &["`snapshot`", "\"when-needed\""]);
    refused(("path = \"history.db\"", "kind = \"starrocks\""), &["`fe` is missing in [sink]"]);
}

/// Replaces the recorded files by a server that is followed, with more keys.
fn live(more: &str) -> (&'static str, String) {
    let text = format!("kind = \"mysql\"\nurl = \"mysql://repl:x@127.0.0.1:3306\"\n{more}");
    ("kind = \"binlog-file\"\nfiles = [\"binlog.000001\"]", text)
}

#[test]
fn a_topic_and_a_snapshot_that_is_compared_do_not_go_together() {
    let topic = "[topic]\nbrokers = \"h:1\"\nname = \"c\"\n[rule]";
    for more in ["snapshot = \"when-needed\"", "snapshot = \"initial\"\non-lost-position = \"resnapshot\""] {
        let (recorded, live) = live(more);
        let text = LEAST.replacen(recorded, &live, 1).replacen("[rule]", topic, 1);
        refused((LEAST, &text), &["with [topic]", "compared with", "on-lost-position = \"fail\""]);
    }
}

#[test]
fn a_live_source_says_how_it_begins() {
    for (more, words) in [
        ("", "with the rows that are there, read in chunks by 2 readers (without a checkpoint)"),
        ("snapshot = \"initial\"\nsnapshot-mode = \"consistent\"", "read each table in one read view (without"),
        (
            "snapshot = \"when-needed\"\nsnapshot-readers = 4\nsnapshot-rows-per-second = 50000",
            "read in chunks by 4 readers, at most 50,000 a second (without",
        ),
        ("snapshot = \"never\"\nstart = \"now\"", "now (without a checkpoint; no snapshot)"),
    ] {
        let folder = Folder::new();
        let (files, server) = live(more);
        folder.write("hindsight.toml", LEAST.replace(files, &server));
        let answer = hindsight(&folder, &["validate"]);
        assert_eq!(answer.exit, Some(0), "{more}: {}", answer.err);
        assert!(answer.out.contains(words), "{words:?} is not in:\n{}", answer.out);
    }
}

#[test]
fn keys_of_a_live_source_are_checked() {
    for (more, words) in [
        ("start = \"yesterday\"", &["`start` of [source] cannot be \"yesterday\"", "\"earliest\", \"now\""][..]),
        ("start = \"binlog.000003:x\"", &["`x` is no position in binlog.000003"]),
        ("start = \"3e11fa47:1\"", &["is no part of a GTID set: it begins with a UUID"]),
        ("heartbeat = \"1\"", &["`heartbeat` of [source] cannot be \"1\"", "with a unit"]),
        ("heartbeat = \"1ms\"", &["it lies between 100ms and 1h"]),
        ("tls = \"require\"", &["did you mean \"required\"?"]),
        ("tls-ca = \"ca.pem\"", &["`tls-ca` does not go with tls = \"preferred\"", "verify-identity"]),
        ("server-id = 0", &["`server-id` of [source] is a number between 1 and 4294967295"]),
        ("on-lost-position = \"resnapshoot\"", &["`on-lost-position`", "did you mean \"resnapshot\"?"]),
        ("snapshot-mode = \"chunk\"", &["`snapshot-mode`", "did you mean \"chunks\"?"]),
        ("snapshot-readers = 0", &["`snapshot-readers` of [source] is a number between 1 and 32", "connections"]),
        ("snapshot-readers = 33", &["`snapshot-readers` of [source] is a number between 1 and 32"]),
        (
            "snapshot-chunk-rows = 0",
            &["`snapshot-chunk-rows` of [source] is a number between 1 and 1000000", "at once"],
        ),
        ("snapshot-chunk-rows = \"8k\"", &["`snapshot-chunk-rows` of [source] is a number between 1 and 1000000"]),
        (
            "snapshot-rows-per-second = -1",
            &["`snapshot-rows-per-second` of [source] is a number between 1 and", "leave it out for no limit"],
        ),
        ("snapshot-pace = 1", &["unknown key `snapshot-pace` in [source]"]),
        ("files = [\"x\"]", &["`files` does not go with kind = \"mysql\""]),
    ] {
        let (files, server) = live(&format!("snapshot = \"never\"\n{more}"));
        refused((files, &server), words);
    }
    for (url, words) in [
        ("\"127.0.0.1:3306\"", &["is not a MySQL address", "it begins with mysql://"][..]),
        ("\"mysql://repl:x@:3306\"", &["no host"]),
        ("\"mysql://repl:x@h:3306/shop\"", &["tables are named with their database"]),
        ("\"mysql://repl:x@h?require_ssl=true\"", &["settings stand in [source] itself"]),
        ("[]", &["`url` of [source] is empty"]),
    ] {
        let (files, server) = live("snapshot = \"never\"");
        refused((files, &server.replace("\"mysql://repl:x@127.0.0.1:3306\"", url)), words);
    }
}

#[test]
fn a_live_configuration_is_shown_with_its_defaults_and_without_its_password() {
    let folder = Folder::new();
    let (files, server) = live("snapshot = \"never\"");
    folder.write("hindsight.toml", LEAST.replace(files, &server.replace("repl:x@", "repl:s3cr3t-value@")));
    let text = hindsight(&folder, &["validate"]);
    assert_eq!(text.exit, Some(0), "{}", text.err);
    for words in ["mysql://repl@127.0.0.1:3306", "earliest", "preferred", "5s"] {
        assert!(text.out.contains(words), "{words} is not in {}", text.out);
    }
    let json = hindsight(&folder, &["validate", "--json"]);
    assert_eq!(json.json()["source"]["url"][0], "mysql://repl@127.0.0.1:3306");
    assert!(!(text.out + &json.out).contains("s3cr3t-value"));
}

#[test]
fn keys_of_a_live_source_do_not_go_with_recorded_files() {
    for (key, value, why) in [
        ("url", "\"mysql://h\"", "recorded files are read without a server"),
        ("snapshot", "\"never\"", "no server to read a first state from"),
        ("start", "\"now\"", "reading starts at the first file's beginning"),
        ("heartbeat", "\"1s\"", "recorded files are read without a server"),
        ("on-lost-position", "\"fail\"", "recorded files are read without a server"),
        ("snapshot-mode", "\"chunks\"", "recorded files are read without a server"),
        ("snapshot-readers", "2", "recorded files are read without a server"),
        ("snapshot-chunk-rows", "100", "recorded files are read without a server"),
        ("snapshot-rows-per-second", "100", "recorded files are read without a server"),
    ] {
        let line = format!("files = [\"x\"]\n{key} = {value}");
        refused(
            ("files = [\"binlog.000001\"]", &line),
            &[&format!("`{key}` does not go with kind = \"binlog-file\""), why, &format!("remove `{key}`")],
        );
    }
}

#[test]
fn values_out_of_range_are_refused_with_what_fits() {
    refused(("\"item-assets\"", "\"item assets\""), &["`name` cannot be \"item assets\"", "letters, digits"]);
    refused(("\"shop.item_assets\"", "\"item_assets\""), &["\"item_assets\" is not a table of a database"]);
    refused(("[rule]", "[rule]\nlimits = { memory = \"64\" }"), &["`memory`", "a whole number with a unit"]);
    refused(("[rule]", "[rule]\nlimits = { memory = \"1B\" }"), &["it lies between 64KiB and 4GiB"]);
    refused(("[rule]", "[rule]\nlimits = { deadline = \"0s\" }"), &["`deadline` leaves the rule no time"]);
    refused(("[rule]", "[rule]\nlimits = { instance = \"frsh\" }"), &["did you mean \"fresh\"?"]);
    refused(("tables =", "time-zone = \"Mars/Base\"\ntables ="), &["`time-zone`", "Europe/Berlin"]);
    refused(("\"item_asset_history\"", "\"hindsight_x\""), &["`table` of [sink] cannot be \"hindsight_x\""]);
    refused(("[sink]", "[control]\nlisten = \"8787\"\n[sink]"), &["`listen` of [control] cannot be \"8787\""]);
}

#[test]
fn a_missing_variable_or_file_is_named_with_its_key_and_what_to_do() {
    refused(
        ("\"history.db\"", "\"${env:HINDSIGHT_CLI_MISSING}/h.db\""),
        &["`path`", "the environment variable HINDSIGHT_CLI_MISSING is not set", "export HINDSIGHT_CLI_MISSING=…"],
    );
    refused(("\"history.db\"", "\"${file:nowhere.txt}\""), &["`path`", "nowhere.txt", "No such file"]);
    refused(("\"history.db\"", "\"${path}\""), &["${path} is not known", "${env:NAME}"]);
}

#[test]
fn all_faults_are_shown_at_once() {
    let folder = Folder::new();
    folder.write("hindsight.toml", "nmae = 1\n[source]\nkind = 2\ntables = []\n[rule]\n[sink]\ntable = \"t\"\n");
    let answer = hindsight(&folder, &["validate", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&answer.out).expect("--json answers with JSON");
    let messages: Vec<&str> =
        json["faults"].as_array().expect("a list").iter().filter_map(|fault| fault["message"].as_str()).collect();
    for wanted in ["nmae", "`kind`", "`tables`", "`files`", "`component`", "`path`"] {
        assert!(messages.iter().any(|message| message.contains(wanted)), "{wanted} is not in {messages:?}");
    }
}

#[test]
fn no_secret_is_printed_neither_by_a_good_nor_by_a_bad_configuration() {
    let folder = Folder::new();
    folder.write("password.txt", "s3cr3t-value\n");
    let settings = "[rule]\nsettings = { owner = \"${env:HINDSIGHT_CLI_SECRET}\", columns = \"${file:password.txt}\" }";
    let good = LEAST.replace("[rule]", settings);
    let bad = good.replace("item_asset_history\"", "s${env:HINDSIGHT_CLI_SECRET}\"").replace("kind =", "knid =");
    let plain = LEAST.replace("kind = \"binlog-file\"", "kind = \"mysql\"\nurl = \"mysql://u:s3cr3t-value@h\"");
    let starrocks = LEAST.replace("path = \"history.db\"", "kind = \"starrocks\"\npassword = \"s3cr3t-value\"\nfe = 1");
    let topic =
        "[topic]\nbrokers = \"h:1\"\nname = \"c\"\n[topic.librdkafka]\n\"sasl.password\" = \"s3cr3t-value\"\n[rule]";
    let topic = LEAST.replace("[rule]", topic);
    for (text, exit) in [(&good, 0), (&bad, 2), (&plain, 2), (&starrocks, 2), (&topic, 0)] {
        folder.write("hindsight.toml", text);
        for arguments in [&["validate"][..], &["validate", "--json"], &["validate", "-vv"]] {
            let answer = hindsight(&folder, arguments);
            assert_eq!(answer.exit, Some(exit), "{}", answer.err);
            for text in [&answer.out, &answer.err] {
                assert!(!text.contains("s3cr3t-value"), "{text}");
            }
        }
    }
    folder.write("hindsight.toml", &good);
    assert!(hindsight(&folder, &["validate"]).out.contains("owner = \"${env:HINDSIGHT_CLI_SECRET}\""));
}

#[test]
fn what_init_writes_validates_unchanged_and_is_not_overwritten_by_chance() {
    let folder = Folder::new();
    assert_eq!(hindsight(&folder, &["init", "mine.toml"]).exit, Some(0));
    let text = std::fs::read_to_string(folder.path().join("mine.toml")).expect("init wrote the file");
    let answer = hindsight(&folder, &["validate", "mine.toml"]);
    assert_eq!((answer.exit, answer.out.lines().next()), (Some(0), Some("mine.toml is valid")), "{}", answer.err);
    // The commented lines show defaults: with them in force nothing changes but what is typed.
    folder.write("mine.toml", text.replace("\n#time-zone", "\ntime-zone").replace("\n#limits", "\nlimits"));
    assert_eq!(hindsight(&folder, &["validate", "mine.toml"]).out, answer.out);

    assert_eq!(hindsight(&folder, &["init", "live.toml", "--live"]).exit, Some(0));
    let live = std::fs::read_to_string(folder.path().join("live.toml")).expect("init wrote the file");
    let answer = hindsight(&folder, &["validate", "live.toml"]);
    assert_eq!((answer.exit, answer.out.lines().next()), (Some(0), Some("live.toml is valid")), "{}", answer.err);
    let commented = [
        "time-zone",
        "tls =",
        "heartbeat",
        "limits",
        "start",
        "snapshot-mode",
        "snapshot-readers",
        "snapshot-chunk-rows",
        "on-lost-position",
    ];
    let live = commented.iter().fold(live, |live, key| live.replace(&format!("\n#{key}"), &format!("\n{key}")));
    folder.write("live.toml", live);
    assert_eq!(hindsight(&folder, &["validate", "live.toml"]).out, answer.out);

    folder.write("mine.toml", "kept");
    let refused = hindsight(&folder, &["init", "mine.toml"]);
    assert_eq!(refused.exit, Some(2));
    assert!(refused.err.contains("mine.toml is there already; --force overwrites it"), "{}", refused.err);
    assert_eq!(std::fs::read_to_string(folder.path().join("mine.toml")).ok().as_deref(), Some("kept"));
    assert_eq!(hindsight(&folder, &["init", "mine.toml", "--force"]).exit, Some(0));
    assert_eq!(std::fs::read_to_string(folder.path().join("mine.toml")).ok().as_deref(), Some(text.as_str()));
}

#[test]
fn paths_start_in_the_folder_of_the_file() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("pipes")).expect("make a folder");
    folder.write("pipes/binlog.000001", "");
    folder.write("pipes/a.toml", LEAST);
    let answer = hindsight(&folder, &["validate", "pipes/a.toml"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    assert!(answer.out.contains("pipes/history.db"), "{}", answer.out);
    assert!(!answer.out.contains("not there yet"), "{}", answer.out);
}

#[test]
fn a_configuration_that_is_not_there_says_how_to_begin() {
    let answer = hindsight(&Folder::new(), &["validate"]);
    assert_eq!(answer.exit, Some(2));
    assert!(answer.err.contains("hindsight.toml") && answer.err.contains("hindsight init"), "{}", answer.err);
}

#[test]
fn a_wrong_command_line_ends_with_2_and_help_with_0() {
    let folder = Folder::new();
    assert_eq!(hindsight(&folder, &["validat"]).exit, Some(2));
    assert_eq!(hindsight(&folder, &[]).exit, Some(2));
    assert_eq!(hindsight(&folder, &["validate", "--jsn"]).exit, Some(2));
    let help = hindsight(&folder, &["--help"]);
    assert!(help.exit == Some(0) && help.out.contains("Examples:"), "{}", help.out);
}
