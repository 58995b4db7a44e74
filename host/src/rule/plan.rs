//! A rule's answer to the source's schema: what it wants to see, and the history table it writes.

use std::sync::Arc;

use super::bindings::wit;
use super::wire;
use crate::event::{Field, Logical, TableSchema};
use crate::history::{HistoryColumn, HistorySchema, Roles, Scope};

/// A plan that has been checked against the tables it was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// One for each table given to `configure`, in that order.
    pub tables: Vec<TableUse>,
    pub history: HistorySchema,
    pub scope: Scope,
    /// History columns that `transform` wants to see, positions in `history.columns`.
    pub read: Vec<usize>,
    /// History columns that a revision may set; none of the primary key.
    pub revise: Vec<usize>,
    /// transform(transform(S, b), b) = transform(S, b).
    pub replay_safe: bool,
    /// Every source row has a current history row (an audit may ask it).
    pub complete: bool,
}

/// What the rule wants of one source table: positions in its `fields`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUse {
    pub entity_key: Vec<usize>,
    pub after: Vec<usize>,
    pub before: Vec<usize>,
}

/// What differs in the history table that two plans write, as sentences; empty when they write the same one.
pub fn compare(old: &Plan, new: &Plan) -> Vec<String> {
    let mut differences = Vec::new();
    let (old, new) = (&old.history, &new.history);
    for i in 0..old.columns.len().max(new.columns.len()) {
        let text = |column: &HistoryColumn| {
            format!("{} {} {}", column.field.name, column.field.declared, column.field.logical.name())
        };
        match (old.columns.get(i), new.columns.get(i)) {
            (Some(old), Some(new)) if text(old) == text(new) => {}
            (Some(old), Some(new)) => differences.push(format!("column {} was {}, is {}", i + 1, text(old), text(new))),
            (Some(old), None) => differences.push(format!("column {} is gone", text(old))),
            (None, Some(new)) => differences.push(format!("column {} is new", text(new))),
            (None, None) => {}
        }
    }
    if old.primary_key != new.primary_key {
        differences.push("the primary key is another".into());
    }
    if (old.roles.start, old.roles.end, old.roles.current) != (new.roles.start, new.roles.end, new.roles.current) {
        differences.push("the interval's columns are others".into());
    }
    differences
}

/// Checks a component's answer to `configure`; gives every fault.
pub(super) fn check(answer: wit::Plan, tables: &[Arc<TableSchema>]) -> Result<Plan, Vec<String>> {
    let mut faults = Faults(Vec::new());
    let columns: Vec<HistoryColumn> = answer.history.into_iter().map(history_column).collect();
    let n_columns = columns.len();
    let indexes = |list: Vec<u32>| list.into_iter().map(|index| index as usize).collect::<Vec<_>>();
    let plan = Plan {
        tables: answer
            .tables
            .into_iter()
            .map(|uses| TableUse {
                entity_key: indexes(uses.entity_key),
                after: indexes(uses.after),
                before: indexes(uses.before),
            })
            .collect(),
        history: HistorySchema {
            columns,
            primary_key: indexes(answer.primary_key),
            roles: Roles {
                entity_key: indexes(answer.roles.entity_key),
                start: answer.roles.start as usize,
                end: answer.roles.end as usize,
                current: answer.roles.current.map(|column| column as usize),
            },
        },
        scope: match answer.scope {
            wit::Scope::CurrentRows => Scope::CurrentRows,
            wit::Scope::AllRows => Scope::AllRows,
        },
        read: indexes(answer.read),
        revise: indexes(answer.revise),
        replay_safe: answer.replay_safe,
        complete: answer.complete,
    };
    let history = &plan.history;
    faults.positions("primary-key", &history.primary_key, n_columns);
    faults.positions("roles.entity-key", &history.roles.entity_key, n_columns);
    faults.positions("read", &plan.read, n_columns);
    faults.positions("revise", &plan.revise, n_columns);
    let single = [Some(history.roles.start), Some(history.roles.end), history.roles.current];
    faults.positions("roles", &single.into_iter().flatten().collect::<Vec<_>>(), n_columns);
    faults.when(plan.tables.len() != tables.len(), || {
        format!("{} table-uses for {} tables", plan.tables.len(), tables.len())
    });
    for (uses, table) in plan.tables.iter().zip(tables) {
        for (list, positions) in [("entity-key", &uses.entity_key), ("after", &uses.after), ("before", &uses.before)] {
            faults.positions(&format!("{}: {list}", table.name), positions, table.fields.len());
        }
    }
    // Everything below reads columns by position.
    faults.end()?;
    check_roles(&plan, &mut faults);
    check_keys(&plan, tables, &mut faults);
    faults.end()?;
    Ok(plan)
}

fn check_roles(plan: &Plan, faults: &mut Faults) {
    let HistorySchema { columns, primary_key, roles } = &plan.history;
    let field = |column: usize| &columns[column].field;
    let (start, end) = (field(roles.start), field(roles.end));
    let is_time = |field: &Field| matches!(field.logical, Logical::Datetime | Logical::Date);
    faults.when(!is_time(start) || start.logical != end.logical, || {
        format!(
            "start ({} {}) and end ({} {}) have to be of one time type",
            start.name,
            start.logical.name(),
            end.name,
            end.logical.name()
        )
    });
    faults.when(!end.nullable, || format!("the end column {} has to be nullable", end.name));
    if let Some(current) = roles.current {
        faults.when(field(current).logical != Logical::Boolean, || {
            format!("the current column {} has to be boolean", field(current).name)
        });
    }
    faults.when(plan.scope == Scope::CurrentRows && roles.current.is_none(), || {
        "scope current-rows needs roles.current".into()
    });
    for (i, column) in columns.iter().enumerate() {
        let name = &column.field.name;
        faults.when(name.is_empty(), || format!("history column {i} has no name"));
        faults.when(columns[..i].iter().any(|other| other.field.name.eq_ignore_ascii_case(name)), || {
            format!("history column {name} is named twice")
        });
    }
    for &column in primary_key {
        faults.when(plan.revise.contains(&column), || {
            format!("revise holds {}, a column of the primary key", field(column).name)
        });
        faults.when(field(column).nullable, || format!("primary key column {} is nullable", field(column).name));
    }
    faults.when(primary_key.is_empty(), || "the primary key is empty".into());
}

fn check_keys(plan: &Plan, tables: &[Arc<TableSchema>], faults: &mut Faults) {
    let roles = &plan.history.roles;
    let history: Vec<Logical> =
        roles.entity_key.iter().map(|&column| plan.history.columns[column].field.logical).collect();
    faults.when(history.is_empty(), || "the entity key is empty".into());
    for (uses, table) in plan.tables.iter().zip(tables) {
        let source: Vec<Logical> = uses.entity_key.iter().map(|&column| table.fields[column].logical).collect();
        faults.when(source != history, || {
            format!("{}: the entity key's columns differ in number or type from roles.entity-key", table.name)
        });
    }
    for &column in &roles.entity_key {
        let name = &plan.history.columns[column].field.name;
        faults.when(!plan.history.primary_key.contains(&column), || {
            format!("the primary key lacks {name}, a column of the entity key")
        });
    }
}

fn history_column(column: wit::HistoryColumn) -> HistoryColumn {
    let field = column.field;
    HistoryColumn {
        field: Field {
            logical: wire::from_wit(field.logical),
            name: field.name,
            nullable: field.nullable,
            declared: field.declared,
        },
        source: column.source,
    }
}

struct Faults(Vec<String>);

impl Faults {
    fn when(&mut self, fault: bool, text: impl FnOnce() -> String) {
        if fault {
            self.0.push(text());
        }
    }

    fn positions(&mut self, list: &str, positions: &[usize], n_fields: usize) {
        for (i, &position) in positions.iter().enumerate() {
            self.when(position >= n_fields, || format!("{list} names column {position} of {n_fields}"));
            self.when(positions[..i].contains(&position), || format!("{list} names column {position} twice"));
        }
    }

    fn end(&mut self) -> Result<(), Vec<String>> {
        if self.0.is_empty() { Ok(()) } else { Err(std::mem::take(&mut self.0)) }
    }
}
