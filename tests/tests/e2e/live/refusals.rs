//! Everything that a live source refuses, made to happen on real servers. `docs/refusals.md` shows what was said; where it
//! differs, this test says so, and leaves the new document in the target folder.

use std::fs;
use std::time::Instant;

use hindsight_tests::live::{Live, Running, WAIT_MAX};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::{Place, fixture};
use hindsight_tests::program::{Answer, binary, repository};
use hindsight_tests::steps::Steps;

const DOCUMENT: &str = "docs/refusals.md";

/// What the document begins with.
const PREFACE: &str = "\
# What is refused, and what it says

A live source (`kind = \"mysql\"`) stops rather than write a history that might be wrong. This is each refusal as the program
says it, made on a MySQL server by `tests/tests/e2e/live/refusals.rs`, which also holds this page to what it sees. Addresses,
positions, UUIDs and folders are examples.

Exit codes: 2 the configuration, 3 something outside is wrong before the first batch, 1 while running. What was committed
before stays as it is, and the next start goes on behind it.
";

/// The document while it is made.
struct Document {
    text: String,
    /// What differs from run to run, and what the document shows instead.
    masks: Vec<(String, String)>,
}

impl Document {
    fn section(&mut self, title: &str) {
        self.text += &format!("\n## {title}\n\n| | exit | what it says |\n|---|---|---|\n");
    }

    /// A refusal of the configuration: faults as code frames, which no table can hold.
    #[track_caller]
    fn frame(&mut self, what: &str, answer: &Answer, words: &[&str]) {
        assert_eq!(answer.exit, Some(2), "{what}: {}{}", answer.out, answer.err);
        for word in words {
            assert!(answer.err.contains(word), "{what}: {word:?} is not in: {}", answer.err);
        }
        let lines: Vec<&str> = answer.err.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        self.text += &format!("\n{what} (exit code 2):\n\n```text\n{}\n```\n", self.masked(&lines.join("\n")));
    }

    /// One refusal: held to its exit code and to what must be in it, and written down.
    #[track_caller]
    fn refusal(&mut self, what: &str, answer: &Answer, exit: i32, words: &[&str]) {
        assert_eq!(answer.exit, Some(exit), "{what}: {}{}", answer.out, answer.err);
        assert!(!answer.err.contains("secret"), "{what}: the password is shown: {}", answer.err);
        let said = answer.err.strip_prefix("error: ").or(answer.err.split_once("\nerror: ").map(|(_, said)| said));
        let said = said.unwrap_or_else(|| panic!("{what}: no error is said: {}", answer.err));
        for word in words {
            assert!(said.contains(word), "{what}: {word:?} is not in: {said}");
        }
        let said = self.masked(said.trim_end());
        let lines = said.lines().filter(|line| !line.trim().is_empty());
        // A text between backquotes; two of them where it holds one itself.
        let code = |line: &str| {
            let line = line.replace('|', "\\|");
            if line.contains('`') { format!("`` {line} ``") } else { format!("`{line}`") }
        };
        self.text += &format!("| {what} | {exit} | {} |\n", lines.map(code).collect::<Vec<_>>().join("<br>"));
    }

    fn masked(&self, text: &str) -> String {
        let mut masked = text.to_owned();
        for (found, shown) in &self.masks {
            masked = masked.replace(found, shown);
        }
        numbers_masked(&masked)
    }

    fn mask(&mut self, found: impl Into<String>, shown: &str) {
        self.masks.push((found.into(), shown.to_owned()));
    }
}

/// Numbers that move with the server's version and the machine's mood, by what stands before them: 4711, or a little more.
fn numbers_masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(at);
        let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        masked += before;
        let in_file = masked.ends_with(':') && masked[..masked.len() - 1].ends_with(|c: char| c.is_ascii_digit());
        let is_place =
            in_file && masked.rfind("binlog.0").is_some_and(|name| name + "binlog.000001:".len() == masked.len());
        let moves =
            is_place || ["connection ", "KILL ", "' at ", "position "].iter().any(|word| masked.ends_with(word));
        // A file's first transaction begins at 4 in every version.
        masked += match &number[..end] {
            _ if masked.ends_with("begins at ") => "4790",
            number if moves && number.len() > 1 => "4711",
            number => number,
        };
        rest = &number[end..];
    }
    masked + rest
}

#[test]
fn every_refusal_says_what_the_document_shows() {
    let server = Mysql::start(&[]);
    server.add_reader();
    let mut document = Document { text: PREFACE.to_owned(), masks: Vec::new() };
    document.mask(server.port().to_string(), "3306");
    // How a server names this machine depends on its name service.
    document.mask("'repl'@'127.0.0.1'", "'repl'@'localhost'");
    document.mask(server.uuid(), "3e11fa47-71ca-11e1-9e33-c80aa9429562");

    renew(&server);
    configuration(&mut document, &server);
    let bare = settings(&mut document, &server);
    account(&mut document, &server);
    address_and_tls(&mut document, &server, bare);
    positions(&mut document, &server);
    rows_that_are_there(&mut document, &server);
    log(&mut document, &server);
    anonymous(&mut document, &server);
    processes(&mut document, &server);

    let made = binary().ancestors().nth(2).expect("the program lies in <target>/<profile>").join("tests/refusals.md");
    fs::write(&made, &document.text).expect("write the document as it should be");
    let shown = fs::read_to_string(repository().join(DOCUMENT)).unwrap_or_default();
    let first = shown.lines().zip(document.text.lines()).find(|(shown, made)| shown != made);
    assert!(
        shown == document.text,
        "{DOCUMENT} is not what the program says: cp {} {DOCUMENT}\nthe first line that differs is\n{first:?}",
        made.display()
    );
}

fn renew(server: &Mysql) {
    server.sql(&format!("DROP DATABASE IF EXISTS shop; RESET BINARY LOGS AND GTIDS; {}", Steps::SCHEMA));
}

fn configuration(document: &mut Document, server: &Mysql) {
    document.text += "\n## The configuration\n";
    let place = Live::of(server).place();
    let text = fs::read_to_string(place.0.path().join("hindsight.toml")).expect("read the configuration");
    let mut with = |what: &str, from: &str, to: &str, words: &[&str]| {
        assert!(text.contains(from), "nothing to replace: {from}");
        place.0.write("hindsight.toml", text.replace(from, to));
        document.frame(what, &place.run_to_end(), words);
    };
    let never = "snapshot = \"never\"\n";
    with("A `snapshot` that is none", never, "snapshot = \"always\"\n", &["snapshot", "when-needed", "never"]);
    let chunks = format!("{never}snapshot-chunk-rows = 0\n");
    with("Chunks without rows", never, &chunks, &["snapshot-chunk-rows", "between 1 and"]);
    with("A `start` that is none", "\"earliest\"", "\"yesterday\"", &["start", "yesterday", "earliest"]);
}

/// Gives a server that offers nothing, TLS included.
fn settings(document: &mut Document, server: &Mysql) -> Mysql {
    document.section("The server's settings");
    for (what, set, reset, words) in [
        (
            "column names are not in the log (MySQL's default)",
            "SET GLOBAL binlog_row_metadata = 'MINIMAL'",
            "SET GLOBAL binlog_row_metadata = 'FULL'",
            ["binlog_row_metadata=MINIMAL", "SET PERSIST binlog_row_metadata"],
        ),
        (
            "rows are logged in part",
            "SET GLOBAL binlog_row_image = 'MINIMAL'",
            "SET GLOBAL binlog_row_image = 'FULL'",
            ["binlog_row_image=MINIMAL", "SET PERSIST binlog_row_image"],
        ),
        (
            "statements are logged instead of rows",
            "SET GLOBAL binlog_format = 'STATEMENT'",
            "SET GLOBAL binlog_format = 'ROW'",
            ["binlog_format=STATEMENT", "SET PERSIST binlog_format"],
        ),
        (
            "JSON documents are logged in part",
            "SET GLOBAL binlog_row_value_options = 'PARTIAL_JSON'",
            "SET GLOBAL binlog_row_value_options = ''",
            ["binlog_row_value_options=PARTIAL_JSON", "SET PERSIST binlog_row_value_options"],
        ),
        (
            "transactions may have no GTID",
            "SET GLOBAL gtid_mode = 'ON_PERMISSIVE'",
            "SET GLOBAL gtid_mode = 'ON'",
            ["gtid_mode=ON_PERMISSIVE", "SET PERSIST gtid_mode"],
        ),
    ] {
        server.sql(set);
        let (_, answer) = Live::of(server).run_to_end();
        server.sql(reset);
        document.refusal(what, &answer, 3, &words);
    }
    let bare = Mysql::start(&["--skip-log-bin", "--gtid-mode=OFF", "--enforce-gtid-consistency=OFF", "--tls-version="]);
    bare.add_reader();
    bare.sql(Steps::SCHEMA);
    document.mask(bare.port().to_string(), "3306");
    let (_, answer) = Live::of(&bare).run_to_end();
    document.refusal(
        "there is no binlog, and there are no GTIDs: all faults are said at once",
        &answer,
        3,
        &["log_bin=OFF", "gtid_mode=OFF"],
    );
    bare
}

fn account(document: &mut Document, server: &Mysql) {
    document.section("The account");
    server.add_user("nobody", "secret", "USAGE");
    server.add_user("half", "secret", "SELECT, REPLICATION SLAVE");
    let as_user = |user: &str| Live { urls: vec![server.url_of(user)], ..Live::default() }.run_to_end().1;
    document.refusal("a wrong password", &as_user("repl:secretive"), 3, &["repl", "password"]);
    document.refusal("an account without any right", &as_user("nobody:secret"), 3, &["REPLICATION SLAVE", "GRANT "]);
    document.refusal(
        "an account that may not ask for the log's end",
        &as_user("half:secret"),
        3,
        &["REPLICATION CLIENT", "GRANT "],
    );
    // The accounts' statements are in the log.
    renew(server);
}

fn address_and_tls(document: &mut Document, server: &Mysql, bare: Mysql) {
    document.section("The address, and TLS");
    let at = |url: String, source: &str| Live { urls: vec![url], source, ..Live::default() }.run_to_end().1;
    let answer = at("mysql://repl:secret@no-such-host.invalid:3306".into(), "");
    document.refusal("a host that is not known", &answer, 3, &["no-such-host.invalid:3306"]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    document.mask(free.port().to_string(), "3306");
    let answer = at(format!("mysql://repl:secret@{free}"), "");
    document.refusal("nobody listens there", &answer, 3, &[&free.to_string()]);
    let answer = at(bare.url(), "tls = \"required\"");
    document.refusal("the server offers no TLS", &answer, 3, &["TLS", "required"]);
    drop(bare);
    // The certificates that a server makes for itself hold no name at all.
    let own_ca = server.file("ca.pem").display().to_string();
    document.mask(own_ca.clone(), "ca.pem");
    let verified = |server: &Mysql, mode: &str, ca: &str| {
        let source = if ca.is_empty() { format!("tls = {mode:?}") } else { format!("tls = {mode:?}\ntls-ca = {ca:?}") };
        at(server.url(), &source)
    };
    let answer = verified(server, "verify-identity", &own_ca);
    document.refusal(
        "the certificate is made out for another name, or for none",
        &answer,
        3,
        &["verify-identity", "tls-ca"],
    );
    let answer = verified(server, "verify-identity", "");
    document.refusal("the certificate is signed by nobody known", &answer, 3, &["verify-identity", "tls-ca"]);

    let [ca, certificate, key] =
        ["ca.pem", "server.pem", "server.key"].map(|name| fixture("tls").join(name).display().to_string());
    let named =
        Mysql::start(&[&format!("--ssl-ca={ca}"), &format!("--ssl-cert={certificate}"), &format!("--ssl-key={key}")]);
    named.sql(Steps::SCHEMA);
    document.mask(named.port().to_string(), "3306");
    // This account may only come by TLS, and so shows that there was some.
    named.add_reader();
    named.sql("ALTER USER 'repl'@'%' REQUIRE SSL");
    let answer = verified(&named, "verify-identity", &own_ca);
    document.refusal(
        "the certificate is signed by another authority than `tls-ca`",
        &answer,
        3,
        &["verify-identity", "tls-ca"],
    );
    let answer = verified(&named, "disabled", "");
    document.refusal("the account may only come by TLS", &answer, 3, &["repl"]);
    for (mode, ca) in [("required", ""), ("verify-identity", &*ca)] {
        let answer = verified(&named, mode, ca);
        assert_eq!(answer.exit, Some(0), "tls = {mode:?}: {}", answer.err);
    }
}

fn positions(document: &mut Document, server: &Mysql) {
    document.section("Where to begin, and to go on");
    renew(server);
    let mut steps = Steps::default();
    server.sql(&steps.mixed(1, 8));
    let done = server.executed();
    let place = done_so_far(server);
    server.sql(&steps.mixed(101, 4));
    let start = |start: &str| Live { start, ..Live::of(server) }.run_to_end().1;
    document.refusal("a position inside a transaction", &start("binlog.000001:200"), 3, &["binlog.000001:200"]);
    document.refusal("a file that is not there", &start("binlog.000099:4"), 3, &["binlog.000099"]);
    document.refusal(
        "transactions that the server never had",
        &start("4e11fa47-71ca-11e1-9e33-c80aa9429562:1-7"),
        3,
        &["4e11fa47-71ca-11e1-9e33-c80aa9429562:1-7"],
    );
    server.sql("FLUSH BINARY LOGS");
    let newest = server.sql("SHOW BINARY LOG STATUS");
    server.sql(&format!("PURGE BINARY LOGS TO '{}'", newest.split('\t').next().expect("a file")));
    let missing = server.gtid_set(&format!("SELECT GTID_SUBTRACT(@@global.gtid_purged, '{done}')"));
    document.refusal("a checkpoint whose next transactions were purged", &place.run_to_end(), 3, &["purged", &missing]);
    document.refusal("a start that was purged", &start(&done), 3, &["purged", &missing]);

    renew(server);
    server.sql(&Steps::default().mixed(1, 3));
    document.refusal("a server that was set back behind the checkpoint", &place.run_to_end(), 3, &[&server.uuid()]);
    let other = Mysql::start(&["--server-id=2"]);
    other.add_reader();
    other.sql(Steps::SCHEMA);
    document.mask(other.port().to_string(), "3307");
    Live::of(&other).configure(&place);
    document.refusal(
        "another server, which never had what was read",
        &place.run_to_end(),
        3,
        &[&other.port().to_string()],
    );
    Live { table: "shop.*", ..Live::of(server) }.configure(&place);
    document.mask(place.database().display().to_string(), "history.db");
    document.refusal("a history of other tables", &place.run_to_end(), 2, &["another source", "shop.*"]);
}

/// What a snapshot needs of the account and the tables, and what must not happen to them meanwhile.
fn rows_that_are_there(document: &mut Document, server: &Mysql) {
    document.section("The rows that are there");
    renew(server);
    server.sql(&Steps::default().mixed(1, 11));
    server.add_user("blind", "secret", "REPLICATION SLAVE, REPLICATION CLIENT");
    let initial = Live { snapshot: "snapshot = \"initial\"", ..Live::of(server) };
    let blind = Live { urls: vec![server.url_of("blind:secret")], ..initial.clone() };
    let place = blind.place();
    let unseen = place.run_to_end();
    document.refusal(
        "an account that has no right on the table, which hides it",
        &unseen,
        3,
        &["shop.item_assets", "snapshot = \"never\"", "GRANT SELECT ON `shop`.`item_assets` TO 'blind'@'%';"],
    );
    server.sql("GRANT INSERT ON shop.item_assets TO 'blind'@'%'");
    let unread = place.run_to_end();
    document.refusal(
        "an account that may not read it",
        &unread,
        3,
        &["no SELECT on shop.item_assets", "GRANT SELECT ON `shop`.`item_assets` TO 'blind'@'%';"],
    );
    // As it is printed.
    let grant = unread.err.lines().find(|line| line.trim_start().starts_with("GRANT ")).expect("a line of its own");
    server.sql(grant);
    let answer = place.run_to_end();
    assert_eq!(answer.exit, Some(0), "after {grant}: {}", answer.err);
    let missing = Live { table: "shop.assets", ..initial.clone() }.run_to_end().1;
    document.refusal("a table that does not exist", &missing, 3, &["shop.assets", "there are shop.item_assets"]);
    server.sql("CREATE TABLE shop.old (id INT PRIMARY KEY, owner_id INT, asset_info VARCHAR(9), registered_at DATETIME) ENGINE = MyISAM");
    let (place, engine) = Live { table: "shop.old", ..initial.clone() }.run_to_end();
    document.refusal("a table that is not InnoDB's", &engine, 3, &["shop.old", "MyISAM", "ENGINE = InnoDB"]);
    server.sql("ALTER TABLE `shop`.`old` ENGINE = InnoDB");
    let answer = place.run_to_end();
    assert_eq!(answer.exit, Some(0), "{}", answer.err);

    another_entity_key(document, server, &initial);
    altered(document, server, &initial);
}

/// The rule has another entity key when the log is still to be read of which the chunks by the first one hold a part.
fn another_entity_key(document: &mut Document, server: &Mysql, initial: &Live<'_>) {
    let slowly = "snapshot = \"initial\"\nsnapshot-chunk-rows = 2\nsnapshot-rows-per-second = 12";
    // Small batches: the log behind the rows comes in several, each with a position of its own.
    let place = Live { snapshot: slowly, batch: 2, ..initial.clone() }.place();
    let mut steps = Steps::default();
    renew(server);
    server.sql("ALTER TABLE shop.item_assets ADD KEY (owner_id), ADD KEY (asset_info)");
    server.sql(&(1..=40).map(|id| steps.insert(id, id, "asset")).collect::<String>());
    let mut running = place.capture();
    let chunks = wait_for_a_chunk(&place, &mut running);
    server.sql(&steps.mixed(201, 12));
    wait_until_captured(&place, server, &mut running);
    running.stop();
    // As a kill would leave it: all rows are there, and the log is not behind them.
    let text = fs::read_to_string(place.events()).expect("read the file");
    let is_read = |line: &&str| line.contains("\\\"stage\\\":\\\"ended\\\"");
    let last = text.lines().filter(|line| line.starts_with("{\"checkpoint\":")).rfind(is_read);
    let last = last.unwrap_or_else(|| panic!("after {chunks} no position behind all rows: {text}"));
    let end = text.find(last).expect("it is a line of it") + last.len() + 1;
    place.0.write("events.jsonl", &text[..end]);
    let configured = fs::read_to_string(place.0.path().join("hindsight.toml")).expect("read the configuration");
    let other = "[rule]\nsettings = { owner = \"asset_info\", columns = \"owner_id\" }\n";
    place.0.write("hindsight.toml", configured.replace("[rule]\n", other));
    document.refusal(
        "a rule with another entity key, while the log is not behind the snapshot",
        &place.capture_to_end(),
        3,
        &["shop.item_assets", "(owner_id)", "(asset_info)", "hindsight status", "new history"],
    );
    place.0.write("hindsight.toml", configured);
    let answer = place.capture_to_end();
    assert_eq!(answer.exit, Some(0), "the one that it was read for: {}", answer.err);
}

/// A column goes while chunks are read.
fn altered(document: &mut Document, server: &Mysql, initial: &Live<'_>) {
    let slowly = "snapshot = \"initial\"\nsnapshot-chunk-rows = 2\nsnapshot-rows-per-second = 12";
    let mut said = None;
    // Between a chunk's rows and its watermark the log tells it first, in other words.
    while said.as_ref().is_none_or(|(_, answer): &(Place, Answer)| !answer.err.contains("error 1054")) {
        let place = Live { snapshot: slowly, ..initial.clone() }.place();
        renew(server);
        server.sql("ALTER TABLE shop.item_assets ADD KEY (owner_id), ADD COLUMN place VARCHAR(9)");
        let mut steps = Steps::default();
        server.sql(&(1..=40).map(|id| steps.insert(id, id, "asset")).collect::<String>());
        let mut running = place.capture();
        wait_for_a_chunk(&place, &mut running);
        server.sql("ALTER TABLE shop.item_assets DROP COLUMN place");
        let answer = running.end();
        assert!(answer.err.contains("was altered while its rows were read"), "{}", answer.err);
        said = Some((place, answer));
    }
    let (place, answer) = said.expect("it was said");
    document.refusal(
        "the table is altered while its rows are read",
        &answer,
        1,
        &["shop.item_assets was altered while its rows were read", "Start again"],
    );
    let again = place.capture_to_end();
    assert_eq!(again.exit, Some(0), "started again: {}", again.err);
    assert_eq!(place.captured().events.len(), 40, "each row is there once");
}

fn last_checkpoint(place: &Place) -> String {
    let text = fs::read_to_string(place.events()).unwrap_or_default();
    text.lines().rfind(|line| line.starts_with("{\"checkpoint\":")).unwrap_or_default().to_owned()
}

#[track_caller]
fn wait_until_captured(place: &Place, server: &Mysql, running: &mut Running) {
    let begun = Instant::now();
    // The rows are read at the server's end, so the position alone says nothing before the log is behind them.
    while !server.has_all_executed_in(&place.captured_until().gtids) || last_checkpoint(place).contains("snapshot=") {
        running.assert_runs();
        assert!(begun.elapsed() < WAIT_MAX, "not all was captured: {}", running.log());
    }
}

/// Gives the position with it.
#[track_caller]
fn wait_for_a_chunk(place: &Place, running: &mut Running) -> String {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(place.events()).unwrap_or_default();
        if let Some(line) = text.lines().find(|line| line.contains("\\\"stage\\\":\\\"reading\\\"")) {
            return line.to_owned();
        }
        running.assert_runs();
        assert!(begun.elapsed() < WAIT_MAX, "no chunk: {}", running.log());
    }
}

/// A pipeline that has read all that is there.
fn done_so_far(server: &Mysql) -> Place {
    let (place, answer) = Live::of(server).run_to_end();
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    assert!(place.checkpoint().is_some(), "it has a checkpoint");
    place
}

fn log(document: &mut Document, server: &Mysql) {
    document.section("What the log holds");
    let update = "UPDATE shop.item_assets SET asset_info = 'x' WHERE id = 3;";
    for (what, sql, exit, words) in [
        (
            "a session logs a statement instead of rows",
            format!("SET SESSION binlog_format = STATEMENT; {update}"),
            1,
            ["shop.item_assets", "binlog_format=ROW"],
        ),
        (
            "a session logs rows in part, without a column that the rule needs",
            format!("SET SESSION binlog_row_image = MINIMAL; {update}"),
            1,
            ["shop.item_assets", "binlog_row_image=FULL"],
        ),
        (
            "an XA transaction changes the table",
            format!("XA START 'a'; {update} XA END 'a'; XA PREPARE 'a'; XA COMMIT 'a';"),
            1,
            ["XA PREPARE", "shop.item_assets"],
        ),
        ("the table is emptied", "TRUNCATE TABLE shop.item_assets;".into(), 1, ["TRUNCATE", "new history"]),
        ("the table is dropped", "DROP TABLE shop.item_assets;".into(), 1, ["DROP TABLE", "new history"]),
        (
            "the table gets a shape that the rule's history cannot hold",
            "DELETE FROM shop.item_assets; ALTER TABLE shop.item_assets MODIFY COLUMN asset_info INT NOT NULL;
             INSERT INTO shop.item_assets VALUES (900, 1, 5, '2025-06-01');"
                .into(),
            1,
            ["asset_info varchar(255)", "asset_info int"],
        ),
        (
            "the table loses a column that the rule needs",
            "ALTER TABLE shop.item_assets DROP COLUMN owner_id; INSERT INTO shop.item_assets VALUES (900, 'x', '2025-06-01');".into(),
            1,
            ["owner_id", "schema changed"],
        ),
    ] {
        renew(server);
        server.sql(&Steps::default().mixed(1, 11));
        let place = Live::of(server).place();
        let mut running = place.follow();
        place.wait_until_all_is_done(server, &mut running);
        server.sql(&sql);
        document.refusal(what, &running.end(), exit, &words);
    }
    renew(server);
    server.sql(&format!("SET GLOBAL binlog_row_metadata = 'MINIMAL'; {}", Steps::default().mixed(1, 3)));
    server.sql("SET GLOBAL binlog_row_metadata = 'FULL'");
    let (_, answer) = Live::of(server).run_to_end();
    document.refusal(
        "the oldest part of the log is from before the setting was right",
        &answer,
        3,
        &["shop.item_assets", "binlog_row_metadata=MINIMAL"],
    );
}

/// Transactions from a time when there were no GTIDs.
fn anonymous(document: &mut Document, server: &Mysql) {
    renew(server);
    server.sql("SET GLOBAL gtid_mode = 'ON_PERMISSIVE'; SET GLOBAL gtid_mode = 'OFF_PERMISSIVE';");
    let mut steps = Steps::default();
    server.sql(&steps.mixed(1, 3));
    server.sql("SET GLOBAL gtid_mode = 'ON_PERMISSIVE'; SET GLOBAL gtid_mode = 'ON';");
    server.sql(&steps.mixed(101, 3));
    let (_, answer) = Live::of(server).run_to_end();
    document.refusal(
        "the oldest part of the log is from before there were GTIDs",
        &answer,
        1,
        &["without a GTID", "start = \"now\"", "new history"],
    );
}

fn processes(document: &mut Document, server: &Mysql) {
    document.section("Two processes");
    renew(server);
    let mut steps = Steps::default();
    server.sql(&steps.mixed(1, 3));
    let place = Live::of(server).place();
    let mut running = place.follow();
    place.wait_until_all_is_done(server, &mut running);
    document.refusal("a second process of this pipeline", &place.run_to_end(), 3, &["item-assets"]);
    // Whoever has the same identity takes its place at the server: here a replica that was given its UUID.
    let replicas = server.sql("SHOW REPLICAS");
    let uuid = replicas.trim_end().rsplit('\t').next().expect("the last column is the UUID").to_owned();
    let mut twin = Mysql::start(&["--server-id=2", "--skip-replica-start"]);
    twin.kill();
    fs::write(twin.file("auto.cnf"), format!("[auto]\nserver-uuid={uuid}\n")).expect("write the server's identity");
    twin.start_again(&[]);
    assert_eq!(twin.uuid(), uuid);
    twin.follow(server);
    document.refusal(
        "another reader of the log with this pipeline's identity",
        &running.end(),
        1,
        &["server_uuid/server_id"],
    );
}
