//! The `Sink` contract over everything that keeps history, and what is SQLite's own: text forms, fencing, refusals.

use std::sync::{Arc, Mutex};

use hindsight::dead_letter::Quarantine;
use hindsight::event::{Logical, Position};
use hindsight::history::{EntityRows, HistorySchema, Load, Scope, SnapshotStep, Standing};
use hindsight::rows::{Row, Rows};
use hindsight::sink::{Memory, Sink, SinkError, Sqlite, read_entries};
use hindsight_tests::binlog::Cell;
use hindsight_tests::contract::sink::{self, Home, KeyOrder, Session, entity, history, load, meets, row, unmet};
use hindsight_tests::program::Folder;
use rusqlite::Connection;

/// A history file in a folder of its own.
pub struct File(Folder);

impl Home for File {
    fn open(&mut self) -> Box<dyn Sink> {
        Box::new(self.sink().expect("open the history"))
    }

    fn close(&mut self, sink: Box<dyn Sink>) {
        drop(sink);
    }
}

impl File {
    pub fn new() -> Self {
        File(Folder::new())
    }

    fn sink(&self) -> Result<Sqlite, SinkError> {
        Sqlite::open(&self.0.path().join("history.db"), "the \"history\"", "a pipeline")
    }

    /// Plain SQLite, none of the host's code.
    fn plain(&self) -> Connection {
        Connection::open(self.0.path().join("history.db")).expect("open with plain SQLite")
    }

    /// All rows as text, one a line.
    fn dump(&self) -> Vec<String> {
        self.query("SELECT owner_id || ' ' || source_id || ' ' || start || ' ' || a_text FROM \"the \"\"history\"\"\" ORDER BY 1")
    }

    fn query(&self, text: &str) -> Vec<String> {
        let connection = self.plain();
        let mut statement = connection.prepare(text).expect("a query");
        let rows = statement.query_map([], |row| row.get(0)).expect("run the query");
        rows.collect::<Result<_, _>>().expect("texts")
    }
}

/// Memory lives as long as its home.
#[derive(Default)]
pub struct Kept(Arc<Mutex<Memory>>);

impl Home for Kept {
    fn open(&mut self) -> Box<dyn Sink> {
        Box::new(Kept(self.0.clone()))
    }

    fn close(&mut self, _: Box<dyn Sink>) {}
}

impl Kept {
    fn now<T>(&self, call: impl AsyncFnOnce(&mut Memory) -> T) -> T {
        let mut memory = self.0.lock().expect("no test panicked in here");
        // Memory waits for nothing.
        let mut future = std::pin::pin!(call(&mut memory));
        match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(value) => value,
            std::task::Poll::Pending => unreachable!("memory waits for nothing"),
        }
    }
}

#[async_trait::async_trait]
impl Sink for Kept {
    async fn checkpoint(&mut self) -> Result<Standing, SinkError> {
        self.now(async |memory| memory.checkpoint().await)
    }

    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        self.now(async |memory| memory.prepare(history).await)
    }

    async fn quarantined(&mut self) -> Result<Arc<Quarantine>, SinkError> {
        self.now(async |memory| memory.quarantined().await)
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        self.now(async |memory| memory.entity_rows(keys, scope).await)
    }

    async fn unmet(&mut self, after: Option<Row<'_>>, n_wanted: usize) -> Result<Rows, SinkError> {
        self.now(async |memory| memory.unmet(after, n_wanted).await)
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        self.now(async |memory| memory.commit(load).await)
    }
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    sink::check(File::new).await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    sink::check(Kept::default).await;
}

#[tokio::test]
async fn memory_refuses_another_table_than_it_holds() {
    let mut memory = Memory::default();
    memory.prepare(&history(KeyOrder::EntityFirst)).await.unwrap();
    let refused = memory.prepare(&history(KeyOrder::EntityLast)).await.unwrap_err();
    assert!(matches!(refused, SinkError::OtherTable(_)), "{refused}");
}

/// A position in [`Logical::ALL`] as a column of the suite's table.
fn column(logical: Logical) -> usize {
    5 + Logical::ALL.iter().position(|&other| other == logical).unwrap()
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_commit_leaves_nothing_of_it() {
    for order in [KeyOrder::EntityFirst, KeyOrder::EntityLast] {
        let file = File::new();
        let history = history(order);
        let mut sink = file.sink().unwrap();
        sink.prepare(&history).await.unwrap();
        let before = [row(7, 1, 1, true, "kept"), row(7, 2, 2, true, "kept too")];
        sink.commit(&load(&history, &[], &before, "before")).await.unwrap();
        let dumped = file.dump();

        let mut too_large = row(7, 4, 4, true, "last");
        too_large[column(Logical::UInt64)] = Cell::UInt(1 << 63);
        let mut null = row(7, 4, 4, true, "last");
        null[4] = Cell::Null;
        let blocked = row(7, 4, 4, true, "not this one");
        file.plain()
            .execute_batch(
                "CREATE TRIGGER refuse BEFORE INSERT ON \"the \"\"history\"\"\" WHEN NEW.a_text = 'not this one'
                 BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
            )
            .unwrap();
        for (bad, words) in [
            (too_large, ["a_uint64", "9223372036854775808"]),
            (null, ["NOT NULL", "is current"]),
            (blocked, ["the disk is full", "history.db"]),
        ] {
            let upserts = [row(7, 1, 1, false, "overwritten"), row(7, 3, 3, true, "new"), bad];
            let turns = vec![sink::turn(&sink::version("a rule"), None, "before")];
            let snapshot = meets(&history, &before, &[], "").snapshot;
            let failing = Load { turns, snapshot, ..load(&history, &before[1..], &upserts, "after") };
            let error = sink.commit(&failing).await.unwrap_err();
            assert!(matches!(error, SinkError::Stop(_)), "{error:?}");
            assert!(words.iter().all(|word| error.to_string().contains(word)), "{error}");
            assert_eq!(file.dump(), dumped, "rows of a load that failed");
            let position = sink.checkpoint().await.unwrap().checkpoint.unwrap().position;
            assert_eq!(position, Position("before".into()), "checkpoint of a load that failed");
            let again = file.sink().unwrap().checkpoint().await.unwrap();
            assert_eq!(again.checkpoint.unwrap().position, position);
            assert!(again.ledger.active.is_none(), "a turn of a load that failed");
            assert_eq!(unmet(&mut sink, None, 10).await, before, "what a load that failed has met");
        }
        // It was the load, not the sink.
        sink.commit(&load(&history, &before[1..], &[row(7, 3, 3, true, "new")], "after")).await.unwrap();
        assert_eq!(entity(&mut sink, 7, Scope::AllRows).await, [before[0].clone(), row(7, 3, 3, true, "new")]);
    }
}

#[tokio::test]
async fn a_second_process_is_fenced_at_its_first_commit() {
    for begun in [false, true] {
        let file = File::new();
        let history = history(KeyOrder::EntityFirst);
        if begun {
            let mut sink = file.sink().unwrap();
            sink.prepare(&history).await.unwrap();
            sink.commit(&load(&history, &[], &[row(7, 1, 0, true, "long ago")], "0")).await.unwrap();
        }
        let (mut first, mut second) = (file.sink().unwrap(), file.sink().unwrap());
        for sink in [&mut first, &mut second] {
            sink.prepare(&history).await.unwrap();
        }
        first.commit(&load(&history, &[], &[row(7, 1, 1, true, "first")], "1")).await.unwrap();
        let dumped = file.dump();
        // Not at the second try either.
        for _ in 0..2 {
            let stale = load(&history, &[row(7, 1, 1, true, "")], &[row(7, 2, 2, true, "second")], "2");
            let error = second.commit(&stale).await.unwrap_err();
            assert!(matches!(error, SinkError::Fenced(_)), "{error:?}");
            assert!(
                error.to_string().contains("a pipeline") && error.to_string().contains("another process"),
                "{error}"
            );
            assert_eq!(file.dump(), dumped, "rows of a process that was fenced");
        }
        first.commit(&load(&history, &[], &[row(7, 3, 3, true, "first")], "3")).await.unwrap();
        let mut third = file.sink().unwrap();
        assert_eq!(third.checkpoint().await.unwrap().checkpoint.unwrap().position, Position("3".into()));
        // The same position does not make it the same commit.
        drop(first);
        third.prepare(&history).await.unwrap();
        third.commit(&load(&history, &[], &[], "3")).await.unwrap();
    }
}

#[tokio::test]
async fn plain_sqlite_reads_the_history() {
    let mut session = Session::open(File::new(), history(KeyOrder::EntityFirst), false).await;
    // 2025-03-01 12:34:56, with and without microseconds.
    let second = 1_740_832_496_000_000;
    let mut full = row(7, -1, second, true, "it's é \u{1f600}");
    let values = [
        (Logical::Boolean, Cell::Int(0)),
        (Logical::UInt64, Cell::UInt(u64::MAX >> 1)),
        (Logical::Decimal, Cell::text("-0.50")),
        (Logical::Json, Cell::text("[1]")),
        (Logical::Bytes, Cell::Bytes(vec![0xde, 0xad])),
        (Logical::Date, Cell::Int(20_148)),
        (Logical::Time, Cell::Int(-(838 * 3600 + 59 * 60 + 59) * 1_000_000)),
        (Logical::Datetime, Cell::Int(second + 1)),
    ];
    for (logical, value) in values {
        full[column(logical)] = value;
    }
    full[3] = Cell::Int(second + 250_000);
    session.commit(&[], &[full, row(7, 1, -1, false, "")], "1").await;

    let file = File(session.into_home().0);
    let mut fields = vec!["owner_id", "source_id", "start", "\"end\"", "\"is current\""];
    let names: Vec<String> = Logical::ALL.iter().map(|logical| format!("a_{}", logical.name())).collect();
    fields.extend(names.iter().map(String::as_str));
    let quoted: Vec<String> = fields.iter().map(|field| format!("quote({field})")).collect();
    let text = format!("SELECT {} FROM \"the \"\"history\"\"\" ORDER BY source_id", quoted.join(" || ', ' || "));
    assert_eq!(
        file.query(&text),
        [
            "7, -1, '2025-03-01 12:34:56', '2025-03-01 12:34:56.250000', 1, 0, NULL, 9223372036854775807, NULL, '-0.50', \
             'it''s é \u{1f600}', '[1]', X'DEAD', '2025-03-01', '-838:59:59', '2025-03-01 12:34:56.000001'",
            "7, 1, '1969-12-31 23:59:59.999999', NULL, 0, NULL, NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL",
        ]
    );
    // Text order is time order, and a day is a prefix.
    let later =
        file.query("SELECT start FROM \"the \"\"history\"\"\" WHERE start > '2025-03-01' AND start < '2025-03-02'");
    assert_eq!(later, ["2025-03-01 12:34:56"]);
    assert_eq!(
        file.query("SELECT pipeline || ' ' || version || ' ' || source || ' ' || position FROM hindsight_checkpoint"),
        ["a pipeline 1 a source 1"]
    );
}

#[tokio::test]
async fn another_table_is_refused_column_by_column() {
    let history = history(KeyOrder::EntityFirst);
    let file = File::new();
    file.plain()
        .execute_batch(
            "CREATE TABLE \"the \"\"history\"\"\" (owner_id TEXT NOT NULL, source INTEGER NOT NULL, start TEXT, \"end\" TEXT NOT NULL,
             PRIMARY KEY (start, owner_id))",
        )
        .unwrap();
    let error = file.sink().unwrap().prepare(&history).await.unwrap_err();
    assert!(matches!(error, SinkError::OtherTable(_)), "{error:?}");
    let text = error.to_string();
    for line in [
        "column 1: is owner_id TEXT NOT NULL, key 2; the rule writes owner_id INTEGER NOT NULL, key 1",
        "column 2: is source INTEGER NOT NULL; the rule writes source_id INTEGER NOT NULL, key 2",
        "column 3: is start TEXT, key 1; the rule writes start TEXT NOT NULL, key 3",
        "column 4: is end TEXT NOT NULL; the rule writes end TEXT",
        "column 5: is current BOOLEAN is missing",
        "sink.table",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
    let wider = File::new();
    let mut sink = wider.sink().unwrap();
    sink.prepare(&history).await.unwrap();
    let narrow = HistorySchema { columns: history.columns[..10].to_vec(), ..history.clone() };
    let text = sink.prepare(&narrow).await.unwrap_err().to_string();
    assert!(text.contains("column 12: a_json is not written by the rule"), "{text}");
}

#[tokio::test]
async fn rows_that_no_checkpoint_explains_are_refused() {
    let history = history(KeyOrder::EntityFirst);
    let file = File::new();
    let mut sink = file.sink().unwrap();
    sink.prepare(&history).await.unwrap();
    sink.commit(&load(&history, &[], &[row(7, 1, 1, true, "a")], "1")).await.unwrap();
    let mut other = Sqlite::open(&file.0.path().join("history.db"), "the \"history\"", "another pipeline").unwrap();
    assert_eq!(other.checkpoint().await.unwrap().checkpoint, None, "checkpoints go by the pipeline's name");
    let refused = other.prepare(&history).await.unwrap_err();
    assert!(matches!(&refused, SinkError::Unfit(text) if text.contains("written by pipeline a pipeline")), "{refused}");
    file.plain().execute_batch("DELETE FROM hindsight_checkpoint").unwrap();
    let refused = file.sink().unwrap().prepare(&history).await.unwrap_err();
    assert!(matches!(&refused, SinkError::Unfit(text) if text.contains("has no checkpoint here")), "{refused}");
}

/// Several pipelines may keep their histories in one file.
#[tokio::test]
async fn preparing_waits_for_another_pipelines_commit() {
    let file = File::new();
    let mut sink = file.sink().unwrap();
    let (locked, is_locked) = std::sync::mpsc::channel();
    let other = file.plain();
    let committing = std::thread::spawn(move || {
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        locked.send(()).unwrap();
        // Long enough that the sink has begun to read: what it read is old when this commit is done.
        std::thread::sleep(std::time::Duration::from_millis(300));
        other.execute_batch("CREATE TABLE of_another_pipeline (a); COMMIT").unwrap();
    });
    is_locked.recv().unwrap();
    sink.prepare(&history(KeyOrder::EntityLast)).await.expect("waited its turn");
    committing.join().unwrap();
}

#[tokio::test]
async fn what_one_pipeline_met_is_not_met_by_another_in_the_same_file() {
    let (file, history) = (File::new(), history(KeyOrder::EntityLast));
    let open = |table, pipeline| Sqlite::open(&file.0.path().join("history.db"), table, pipeline).unwrap();
    let mut sinks = [open("one", "pipeline one"), open("two", "pipeline two")];
    let rows = [row(7, 1, 1, true, "a")];
    for sink in &mut sinks {
        sink.prepare(&history).await.unwrap();
        sink.commit(&load(&history, &[], &rows, "1")).await.unwrap();
    }
    sinks[0].commit(&meets(&history, &rows, &[], "2")).await.unwrap();
    assert!(unmet(&mut sinks[0], None, 10).await.is_empty());
    assert_eq!(unmet(&mut sinks[1], None, 10).await, rows);
    let anew = Load { snapshot: Some(SnapshotStep::Anew), ..load(&history, &[], &[], "2") };
    sinks[1].commit(&anew).await.unwrap();
    assert!(unmet(&mut sinks[0], None, 10).await.is_empty(), "still met");
    assert_eq!(entity(&mut sinks[0], 7, Scope::AllRows).await, rows, "another's rows");
    assert!(entity(&mut sinks[1], 7, Scope::AllRows).await.is_empty());
}

#[tokio::test]
async fn a_place_that_cannot_hold_history_is_refused() {
    let folder = Folder::new();
    let text = folder.write("notes.txt", "this is no database, it is a text of more than a hundred bytes; ".repeat(40));
    for path in [text, folder.path().to_owned(), folder.path().join("gone/history.db")] {
        let error = Sqlite::open(&path, "history", "a pipeline").err().expect("no place for a history");
        assert!(matches!(&error, SinkError::Unfit(text) if text.contains(&path.display().to_string())), "{error:?}");
    }
    let file = File::new();
    drop(file.sink().unwrap());
    file.plain().execute_batch("INSERT INTO hindsight_checkpoint VALUES ('a pipeline', 2, 1, 's', 'p')").unwrap();
    let error = file.sink().err().expect("a format of the future");
    assert!(matches!(&error, SinkError::Unfit(text) if text.contains("format 2")), "{error:?}");
}

#[tokio::test]
async fn a_cell_that_somebody_else_changed_into_nonsense_stops() {
    let history = history(KeyOrder::EntityFirst);
    for (change, words) in [
        ("\"end\" = 'soon'", "column end holds"),
        ("\"is current\" = 2", "column is current holds"),
        ("a_uint64 = -1", "column a_uint64 holds"),
        ("a_bytes = 'text'", "column a_bytes holds"),
    ] {
        let file = File::new();
        let mut sink = file.sink().unwrap();
        sink.prepare(&history).await.unwrap();
        sink.commit(&load(&history, &[], &[row(7, 1, 1, true, "a")], "1")).await.unwrap();
        file.plain().execute_batch(&format!("UPDATE \"the \"\"history\"\"\" SET {change}")).unwrap();
        let mut keys = Rows::new(1);
        keys.push_row([Cell::Int(7).value()]);
        let error = sink.entity_rows(&keys, Scope::AllRows).await.unwrap_err();
        assert!(matches!(&error, SinkError::Stop(text) if text.contains(words)), "{error:?}");
    }
}

#[tokio::test]
async fn components_are_kept_once_and_only_of_the_active_and_the_previous_rule() {
    let file = File::new();
    let history = history(KeyOrder::EntityFirst);
    let mut sink = file.sink().unwrap();
    sink.prepare(&history).await.unwrap();
    let versions = ["one", "two", "three"].map(sink::version);
    let path = file.0.path().join("history.db");
    for (number, (active, previous)) in [(0, None), (1, Some(0)), (0, Some(1)), (2, Some(0))].into_iter().enumerate() {
        let turn = sink::turn(&versions[active], previous.map(|previous| &versions[previous]), "a place");
        let load = Load { turns: vec![turn], ..load(&history, &[], &[], &format!("place {number}")) };
        sink.commit(&load).await.unwrap();
    }
    let kept = file.query("SELECT CAST(bytes AS TEXT) FROM hindsight_components ORDER BY 1");
    assert_eq!(kept, ["one", "three"]);
    let entries = read_entries(&path, "a pipeline").unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry.n, entry.name.as_str())).collect();
    assert_eq!(told, [(1, "one"), (2, "two"), (3, "one"), (4, "three")], "every turn stays");
    assert!(read_entries(&path, "another").unwrap().is_empty());
    // A component that somebody changed is no rule to start with.
    file.plain().execute_batch("UPDATE hindsight_components SET bytes = X'00'").unwrap();
    let error = file.sink().unwrap().checkpoint().await.unwrap_err();
    assert!(matches!(&error, SinkError::Unfit(text) if text.contains("somebody changed")), "{error:?}");
}
