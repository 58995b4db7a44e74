//! Nothing that a component returns is believed: every length, offset, index, text and key is checked here, and what
//! stands becomes whole history rows.

use super::bindings::types::{Column, Values};
use super::bindings::wit::Output;
use super::engine::Limits;
use super::{Decision, Plan, Reject, trap};
use crate::civil;
use crate::event::{Field, Logical};
use crate::groups::Groups;
use crate::rows::{Rows, Value};

/// Turns an output into whole rows.
///
/// # Errors
/// The first breach of the contract, by list, column and row.
pub(super) fn decision(output: &Output, groups: &Groups<'_>, plan: &Plan, limits: &Limits) -> Result<Decision, String> {
    let n_changes = groups.entries.len();
    let shown = &groups.history.rows;
    let owners = Owners::new(groups);
    let Output { upserts, revisions, deletes, rejects } = output;

    let rows_max = n_changes.saturating_mul(limits.output_rows_per_change).saturating_add(shown.len());
    let n_rows = upserts.cause.len() + revisions.row.len() + deletes.row.len();
    if n_rows > rows_max {
        return Err(format!(
            "{n_rows} rows for {n_changes} changes are more than limits.output.rows allows ({rows_max})"
        ));
    }
    same_length("revisions", revisions.cause.len(), revisions.row.len())?;
    same_length("deletes", deletes.cause.len(), deletes.row.len())?;
    let mut rejected = vec![false; n_changes];
    for reject in rejects {
        let change = reject.change as usize;
        if change >= n_changes {
            return Err(format!("rejects: change {change} of {n_changes}"));
        }
        if std::mem::replace(&mut rejected[change], true) {
            return Err(format!("rejects: change {change} twice"));
        }
    }
    check_causes("upserts", &upserts.cause, &rejected)?;
    check_causes("revisions", &revisions.cause, &rejected)?;
    check_causes("deletes", &deletes.cause, &rejected)?;
    let mut touched = vec![false; shown.len()];
    for (list, rows, causes) in
        [("revisions", &revisions.row, &revisions.cause), ("deletes", &deletes.row, &deletes.cause)]
    {
        for (&row, &cause) in rows.iter().zip(causes) {
            let row = row as usize;
            if row >= shown.len() {
                return Err(format!("{list}: row {row} of {} that were shown", shown.len()));
            }
            if owners.rows[row] != owners.entries[cause as usize] {
                return Err(format!("{list}: row {row} belongs to another entity than its cause, change {cause}"));
            }
            if std::mem::replace(&mut touched[row], true) {
                return Err(format!("{list}: row {row} is named twice across revisions and deletes"));
            }
        }
    }

    let history = &plan.history;
    let all: Vec<usize> = (0..history.columns.len()).collect();
    let bytes_max = n_changes.saturating_mul(limits.output_bytes_per_change);
    let opened = columns("upserts", &upserts.columns, upserts.cause.len(), &all, plan, false, bytes_max)?;
    let revised = columns("revisions", &revisions.columns, revisions.row.len(), &plan.revise, plan, true, bytes_max)?;

    let mut decision = Decision {
        upserts: Rows::new(history.columns.len()),
        deletes: Rows::new(history.primary_key.len()),
        ..Decision::default()
    };
    // Where each history column stands in a revision.
    let mut place = vec![None; history.columns.len()];
    plan.revise.iter().enumerate().for_each(|(i, &column)| place[column] = Some(i));
    for (number, (&row, &cause)) in revisions.row.iter().zip(&revisions.cause).enumerate() {
        let old = shown.row(row as usize);
        for (column, place) in place.iter().enumerate() {
            let new = place.and_then(|place| revised[place].revision(number));
            decision.upserts.push(new.unwrap_or(old.get(column)));
        }
        decision.upserts.end_row();
        decision.upsert_causes.push(cause);
    }
    for (number, &cause) in upserts.cause.iter().enumerate() {
        let key = groups.keys.row(owners.entries[cause as usize] as usize);
        for (i, &column) in history.roles.entity_key.iter().enumerate() {
            if opened[column].value(number) != key.get(i) {
                return Err(format!(
                    "upserts: row {number} has {} = {:?}, but its cause, change {cause}, belongs to entity {}",
                    history.columns[column].field.name,
                    opened[column].value(number),
                    groups.entity(owners.entries[cause as usize] as usize),
                ));
            }
        }
        decision.upserts.push_row(opened.iter().map(|column| column.value(number)));
        decision.upsert_causes.push(cause);
    }
    for (&row, &cause) in deletes.row.iter().zip(&deletes.cause) {
        let row = shown.row(row as usize);
        decision.deletes.push_row(history.primary_key.iter().map(|&column| row.get(column)));
        decision.delete_causes.push(cause);
    }
    decision.rejects =
        rejects.iter().map(|reject| Reject { entry: reject.change, reason: trap::shortened(&reject.reason) }).collect();
    Ok(decision)
}

/// The group of every change and of every shown row.
struct Owners {
    entries: Vec<u32>,
    rows: Vec<u32>,
}

impl Owners {
    fn new(groups: &Groups<'_>) -> Self {
        let spread = |offsets: &[u32]| {
            let mut owners = Vec::with_capacity(offsets.last().map_or(0, |&last| last as usize));
            for (group, ends) in offsets.windows(2).enumerate() {
                owners.resize(ends[1] as usize, group as u32);
            }
            owners
        };
        Owners { entries: spread(&groups.offsets), rows: spread(&groups.history.offsets) }
    }
}

fn same_length(list: &str, causes: usize, rows: usize) -> Result<(), String> {
    if causes == rows { Ok(()) } else { Err(format!("{list}: {causes} causes for {rows} rows")) }
}

fn check_causes(list: &str, causes: &[u32], rejected: &[bool]) -> Result<(), String> {
    for &cause in causes {
        match rejected.get(cause as usize) {
            None => return Err(format!("{list}: cause {cause}, but the batch has {} changes", rejected.len())),
            Some(true) => return Err(format!("{list}: cause {cause} is a change that was rejected")),
            Some(false) => {}
        }
    }
    Ok(())
}

/// A checked column.
struct Checked<'a> {
    nulls: &'a [u8],
    data: Data<'a>,
}

enum Data<'a> {
    Empty,
    Booleans(&'a [u8]),
    Ints(&'a [i64]),
    UInts(&'a [u64]),
    Floats(&'a [f64]),
    Text(&'a [u32], &'a str),
    Bytes(&'a [u32], &'a [u8]),
}

const NULL: u8 = 1;
const LEAVE: u8 = 2;

impl<'a> Checked<'a> {
    #[inline]
    fn value(&self, row: usize) -> Value<'a> {
        if !self.nulls.is_empty() && self.nulls[row] == NULL {
            return Value::Null;
        }
        match self.data {
            Data::Booleans(values) => Value::Int(i64::from(values[row])),
            Data::Ints(values) => Value::Int(values[row]),
            Data::UInts(values) => Value::UInt(values[row]),
            Data::Floats(values) => Value::Float(values[row]),
            Data::Text(offsets, text) => Value::Text(&text[offsets[row] as usize..offsets[row + 1] as usize]),
            Data::Bytes(offsets, bytes) => Value::Bytes(&bytes[offsets[row] as usize..offsets[row + 1] as usize]),
            Data::Empty => unreachable!("a set without rows has no row {row}"),
        }
    }

    /// None where the revision leaves the value as it is.
    fn revision(&self, row: usize) -> Option<Value<'a>> {
        (self.nulls.get(row) != Some(&LEAVE)).then(|| self.value(row))
    }
}

/// Checks a set of columns, the `i`-th of which is history column `wanted[i]`.
fn columns<'a>(
    list: &str,
    columns: &'a [Column],
    n_rows: usize,
    wanted: &[usize],
    plan: &Plan,
    revision: bool,
    bytes_max: usize,
) -> Result<Vec<Checked<'a>>, String> {
    if n_rows == 0 && columns.is_empty() {
        return Ok(wanted.iter().map(|_| Checked { nulls: &[], data: Data::Empty }).collect());
    }
    if columns.len() != wanted.len() {
        return Err(format!("{list}: {} columns instead of {}", columns.len(), wanted.len()));
    }
    let mut bytes = 0;
    let mut checked = Vec::with_capacity(columns.len());
    for (column, &history_column) in columns.iter().zip(wanted) {
        let field = &plan.history.columns[history_column].field;
        let one = check_column(column, n_rows, field, revision);
        checked
            .push(one.map_err(|breach| format!("{list}: column {} ({}): {breach}", field.name, field.logical.name()))?);
        if let Values::Packed(packed) = &column.values {
            bytes += packed.data.len();
        }
    }
    if bytes > bytes_max {
        return Err(format!("{list}: {bytes} bytes of text are more than limits.output.bytes allows ({bytes_max})"));
    }
    Ok(checked)
}

fn check_column<'a>(column: &'a Column, n_rows: usize, field: &Field, revision: bool) -> Result<Checked<'a>, String> {
    let nulls = column.nulls.as_slice();
    if !nulls.is_empty() && nulls.len() != n_rows {
        return Err(format!("{} null marks for {n_rows} rows", nulls.len()));
    }
    let mark_max = if revision { LEAVE } else { NULL };
    if let Some(row) = nulls.iter().position(|&mark| mark > mark_max) {
        return Err(format!("null mark {} in row {row}", nulls[row]));
    }
    if !field.nullable
        && let Some(row) = nulls.iter().position(|&mark| mark == NULL)
    {
        return Err(format!("null in row {row}, but the column is not nullable"));
    }
    let is_value = |row: usize| nulls.get(row).is_none_or(|&mark| mark == 0);
    let data = match (&column.values, field.logical) {
        (Values::U8s(values), Logical::Boolean) => {
            length(values.len(), n_rows)?;
            each(values, is_value, |&value| value <= 1, "is neither 0 nor 1")?;
            Data::Booleans(values)
        }
        (Values::S64s(values), logical @ (Logical::Int64 | Logical::Date | Logical::Time | Logical::Datetime)) => {
            length(values.len(), n_rows)?;
            let range = range(logical);
            each(values, is_value, |value| range.contains(value), "is outside the type's range")?;
            Data::Ints(values)
        }
        (Values::U64s(values), Logical::UInt64) => {
            length(values.len(), n_rows)?;
            Data::UInts(values)
        }
        (Values::F64s(values), Logical::Float64) => {
            length(values.len(), n_rows)?;
            each(values, is_value, |value| value.is_finite(), "is not a finite number")?;
            Data::Floats(values)
        }
        (Values::Packed(packed), logical @ (Logical::Decimal | Logical::Text | Logical::Json | Logical::Bytes)) => {
            check_offsets(&packed.offsets, packed.data.len(), n_rows)?;
            if logical == Logical::Bytes {
                Data::Bytes(&packed.offsets, &packed.data)
            } else {
                let text = check_text(&packed.offsets, &packed.data)?;
                check_grammar(logical, &packed.offsets, text, is_value)?;
                Data::Text(&packed.offsets, text)
            }
        }
        (Values::U8s(_), _) => return Err("has u8s".into()),
        (Values::S64s(_), _) => return Err("has s64s".into()),
        (Values::U64s(_), _) => return Err("has u64s".into()),
        (Values::F64s(_), _) => return Err("has f64s".into()),
        (Values::Packed(_), _) => return Err("has packed values".into()),
    };
    Ok(Checked { nulls, data })
}

fn length(n_values: usize, n_rows: usize) -> Result<(), String> {
    if n_values == n_rows { Ok(()) } else { Err(format!("{n_values} values for {n_rows} rows")) }
}

fn each<T: std::fmt::Debug>(
    values: &[T],
    is_value: impl Fn(usize) -> bool,
    fits: impl Fn(&T) -> bool,
    breach: &str,
) -> Result<(), String> {
    match values.iter().enumerate().find(|(row, value)| !fits(value) && is_value(*row)) {
        Some((row, value)) => Err(format!("{value:?} in row {row} {breach}")),
        None => Ok(()),
    }
}

/// Years 0 to 9999; times of MySQL's TIME.
fn range(logical: Logical) -> std::ops::RangeInclusive<i64> {
    const FIRST_DAY: i64 = -719_528;
    const LAST_DAY: i64 = 2_932_896;
    const TIME_MAX: i64 = (838 * 3600 + 59 * 60 + 60) * civil::MICROS_PER_SECOND - 1;
    match logical {
        Logical::Date => FIRST_DAY..=LAST_DAY,
        Logical::Time => -TIME_MAX..=TIME_MAX,
        Logical::Datetime => FIRST_DAY * civil::MICROS_PER_DAY..=(LAST_DAY + 1) * civil::MICROS_PER_DAY - 1,
        _ => i64::MIN..=i64::MAX,
    }
}

fn check_offsets(offsets: &[u32], n_bytes: usize, n_rows: usize) -> Result<(), String> {
    // A set without rows may leave even the first offset out.
    if n_rows == 0 && offsets.is_empty() && n_bytes == 0 {
        return Ok(());
    }
    if offsets.len() != n_rows + 1 {
        return Err(format!("{} offsets for {n_rows} rows", offsets.len()));
    }
    if offsets[0] != 0 || offsets[n_rows] as usize != n_bytes {
        return Err(format!("offsets from {} to {} for {n_bytes} bytes", offsets[0], offsets[n_rows]));
    }
    match offsets.windows(2).position(|pair| pair[0] > pair[1]) {
        Some(row) => Err(format!("offsets go back in row {row}")),
        None => Ok(()),
    }
}

fn check_text<'a>(offsets: &[u32], data: &'a [u8]) -> Result<&'a str, String> {
    let text = std::str::from_utf8(data).map_err(|error| format!("is not UTF-8 ({error})"))?;
    if !text.is_ascii()
        && let Some(row) = offsets.iter().position(|&offset| !text.is_char_boundary(offset as usize))
    {
        return Err(format!("an offset lies inside a character, at row {row}"));
    }
    Ok(text)
}

fn check_grammar(
    logical: Logical,
    offsets: &[u32],
    text: &str,
    is_value: impl Fn(usize) -> bool,
) -> Result<(), String> {
    let fits: fn(&str) -> bool = match logical {
        Logical::Decimal => is_decimal,
        Logical::Json => |text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
        _ => return Ok(()),
    };
    for (row, ends) in offsets.windows(2).enumerate() {
        let value = &text[ends[0] as usize..ends[1] as usize];
        if is_value(row) && !fits(value) {
            return Err(format!("{value:?} in row {row} is not a {}", logical.name()));
        }
    }
    Ok(())
}

/// `-?digits(.digits)?`
fn is_decimal(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(text),
    }
}
