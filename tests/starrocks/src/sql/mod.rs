//! SQL as it comes over the MySQL port: words, and the statements that make and drop tables.

mod ddl;
mod lexer;
mod values;

pub use ddl::{create_table, table_name};
pub use lexer::{Token, tokens};
pub use values::insert_values;

/// Reads tokens one after the other.
pub struct Tokens<'t> {
    tokens: &'t [Token],
    at: usize,
}

impl<'t> Tokens<'t> {
    pub fn new(tokens: &'t [Token]) -> Self {
        Tokens { tokens, at: 0 }
    }

    pub fn peek(&self) -> Option<&'t Token> {
        self.tokens.get(self.at)
    }

    pub fn next(&mut self) -> Option<&'t Token> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
    }

    /// Takes the words, in any case, if they are next.
    pub fn words(&mut self, words: &str) -> bool {
        let mut at = self.at;
        for word in words.split(' ') {
            if !self.tokens.get(at).is_some_and(|token| token.is_word(word)) {
                return false;
            }
            at += 1;
        }
        self.at = at;
        true
    }

    pub fn symbol(&mut self, symbol: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Symbol(next)) if next == symbol);
        self.at += usize::from(is_next);
        is_next
    }

    /// A name, quoted or not.
    pub fn name(&mut self) -> Option<String> {
        match self.peek()? {
            Token::Word(word) | Token::Quoted(word) => {
                self.at += 1;
                Some(word.clone())
            }
            _ => None,
        }
    }

    /// A text in quotes.
    pub fn text(&mut self) -> Option<String> {
        match self.peek()? {
            Token::Text(text) => {
                self.at += 1;
                Some(text.clone())
            }
            _ => None,
        }
    }

    pub fn number(&mut self) -> Option<String> {
        match self.peek()? {
            Token::Number(text) => {
                self.at += 1;
                Some(text.clone())
            }
            _ => None,
        }
    }

    pub fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }
}
