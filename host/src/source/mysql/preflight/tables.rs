//! The captured tables as the account sees them: whether they are there, can be read, and have a key.

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::rights::Rights;
use super::{Check, TABLES, Verdict};
use crate::source::TableFilter;

/// Tables named in a message, at most.
const SHOWN_MAX: usize = 8;

/// Tables looked through for what a pattern might have meant, at most.
const OTHERS_MAX: usize = 1000;

const SYSTEM: &str = "'mysql', 'sys', 'information_schema', 'performance_schema'";

/// A table that a pattern meets.
struct Seen {
    database: String,
    table: String,
    has_key: bool,
    readable: bool,
}

/// `reads_rows`: what cannot be read is refused, as history would begin without a row that is there.
pub async fn checks(
    conn: &mut Conn,
    filter: &TableFilter,
    rights: &Rights,
    reads_rows: bool,
) -> Result<Vec<Check>, mysql_async::Error> {
    let patterns: Vec<(&str, &str)> = filter.patterns().collect();
    let conditions = vec!["(t.TABLE_SCHEMA LIKE ? ESCAPE '|' AND t.TABLE_NAME LIKE ? ESCAPE '|')"; patterns.len()];
    // COLUMNS knows what the account may do with a column, by roles as well; a key of a table without a primary one that
    // the binlog calls so (the first unique key without NULL) is `PRI` there, too.
    let query = format!(
        "SELECT t.TABLE_SCHEMA, t.TABLE_NAME, MAX(c.COLUMN_KEY = 'PRI'), MIN(FIND_IN_SET('select', c.PRIVILEGES) > 0)
         FROM information_schema.TABLES t JOIN information_schema.COLUMNS c USING (TABLE_SCHEMA, TABLE_NAME)
         WHERE t.TABLE_TYPE = 'BASE TABLE' AND ({})
         GROUP BY t.TABLE_SCHEMA, t.TABLE_NAME ORDER BY t.TABLE_SCHEMA, t.TABLE_NAME",
        conditions.join(" OR ")
    );
    let values: Vec<mysql_async::Value> =
        patterns.iter().flat_map(|(database, table)| [like(database).into(), like(table).into()]).collect();
    let rows: Vec<(String, String, bool, bool)> = conn.exec(query, values).await?;
    let seen: Vec<Seen> = rows
        .into_iter()
        .map(|(database, table, has_key, readable)| Seen { database, table, has_key, readable })
        .filter(|seen| filter.matches(&seen.database, &seen.table))
        .collect();

    let mut checks = Vec::new();
    let mut others = None;
    for pattern @ (database, table) in patterns {
        let one = TableFilter::parse(&[format!("{database}.{table}")]).expect("a pattern of a filter");
        let met: Vec<&Seen> = seen.iter().filter(|seen| one.matches(&seen.database, &seen.table)).collect();
        if met.is_empty() {
            if others.is_none() {
                others = Some(other_tables(conn).await?);
            }
            checks.push(missing(pattern, others.as_deref().unwrap_or_default(), rights, reads_rows));
        } else {
            checks.extend(found(pattern, &met, rights, reads_rows));
        }
    }
    Ok(checks)
}

fn found((database, table): (&str, &str), met: &[&Seen], rights: &Rights, reads_rows: bool) -> Vec<Check> {
    let name = |seen: &&Seen| format!("{}.{}", seen.database, seen.table);
    let meets = match met {
        [one] if name(one) == format!("{database}.{table}") => name(one),
        _ => format!("{database}.{table} meets {}", listed(met.iter().map(name))),
    };
    let mut checks = vec![Check::new(TABLES, meets, Verdict::Fine)];
    let unreadable: Vec<&&Seen> = met.iter().filter(|seen| !seen.readable).collect();
    if !unreadable.is_empty() {
        let tables = listed(unreadable.iter().map(|seen| name(seen)));
        let grants: Vec<String> =
            unreadable.iter().take(SHOWN_MAX).map(|seen| grant(&seen.database, &seen.table, rights)).collect();
        checks.push(Check::new(
            TABLES,
            format!("no SELECT on {tables}"),
            match reads_rows {
                true => Verdict::refused(
                    format!("account {} cannot read the rows that are there, which the snapshot needs", rights.account),
                    grants,
                ),
                false => Verdict::Warning {
                    why: format!(
                        "account {} cannot read the rows that are there, which a snapshot needs",
                        rights.account
                    ),
                    remedy: Some(grants.join("\n")),
                },
            },
        ));
    }
    let keyless: Vec<&&Seen> = met.iter().filter(|seen| !seen.has_key).collect();
    if !keyless.is_empty() {
        checks.push(Check::new(
            TABLES,
            format!("no primary key in {}", listed(keyless.iter().map(|seen| name(seen)))),
            Verdict::Warning {
                why: "which row a change belongs to must then be told by the rule's own columns".into(),
                remedy: None,
            },
        ));
    }
    checks
}

fn missing((database, table): (&str, &str), others: &[(String, String)], rights: &Rights, reads_rows: bool) -> Check {
    let nearby: Vec<&(String, String)> = others.iter().filter(|(other, _)| other == database).collect();
    let nearby = if nearby.is_empty() { others.iter().collect() } else { nearby };
    let there = match nearby.as_slice() {
        [] => format!("account {} sees no table at all", rights.account),
        _ => format!("there are {}", listed(nearby.iter().map(|(database, table)| format!("{database}.{table}")))),
    };
    let why = format!("it does not exist (yet), or account {} has no right on it; {there}", rights.account);
    let one = !database.contains('*') && !table.contains('*');
    let verdict = match (reads_rows, one) {
        // A right that is missing hides a table with all its rows.
        (true, true) => Verdict::refused(
            format!("{why}. Its rows cannot be read: make it, write snapshot = \"never\", or give the right"),
            [grant(database, table, rights)],
        ),
        (false, true) => Verdict::Warning { why, remedy: Some(grant(database, table, rights)) },
        (_, false) => Verdict::Warning { why, remedy: None },
    };
    Check::new(TABLES, format!("{database}.{table} meets no table"), verdict)
}

async fn other_tables(conn: &mut Conn) -> Result<Vec<(String, String)>, mysql_async::Error> {
    conn.query(format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES
         WHERE TABLE_TYPE = 'BASE TABLE' AND TABLE_SCHEMA NOT IN ({SYSTEM})
         ORDER BY TABLE_SCHEMA, TABLE_NAME LIMIT {OTHERS_MAX}"
    ))
    .await
}

fn grant(database: &str, table: &str, rights: &Rights) -> String {
    let quoted = |name: &str| format!("`{}`", name.replace('`', "``"));
    format!("GRANT SELECT ON {}.{} TO {};", quoted(database), quoted(table), rights.account)
}

/// A pattern of the configuration as one of SQL, `|` as its escape.
fn like(pattern: &str) -> String {
    let mut like = String::with_capacity(pattern.len());
    for c in pattern.chars() {
        match c {
            '*' => like.push('%'),
            '%' | '_' | '|' => like.extend(['|', c]),
            c => like.push(c),
        }
    }
    like
}

fn listed(names: impl ExactSizeIterator<Item = String>) -> String {
    let n_names = names.len();
    let shown: Vec<String> = names.take(SHOWN_MAX).collect();
    match n_names - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_becomes_a_percent_sign_and_nothing_else_stands_for_more_than_itself() {
        assert_eq!(like("shard_*.a%b|c"), "shard|_%.a|%b||c");
    }

    #[test]
    fn a_table_that_is_not_seen_is_told_with_what_is_there() {
        let rights = Rights::parse(&["GRANT USAGE ON *.* TO `reader`@`%`"]);
        let others = [("shop", "items"), ("shop", "orders"), ("other", "t")].map(|(d, t)| (d.to_owned(), t.to_owned()));
        let check = missing(("shop", "item_assets"), &others, &rights);
        let Verdict::Warning { why, remedy } = check.verdict else { panic!("{check:?}") };
        assert!(why.ends_with("there are shop.items, shop.orders"), "{why}");
        assert_eq!(remedy.as_deref(), Some("GRANT SELECT ON `shop`.`item_assets` TO 'reader'@'%';"));
        let pattern = missing(("shops", "item_*"), &others, &rights);
        let Verdict::Warning { why, remedy: None } = pattern.verdict else { panic!("{pattern:?}") };
        assert!(why.ends_with("shop.items, shop.orders, other.t"), "{why}");
        let Verdict::Warning { why, .. } = missing(("shop", "t"), &[], &rights).verdict else { panic!() };
        assert!(why.ends_with("account 'reader'@'%' sees no table at all"), "{why}");
    }

    #[test]
    fn tables_without_a_key_or_without_select_are_warnings_with_their_names() {
        let rights = Rights::parse(&["GRANT USAGE ON *.* TO `reader`@`%`"]);
        let seen =
            |table: &str, has_key, readable| Seen { database: "shop".into(), table: table.into(), has_key, readable };
        let (good, bad) = (seen("a", true, true), seen("b`c", false, false));
        let checks = found(("shop", "*"), &[&good, &bad], &rights);
        let founds: Vec<&str> = checks.iter().map(|check| check.found.as_str()).collect();
        assert_eq!(founds, ["shop.* meets shop.a, shop.b`c", "no SELECT on shop.b`c", "no primary key in shop.b`c"]);
        let Verdict::Warning { remedy: Some(remedy), .. } = &checks[1].verdict else { panic!("{checks:?}") };
        assert_eq!(remedy, "GRANT SELECT ON `shop`.`b``c` TO 'reader'@'%';");
        assert_eq!(found(("shop", "a"), &[&good], &rights), [Check::new(TABLES, "shop.a", Verdict::Fine)]);
    }
}
