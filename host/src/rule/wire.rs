//! Groups as the packed columns of the contract, only those that the plan asks for.

use super::Plan;
use super::bindings::types::{self, Column, Packed, Values};
use super::bindings::wit::{Batch, Changes, Images};
use crate::event::{Logical, TableSchema};
use crate::groups::{Groups, Moved};
use crate::rows::{Rows, Value};

/// A change without such an image.
const NO_ROW: u32 = u32::MAX;

/// The batch for `transform`.
///
/// # Errors
/// A value that is not of its column's type: a bug of its source or sink, told with the column.
pub(super) fn batch(groups: &Groups<'_>, plan: &Plan) -> Result<Batch, String> {
    let source = groups.batch;
    let n_entries = groups.entries.len();
    let mut changes = Changes {
        op: Vec::with_capacity(n_entries),
        table: Vec::new(),
        moved: Vec::new(),
        time: Vec::with_capacity(n_entries),
        after_row: Vec::with_capacity(n_entries),
        before_row: Vec::new(),
    };
    let wants_before = plan.tables.iter().any(|table| !table.before.is_empty());
    // The image rows that cross, per table.
    let mut after = vec![Vec::with_capacity(n_entries); plan.tables.len()];
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); plan.tables.len()];
    for entry in &groups.entries {
        let change = &source.changes[entry.change as usize];
        let table = change.table as usize;
        changes.op.push(change.op.letter() as u8);
        changes.time.push(change.time_us);
        changes.after_row.push(send(change.after, &mut after[table]));
        if wants_before {
            changes.before_row.push(send(change.before, &mut before[table]));
        }
    }
    if plan.tables.len() > 1 {
        let table = |entry: &crate::groups::Entry| source.changes[entry.change as usize].table as u8;
        changes.table = groups.entries.iter().map(table).collect();
    }
    if groups.entries.iter().any(|entry| entry.moved != Moved::Stays) {
        changes.moved = groups.entries.iter().map(|entry| entry.moved as u8).collect();
    }

    let mut images = Vec::with_capacity(plan.tables.len());
    for (table, uses) in plan.tables.iter().enumerate() {
        let schema = &source.tables[table];
        images.push(Images {
            after: image_columns(schema, &source.images[table], &after[table], &uses.after)?,
            before: image_columns(schema, &source.images[table], &before[table], &uses.before)?,
        });
    }
    let roles = &plan.history.roles;
    let field = |column: usize| &plan.history.columns[column].field;
    let keys = (0..groups.keys.width()).map(|i| {
        let logical = field(roles.entity_key[i]).logical;
        column(logical, groups.keys.iter().map(|row| row.get(i)))
            .map_err(|misfit| format!("entity key {}: {misfit}", field(roles.entity_key[i]).name))
    });
    let shown = &groups.history.rows;
    let history = plan.read.iter().map(|&i| {
        column(field(i).logical, shown.iter().map(|row| row.get(i)))
            .map_err(|misfit| format!("history column {}: {misfit}", field(i).name))
    });
    Ok(Batch {
        history_offsets: groups.history.offsets.clone(),
        change_offsets: groups.offsets.clone(),
        keys: keys.collect::<Result<_, _>>()?,
        history: history.collect::<Result<_, _>>()?,
        changes,
        images,
    })
}

/// A source table for `configure`.
pub(super) fn table(schema: &TableSchema) -> types::Table {
    let field = |field: &crate::event::Field| types::Field {
        name: field.name.clone(),
        logical: to_wit(field.logical),
        nullable: field.nullable,
        declared: field.declared.clone(),
    };
    types::Table {
        name: schema.name.clone(),
        fields: schema.fields.iter().map(field).collect(),
        primary_key: schema.primary_key.iter().map(|&column| column as u32).collect(),
    }
}

pub(super) fn from_wit(logical: types::LogicalType) -> Logical {
    match logical {
        types::LogicalType::Boolean => Logical::Boolean,
        types::LogicalType::Int64 => Logical::Int64,
        types::LogicalType::Uint64 => Logical::UInt64,
        types::LogicalType::Float64 => Logical::Float64,
        types::LogicalType::Decimal => Logical::Decimal,
        types::LogicalType::Text => Logical::Text,
        types::LogicalType::Json => Logical::Json,
        types::LogicalType::Bytes => Logical::Bytes,
        types::LogicalType::Date => Logical::Date,
        types::LogicalType::Time => Logical::Time,
        types::LogicalType::Datetime => Logical::Datetime,
    }
}

fn to_wit(logical: Logical) -> types::LogicalType {
    match logical {
        Logical::Boolean => types::LogicalType::Boolean,
        Logical::Int64 => types::LogicalType::Int64,
        Logical::UInt64 => types::LogicalType::Uint64,
        Logical::Float64 => types::LogicalType::Float64,
        Logical::Decimal => types::LogicalType::Decimal,
        Logical::Text => types::LogicalType::Text,
        Logical::Json => types::LogicalType::Json,
        Logical::Bytes => types::LogicalType::Bytes,
        Logical::Date => types::LogicalType::Date,
        Logical::Time => types::LogicalType::Time,
        Logical::Datetime => types::LogicalType::Datetime,
    }
}

fn send(image: Option<u32>, rows: &mut Vec<u32>) -> u32 {
    match image {
        Some(row) => {
            rows.push(row);
            rows.len() as u32 - 1
        }
        None => NO_ROW,
    }
}

fn image_columns(schema: &TableSchema, images: &Rows, rows: &[u32], columns: &[usize]) -> Result<Vec<Column>, String> {
    let one = |&i: &usize| {
        let values = rows.iter().map(|&row| images.row(row as usize).get(i));
        column(schema.fields[i].logical, values)
            .map_err(|misfit| format!("column {}.{}: {misfit}", schema.name, schema.fields[i].name))
    };
    columns.iter().map(one).collect()
}

/// One packed column.
fn column<'v>(logical: Logical, values: impl ExactSizeIterator<Item = Value<'v>>) -> Result<Column, String> {
    let n_values = values.len();
    let mut nulls = Nulls { marks: Vec::new(), seen: 0, total: n_values };
    let values = match logical {
        Logical::Boolean => Values::U8s(numbers(values, &mut nulls, |value| match value {
            Value::Int(value @ 0..=1) => Some(value as u8),
            _ => None,
        })?),
        Logical::Int64 | Logical::Date | Logical::Time | Logical::Datetime => {
            Values::S64s(numbers(values, &mut nulls, |value| match value {
                Value::Int(value) => Some(value),
                _ => None,
            })?)
        }
        Logical::UInt64 => Values::U64s(numbers(values, &mut nulls, |value| match value {
            Value::UInt(value) => Some(value),
            _ => None,
        })?),
        Logical::Float64 => Values::F64s(numbers(values, &mut nulls, |value| match value {
            Value::Float(value) => Some(value),
            _ => None,
        })?),
        Logical::Decimal | Logical::Text | Logical::Json | Logical::Bytes => {
            Values::Packed(packed(logical, values, &mut nulls)?)
        }
    };
    Ok(Column { nulls: nulls.marks, values })
}

fn numbers<'v, T: Default>(
    values: impl ExactSizeIterator<Item = Value<'v>>,
    nulls: &mut Nulls,
    number: impl Fn(Value<'v>) -> Option<T>,
) -> Result<Vec<T>, String> {
    let mut numbers = Vec::with_capacity(values.len());
    for value in values {
        nulls.next(value);
        numbers.push(match value {
            Value::Null => T::default(),
            value => number(value).ok_or_else(|| format!("{value:?} is not of the column's type"))?,
        });
    }
    Ok(numbers)
}

fn packed<'v>(
    logical: Logical,
    values: impl ExactSizeIterator<Item = Value<'v>>,
    nulls: &mut Nulls,
) -> Result<Packed, String> {
    let mut offsets = Vec::with_capacity(values.len() + 1);
    offsets.push(0);
    let mut data = Vec::with_capacity(values.len() * 16);
    for value in values {
        nulls.next(value);
        match (value, logical) {
            (Value::Null, _) => {}
            (Value::Bytes(bytes), Logical::Bytes) => data.extend_from_slice(bytes),
            (Value::Text(text), Logical::Decimal | Logical::Text | Logical::Json) => {
                data.extend_from_slice(text.as_bytes())
            }
            (value, _) => return Err(format!("{value:?} is not of the column's type")),
        }
        offsets.push(u32::try_from(data.len()).map_err(|_| "a batch's column is over 4 GiB")?);
    }
    Ok(Packed { offsets, data })
}

/// Null marks, made only when the first null is met.
struct Nulls {
    marks: Vec<u8>,
    seen: usize,
    total: usize,
}

impl Nulls {
    #[inline]
    fn next(&mut self, value: Value<'_>) {
        if value == Value::Null {
            if self.marks.is_empty() {
                self.marks = vec![0; self.total];
            }
            self.marks[self.seen] = 1;
        }
        self.seen += 1;
    }
}
