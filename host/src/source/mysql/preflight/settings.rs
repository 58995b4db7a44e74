//! The server's settings: what a binlog must hold so that whole rows, names and positions can be read from it.

use std::collections::BTreeMap;

use super::{Check, Remedy, Verdict};

/// What is asked for, in the order in which it is shown. A server that does not know one says nothing about it.
const ASKED: &[&str] = &[
    "version",
    "log_bin",
    "server_id",
    "gtid_mode",
    "enforce_gtid_consistency",
    "binlog_format",
    "binlog_row_image",
    "binlog_row_metadata",
    "binlog_row_value_options",
    "binlog_transaction_compression",
    "binlog_expire_logs_seconds",
    "binlog_expire_logs_auto_purge",
    "expire_logs_days",
];

/// The first version whose binlog can say everything that is needed.
const VERSION_MIN: (u32, u32, u32) = (8, 0, 14);

/// A log kept for less may be gone after a weekend's pause.
const RETENTION_MIN_S: u64 = 24 * 3600;

/// What a remedy sets it to: a week.
pub const RETENTION_S: u64 = 7 * 24 * 3600;

pub type Variables = BTreeMap<String, String>;

/// `SHOW` and not `SELECT @@…`: an older server answers for what it knows, instead of an error for what it does not.
pub fn query() -> String {
    let names: Vec<String> = ASKED.iter().map(|name| format!("'{name}'")).collect();
    format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({})", names.join(", "))
}

/// A server that cannot be captured from whatever its settings are: another make, or too old.
pub fn foreign(variables: &Variables) -> Option<Check> {
    let version = variables.get("version").map_or("", String::as_str);
    let refused = |why: String| {
        let remedy = Remedy::Elsewhere("Capture from a MySQL server of version 8.0.14 or later".into());
        Some(Check::new("version", version, Verdict::Refused { why, remedy }))
    };
    if version.to_ascii_lowercase().contains("mariadb") {
        return refused("it is MariaDB, whose binlog and GTIDs are not MySQL's".into());
    }
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse().ok());
    let mut next = || numbers.next().unwrap_or(0);
    let known = (next(), next(), next());
    if known < VERSION_MIN {
        let (major, minor, patch) = VERSION_MIN;
        return refused(format!("a binlog with names, keys and whole rows needs {major}.{minor}.{patch} at least"));
    }
    None
}

pub fn checks(variables: &Variables) -> Vec<Check> {
    let value = |name: &str| variables.get(name).map(String::as_str);
    let mut checks = vec![Check::new("version", value("version").unwrap_or_default(), Verdict::Fine)];
    let mut add = |name: &'static str, judge: &dyn Fn(&str) -> Verdict| {
        if let Some(found) = value(name) {
            checks.push(Check::new(name, found, judge(found)));
        }
    };
    add("log_bin", &log_bin);
    add("server_id", &server_id);
    add("gtid_mode", &|found| gtid_mode(found, value("enforce_gtid_consistency").unwrap_or_default()));
    for Wanted { name, wanted, why } in WANTED {
        add(name, &|found| {
            if found.eq_ignore_ascii_case(wanted) {
                return Verdict::Fine;
            }
            Verdict::refused(*why, [format!("SET PERSIST {name} = '{wanted}';")])
        });
    }
    add("binlog_transaction_compression", &|_| Verdict::Fine);
    checks.extend(retention(variables));
    checks
}

/// A setting with one value that will do.
struct Wanted {
    name: &'static str,
    wanted: &'static str,
    why: &'static str,
}

const WANTED: &[Wanted] = &[
    Wanted {
        name: "binlog_format",
        wanted: "ROW",
        why: "its binlog holds statements instead of rows (sessions that are open keep their format)",
    },
    Wanted {
        name: "binlog_row_image",
        wanted: "FULL",
        why: "its binlog lacks columns of the rows before and after a change (sessions that are open keep their image)",
    },
    Wanted {
        name: "binlog_row_metadata",
        wanted: "FULL",
        why: "column names and keys are not in its binlog (what was written so far stays without them)",
    },
    Wanted {
        name: "binlog_row_value_options",
        wanted: "",
        why: "its binlog holds parts of JSON values instead of whole ones (sessions that are open keep theirs)",
    },
];

fn log_bin(found: &str) -> Verdict {
    if found.eq_ignore_ascii_case("ON") {
        return Verdict::Fine;
    }
    Verdict::Refused {
        why: "it writes no binlog (skip-log-bin or disable-log-bin must go from its options)".into(),
        remedy: Remedy::Configuration("log_bin=binlog".into()),
    }
}

fn server_id(found: &str) -> Verdict {
    if found != "0" {
        return Verdict::Fine;
    }
    Verdict::Refused {
        why: "a server without an id gives its binlog to nobody".into(),
        remedy: Remedy::Configuration("server_id=1".into()),
    }
}

/// The server takes these steps one at a time only.
fn gtid_mode(found: &str, consistency: &str) -> Verdict {
    const MODES: [&str; 4] = ["OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"];
    if found.eq_ignore_ascii_case("ON") {
        return Verdict::Fine;
    }
    let mut statements = Vec::new();
    if !consistency.eq_ignore_ascii_case("ON") {
        statements.push("SET PERSIST enforce_gtid_consistency = 'ON';".to_owned());
    }
    let now = MODES.iter().position(|mode| found.eq_ignore_ascii_case(mode)).unwrap_or(0);
    statements.extend(MODES[now + 1..].iter().map(|mode| format!("SET PERSIST gtid_mode = '{mode}';")));
    let why = "its transactions carry no GTIDs, which alone say where to go on after a failover or a purge";
    Verdict::refused(why, statements)
}

/// How long the server keeps its logs; none where it purges nothing by itself, or does not say.
pub fn retention_s(variables: &Variables) -> Option<u64> {
    let number = |name: &str| variables.get(name).and_then(|value| value.parse::<u64>().ok());
    let seconds = match number("binlog_expire_logs_seconds")? {
        // The older setting, which servers before 8.4 still take.
        0 => number("expire_logs_days").unwrap_or(0) * 24 * 3600,
        seconds => seconds,
    };
    let by_hand = variables.get("binlog_expire_logs_auto_purge").is_some_and(|value| value.eq_ignore_ascii_case("OFF"));
    (seconds > 0 && !by_hand).then_some(seconds)
}

fn retention(variables: &Variables) -> Option<Check> {
    variables.get("binlog_expire_logs_seconds")?;
    let check = |found: String, verdict| Some(Check::new("retention", found, verdict));
    let Some(seconds) = retention_s(variables) else {
        return check("kept until somebody purges".into(), Verdict::Fine);
    };
    let found = match seconds {
        0..3600 => format!("{seconds} s"),
        _ => format!("{:.1} h", seconds as f64 / 3600.0),
    };
    let verdict = match seconds < RETENTION_MIN_S {
        true => Verdict::Warning {
            why: format!("what was not captured after {found} is purged and lost"),
            remedy: Some(format!("SET PERSIST binlog_expire_logs_seconds = {RETENTION_S};")),
        },
        false => Verdict::Fine,
    };
    check(found, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    const FIT: &[(&str, &str)] = &[
        ("version", "9.7.4-2"),
        ("log_bin", "ON"),
        ("server_id", "1"),
        ("gtid_mode", "ON"),
        ("enforce_gtid_consistency", "ON"),
        ("binlog_format", "ROW"),
        ("binlog_row_image", "FULL"),
        ("binlog_row_metadata", "FULL"),
        ("binlog_row_value_options", ""),
        ("binlog_transaction_compression", "ON"),
        ("binlog_expire_logs_seconds", "2592000"),
        ("binlog_expire_logs_auto_purge", "ON"),
    ];

    /// The verdict on one setting of a server that is fit otherwise.
    fn with(name: &str, value: &str) -> Vec<Check> {
        let mut variables = variables(FIT);
        variables.insert(name.to_owned(), value.to_owned());
        checks(&variables).into_iter().filter(|check| check.verdict != Verdict::Fine).collect()
    }

    fn statements(name: &str, value: &str) -> Vec<String> {
        match with(name, value).as_slice() {
            [Check { name: found, verdict: Verdict::Refused { remedy: Remedy::Sql(statements), .. }, .. }] => {
                assert_eq!(*found, name);
                statements.clone()
            }
            other => panic!("{name}={value}: {other:?}"),
        }
    }

    #[test]
    fn a_fit_server_is_all_green() {
        let checks = checks(&variables(FIT));
        assert!(checks.iter().all(|check| check.verdict == Verdict::Fine), "{checks:?}");
        assert_eq!(checks.len(), 10, "{checks:?}");
    }

    #[test]
    fn each_setting_that_loses_something_has_the_statement_that_mends_it() {
        for (name, value, statement) in [
            ("binlog_format", "STATEMENT", "SET PERSIST binlog_format = 'ROW';"),
            ("binlog_format", "MIXED", "SET PERSIST binlog_format = 'ROW';"),
            ("binlog_row_image", "MINIMAL", "SET PERSIST binlog_row_image = 'FULL';"),
            ("binlog_row_image", "NOBLOB", "SET PERSIST binlog_row_image = 'FULL';"),
            ("binlog_row_metadata", "MINIMAL", "SET PERSIST binlog_row_metadata = 'FULL';"),
            ("binlog_row_value_options", "PARTIAL_JSON", "SET PERSIST binlog_row_value_options = '';"),
        ] {
            assert_eq!(statements(name, value), [statement]);
        }
        for (name, value, line) in [("log_bin", "OFF", "log_bin=binlog"), ("server_id", "0", "server_id=1")] {
            let found = with(name, value);
            let [Check { verdict: Verdict::Refused { remedy, .. }, .. }] = found.as_slice() else {
                panic!("{found:?}");
            };
            assert_eq!(*remedy, Remedy::Configuration(line.into()));
        }
    }

    #[test]
    fn gtids_are_switched_on_step_by_step_from_where_the_server_is() {
        let mode = |mode: &str| format!("SET PERSIST gtid_mode = '{mode}';");
        let all = ["OFF_PERMISSIVE", "ON_PERMISSIVE", "ON"].map(mode);
        for (now, steps) in [("OFF", &all[..]), ("OFF_PERMISSIVE", &all[1..]), ("ON_PERMISSIVE", &all[2..])] {
            assert_eq!(statements("gtid_mode", now), steps);
        }
        let mut inconsistent = variables(FIT);
        inconsistent.extend(variables(&[("gtid_mode", "OFF"), ("enforce_gtid_consistency", "WARN")]));
        let checks = checks(&inconsistent);
        let text = super::super::unfit("db", &checks).unwrap();
        assert!(
            text.contains("run\n  SET PERSIST enforce_gtid_consistency = 'ON';\n  SET PERSIST gtid_mode = 'OFF_PER")
        );
    }

    #[test]
    fn logs_that_are_kept_for_less_than_a_day_are_a_warning() {
        let fine: &[Check] = &[];
        assert_eq!(with("binlog_expire_logs_seconds", "86400"), fine);
        assert_eq!(with("binlog_expire_logs_seconds", "0"), fine, "for ever");
        let short = with("binlog_expire_logs_seconds", "7200");
        let [Check { name: "retention", found, verdict: Verdict::Warning { remedy: Some(remedy), .. } }] = &short[..]
        else {
            panic!("{short:?}");
        };
        assert_eq!((found.as_str(), remedy.as_str()), ("2.0 h", "SET PERSIST binlog_expire_logs_seconds = 604800;"));
        let mut by_hand = variables(FIT);
        by_hand.extend(variables(&[("binlog_expire_logs_seconds", "60"), ("binlog_expire_logs_auto_purge", "OFF")]));
        assert!(checks(&by_hand).iter().all(|check| check.verdict == Verdict::Fine));
        let mut days = variables(FIT);
        days.extend(variables(&[("binlog_expire_logs_seconds", "0"), ("expire_logs_days", "3")]));
        assert!(checks(&days).iter().any(|check| check.found == "72.0 h"));
    }

    #[test]
    fn another_make_and_an_old_version_are_refused_by_name() {
        for (version, refused) in [
            ("10.11.6-MariaDB-0+deb12u1-log", true),
            ("5.7.44-log", true),
            ("8.0.13", true),
            ("8.0.14", false),
            ("8.4.0", false),
            ("9.7.4-2", false),
        ] {
            let found = foreign(&variables(&[("version", version)]));
            assert_eq!(found.is_some(), refused, "{version}");
            if let Some(check) = found {
                let text = super::super::unfit("db:3306", &[check]).unwrap();
                assert!(text.starts_with(&format!("source db:3306 has version={version}: ")), "{text}");
                assert!(text.contains("8.0.14"), "{text}");
            }
        }
    }
}
