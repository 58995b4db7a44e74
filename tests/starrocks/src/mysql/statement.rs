//! One statement: which it is, and who answers it.

use std::sync::Arc;

use super::result::Answer;
use super::{Session, select, show, variables};
use crate::ddl;
use crate::sql::{Token, Tokens, tokens};
use crate::stand::Stand;

/// Of an unknown statement, in its error.
const SHOWN_CHARS_MAX: usize = 80;

pub async fn run(stand: &Arc<Stand>, session: &mut Session, text: &str) -> Answer {
    let found = match tokens(text) {
        Ok(found) => found,
        Err(message) => return Answer::syntax(&message),
    };
    let Some(first) = found.first() else { return Answer::ok() };
    let mut tokens = Tokens::new(&found);
    match first {
        Token::Word(word) => match word.to_ascii_uppercase().as_str() {
            "SELECT" | "WITH" => return select::run(stand, session, &found).await,
            "SHOW" | "DESC" | "DESCRIBE" => {
                if let Some(answer) = show::run(stand, session, &mut tokens).await {
                    return answer;
                }
            }
            "ADMIN" => {
                if let Some(answer) = admin(stand, &mut tokens) {
                    return answer;
                }
            }
            "SET" => return variables::set(&found, session),
            "USE" => {
                tokens.next();
                if let Some(name) = tokens.name() {
                    return use_database(stand, session, &name);
                }
            }
            "CREATE" | "DROP" | "TRUNCATE" => {
                let run = ddl::run(stand, session.database.as_deref(), text);
                return run.map_or_else(|message| catalog_error(&message), |()| Answer::ok());
            }
            "INSERT" => {
                let done = crate::insert::run(stand, session.database.as_deref(), text).await;
                return done.map_or_else(|message| catalog_error(&message), |affected| Answer::Ok { affected });
            }
            // One transaction a statement: there is nothing to begin or end.
            "BEGIN" | "COMMIT" | "ROLLBACK" | "START" => return Answer::ok(),
            _ => {}
        },
        Token::Symbol(symbol) if symbol == "(" => return select::run(stand, session, &found).await,
        _ => {}
    }
    let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    stand.log(|log| log.count(&format!("unknown statement: {start}"), 1));
    Answer::syntax(&format!("Getting syntax error: the stand-in does not know: {start}"))
}

pub fn use_database(stand: &Stand, session: &mut Session, name: &str) -> Answer {
    let is_known = name == "information_schema" || stand.look(|cluster| cluster.databases.contains_key(name));
    if !is_known {
        return Answer::error(1049, &format!("Unknown database '{name}'"));
    }
    session.database = Some(name.to_owned());
    Answer::ok()
}

/// An error of the catalog by its text, with the number that clients look at.
pub fn catalog_error(message: &str) -> Answer {
    let code = match message {
        _ if message.starts_with("Unknown database") => 1049,
        _ if message.starts_with("Unknown table") => 5502,
        _ if message.starts_with("No database") => 1046,
        _ if message.contains("already exists") => 1050,
        _ => 1064,
    };
    Answer::error(code, message)
}

fn admin(stand: &Stand, tokens: &mut Tokens<'_>) -> Option<Answer> {
    if tokens.words("ADMIN SHOW FRONTEND CONFIG") {
        let pattern = if tokens.words("LIKE") { tokens.text() } else { None };
        let mut config = stand.look(|cluster| cluster.config.clone());
        config.insert("run_mode".into(), "shared_nothing".into());
        let found = config
            .into_iter()
            .filter(|(name, _)| pattern.as_deref().is_none_or(|pattern| show::is_like(name, pattern)));
        let rows =
            found.map(|(name, value)| vec![name, "[]".into(), value, "long".into(), "true".into(), String::new()]);
        return Some(Answer::table(&["Key", "AliasNames", "Value", "Type", "IsMutable", "Comment"], rows.collect()));
    }
    if !tokens.words("ADMIN SET FRONTEND CONFIG") || !tokens.symbol("(") {
        return None;
    }
    while let Some(name) = tokens.text() {
        if !tokens.symbol("=") {
            return None;
        }
        let value = tokens.text().or_else(|| tokens.number())?;
        if let Err(message) = stand.update(|cluster| cluster.set_config(&name, &value)) {
            return Some(Answer::syntax(&message));
        }
        tokens.symbol(",");
    }
    Some(Answer::ok())
}
