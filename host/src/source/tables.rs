//! Which tables are captured: `database.table`, each part with `*` where any text may stand.

/// The captured tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFilter {
    patterns: Vec<(String, String)>,
}

impl TableFilter {
    /// # Errors
    /// Names the pattern that is not of the form `database.table`.
    pub fn parse<S: AsRef<str>>(patterns: &[S]) -> Result<Self, String> {
        let parse = |pattern: &S| {
            let pattern = pattern.as_ref();
            match pattern.split_once('.') {
                Some((database, table)) if !database.is_empty() && !table.is_empty() && !table.contains('.') => {
                    Ok((database.to_owned(), table.to_owned()))
                }
                _ => Err(format!(
                    "{pattern:?} names no table; write \"database.table\", with * where any text may stand"
                )),
            }
        };
        Ok(TableFilter { patterns: patterns.iter().map(parse).collect::<Result<_, _>>()? })
    }

    /// Database and table of each pattern, in the order of the configuration.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, &str)> {
        self.patterns.iter().map(|(database, table)| (database.as_str(), table.as_str()))
    }

    pub fn matches(&self, database: &str, table: &str) -> bool {
        self.patterns.iter().any(|(databases, tables)| fits(databases, database) && fits(tables, table))
    }

    /// Why the rows of `table` cannot be read again and compared with the history; none where they can.
    pub fn resnapshot_refusal(&self, table: &str) -> Option<String> {
        let patterns: Vec<String> = self.patterns().map(|(database, table)| format!("{database}.{table}")).collect();
        let captured = patterns.join(", ");
        let why = match table.split_once('.').filter(|(_, name)| !name.contains('.')) {
            None => format!("write DATABASE.TABLE; captured is {captured}"),
            Some((database, name)) if !self.matches(database, name) => format!("it is not captured; {captured} is"),
            Some(_) if patterns.len() > 1 || captured.contains('*') => format!(
                "several tables are written into one history ({captured}), whose rows do not say which one they came from, so \
                 what is gone from one of them cannot be told. Read them into a new history (another `name`, another `sink.table`)"
            ),
            Some(_) => return None,
        };
        Some(format!("{table} cannot be read again: {why}"))
    }

    /// Whether the database may hold a captured table.
    pub fn matches_database(&self, database: &str) -> bool {
        self.patterns.iter().any(|(databases, _)| fits(databases, database))
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return name.ends_with(part);
        }
        let Some(at) = name.find(part) else { return false };
        name = &name[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        let filter = TableFilter::parse(&["shop.item_assets", "shard_*.item_*_v*"]).unwrap();
        for (database, table, captured) in [
            ("shop", "item_assets", true),
            ("shop", "item_assets2", false),
            ("shard_01", "item_assets_v2", true),
            ("shard_", "item__v", true),
            ("shard_01", "item_assets", false),
            ("shop2", "item_assets", false),
        ] {
            assert_eq!(filter.matches(database, table), captured, "{database}.{table}");
        }
        assert!(filter.matches_database("shard_9") && !filter.matches_database("other"));
        for wrong in ["item_assets", "a.b.c", ".t", "d."] {
            assert!(TableFilter::parse(&[wrong]).unwrap_err().contains(wrong));
        }
    }
}
