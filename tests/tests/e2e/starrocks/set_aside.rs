//! Rows that StarRocks does not take: their changes are set aside, everything else is in the table, and a replay brings them in.

use hindsight_tests::generator::{play, served};
use hindsight_tests::kafka;
use hindsight_tests::say::say;
use hindsight_tests::starrocks::Cluster;
use hindsight_tests::topic::Topic;
use starrocks_stand_in::{Fault, Rule as FaultRule};

use super::{RULES, list, load, member, place, run, start};

/// A batch of 60 is halved so often until one message is left.
const HALVINGS: u64 = 6;

#[test]
fn what_the_server_rejects_is_found_set_aside_and_replayed() {
    let (server, cluster, topic) = (served(), Cluster::start(), Topic::on(kafka::shared()));
    let transactions = load(751, 6_000);
    play(&server, &transactions);
    // One lane, so that it is known whose load is refused.
    let section = member(&topic).replace("partitions = 3", "partitions = 1");
    let places = RULES.map(|rule| place(&cluster, &server, &section, rule, ""));
    run(&places[0].0, "capture");
    for ((place, table), rule) in places.iter().zip(RULES) {
        // Rows are not refused for themselves here: whatever is loaded next is, until it is one message.
        let refuse = |times| {
            cluster.stand.clear_faults(None);
            let message = Some("too many filtered rows".into());
            let refuses = FaultRule::new("be.load", Fault::RefuseBeforeBody { message }).times(times);
            cluster.stand.fault(refuses).expect("the rule");
        };
        // It falls where a half was loaded, where the letter is loaded, and behind it; each time it is found again.
        // Between two halves; and once it is known which message it is, that one is the batch that comes again.
        for (point, times) in [
            ("pipeline.part:1", 1),
            ("starrocks.letters-load:1", HALVINGS),
            ("starrocks.letters:1", 1),
            ("pipeline.part:1", 1),
        ] {
            refuse(times);
            let answer = start(place, "apply", Some(point)).end();
            assert_eq!(answer.exit, None, "{rule:?} falls at {point}: {}", answer.err);
            say(&format!("{rule:?} {point}: {} letters", cluster.n_dead_letters()));
        }
        refuse(1);
        run(place, "apply");
        let listed = place.0.hindsight(&["dead-letters", "list", "--json"]);
        assert_eq!(listed.exit, Some(0), "{}", listed.err);
        let chains = listed.json();
        let chains = chains.as_array().expect("a list");
        say(&format!("{rule:?}: {} chains, {} letters", chains.len(), cluster.n_dead_letters()));
        assert_eq!(chains.len(), 1, "one message was at fault: {}", listed.out);
        for chain in chains {
            let reason = chain["reason"].as_str().expect("a reason");
            assert!(reason.contains("too many filtered rows") || chain["cause"] == "follows", "{chain}");
        }
        let shown = place.0.hindsight(&["dead-letters", "show"]);
        assert_eq!(shown.exit, Some(0), "{}", shown.err);
        for point in ["letter-box.marked:1", "letter-box.written:1"] {
            let mut command = place.0.command(&["dead-letters", "replay"]);
            let fell = command.env("HINDSIGHT_TEST_CRASH", point).output().expect("run hindsight");
            assert!(fell.status.code().is_none(), "it falls at {point}");
        }
        let replayed = place.0.hindsight(&["dead-letters", "replay", "--json"]);
        assert_eq!(replayed.exit, Some(0), "{}", replayed.err);
        assert_eq!(cluster.n_dead_letters(), 0, "all of them are decided");
        cluster.assert_is(table, rule, &list(&transactions), &format!("{rule:?} after a replay"));
        cluster.stand.clear_faults(None);
    }
    cluster.assert_each_label_sent_once();
}

/// StarRocks counts bytes: a text that does not fit is told before it is sent, with its column, and sets aside its own change.
#[test]
fn a_text_that_does_not_fit_its_column_is_set_aside_by_name() {
    let (server, cluster, topic) = (served(), Cluster::start(), Topic::on(kafka::shared()));
    let [rule, _] = RULES;
    let (place, table) = super::place_narrow(&cluster, &server, &member(&topic), rule, 40);
    // In the middle of an entity's life, and beside others.
    server.sql(
        "INSERT INTO shop.item_assets VALUES (1, 7, 'short', '2025-01-01 00:00:00'), (2, 8, 'other', '2025-01-01 00:00:00'); \
         UPDATE shop.item_assets SET asset_info = REPEAT('ä', 21), registered_at = '2025-01-02 00:00:00' WHERE id = 1; \
         UPDATE shop.item_assets SET asset_info = 'later', registered_at = '2025-01-03 00:00:00' WHERE id = 1; \
         UPDATE shop.item_assets SET asset_info = 'another', registered_at = '2025-01-04 00:00:00' WHERE id = 2;",
    );
    run(&place, "capture");
    run(&place, "apply");
    let listed = place.0.hindsight(&["dead-letters", "show", "--json"]);
    let letters: Vec<serde_json::Value> =
        listed.out.lines().map(|line| serde_json::from_str(line).expect("a letter")).collect();
    assert_eq!(letters.len(), 2, "the change and the one behind it: {}", listed.out);
    let reason = letters[0]["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("column asset_info") && reason.contains("42 bytes") && reason.contains("VARCHAR(40)"),
        "{reason}"
    );
    assert_eq!((letters[0]["cause"].as_str(), letters[1]["cause"].as_str()), (Some("failed"), Some("follows")));
    let dropped = place.0.hindsight(&["dead-letters", "drop", "--key", "7", "--json"]);
    assert_eq!(dropped.json()["dropped"], 2, "{}", dropped.err);
    let found = cluster.history(&table);
    let shown: Vec<String> = found
        .iter()
        .map(|(key, row)| format!("{} {} {}", key.owner_id, row.info.as_deref().unwrap_or(""), row.is_current))
        .collect();
    assert_eq!(
        shown,
        ["7 short true", "8 other false", "8 another true"],
        "what came before it stands, and everything else"
    );
}
