//! What a follower of a server asks of it: its identity, GTID sets, a user who may follow; and a second server that follows it.

use std::thread;
use std::time::{Duration, Instant};

use super::Mysql;

/// User and password of [`Mysql::add_reader`], as in an address.
pub const READER: &str = "repl:secret";

/// How long a replica may take to execute what its source has.
const CATCH_UP_MAX: Duration = Duration::from_secs(60);

impl Mysql {
    /// A user with just the rights of a follower, who logs in by `caching_sha2_password`.
    #[track_caller]
    pub fn add_reader(&self) {
        self.add_user("repl", "secret", "REPLICATION SLAVE, REPLICATION CLIENT, SELECT");
    }

    /// `rights`: as GRANT lists them, on everything.
    #[track_caller]
    pub fn add_user(&self, name: &str, password: &str, rights: &str) {
        self.sql(&format!(
            "CREATE USER '{name}'@'%' IDENTIFIED WITH caching_sha2_password BY '{password}'; GRANT {rights} ON *.* TO '{name}'@'%';"
        ));
    }

    /// The address for [`READER`].
    pub fn url(&self) -> String {
        self.url_of(READER)
    }

    /// `user`: name and password, with a colon between.
    pub fn url_of(&self, user: &str) -> String {
        format!("mysql://{user}@127.0.0.1:{}", self.port())
    }

    #[track_caller]
    pub fn uuid(&self) -> String {
        self.sql("SELECT @@global.server_uuid").trim().to_owned()
    }

    /// `@@gtid_executed`, on one line.
    #[track_caller]
    pub fn executed(&self) -> String {
        self.gtid_set("SELECT @@global.gtid_executed")
    }

    /// The set that a query gives; the server breaks it into lines, and the client writes a break as `\n`.
    #[track_caller]
    pub fn gtid_set(&self, query: &str) -> String {
        self.sql(query).trim_end().replace("\\n", "").replace('\n', "")
    }

    /// Whether `set` contains all that this server has executed: the server's own judgement.
    #[track_caller]
    pub fn has_all_executed_in(&self, set: &str) -> bool {
        self.sql(&format!("SELECT GTID_SUBSET(@@global.gtid_executed, '{set}')")).trim() == "1"
    }

    /// Begins to follow another server, from its first transaction on or where it was stopped.
    #[track_caller]
    pub fn follow(&self, source: &Mysql) {
        self.sql(&format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {}, SOURCE_USER = 'repl', SOURCE_PASSWORD = 'secret',
             SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1; START REPLICA;",
            source.port()
        ));
    }

    /// Waits until this replica has executed a GTID set.
    #[track_caller]
    pub fn wait_until_executed(&self, set: &str) {
        let begun = Instant::now();
        while self.sql(&format!("SELECT GTID_SUBSET('{set}', @@global.gtid_executed)")).trim() != "1" {
            assert!(
                begun.elapsed() < CATCH_UP_MAX,
                "the replica has not executed {set} after {CATCH_UP_MAX:?}:\n{}",
                self.sql("SHOW REPLICA STATUS"),
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Receives what its source has from now on, and executes none of it until [`Mysql::stop_lagging`].
    #[track_caller]
    pub fn lag(&self) {
        self.sql("STOP REPLICA SQL_THREAD");
    }

    /// Executes what was received.
    #[track_caller]
    pub fn stop_lagging(&self) {
        self.sql("START REPLICA SQL_THREAD");
    }

    /// Waits until this replica has received a set of one interval, executed or not.
    #[track_caller]
    pub fn wait_until_received(&self, set: &str) {
        let begun = Instant::now();
        while !self.sql("SHOW REPLICA STATUS").contains(set) {
            assert!(begun.elapsed() < CATCH_UP_MAX, "the replica has not received {set} after {CATCH_UP_MAX:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Makes a replica a server of its own.
    #[track_caller]
    pub fn stop_following(&self) {
        self.sql("STOP REPLICA; RESET REPLICA ALL;");
    }
}

/// How many transactions a GTID set has, as the server prints it: `uuid:1-3:5,uuid:1-2:tag:7`.
pub fn transactions(set: &str) -> u64 {
    let numbers = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(last.parse::<u64>().ok()? - first.parse::<u64>().ok()? + 1)
    };
    // What is no interval is a UUID or a tag.
    set.split([',', ':']).filter_map(|part| numbers(part.trim())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transactions_of_a_set_are_counted_over_gaps_tags_and_servers() {
        const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        for (set, n) in [
            (String::new(), 0),
            (format!("{A}:1-3"), 3),
            (format!("{A}:1-3:5"), 4),
            (format!("{A}:2:billing:1-4:9,4e11fa47-71ca-11e1-9e33-c80aa9429562:7"), 7),
        ] {
            assert_eq!(transactions(&set), n, "{set}");
        }
    }
}
