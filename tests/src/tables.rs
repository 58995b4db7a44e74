//! Reads the shipped rules' tables from an SQLite history, into the oracle's forms. Plain `rusqlite`: nothing of the
//! program takes part, and the text of every value is held to the documented form.

use std::path::Path;

use anyhow::{Context, Result, bail};
use rusqlite::{Connection, OpenFlags};

use crate::oracle::{CountRow, CountTable, HistoryKey, HistoryRow, HistoryTable};
use crate::wall_clock;

/// The table of `scd2-by-owner` with its default settings.
pub fn read_history(path: &Path, table: &str) -> Result<HistoryTable> {
    let columns = "source_id, owner_id, effective_start_ts, asset_info, effective_end_ts, is_current, op_type";
    let mut rows = HistoryTable::new();
    each_row(path, table, columns, |row| {
        let key = HistoryKey {
            source_id: row.get("source_id")?,
            owner_id: row.get("owner_id")?,
            start_us: micros(&row.get::<_, String>("effective_start_ts")?)?,
        };
        let op_type: String = row.get("op_type")?;
        let (Some(letter), 1) = (op_type.chars().next(), op_type.chars().count()) else {
            bail!("op_type is {op_type:?}")
        };
        let value = HistoryRow {
            info: row.get("asset_info")?,
            end_us: optional_micros(row.get("effective_end_ts")?)?,
            is_current: row.get("is_current")?,
            op_type: letter,
        };
        if rows.insert(key, value).is_some() {
            bail!("the primary key {key:?} is there twice");
        }
        Ok(())
    })?;
    Ok(rows)
}

/// The table of `count-changes` with its default settings.
pub fn read_counts(path: &Path, table: &str) -> Result<CountTable> {
    let mut rows = CountTable::new();
    each_row(path, table, "owner_id, since, until, is_current, changes, digest", |row| {
        let owner = row.get("owner_id")?;
        let value = CountRow {
            since_us: micros(&row.get::<_, String>("since")?)?,
            until_us: optional_micros(row.get("until")?)?,
            is_current: row.get("is_current")?,
            changes: row.get("changes")?,
            digest: row.get("digest")?,
        };
        if rows.insert(owner, value).is_some() {
            bail!("the owner {owner} is there twice");
        }
        Ok(())
    })?;
    Ok(rows)
}

fn each_row(
    path: &Path,
    table: &str,
    columns: &str,
    mut read: impl FnMut(&rusqlite::Row<'_>) -> Result<()>,
) -> Result<()> {
    let place = || format!("read table {table} of {}", path.display());
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).with_context(place)?;
    let mut statement = connection.prepare(&format!("SELECT {columns} FROM \"{table}\"")).with_context(place)?;
    let mut rows = statement.query([]).with_context(place)?;
    while let Some(row) = rows.next().with_context(place)? {
        read(row).with_context(place)?;
    }
    Ok(())
}

fn optional_micros(text: Option<String>) -> Result<Option<i64>> {
    text.map(|text| micros(&text)).transpose()
}

/// `YYYY-MM-DD HH:MM:SS`, with `.` and six digits exactly when the microseconds are not zero.
fn micros(text: &str) -> Result<i64> {
    let time = wall_clock::parse(text).filter(|&us| wall_clock::text(us) == text);
    time.with_context(|| format!("{text:?} is not a time in the documented form"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_to_the_microsecond_and_only_in_the_documented_form() {
        for (text, wanted) in [
            ("1970-01-01 00:00:00", Some(0)),
            ("1970-01-02 00:00:01.000001", Some(86_401_000_001)),
            ("1969-12-31 23:59:59.900000", Some(-100_000)),
            ("2000-03-01 00:00:00", Some(951_868_800_000_000)),
            ("1970-01-01 00:00:00.000000", None),
            ("1970-01-01 00:00:00.5", None),
            ("1970-01-01T00:00:00", None),
            ("1970-02-30 00:00:00", None),
            ("1970-01-01", None),
        ] {
            assert_eq!(micros(text).ok(), wanted, "{text}");
        }
    }
}
