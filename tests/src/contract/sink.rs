//! What every `Sink` promises, also when it is closed and opened again between any two loads.

use std::sync::Arc;

use hindsight::dead_letter::{Cause, DeadLetter, Schema};
use hindsight::event::{Field, Logical, Op, Position};
use hindsight::groups::Moved;
use hindsight::history::{
    Checkpoint, EntityRows, HistoryColumn, HistorySchema, Load, Roles, Scope, SnapshotStep, Standing,
};
use hindsight::ledger::{Reason, RuleVersion, Turn};
use hindsight::rows::Rows;
use hindsight::sink::Sink;

use crate::binlog::Cell;

/// Where a sink keeps its history.
pub trait Home {
    /// Opens it as it was left.
    fn open(&mut self) -> Box<dyn Sink>;
    /// What [`Home::open`] gave comes back.
    fn close(&mut self, sink: Box<dyn Sink>);
}

/// Columns of the suite's table; one of each type behind the reference table's own.
const OWNER: usize = 0;
const ID: usize = 1;
const START: usize = 2;
const END: usize = 3;
const CURRENT: usize = 4;
const FIRST_VALUE: usize = 5;

/// A table whose primary key begins with the entity key, or not: a sink may read the two by different ways.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum KeyOrder {
    EntityFirst,
    EntityLast,
}

pub fn history(order: KeyOrder) -> HistorySchema {
    let column = |name: &str, logical, nullable| HistoryColumn {
        field: Field { name: name.into(), logical, nullable, declared: logical_declared(logical) },
        source: None,
    };
    let mut columns = vec![
        column("owner_id", Logical::Int64, false),
        column("source_id", Logical::Int64, false),
        column("start", Logical::Datetime, false),
        column("end", Logical::Datetime, true),
        column("is current", Logical::Boolean, false),
    ];
    columns.extend(Logical::ALL.iter().map(|&logical| column(&format!("a_{}", logical.name()), logical, true)));
    let primary_key = match order {
        KeyOrder::EntityFirst => vec![OWNER, ID, START],
        KeyOrder::EntityLast => vec![ID, START, OWNER],
    };
    let roles = Roles { entity_key: vec![OWNER], start: START, end: END, current: Some(CURRENT) };
    HistorySchema { columns, primary_key, roles }
}

fn logical_declared(logical: Logical) -> String {
    logical.name().to_owned()
}

/// A row with a note in its text column and NULL in every other value.
pub fn row(owner: i64, id: i64, start: i64, current: bool, note: &str) -> Vec<Cell> {
    let mut row = vec![Cell::Int(owner), Cell::Int(id), Cell::Int(start), Cell::Null, Cell::Int(i64::from(current))];
    row.extend(Logical::ALL.iter().map(|&logical| match logical {
        Logical::Text => Cell::text(note),
        _ => Cell::Null,
    }));
    row
}

/// A load of these rows and of these primary keys, ending at a position.
pub fn load(history: &HistorySchema, deletes: &[Vec<Cell>], upserts: &[Vec<Cell>], position: &str) -> Load {
    let mut load = Load {
        upserts: Rows::new(history.columns.len()),
        deletes: Rows::new(history.primary_key.len()),
        ..Load::empty(Checkpoint { source: "a source".into(), position: Position(position.into()) })
    };
    for row in deletes {
        load.deletes.push_row(history.primary_key.iter().map(|&column| row[column].value()));
    }
    for row in upserts {
        load.upserts.push_row(row.iter().map(Cell::value));
    }
    load
}

/// A load of these rows, which says that a re-snapshot has met the rows of `met`.
pub fn meets(history: &HistorySchema, met: &[Vec<Cell>], upserts: &[Vec<Cell>], position: &str) -> Load {
    let source_key = history.source_key();
    let mut keys = Rows::new(source_key.len());
    for row in met {
        keys.push_row(source_key.iter().map(|&column| row[column].value()));
    }
    Load { snapshot: Some(SnapshotStep::Met(keys)), ..load(history, &[], upserts, position) }
}

/// What is current and was not met: entities behind `after`, as many as it takes to have `n_wanted` rows.
pub async fn unmet(sink: &mut dyn Sink, after: Option<i64>, n_wanted: usize) -> Vec<Vec<Cell>> {
    let mut key = Rows::new(1);
    key.push_row([Cell::Int(after.unwrap_or_default()).value()]);
    let rows = sink.unmet(after.map(|_| key.row(0)), n_wanted).await.expect("read what was not met");
    rows.iter().map(|row| row.values().map(Cell::from).collect()).collect()
}

/// The rows of one entity.
pub async fn entity(sink: &mut dyn Sink, owner: i64, scope: Scope) -> Vec<Vec<Cell>> {
    entities(sink, &[owner], scope).await.remove(0)
}

/// The rows of several entities, asked for at once.
pub async fn entities(sink: &mut dyn Sink, owners: &[i64], scope: Scope) -> Vec<Vec<Vec<Cell>>> {
    let mut keys = Rows::new(1);
    for &owner in owners {
        keys.push_row([Cell::Int(owner).value()]);
    }
    let EntityRows { offsets, rows } = sink.entity_rows(&keys, scope).await.expect("read history");
    assert_eq!(offsets.len(), owners.len() + 1, "an entity's rows end where the next one's begin");
    assert_eq!((offsets[0], offsets[owners.len()] as usize), (0, rows.len()));
    let cells = |row: u32| rows.row(row as usize).values().map(Cell::from).collect();
    offsets.windows(2).map(|ends| (ends[0]..ends[1]).map(cells).collect()).collect()
}

/// The whole suite; `home`: makes a new, empty place each time.
pub async fn check<H: Home>(home: impl Fn() -> H) {
    for order in [KeyOrder::EntityFirst, KeyOrder::EntityLast] {
        for restarts in [false, true] {
            let session = async |home: H| Session::open(home, history(order), restarts).await;
            a_new_one_has_no_checkpoint(session(home()).await).await;
            rows_and_checkpoint_move_together(session(home()).await).await;
            deletes_come_first_and_the_later_upsert_stands(session(home()).await).await;
            each_entity_gets_its_own_rows(session(home()).await).await;
            every_value_comes_back(session(home()).await).await;
            a_load_without_rows_moves_the_checkpoint(session(home()).await).await;
            the_ledger_moves_with_the_checkpoint(session(home()).await).await;
            an_entity_with_a_dead_letter_is_in_quarantine(session(home()).await).await;
            a_load_without_rows_may_come_before_the_table(home(), history(order), restarts).await;
            what_was_not_met_comes_by_whole_entities(session(home()).await).await;
            what_was_met_is_forgotten_at_the_end_only(session(home()).await).await;
            a_load_begins_the_history_anew(session(home()).await).await;
            let without_flag =
                HistorySchema { roles: Roles { current: None, ..history(order).roles }, ..history(order) };
            without_a_flag_a_row_without_an_end_is_current(Session::open(home(), without_flag, restarts).await).await;
            a_history_may_begin_anew_before_the_table_is_known(session(home()).await).await;
        }
    }
}

/// An open sink, prepared for a table; closed and opened again before each step where that is asked for.
pub struct Session<H: Home> {
    home: H,
    pub history: HistorySchema,
    restarts: bool,
    sink: Option<Box<dyn Sink>>,
}

impl<H: Home> Session<H> {
    pub async fn open(home: H, history: HistorySchema, restarts: bool) -> Self {
        let mut session = Session { home, history, restarts, sink: None };
        session.begin().await;
        session
    }

    /// The sink for the next step.
    pub async fn sink(&mut self) -> &mut dyn Sink {
        if self.restarts {
            let sink = self.sink.take().expect("open until it is closed");
            self.home.close(sink);
            self.begin().await;
        }
        self.sink.as_mut().expect("open until it is closed").as_mut()
    }

    pub async fn commit(&mut self, deletes: &[Vec<Cell>], upserts: &[Vec<Cell>], position: &str) {
        let load = load(&self.history, deletes, upserts, position);
        self.sink().await.commit(&load).await.expect("commit");
    }

    /// The place, with the sink closed.
    pub fn into_home(mut self) -> H {
        let sink = self.sink.take().expect("open until it is closed");
        self.home.close(sink);
        self.home
    }

    async fn checkpoint(&mut self) -> Option<String> {
        self.sink().await.checkpoint().await.expect("read the checkpoint").checkpoint.map(|checkpoint| {
            assert_eq!(checkpoint.source, "a source");
            checkpoint.position.0
        })
    }

    async fn standing(&mut self) -> Standing {
        self.sink().await.checkpoint().await.expect("read the checkpoint")
    }

    async fn all(&mut self, owner: i64) -> Vec<Vec<Cell>> {
        entity(self.sink().await, owner, Scope::AllRows).await
    }

    async fn begin(&mut self) {
        let mut sink = self.home.open();
        sink.checkpoint().await.expect("read the checkpoint");
        sink.prepare(&self.history).await.expect("prepare");
        // Again, as when the rule was configured anew.
        sink.prepare(&self.history).await.expect("prepare with an equal schema");
        self.sink = Some(sink);
    }
}

async fn a_new_one_has_no_checkpoint<H: Home>(mut session: Session<H>) {
    assert_eq!(session.checkpoint().await, None);
    assert!(session.all(7).await.is_empty());
    assert_eq!(session.checkpoint().await, None, "looking is no commit");
}

async fn rows_and_checkpoint_move_together<H: Home>(mut session: Session<H>) {
    let mut expected = Vec::new();
    for step in 0..5 {
        expected.push(row(7, 1, step, true, "step"));
        let position = format!("position {step}");
        session.commit(&[], &expected[step as usize..], &position).await;
        assert_eq!(session.checkpoint().await, Some(position));
        assert_eq!(session.all(7).await, expected, "after step {step}");
    }
}

async fn a_load_without_rows_moves_the_checkpoint<H: Home>(mut session: Session<H>) {
    session.commit(&[], &[], "one").await;
    assert_eq!(session.checkpoint().await.as_deref(), Some("one"));
    session.commit(&[], &[], "two; é \u{1f600}").await;
    assert_eq!(session.checkpoint().await.as_deref(), Some("two; é \u{1f600}"));
}

/// A rule version that tests name.
pub fn version(name: &str) -> Arc<RuleVersion> {
    let settings = vec![("colour".to_owned(), "it's \"red\"".to_owned())];
    Arc::new(RuleVersion::new(name.into(), format!("{name}.wasm"), name.as_bytes().into(), settings, "UTC"))
}

/// A turn to a version, at a position.
pub fn turn(version: &Arc<RuleVersion>, previous: Option<&Arc<RuleVersion>>, since: &str) -> Turn {
    Turn {
        version: version.clone(),
        since: Some(Position(since.into())),
        reason: Reason::Swap,
        previous: previous.cloned(),
        configured: "a digest".into(),
        tables: "shop.item_assets(id int)".into(),
    }
}

async fn the_ledger_moves_with_the_checkpoint<H: Home>(mut session: Session<H>) {
    assert!(session.standing().await.ledger.active.is_none());
    let [one, two, three] = ["one", "two", "three"].map(version);
    for (number, (turns, active, previous)) in [
        (vec![turn(&one, None, "0")], &one, None),
        (vec![], &one, None),
        (vec![turn(&two, Some(&one), "2")], &two, Some(&one)),
        // Two at once: the last one stands.
        (vec![turn(&one, Some(&two), "3"), turn(&three, Some(&one), "3")], &three, Some(&one)),
        (vec![], &three, Some(&one)),
    ]
    .into_iter()
    .enumerate()
    {
        let load = Load { turns, ..load(&session.history, &[], &[], &number.to_string()) };
        session.sink().await.commit(&load).await.expect("commit");
        let Standing { checkpoint, ledger, .. } = session.standing().await;
        assert_eq!(checkpoint.expect("a checkpoint").position.0, number.to_string());
        assert_eq!((ledger.active.as_ref(), ledger.previous.as_ref()), (Some(active), previous), "after {number}");
        assert_eq!(ledger.configured.as_deref(), Some("a digest"));
        assert_eq!(ledger.tables.as_deref(), Some("shop.item_assets(id int)"));
    }
}

/// A dead letter of an entity, or of none.
pub fn dead_letter(entity: Option<&str>, quarantines: bool) -> DeadLetter {
    DeadLetter {
        entity: entity.map(str::to_owned),
        entity_key: "owner_id".into(),
        quarantines,
        cause: Cause::Rejected,
        reason: "it's \"late\"".into(),
        op: Op::Update,
        moved: Moved::Leaves,
        place: "binlog.000001:4".into(),
        rule: "a digest".into(),
        schema: Arc::new(Schema { hash: "0123".into(), document: "{}".into() }),
        event: "{\"op\":\"u\"}".into(),
    }
}

async fn an_entity_with_a_dead_letter_is_in_quarantine<H: Home>(mut session: Session<H>) {
    let quarantined = async |session: &mut Session<H>| {
        let found = session.sink().await.quarantined().await.expect("read what is in quarantine");
        (found.len(), ["7", "8", "9"].map(|entity| found.holds(entity)))
    };
    assert_eq!(quarantined(&mut session).await, (0, [false; 3]));
    for (number, (letters, wanted)) in [
        (vec![], (0, [false; 3])),
        (vec![dead_letter(None, true), dead_letter(Some("8"), false)], (0, [false; 3])),
        (vec![dead_letter(Some("7"), true), dead_letter(Some("7"), true)], (1, [true, false, false])),
        (vec![], (1, [true, false, false])),
        (vec![dead_letter(Some("9"), true), dead_letter(Some("8"), true)], (3, [true; 3])),
    ]
    .into_iter()
    .enumerate()
    {
        let load = Load { dead_letters: letters, ..load(&session.history, &[], &[], &number.to_string()) };
        session.sink().await.commit(&load).await.expect("commit");
        assert_eq!(quarantined(&mut session).await, wanted, "after {number}");
    }
    // All that was set aside comes again.
    let anew = Load { snapshot: Some(SnapshotStep::Anew), ..load(&session.history, &[], &[], "anew") };
    session.sink().await.commit(&anew).await.expect("commit");
    assert_eq!(quarantined(&mut session).await, (0, [false; 3]));
}

/// A live source moves on before the first captured row comes.
async fn a_load_without_rows_may_come_before_the_table<H: Home>(mut home: H, history: HistorySchema, restarts: bool) {
    let mut sink = home.open();
    sink.checkpoint().await.expect("read the checkpoint");
    for position in ["0", "1"] {
        let checkpoint = Checkpoint { source: "a source".into(), position: Position(position.into()) };
        sink.commit(&Load::empty(checkpoint)).await.expect("commit without a table");
        if restarts {
            home.close(sink);
            sink = home.open();
        }
        let standing = sink.checkpoint().await.expect("read the checkpoint");
        assert_eq!(standing.checkpoint.expect("a checkpoint").position.0, position);
    }
    sink.prepare(&history).await.expect("the table is made now");
    sink.commit(&load(&history, &[], &[row(7, 1, 1, true, "a")], "2")).await.expect("commit");
    assert_eq!(entity(sink.as_mut(), 7, Scope::AllRows).await, [row(7, 1, 1, true, "a")]);
}

async fn deletes_come_first_and_the_later_upsert_stands<H: Home>(mut session: Session<H>) {
    session.commit(&[], &[row(7, 1, 10, true, "a"), row(7, 1, 20, true, "b"), row(7, 2, 10, true, "c")], "1").await;
    // The same key deleted and written; twice written; deleted though never there.
    let deletes = [row(7, 1, 10, true, ""), row(7, 2, 10, true, ""), row(9, 9, 9, true, "")];
    let upserts = [row(7, 1, 10, false, "first"), row(7, 3, 10, true, "d"), row(7, 1, 10, true, "second")];
    session.commit(&deletes, &upserts, "2").await;
    let expected = [row(7, 1, 10, true, "second"), row(7, 1, 20, true, "b"), row(7, 3, 10, true, "d")];
    assert_eq!(session.all(7).await, expected);
    // An upsert replaces whole rows, also by NULL.
    let mut empty = row(7, 1, 20, false, "b");
    empty[FIRST_VALUE + Logical::ALL.iter().position(|&logical| logical == Logical::Text).expect("there is one")] =
        Cell::Null;
    session.commit(&[], &[empty.clone()], "3").await;
    assert_eq!(session.all(7).await[1], empty);
}

async fn what_was_not_met_comes_by_whole_entities<H: Home>(mut session: Session<H>) {
    assert!(unmet(session.sink().await, None, 10).await.is_empty());
    let rows = [
        row(9, 1, 10, true, "9"),
        row(-7, 1, 10, true, "-7"),
        row(7, 3, 30, true, "7, met"),
        row(7, 2, 20, true, "7"),
        row(7, 2, 10, false, "7, closed"),
        row(7, 1, 50, true, "7"),
        row(8, 1, 10, true, "8, met"),
    ];
    session.commit(&[], &rows, "1").await;
    let meeting = meets(&session.history, &[rows[2].clone(), rows[6].clone(), row(100, 1, 1, true, "")], &[], "2");
    session.sink().await.commit(&meeting).await.expect("commit");
    let wanted = [&rows[1], &rows[5], &rows[3], &rows[0]].map(Clone::clone);
    for (after, n_wanted, from, to) in [
        (None, 100, 0, 4),
        // An entity is never cut, and none more than is wanted is begun.
        (None, 1, 0, 1),
        (None, 2, 0, 3),
        (None, 3, 0, 3),
        (None, 4, 0, 4),
        (Some(-8), 1, 0, 1),
        (Some(-7), 1, 1, 3),
        (Some(7), 1, 3, 4),
        (Some(8), 1, 3, 4),
        (Some(9), 100, 4, 4),
    ] {
        let got = unmet(session.sink().await, after, n_wanted).await;
        assert_eq!(got, wanted[from..to], "behind {after:?}, {n_wanted} wanted");
    }
}

async fn what_was_met_is_forgotten_at_the_end_only<H: Home>(mut session: Session<H>) {
    let rows = [row(7, 1, 10, true, "a"), row(7, 2, 10, true, "b"), row(8, 1, 10, true, "c")];
    session.commit(&[], &rows, "1").await;
    let mut left = rows.to_vec();
    // Met twice is met.
    for (number, met) in [(0, &rows[..1]), (1, &rows[..2]), (2, &[])] {
        let load = meets(&session.history, met, &[], &format!("met {number}"));
        session.sink().await.commit(&load).await.expect("commit");
        left.retain(|row| !met.contains(row));
        assert_eq!(unmet(session.sink().await, None, 10).await, left, "after load {number}");
    }
    // By the key without the start: also what follows, and what comes with it.
    let news = [row(7, 2, 20, true, "b, later"), row(9, 9, 9, true, "new")];
    let load = meets(&session.history, &news[1..], &news, "later");
    session.sink().await.commit(&load).await.expect("commit");
    assert_eq!(unmet(session.sink().await, None, 10).await, rows[2..]);
    session.commit(&[], &[], "changes of the log").await;
    assert_eq!(unmet(session.sink().await, None, 10).await, rows[2..]);
    let ends = Load { snapshot: Some(SnapshotStep::Ends), ..load_of(&session, "the end") };
    session.sink().await.commit(&ends).await.expect("commit");
    let all = [&rows[0], &rows[1], &news[0], &rows[2], &news[1]].map(Clone::clone);
    assert_eq!(unmet(session.sink().await, None, 10).await, all, "nothing is met by the next one yet");
}

async fn a_load_begins_the_history_anew<H: Home>(mut session: Session<H>) {
    session.commit(&[], &[row(7, 1, 10, true, "old"), row(8, 1, 10, true, "old")], "1").await;
    let meeting = meets(&session.history, &[row(7, 1, 1, true, "")], &[], "2");
    session.sink().await.commit(&meeting).await.expect("commit");
    let new = row(7, 1, 20, true, "new");
    let anew =
        Load { snapshot: Some(SnapshotStep::Anew), ..load(&session.history, &[], std::slice::from_ref(&new), "anew") };
    session.sink().await.commit(&anew).await.expect("commit");
    assert_eq!(session.checkpoint().await.as_deref(), Some("anew"));
    assert_eq!((session.all(7).await, session.all(8).await), (vec![new.clone()], Vec::new()));
    assert_eq!(unmet(session.sink().await, None, 10).await, [new], "what was met before");
}

async fn without_a_flag_a_row_without_an_end_is_current<H: Home>(mut session: Session<H>) {
    let (mut ended, current) = (row(7, 1, 10, true, "ended"), row(7, 1, 20, false, "current"));
    ended[END] = Cell::Int(20);
    session.commit(&[], &[ended, current.clone()], "1").await;
    assert_eq!(unmet(session.sink().await, None, 10).await, [current]);
}

/// All tables of the source may be empty: then none was met.
async fn a_history_may_begin_anew_before_the_table_is_known<H: Home>(mut session: Session<H>) {
    session.commit(&[], &[row(7, 1, 10, true, "old")], "1").await;
    let anew = Load { snapshot: Some(SnapshotStep::Anew), ..load_of(&session, "anew") };
    let history = session.history.clone();
    let mut home = session.into_home();
    let mut sink = home.open();
    sink.checkpoint().await.expect("read the checkpoint");
    sink.commit(&anew).await.expect("commit before prepare");
    sink.prepare(&history).await.expect("prepare");
    assert!(entity(sink.as_mut(), 7, Scope::AllRows).await.is_empty());
}

/// One without rows.
fn load_of<H: Home>(session: &Session<H>, position: &str) -> Load {
    load(&session.history, &[], &[], position)
}

async fn each_entity_gets_its_own_rows<H: Home>(mut session: Session<H>) {
    let rows = [
        row(7, 2, 10, true, "7b"),
        row(8, 1, 30, true, "8a"),
        row(7, 1, 20, true, "7a later"),
        row(7, 1, -5, false, "7a before 1970"),
        row(-7, 1, 10, false, "minus"),
        row(70, 1, 10, true, "seventy"),
    ];
    session.commit(&[], &rows, "1").await;
    let sink = session.sink().await;
    let [seven, eight, nobody, minus]: [_; 4] =
        entities(sink, &[7, 8, 1000, -7], Scope::AllRows).await.try_into().expect("four entities");
    let in_key_order = [rows[3].clone(), rows[2].clone(), rows[0].clone()];
    assert_eq!(seven, in_key_order, "in the order of the primary key");
    assert_eq!((eight, nobody, minus), (vec![rows[1].clone()], Vec::new(), vec![rows[4].clone()]));
    let current = entities(sink, &[-7, 7], Scope::CurrentRows).await;
    assert_eq!(current, [Vec::new(), in_key_order[1..].to_vec()], "current rows only");
    assert!(entities(sink, &[], Scope::AllRows).await.is_empty());
}

async fn every_value_comes_back<H: Home>(mut session: Session<H>) {
    let rows: Vec<_> = (0..).map_while(|number| values(number).map(|values| with_values(number, values))).collect();
    assert!(rows.len() > 4);
    session.commit(&[], &rows, "1").await;
    for (number, expected) in rows.iter().enumerate() {
        assert_eq!(session.all(number as i64).await, std::slice::from_ref(expected), "values {number}");
    }
    // Written again as read.
    session.commit(&[], &rows, "2").await;
    assert_eq!(session.all(0).await, &rows[..1]);
}

fn with_values(owner: usize, values: [Cell; 11]) -> Vec<Cell> {
    let mut row = row(owner as i64, 1, 1, true, "");
    row.truncate(FIRST_VALUE);
    row.extend(values);
    row
}

/// One value for each of [`Logical::ALL`]: the ends of each type and what is easily lost.
fn values(number: usize) -> Option<[Cell; 11]> {
    let int = |value: i64| Cell::Int(value);
    let text = Cell::text;
    // boolean, int64, uint64, float64, decimal, text, json, bytes, date, time, datetime
    Some(match number {
        0 => [const { Cell::Null }; 11],
        1 => [
            int(0),
            int(i64::MIN),
            Cell::UInt(0),
            Cell::Float(-0.1),
            text("-12345678901234567890.1230"),
            text(""),
            text("null"),
            Cell::Bytes(Vec::new()),
            int(-719_528),
            int(-3_020_399_999_999),
            int(-719_528 * 86_400_000_000),
        ],
        2 => [
            int(1),
            int(i64::MAX),
            Cell::UInt(i64::MAX as u64),
            Cell::Float(f64::MAX),
            text("0.00"),
            text("\u{1f600} é\0'\"\n 007"),
            text("{\"a\": [1.0, \"\u{1f600}\"]}"),
            Cell::Bytes((0..=255).collect()),
            int(2_932_896),
            int(3_020_399_999_999),
            int(2_932_897 * 86_400_000_000 - 1),
        ],
        3 => [
            int(1),
            int(-1),
            Cell::UInt(1),
            Cell::Float(1e-300),
            text("007"),
            text("1e5"),
            text("7"),
            Cell::Bytes(b"text?".to_vec()),
            int(0),
            int(1),
            int(1),
        ],
        4 => [
            int(0),
            int(0),
            Cell::UInt(9_007_199_254_740_993),
            Cell::Float(3.0),
            text("99999999999999999999999999999999999.999999999999999999999999999999"),
            text(&"long ".repeat(40_000)),
            text("[]"),
            Cell::Bytes(vec![0]),
            int(-1),
            int(-1),
            int(-1),
        ],
        _ => return None,
    })
}
