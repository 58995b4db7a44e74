//! Brokers that want a password or a certificate: both halves go through, and who may not in is told what to do.

use std::fs;

use hindsight_tests::generator::{Load, served};
use hindsight_tests::kafka::Broker;
use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::pipeline::Rule;
use hindsight_tests::topic::Topic;

use super::apply::QUICK;
use hindsight_tests::generator::{Transaction, play};

/// A broker's user.
const JAAS: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required user_hindsight=\"secret\";";

/// Captures and applies by way of this listener; then once more as somebody who may not.
fn goes_through(server: &Mysql, broker: &Broker, address: &str, login: &str, wrong: &str, words: &[&str]) {
    let transactions: Vec<Transaction> =
        Load { seed: 351, changes: 400, owners: 30, ..Load::default() }.transactions().collect();
    let topic = Topic::on(broker.client());
    let section = |login: &str| topic.section().replace(&broker.address(), address) + QUICK + login;
    let allowed = section(login);
    let place = Live { rule: Rule::CountChanges, topic: &allowed, ..Live::of(server) }.place();
    play(server, &transactions);
    let answer = place.0.hindsight(&["run", "--to-end", "--json"]);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let changes: Vec<_> = transactions.iter().flat_map(Transaction::changes).collect();
    place.assert_is(Rule::CountChanges, &changes, "by way of the listener");
    topic.assert_holds(&changes, "by way of the listener");

    let refused = section(wrong);
    let place = Live { topic: &refused, ..Live::of(server) }.place();
    for half in ["capture", "apply"] {
        let answer = place.0.hindsight(&["run", "--only", half, "--to-end"]);
        assert_eq!(answer.exit, Some(3), "{half}: {}", answer.err);
        for word in words {
            assert!(answer.err.contains(word), "{half}: {word:?} is not in {}", answer.err);
        }
        assert!(!answer.err.contains("not-it"), "a password is shown: {}", answer.err);
    }
}

#[test]
fn a_user_and_a_password_are_let_in_and_a_wrong_one_is_told() {
    let (broker, address) = Broker::start_secured(
        "SASL_PLAINTEXT",
        &["sasl.enabled.mechanisms=PLAIN", &format!("listener.name.sasl_plaintext.plain.sasl.jaas.config={JAAS}")],
    );
    let login = |password: &str| {
        format!(
            "\"security.protocol\" = \"SASL_PLAINTEXT\"\n\"sasl.mechanism\" = \"PLAIN\"\n\"sasl.username\" = \"hindsight\"\n\
             \"sasl.password\" = {password:?}\n"
        )
    };
    let words = ["uthentication", "does [topic.librdkafka] say how to log in?"];
    goes_through(&served(), &broker, &address, &login("secret"), &login("not-it"), &words);
}

#[test]
fn a_certificate_is_looked_at() {
    // A server of MySQL makes itself an authority, and a certificate of it.
    let server = served();
    let pem = |name: &str| fs::read_to_string(server.file(name)).expect("a certificate").trim().replace('\n', "\\\n");
    let (broker, address) = Broker::start_secured(
        "SSL",
        &[
            "listener.name.ssl.ssl.keystore.type=PEM",
            &format!(
                "listener.name.ssl.ssl.keystore.certificate.chain={}",
                pem("server-cert.pem").replace("\\\n", "\\n\\\n")
            ),
            &format!("listener.name.ssl.ssl.keystore.key={}", pem("server-key.pem").replace("\\\n", "\\n\\\n")),
        ],
    );
    let authority = server.file("ca.pem").display().to_string();
    // Its certificate names no host.
    let anybody = "\"security.protocol\" = \"SSL\"\n\"ssl.endpoint.identification.algorithm\" = \"none\"\n";
    let trusting = format!("{anybody}\"ssl.ca.location\" = {authority:?}\n");
    let words = ["certificate verify failed", "does [topic.librdkafka] say how to log in?"];
    goes_through(&server, &broker, &address, &trusting, anybody, &words);
}
