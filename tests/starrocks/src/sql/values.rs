//! `INSERT INTO t [(columns)] VALUES (…), …` with constants: for the convenience of tests.

use super::{Token, Tokens};

/// A constant: None is NULL.
pub type Constant = Option<String>;

/// What stands behind the table's name.
pub fn insert_values(tokens: &mut Tokens<'_>) -> Result<(Vec<String>, Vec<Vec<Constant>>), String> {
    let mut columns = Vec::new();
    if tokens.symbol("(") {
        while !tokens.symbol(")") {
            columns.push(tokens.name().ok_or("a column's name is missing")?);
            tokens.symbol(",");
        }
    }
    if !tokens.words("VALUES") {
        return Err("INSERT is supported with VALUES of constants only".into());
    }
    let mut rows = Vec::new();
    loop {
        if !tokens.symbol("(") {
            return Err("( is missing in VALUES".into());
        }
        let mut row = Vec::new();
        while !tokens.symbol(")") {
            row.push(constant(tokens)?);
            tokens.symbol(",");
        }
        rows.push(row);
        if !tokens.symbol(",") {
            break;
        }
    }
    if tokens.is_at_end() { Ok((columns, rows)) } else { Err("something follows VALUES".into()) }
}

fn constant(tokens: &mut Tokens<'_>) -> Result<Constant, String> {
    let sign = if tokens.symbol("-") { "-" } else { "" };
    match tokens.next() {
        Some(Token::Word(word)) if word.eq_ignore_ascii_case("NULL") => Ok(None),
        Some(Token::Word(word)) if word.eq_ignore_ascii_case("TRUE") => Ok(Some("1".into())),
        Some(Token::Word(word)) if word.eq_ignore_ascii_case("FALSE") => Ok(Some("0".into())),
        Some(Token::Number(number)) => Ok(Some(format!("{sign}{number}"))),
        Some(Token::Text(text)) => Ok(Some(text.clone())),
        other => Err(format!("VALUES are constants; {other:?} is none")),
    }
}
