//! Every case of every shipped rule, judged; and the oracle asked the same. Of `scd2-by-owner`'s decisions there are three
//! witnesses: the history that a person wrote down, the oracle, and the component.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hindsight::assemble::Sandbox;
use hindsight::event::Op;
use hindsight::history::HistorySchema;
use hindsight::judge::{self, Stage};
use hindsight::rows::Value;
use hindsight::rule::Component;
use hindsight::source::cases::{Case, Cell};
use hindsight_tests::components::component;
use hindsight_tests::oracle::{
    self, Change, HistoryKey, HistoryRow, HistoryTable, OnOwnerChange, Reason, Row, scd2_by_owner_onto,
};
use hindsight_tests::program::repository;

/// The oracle knows tables whose primary key is the id.
const BEYOND_THE_ORACLE: &[&str] = &["an id that is not the primary key may change with the owner"];

#[test]
fn every_case_of_every_shipped_rule_ends_as_it_says() {
    let rules = rules();
    assert!(rules.len() >= 2, "plugins/ holds rules with cases: {rules:?}");
    let mut failed = Vec::new();
    for rule in rules {
        let stage = Sandbox(component(&rule));
        for case in cases(&rule) {
            let path = case.path.display();
            match block_on(judge::judge(&case, &stage)) {
                Ok(verdict) if verdict.findings.is_empty() => {}
                Ok(verdict) => failed.push(format!("{path}: {:#?}", verdict.findings)),
                Err(error) => failed.push(format!("{path}: {error}")),
            }
        }
    }
    assert!(
        failed.is_empty(),
        "{} cases failed; `hindsight rule test` shows them better:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn the_case_that_is_explained_to_authors_ends_as_it_says() {
    let path = repository().join("plugins/README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (_, example) = text.split_once("```toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let case = Case::parse(&path, example).unwrap_or_else(|faults| panic!("{faults}"));
    let verdict = block_on(judge::judge(&Arc::new(case), &Sandbox(component("scd2-by-owner")))).unwrap();
    assert_eq!(verdict.findings, []);
}

#[test]
fn the_oracle_ends_every_case_of_scd2_by_owner_as_it_says() {
    let component = component("scd2-by-owner");
    let mut n_cases = 0;
    let mut beyond = Vec::new();
    for case in cases("scd2-by-owner") {
        let reference = Reference::new(&case, &component);
        if !reference.id_is_primary_key() {
            beyond.push(case.name.clone());
            continue;
        }
        let got = scd2_by_owner_onto(reference.history(), &reference.changes(), reference.on_owner_change());
        assert_eq!(got.table, reference.expected_history(), "{}", case.path.display());
        let mut rejects: Vec<_> =
            got.rejects.iter().map(|reject| (reject.change, reference.reason_text(reject))).collect();
        let mut wanted: Vec<_> =
            case.expected_rejects.iter().map(|reject| (reject.change, reject.reason.clone().unwrap())).collect();
        rejects.sort();
        wanted.sort();
        assert_eq!(rejects, wanted, "{}", case.path.display());
        n_cases += 1;
    }
    assert_eq!(beyond, BEYOND_THE_ORACLE);
    assert!(n_cases >= 30, "{n_cases} cases");
}

/// A case in the oracle's words. Ids and owners of any type are numbered in the order in which they are met.
struct Reference<'c> {
    case: &'c Case,
    schema: HistorySchema,
    numbers: std::cell::RefCell<Vec<Cell>>,
}

impl<'c> Reference<'c> {
    fn new(case: &'c Case, component: &Component) -> Self {
        let mut rule = Sandbox(component.clone()).rule(&case.settings).unwrap();
        let plan = rule.configure(&case.tables).unwrap();
        Reference { case, schema: plan.history.clone(), numbers: Default::default() }
    }

    fn setting<'s>(&'s self, name: &str, default: &'s str) -> &'s str {
        self.case.settings.iter().find(|(known, _)| known == name).map_or(default, |(_, value)| value)
    }

    fn on_owner_change(&self) -> OnOwnerChange {
        match self.setting("on-owner-change", "close") {
            "close" => OnOwnerChange::Close,
            "ignore" => OnOwnerChange::Ignore,
            other => panic!("on-owner-change = {other:?}"),
        }
    }

    fn id_is_primary_key(&self) -> bool {
        let id = self.setting("id", "id");
        self.case.tables.iter().all(|table| {
            let key: Vec<&str> = table.primary_key.iter().map(|&column| table.fields[column].name.as_str()).collect();
            key == [id]
        })
    }

    fn changes(&self) -> Vec<Change> {
        let one = |change: &hindsight::source::cases::CaseChange| {
            let fields = &self.case.tables[change.table].fields;
            let row = |cells: &Option<Vec<Cell>>| {
                let cells = cells.as_ref()?;
                let cell = |name: &str| &cells[fields.iter().position(|field| field.name == name).unwrap()];
                Some(Row {
                    id: self.number(cell(self.setting("id", "id"))),
                    owner: self.number(cell(self.setting("owner", "owner_id"))),
                    info: self.info(cell),
                    registered_us: time(cell(self.setting("time", "registered_at"))),
                })
            };
            let op = match change.op {
                Op::Create => oracle::Op::Create,
                Op::Read => oracle::Op::Read,
                Op::Update => oracle::Op::Update,
                Op::Delete => oracle::Op::Delete,
            };
            Change { op, time_us: change.time_us, before: row(&change.before), after: row(&change.after) }
        };
        self.case.changes.iter().map(one).collect()
    }

    fn history(&self) -> HistoryTable {
        let rows = self.case.history(&self.schema).unwrap_or_else(|faults| panic!("{faults}"));
        rows.iter().map(|row| self.history_row(&row.values().map(owned).collect::<Vec<_>>())).collect()
    }

    fn expected_history(&self) -> HistoryTable {
        let rows = self.case.expected_history(&self.schema).unwrap_or_else(|faults| panic!("{faults}"));
        rows.iter().map(|row| self.history_row(row)).collect()
    }

    fn history_row(&self, cells: &[Cell]) -> (HistoryKey, HistoryRow) {
        let cell = |name: &str| {
            let column = self.schema.columns.iter().position(|column| column.field.name == name);
            &cells[column.unwrap_or_else(|| panic!("the history has no column {name}"))]
        };
        let key = HistoryKey {
            source_id: self.number(cell("source_id")).unwrap(),
            owner_id: self.number(cell(self.setting("owner", "owner_id"))).unwrap(),
            start_us: time(cell("effective_start_ts")).unwrap(),
        };
        let Cell::Text(op_type) = cell("op_type") else { panic!("op_type is {:?}", cell("op_type")) };
        let row = HistoryRow {
            info: self.info(cell),
            end_us: time(cell("effective_end_ts")),
            is_current: *cell("is_current") == Cell::Int(1),
            op_type: op_type.chars().next().unwrap(),
        };
        (key, row)
    }

    /// The carried columns as one text; the oracle only carries them.
    fn info<'r>(&self, cell: impl Fn(&str) -> &'r Cell) -> Option<String> {
        let names = self.setting("columns", "asset_info").split(',').map(str::trim).filter(|name| !name.is_empty());
        let cells: Vec<&Cell> = names.map(cell).collect();
        match cells[..] {
            [Cell::Null] => None,
            [Cell::Text(text)] => Some(text.clone()),
            _ => Some(format!("{cells:?}")),
        }
    }

    fn number(&self, cell: &Cell) -> Option<i64> {
        match cell {
            Cell::Null => return None,
            Cell::Int(number) => return Some(*number),
            _ => {}
        }
        let mut numbers = self.numbers.borrow_mut();
        let number = numbers.iter().position(|known| known == cell).unwrap_or_else(|| {
            numbers.push(cell.clone());
            numbers.len() - 1
        });
        Some(-1 - number as i64)
    }

    fn reason_text(&self, reject: &oracle::Reject) -> String {
        match reject.reason {
            Reason::Id => format!("{} is NULL", self.setting("id", "id")),
            Reason::Time => {
                format!("{} is NULL, or a date that does not exist", self.setting("time", "registered_at"))
            }
            Reason::Owner => {
                let side = if reject.owner.is_some() { " on one side of the change" } else { "" };
                format!("the entity key ({}) is NULL{side}", self.setting("owner", "owner_id"))
            }
        }
    }
}

fn time(cell: &Cell) -> Option<i64> {
    match cell {
        Cell::Null => None,
        Cell::Int(micros) => Some(*micros),
        other => panic!("{other:?} is no time"),
    }
}

fn owned(value: Value<'_>) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Int(value) => Cell::Int(value),
        Value::UInt(value) => Cell::UInt(value),
        Value::Float(value) => Cell::Float(value),
        Value::Text(text) => Cell::Text(text.into()),
        other => panic!("{other:?} in a case's history"),
    }
}

/// Names of the folders in `plugins/` that hold cases.
fn rules() -> Vec<String> {
    let folders = fs::read_dir(repository().join("plugins")).unwrap().map(|entry| entry.unwrap().path());
    let mut rules: Vec<String> = folders
        .filter(|folder| folder.join("cases").is_dir())
        .map(|folder| folder.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    rules.sort();
    rules
}

fn cases(rule: &str) -> Vec<Arc<Case>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(cases_folder(rule)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let load = |path: &Path| Arc::new(Case::load(path).unwrap_or_else(|error| panic!("{error:?}")));
    paths.iter().map(|path| load(path)).collect()
}

fn cases_folder(rule: &str) -> PathBuf {
    repository().join("plugins").join(rule).join("cases")
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
