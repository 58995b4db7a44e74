//! `SHOW TRANSACTION` and `SHOW PROC '/transactions…'`: as this FE knows them, a follower later than the leader.

use super::Session;
use super::result::Answer;
use crate::cluster::Transaction;
use crate::sql::Tokens;
use crate::stand::Stand;

const NAMES: [&str; 16] = [
    "TransactionId",
    "Label",
    "Coordinator",
    "TransactionStatus",
    "LoadJobSourceType",
    "PrepareTime",
    "PreparedTime",
    "CommitTime",
    "PublishTime",
    "FinishTime",
    "Reason",
    "ErrorReplicasCount",
    "ListenerId",
    "TimeoutMs",
    "PreparedTimeoutMs",
    "ErrMsg",
];

/// `SHOW TRANSACTION [FROM db] WHERE label = '…'` or `WHERE id = n`
pub fn show(stand: &Stand, session: &Session, tokens: &mut Tokens<'_>) -> Option<Answer> {
    let named = if tokens.words("FROM") { tokens.name() } else { None };
    let Some(database) = named.or_else(|| session.database.clone()) else {
        return Some(Answer::error(1046, "No database selected"));
    };
    if !tokens.words("WHERE") {
        return None;
    }
    let by_label = tokens.words("LABEL");
    if !by_label && !tokens.words("ID") || !tokens.symbol("=") {
        return None;
    }
    let wanted = tokens.text().or_else(|| tokens.number())?;
    if !stand.look(|cluster| cluster.databases.contains_key(&database)) {
        return Some(Answer::error(1049, &format!("Unknown database '{database}'")));
    }
    let found = stand.look(|cluster| {
        let found = match by_label {
            true => cluster.label(&database, &wanted).flatten(),
            false => wanted.parse().ok().and_then(|id| cluster.transaction(&database, id)),
        };
        found.map(|found| row(found, session.fe, cluster.leader))
    });
    match found {
        Some(row) => Some(Answer::table(&NAMES, vec![row])),
        None => Some(Answer::syntax(&format!("transaction with label {wanted} does not exist"))),
    }
}

/// `/transactions`, `/transactions/<db id or name>`, `…/running`, `…/finished`
pub fn proc(stand: &Stand, path: &str) -> Option<Answer> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (database, which) = match parts.as_slice() {
        ["transactions"] => {
            let rows = stand.look(|cluster| {
                let row = |(name, database): (&String, &crate::catalog::Database)| {
                    vec![database.id.to_string(), name.clone()]
                };
                cluster.databases.iter().map(row).collect()
            });
            return Some(Answer::table(&["DbId", "DbName"], rows));
        }
        ["transactions", database] => (database, None),
        ["transactions", database, which] => (database, Some(*which)),
        _ => return None,
    };
    stand.look(|cluster| {
        let mut databases = cluster.databases.iter();
        let (name, _) = databases.find(|(name, known)| known.id.to_string() == **database || name == database)?;
        let all = || cluster.transactions.get(name).into_iter().flat_map(|transactions| transactions.by_id.values());
        let n_running = all().filter(|found| found.finished_ms.is_none()).count();
        let Some(which) = which else {
            let line = |state: &str, n: usize| vec![state.to_owned(), n.to_string()];
            return Some(Answer::table(
                &["State", "Number"],
                vec![line("running", n_running), line("finished", all().count() - n_running)],
            ));
        };
        let is_running = match which {
            "running" => true,
            "finished" => false,
            _ => return None,
        };
        // Newest first, as the real one has it.
        let rows: Vec<_> = all().filter(|found| found.finished_ms.is_none() == is_running).collect();
        let rows = rows.into_iter().rev().map(|found| row(found, cluster.leader, cluster.leader)).collect();
        Some(Answer::table(&NAMES, rows))
    })
}

fn row(found: &Transaction, fe: usize, leader: usize) -> Vec<String> {
    let time = |ms: Option<u64>| ms.map_or_else(|| "NULL".into(), datetime);
    vec![
        found.id.to_string(),
        found.label.clone(),
        format!("BE: 127.0.0.1 ({})", found.coordinator),
        found.state_at(fe, leader).name().into(),
        "BACKEND_STREAMING".into(),
        datetime(found.begun_ms),
        time(found.prepared_ms),
        time(found.committed_ms),
        time(found.visible_ms),
        time(found.finished_ms),
        found.reason.clone(),
        "0".into(),
        "-1".into(),
        (found.timeout_s * 1_000).to_string(),
        (found.prepared_timeout_s * 1_000).to_string(),
        String::new(),
    ]
}

/// UTC, to the second: days since 1970 to a date by Howard Hinnant's `civil_from_days`.
fn datetime(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000, ms / 1_000 % 86_400);
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ms_become_dates() {
        assert_eq!(datetime(0), "1970-01-01 00:00:00");
        assert_eq!(datetime(1_709_210_096_789), "2024-02-29 12:34:56");
        assert_eq!(datetime(1_767_225_599_000), "2025-12-31 23:59:59");
    }
}
