//! Several writers at once on tables like `shop.item_assets`, each with a connection of its own, until they are stopped.
//! Some compress their transactions, one gives them GTIDs with a tag; now and then one is large, and a new log is begun.
//!
//! What they do is random, from a seed; in which order the server does it is the server's own: its log tells.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::generator::Random;
use crate::mysql::{Client, Mysql};
use crate::wall_clock;

/// A deadlock, and a lock that did not come: the transaction is rolled back, which the log tells by not having it.
const LOST: &[u32] = &[1213, 1205];

/// For a server whose transactions are in its log well before they are visible in its tables.
pub const SLOW_COMMITS: &[&str] =
    &["--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1", "--binlog-group-commit-sync-delay=1500"];

/// What is written.
#[derive(Clone, Debug)]
pub struct Writing<'a> {
    pub seed: u64,
    pub tables: &'a [&'a str],
    /// Between the columns and the end of CREATE TABLE: `, KEY (owner_id)`.
    pub keys: &'a str,
    /// Rows of each table before the writers begin: about three an owner.
    pub rows: u64,
    pub writers: usize,
    /// Of all writers together. More would only keep followers from the machine.
    pub transactions_per_second: u64,
}

impl Default for Writing<'_> {
    fn default() -> Self {
        Writing {
            seed: 1,
            tables: &["shop.item_assets"],
            keys: ", KEY (owner_id)",
            rows: 4_000,
            writers: 8,
            transactions_per_second: 300,
        }
    }
}

/// The writers, at work. They stop with the value.
pub struct Writers {
    stop: Arc<AtomicBool>,
    transactions: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Result<String, String>>>,
}

impl Writing<'_> {
    /// Makes the tables and their first rows.
    #[track_caller]
    pub fn fill(&self, server: &Mysql) {
        let mut random = Random(self.seed);
        let filled = server.feed(|client| {
            for table in self.tables {
                let (database, _) = table.split_once('.').expect("database.table");
                writeln!(
                    client,
                    "CREATE DATABASE IF NOT EXISTS {database} CHARACTER SET utf8mb4;
                     CREATE TABLE {table} (id INT NOT NULL PRIMARY KEY, owner_id INT NOT NULL,
                     asset_info VARCHAR(255) NOT NULL, registered_at DATETIME NOT NULL{}) DEFAULT CHARSET = utf8mb4;",
                    self.keys
                )?;
                for ids in (1..=self.rows).collect::<Vec<_>>().chunks(500) {
                    // Every other id is free.
                    let rows = ids.iter().map(|id| self.tuple(&mut random, 2 * id));
                    writeln!(client, "INSERT INTO {table} VALUES {};", rows.collect::<Vec<_>>().join(","))?;
                }
            }
            Ok(())
        });
        filled.unwrap_or_else(|error| panic!("fill the tables: {error}"));
    }

    pub fn start(&self, server: &Mysql) -> Writers {
        let (stop, transactions) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..self.writers).map(|number| {
            let writer = Writer {
                number,
                client: server.client(),
                random: Random(self.seed << 8 | number as u64),
                tables: self.tables.iter().map(ToString::to_string).collect(),
                rows: self.rows,
                pause: Duration::from_micros(1_000_000 * self.writers as u64 / self.transactions_per_second),
                stop: stop.clone(),
                transactions: transactions.clone(),
            };
            thread::spawn(move || writer.write())
        });
        let threads = threads.collect();
        Writers { stop, transactions, threads }
    }

    fn tuple(&self, random: &mut Random, id: u64) -> String {
        let owner = random.below(self.rows / 3);
        format!("({id}, {owner}, '{}', '{}')", info(random), registered(random))
    }
}

impl Writers {
    /// Transactions that were sent so far; some of them do nothing.
    pub fn sent(&self) -> u64 {
        self.transactions.load(Ordering::Relaxed)
    }

    /// Waits until all that was sent is done.
    #[track_caller]
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let written = thread.join().expect("a writer does not panic");
            written.unwrap_or_else(|error| panic!("a writer: {error}"));
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Writer {
    number: usize,
    client: Client,
    random: Random,
    tables: Vec<String>,
    rows: u64,
    /// Between two transactions, on average.
    pause: Duration,
    stop: Arc<AtomicBool>,
    transactions: Arc<AtomicU64>,
}

impl Writer {
    fn write(mut self) -> Result<String, String> {
        let client = self.client;
        client.feed_through(LOST, |client| self.write_to(client))
    }

    fn write_to(&mut self, client: &mut dyn Write) -> io::Result<()> {
        // Gaps between keys would be locked too, and writers would mostly wait for each other.
        writeln!(client, "SET SESSION transaction_isolation = 'READ-COMMITTED';")?;
        if self.number % 2 == 1 {
            writeln!(client, "SET SESSION binlog_transaction_compression = ON;")?;
        }
        if self.number == 2 {
            writeln!(client, "SET gtid_next = 'AUTOMATIC:blue';")?;
        }
        let mut next = Instant::now();
        while !self.stop.load(Ordering::Relaxed) {
            let table = self.tables[self.random.below(self.tables.len() as u64) as usize].clone();
            let statements = match self.random.below(4) {
                0 | 1 => 1,
                n => n,
            };
            let text: Vec<String> = (0..statements).map(|_| self.statement(&table)).collect();
            let text = text.join(";");
            if statements == 1 {
                writeln!(client, "{text};")?
            } else {
                writeln!(client, "BEGIN;{text};COMMIT;")?
            }
            if self.random.below(400) == 0 {
                writeln!(client, "FLUSH BINARY LOGS;")?;
            }
            client.flush()?;
            self.transactions.fetch_add(1, Ordering::Relaxed);
            // Not in step with the others: from nothing to twice the pause.
            next += self.pause * self.random.below(200) as u32 / 100;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    fn statement(&mut self, table: &str) -> String {
        let random = &mut self.random;
        let (id, other) = (id(random, self.rows), id(random, self.rows));
        let (owner, heir) = (owner(random, self.rows), owner(random, self.rows));
        let set = format!("asset_info = '{}', registered_at = '{}'", info(random), registered(random));
        match random.below(100) {
            0..16 => format!("INSERT IGNORE INTO {table} SET id = {id}, owner_id = {owner}, {set}"),
            16..20 => {
                let values = |id, owner| format!("({id}, {owner}, 'one of three', '2025-01-01 00:00:00')");
                let rows = [values(id, owner), values(id + 1, owner), values(id + 2, heir)];
                format!("INSERT IGNORE INTO {table} VALUES {}", rows.join(","))
            }
            20..46 => format!("UPDATE {table} SET {set} WHERE id = {id}"),
            46..58 => format!("DELETE FROM {table} WHERE id = {id}"),
            58..66 => format!("UPDATE IGNORE {table} SET id = {other} WHERE id = {id}"),
            66..72 => format!("UPDATE IGNORE {table} SET id = {other}, owner_id = {heir}, {set} WHERE id = {id}"),
            72..84 => format!("UPDATE {table} SET owner_id = {heir}, {set} WHERE id = {id}"),
            84..89 => format!("UPDATE {table} SET owner_id = {heir} WHERE id BETWEEN {id} AND {id} + 4"),
            // Larger than a batch now and then.
            89 => {
                let n = random.below(20) * random.below(20);
                format!("UPDATE {table} SET {set} WHERE id BETWEEN {id} AND {id} + {n}")
            }
            // All that one owner has, by its key.
            90..94 => format!("UPDATE {table} SET {set} WHERE owner_id = {owner}"),
            94..97 => format!("UPDATE {table} SET owner_id = {heir} WHERE owner_id = {owner}"),
            _ => format!("DELETE FROM {table} WHERE owner_id = {owner}"),
        }
    }
}

fn id(random: &mut Random, rows: u64) -> u64 {
    1 + random.below(2 * rows)
}

/// Some are beyond all those that a table begins with, on both sides.
fn owner(random: &mut Random, rows: u64) -> i64 {
    let beyond = rows / 30;
    random.below(rows / 3 + 2 * beyond) as i64 - beyond as i64
}

fn info(random: &mut Random) -> String {
    const THINGS: &[&str] = &["laptop", "Gerät", "東京", "", "it''s a \"badge\"", "half \\\\ of it\\n"];
    format!("{} {}", THINGS[random.below(THINGS.len() as u64) as usize], random.below(1_000_000))
}

fn registered(random: &mut Random) -> String {
    /// 2025-01-01 00:00:00, and a month of seconds.
    const FIRST_S: i64 = 1_735_689_600;
    wall_clock::text((FIRST_S + random.below(31 * 86_400) as i64) * 1_000_000)
}
