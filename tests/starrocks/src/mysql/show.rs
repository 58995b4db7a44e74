//! SHOW and DESC.

use std::sync::Arc;

use super::result::Answer;
use super::{Session, tables, transactions, variables};
use crate::ddl;
use crate::sql::Tokens;
use crate::stand::Stand;

/// None: not known.
pub async fn run(stand: &Arc<Stand>, session: &Session, tokens: &mut Tokens<'_>) -> Option<Answer> {
    if tokens.words("DESC") || tokens.words("DESCRIBE") {
        return Some(of_table(stand, session, tokens, tables::describe));
    }
    if !tokens.words("SHOW") {
        return None;
    }
    let is_full = tokens.words("FULL");
    if tokens.words("DATABASES") || tokens.words("SCHEMAS") {
        let pattern = like(tokens);
        let mut names: Vec<String> = stand.look(|cluster| cluster.databases.keys().cloned().collect());
        names.push("information_schema".into());
        let found = names.into_iter().filter(|name| is_like_any(name, pattern.as_deref()));
        return Some(Answer::table(&["Database"], found.map(|name| vec![name]).collect()));
    }
    if tokens.words("TABLES") {
        return Some(show_tables(stand, session, tokens, is_full));
    }
    if tokens.words("CREATE TABLE") {
        return Some(of_table(stand, session, tokens, tables::create));
    }
    if tokens.words("CREATE DATABASE") {
        let name = tokens.name()?;
        return Some(Answer::table(
            &["Database", "Create Database"],
            vec![vec![name.clone(), format!("CREATE DATABASE `{name}`")]],
        ));
    }
    if tokens.words("COLUMNS") || tokens.words("FIELDS") {
        if !(tokens.words("FROM") || tokens.words("IN")) {
            return None;
        }
        return Some(of_table(stand, session, tokens, move |table| tables::columns(table, is_full)));
    }
    let _scope = tokens.words("SESSION") || tokens.words("GLOBAL");
    if tokens.words("VARIABLES") {
        let pattern = like(tokens);
        return Some(variables::show(|name| is_like_any(name, pattern.as_deref())));
    }
    if tokens.words("FRONTENDS") {
        return Some(tables::frontends(stand));
    }
    if tokens.words("BACKENDS") {
        return Some(tables::backends(stand));
    }
    if tokens.words("COMPUTE NODES") {
        return Some(Answer::table(&["ComputeNodeId", "IP"], Vec::new()));
    }
    if tokens.words("WARNINGS") || tokens.words("ERRORS") {
        return Some(Answer::table(&["Level", "Code", "Message"], Vec::new()));
    }
    if tokens.words("COLLATION") {
        let row = ["utf8_general_ci", "utf8", "33", "Yes", "Yes", "1"].map(str::to_owned).to_vec();
        return Some(Answer::table(&["Collation", "Charset", "Id", "Default", "Compiled", "Sortlen"], vec![row]));
    }
    if tokens.words("ENGINES") {
        let row = ["OLAP", "YES", "Default storage engine of StarRocks", "NO", "NO", "NO"].map(str::to_owned).to_vec();
        return Some(Answer::table(&["Engine", "Support", "Comment", "Transactions", "XA", "Savepoints"], vec![row]));
    }
    if tokens.words("ALTER TABLE") {
        // No ALTER is played, so none is on its way.
        return Some(Answer::table(&["TableName", "State"], Vec::new()));
    }
    if tokens.words("TRANSACTION") {
        return transactions::show(stand, session, tokens);
    }
    if tokens.words("PROC") {
        return transactions::proc(stand, &tokens.text()?);
    }
    None
}

fn show_tables(stand: &Stand, session: &Session, tokens: &mut Tokens<'_>, is_full: bool) -> Answer {
    let named = if tokens.words("FROM") || tokens.words("IN") { tokens.name() } else { None };
    let Some(database) = named.or_else(|| session.database.clone()) else {
        return Answer::error(1046, "No database selected");
    };
    let pattern = like(tokens);
    let names =
        stand.look(|cluster| Some(cluster.databases.get(&database)?.tables.keys().cloned().collect::<Vec<_>>()));
    let Some(names) = names else { return Answer::error(1049, &format!("Unknown database '{database}'")) };
    let found = names.into_iter().filter(|name| is_like_any(name, pattern.as_deref()));
    let heading = format!("Tables_in_{database}");
    match is_full {
        true => {
            let rows = found.map(|name| vec![name, "BASE TABLE".into()]).collect();
            Answer::table(&[&heading, "Table_type"], rows)
        }
        false => Answer::table(&[&heading], found.map(|name| vec![name]).collect()),
    }
}

fn of_table(
    stand: &Stand,
    session: &Session,
    tokens: &mut Tokens<'_>,
    show: impl FnOnce(&crate::catalog::Table) -> Answer,
) -> Answer {
    let found = ddl::named(tokens, session.database.as_deref()).and_then(|(mut database, name)| {
        // `SHOW COLUMNS FROM t FROM db`
        if tokens.words("FROM") || tokens.words("IN") {
            database = tokens.name().ok_or("a database's name is missing")?;
        }
        ddl::table(stand, &database, &name)
    });
    match found {
        Ok(table) => show(&table),
        Err(message) => super::statement::catalog_error(&message),
    }
}

fn like(tokens: &mut Tokens<'_>) -> Option<String> {
    if tokens.words("LIKE") { tokens.text() } else { None }
}

fn is_like_any(name: &str, pattern: Option<&str>) -> bool {
    pattern.is_none_or(|pattern| is_like(name, pattern))
}

/// SQL's LIKE, of any case.
pub fn is_like(text: &str, pattern: &str) -> bool {
    fn matches(text: &[u8], pattern: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'%', rest @ ..] => (0..=text.len()).any(|at| matches(&text[at..], rest)),
            [b'_', rest @ ..] => !text.is_empty() && matches(&text[1..], rest),
            [b'\\', c, rest @ ..] | [c, rest @ ..] => text.first() == Some(c) && matches(&text[1..], rest),
        }
    }
    matches(text.to_ascii_lowercase().as_bytes(), pattern.to_ascii_lowercase().as_bytes())
}
