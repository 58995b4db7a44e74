//! What a forged rule says when it lies about nothing: a plan over the reference table, and the output for one batch.

use hindsight_rule::native::{
    Column, Deletes, Field, HistoryColumn, LogicalType, Output, Packed, Plan, Revisions, Roles, Scope, TableUse,
    Upserts, Values,
};

use crate::binlog::Cell;

/// Name, type and nullability of the history table's columns: keys and interval, then one of each other type.
const COLUMNS: [(&str, LogicalType, bool); 13] = [
    ("owner_id", LogicalType::Int64, false),
    ("source_id", LogicalType::Int64, false),
    ("start", LogicalType::Datetime, false),
    ("end", LogicalType::Datetime, true),
    ("is_current", LogicalType::Boolean, false),
    ("a_text", LogicalType::Text, true),
    ("a_decimal", LogicalType::Decimal, true),
    ("a_json", LogicalType::Json, true),
    ("a_bytes", LogicalType::Bytes, true),
    ("a_uint64", LogicalType::Uint64, true),
    ("a_float64", LogicalType::Float64, true),
    ("a_date", LogicalType::Date, true),
    ("a_time", LogicalType::Time, true),
];

/// Entity key is `owner_id`; revisions set `end`, `is_current` and `a_text`.
pub fn plan() -> Plan {
    let column = |(name, logical, nullable): (&str, LogicalType, bool)| HistoryColumn {
        field: Field { name: name.into(), logical, nullable, declared: "as forged".into() },
        source: None,
    };
    Plan {
        tables: vec![TableUse { entity_key: vec![1], after: vec![0, 1, 2, 3], before: Vec::new() }],
        history: COLUMNS.map(column).into(),
        primary_key: vec![0, 1, 2],
        roles: Roles { entity_key: vec![0], start: 2, end: 3, current: Some(4) },
        scope: Scope::AllRows,
        read: vec![0, 1, 2, 3, 4, 5],
        revise: vec![3, 4, 5],
        replay_safe: true,
        complete: true,
    }
}

/// For a batch with entity 7 (changes 0 and 1; rows 0 and 1 shown) and, behind it, entity 8 (change 2; row 2 shown): two
/// new rows, one closed, one deleted.
pub fn output() -> Output {
    let whole = |owner: i64, info: &str| {
        let mut row = vec![Cell::Int(owner), Cell::Int(1), Cell::Int(50), Cell::Null, Cell::Int(1), Cell::text(info)];
        row.extend([Cell::text("-1.50"), Cell::text("{}"), Cell::Bytes(vec![0xff, 0]), Cell::UInt(u64::MAX)]);
        row.extend([Cell::Float(0.5), Cell::Int(-1), Cell::Null]);
        row
    };
    let types: Vec<LogicalType> = COLUMNS.iter().map(|column| column.1).collect();
    Output {
        upserts: Upserts { cause: vec![1, 2], columns: columns(&types, &[whole(7, "é"), whole(8, "\u{1f600}")]) },
        revisions: Revisions {
            cause: vec![0],
            row: vec![0],
            columns: columns(&types[3..6], &[vec![Cell::Int(50), Cell::Int(0), Cell::Absent]]),
        },
        deletes: Deletes { cause: vec![2], row: vec![2] },
        rejects: Vec::new(),
    }
}

/// Rows as columns of these types. `Absent` leaves a revised value as it is.
pub fn columns(types: &[LogicalType], rows: &[Vec<Cell>]) -> Vec<Column> {
    let column = |(i, logical): (usize, &LogicalType)| {
        let cells: Vec<&Cell> = rows.iter().map(|row| &row[i]).collect();
        let mark = |cell: &&Cell| match cell {
            Cell::Null => 1,
            Cell::Absent => 2,
            _ => 0,
        };
        let nulls: Vec<u8> = cells.iter().map(mark).collect();
        Column {
            nulls: if nulls.iter().all(|&mark| mark == 0) { Vec::new() } else { nulls },
            values: values(*logical, &cells),
        }
    };
    types.iter().enumerate().map(column).collect()
}

fn values(logical: LogicalType, cells: &[&Cell]) -> Values {
    let ints = || {
        cells.iter().map(|cell| match cell {
            Cell::Int(value) => *value,
            _ => 0,
        })
    };
    match logical {
        LogicalType::Boolean => Values::U8s(ints().map(|value| value as u8).collect()),
        LogicalType::Int64 | LogicalType::Date | LogicalType::Time | LogicalType::Datetime => {
            Values::S64s(ints().collect())
        }
        LogicalType::Uint64 => Values::U64s(
            cells
                .iter()
                .map(|cell| match cell {
                    Cell::UInt(value) => *value,
                    _ => 0,
                })
                .collect(),
        ),
        LogicalType::Float64 => Values::F64s(
            cells
                .iter()
                .map(|cell| match cell {
                    Cell::Float(value) => *value,
                    _ => 0.0,
                })
                .collect(),
        ),
        LogicalType::Decimal | LogicalType::Text | LogicalType::Json | LogicalType::Bytes => {
            let mut packed = Packed { offsets: vec![0], data: Vec::new() };
            for cell in cells {
                match cell {
                    Cell::Text(text) => packed.data.extend_from_slice(text.as_bytes()),
                    Cell::Bytes(bytes) => packed.data.extend_from_slice(bytes),
                    _ => {}
                }
                packed.offsets.push(packed.data.len() as u32);
            }
            Values::Packed(packed)
        }
    }
}
