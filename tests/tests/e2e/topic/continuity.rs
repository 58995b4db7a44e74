//! The side topic lost, cut, older, or behind somebody's open transaction; the change topic cut, grown, written by others:
//! the capture half stops by name, or goes on where that is proven to be right.

use hindsight_tests::generator::{Load, Transaction, play, served};
use hindsight_tests::kafka::{self, Broker};
use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::Change;
use hindsight_tests::pipeline::Place;
use hindsight_tests::program::Answer;
use hindsight_tests::say::say;
use hindsight_tests::topic::{PARTITIONS, Topic};

struct Scene {
    server: Mysql,
    topic: Topic,
    place: Place,
    written: Vec<Change>,
    later: Vec<Transaction>,
}

impl Scene {
    /// Half of a load is in the topic, half is still to be written.
    fn new(seed: u64) -> Self {
        let server = served();
        let mut transactions: Vec<Transaction> =
            Load { seed, changes: 400, owners: 20, ..Load::default() }.transactions().collect();
        let later = transactions.split_off(transactions.len() / 2);
        let topic = Topic::on(kafka::shared());
        let section = topic.section();
        let place = Live { topic: &section, batch: 60, ..Live::of(&server) }.place();
        let mut scene = Scene { server, topic, place, written: Vec::new(), later };
        scene.play(transactions);
        scene.capture().fine();
        scene
    }

    fn play(&mut self, transactions: Vec<Transaction>) {
        play(&self.server, &transactions);
        self.written.extend(transactions.iter().flat_map(Transaction::changes));
    }

    fn play_the_rest(&mut self) {
        let later = std::mem::take(&mut self.later);
        self.play(later);
    }

    fn capture(&self) -> Told {
        Told(self.place.0.hindsight(&["run", "--only", "capture", "--to-end", "--json"]))
    }

    /// It stops with these words, and writes nothing.
    fn refuses(&mut self, exit: i32, words: &[&str]) {
        self.play_the_rest();
        let before = self.topic.messages().len();
        let Told(answer) = self.capture();
        assert_eq!(answer.exit, Some(exit), "{}", answer.err);
        for word in words {
            assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
        }
        say(&answer.err);
        assert_eq!(self.topic.messages().len(), before, "nothing is written");
    }

    /// Records of a compacted topic are deleted only while it is not one.
    fn empty_side_topic(&self) {
        let side = self.topic.side();
        let alter = |policy: &str| {
            let policy = format!("cleanup.policy={policy}");
            let arguments = ["--alter", "--entity-type", "topics", "--entity-name", &side, "--add-config", &policy];
            self.topic.client.answer("kafka.admin.ConfigCommand", &arguments);
        };
        alter("delete");
        self.topic.client.delete_records(&side, 0, -1);
        alter("compact");
        assert!(self.topic.checkpoints().is_empty(), "all are gone");
    }
}

struct Told(Answer);

impl Told {
    #[track_caller]
    fn fine(self) {
        assert_eq!(self.0.exit, Some(0), "{}", self.0.err);
    }
}

/// What was taken back is no message: there is nothing that a checkpoint would have to speak of.
#[test]
fn a_kill_within_the_first_transaction_of_all_is_no_lost_checkpoint() {
    let server = served();
    let load = Load { seed: 391, changes: 300, owners: 20, ..Load::default() };
    let transactions: Vec<Transaction> = load.transactions().collect();
    play(&server, &transactions);
    let topic = Topic::on(kafka::shared());
    let section = topic.section();
    let place = Live { topic: &section, batch: 400, ..Live::of(&server) }.place();
    // As such a kill leaves it: both topics made, messages in one partition that the broker took back.
    topic.client.create_topic(&topic.name, PARTITIONS, &["cleanup.policy=delete"]);
    topic.client.create_topic(&topic.side(), 1, &["cleanup.policy=compact"]);
    topic.client.open_transaction(&topic.name).abort();
    assert!(topic.client.offsets_used(&topic.name, PARTITIONS) > 0, "something was written");
    let answer = place.0.hindsight(&["run", "--only", "capture", "--to-end"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let changes: Vec<_> = transactions.iter().flat_map(Transaction::changes).collect();
    topic.assert_holds(&changes, "after a kill within the first transaction");
}

#[test]
fn a_lost_side_topic_is_not_taken_for_a_first_start() {
    let mut scene = Scene::new(241);
    scene.topic.client.topics(&["--delete", "--topic", &scene.topic.side()]);
    let side = scene.topic.side();
    scene.refuses(1, &[&side, "has no checkpoint", "another [topic] name"]);
}

#[test]
fn a_side_topic_that_was_emptied_is_not_taken_for_a_first_start() {
    let mut scene = Scene::new(251);
    scene.empty_side_topic();
    let side = scene.topic.side();
    scene.refuses(1, &[&side, "has no checkpoint"]);
}

#[test]
fn an_older_checkpoint_is_told_by_the_topic_that_is_ahead_of_it() {
    let mut scene = Scene::new(257);
    let old = scene.topic.checkpoints().last().expect("a checkpoint").to_string();
    scene.play_the_rest();
    scene.capture().fine();
    scene.topic.client.produce(&scene.topic.side(), &[("checkpoint", &old)]);
    let name = scene.topic.name.clone();
    scene.refuses(1, &[&name, "is ahead of its checkpoint", "an old one"]);
}

#[test]
fn a_change_topic_that_was_made_anew_has_lost_messages() {
    let mut scene = Scene::new(263);
    let Topic { client, name } = scene.topic.clone();
    client.topics(&["--delete", "--topic", &name]);
    client.create_topic(&name, PARTITIONS, &[]);
    scene.refuses(1, &[&name, "has lost messages", "it is empty"]);
}

#[test]
fn a_topic_whose_records_are_all_too_old_goes_on_in_a_new_epoch() {
    let mut scene = Scene::new(269);
    for partition in 0..PARTITIONS {
        scene.topic.client.delete_records(&scene.topic.name, partition, -1);
    }
    assert!(scene.topic.messages().is_empty(), "all are gone");
    let before = scene.written.len();
    scene.play_the_rest();
    let told = scene.capture();
    assert!(told.0.err.contains("a new epoch begins"), "{}", told.0.err);
    told.fine();
    let messages = scene.topic.assert_holds(&scene.written[before..], "in the second epoch");
    assert!(messages.iter().all(|message| message.sequence[0] == 2), "{:?}", messages[0]);
    // It is proven again now.
    let told = scene.capture();
    assert!(!told.0.err.contains("a new epoch begins"), "{}", told.0.err);
    told.fine();
}

#[test]
fn a_record_of_somebody_else_is_named() {
    let mut scene = Scene::new(271);
    scene.topic.client.produce(&scene.topic.name, &[("{\"owner_id\":1}", "{}")]);
    let name = scene.topic.name.clone();
    let Told(answer) = scene.capture();
    assert_eq!(answer.exit, Some(1), "{}", answer.err);
    for word in [name.as_str(), "is not ours", "somebody else writes this topic"] {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    scene.later.clear();
}

#[test]
fn a_topic_that_grew_stops_with_the_remedy() {
    let mut scene = Scene::new(277);
    let Topic { client, name } = scene.topic.clone();
    client.topics(&["--alter", "--topic", &name, "--partitions", "5"]);
    scene.refuses(1, &[&name, "has 5 partitions, and had 3", "another [topic] name"]);
}

#[test]
fn a_foreign_transaction_that_stays_open_is_named_with_its_tool() {
    let mut scene = Scene::new(281);
    let side = scene.topic.side();
    let hanging = scene.topic.client.open_transaction(&side);
    scene.play_the_rest();
    let Told(answer) = scene.capture();
    assert_eq!(answer.exit, Some(3), "{}", answer.err);
    for word in [&side, "an open transaction of another producer", "kafka-transactions.sh", "describe-producers"] {
        assert!(answer.err.contains(word), "{word:?} is not in: {}", answer.err);
    }
    say(&answer.err);
    // When it is gone, all is as it should be.
    hanging.abort();
    scene.capture().fine();
    scene.topic.assert_holds(&scene.written, "behind the transaction");
}

/// The broker lost the mark that ended it, and its coordinator believes that it is ended.
#[test]
fn a_transaction_of_an_earlier_process_that_hangs_is_ended() {
    let mut broker = Broker::start(&[]);
    let server = served();
    let load = Load { seed: 283, changes: 400, owners: 20, ..Load::default() };
    let transactions: Vec<Transaction> = load.transactions().collect();
    let (first, rest) = transactions.split_at(transactions.len() / 2);
    let topic = Topic::on(broker.client());
    let section = topic.section();
    let place = Live { topic: &section, batch: 60, ..Live::of(&server) }.place();
    let capture = || place.0.hindsight(&["run", "--only", "capture", "--to-end", "--json"]);
    play(&server, first);
    Told(capture()).fine();
    let id = format!("hindsight.item-assets.{}", topic.name);
    for name in [&topic.name, &topic.side()] {
        topic.client.open_transaction_as(&id, name).abort();
    }
    topic.client.wait_for_marks_of(&id);
    broker.kill();
    for name in [&topic.name, &topic.side()] {
        broker.lose_last_batch(name, 0);
    }
    broker.start_again();
    play(&server, rest);
    let told = capture();
    assert_eq!(told.err.matches("that the broker has forgotten was taken back").count(), 2, "{}", told.err);
    Told(told).fine();
    let changes: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    topic.assert_holds(&changes, "behind a transaction that hung");
}
