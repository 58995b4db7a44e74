//! Case files as a person writes them, right and wrong.

use std::path::Path;

use super::*;
use crate::civil;
use crate::event::{Logical, Position};
use crate::history::{HistoryColumn, Roles};
use crate::rows::Value;
use crate::source::Source;

const CASE: &str = r#"
history = [ { source_id = 1, start_ts = "2025-01-01 00:00:00" } ]
[[change]]
op = "u"
ts = "2025-02-01 00:00:00.25"
before = { id = 1, owner_id = 7, asset_info = "a", registered_at = "2025-01-01 00:00:00" }
after  = { id = 1, owner_id = 7, asset_info = "b", registered_at = "2025-02-01 00:00:00" }
[[change]]
op = "d"
ts = 2025-03-01T00:00:00
before = { id = 1, owner_id = 7 }
[expect]
history = [ { source_id = "*", start_ts = "*" } ]
rejects = [ { change = 1, reason = "*" }, { change = 0, reason = "no" } ]
"#;

fn parse(text: &str) -> Result<Case, Faults> {
    Case::parse(Path::new("cases/a-row_is-closed.toml"), text)
}

/// A history table of an integer, the primary key, and a time.
fn history_schema() -> HistorySchema {
    let column = |name: &str, logical, nullable| HistoryColumn {
        field: Field { name: name.into(), logical, nullable, declared: logical_name(logical) },
        source: None,
    };
    HistorySchema {
        columns: vec![column("source_id", Logical::Int64, false), column("start_ts", Logical::Datetime, true)],
        primary_key: vec![0],
        roles: Roles { entity_key: vec![0], start: 1, end: 1, current: None },
    }
}

fn logical_name(logical: Logical) -> String {
    logical.name().to_owned()
}

#[test]
fn a_case_is_read_over_the_reference_table() {
    let case = parse(CASE).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(case.name, "a row is closed");
    assert_eq!(case.tables, [Arc::new(default_table())]);
    let [update, delete] = case.changes.as_slice() else { panic!("two changes, not {:?}", case.changes) };
    let time = |text| civil::parse_datetime(text).expect("a time");
    assert_eq!((update.op, update.time_us), (Op::Update, time("2025-02-01 00:00:00.250000")));
    let after = [Cell::Int(1), Cell::Int(7), Cell::Text("b".into()), Cell::Int(time("2025-02-01"))];
    assert_eq!(update.after.as_deref(), Some(&after[..]));
    let before = [Cell::Int(1), Cell::Int(7), Cell::Null, Cell::Null];
    assert_eq!((delete.op, delete.before.as_deref()), (Op::Delete, Some(&before[..])));
    assert_eq!(delete.time_us, time("2025-03-01"));
    let reject = |change, reason: Option<&str>| ExpectedReject { change, reason: reason.map(str::to_owned) };
    assert_eq!(case.expected_rejects, [reject(1, None), reject(0, Some("no"))]);

    let history = case.history(&history_schema()).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(history.row(0).values().eq([Value::Int(1), Value::Int(time("2025-01-01"))]));
    let expected = case.expected_history(&history_schema()).unwrap_or_else(|faults| panic!("{faults}"));
    assert_eq!(expected, [[Cell::Any, Cell::Any]]);
}

#[test]
fn values_are_read_by_their_declared_type() {
    let time = |text| Cell::Int(civil::parse_datetime(text).expect("a time"));
    for (declared, typed, wanted) in [
        ("bigint", "-9223372036854775808", Cell::Int(i64::MIN)),
        ("bigint unsigned", "\"18446744073709551615\"", Cell::UInt(u64::MAX)),
        ("boolean", "true", Cell::Int(1)),
        ("double", "1", Cell::Float(1.0)),
        ("double", "-2.5", Cell::Float(-2.5)),
        ("decimal(10,2)", "\"-1.50\"", Cell::Text("-1.50".into())),
        ("varchar(10)", "\"\"", Cell::Text(String::new())),
        ("varchar(10)", "\"*\"", Cell::Text("*".into())),
        ("varbinary(4)", "\"0x00fF\"", Cell::Bytes(vec![0, 255])),
        ("date", "\"1970-01-02\"", Cell::Int(1)),
        ("date", "1970-01-02", Cell::Int(1)),
        ("time(6)", "\"-00:00:00.5\"", Cell::Int(-500_000)),
        ("datetime(6)", "\"2025-01-01 10:00:00.000001\"", time("2025-01-01 10:00:00.000001")),
        ("datetime", "\"0000-00-00 00:00:00\"", Cell::Null),
        ("timestamp", "\"2023-02-30 10:00:00\"", Cell::Null),
        ("date", "\"2026-00-00\"", Cell::Null),
    ] {
        let case = parse(&with_value(declared, typed)).unwrap_or_else(|faults| panic!("{faults}"));
        assert_eq!(case.changes[0].after.as_deref(), Some(&[Cell::Int(1), wanted][..]), "{declared} {typed}");
    }
}

#[test]
fn a_value_that_is_none_of_its_type_names_change_and_column() {
    for (declared, typed) in [
        ("int", "\"x\""),
        ("int", "1.0"),
        ("int", "9223372036854775808"),
        ("int unsigned", "-1"),
        ("boolean", "2"),
        ("double", "\"1.0\""),
        ("decimal(10,2)", "1.5"),
        ("decimal(10,2)", "\"1.\""),
        ("varchar(10)", "1"),
        ("varbinary(4)", "\"00\""),
        ("varbinary(4)", "\"0x+f\""),
        ("date", "\"1.1.2025\""),
        ("datetime", "\"2025-01-01 24:00:00\""),
        ("datetime", "2025-01-01T00:00:00Z"),
        ("time", "\"10:00\""),
    ] {
        let faults = parse(&with_value(declared, typed)).expect_err(typed).to_string();
        let wanted = format!("change 0 after: this is no value for column `v` ({declared})");
        assert!(faults.contains(&wanted) && faults.contains("a-row_is-closed.toml:6:"), "{typed}: {faults}");
    }
}

fn with_value(declared: &str, typed: &str) -> String {
    format!(
        "table = {{ name = \"t\", primary-key = [\"id\"], columns = {{ id = \"int\", v = \"{declared}\" }} }}\n\
         [[change]]\nop = \"c\"\n\nts = \"2025-01-01 00:00:00\"\nafter = {{ id = 1, v = {typed} }}\n\
         [expect]\nhistory = []\n"
    )
}

#[test]
fn faults_name_what_is_wrong_and_what_to_write() {
    for (change, words) in [
        (("op = \"d\"", "op = \"x\""), "`op` of change 1 cannot be \"x\""),
        (("op = \"d\"", ""), "`op` is missing in change 1"),
        (("op = \"d\"", "op = \"c\""), "change 1 has a `before` image; op \"c\" takes none"),
        (("op = \"d\"", "op = \"u\""), "change 1 lacks its `after` image; op \"u\" needs one"),
        (("ts = \"2025-02-01 00:00:00.25\"", "ts = \"soon\""), "`ts` of change 0 is no wall clock time: \"soon\""),
        (("asset_info = \"b\"", "aset_info = \"b\""), "there is no column `aset_info`; did you mean `asset_info`?"),
        (("change = 1", "change = 2"), "there is no change 2: the case has 2, counted from 0"),
        (
            ("[expect]\nhistory = [ { source_id = \"*\", start_ts = \"*\" } ]", "[expect]"),
            "`history` is missing in [expect]",
        ),
        (("op = \"d\"", "op = \"d\"\ntable = \"other\""), "there is no table \"other\"; the case has item_assets"),
        (("[expect]", "[expct]"), "did you mean `expect`?"),
        (("history = [ { source_id = 1,", "history = [ 7, {"), "`history` of the case is a row"),
    ] {
        assert!(CASE.contains(change.0), "nothing to replace: {}", change.0);
        let faults = parse(&CASE.replacen(change.0, change.1, 1)).expect_err(words).to_string();
        assert!(faults.contains(words), "{words:?} is not in {faults}");
    }
}

#[test]
fn history_rows_are_checked_when_the_plan_is_known() {
    for (change, words) in [
        (
            ("source_id = 1,", "sourceid = 1,"),
            "history row 0: there is no column `sourceid`; did you mean `source_id`?",
        ),
        (("source_id = 1,", ""), "history row 0 has no `source_id`, which is part of the primary key"),
        (("\"2025-01-01 00:00:00\"", "\"0000-00-00 00:00:00\""), "no value for column `start_ts`"),
    ] {
        let case = parse(&CASE.replacen(change.0, change.1, 1)).unwrap_or_else(|faults| panic!("{faults}"));
        let faults = case.history(&history_schema()).expect_err(words).to_string();
        assert!(faults.contains(words), "{words:?} is not in {faults}");
    }
}

/// All changes as op letters with their place in the file, reading `batch_changes` at a time and opening anew at every
/// position.
fn read_all(case: &Arc<Case>, batch_changes: usize) -> Vec<(char, u64, i64)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut all = Vec::new();
    let mut position = None;
    loop {
        let mut source = CaseSource::open(case.clone(), batch_changes, position.as_ref()).expect("its own position");
        let Some((batch, after)) = runtime.block_on(source.next()).expect("cases do not fail") else { return all };
        for change in &batch.changes {
            let row = batch.after(change).or(batch.before(change)).expect("an image");
            let Value::Int(id) = row.get(0) else { panic!("{row:?}") };
            all.push((change.op.letter(), change.at, id));
        }
        position = Some(after);
    }
}

#[test]
fn a_case_reads_the_same_at_every_batch_size_and_splits_a_changed_primary_key() {
    let text = CASE.replace("after  = { id = 1,", "after  = { id = 2,");
    let case = Arc::new(parse(&text).unwrap_or_else(|faults| panic!("{faults}")));
    let whole = read_all(&case, usize::MAX);
    assert_eq!(whole, [('d', 0, 1), ('c', 0, 2), ('d', 1, 1)]);
    for batch_changes in [1, 2, 3] {
        assert_eq!(read_all(&case, batch_changes), whole);
    }
    let foreign = Position("case/1 done=3".into());
    assert!(CaseSource::open(case, 1, Some(&foreign)).is_err());
}

#[tokio::test]
async fn what_is_written_down_reads_back() {
    let text = r#"
settings = { owner = "weird key" }
table = { name = "shop.all \"types\"", primary-key = ["id"], columns = { id = "bigint", "weird key" = "bigint unsigned", t = "text", d = "decimal(20,4)", f = "double", b = "varbinary(9)", ok = "boolean", day = "date", at = "datetime(6)", took = "time(3)", j = "json", e = "enum('a','it''s')" } }
history = [ { source_id = 1, start_ts = "2025-01-01 00:00:00.5" }, { source_id = -2 } ]
[[change]]
op = "u"
ts = "2025-02-01 00:00:00.25"
before = { id = 1 }
after = { id = 1, "weird key" = "18446744073709551615", t = "a\\ \"q\" \n\u007f 검", d = "-1.5000", f = -1e300, b = "0x00ff", ok = true, day = "2024-02-29", at = "2025-02-01 00:00:00.000001", took = "-01:02:03.5", j = "{}", e = "it's" }
[[change]]
op = "d"
ts = "2025-03-01 00:00:00"
before = { id = 1, f = inf }
[expect]
history = []
"#;
    let case = parse(text).unwrap_or_else(|faults| panic!("{faults}"));
    let schema = history_schema();
    let history = case.history(&schema).unwrap_or_else(|faults| panic!("{faults}"));
    let mut source = CaseSource::open(Arc::new(case.clone()), 10, None).expect("a source");
    let (batch, _) = source.next().await.expect("a batch").expect("changes");
    let about = ["about it".to_owned()];
    let draft = Draft { about: &about, settings: &case.settings, batch: &batch, schema: &schema, history: &history };
    let again = parse(&draft.text()).unwrap_or_else(|faults| panic!("{faults}\n{}", draft.text()));
    assert_eq!((&again.settings, &again.tables), (&case.settings, &case.tables));
    for (again, change) in again.changes.iter().zip(&case.changes) {
        assert_eq!((again.op, again.time_us), (change.op, change.time_us));
        assert_eq!((&again.before, &again.after), (&change.before, &change.after));
    }
    assert_eq!(again.changes.len(), 2);
    let rows =
        |rows: Rows| rows.iter().map(|row| row.values().map(|v| format!("{v:?}")).collect()).collect::<Vec<Vec<_>>>();
    assert_eq!(rows(again.history(&schema).expect("rows")), rows(history));
    assert_eq!(
        again.expected_history(&schema).expect("rows").len(),
        2,
        "the history before is what there is to begin with"
    );
}
