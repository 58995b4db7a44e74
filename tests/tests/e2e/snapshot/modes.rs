//! Other ways to read a table, under the same writers and kills: in one read view, because that was asked or because no key
//! cuts its chunks; several tables as one; with more rights.

use std::thread;

use hindsight_tests::account::Judgement;
use hindsight_tests::dump;
use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::writers::{SLOW_COMMITS, Writing};

use super::follower::{COMMANDS, Follower};
use super::killing::{Plan, kill_again_and_again};

const CHUNKS: Plan = Plan { reading: 6, filtering: 3, behind: 2, rows: 100, starts_over: false };
const ONE_VIEW: Plan = Plan { reading: 4, starts_over: true, ..CHUNKS };

#[test]
fn a_snapshot_in_one_read_view_begins_anew_after_a_kill_and_is_right() {
    let case = Case { lines: "snapshot-mode = \"consistent\"", plan: ONE_VIEW, ..Case::default() };
    for judgement in case.run() {
        assert_eq!(judgement.n_points, 1, "all rows are of one point: {judgement}");
    }
}

#[test]
fn a_table_without_an_index_on_the_entity_key_is_read_in_one_view() {
    let case = Case { writing: Writing { keys: "", ..small() }, plan: ONE_VIEW, ..Case::default() };
    for judgement in case.run() {
        assert_eq!(judgement.n_points, 1, "all rows are of one point: {judgement}");
    }
}

#[test]
fn two_shards_are_read_as_one_table() {
    let writing = Writing { tables: &["shard_1.item_assets", "shard_2.item_assets"], ..small() };
    Case { writing, table: "shard_*.item_assets", ..Case::default() }.run();
}

/// With the right to the server's own word on its log, which the other tests do without.
#[test]
fn a_snapshot_with_backup_admin_is_as_right() {
    Case { options: &["--performance-schema=ON"], rights: ", BACKUP_ADMIN", ..Case::default() }.run();
}

struct Case<'a> {
    writing: Writing<'a>,
    table: &'a str,
    /// More lines of `[source]`.
    lines: &'a str,
    /// More rights of the reader, as GRANT lists them.
    rights: &'a str,
    /// Of the server, besides those that make its commits slow.
    options: &'a [&'a str],
    plan: Plan,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Case { writing: small(), table: "shop.item_assets", lines: "", rights: "", options: &[], plan: CHUNKS }
    }
}

fn small() -> Writing<'static> {
    Writing { seed: 11, rows: 2_000, ..Writing::default() }
}

impl Case<'_> {
    /// Kills all three processes as planned and judges them.
    fn run(&self) -> [Judgement; 3] {
        let server = Mysql::start(&[SLOW_COMMITS, self.options].concat());
        server.add_user("repl", "secret", &format!("REPLICATION SLAVE, REPLICATION CLIENT, SELECT{}", self.rights));
        self.writing.fill(&server);
        let snapshot = format!("snapshot = \"initial\"\nsnapshot-chunk-rows = 40\n{}", self.lines);
        let live = Live {
            table: self.table,
            snapshot: &snapshot,
            batch: 60,
            source: "heartbeat = \"1s\"",
            ..Live::of(&server)
        };
        let followers = COMMANDS.map(|command| Follower::new(command, &live));
        let writers = self.writing.start(&server);
        thread::scope(|scope| {
            for follower in &followers {
                scope.spawn(|| kill_again_and_again(follower, self.plan));
            }
        });
        let mut running = followers.each_ref().map(|follower| follower.start(|_| {}));
        writers.stop();
        for (follower, process) in followers.iter().zip(&mut running) {
            follower.wait_until_all_is_done(&server, process);
        }
        running.into_iter().for_each(|process| _ = process.stop());
        let log = dump::read(&server.finished_logs()).logged("item_assets");
        followers.each_ref().map(|follower| follower.assert_is(&log, true))
    }
}
