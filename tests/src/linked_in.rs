//! A rule linked in beside its component: the same contract in two sets of generated types, the host's and the SDK's.
//! Lists are moved, not copied.

use hindsight::event::{Field, Logical, TableSchema};
use hindsight::rule::bindings::{types, wit};
use hindsight_rule::native;

pub fn table(table: &TableSchema) -> native::Table {
    let field = |field: &Field| native::Field {
        name: field.name.clone(),
        logical: logical(field.logical),
        nullable: field.nullable,
        declared: field.declared.clone(),
    };
    native::Table {
        name: table.name.clone(),
        fields: table.fields.iter().map(field).collect(),
        primary_key: table.primary_key.iter().map(|&column| column as u32).collect(),
    }
}

pub fn batch(batch: wit::Batch) -> native::Batch {
    let column = |types::Column { nulls, values }| native::Column {
        nulls,
        values: match values {
            types::Values::U8s(values) => native::Values::U8s(values),
            types::Values::S64s(values) => native::Values::S64s(values),
            types::Values::U64s(values) => native::Values::U64s(values),
            types::Values::F64s(values) => native::Values::F64s(values),
            types::Values::Packed(types::Packed { offsets, data }) => {
                native::Values::Packed(native::Packed { offsets, data })
            }
        },
    };
    let columns = |columns: Vec<types::Column>| columns.into_iter().map(column).collect::<Vec<_>>();
    let wit::Changes { op, table, moved, time, after_row, before_row } = batch.changes;
    let images = |wit::Images { after, before }| native::Images { after: columns(after), before: columns(before) };
    native::Batch {
        history_offsets: batch.history_offsets,
        change_offsets: batch.change_offsets,
        keys: columns(batch.keys),
        history: columns(batch.history),
        changes: native::Changes { op, table, moved, time, after_row, before_row },
        images: batch.images.into_iter().map(images).collect(),
    }
}

pub fn output(output: native::Output) -> wit::Output {
    let column = |native::Column { nulls, values }| types::Column {
        nulls,
        values: match values {
            native::Values::U8s(values) => types::Values::U8s(values),
            native::Values::S64s(values) => types::Values::S64s(values),
            native::Values::U64s(values) => types::Values::U64s(values),
            native::Values::F64s(values) => types::Values::F64s(values),
            native::Values::Packed(native::Packed { offsets, data }) => {
                types::Values::Packed(types::Packed { offsets, data })
            }
        },
    };
    let columns = |columns: Vec<native::Column>| columns.into_iter().map(column).collect::<Vec<_>>();
    let native::Output { upserts, revisions, deletes, rejects } = output;
    wit::Output {
        upserts: wit::Upserts { cause: upserts.cause, columns: columns(upserts.columns) },
        revisions: wit::Revisions { cause: revisions.cause, row: revisions.row, columns: columns(revisions.columns) },
        deletes: wit::Deletes { cause: deletes.cause, row: deletes.row },
        rejects: rejects.into_iter().map(|native::Reject { change, reason }| wit::Reject { change, reason }).collect(),
    }
}

fn logical(logical: Logical) -> native::LogicalType {
    match logical {
        Logical::Boolean => native::LogicalType::Boolean,
        Logical::Int64 => native::LogicalType::Int64,
        Logical::UInt64 => native::LogicalType::Uint64,
        Logical::Float64 => native::LogicalType::Float64,
        Logical::Decimal => native::LogicalType::Decimal,
        Logical::Text => native::LogicalType::Text,
        Logical::Json => native::LogicalType::Json,
        Logical::Bytes => native::LogicalType::Bytes,
        Logical::Date => native::LogicalType::Date,
        Logical::Time => native::LogicalType::Time,
        Logical::Datetime => native::LogicalType::Datetime,
    }
}
