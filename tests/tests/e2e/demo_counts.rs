//! The recorded binlog of the demo: what the program says of it is what the server's own reader and the oracle say.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use hindsight_tests::dump::{self, Dump};
use hindsight_tests::generator::DEMO;
use hindsight_tests::oracle::{self, Change, HistoryKey, HistoryRow, HistoryTable, OnOwnerChange, Op};
use hindsight_tests::pipeline::{Pipeline, Rule, assert_same, fixture};
use hindsight_tests::wall_clock;

/// The fixture as `mysqlbinlog` reads it.
fn dump() -> &'static Dump {
    static DUMP: OnceLock<Dump> = OnceLock::new();
    DUMP.get_or_init(|| dump::read(&[fixture("item_assets.binlog")]))
}

fn pipeline(rule: Rule) -> Pipeline<'static> {
    Pipeline { rule, files: vec![fixture("item_assets.binlog")], ..Pipeline::default() }
}

fn history() -> HistoryTable {
    oracle::scd2_by_owner(&dump().reference(), OnOwnerChange::Close).table
}

#[test]
fn the_recorded_log_holds_what_was_generated() {
    let (found, generated) = (dump().reference(), DEMO.list());
    assert_eq!(found.len(), generated.len());
    let first = found.iter().zip(&generated).position(|(found, generated)| found != generated);
    assert_eq!(first, None, "the change at this place differs");
    assert!(found.len() >= 20_000 && found.len() / dump().n_transactions >= 8, "about ten changes a transaction");
}

#[test]
fn counts_are_those_of_mysqlbinlog() {
    let (_, answer) = pipeline(Rule::ByOwner).run();
    let changes = &dump().changes;
    let of = |op: Op| changes.iter().filter(|change| change.op == op).count() as u64;
    assert_eq!(answer.count("inserts"), of(Op::Create));
    assert_eq!(answer.count("updates"), of(Op::Update));
    assert_eq!(answer.count("deletes"), of(Op::Delete));
    assert_eq!(answer.count("changes"), changes.len() as u64);
    assert_eq!(answer.count("transactions"), dump().n_transactions as u64);
    let moved = |change: &&Change| match (&change.before, &change.after) {
        // A row that changes its key is a delete and a create, and moves nowhere.
        (Some(old), Some(new)) => old.id == new.id && old.owner != new.owner,
        _ => false,
    };
    assert_eq!(answer.count("moves"), dump().reference().iter().filter(moved).count() as u64);
}

#[test]
fn the_tables_of_both_rules_are_the_oracles() {
    let (place, answer) = pipeline(Rule::ByOwner).run();
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    assert_same(&place.history(), &history(), "scd2-by-owner over mysqlbinlog's list");
    let generated = oracle::scd2_by_owner(&DEMO.list(), OnOwnerChange::Close).table;
    assert_same(&place.history(), &generated, "scd2-by-owner over the generator's list");

    let ignoring = Pipeline { settings: "on-owner-change = \"ignore\"", ..pipeline(Rule::ByOwner) };
    let ignored = oracle::scd2_by_owner(&dump().reference(), OnOwnerChange::Ignore).table;
    assert_same(&ignoring.run().0.history(), &ignored, "scd2-by-owner with on-owner-change = ignore");
    assert!(ignored != generated, "the setting makes a difference here");

    let (place, answer) = pipeline(Rule::CountChanges).run();
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    assert_same(&place.counts(), &oracle::count_changes(&dump().reference()), "count-changes");
}

#[test]
fn a_second_run_finds_nothing_to_do_and_changes_nothing() {
    let (place, first) = pipeline(Rule::CountChanges).run();
    let (counts, checkpoint) = (place.counts(), place.checkpoint());
    assert!(first.count("changes") > 0 && checkpoint.is_some());
    assert_eq!(place.run().count("changes"), 0);
    assert_same(&place.counts(), &counts, "after the second run");
    assert_eq!(place.checkpoint(), checkpoint);
}

#[test]
fn small_batches_give_the_same_tables_as_large_ones() {
    let counts = oracle::count_changes(&DEMO.list());
    for batch in [1, 7, 100] {
        let (place, answer) = Pipeline { batch, ..pipeline(Rule::CountChanges) }.run();
        assert!(answer.count("batches") > 100, "batch = {batch}");
        assert_same(&place.counts(), &counts, &format!("batch = {batch}"));
    }
}

#[test]
fn the_audit_finds_exactly_the_intervals_that_late_changes_made() {
    let (place, _) = pipeline(Rule::ByOwner).run();
    let audit = place.0.hindsight(&["audit", "--json"]);
    assert_eq!(audit.exit, Some(1), "findings end with 1: {}", audit.err);
    let (negative, overlap) = anomalies(&history());
    assert!(negative > 100, "late changes are what the demo shows");
    assert_eq!(audit.json()["negative"]["count"], negative);
    assert_eq!(audit.json()["overlap"]["count"], overlap);
    assert_eq!(audit.json()["two_current"]["count"], 0);

    // Without late changes there would be nothing: the same changes, each at its commit.
    let mut punctual = dump().reference();
    for change in &mut punctual {
        for row in change.after.iter_mut() {
            row.registered_us = Some(change.time_us);
        }
    }
    assert_eq!(anomalies(&oracle::scd2_by_owner(&punctual, OnOwnerChange::Close).table), (0, 0));
}

/// Rows that end before they start, and rows that share an instant with an earlier one of the same asset and owner.
fn anomalies(history: &HistoryTable) -> (usize, usize) {
    let mut intervals: BTreeMap<(i64, i64), Vec<(i64, i64)>> = BTreeMap::new();
    for (key, row) in history {
        let interval = (key.start_us, row.end_us.unwrap_or(i64::MAX));
        intervals.entry((key.source_id, key.owner_id)).or_default().push(interval);
    }
    let negative = intervals.values().flatten().filter(|(start, end)| end < start).count();
    let shared = |rows: &Vec<(i64, i64)>| {
        let shares = |i: usize| {
            let (start, end) = rows[i];
            rows[..i].iter().any(|&(earlier, its_end)| start.max(earlier) < end.min(its_end))
        };
        (0..rows.len()).filter(|&i| shares(i)).count()
    };
    (negative, intervals.values().map(shared).sum())
}

#[test]
fn as_of_answers_are_the_oracles() {
    let (place, _) = pipeline(Rule::ByOwner).run();
    let history = history();
    let mut n_rows = 0;
    for owner in (1..=1_500).step_by(149).chain([123, 221]) {
        let all: HistoryTable =
            history.iter().filter(|(key, _)| key.owner_id == owner).map(|(key, row)| (*key, row.clone())).collect();
        assert_same(&query(&place, owner, None), &all, &format!("owner {owner}"));
        for time in ["2024-07-01", "2025-01-01", "2025-06-30 12:00:00", "2025-12-31 23:59:59.999999"] {
            let full = if time.len() == 10 { format!("{time} 00:00:00") } else { time.to_owned() };
            let at = wall_clock::parse(&full).expect("a time");
            let holds = |(key, row): &(HistoryKey, HistoryRow)| {
                key.start_us <= at && row.end_us.is_none_or(|end_us| at < end_us)
            };
            let held: HistoryTable = all.clone().into_iter().filter(holds).collect();
            n_rows += held.len();
            assert_same(&query(&place, owner, Some(time)), &held, &format!("owner {owner} as of {time}"));
        }
    }
    assert!(n_rows > 40, "only {n_rows} rows were compared");
}

/// What `query --json` answers.
fn query(place: &hindsight_tests::pipeline::Place, owner: i64, as_of: Option<&str>) -> HistoryTable {
    let owner = owner.to_string();
    let mut arguments = vec!["query", "--json", "--key", &owner];
    arguments.extend(as_of.iter().flat_map(|time| ["--as-of", time]));
    let answer = place.0.hindsight(&arguments);
    assert_eq!(answer.exit, Some(0), "{}", answer.err);
    let time = |value: &serde_json::Value| value.as_str().map(|text| wall_clock::parse(text).expect("a time"));
    let row = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).expect("one object a line");
        let key = HistoryKey {
            owner_id: row["owner_id"].as_i64().expect("a number"),
            source_id: row["source_id"].as_i64().expect("a number"),
            start_us: time(&row["effective_start_ts"]).expect("never NULL"),
        };
        let value = HistoryRow {
            info: row["asset_info"].as_str().map(str::to_owned),
            end_us: time(&row["effective_end_ts"]),
            is_current: row["is_current"].as_bool().expect("a boolean"),
            op_type: row["op_type"].as_str().and_then(|text| text.chars().next()).expect("a letter"),
        };
        (key, value)
    };
    answer.out.lines().map(row).collect()
}
