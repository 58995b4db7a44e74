//! Cuts SQL into tokens, by MySQL's rules: backslashes in texts, double quotes as texts, three kinds of comments.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Word(String),
    /// In backticks.
    Quoted(String),
    Text(String),
    Number(String),
    /// `@@name`, with a scope where it has one.
    Variable(String),
    Symbol(String),
}

impl Token {
    pub fn is_word(&self, word: &str) -> bool {
        matches!(self, Token::Word(own) if own.eq_ignore_ascii_case(word))
    }

    pub fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self, Token::Symbol(own) if own == symbol)
    }
}

/// The statement's tokens without its closing semicolon; the error says what is not closed.
pub fn tokens(sql: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let bytes = sql.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &sql[at..];
        let first = rest.chars().next().unwrap_or(' ');
        if first.is_whitespace() {
            at += first.len_utf8();
        } else if rest.starts_with("-- ") || rest.starts_with("--\n") || first == '#' {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            at += rest.find("*/").ok_or("a comment is not closed")? + 2;
        } else if matches!(first, '\'' | '"') {
            let (text, length) = quoted(rest, first, true)?;
            found.push(Token::Text(text));
            at += length;
        } else if first == '`' {
            let (name, length) = quoted(rest, first, false)?;
            found.push(Token::Quoted(name));
            at += length;
        } else if let Some(name) = rest.strip_prefix("@@") {
            let length = span(name, |c| c.is_alphanumeric() || matches!(c, '_' | '.'));
            found.push(Token::Variable(name[..length].to_owned()));
            at += 2 + length;
        } else if first.is_ascii_digit()
            || (first == '.' && rest[1..].starts_with(|c: char| c.is_ascii_digit()) && !follows_name(&found))
        {
            let length = number(rest);
            found.push(Token::Number(rest[..length].to_owned()));
            at += length;
        } else if first.is_alphanumeric() || matches!(first, '_' | '$' | '@') {
            let length = span(rest, |c| c.is_alphanumeric() || matches!(c, '_' | '$' | '@'));
            found.push(Token::Word(rest[..length].to_owned()));
            at += length;
        } else {
            let two = ["<=>", "<=", ">=", "<>", "!=", "||", "&&"].into_iter().find(|symbol| rest.starts_with(symbol));
            let symbol = two.unwrap_or(&rest[..first.len_utf8()]);
            found.push(Token::Symbol(symbol.to_owned()));
            at += symbol.len();
        }
    }
    while found.last().is_some_and(|token| token.is_symbol(";")) {
        found.pop();
    }
    Ok(found)
}

fn follows_name(found: &[Token]) -> bool {
    matches!(found.last(), Some(Token::Word(_) | Token::Quoted(_)))
}

fn span(text: &str, is_part: impl Fn(char) -> bool) -> usize {
    text.find(|c| !is_part(c)).unwrap_or(text.len())
}

/// Digits, a point, an exponent.
fn number(text: &str) -> usize {
    let mut length = span(text, |c| c.is_ascii_digit() || c == '.');
    let rest = &text[length..];
    if rest.starts_with(['e', 'E']) {
        let sign = usize::from(rest[1..].starts_with(['+', '-']));
        let digits = span(&rest[1 + sign..], |c| c.is_ascii_digit());
        if digits > 0 {
            length += 1 + sign + digits;
        }
    }
    length
}

/// What is between quotes, and how long it is with them.
fn quoted(text: &str, quote: char, backslashes: bool) -> Result<(String, usize), String> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && backslashes {
            let Some((_, escaped)) = chars.next() else { break };
            match escaped {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                '0' => value.push('\0'),
                'b' => value.push('\u{8}'),
                'Z' => value.push('\u{1a}'),
                other => value.push(other),
            }
        } else if c == quote {
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                value.push(quote);
                chars.next();
            } else {
                return Ok((value, at + 1));
            }
        } else {
            value.push(c);
        }
    }
    Err(format!("{quote} is not closed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_names_and_comments_are_cut_as_mysql_cuts_them() {
        let cut = tokens("SELECT `a``b`, 'it''s \\'x\\'', \"d\" /* no */ FROM t -- rest\n WHERE x>=1.5e3;").unwrap();
        let text = |text: &str| Token::Text(text.into());
        assert_eq!(cut[1], Token::Quoted("a`b".into()));
        assert_eq!((&cut[3], &cut[5]), (&text("it's 'x'"), &text("d")));
        assert_eq!(cut[cut.len() - 2..], [Token::Symbol(">=".into()), Token::Number("1.5e3".into())]);
        assert!(tokens("SELECT 'x").is_err());
    }
}
