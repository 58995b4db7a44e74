//! SELECT: the few things that differ are put in SQLite's words, and SQLite answers from what this FE shows.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::result::{Answer, Field, FieldKind, Rows};
use super::{Session, information_schema, variables};
use crate::catalog::datetime;
use crate::sql::Token;
use crate::stand::Stand;
use crate::view::{Holds, Selected, locked, query, scratch};

pub async fn run(stand: &Arc<Stand>, session: &Session, tokens: &[Token]) -> Answer {
    let limit = stand.look(|cluster| cluster.number("expr_children_limit"));
    let sql = match rewritten(session, tokens, limit) {
        Ok(sql) => sql,
        Err(answer) => return answer,
    };
    let databases = databases(stand, tokens);
    let reads_tables = tokens.iter().any(|token| token.is_word("FROM"));
    let mut names = databases.into_iter();
    let database = match (names.next(), names.next()) {
        (Some(_), Some(_)) => return Answer::syntax("the stand-in reads one database in one SELECT"),
        (Some(name), None) => Some(name),
        (None, _) => session.database.clone(),
    };
    let (stand, fe) = (stand.clone(), session.fe);
    let selected = tokio::task::spawn_blocking(move || match database.as_deref() {
        Some("information_schema") => query(&information_schema::open(&stand)?, &sql),
        Some(name) => query(&locked(&*stand.views[fe].database(name)?), &sql),
        None if reads_tables => Err(anyhow::anyhow!("No database selected")),
        None => query(&scratch()?, &sql),
    });
    match selected.await {
        Ok(Ok(selected)) => Answer::Rows(rows(selected)),
        Ok(Err(error)) => refused(&format!("{error:#}")),
        Err(_) => Answer::error(1105, "the stand-in could not run the SELECT"),
    }
}

fn refused(error: &str) -> Answer {
    let message = |text: &str| format!("Getting analyzing error. Detail message: {text}.");
    let first =
        |text: &str| text.split(" in ").next().and_then(|text| text.split(": ").next()).unwrap_or_default().to_owned();
    if let Some((_, name)) = error.split_once("no such table: ") {
        let name = first(name);
        return Answer::error(5502, &message(&format!("Unknown table '{name}'")));
    }
    if let Some((_, name)) = error.split_once("no such column: ") {
        let name = first(name);
        return Answer::syntax(&message(&format!("Column '{name}' cannot be resolved")));
    }
    super::statement::catalog_error(error)
}

fn rows(selected: Selected) -> Rows {
    let field =
        |column: crate::view::Column| Field { name: column.name, kind: kind(column.declared.as_deref(), column.holds) };
    Rows { columns: selected.columns.into_iter().map(field).collect(), rows: selected.rows }
}

/// A column's type by how it is declared in the view, an expression's by its first value.
fn kind(declared: Option<&str>, holds: Holds) -> FieldKind {
    let of_values = match holds {
        Holds::Text => FieldKind::Text,
        Holds::Integer => FieldKind::LongLong,
        Holds::Real => FieldKind::Double,
    };
    let Some(name) = declared.and_then(|declared| declared.split(' ').next()) else { return of_values };
    match name {
        "SR_BOOL_INT" | "SR_TINYINT" => FieldKind::Tiny,
        "SR_SMALLINT" => FieldKind::Short,
        "SR_INT" => FieldKind::Long,
        "SR_BIGINT" => FieldKind::LongLong,
        "SR_FLOAT_REAL" => FieldKind::Float,
        "SR_DOUBLE_REAL" => FieldKind::Double,
        "SR_DECIMAL_TEXT" => FieldKind::Decimal,
        "SR_DATE_TEXT" => FieldKind::Date,
        "SR_DATETIME_TEXT" => FieldKind::DateTime,
        "SR_CHAR_TEXT" => FieldKind::Char,
        "SR_BINARY_BLOB" => FieldKind::Blob,
        name if name.starts_with("SR_") => FieldKind::Text,
        _ => of_values,
    }
}

/// Databases that the statement names before a point.
fn databases(stand: &Stand, tokens: &[Token]) -> BTreeSet<String> {
    let pairs = tokens.windows(2).filter(|pair| pair[1].is_symbol("."));
    let named = pairs.filter_map(|pair| match &pair[0] {
        Token::Word(name) | Token::Quoted(name) => Some(name.clone()),
        _ => None,
    });
    let is_known =
        |name: &String| name == "information_schema" || stand.look(|cluster| cluster.databases.contains_key(name));
    named.filter(is_known).collect()
}

/// In SQLite's words.
fn rewritten(session: &Session, tokens: &[Token], in_list_max: u64) -> Result<String, Answer> {
    let mut sql = String::new();
    // Whether each open parenthesis is a CAST's.
    let mut casts = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let token = &tokens[at];
        let is_call = tokens.get(at + 1).is_some_and(|next| next.is_symbol("("));
        let is_empty_call = is_call && tokens.get(at + 2).is_some_and(|next| next.is_symbol(")"));
        // Without spaces that nobody typed: SQLite calls a column as its expression is written.
        let is_close = matches!(token, Token::Symbol(symbol) if matches!(symbol.as_str(), "(" | ")" | "," | "." | "*"));
        if !is_close && !sql.ends_with(['(', '.']) {
            sql.push(' ');
        }
        match token {
            Token::Word(word) if is_empty_call && constant(session, word).is_some() => {
                sql.push_str(&constant(session, word).unwrap_or_default());
                at += 2;
            }
            Token::Word(word)
                if word.eq_ignore_ascii_case("FROM") && tokens.get(at + 1).is_some_and(|next| next.is_word("DUAL")) =>
            {
                at += 1;
            }
            Token::Word(word)
                if word == "default_catalog" && tokens.get(at + 1).is_some_and(|next| next.is_symbol(".")) =>
            {
                at += 1
            }
            Token::Word(word) => {
                if word.eq_ignore_ascii_case("IN") && is_call {
                    let n = items(&tokens[at + 1..]);
                    if n as u64 > in_list_max {
                        return Err(Answer::syntax(&format!(
                            "Getting syntax error. Detail message: The number of exprs are {n} exceeded the maximum limit {in_list_max}."
                        )));
                    }
                }
                let is_cast_type = casts.last() == Some(&true) && at > 0 && tokens[at - 1].is_word("AS");
                sql.push_str(if is_cast_type { cast_type(word) } else { word });
            }
            Token::Quoted(name) => sql.push_str(&crate::view::quoted(name)),
            Token::Text(text) => sql.push_str(&literal(&canonical(text))),
            Token::Number(number) => sql.push_str(number),
            Token::Variable(name) => {
                let value = variables::value(name)
                    .ok_or_else(|| Answer::error(1193, &format!("Unknown system variable '{name}'")))?;
                sql.push_str(&literal(value));
            }
            Token::Symbol(symbol) => {
                match symbol.as_str() {
                    "(" => casts.push(at > 0 && tokens[at - 1].is_word("CAST")),
                    ")" => drop(casts.pop()),
                    _ => {}
                }
                sql.push_str(match symbol.as_str() {
                    "<=>" => "IS",
                    "&&" => "AND",
                    "||" => "OR",
                    other => other,
                });
            }
        }
        at += 1;
    }
    Ok(sql)
}

/// Functions without arguments whose value is the session's.
fn constant(session: &Session, word: &str) -> Option<String> {
    Some(match word.to_ascii_uppercase().as_str() {
        "DATABASE" | "SCHEMA" => session.database.as_deref().map_or_else(|| "NULL".into(), literal),
        "VERSION" => literal(variables::SERVER_VERSION),
        "CURRENT_VERSION" => literal(variables::STARROCKS_VERSION),
        "USER" | "CURRENT_USER" | "SESSION_USER" => literal(&format!("'{}'@'%'", session.user)),
        "CONNECTION_ID" => session.connection.to_string(),
        "NOW" | "CURRENT_TIMESTAMP" => "datetime('now')".into(),
        _ => return None,
    })
}

fn cast_type(word: &str) -> &str {
    match word.to_ascii_uppercase().as_str() {
        "STRING" | "DATETIME" | "DATE" | "JSON" | "CHAR" | "VARCHAR" => "TEXT",
        "SIGNED" | "BIGINT" | "INT" | "LARGEINT" => "INTEGER",
        _ => word,
    }
}

/// A date and time as columns have it, so that texts compare as they do in StarRocks.
fn canonical(text: &str) -> String {
    let is_written_out = text.len() > 19 && text.as_bytes()[19] == b'.';
    if is_written_out { datetime(text).unwrap_or_else(|| text.to_owned()) } else { text.to_owned() }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Items of the list that begins with a parenthesis.
fn items(tokens: &[Token]) -> usize {
    let (mut depth, mut n) = (0_usize, 1);
    for token in tokens {
        match token {
            Token::Symbol(symbol) if symbol == "(" => depth += 1,
            Token::Symbol(symbol) if symbol == ")" => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            Token::Symbol(symbol) if symbol == "," && depth == 1 => n += 1,
            _ => {}
        }
    }
    n
}
