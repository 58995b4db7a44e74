//! A server that forgets labels at once, and what becomes of a load that nobody can tell of any more.

use std::time::Duration;

use hindsight_tests::generator::{play, served};
use hindsight_tests::kafka;
use hindsight_tests::pipeline::Rule;
use hindsight_tests::say::say;
use hindsight_tests::starrocks::{Cluster, offsets};
use hindsight_tests::topic::Topic;
use serde_json::Value;
use starrocks_stand_in::{Action, Settings};

use super::kills::POINTS;
use super::{is_long, list, load, member, place, place_with, run, start};

/// Lanes, of which each load has the others' labels forgotten.
const LANES: u32 = 4;

fn forgetful() -> Cluster {
    Cluster::with(Settings { label_keep_max_num: 5, transaction_clean_interval_ms: 20, ..Settings::default() })
}

fn section(topic: &Topic) -> String {
    member(topic).replace("partitions = 3", &format!("partitions = {LANES}"))
}

#[test]
fn labels_that_are_forgotten_at_once_lose_and_double_nothing() {
    let (server, cluster, topic) = (served(), forgetful(), Topic::on(kafka::shared()));
    let transactions = load(733, if is_long() { 60_000 } else { 8_000 });
    play(&server, &transactions);
    // By the rule's word that a second time changes nothing, and by the table's own word.
    let ways = [(Rule::ByOwner, ""), (Rule::ByOwner, "sequence-column = \"written_by\"\n"), (Rule::CountChanges, "")];
    let places = ways.map(|(rule, more)| place(&cluster, &server, &section(&topic), rule, more));
    run(&places[0].0, "capture");
    std::thread::scope(|scope| {
        for (place, _) in &places {
            scope.spawn(|| {
                for (number, point) in POINTS.into_iter().chain(POINTS).enumerate() {
                    let point = format!("{point}:{}", 1 + number % 5);
                    let answer = start(place, "apply", Some(&point)).end();
                    assert_eq!(answer.exit, None, "it falls at {point}: {}", answer.err);
                }
                run(place, "apply");
            });
        }
    });
    for ((_, table), (rule, more)) in places.iter().zip(ways) {
        cluster.assert_is(table, rule, &list(&transactions), &format!("{rule:?} {more}"));
    }
    let n_labels = cluster.assert_each_label_sent_once();
    let known = cluster
        .stand
        .labels()
        .iter()
        .filter(|(database, label, _)| cluster.stand.transaction(database, label).is_some())
        .count();
    say(&format!("{n_labels} labels, {known} of them known in the end"));
    // Those that nobody has ended are not forgotten.
    assert!(known * 5 < n_labels, "labels were forgotten");
}

#[test]
fn a_rule_that_is_not_replay_safe_asks_for_labels_that_last() {
    let (server, cluster, topic) = (served(), forgetful(), Topic::on(kafka::shared()));
    play(&server, &load(739, 200));
    let (place, _) = place_with(&cluster, &server, &section(&topic), Rule::CountChanges, "");
    run(&place, "capture");
    let answer = place.0.hindsight(&["run", "--only", "apply", "--to-end"]);
    assert_eq!(answer.exit, Some(3), "{}", answer.err);
    for words in ["remembers 5 loads", "label_keep_max_num", "ADMIN SET FRONTEND CONFIG", "sink.sequence-column"] {
        assert!(answer.err.contains(words), "{}", answer.err);
    }
    assert_eq!(cluster.assert_each_label_sent_once(), 0, "nothing was loaded");
}

/// Labels that are forgotten though they should have lasted: the batch is in the table, or it is not, and only somebody who looks
/// can tell.
#[test]
fn what_cannot_be_told_is_asked_and_answered_by_a_rewind() {
    let (server, cluster, topic) = (served(), Cluster::start(), Topic::on(kafka::shared()));
    let transactions = load(743, 3_000);
    let (first, second) = transactions.split_at(transactions.len() / 2);
    let (place, table) = place_with(&cluster, &server, &member(&topic), Rule::CountChanges, "");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // It is in the table where its load was committed, and is not where it was lost with its leader.
    for (point, is_applied, part) in [("starrocks.committed:5", true, first), ("starrocks.intended:5", false, second)] {
        play(&server, part);
        run(&place, "capture");
        let answer = start(&place, "apply", Some(point)).end();
        assert_eq!(answer.exit, None, "it falls at {point}: {}", answer.err);
        if !is_applied {
            runtime.block_on(cluster.stand.act(Action::SwitchLeader { to: None })).expect("another leader");
        }
        let marks = topic.client.group_offsets(&table.pipeline, &topic.name, 3);
        let mut pending = Vec::new();
        for (partition, (_, text)) in &marks {
            let mark: Value = serde_json::from_str(text).expect("a mark");
            if mark["load"].is_null() {
                continue;
            }
            pending.push((*partition, mark.clone()));
            for label in [&mark["prev"], &mark["load"]["label"]] {
                let Some(label) = label.as_str() else { continue };
                let (database, label) = ("history".into(), label.to_owned());
                // One that is committed becomes visible first.
                std::thread::sleep(Duration::from_millis(50));
                let forgotten =
                    runtime.block_on(cluster.stand.act(Action::ForgetLabel { database, label: label.clone() }));
                say(&format!("partition {partition}: {label} is forgotten ({})", forgotten.is_ok()));
            }
        }
        assert!(!pending.is_empty(), "a load was under way: {marks:?}");
        let mut n_asked = 0;
        // Each lane asks by itself.
        loop {
            let answer = place.0.hindsight(&["run", "--only", "apply", "--to-end", "--json"]);
            if answer.exit == Some(0) {
                break;
            }
            assert_eq!(answer.exit, Some(1), "{}", answer.err);
            assert!(answer.err.contains("has forgotten what became of the last load"), "{}", answer.err);
            assert!(answer.err.contains("hindsight rewind --to"), "{}", answer.err);
            let asks =
                |(partition, _): &&(u32, Value)| answer.err.contains(&format!("lane {}/{partition}:", table.pipeline));
            let (partition, mark) = pending.iter().find(asks).expect("one of those that were under way");
            // What somebody would find in the table.
            let was_applied = was_visible(&cluster, mark);
            let to = if was_applied { &mark["load"]["to"] } else { &mark["at"] };
            let offset = to
                .as_str()
                .map_or("0", |to| to.split("offset=").nth(1).and_then(|rest| rest.split(' ').next()).unwrap());
            let to = format!("{partition}={offset}");
            let moved = place.0.hindsight(&["rewind", "--to", &to, "--accept"]);
            assert_eq!(moved.exit, Some(0), "{}", moved.err);
            n_asked += 1;
            assert!(n_asked <= pending.len(), "a lane asks once");
        }
        say(&format!("{point}: {n_asked} lanes asked, {} loads were under way", pending.len()));
        assert!(n_asked > 0, "nobody asked");
    }
    cluster.assert_is(&table, Rule::CountChanges, &list(&transactions), "after what was asked");
    cluster.assert_each_label_sent_once();
    assert_eq!(offsets(&topic.client, &table.pipeline, &topic.name).len(), 3);
}

/// By the stand-in's own log.
fn was_visible(cluster: &Cluster, mark: &Value) -> bool {
    let label = mark["load"]["label"].as_str().expect("a label");
    cluster.stand.labels().iter().any(|(_, known, counts)| known == label && counts.visible == 1)
}
