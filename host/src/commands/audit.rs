//! `hindsight audit`: looks for intervals that cannot be: negative ones, overlapping ones, two current rows of one key.
//!
//! Rows belong together by the primary key without the interval's start, never by entity: an owner with two assets
//! rightly has two current rows.

use anyhow::anyhow;
use serde_json::json;

use crate::cli::Audit;
use crate::config::Config;
use crate::failure::{Failure, Outcome};
use crate::history::HistorySchema;
use crate::output;
use crate::rows::{Row, Value};
use crate::sink::{Owned, Reader, SinkError};

/// # Errors
/// Exit code 1 when there are findings.
pub fn audit(args: &Audit) -> Outcome<()> {
    let config = Config::load(&args.file.config)?;
    let path = config.sink.sqlite("audit", "ask the table itself, at a frontend's port 9030")?;
    let reader = Reader::open(path, &config.sink.table).map_err(|error| Failure::sink(error, false))?;
    let mut sweep = Sweep::new(&reader.history, args.samples);
    let swept = reader.sweep(|rows| {
        sweep.row(rows.row(0));
        Ok::<_, SinkError>(())
    });
    swept.map_err(|error| Failure::sink(error, true))?;
    let findings = sweep.findings;
    if args.json.json {
        output::print_json(&findings.json(&reader.history))?;
    } else {
        output::print(&findings.text(&reader.history, &config.sink.table))?;
    }
    match findings.total() {
        0 => Ok(()),
        total => Err(Failure::run(anyhow!("the audit has {} findings", output::grouped(total)))),
    }
}

/// What was found, with samples.
#[derive(Debug, Default)]
pub struct Findings {
    pub rows: u64,
    pub negative: Kind,
    pub overlap: Kind,
    pub two_current: Kind,
}

#[derive(Debug, Default)]
pub struct Kind {
    pub count: u64,
    /// The rows of the first findings, whole.
    pub samples: Vec<Vec<Owned>>,
}

/// One pass over rows ordered by their key and start; it keeps a few values of the key in hand.
pub struct Sweep<'a> {
    history: &'a HistorySchema,
    /// The primary key without the interval's start.
    key: Vec<usize>,
    n_samples: usize,
    in_hand: Option<InHand>,
    pub findings: Findings,
}

struct InHand {
    key: Vec<Owned>,
    /// The latest end of the intervals so far that hold at all; `Some(None)` is open.
    latest_end: Option<Option<i64>>,
    has_current: bool,
}

impl<'a> Sweep<'a> {
    pub fn new(history: &'a HistorySchema, n_samples: usize) -> Self {
        let key = history.source_key();
        Sweep { history, key, n_samples, in_hand: None, findings: Findings::default() }
    }

    pub fn row(&mut self, row: Row<'_>) {
        self.findings.rows += 1;
        let roles = &self.history.roles;
        let key: Vec<Owned> = self.key.iter().map(|&column| row.get(column).into()).collect();
        let in_hand = match &mut self.in_hand {
            Some(in_hand) if in_hand.key == key => in_hand,
            other => other.insert(InHand { key, latest_end: None, has_current: false }),
        };
        let Value::Int(start) = row.get(roles.start) else { return };
        let end = match row.get(roles.end) {
            Value::Int(end) => Some(end),
            _ => None,
        };
        let keep = |kind: &mut Kind| {
            kind.count += 1;
            if kind.samples.len() < self.n_samples {
                kind.samples.push(row.values().map(Owned::from).collect());
            }
        };
        if end.is_some_and(|end| end < start) {
            keep(&mut self.findings.negative);
        }
        // Rows come by start, so this one shares an instant with an earlier one exactly when it starts before that one ends.
        if end.is_none_or(|end| end > start) {
            if in_hand.latest_end.is_some_and(|latest| latest.is_none_or(|latest| start < latest)) {
                keep(&mut self.findings.overlap);
            }
            in_hand.latest_end = Some(match in_hand.latest_end {
                Some(Some(latest)) => end.map(|end| end.max(latest)),
                Some(None) => None,
                None => end,
            });
        }
        let current = match roles.current {
            Some(current) => row.get(current) == Value::Int(1),
            None => end.is_none(),
        };
        if current {
            if in_hand.has_current {
                keep(&mut self.findings.two_current);
            }
            in_hand.has_current = true;
        }
    }
}

impl Findings {
    pub fn total(&self) -> u64 {
        self.kinds().iter().map(|(_, _, kind)| kind.count).sum()
    }

    fn kinds(&self) -> [(&'static str, &'static str, &Kind); 3] {
        [
            ("negative", "end before they start", &self.negative),
            ("overlap", "share an instant with an earlier row of their key", &self.overlap),
            ("two_current", "are current beside another current row of their key", &self.two_current),
        ]
    }

    fn text(&self, history: &HistorySchema, table: &str) -> String {
        let mut out = format!("{} rows of {table}\n", output::grouped(self.rows));
        for (name, what, kind) in self.kinds() {
            out += &format!("{:>8}  {name}: rows that {what}\n", output::grouped(kind.count));
            for sample in &kind.samples {
                let columns = history.columns.iter().zip(sample);
                let cells = columns.map(|(column, cell)| {
                    format!("{} = {}", column.field.name, output::cell(cell.value(), column.field.logical))
                });
                out += &format!("          {}\n", cells.collect::<Vec<_>>().join(", "));
            }
            let left = kind.count - kind.samples.len() as u64;
            if left > 0 && !kind.samples.is_empty() {
                out += &format!("          … and {} more\n", output::grouped(left));
            }
        }
        out
    }

    fn json(&self, history: &HistorySchema) -> serde_json::Value {
        let mut value = json!({ "rows": self.rows });
        for (name, _, kind) in self.kinds() {
            let sample = |sample: &Vec<Owned>| {
                let columns = history.columns.iter().zip(sample);
                let cells = columns.map(|(column, cell)| {
                    (column.field.name.clone(), output::json(cell.value(), column.field.logical))
                });
                serde_json::Value::Object(cells.collect())
            };
            value[name] =
                json!({ "count": kind.count, "samples": kind.samples.iter().map(sample).collect::<Vec<_>>() });
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Field, Logical};
    use crate::history::{HistoryColumn, Roles};
    use crate::rows::Rows;

    fn history() -> HistorySchema {
        let column = |name: &str, logical| HistoryColumn {
            field: Field { name: name.into(), logical, nullable: true, declared: String::new() },
            source: None,
        };
        HistorySchema {
            columns: vec![
                column("id", Logical::Int64),
                column("start", Logical::Datetime),
                column("end", Logical::Datetime),
                column("current", Logical::Boolean),
            ],
            primary_key: vec![0, 1],
            roles: Roles { entity_key: vec![0], start: 1, end: 2, current: Some(3) },
        }
    }

    /// Every pair and row, as the words say.
    fn brute_force(rows: &[(i64, i64, Option<i64>, bool)]) -> (u64, bool, bool) {
        let holds = |row: &(i64, i64, Option<i64>, bool), instant: i64| {
            row.1 <= instant && row.2.is_none_or(|end| instant < end)
        };
        let negative = rows.iter().filter(|row| row.2.is_some_and(|end| end < row.1)).count() as u64;
        let pairs = || {
            rows.iter()
                .enumerate()
                .flat_map(|(i, one)| rows[..i].iter().map(move |two| (one, two)))
                .filter(|(one, two)| one.0 == two.0)
        };
        let overlap = pairs().any(|(one, two)| (0..12).any(|instant| holds(one, instant) && holds(two, instant)));
        let two_current = pairs().any(|(one, two)| one.3 && two.3);
        (negative, overlap, two_current)
    }

    #[test]
    fn one_pass_finds_what_every_pair_of_rows_shows() {
        let history = history();
        let mut random = 7_u64;
        let mut next = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        let (mut overlaps, mut doubles) = (0, 0);
        for _ in 0..20_000 {
            let mut rows: Vec<(i64, i64, Option<i64>, bool)> = (0..next(6))
                .map(|_| (next(2) as i64, next(8) as i64, Some(next(10) as i64).filter(|_| next(3) > 0), next(3) == 0))
                .collect();
            rows.sort();
            rows.dedup_by_key(|row| (row.0, row.1));
            let mut sweep = Sweep::new(&history, 1);
            let mut held = Rows::new(4);
            for &(id, start, end, current) in &rows {
                held.push_row([
                    Value::Int(id),
                    Value::Int(start),
                    end.map_or(Value::Null, Value::Int),
                    Value::Int(i64::from(current)),
                ]);
            }
            held.iter().for_each(|row| sweep.row(row));
            let found = &sweep.findings;
            let expected = brute_force(&rows);
            assert_eq!(
                (found.negative.count, found.overlap.count > 0, found.two_current.count > 0),
                expected,
                "{rows:?}"
            );
            overlaps += u64::from(expected.1);
            doubles += u64::from(expected.2);
        }
        assert!(overlaps > 500 && doubles > 500, "{overlaps} overlaps, {doubles} doubles");
    }
}
