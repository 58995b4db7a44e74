//! `docs/live.md` and `docs/snapshot.md`: their transcripts are what the program says on a real server.

use std::fs;

use hindsight_tests::mysql::Mysql;
use hindsight_tests::program::{Folder, binary, repository};
use hindsight_tests::steps::Steps;

use crate::documents::{Shown, shown};

/// What is in the table before hindsight comes.
fn rows(owners: [i64; 2]) -> String {
    let [one, other] = owners;
    let rows = format!("(1, {one}, 'laptop 4', '2025-01-01'), (2, {other}, 'phone 9', '2025-01-02')");
    format!("{} INSERT INTO shop.item_assets VALUES {rows};", Steps::SCHEMA)
}

/// Lines that differ from machine to machine and from day to day, by how they begin.
const MOVING: [&str; 2] = ["  ✓ version                         ", "  ✓ clock                           "];

fn masked(line: &str, server: &Server) -> String {
    if let Some(kept) = MOVING.iter().find(|moving| line.starts_with(*moving)) {
        return format!("{kept}…");
    }
    if line.ends_with(" changes a second") {
        return "0.05 s, 60 changes a second".to_owned();
    }
    let mut line = line.replace(&server.address, "127.0.0.1:3306").replace(&server.control, "127.0.0.1:8787");
    if let Some((before, digest)) = line.clone().split_once("sha256:") {
        line = format!("{before}sha256:…{}", digest.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    // A table keeps its width: a UUID and the place behind a file's name are replaced by as many letters.
    line = line.replace(&server.uuid, "3e11fa47-71ca-11e1-9e33-c80aa9429562");
    let Some(at) = line.find("binlog.000001:").map(|at| at + "binlog.000001:".len()) else { return line };
    let digits = line[at..].bytes().take_while(u8::is_ascii_digit).count();
    line.replace_range(at..at + digits, &"4711"[..digits.min(4)]);
    line
}

/// What the document shows in other words.
struct Server {
    address: String,
    control: String,
    uuid: String,
}

#[test]
fn the_transcripts_of_the_live_page_are_what_the_program_says() {
    // A server as it is without any option of ours, but for where its data are.
    let mysql = Mysql::start(&["--binlog-row-metadata=MINIMAL"]);
    mysql.sql("SET PERSIST binlog_row_metadata = 'FULL'");
    mysql.sql(&rows([7, 7]));
    mysql.sql("SET PERSIST binlog_row_metadata = 'MINIMAL'; CREATE USER repl@'%'");
    hold("docs/live.md", &mysql);
}

#[test]
fn the_transcripts_of_the_snapshot_page_are_what_the_program_says() {
    let mysql = Mysql::start(&[]);
    mysql.sql(&rows([7, 8]));
    mysql.sql("CREATE USER repl@'%'; GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO repl@'%'");
    hold("docs/snapshot.md", &mysql);
}

/// Runs what a page shows, in its order.
#[track_caller]
fn hold(page: &str, mysql: &Mysql) {
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port");
    let server =
        Server { address: format!("127.0.0.1:{}", mysql.port()), control: free.to_string(), uuid: mysql.uuid() };
    let folder = Folder::new();
    let document = fs::read_to_string(repository().join(page)).expect("read the page");
    let (mut renewed, mut rest) = (String::new(), document.as_str());
    for Shown { command, output } in shown(&document) {
        let said = match command.split_once(' ') {
            Some(("mysql", statement)) => {
                let statement = statement.trim_start_matches("-e ").trim_matches('"');
                mysql.sql(statement);
                String::new()
            }
            Some(("hindsight", arguments)) => {
                let arguments: Vec<&str> = arguments.split(' ').collect();
                let answer = folder.hindsight(&arguments);
                if arguments[0] == "init" {
                    point_at(&folder, &server);
                }
                if answer.exit == Some(0) || !answer.out.is_empty() { answer.out } else { answer.err }
            }
            _ => panic!("{page} shows `{command}`, which is no command of this test"),
        };
        let said: Vec<String> = said.lines().map(|line| masked(line, &server)).collect();
        let block = |lines: &[String]| {
            let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
            format!("$ {command}\n{lines}")
        };
        let was = block(&output);
        let at = rest.find(&was).expect("the blocks come in this order");
        renewed += &rest[..at];
        renewed += &block(&said);
        rest = &rest[at + was.len()..];
    }
    renewed += rest;
    if renewed != document {
        let place = binary().with_file_name(page.trim_start_matches("docs/"));
        fs::write(&place, renewed).expect("leave the renewed page");
        panic!("{page} shows other outputs than the program's; the renewed page is {}", place.display());
    }
}

/// What the reader does in an editor: the server's address, and a port that is free here.
fn point_at(folder: &Folder, server: &Server) {
    let path = folder.path().join("hindsight.toml");
    let text = fs::read_to_string(&path).expect("init wrote it");
    let text = text.replace("repl@127.0.0.1:3306", &format!("repl@{}", server.address));
    fs::write(path, text.replace("127.0.0.1:8787", &server.control)).expect("write the configuration");
}
