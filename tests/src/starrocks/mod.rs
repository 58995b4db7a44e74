//! A stand-in of StarRocks as a pipeline's sink: its tables are made by what `hindsight ddl` prints, and read through it.

pub mod faults;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use starrocks_stand_in::{Settings, StandIn};

use crate::kafka::Client;
use crate::oracle::{self, Change, CountRow, CountTable, HistoryKey, HistoryRow, HistoryTable, OnOwnerChange};
use crate::pipeline::{Place, Rule, assert_same};
use crate::topic::PARTITIONS;
use crate::wall_clock;

const DATABASE: &str = "history";

/// Labels that the server keeps, where it is not about them.
const LABELS: u64 = 1_000_000;

/// A cluster of a test's own.
pub struct Cluster {
    pub stand: StandIn,
}

/// A table of a cluster, which one pipeline writes.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    /// The pipeline's, and so its group's.
    pub pipeline: String,
    /// The lines of `[sink]`.
    pub sink: String,
}

impl Cluster {
    #[track_caller]
    pub fn start() -> Self {
        Self::with(Settings { label_keep_max_num: LABELS, ..Settings::default() })
    }

    #[track_caller]
    pub fn with(settings: Settings) -> Self {
        let stand = StandIn::start(Settings { database: Some(DATABASE.into()), ..settings });
        Cluster { stand: stand.expect("start the stand-in") }
    }

    /// A table that is not made yet. `more`: lines of its `[sink]`.
    pub fn table(&self, more: &str) -> Table {
        self.table_at(&self.stand.ports().mysql, more)
    }

    /// The same that is read at these ports, in turn.
    pub fn table_at(&self, mysql: &[u16], more: &str) -> Table {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (name, pipeline) = (format!("history_{number}"), format!("to-starrocks-{}-{number}", std::process::id()));
        let ports = self.stand.ports();
        let fe: Vec<String> = ports.fe.iter().map(|port| format!("http://127.0.0.1:{port}")).collect();
        let mysql: Vec<String> = mysql.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let interval = if more.contains("interval") { "" } else { "interval = \"20ms\"\n" };
        let sink = format!(
            "kind = \"starrocks\"\nfe = {fe:?}\nmysql = {mysql:?}\ndatabase = {DATABASE:?}\ntable = {name:?}\n{interval}{more}"
        );
        Table { name, pipeline, sink }
    }

    /// Makes a configuration's tables by what `hindsight ddl` prints, and a test changes.
    #[track_caller]
    pub fn make(&self, place: &Place, change: impl Fn(&str) -> String) {
        let answer = place.0.hindsight(&["ddl", "--replication", "1", "--json"]);
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
        for statement in answer.json()["statements"].as_array().expect("statements") {
            let statement = change(statement.as_str().expect("a text"));
            let made = format!("CREATE TABLE IF NOT EXISTS `{DATABASE}`.`");
            let statement = statement.replacen("CREATE TABLE `", &made, 1);
            self.stand.sql(&statement).unwrap_or_else(|error| panic!("{error}: {statement}"));
        }
    }

    #[track_caller]
    fn select(&self, columns: &str, table: &Table) -> Vec<Vec<Option<String>>> {
        let found = self.stand.select(0, DATABASE, &format!("SELECT {columns} FROM {}", table.name));
        found.expect("read the table")
    }

    /// The table of `scd2-by-owner`.
    #[track_caller]
    pub fn history(&self, table: &Table) -> HistoryTable {
        let columns = "source_id, owner_id, effective_start_ts, asset_info, effective_end_ts, is_current, op_type";
        let mut rows = HistoryTable::new();
        for row in self.select(columns, table) {
            let [id, owner, start, info, end, current, op] = &row[..] else { panic!("{row:?}") };
            let key = HistoryKey { source_id: number(id), owner_id: number(owner), start_us: micros(text(start)) };
            let value = HistoryRow {
                info: info.clone(),
                end_us: end.as_deref().map(micros),
                is_current: text(current) == "1",
                op_type: text(op).chars().next().expect("a letter"),
            };
            assert!(rows.insert(key, value).is_none(), "{key:?} is there twice");
        }
        rows
    }

    /// The source rows that a table has a row of.
    #[track_caller]
    pub fn ids(&self, table: &Table) -> Vec<i64> {
        self.select("source_id", table).iter().map(|row| number(&row[0])).collect()
    }

    /// Rows by `INSERT … VALUES`, in the columns' order.
    #[track_caller]
    pub fn insert(&self, table: &Table, values: &str) {
        let columns = "source_id, owner_id, effective_start_ts, asset_info, effective_end_ts, is_current, op_type";
        let sql = format!("INSERT INTO {} ({columns}) VALUES {values}", table.name);
        self.stand.insert(DATABASE, &sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
    }

    /// The table of `scd2-by-owner`, written as another program does.
    #[track_caller]
    pub fn write(&self, table: &Table, rows: &HistoryTable) {
        let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        let row = |(key, row): (&HistoryKey, &HistoryRow)| {
            format!(
                "({}, {}, {}, {}, {}, {}, '{}')",
                key.source_id,
                key.owner_id,
                quoted(&wall_clock::text(key.start_us)),
                row.info.as_deref().map_or("NULL".into(), quoted),
                row.end_us.map_or("NULL".into(), |end| quoted(&wall_clock::text(end))),
                row.is_current,
                row.op_type
            )
        };
        let rows: Vec<String> = rows.iter().map(row).collect();
        rows.chunks(500).for_each(|rows| self.insert(table, &rows.join(", ")));
    }

    /// The table of `count-changes`.
    #[track_caller]
    pub fn counts(&self, table: &Table) -> CountTable {
        let mut rows = CountTable::new();
        for row in self.select("owner_id, since, until, is_current, changes, digest", table) {
            let [owner, since, until, current, changes, digest] = &row[..] else { panic!("{row:?}") };
            let value = CountRow {
                since_us: micros(text(since)),
                until_us: until.as_deref().map(micros),
                is_current: text(current) == "1",
                changes: number(changes),
                digest: text(digest).to_owned(),
            };
            assert!(rows.insert(number(owner), value).is_none(), "{owner:?} is there twice");
        }
        rows
    }

    /// The table of this rule is what the oracle makes of these changes.
    #[track_caller]
    pub fn assert_is(&self, table: &Table, rule: Rule, changes: &[Change], what: &str) {
        match rule {
            Rule::ByOwner => {
                let wanted = oracle::scd2_by_owner(changes, OnOwnerChange::Close).table;
                assert_same(&self.history(table), &wanted, what);
            }
            Rule::CountChanges => assert_same(&self.counts(table), &oracle::count_changes(changes), what),
        }
    }

    /// No load was begun or sent twice under one label, by the stand-in's own log. Gives how many there were.
    #[track_caller]
    pub fn assert_each_label_sent_once(&self) -> usize {
        let labels = self.stand.labels();
        for (_, label, counts) in &labels {
            // A mark without a topic has one label, whoever writes it, until it is there.
            let once = label.contains("-p-") || (counts.begun <= 1 && counts.bodies <= 1);
            assert!(once && counts.visible <= 1, "{label}: {counts:?}");
        }
        labels.len()
    }

    /// Marks of a pipeline without a topic.
    #[track_caller]
    pub fn n_marks(&self, table: &Table) -> usize {
        let sql = format!("SELECT n FROM hindsight_progress WHERE pipeline = '{}'", table.pipeline);
        self.stand.select(0, DATABASE, &sql).expect("read the marks").len()
    }

    /// Numbers of dead letters in the table, of all pipelines.
    #[track_caller]
    pub fn n_dead_letters(&self) -> usize {
        self.stand.select(0, DATABASE, "SELECT n FROM hindsight_dead_letters").expect("read the dead letters").len()
    }
}

/// How far each partition is in a pipeline's group: the offset that is kept there.
#[track_caller]
pub fn offsets(client: &Client, pipeline: &str, topic: &str) -> BTreeMap<u32, u64> {
    let kept = client.group_offsets(pipeline, topic, PARTITIONS);
    kept.into_iter().map(|(partition, (offset, _))| (partition, offset)).collect()
}

#[track_caller]
fn text(cell: &Option<String>) -> &str {
    cell.as_deref().expect("it is not NULL")
}

#[track_caller]
fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(cell: &Option<String>) -> T {
    text(cell).parse().expect("a number")
}

#[track_caller]
fn micros(text: &str) -> i64 {
    wall_clock::parse(text).unwrap_or_else(|| panic!("{text:?} is not a time"))
}
