//! A load's bytes into rows, off the threads that serve connections, with the reasons for which all of them are refused.

use std::sync::Arc;

use super::reply::Outcome;
use crate::catalog::Table;
use crate::cluster::{Counts, Load};
use crate::faults::Fault;
use crate::rows::{self, Format};
use crate::stand::Stand;

const TOO_MANY_VERSIONS: &str = "Failed to load data into tablet 10005, because of too many versions, current/limit: 1001/1000. \
     You can reduce the loading job concurrency, or increase loading data batch size. If you are loading data with Routine Load, \
     you can increase FE configs routine_load_task_consume_second and max_routine_load_batch_size,";

/// Where a load's bytes go.
pub struct Into<'a> {
    pub be: usize,
    pub table: Arc<Table>,
    pub format: Format,
    pub fault: Option<&'a Fault>,
    /// The status of a failure: `Fail`, or a thrift code's name.
    pub failure: &'static str,
}

pub async fn read(stand: &Stand, into: Into<'_>, bodies: Vec<Vec<u8>>) -> Result<Load, (Outcome, Counts)> {
    let Into { be, table, mut format, fault, failure } = into;
    let bytes = bodies.iter().map(|body| body.len() as u64).sum();
    if let Some(Fault::SilentNull { column }) = fault {
        format.nulled = Some(column.clone());
    }
    let no_rows = Counts { bytes, ..Counts::default() };
    let failed = |message: &str, counts: Counts| Err((Outcome::new(failure, message), counts));
    if let Some(column) = &format.merge_condition
        && table.position(column).is_none_or(|at| at < table.n_keys)
    {
        return failed(&format!("Merge condition column {column} must be a column that is no key"), no_rows);
    }
    let (of, by, key_bytes_max) = (table, format.clone(), stand.settings.primary_key_bytes_max);
    let parsed = tokio::task::spawn_blocking(move || {
        let rows = rows::read(&of, &by, &bodies)?;
        rows::check_keys(&of, &rows, key_bytes_max).map(|()| rows)
    });
    let mut parsed = match parsed.await {
        Ok(Ok(rows)) => rows,
        Ok(Err(message)) => return failed(&message, no_rows),
        Err(_) => return failed("the stand-in could not read the rows", no_rows),
    };
    if fault == Some(&Fault::EmptyLoad) {
        parsed = rows::Rows::default();
    }
    let counts = Counts { total: parsed.n_total, filtered: parsed.n_filtered, bytes };
    if fault == Some(&Fault::TooManyVersions) {
        return failed(TOO_MANY_VERSIONS, counts);
    }
    let url = (!parsed.errors.is_empty()).then(|| stand.keep_error_log(be, &parsed.errors));
    if rows::is_too_bad(&parsed, format.max_filter_ratio) {
        let outcome = Outcome { error_url: url, ..Outcome::new(failure, "too many filtered rows") };
        return Err((outcome, counts));
    }
    Ok(Load { rows: parsed, merge_condition: format.merge_condition, bytes, error_url: url })
}

/// A body as it was before it was packed.
pub async fn unpack(stand: &Stand, body: Vec<u8>, format: &Format) -> Result<Vec<u8>, String> {
    let (compression, bytes_max) = (format.compression.clone(), stand.settings.body_bytes_max);
    if compression.is_none() {
        return Ok(body);
    }
    let unpacked = tokio::task::spawn_blocking(move || rows::unpack(body, compression.as_deref(), bytes_max));
    unpacked.await.unwrap_or_else(|_| Err("the stand-in could not unpack the body".into()))
}
