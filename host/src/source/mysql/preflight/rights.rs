//! The account's rights, from `SHOW GRANTS FOR CURRENT_USER`: with it come the account's own name and the rights of the
//! roles that are active.

use super::{Check, RIGHTS, Verdict};

/// What a client that follows the binlog needs on the server as a whole.
const NEEDED: [&str; 2] = ["REPLICATION SLAVE", "REPLICATION CLIENT"];

/// What the current account may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// `'user'@'host'`, as a statement names it.
    pub account: String,
    /// Rights on the server as a whole.
    global: Vec<String>,
    /// `role@host`, as granted; whether it is active does not show.
    roles: Vec<String>,
}

impl Rights {
    /// From the lines of `SHOW GRANTS`. What is no plain grant (a proxy, a partial revoke) says nothing here.
    pub fn parse<S: AsRef<str>>(lines: &[S]) -> Self {
        let mut rights = Rights::default();
        for line in lines {
            let mut words = Words(line.as_ref());
            if !words.take("GRANT ") {
                continue;
            }
            match words.granted() {
                Some(Granted::Rights { rights: granted, on }) => {
                    if on == "*.*" {
                        rights.global.extend(granted);
                    }
                }
                Some(Granted::Roles(roles)) => rights.roles.extend(roles),
                None => continue,
            }
            if let Some((user, host)) = words.account() {
                rights.account = format!("{}@{}", quoted(&user), quoted(&host));
            }
        }
        rights
    }

    pub fn check(&self) -> Check {
        let has = |right: &str| {
            self.global.iter().any(|granted| [right, "ALL PRIVILEGES", "ALL"].contains(&granted.as_str()))
        };
        let lacks: Vec<&str> = NEEDED.into_iter().filter(|right| !has(right)).collect();
        if lacks.is_empty() {
            return Check::new(RIGHTS, format!("{} for {}", NEEDED.join(", "), self.account), Verdict::Fine);
        }
        let found: Vec<&str> = NEEDED.into_iter().filter(|right| has(right)).collect();
        let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
        let roles = match self.roles.as_slice() {
            [] => String::new(),
            roles => format!(" (of its roles {} only those count that are active when it connects)", roles.join(", ")),
        };
        let why = format!("account {} lacks {}{roles}", self.account, lacks.join(" and "));
        let grant = format!("GRANT {} ON *.* TO {};", lacks.join(", "), self.account);
        Check::new(RIGHTS, format!("{found} for {}", self.account), Verdict::refused(why, [grant]))
    }
}

enum Granted {
    Rights { rights: Vec<String>, on: String },
    Roles(Vec<String>),
}

/// What is left of a line.
struct Words<'a>(&'a str);

impl Words<'_> {
    fn take(&mut self, wanted: &str) -> bool {
        let rest = self.0.strip_prefix(wanted);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    /// Up to the account: ``SELECT (`a`, `b`), REPLICATION SLAVE ON *.* TO ``, or `` `role`@`%`,`other`@`%` TO ``.
    fn granted(&mut self) -> Option<Granted> {
        if self.0.starts_with(['`', '"']) {
            let mut roles = Vec::new();
            loop {
                let (role, host) = self.account()?;
                roles.push(format!("{role}@{host}"));
                if !self.take(",") {
                    break;
                }
            }
            return self.take(" TO ").then_some(Granted::Roles(roles));
        }
        let before = self.until(" ON ")?;
        let rights = split(&before).into_iter().map(|right| right.trim().to_owned()).collect();
        let on = self.until(" TO ")?;
        Some(Granted::Rights { rights, on })
    }

    /// The text before `end`, which is skipped; an `end` inside a quoted name is none.
    fn until(&mut self, end: &str) -> Option<String> {
        let mut quote = None;
        for (at, c) in self.0.char_indices() {
            match quote {
                Some(open) if c == open => quote = None,
                Some(_) => {}
                None if c == '`' || c == '"' => quote = Some(c),
                None if self.0[at..].starts_with(end) => {
                    let before = self.0[..at].to_owned();
                    self.0 = &self.0[at + end.len()..];
                    return Some(before);
                }
                None => {}
            }
        }
        None
    }

    /// `` `user`@`host` ``
    fn account(&mut self) -> Option<(String, String)> {
        let user = self.name()?;
        self.take("@").then_some(())?;
        Some((user, self.name()?))
    }

    /// A quoted name; the quote inside it is doubled. With ANSI_QUOTES the server prints `"`.
    fn name(&mut self) -> Option<String> {
        let quote = self.0.chars().next().filter(|quote| ['`', '"'].contains(quote))?;
        let mut name = String::new();
        let mut chars = self.0[1..].char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c != quote {
                name.push(c);
            } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
                name.push(quote);
                chars.next();
            } else {
                self.0 = &self.0[1 + at + 1..];
                return Some(name);
            }
        }
        None
    }
}

/// At commas outside parentheses: a right may list columns.
fn split(list: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&list[start..]);
    parts
}

/// A text as a statement holds it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::mysql::preflight::{Remedy, unfit};

    #[test]
    fn an_account_that_may_do_nothing_gets_the_grant_with_its_own_name() {
        let check = Rights::parse(&["GRANT USAGE ON *.* TO `reader`@`%`"]).check();
        assert_eq!(
            check,
            Check::new(
                "rights",
                "none for 'reader'@'%'",
                Verdict::Refused {
                    why: "account 'reader'@'%' lacks REPLICATION SLAVE and REPLICATION CLIENT".into(),
                    remedy: Remedy::Sql(vec![
                        "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'reader'@'%';".into()
                    ]),
                }
            )
        );
    }

    #[test]
    fn rights_count_on_the_server_as_a_whole_only_and_all_of_them_are_enough() {
        let lacks = |lines: &[&str]| unfit("db", &[Rights::parse(lines).check()]).unwrap_or_default();
        for enough in [
            &["GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO `a`@`%`"][..],
            &[
                "GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION",
                "GRANT PROXY ON ``@`` TO `root`@`localhost`",
            ],
            &[
                "GRANT SELECT, RELOAD, REPLICATION CLIENT ON *.* TO `a`@`%`",
                "GRANT REPLICATION SLAVE ON *.* TO `a`@`%`",
            ],
            &["GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO \"a\"@\"%\""],
        ] {
            assert_eq!(lacks(enough), "", "{enough:?}");
        }
        assert!(
            lacks(&["GRANT USAGE ON *.* TO `a`@`%`", "GRANT ALL PRIVILEGES ON `shop`.* TO `a`@`%`"]).contains("lacks")
        );
        let half = lacks(&["GRANT SELECT, REPLICATION SLAVE ON *.* TO `a`@`10.0.0.%`"]);
        assert!(half.ends_with("lacks REPLICATION CLIENT. As an administrator of the server, run\n  GRANT REPLICATION CLIENT ON *.* TO 'a'@'10.0.0.%';"), "{half}");
        let role = lacks(&["GRANT USAGE ON *.* TO `a`@`%`", "GRANT `cap`@`%`,`dev`@`%` TO `a`@`%`"]);
        assert!(role.contains("its roles cap@%, dev@% only"), "{role}");
    }

    #[test]
    fn names_with_quotes_blanks_and_keywords_are_read_whole() {
        let lines = [
            "GRANT USAGE ON *.* TO `o'br``ien ON x TO y`@`%`",
            "GRANT SELECT (`a, b`, `c`), INSERT ON `my ON shop`.`t TO u` TO `o'br``ien ON x TO y`@`%`",
            "REVOKE REPLICATION SLAVE ON *.* FROM `o'br``ien ON x TO y`@`%`",
        ];
        let rights = Rights::parse(&lines);
        assert_eq!(rights.account, "'o''br`ien ON x TO y'@'%'");
        assert_eq!(rights.global, ["USAGE"]);
    }
}
