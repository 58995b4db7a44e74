//! Entity keys of every kind of order, read in chunks of one and of three rows while others write: each change is there once,
//! whichever side of a chunk's watermark and whichever chunk it falls into.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hindsight_rule::native::Plan;
use hindsight_tests::forged::{Configure, Forged, plan};
use hindsight_tests::live::Live;
use hindsight_tests::mysql::{Client, Mysql};
use hindsight_tests::pipeline::Place;
use hindsight_tests::say::say;
use serde_json::Value;

use super::replay::{Replay, assert_rows, place, selected, wait_until_captured};

/// Rows of each table before anything is read.
const ROWS: u64 = 40;

/// So that reading them takes a second or two, and the writers meet every chunk.
const SNAPSHOT: &str = "snapshot = \"initial\"\nsnapshot-rows-per-second = 30\nsnapshot-chunk-rows = ";

/// A table whose `owner` is of one type, with the values that it gets.
struct Kind {
    name: &'static str,
    /// Of `owner`.
    declared: &'static str,
    values: &'static [&'static str],
    /// How the server says `owner` as events do.
    said: &'static str,
}

const TEXTS: &[&str] = &[
    "''", "' '", "'a'", "'A'", "'á'", "'a '", "'a  '", "'ae'", "'æ'", "'Ä'", "'b'", "'B '", "'ß'", "'ss'", "'z'",
    "'~'", "'a\\t'", "'a\\0'",
];

const KINDS: &[Kind] = &[
    Kind { name: "ai_ci", declared: "VARCHAR(20) COLLATE utf8mb4_0900_ai_ci", values: TEXTS, said: "owner" },
    Kind { name: "general_ci", declared: "VARCHAR(20) COLLATE utf8mb4_general_ci", values: TEXTS, said: "owner" },
    // Under which ß is ss, and a control character nothing.
    Kind { name: "unicode_ci", declared: "VARCHAR(20) COLLATE utf8mb4_unicode_ci", values: TEXTS, said: "owner" },
    Kind { name: "bin", declared: "VARCHAR(20) COLLATE utf8mb4_bin", values: TEXTS, said: "owner" },
    Kind { name: "latin1", declared: "VARCHAR(20) CHARACTER SET latin1", values: TEXTS, said: "owner" },
    Kind {
        name: "german",
        declared: "CHAR(8) CHARACTER SET latin1 COLLATE latin1_german2_ci",
        values: TEXTS,
        said: "owner",
    },
    Kind {
        name: "bytes",
        declared: "VARBINARY(20)",
        values: &[
            "X''", "X'00'", "X'0000'", "X'20'", "X'61'", "X'6100'", "X'6120'", "X'7F'", "X'80'", "X'FF'", "X'FFFF'",
        ],
        said: "TO_BASE64(owner)",
    },
    Kind {
        name: "unsigned",
        declared: "BIGINT UNSIGNED",
        values: &[
            "0",
            "1",
            "9223372036854775807",
            "9223372036854775808",
            "9223372036854775809",
            "18446744073709551615",
        ],
        said: "owner",
    },
    Kind {
        name: "signed",
        declared: "SMALLINT",
        values: &["-32768", "-2", "-1", "0", "1", "2", "32767"],
        said: "owner",
    },
];

/// Random numbers that need not be good.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn of<'a>(&mut self, values: &[&'a str]) -> &'a str {
        values[self.below(values.len() as u64) as usize]
    }
}

/// What is written to a table by one writer: `owner` of these values, ids of its own.
#[derive(Clone, Copy)]
struct Written<'a> {
    table: &'a str,
    /// Columns of the entity key, with the values of each.
    owner: &'a [(&'a str, &'a [&'a str])],
}

impl Written<'_> {
    fn insert(&self, dice: &mut Dice, id: u64) -> String {
        let names: String = self.owner.iter().map(|(name, _)| format!(", {name}")).collect();
        let values: String = self.owner.iter().map(|(_, values)| format!(", {}", dice.of(values))).collect();
        format!(
            "INSERT IGNORE INTO {} (id, registered_at, n{names}) VALUES ({id}, '2025-01-01', 0{values});\n",
            self.table
        )
    }

    /// Any change of any of some rows.
    fn change(&self, dice: &mut Dice, id: u64) -> String {
        match dice.below(6) {
            0 => self.insert(dice, id),
            1 => format!("DELETE FROM {} WHERE id = {id};\n", self.table),
            2 => format!("UPDATE {} SET n = n + 1 WHERE id = {id};\n", self.table),
            3 => format!("UPDATE IGNORE {} SET id = {id} + 1 WHERE id = {id};\n", self.table),
            _ => {
                let (name, values) = self.owner[dice.below(self.owner.len() as u64) as usize];
                format!("UPDATE {} SET {name} = {}, n = n + 1 WHERE id = {id};\n", self.table, dice.of(values))
            }
        }
    }
}

/// Two writers, each of which changes every table in turn until `stop` is set.
fn write(client: Client, seed: u64, tables: &[Written<'_>], stop: &AtomicBool) {
    let mut dice = Dice(seed * 7919 + 1);
    let written = client.feed(|out| {
        writeln!(out, "SET NAMES utf8mb4;")?;
        while !stop.load(Ordering::Relaxed) {
            let mut round = String::new();
            for table in tables {
                // Rows are each writer's own, so that none waits for the other's lock.
                let id = 2 * dice.below(ROWS) + seed;
                round += &table.change(&mut dice, id);
            }
            out.write_all(round.as_bytes())?;
            out.flush()?;
            // More would only keep the readers from the machine.
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    });
    written.unwrap_or_else(|error| panic!("a writer: {error}"));
}

/// Fills the tables, captures them at once while they are written to, and gives the places when all is captured.
fn captured(server: &Mysql, tables: &[Written<'_>], places: &[Place]) {
    let mut dice = Dice(42);
    let mut fill = String::from("SET NAMES utf8mb4;\n");
    for table in tables {
        (0..ROWS).for_each(|n| fill += &table.insert(&mut dice, 2 * n + n % 2));
    }
    server.sql(&fill);
    let stop = AtomicBool::new(false);
    let mut running: Vec<_> = thread::scope(|scope| {
        for seed in 0..2 {
            let (client, stop) = (server.client(), &stop);
            scope.spawn(move || write(client, seed, tables, stop));
        }
        let mut running: Vec<_> = places.iter().map(Place::capture).collect();
        for process in &mut running {
            process.wait_for_log(&["all rows that were there are read"]);
        }
        stop.store(true, Ordering::Relaxed);
        running
    });
    for (place, process) in places.iter().zip(&mut running) {
        wait_until_captured(place, server, process);
    }
    running.into_iter().for_each(|process| _ = process.stop());
}

/// What the rows of these tables are as JSON.
fn object(said: &str) -> String {
    format!("'id', id, {said}, 'registered_at', UNIX_TIMESTAMP(registered_at) * 1000, 'n', n")
}

#[test]
fn an_entity_key_of_any_type_and_collation_is_cut_as_the_server_orders_it() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql("CREATE DATABASE shop CHARACTER SET utf8mb4");
    for Kind { name, declared, .. } in KINDS {
        server.sql(&format!(
            "CREATE TABLE shop.{name} (id INT PRIMARY KEY, owner {declared} NOT NULL, registered_at DATETIME NOT NULL, n INT NOT NULL, KEY (owner))"
        ));
    }
    let tables: Vec<String> = KINDS.iter().map(|kind| format!("shop.{}", kind.name)).collect();
    let owners: Vec<_> = KINDS.iter().map(|kind| [("owner", kind.values)]).collect();
    let written: Vec<_> = tables.iter().zip(&owners).map(|(table, owner)| Written { table, owner }).collect();
    for chunk_rows in [1, 3] {
        let snapshot = format!("{SNAPSHOT}{chunk_rows}");
        let of = |table: &String| {
            let live = Live { table, snapshot: &snapshot, ..Live::of(&server) };
            place(&live, "owner = \"owner\", columns = \"n\"")
        };
        let places: Vec<Place> = tables.iter().map(of).collect();
        captured(&server, &written, &places);
        for (kind, place) in KINDS.iter().zip(&places) {
            let what = format!("{} in chunks of {chunk_rows}", kind.declared);
            let captured = place.captured();
            let replay = Replay::of(&captured, &["owner"], &["id"]);
            let wanted = selected(&server, &format!("shop.{}", kind.name), &object(&format!("'owner', {}", kind.said)));
            say(&format!(
                "{what}: {} rows read, {} events behind them, {} rows",
                replay.reads,
                replay.changes,
                wanted.len()
            ));
            assert_rows(&replay.rows(kind.name), &wanted, &what);
            assert!(replay.reads > 10 && replay.changes > 10, "too little was written meanwhile");
            assert!(captured.checkpoints.len() > 4, "there were chunks");
        }
    }
}

/// A rule whose entity are a region and an owner, of which neither alone is one.
fn by_region_and_owner() -> Vec<u8> {
    let mut of: Plan = plan();
    let [region, owner] = [5, 0];
    of.history[region].field.nullable = false;
    // Columns of the table: id, region, owner, registered_at, n.
    of.tables[0].entity_key = vec![1, 2];
    of.tables[0].after = vec![0, 1, 2, 3];
    of.roles.entity_key = vec![region as u32, owner as u32];
    of.primary_key = vec![region as u32, owner as u32, 1, 2];
    of.revise.retain(|&column| column != region as u32);
    Forged { configure: Configure::Plan(Box::new(of)), ..Forged::new() }.component()
}

#[test]
fn a_key_of_several_columns_is_cut_by_all_of_them_in_the_order_of_its_index() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql("CREATE DATABASE shop CHARACTER SET utf8mb4");
    let keys = [("in_order", "region, owner"), ("turned", "owner, region, n")];
    for (name, key) in keys {
        server.sql(&format!(
            "CREATE TABLE shop.{name} (id INT PRIMARY KEY, region VARCHAR(9) COLLATE utf8mb4_0900_ai_ci NOT NULL, owner INT NOT NULL,
             registered_at DATETIME NOT NULL, n INT NOT NULL, KEY ({key}))"
        ));
    }
    let tables = keys.map(|(name, _)| format!("shop.{name}"));
    let owner: &[(&str, &[&str])] = &[("region", &["''", "'eu'", "'EU'", "'us'"]), ("owner", &["-1", "0", "1", "2"])];
    let written: Vec<_> = tables.iter().map(|table| Written { table, owner }).collect();
    let component = by_region_and_owner();
    let places = tables.each_ref().map(|table| {
        let snapshot = format!("{SNAPSHOT}2");
        let place = Live { table, snapshot: &snapshot, ..Live::of(&server) }.place();
        let configured = std::fs::read_to_string(place.0.path().join("hindsight.toml")).expect("it was written");
        place.0.write("hindsight.toml", configured.replace("\"builtin:scd2-by-owner\"", "\"rule.wasm\""));
        place.0.write("rule.wasm", &component);
        place
    });
    captured(&server, &written, &places);
    for ((name, key), place) in keys.iter().zip(&places) {
        let replay = Replay::of(&place.captured(), &["region", "owner"], &["id"]);
        let wanted = selected(&server, &format!("shop.{name}"), &object("'region', region, 'owner', owner"));
        say(&format!("({key}): {} rows read, {} events behind them", replay.reads, replay.changes));
        assert_rows(&replay.rows(name), &wanted, key);
        assert!(place.captured().checkpoints.len() > 4, "there were chunks");
    }
}

#[test]
fn keys_other_than_the_primary_one_and_several_tables_are_read_under_writes() {
    let server = Mysql::start(&["--sql-generate-invisible-primary-key=ON"]);
    server.add_reader();
    let columns = "registered_at DATETIME NOT NULL, n INT NOT NULL, owner INT NOT NULL, KEY (owner)";
    server.sql(&format!(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop;
         CREATE TABLE keyed (id INT NOT NULL, {columns});
         SET sql_generate_invisible_primary_key = OFF;
         CREATE TABLE unique_only (id INT NOT NULL, other INT UNIQUE, {columns}, UNIQUE (id));
         CREATE TABLE shard_a (id VARCHAR(9) COLLATE utf8mb4_general_ci PRIMARY KEY, {columns});
         CREATE TABLE shard_b (id VARCHAR(9) COLLATE utf8mb4_general_ci PRIMARY KEY, {columns});
         CREATE TABLE shard_c (id VARCHAR(9) COLLATE utf8mb4_general_ci PRIMARY KEY, {columns});"
    ));
    let owner: &[(&str, &[&str])] = &[("owner", &["1", "2", "3", "4", "5", "6", "7"])];
    let names = ["keyed", "unique_only", "shard_a", "shard_b"];
    let tables = names.map(|name| format!("shop.{name}"));
    let written: Vec<_> = tables.iter().map(|table| Written { table, owner }).collect();
    let snapshot = format!("{SNAPSHOT}3");
    let patterns = ["shop.keyed", "shop.unique_only", "shop.shard_*"];
    let places = patterns.map(|table| {
        let live = Live { table, snapshot: &snapshot, ..Live::of(&server) };
        place(&live, "owner = \"owner\", columns = \"n\"")
    });
    captured(&server, &written, &places);
    let more = ["my_row_id", "other"].map(|name| format!("'owner', owner, '{name}', {name}"));
    let plain = "'owner', owner".to_owned();
    let cases = [
        (0, "keyed", &["my_row_id"][..], &more[0]),
        (1, "unique_only", &["id"], &more[1]),
        (2, "shard_a", &["id"], &plain),
        (2, "shard_b", &["id"], &plain),
        // It is empty.
        (2, "shard_c", &["id"], &plain),
    ];
    for (at, name, key, said) in cases {
        let replay = Replay::of(&places[at].captured(), &["owner"], key);
        let wanted = selected(&server, &format!("shop.{name}"), &object(said));
        say(&format!("{name}: {} rows read, {} events behind them", replay.reads, replay.changes));
        assert_rows(&replay.rows(name), &wanted, name);
        assert_eq!(wanted.is_empty(), name == "shard_c");
    }
}

#[test]
fn rows_without_an_owner_are_read_with_the_others_and_belong_to_nobody() {
    let server = Mysql::start(&[]);
    server.add_reader();
    let row = |id: i64| {
        let owner = if id % 3 == 0 { "NULL".to_owned() } else { (id % 4).to_string() };
        format!("({id}, {owner}, '2025-01-01', 0)")
    };
    let rows = (1..=9).map(row).collect::<Vec<_>>().join(", ");
    server.sql(&format!(
        "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, owner INT, registered_at DATETIME NOT NULL, n INT NOT NULL, KEY (owner));
         INSERT INTO shop.t VALUES {rows}"
    ));
    let live =
        Live { table: "shop.t", snapshot: "snapshot = \"initial\"\nsnapshot-chunk-rows = 2", ..Live::of(&server) };
    let place = place(&live, "owner = \"owner\", columns = \"n\"");
    assert_eq!(place.capture_to_end().count("events"), 9);
    let captured = place.captured();
    let keyless = captured.events.iter().filter(|(event, _)| event["key"].is_null()).count();
    assert_eq!(keyless, 3);
    let replay = Replay::of(&captured, &["owner"], &["id"]);
    assert_rows(&replay.rows("t"), &selected(&server, "shop.t", &object("'owner', owner")), "all rows");
    // A rule cannot place them: they are set aside, and nobody waits for them.
    let answer = place.run_to_end();
    assert_eq!(answer.count("dead_letters"), 3);
    let list = place.0.hindsight(&["dead-letters", "list", "--json"]).json();
    for letter in list.as_array().expect("a list") {
        assert_eq!(
            (&letter["entity"], &letter["cause"], &letter["op"]),
            (&Value::Null, &"no-entity".into(), &"r".into())
        );
        assert!(letter["place"].as_str().is_some_and(|place| place.contains("snapshot of shop.t")), "{letter}");
    }
    // Or it stops by name, as it does in the log.
    let stopping = self::place(&live, "owner = \"owner\", columns = \"n\"");
    let file = stopping.0.path().join("hindsight.toml");
    let text = std::fs::read_to_string(&file).expect("read the configuration");
    std::fs::write(&file, text.replace("[rule]", "[rule]\non-reject = \"stop\"")).expect("write the configuration");
    let answer = stopping.run_to_end();
    assert_eq!(answer.exit, Some(1), "{}", answer.err);
    for word in ["snapshot of shop.t", "owner"] {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
}
