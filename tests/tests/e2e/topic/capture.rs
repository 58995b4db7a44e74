//! What the capture half writes when nothing goes wrong, and what it refuses.

use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::kafka;
use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::Change;
use hindsight_tests::say::say;
use hindsight_tests::topic::{PARTITIONS, Topic};

const CAPTURE: [&str; 5] = ["run", "--only", "capture", "--to-end", "--json"];

fn played(seed: u64, changes: usize) -> (Mysql, Vec<Change>) {
    let server = served();
    let load = Load { seed, changes, owners: changes as u64 / 20, ..Load::default() };
    let transactions: Vec<Transaction> = load.transactions().collect();
    play(&server, &transactions);
    let changes = transactions.iter().flat_map(Transaction::changes).collect();
    (server, changes)
}

#[test]
fn the_topic_holds_each_change_once_under_its_entity() {
    let (server, changes) = played(211, 6_000);
    let topic = Topic::on(kafka::shared());
    let section = topic.section();
    let place = Live { topic: &section, batch: 60, ..Live::of(&server) }.place();
    let answer = place.0.hindsight(&CAPTURE);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let messages = topic.assert_holds(&changes, "captured");
    let moves = messages.iter().filter(|message| message.event.moved.as_deref() == Some("leaves")).count();
    let together = messages.windows(2).filter(|pair| pair[0].event.moved.as_deref() == Some("leaves"));
    let together = together.filter(|pair| pair[0].partition == pair[1].partition).count();
    let used =
        (0..PARTITIONS).filter(|partition| messages.iter().any(|message| message.partition == *partition)).count();
    say(&format!(
        "{} changes, {} messages in {used} partitions, {moves} moves, {together} of them within one partition",
        changes.len(),
        messages.len()
    ));
    assert!(moves > 100 && together > 20 && used == PARTITIONS as usize, "the load has what is to be shown");
    assert_eq!(answer.count("changes"), changes.len() as u64);
    assert_eq!(answer.count("events"), messages.len() as u64);
    assert_eq!(answer.count("moves"), moves as u64);
    assert!(!place.database().exists(), "no history is made");

    let checkpoints = topic.checkpoints();
    let last = checkpoints.last().expect("there is a checkpoint");
    assert_eq!((&last["v"], &last["epoch"], &last["key"]), (&1.into(), &1.into(), &"owner_id".into()));
    assert_eq!(last["sent"].as_array().map(Vec::len), Some(PARTITIONS as usize));

    // Nothing is left to do, and nothing is done.
    let answer = place.0.hindsight(&CAPTURE);
    assert_eq!((answer.exit, answer.count("events")), (Some(0), 0), "{}", answer.err);
    assert_eq!(topic.messages().len(), messages.len());
    assert_eq!(topic.checkpoints().len(), checkpoints.len());
}

#[test]
fn the_rows_that_are_there_come_first_also_without_an_index() {
    let (server, _) = played(223, 800);
    let there = server.sql("SELECT id FROM shop.item_assets ORDER BY id");
    let there: Vec<i64> = there.lines().map(|id| id.parse().expect("an id")).collect();
    for index in ["", "ALTER TABLE shop.item_assets ADD INDEX (owner_id)"] {
        if !index.is_empty() {
            server.sql(index);
        }
        let topic = Topic::on(kafka::shared());
        let section = topic.section();
        let place =
            Live { topic: &section, batch: 60, snapshot: "snapshot = \"initial\"", ..Live::of(&server) }.place();
        let answer = place.0.hindsight(&CAPTURE);
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
        let mut ids: Vec<i64> = topic
            .messages()
            .iter()
            .map(|message| {
                assert_eq!(message.event.op, "r");
                message.event.after.as_ref().and_then(|row| row.id).expect("an id")
            })
            .collect();
        ids.sort_unstable();
        assert_eq!(ids, there, "each row once");
        let checkpoints = topic.checkpoints();
        say(&format!("{index:?}: {} rows, {} transactions", ids.len(), checkpoints.len()));
        if index.is_empty() {
            // What is read in one view is there as one, or not at all.
            assert!(checkpoints.len() <= 3, "{} transactions", checkpoints.len());
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    let (server, _) = played(227, 100);
    let client = kafka::shared();
    let refused = |topic: &Topic, more: &str, exit: i32, words: &[&str]| {
        let section = format!("{}{more}", topic.section());
        let place = Live { topic: &section, ..Live::of(&server) }.place();
        let answer = place.0.hindsight(&CAPTURE);
        assert_eq!(answer.exit, Some(exit), "{}", answer.err);
        for word in words {
            assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
        }
        say(&answer.err);
    };
    let topic = Topic::on(client);
    client.create_topic(&topic.name, 2, &["cleanup.policy=compact"]);
    refused(&topic, "", 3, &["cleanup.policy=compact", "kafka-configs.sh", "cleanup.policy=delete"]);

    let topic = Topic::on(client);
    client.create_topic(&topic.side(), 1, &["cleanup.policy=delete"]);
    refused(&topic, "", 3, &[&topic.side(), "cleanup.policy=delete", "cleanup.policy=compact"]);

    let topic = Topic::on(client);
    client.create_topic(&topic.side(), 2, &["cleanup.policy=compact"]);
    refused(&topic, "", 3, &[&topic.side(), "has 2 partitions"]);

    let topic = Topic::on(client);
    refused(
        &topic,
        "[topic.librdkafka]\n\"isolation.level\" = \"read_uncommitted\"\n",
        2,
        &["isolation.level", "remove"],
    );
    refused(&topic, "[topic.librdkafka]\n\"securty.protocol\" = \"ssl\"\n", 2, &["securty.protocol"]);
    refused(&topic, "[topic.librdkafka]\n\"security.protocol\" = \"quick\"\n", 2, &["security.protocol"]);

    let answer = Live::of(&server).place().0.hindsight(&CAPTURE);
    assert_eq!(answer.exit, Some(2), "{}", answer.err);
    assert!(answer.err.contains("--only") && answer.err.contains("has no [topic]"), "{}", answer.err);

    // Nobody is there.
    let nobody = Topic { client: kafka::Client { port: 1 }, name: "nobody".into() };
    refused(&nobody, "", 3, &["127.0.0.1:1", "is the broker there"]);
}

#[test]
fn a_topic_of_another_source_or_key_is_left_alone() {
    let (server, _) = played(229, 100);
    let topic = Topic::on(kafka::shared());
    let section = topic.section();
    let live = Live { topic: &section, ..Live::of(&server) };
    let answer = live.place().0.hindsight(&CAPTURE);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let held = topic.messages().len();
    let place = Live { table: "shop.*", ..live.clone() }.place();
    let answer = place.0.hindsight(&CAPTURE);
    assert_eq!(answer.exit, Some(2), "{}", answer.err);
    assert!(answer.err.contains("mysql shop.item_assets") && answer.err.contains("mysql shop.*"), "{}", answer.err);

    // The same source by another entity.
    server.sql("INSERT INTO shop.item_assets VALUES (900001, 1, 'one more', '2025-01-01')");
    let place = live.place();
    let text = std::fs::read_to_string(place.0.path().join("hindsight.toml")).expect("read the configuration");
    place.0.write(
        "hindsight.toml",
        text.replace("limits =", "settings = { id = \"owner_id\", owner = \"id\" }\nlimits ="),
    );
    let answer = place.0.hindsight(&CAPTURE);
    assert_eq!(answer.exit, Some(2), "{}", answer.err);
    assert!(answer.err.contains("`owner_id`") && answer.err.contains("`id`"), "{}", answer.err);
    assert_eq!(topic.messages().len(), held, "nothing was written");
}

#[test]
fn a_second_process_is_refused_and_the_first_one_goes_on() {
    let server = served();
    let load = Load { seed: 211, changes: 900, owners: 60, ..Load::default() };
    let transactions: Vec<Transaction> = load.transactions().collect();
    let changes: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    let (first, rest) = transactions.split_at(transactions.len() / 2);
    let topic = Topic::on(kafka::shared());
    let section = topic.section();
    let place = Live { topic: &section, ..Live::of(&server) }.place();
    play(&server, first);
    let mut running = place.start(&["run", "--only", "capture", "--json"], |_| {});
    topic.wait_until_all_is_captured(&server, &mut running);
    let answer = place.0.hindsight(&["run", "--only", "capture", "--json"]);
    assert_eq!(answer.exit, Some(3), "{}", answer.err);
    assert!(answer.err.contains("runs already"), "{}", answer.err);
    play(&server, rest);
    topic.wait_until_all_is_captured(&server, &mut running);
    let answer = running.stop();
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    topic.assert_holds(&changes, "with a second process that was refused");
}
