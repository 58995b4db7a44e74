//! Tables that change their shape while they are followed, and while nobody looks.

use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::Rule;
use hindsight_tests::steps::Steps;

fn server() -> Mysql {
    let server = Mysql::start(&[]);
    server.add_reader();
    server
}

fn renew(server: &Mysql) {
    server.sql(&format!("DROP DATABASE IF EXISTS shop; RESET BINARY LOGS AND GTIDS; {}", Steps::SCHEMA));
}

#[test]
fn an_alter_table_that_keeps_what_the_rule_needs_goes_on_while_running_and_while_down() {
    let server = server();
    renew(&server);
    let alters = [
        "ADD COLUMN grade SMALLINT UNSIGNED NOT NULL DEFAULT 3 FIRST",
        "ADD COLUMN note TEXT",
        "RENAME COLUMN note TO remark",
        "MODIFY COLUMN grade BIGINT NOT NULL DEFAULT 3 AFTER owner_id",
        "DROP COLUMN grade, ADD COLUMN kind ENUM('a', 'b') DEFAULT 'b' FIRST",
    ];
    let rules = [Rule::ByOwner, Rule::CountChanges];
    let places = rules.map(|rule| Live { rule, ..Live::of(&server) }.place());
    let mut steps = Steps::default();
    server.sql(&steps.mixed(1, 10));
    for down in [false, true] {
        for (n, alter) in alters.iter().enumerate() {
            let mut running = (!down).then(|| places.each_ref().map(|place| place.follow()));
            if let Some(running) = &mut running {
                for (place, process) in places.iter().zip(running) {
                    place.wait_until_all_is_done(&server, process);
                }
            }
            server.sql(&format!("ALTER TABLE shop.item_assets {alter}"));
            server.sql(&steps.mixed(1_000 * (n as i64 + 1) + 10_000 * i64::from(down), 10));
            let running = running.unwrap_or_else(|| places.each_ref().map(|place| place.follow()));
            for ((place, mut process), rule) in places.iter().zip(running).zip(rules) {
                place.wait_until_all_is_done(&server, &mut process);
                process.stop();
                place.assert_is(rule, &steps.changes, &format!("{rule:?} after {alter}, down: {down}"));
            }
        }
        server.sql("ALTER TABLE shop.item_assets DROP COLUMN kind, DROP COLUMN remark");
    }
}

#[test]
fn an_alter_table_that_the_rule_cannot_take_stops_with_the_old_and_the_new_shape() {
    let server = server();
    // What the rule asks for, what is done to it, a change after it, and what must be said.
    for (alter, change, words) in [
        (
            "DROP COLUMN owner_id",
            "INSERT INTO shop.item_assets VALUES (900, 'x', '2025-06-01')",
            ["owner_id", "owner_id int", "(id int, asset_info varchar(255), registered_at datetime)"],
        ),
        (
            "RENAME COLUMN owner_id TO holder_id",
            "INSERT INTO shop.item_assets VALUES (900, 1, 'x', '2025-06-01')",
            ["owner_id", "owner_id int", "holder_id int"],
        ),
        (
            "MODIFY COLUMN asset_info BIGINT",
            "INSERT INTO shop.item_assets VALUES (900, 1, 5, '2025-06-01')",
            ["asset_info", "asset_info varchar(255)", "asset_info bigint"],
        ),
        (
            "MODIFY COLUMN id BIGINT UNSIGNED",
            "INSERT INTO shop.item_assets VALUES (900, 1, 'x', '2025-06-01')",
            ["shop.item_assets", "id int", "id bigint unsigned"],
        ),
    ] {
        for down in [false, true] {
            if down && alter.contains("id BIGINT") {
                // To a start SQLite's table is the same: it holds every integer.
                continue;
            }
            renew(&server);
            let place = Live::of(&server).place();
            let mut steps = Steps::default();
            server.sql(&steps.insert(1, 7, "asset 1"));
            server.sql(&steps.update(1, 7, "asset 1 mended"));
            // No row is left, so that the server converts none.
            server.sql(&steps.delete(1));
            let mut running = place.follow();
            place.wait_until_all_is_done(&server, &mut running);
            let running = if down { running.stop().exit.and(None) } else { Some(running) };
            server.sql(&format!("ALTER TABLE shop.item_assets {alter}; {change};"));
            let answer = running.unwrap_or_else(|| place.follow()).end();
            // What a start finds is wrong before its first batch: the component, or the table, does not fit.
            let exits: &[i32] = if down { &[2, 3] } else { &[1] };
            let exit = answer.exit.expect("no signal ended it");
            assert!(exits.contains(&exit), "{alter}, down: {down}: {exit} {}", answer.err);
            for word in words.iter().chain(&["schema changed", "Was: ", "Is: "]) {
                assert!(answer.err.contains(word), "{alter}, down: {down}: {word:?} is not in: {}", answer.err);
            }
            place.assert_is(Rule::ByOwner, &steps.changes, &format!("what came before {alter}"));
        }
    }
}

#[test]
fn a_table_that_is_emptied_or_dropped_stops_with_its_name() {
    let server = server();
    for (sql, shown) in [
        ("TRUNCATE TABLE shop.item_assets", "TRUNCATE TABLE shop.item_assets"),
        ("DROP TABLE shop.item_assets", "DROP TABLE"),
        ("DROP DATABASE shop", "DROP DATABASE shop"),
    ] {
        renew(&server);
        let place = Live::of(&server).place();
        let mut steps = Steps::default();
        let mut running = place.follow();
        server.sql(&steps.mixed(1, 10));
        place.wait_until_all_is_done(&server, &mut running);
        server.sql(sql);
        let answer = running.end();
        assert_eq!(answer.exit, Some(1), "{sql}: {}", answer.err);
        for word in ["shop.", shown, "new history", "binlog.0000"] {
            assert!(answer.err.contains(word), "{sql}: {word:?} is not in: {}", answer.err);
        }
        // A second start does not pass it either.
        assert_eq!(place.follow().end().exit, Some(1), "{sql}");
        place.assert_is(Rule::ByOwner, &steps.changes, &format!("what came before {sql}"));
    }
}
