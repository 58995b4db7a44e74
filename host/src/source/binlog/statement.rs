//! What a QUERY event's statement does to the stream: only as much as its first words tell, nothing is interpreted.

use crate::source::tables::TableFilter;

#[derive(Debug, PartialEq, Eq)]
pub enum Statement {
    Begin,
    Commit,
    Rollback,
    XaStart,
    /// Ends an XA transaction's prepared half elsewhere; its rows came before.
    XaOther,
    Savepoint,
    /// Rows of a captured table changed or gone without row events; the table.
    Destroys(String),
    /// Anything else: schema changes, grants, other tables' statements.
    Other,
}

/// `text` need not be UTF-8.
pub fn classify(text: &[u8], database: &str, captured: &TableFilter) -> Statement {
    // The server's own word at the beginning of every transaction: no need to take it apart each time.
    if text == b"BEGIN" {
        return Statement::Begin;
    }
    let text = String::from_utf8_lossy(text);
    let words = words(&text);
    let word = |i: usize| words.get(i).map(|word| word.text.to_ascii_uppercase()).unwrap_or_default();
    match (word(0).as_str(), word(1).as_str()) {
        ("BEGIN", _) | ("START", "TRANSACTION") => Statement::Begin,
        ("COMMIT", _) => Statement::Commit,
        ("ROLLBACK", "TO") | ("SAVEPOINT", _) | ("RELEASE", _) => Statement::Savepoint,
        ("ROLLBACK", _) => Statement::Rollback,
        ("XA", "START" | "BEGIN") => Statement::XaStart,
        ("XA", _) => Statement::XaOther,
        ("INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "WITH" | "TRUNCATE", _)
        | ("DROP", "TABLE" | "TABLES") => {
            mentions(&words, database, captured).map_or(Statement::Other, Statement::Destroys)
        }
        // A partition's rows go without row events.
        ("ALTER", "TABLE") if words.windows(2).any(|pair| takes_partition(&pair[0].text, &pair[1].text)) => {
            mentions(&words, database, captured).map_or(Statement::Other, Statement::Destroys)
        }
        ("DROP", "DATABASE" | "SCHEMA") => {
            match words.iter().rev().find(|word| captured.matches_database(&word.text)) {
                Some(word) => Statement::Destroys(format!("{}.*", word.text)),
                None => Statement::Other,
            }
        }
        _ => Statement::Other,
    }
}

fn takes_partition(verb: &str, object: &str) -> bool {
    let verbs = ["DROP", "TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT"];
    object.eq_ignore_ascii_case("partition") && verbs.iter().any(|known| verb.eq_ignore_ascii_case(known))
}

struct Word {
    text: String,
    /// Directly followed by a dot.
    qualifies: bool,
}

/// The first captured table that the statement names, anywhere: rather one stop too many than a row too few.
fn mentions(words: &[Word], database: &str, captured: &TableFilter) -> Option<String> {
    (1..words.len()).find_map(|i| {
        let database = if words[i - 1].qualifies { words[i - 1].text.as_str() } else { database };
        captured.matches(database, &words[i].text).then(|| format!("{database}.{}", words[i].text))
    })
}

/// Identifiers and keywords, without comments, literals and punctuation.
fn words(text: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("/*!") {
            // An executable comment: its words count, its version number does not.
            rest = comment.trim_start_matches(|digit: char| digit.is_ascii_digit());
        } else if rest.starts_with("/*") {
            rest = rest.find("*/").map_or("", |end| &rest[end + 2..]);
        } else if rest.starts_with("--") || first == '#' {
            rest = rest.find('\n').map_or("", |end| &rest[end + 1..]);
        } else if first == '`' {
            let end = rest[1..].find('`').map_or(rest.len(), |end| end + 1);
            let text = rest[1..end].to_owned();
            rest = rest.get(end + 1..).unwrap_or("");
            words.push(Word { text, qualifies: rest.trim_start().starts_with('.') });
        } else if first == '\'' || first == '"' {
            rest = after_literal(rest, first);
        } else if first.is_alphanumeric() || first == '_' || first == '$' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
            let text = rest[..end].to_owned();
            rest = &rest[end..];
            words.push(Word { text, qualifies: rest.trim_start().starts_with('.') });
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    words
}

fn after_literal(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return &text[at + c.len_utf8()..],
            _ => {}
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_told_by_their_first_words_and_the_tables_they_name() {
        let captured = TableFilter::parse(&["shop.items", "shard_*.items"]).unwrap();
        let destroys = |table: &str| Statement::Destroys(table.to_owned());
        for (text, expected) in [
            ("BEGIN", Statement::Begin),
            ("  /* x */ begin", Statement::Begin),
            ("COMMIT", Statement::Commit),
            ("ROLLBACK TO `s`", Statement::Savepoint),
            ("ROLLBACK", Statement::Rollback),
            ("XA START X'61',X'',1", Statement::XaStart),
            ("INSERT INTO items VALUES (1)", destroys("shop.items")),
            ("insert into other.items values (1)", Statement::Other),
            ("INSERT INTO other VALUES ('items', \"items\\\"items\")", Statement::Other),
            ("TRUNCATE TABLE `shard_7` . `items`", destroys("shard_7.items")),
            ("TRUNCATE items -- gone", destroys("shop.items")),
            ("DROP TABLE IF EXISTS `other`,`items` /* generated by server */", destroys("shop.items")),
            ("DROP DATABASE `shop`", destroys("shop.*")),
            ("DROP DATABASE other", Statement::Other),
            ("ALTER TABLE items ADD x INT", Statement::Other),
            ("ALTER TABLE items ADD PARTITION (PARTITION p1 VALUES LESS THAN (9))", Statement::Other),
            ("alter table items truncate partition p0, p1", destroys("shop.items")),
            ("ALTER TABLE items EXCHANGE PARTITION p0 WITH TABLE other.t", destroys("shop.items")),
            ("ALTER TABLE other DROP PARTITION p0", Statement::Other),
            ("CREATE TABLE items (id INT)", Statement::Other),
            ("DELETE FROM `other` # items", Statement::Other),
            ("/*!40000 UPDATE items SET a = 1 */", destroys("shop.items")),
        ] {
            assert_eq!(classify(text.as_bytes(), "shop", &captured), expected, "{text}");
        }
        assert_eq!(classify(b"INSERT INTO items VALUES ('\xff\xfe')", "shop", &captured), destroys("shop.items"));
    }
}
