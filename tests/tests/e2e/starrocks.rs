//! From a real server through a real broker into the stand-in of StarRocks: the table is the oracle's, whatever falls.

mod adopt;
mod apply;
mod direct;
mod faults;
mod kills;
mod labels;
mod set_aside;
mod visible;

use hindsight_tests::generator::{Load, Transaction};
use hindsight_tests::live::{Live, Running};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::Change;
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::starrocks::{Cluster, Table};
use hindsight_tests::topic::Topic;

use crate::topic::apply::QUICK;

const BATCH: usize = 60;

const RULES: [Rule; 2] = [Rule::ByOwner, Rule::CountChanges];

/// What lines a rule's `[sink]` has: a rule that is not replay-safe has a sequence column.
fn lines(rule: Rule) -> &'static str {
    match rule {
        Rule::ByOwner => "",
        Rule::CountChanges => "sequence-column = true\n",
    }
}

fn is_long() -> bool {
    std::env::var_os("HINDSIGHT_TEST_LONG").is_some()
}

/// The section of a topic with one process, which has its partitions again as soon as it is started again.
fn member(topic: &Topic) -> String {
    topic.section().replace("[topic]\n", "[topic]\nmember = \"one\"\n")
}

fn load(seed: u64, changes: usize) -> Vec<Transaction> {
    Load { seed, changes, owners: changes as u64 / 20, ..Load::default() }.transactions().collect()
}

fn list(transactions: &[Transaction]) -> Vec<Change> {
    transactions.iter().flat_map(Transaction::changes).collect()
}

/// A pipeline whose history is in a table of this cluster; the table is made.
#[track_caller]
fn place(cluster: &Cluster, server: &Mysql, section: &str, rule: Rule, more: &str) -> (Place, Table) {
    place_with(cluster, server, section, rule, &format!("{}{more}", lines(rule)))
}

/// The same with these lines alone.
#[track_caller]
fn place_with(cluster: &Cluster, server: &Mysql, section: &str, rule: Rule, lines: &str) -> (Place, Table) {
    let (place, table) = unmade(cluster, server, section, rule, lines);
    cluster.make(&place, str::to_owned);
    (place, table)
}

/// The same, and a text of the history's has room for so many bytes.
#[track_caller]
fn place_narrow(cluster: &Cluster, server: &Mysql, section: &str, rule: Rule, bytes: usize) -> (Place, Table) {
    let (place, table) = unmade(cluster, server, section, rule, lines(rule));
    cluster.make(&place, |statement| statement.replace("VARCHAR(1020)", &format!("VARCHAR({bytes})")));
    (place, table)
}

fn unmade(cluster: &Cluster, server: &Mysql, section: &str, rule: Rule, lines: &str) -> (Place, Table) {
    let table = cluster.table(lines);
    let section = format!("{section}{QUICK}");
    let live =
        Live { rule, batch: BATCH, topic: &section, name: &table.pipeline, sink: &table.sink, ..Live::of(server) };
    (live.place(), table)
}

#[track_caller]
fn run(place: &Place, half: &str) {
    let answer = place.0.hindsight(&["run", "--only", half, "--to-end", "--json"]);
    assert_eq!(answer.exit, Some(0), "{half}: {}", answer.err);
}

fn start(place: &Place, half: &str, point: Option<&str>) -> Running {
    place.start(&["run", "--only", half, "--json", "--log-format", "json"], |command| {
        if let Some(point) = point {
            command.env("HINDSIGHT_TEST_CRASH", point);
        }
    })
}
