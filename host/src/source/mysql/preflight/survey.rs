//! What `hindsight doctor` asks of a server beside the preflight: its clock, its logs, and whether they still hold what
//! comes next.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};

use super::settings::{self, Variables};
use super::{Check, Remedy, Verdict, check};
use crate::event::Position;
use crate::source::TableFilter;
use crate::source::mysql::{GtidSet, Place, Server, Unusable};

/// A clock that is off by more makes "how long ago" a lie.
const CLOCK_OFF_MAX_US: i64 = 1_000_000;

/// Less than this before the next transaction may be purged is worth a word.
const LEFT_MIN_S: i64 = 24 * 3600;

const HOUR_S: f64 = 3600.0;

/// Looks at one server, and never gives up: what cannot be asked is a finding. `position`: the history's checkpoint.
/// `reads_rows`: the next run begins with a snapshot.
pub async fn survey(
    server: &Server,
    tables: &TableFilter,
    position: Option<&Position>,
    reads_rows: bool,
) -> Vec<Check> {
    let mut conn = match server.connect().await {
        Ok(conn) => conn,
        Err(error) => return vec![lost(&error)],
    };
    let mut checks = vec![Check::new("connection", server.name.clone(), Verdict::Fine)];
    let outcome = ask(&mut conn, tables, position, reads_rows, &mut checks).await;
    if let Err(error) = outcome {
        checks.push(lost(&server.unusable(&error)));
    }
    // The server closes what is left of it.
    let _ = conn.disconnect().await;
    checks
}

fn lost(error: &Unusable) -> Check {
    let (found, remedy) = match error {
        Unusable::Refused(_) => ("refused", "Correct source.url, or the account on the server"),
        Unusable::Away(_) | Unusable::Behind(_) => ("lost", "See that the server runs, and that source.url is right"),
    };
    let remedy = Remedy::Elsewhere(remedy.to_owned());
    Check::new("connection", found, Verdict::Refused { why: error.text().to_owned(), remedy })
}

async fn ask(
    conn: &mut Conn,
    tables: &TableFilter,
    position: Option<&Position>,
    reads_rows: bool,
    checks: &mut Vec<Check>,
) -> Result<(), Error> {
    checks.extend(check(conn, tables, reads_rows).await?);
    if checks.iter().any(|check| check.name == "version" && check.verdict != Verdict::Fine) {
        return Ok(());
    }
    checks.push(clock(conn).await?);
    checks.push(match conn.query::<Row, _>("SHOW BINARY LOGS").await {
        Ok(rows) => logs(&rows),
        Err(Error::Server(error)) => {
            let why = format!("the server does not list its binlog files: {}", error.message);
            Check::new("logs", "not seen", Verdict::Warning { why, remedy: None })
        }
        Err(error) => return Err(error),
    });
    let known: Option<(String, String)> =
        conn.query_first("SELECT @@global.gtid_executed, @@global.gtid_purged").await?;
    let variables: Vec<(String, String)> = conn.query(settings::query()).await?;
    let (executed, purged) = known.unwrap_or_default();
    match (position, executed.parse(), purged.parse()) {
        (Some(position), Ok(executed), Ok(purged)) => {
            let variables: BTreeMap<_, _> = variables.into_iter().collect();
            checks.extend(checkpoint(position, &Has { executed, purged }, &variables, now_us()));
        }
        (None, ..) => checks.push(Check::new("checkpoint", "none yet", Verdict::Fine)),
        (_, Err(wrong), _) | (_, _, Err(wrong)) => {
            let why = format!("the server names a GTID set that is not understood: {wrong}");
            checks.push(Check::new("checkpoint", "not compared", Verdict::Warning { why, remedy: None }));
        }
    }
    Ok(())
}

async fn clock(conn: &mut Conn) -> Result<Check, Error> {
    let before = now_us();
    let query = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";
    let server: i64 = conn.query_first(query).await?.unwrap_or_default();
    // The answer was made somewhere between the question and now.
    let off_us = server - (before + now_us()) / 2;
    let found = format!("{} ms from ours", off_us / 1000);
    let verdict = match off_us.abs() > CLOCK_OFF_MAX_US {
        true => Verdict::Warning {
            why: "lag and the age of the checkpoint are measured by both clocks".into(),
            remedy: Some("Let both machines keep time (chrony, systemd-timesyncd)".into()),
        },
        false => Verdict::Fine,
    };
    Ok(Check::new("clock", found, verdict))
}

fn logs(rows: &[Row]) -> Check {
    let names: Vec<String> = rows.iter().filter_map(|row| row.get(0)).collect();
    let bytes: u64 = rows.iter().filter_map(|row| row.get::<u64, _>(1)).sum();
    let found = match (names.first(), names.last()) {
        (Some(first), Some(last)) => {
            format!("{} files from {first} to {last}, {:.1} MB", names.len(), bytes as f64 / 1e6)
        }
        _ => "none".into(),
    };
    Check::new("logs", found, Verdict::Fine)
}

/// The transactions that a server had, and those that it has no more.
struct Has {
    executed: GtidSet,
    purged: GtidSet,
}

fn checkpoint(position: &Position, has: &Has, variables: &Variables, now_us: i64) -> Vec<Check> {
    let refused = |found: &str, why: String, remedy: &str| {
        vec![Check::new("checkpoint", found, Verdict::Refused { why, remedy: Remedy::Elsewhere(remedy.into()) })]
    };
    let place: Place = match position.0.parse() {
        Ok(place) => place,
        Err(wrong) => return refused("of another kind", wrong, "Use the version of hindsight that wrote it"),
    };
    let lacking = place.gtids.minus(&has.executed);
    if !lacking.is_empty() {
        let why = format!(
            "it does not have the transactions {lacking}, which the history is made of: it is another server, was set back, \
             or is a replica that is behind"
        );
        return refused("not in its gtid_executed", why, "Connect to a server that has them, or start a new history");
    }
    let lost = has.purged.minus(&place.gtids);
    if !lost.is_empty() {
        let why = format!("the transactions {lost} come next and are purged from its logs");
        return refused("purged", why, "Connect to a server that still has them, or start a new history");
    }
    let age_s = (now_us - place.time_us) / 1_000_000;
    let age = match place.time_us {
        0 => "no transaction read yet".to_owned(),
        _ => format!("last transaction {:.1} h ago", age_s as f64 / HOUR_S),
    };
    if has.executed.is_subset_of(&place.gtids) {
        return vec![Check::new("checkpoint", format!("up to date, {age}"), Verdict::Fine)];
    }
    let mut checks = vec![Check::new("checkpoint", format!("still in its logs, {age}"), Verdict::Fine)];
    if let Some(retention_s) = settings::retention_s(variables)
        && place.time_us > 0
    {
        let left_s = retention_s as i64 - age_s;
        let found = format!("{:.1} h of {:.1} h", left_s as f64 / HOUR_S, retention_s as f64 / HOUR_S);
        let verdict = match left_s < LEFT_MIN_S.min(retention_s as i64 / 2) {
            true => Verdict::Warning {
                why: "what comes next is purged then, unless `hindsight run` has read it".into(),
                remedy: Some(format!(
                    "SET PERSIST binlog_expire_logs_seconds = {};",
                    (retention_s * 2).max(settings::RETENTION_S)
                )),
            },
            false => Verdict::Fine,
        };
        checks.push(Check::new("retention left", found, verdict));
    }
    checks
}

fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    /// Checked at `hours` after the last transaction done.
    fn checked(done: &str, executed: &str, purged: &str, hours: i64) -> Vec<(String, bool)> {
        let set = |numbers: &str| match numbers {
            "" => GtidSet::default(),
            numbers => format!("{UUID}:{numbers}").parse().unwrap(),
        };
        let time_us = 1_700_000_000_000_000;
        let place = Place { gtids: set(done), time_us, ..Place::default() };
        let variables = [("binlog_expire_logs_seconds", "172800"), ("binlog_expire_logs_auto_purge", "ON")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let has = Has { executed: set(executed), purged: set(purged) };
        let now_us = time_us + hours * 3600 * 1_000_000;
        let checks = checkpoint(&Position(place.to_string()), &has, &variables, now_us);
        checks.iter().map(|check| (check.found.clone(), check.verdict == Verdict::Fine)).collect()
    }

    #[test]
    fn a_checkpoint_is_compared_with_what_the_server_had_and_has() {
        let one = |found: &str, fine| vec![(found.to_owned(), fine)];
        assert_eq!(checked("1-5", "1-5", "", 30), one("up to date, last transaction 30.0 h ago", true));
        assert_eq!(checked("1-5", "1-4", "", 1), one("not in its gtid_executed", false));
        assert_eq!(checked("1-5", "1-9", "1-7", 1), one("purged", false));
        let waiting = |hours| checked("1-5", "1-9", "1-5", hours)[1].clone();
        assert_eq!(waiting(1), ("47.0 h of 48.0 h".into(), true));
        assert_eq!(waiting(40), ("8.0 h of 48.0 h".into(), false));
        assert_eq!(waiting(50), ("-2.0 h of 48.0 h".into(), false));
    }
}
