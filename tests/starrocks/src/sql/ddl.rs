//! `CREATE TABLE` of a primary key table, as far as StarRocks' own form goes. What is not known is refused by name.

use super::{Token, Tokens};
use crate::catalog::{Column, ColumnType, NewTable};

const FORBIDDEN_COLUMNS: [&str; 2] = ["__op", "__row"];

/// A name, with its database where it has one.
pub fn table_name(tokens: &mut Tokens<'_>) -> Option<(Option<String>, String)> {
    let first = tokens.name()?;
    if !tokens.symbol(".") {
        return Some((None, first));
    }
    Some((Some(first), tokens.name()?))
}

/// Everything behind `CREATE TABLE [IF NOT EXISTS] name`.
pub fn create_table(tokens: &mut Tokens<'_>, name: String) -> Result<NewTable, String> {
    let mut table = NewTable { name, ..NewTable::default() };
    expect(tokens, "(")?;
    loop {
        if tokens.words("PRIMARY KEY") {
            table.primary_key = names(tokens)?;
        } else if tokens.words("INDEX") {
            return Err("an INDEX is not supported by the stand-in".into());
        } else {
            table.columns.push(column(tokens)?);
        }
        if !tokens.symbol(",") {
            break;
        }
    }
    expect(tokens, ")")?;
    while !tokens.is_at_end() {
        clause(tokens, &mut table)?;
    }
    check(&table)?;
    Ok(table)
}

fn clause(tokens: &mut Tokens<'_>, table: &mut NewTable) -> Result<(), String> {
    if tokens.words("ENGINE") {
        tokens.symbol("=");
        tokens.name();
    } else if tokens.words("PRIMARY KEY") {
        table.primary_key = names(tokens)?;
    } else if tokens.words("COMMENT") {
        table.comment = Some(tokens.text().ok_or("COMMENT wants a text")?);
    } else if tokens.words("DISTRIBUTED BY HASH") {
        table.distributed_by = names(tokens)?;
        if tokens.words("BUCKETS") {
            let n = tokens.number().and_then(|n| n.parse().ok()).ok_or("BUCKETS wants a number")?;
            table.buckets = Some(n);
        }
    } else if tokens.words("ORDER BY") {
        table.order_by = names(tokens)?;
    } else if tokens.words("PROPERTIES") {
        table.properties = properties(tokens)?;
    } else if let Some(token) = tokens.peek() {
        return Err(format!("the stand-in does not know {token:?} here"));
    }
    Ok(())
}

fn column(tokens: &mut Tokens<'_>) -> Result<Column, String> {
    let name = tokens.name().ok_or("a column's name is missing")?;
    let kind = column_type(tokens)?;
    // StarRocks: nullable unless it is said; key columns are NOT NULL, said or not.
    let mut column = Column { name, kind, nullable: true, default: None, comment: None };
    loop {
        if tokens.words("NOT NULL") {
            column.nullable = false;
        } else if tokens.words("NULL") {
            column.nullable = true;
        } else if tokens.words("DEFAULT") {
            column.default = default(tokens)?;
        } else if tokens.words("COMMENT") {
            column.comment = Some(tokens.text().ok_or("COMMENT wants a text")?);
        } else {
            return Ok(column);
        }
    }
}

fn default(tokens: &mut Tokens<'_>) -> Result<Option<String>, String> {
    if tokens.words("NULL") {
        return Ok(None);
    }
    let text = tokens.text().or_else(|| tokens.number()).or_else(|| tokens.name());
    let text = text.ok_or("DEFAULT wants a constant")?;
    if tokens.symbol("(") {
        return Err(format!("DEFAULT {text}(…) is not supported by the stand-in"));
    }
    Ok(Some(text))
}

fn column_type(tokens: &mut Tokens<'_>) -> Result<ColumnType, String> {
    let name = tokens.name().ok_or("a column's type is missing")?;
    let mut numbers = Vec::new();
    if tokens.symbol("(") {
        while !tokens.symbol(")") {
            let number = tokens.number().ok_or_else(|| format!("{name}(…) wants numbers"))?;
            numbers.push(number.parse().map_err(|_| format!("{name}({number}) is too large"))?);
            tokens.symbol(",");
        }
    }
    tokens.words("UNSIGNED");
    ColumnType::named(&name, &numbers)
}

fn names(tokens: &mut Tokens<'_>) -> Result<Vec<String>, String> {
    expect(tokens, "(")?;
    let mut names = Vec::new();
    loop {
        names.push(tokens.name().ok_or("a column's name is missing")?);
        if !tokens.symbol(",") {
            break;
        }
    }
    expect(tokens, ")")?;
    Ok(names)
}

fn properties(tokens: &mut Tokens<'_>) -> Result<Vec<(String, String)>, String> {
    expect(tokens, "(")?;
    let mut found = Vec::new();
    while !tokens.symbol(")") {
        let key = tokens.text().ok_or("PROPERTIES want texts")?;
        expect(tokens, "=")?;
        found.push((key, tokens.text().ok_or("PROPERTIES want texts")?));
        tokens.symbol(",");
    }
    Ok(found)
}

fn expect(tokens: &mut Tokens<'_>, symbol: &str) -> Result<(), String> {
    if tokens.symbol(symbol) {
        return Ok(());
    }
    Err(match tokens.peek() {
        Some(Token::Word(word) | Token::Quoted(word)) => format!("{symbol} is missing before {word}"),
        Some(token) => format!("{symbol} is missing before {token:?}"),
        None => format!("{symbol} is missing at the end"),
    })
}

fn check(table: &NewTable) -> Result<(), String> {
    if table.primary_key.is_empty() {
        return Err("the stand-in has primary key tables only: PRIMARY KEY (…) is missing".into());
    }
    for column in &table.columns {
        if FORBIDDEN_COLUMNS.contains(&column.name.as_str()) {
            return Err(format!("Incorrect column name '{}'", column.name));
        }
    }
    for name in table.primary_key.iter().chain(&table.distributed_by).chain(&table.order_by) {
        if !table.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name)) {
            return Err(format!("Key column({name}) doesn't exist."));
        }
    }
    // StarRocks wants the key's columns first, in the key's order.
    let first = table.columns.iter().zip(&table.primary_key).all(|(column, key)| column.name.eq_ignore_ascii_case(key));
    if !first {
        return Err("Key columns should be a ordered prefix of the schema.".into());
    }
    for name in &table.distributed_by {
        if !table.primary_key.iter().any(|key| key.eq_ignore_ascii_case(name)) {
            return Err(format!("Distribution column[{name}] is not key column"));
        }
    }
    Ok(())
}
