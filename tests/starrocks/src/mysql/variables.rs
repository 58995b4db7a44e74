//! Variables that clients ask for when they connect, and `SET`.

use super::Session;
use super::result::Answer;
use crate::sql::Token;

/// What a client takes for MySQL's version.
pub const SERVER_VERSION: &str = "8.0.33";
/// `current_version()`
pub const STARROCKS_VERSION: &str = "3.5.0-standin";
const COMMENT: &str = "StarRocks stand-in for tests";

const VARIABLES: [(&str, &str); 24] = [
    ("auto_increment_increment", "1"),
    ("autocommit", "1"),
    ("character_set_client", "utf8"),
    ("character_set_connection", "utf8"),
    ("character_set_results", "utf8"),
    ("character_set_server", "utf8"),
    ("collation_connection", "utf8_general_ci"),
    ("collation_server", "utf8_general_ci"),
    ("init_connect", ""),
    ("interactive_timeout", "3600"),
    ("license", "Apache License 2.0"),
    ("lower_case_table_names", "0"),
    ("max_allowed_packet", "33554432"),
    ("net_write_timeout", "60"),
    ("performance_schema", "0"),
    ("query_timeout", "300"),
    ("socket", ""),
    ("sql_mode", "ONLY_FULL_GROUP_BY"),
    ("system_time_zone", "UTC"),
    ("time_zone", "UTC"),
    ("transaction_isolation", "REPEATABLE-READ"),
    ("tx_isolation", "REPEATABLE-READ"),
    ("version", SERVER_VERSION),
    ("version_comment", COMMENT),
];

/// By its name, with or without a scope.
pub fn value(name: &str) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    let plain = ["session.", "global.", "local."].iter().find_map(|scope| lower.strip_prefix(scope)).unwrap_or(&lower);
    if plain == "wait_timeout" {
        return Some("28800");
    }
    VARIABLES.iter().find(|(known, _)| *known == plain).map(|(_, value)| *value)
}

/// `SHOW VARIABLES [LIKE 'pattern']`
pub fn show(matches: impl Fn(&str) -> bool) -> Answer {
    let found = VARIABLES.iter().filter(|(name, _)| matches(name));
    let rows = found.map(|(name, value)| vec![(*name).to_owned(), (*value).to_owned()]).collect();
    Answer::table(&["Variable_name", "Value"], rows)
}

/// `SET …`: taken and of no effect, unless it computes something, which StarRocks refuses.
pub fn set(tokens: &[Token], _session: &Session) -> Answer {
    let computes = tokens.windows(2).any(|pair| pair[0].is_symbol("(") && pair[1].is_word("SELECT"));
    if computes {
        return Answer::syntax("Getting analyzing error. Detail message: Set statement only support constant expr.");
    }
    Answer::ok()
}
