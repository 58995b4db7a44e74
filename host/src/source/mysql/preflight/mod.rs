//! Whether a server can be captured from as it is set up: asked on every connect, and by `hindsight doctor`.
//!
//! Three queries: the settings, the account's rights, the captured tables. Each finding that refuses carries what mends
//! it: statements that can be executed exactly as they are printed, or a line of my.cnf where no statement can do it.

mod rights;
mod settings;
mod survey;
mod tables;

use std::collections::BTreeMap;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::source::TableFilter;
use rights::Rights;

pub use survey::survey;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// A server variable's name, or `rights`, `tables`, `retention`.
    pub name: &'static str,
    /// What is there, as the server says it.
    pub found: String,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// It works, but not for long or not whole.
    Warning {
        why: String,
        remedy: Option<String>,
    },
    /// Nothing may be read.
    Refused {
        why: String,
        remedy: Remedy,
    },
}

/// What turns a refusal green.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// To be executed on the server as an administrator, in this order; each ends with `;`.
    Sql(Vec<String>),
    /// A line below `[mysqld]` in the server's my.cnf; it needs a restart.
    Configuration(String),
    /// Nothing can be set on this server.
    Elsewhere(String),
}

const RIGHTS: &str = "rights";
const TABLES: &str = "tables";

/// Looks at a server through a connection of the account that will capture. `reads_rows`: also those that are in the tables
/// already.
///
/// # Errors
/// The connection's own: it failed, or the server refused a query.
pub async fn check(conn: &mut Conn, tables: &TableFilter, reads_rows: bool) -> Result<Vec<Check>, mysql_async::Error> {
    let variables: Vec<(String, String)> = conn.query(settings::query()).await?;
    let variables: BTreeMap<String, String> = variables.into_iter().collect();
    if let Some(foreign) = settings::foreign(&variables) {
        // What a server of another make says to the rest means nothing.
        return Ok(vec![foreign]);
    }
    let mut checks = settings::checks(&variables);
    let rights = Rights::parse(&conn.query::<String, _>("SHOW GRANTS FOR CURRENT_USER").await?);
    checks.push(rights.check());
    checks.extend(tables::checks(conn, tables, &rights, reads_rows).await?);
    Ok(checks)
}

/// Every refusal with its remedy as one text; none where the server is fit. `host`: as the configuration says it.
pub fn unfit(host: &str, checks: &[Check]) -> Option<String> {
    let lines: Vec<String> = checks.iter().filter_map(|check| check.refusal(host)).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

impl Check {
    fn new(name: &'static str, found: impl Into<String>, verdict: Verdict) -> Self {
        Check { name, found: found.into(), verdict }
    }

    /// `source HOST has binlog_row_image=MINIMAL: …`, and the remedy.
    fn refusal(&self, host: &str) -> Option<String> {
        let Verdict::Refused { why, remedy } = &self.verdict else { return None };
        let what = match self.name {
            RIGHTS => format!("source {host}: {why}"),
            name => format!("source {host} has {name}={}: {why}", self.found),
        };
        Some(match remedy {
            Remedy::Sql(statements) => {
                let statements: String = statements.iter().map(|statement| format!("\n  {statement}")).collect();
                format!("{what}. As an administrator of the server, run{statements}")
            }
            Remedy::Configuration(line) => {
                format!("{what}. Write into the server's my.cnf, below [mysqld], and restart it\n  {line}")
            }
            Remedy::Elsewhere(text) => format!("{what}. {text}"),
        })
    }
}

impl Verdict {
    fn refused(why: impl Into<String>, statements: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let statements = statements.into_iter().map(Into::into).collect();
        Verdict::Refused { why: why.into(), remedy: Remedy::Sql(statements) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_host_setting_reason_and_remedy_and_all_of_them_are_one_text() {
        let checks = [
            Check::new("log_bin", "ON", Verdict::Fine),
            Check::new("gtid_mode", "OFF", Verdict::refused("no position", ["SET 1;", "SET 2;"])),
            Check::new("retention", "1 h", Verdict::Warning { why: "short".into(), remedy: None }),
            Check::new(
                "log_bin",
                "OFF",
                Verdict::Refused { why: "no log".into(), remedy: Remedy::Configuration("log_bin=binlog".into()) },
            ),
            Check::new(RIGHTS, "USAGE", Verdict::refused("account 'a'@'%' lacks X", ["GRANT X;"])),
        ];
        let text = unfit("db:3306", &checks).unwrap();
        assert_eq!(
            text,
            "source db:3306 has gtid_mode=OFF: no position. As an administrator of the server, run\n  SET 1;\n  SET 2;\n\
             source db:3306 has log_bin=OFF: no log. Write into the server's my.cnf, below [mysqld], and restart it\n  \
             log_bin=binlog\n\
             source db:3306: account 'a'@'%' lacks X. As an administrator of the server, run\n  GRANT X;"
        );
        assert_eq!(unfit("db:3306", &checks[..1]), None);
        assert_eq!(unfit("db:3306", &checks[2..3]), None, "a warning refuses nothing");
    }
}
