//! From a real server through a real broker into the stand-in of StarRocks: the table is the oracle's, whatever falls.

mod apply;
mod kills;

use hindsight_tests::generator::{Load, Transaction};
use hindsight_tests::live::{Live, Running};
use hindsight_tests::mysql::Mysql;
use hindsight_tests::oracle::Change;
use hindsight_tests::pipeline::{Place, Rule};
use hindsight_tests::starrocks::{Cluster, Table};

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

fn load(seed: u64, changes: usize) -> Vec<Transaction> {
    Load { seed, changes, owners: changes as u64 / 20, ..Load::default() }.transactions().collect()
}

fn list(transactions: &[Transaction]) -> Vec<Change> {
    transactions.iter().flat_map(Transaction::changes).collect()
}

/// A pipeline whose history is in a table of this cluster; the table is made.
#[track_caller]
fn place(cluster: &Cluster, server: &Mysql, section: &str, rule: Rule, more: &str) -> (Place, Table) {
    let table = cluster.table(&format!("{}{more}", lines(rule)));
    let section = format!("{section}{QUICK}");
    let live =
        Live { rule, batch: BATCH, topic: &section, name: &table.pipeline, sink: &table.sink, ..Live::of(server) };
    let place = live.place();
    cluster.make(&place);
    (place, table)
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
