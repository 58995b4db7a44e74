//! Transactions that come in pieces: larger than what the network hands over at once, larger than a batch, among small ones.
//!
//! A server sends up to its buffer's end, which is seldom a transaction's end: what is here must not be taken for all of it.

use std::time::Duration;

use hindsight_tests::generator::{Load, Transaction, served, write_transactions};
use hindsight_tests::live::Live;
use hindsight_tests::mysql::READER;
use hindsight_tests::oracle::Change;
use hindsight_tests::pipeline::Rule;
use hindsight_tests::proxy::{Pieces, Proxy};

#[test]
fn transactions_that_come_in_pieces_are_taken_whole_while_they_are_written() {
    let server = served();
    let load = Load { seed: 31, changes: 40_000, owners: 1_000, ..Load::default() };
    // A few small ones, then one of about two thousand changes.
    let all: Vec<Transaction> = load.transactions().collect();
    let transactions: Vec<Transaction> = all
        .chunks(205)
        .flat_map(|some| {
            let (small, large) = some.split_at(some.len().min(5));
            let large = (!large.is_empty()).then(|| Transaction::merged(large.to_vec()));
            small.iter().cloned().chain(large)
        })
        .collect();
    let list: Vec<Change> = transactions.iter().flat_map(Transaction::changes).collect();
    let subjects = [(Rule::CountChanges, 1_000_000), (Rule::CountChanges, 300), (Rule::ByOwner, 1_000_000)];
    // Less than a transaction of ten changes has; no whole part of what an event has.
    let network = Proxy::start(server.port(), Pieces { bytes: 997, pause: Duration::from_micros(100) });
    let urls = vec![format!("mysql://{READER}@127.0.0.1:{}", network.port())];
    let places = subjects.map(|(rule, batch)| Live { rule, batch, urls: urls.clone(), ..Live::default() }.place());
    let running = places.each_ref().map(|place| place.follow());
    for (part, setting) in transactions.chunks(transactions.len().div_ceil(8)).zip(["OFF", "ON"].into_iter().cycle()) {
        let written = server.feed(|client| {
            writeln!(client, "SET SESSION binlog_transaction_compression = {setting};")?;
            write_transactions(part, client)
        });
        written.unwrap_or_else(|error| panic!("write the load: {error}"));
    }
    for ((place, mut process), (rule, batch)) in places.iter().zip(running).zip(subjects) {
        place.wait_until_all_is_done(&server, &mut process);
        process.stop();
        place.assert_is(rule, &list, &format!("{rule:?}, batches of {batch}"));
        assert_eq!(place.reached().gtids, server.executed());
    }
}
