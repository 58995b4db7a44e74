//! JSON read from front to back, without a tree: whoever reads knows what comes next, or skips it.

use std::fmt;

/// Values within values that are skipped at the most: a text of brackets alone must not end the process.
const DEPTH_MAX: usize = 128;

/// What is wrong with a text, and at which byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: usize,
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}", self.what, self.at)
    }
}

/// A place in a text.
pub struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
}

/// A string of the text, or, where it had escapes, one that was written out.
pub enum Str<'a> {
    Plain(&'a str),
    Written,
}

type Scanned<T> = Result<T, Fault>;

impl<'a> Scanner<'a> {
    /// # Errors
    /// It is no text: not UTF-8.
    pub fn new(bytes: &'a [u8]) -> Scanned<Self> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Scanner { text, bytes, at: 0 }),
            Err(error) => Err(Fault { at: error.valid_up_to(), what: "the text is not UTF-8".into() }),
        }
    }

    pub fn at(&self) -> usize {
        self.at
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// What stands between a place where this scanner was and where it is.
    pub fn since(&self, at: usize) -> &'a [u8] {
        &self.bytes[at..self.at]
    }

    /// Back to a place where this scanner was.
    pub fn rewind(&mut self, at: usize) {
        self.at = at;
    }

    pub fn fault<T>(&self, what: impl Into<String>) -> Scanned<T> {
        Err(Fault { at: self.at, what: what.into() })
    }

    /// The next byte that is not blank.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    #[inline]
    pub fn expect(&mut self, byte: u8) -> Scanned<()> {
        match self.peek() {
            Some(found) if found == byte => {
                self.at += 1;
                Ok(())
            }
            Some(found) => self.fault(format!("`{}` instead of `{}`", found.escape_ascii(), byte as char)),
            None => self.fault(format!("the text ends before `{}`", byte as char)),
        }
    }

    /// Whether the next is this byte, which is then behind.
    #[inline]
    pub fn take(&mut self, byte: u8) -> bool {
        let is = self.peek() == Some(byte);
        self.at += usize::from(is);
        is
    }

    /// Whether the next bytes are these, which are then behind: a label as it is written most of the time.
    #[inline]
    pub fn take_exactly(&mut self, label: &[u8]) -> bool {
        let is = self.bytes[self.at..].starts_with(label);
        self.at += if is { label.len() } else { 0 };
        is
    }

    pub fn take_null(&mut self) -> bool {
        self.peek() == Some(b'n') && self.take_exactly(b"null")
    }

    /// Nothing but blanks is left.
    pub fn end(&mut self) -> Scanned<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fault("something stands behind the end"),
        }
    }

    /// The members of an object, one after the other: `member` gets the name and reads the value.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Scanned<()>) -> Scanned<()> {
        self.expect(b'{')?;
        if self.take(b'}') {
            return Ok(());
        }
        let mut escaped = String::new();
        loop {
            let name = self.string(&mut escaped)?;
            self.expect(b':')?;
            match name {
                Str::Plain(name) => member(self, name)?,
                Str::Written => member(self, &std::mem::take(&mut escaped))?,
            }
            if self.take(b'}') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// The values of an array, one after the other.
    pub fn array(&mut self, mut value: impl FnMut(&mut Self) -> Scanned<()>) -> Scanned<()> {
        self.expect(b'[')?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            value(self)?;
            if self.take(b']') {
                return Ok(());
            }
            self.expect(b',')?;
        }
    }

    /// A string; one with escapes replaces what `escaped` holds.
    #[inline]
    pub fn string(&mut self, escaped: &mut String) -> Scanned<Str<'a>> {
        self.expect(b'"')?;
        let start = self.at;
        self.at = plain_until(self.bytes, start);
        if self.bytes.get(self.at) == Some(&b'"') {
            let text = &self.text[start..self.at];
            self.at += 1;
            return Ok(Str::Plain(text));
        }
        self.at = start;
        self.string_with_escapes(escaped)?;
        Ok(Str::Written)
    }

    /// Behind its first quote.
    fn string_with_escapes(&mut self, out: &mut String) -> Scanned<()> {
        out.clear();
        loop {
            let from = self.at;
            self.at = plain_until(self.bytes, from);
            out.push_str(&self.text[from..self.at]);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.push(self.escape()?);
                }
                Some(_) => return self.fault("a control character within a string"),
                None => return self.fault("the text ends within a string"),
            }
        }
    }

    /// Behind the backslash.
    fn escape(&mut self) -> Scanned<char> {
        let Some(&letter) = self.bytes.get(self.at) else { return self.fault("the text ends within an escape") };
        self.at += 1;
        Ok(match letter {
            b'"' | b'\\' | b'/' => letter as char,
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let high = self.hex()?;
                let code = match high {
                    0xd800..0xdc00 => {
                        if !self.take_exactly(b"\\u") {
                            return self.fault("half of a surrogate pair");
                        }
                        let low = self.hex()?;
                        if !(0xdc00..0xe000).contains(&low) {
                            return self.fault("half of a surrogate pair");
                        }
                        0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
                    }
                    _ => high,
                };
                match char::from_u32(code) {
                    Some(char) => char,
                    None => return self.fault("half of a surrogate pair"),
                }
            }
            _ => return self.fault("an escape that JSON has not"),
        })
    }

    fn hex(&mut self) -> Scanned<u32> {
        let digits = self.bytes.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = digits else { return self.fault("an escape without four hexadecimal digits") };
        self.at += 4;
        Ok(digits.iter().fold(0, |code, digit| code << 4 | (*digit as char).to_digit(16).unwrap_or(0)))
    }

    /// A number's text, as JSON writes numbers.
    pub fn number(&mut self) -> Scanned<&'a str> {
        self.peek();
        let start = self.at;
        let digits = |scanner: &mut Self| {
            let from = scanner.at;
            while scanner.bytes.get(scanner.at).is_some_and(u8::is_ascii_digit) {
                scanner.at += 1;
            }
            scanner.at - from
        };
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let zero = self.bytes.get(self.at) == Some(&b'0');
        let whole = digits(self);
        if whole == 0 || zero && whole > 1 {
            self.at = start;
            return self.fault("no number");
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if digits(self) == 0 {
                return self.fault("a number ends with its point");
            }
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            if digits(self) == 0 {
                return self.fault("a number ends with its exponent");
            }
        }
        Ok(&self.text[start..self.at])
    }

    /// An integer that fits.
    #[inline]
    pub fn integer(&mut self) -> Scanned<i64> {
        if let Some(value) = self.short_integer() {
            return Ok(value);
        }
        let text = self.number()?;
        text.parse().or_else(|_| self.fault(format!("{text} is no integer of 64 bits")))
    }

    /// One of so few digits that it fits, as it is written most of the time; else nothing is behind.
    #[inline]
    fn short_integer(&mut self) -> Option<i64> {
        const DIGITS_MAX: usize = 18;
        let negative = self.peek() == Some(b'-');
        let first = self.at + usize::from(negative);
        let (mut at, mut value) = (first, 0);
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(at) {
            if at - first == DIGITS_MAX {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
            at += 1;
        }
        let is_one = match self.bytes.get(first) {
            Some(b'0') => at - first == 1,
            _ => at > first,
        };
        if !is_one || matches!(self.bytes.get(at), Some(b'.' | b'e' | b'E')) {
            return None;
        }
        self.at = at;
        Some(if negative { -value } else { value })
    }

    /// Passes over a value of any kind.
    pub fn skip(&mut self) -> Scanned<()> {
        self.skip_within(DEPTH_MAX)
    }

    fn skip_within(&mut self, depth: usize) -> Scanned<()> {
        if depth == 0 {
            return self.fault(format!("values within values, more than {DEPTH_MAX} deep"));
        }
        let mut escaped = String::new();
        match self.peek() {
            Some(b'"') => self.string(&mut escaped).map(drop),
            Some(b'{') => {
                self.at += 1;
                if self.take(b'}') {
                    return Ok(());
                }
                loop {
                    self.string(&mut escaped)?;
                    self.expect(b':')?;
                    self.skip_within(depth - 1)?;
                    if self.take(b'}') {
                        return Ok(());
                    }
                    self.expect(b',')?;
                }
            }
            Some(b'[') => {
                self.at += 1;
                if self.take(b']') {
                    return Ok(());
                }
                loop {
                    self.skip_within(depth - 1)?;
                    if self.take(b']') {
                        return Ok(());
                    }
                    self.expect(b',')?;
                }
            }
            Some(b't') if self.take_exactly(b"true") => Ok(()),
            Some(b'f') if self.take_exactly(b"false") => Ok(()),
            Some(b'n') if self.take_exactly(b"null") => Ok(()),
            Some(b'-' | b'0'..=b'9') => match self.short_integer() {
                Some(_) => Ok(()),
                None => self.number().map(drop),
            },
            Some(_) => self.fault("no value"),
            None => self.fault("the text ends before a value"),
        }
    }
}

/// Where a string's bytes end that stand for themselves: at a quote, a backslash, a control character or the end.
#[inline]
fn plain_until(bytes: &[u8], mut at: usize) -> usize {
    while let Some(eight) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let found = special(u64::from_le_bytes(*eight));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        at += 1;
    }
    at
}

/// The high bit of each of eight bytes that is a quote, a backslash or a control character; those above the first one may be
/// wrong. (Bit Twiddling Hacks, "Determine if a word has a byte less than n".)
#[inline]
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let less = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word;
    let equal = |byte: u8| less(word ^ (ONES * u64::from(byte)), 1);
    (equal(b'"') | equal(b'\\') | less(word, 0x20)) & HIGHS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> Result<String, Fault> {
        let mut scanner = Scanner::new(text.as_bytes())?;
        let mut escaped = String::new();
        let text = match scanner.string(&mut escaped)? {
            Str::Plain(text) => text.to_owned(),
            Str::Written => escaped,
        };
        scanner.end()?;
        Ok(text)
    }

    /// What serde_json takes is taken, with the same text, and what it refuses is refused.
    #[test]
    fn strings_are_those_of_json() {
        for text in [
            r#""""#,
            r#""plain""#,
            r#""é€😀""#,
            r#""a\"b\\c\/d\b\f\n\r\t""#,
            r#""\u00e9\u20ac\ud83d\ude00""#,
            r#""\ud83d""#,
            r#""\ud83dA""#,
            r#""\ude00""#,
            r#""\x""#,
            r#""\u12g4""#,
            r#""\u12"#,
            "\"a\nb\"",
            r#""sixteen letters\n and more of them\"""#,
            "\"sixteen letters \u{1f} and more\"",
            r#""0123456""#,
            r#""01234567""#,
            r#""012345678 é\é 0123456789""#,
            r#""012345678 é 0123456789 !#[]~""#,
            r#""open"#,
            r#""closed" more"#,
        ] {
            assert_eq!(string(text).ok(), serde_json::from_str::<String>(text).ok(), "{text}");
        }
    }

    #[test]
    fn integers_are_those_of_json() {
        for text in [
            "0",
            "-0",
            "00",
            "-01",
            "7",
            "-7",
            "123456789012345678",
            "-123456789012345678",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "1e3",
            "1.0",
            "-",
            "",
            "x",
        ] {
            let mut scanner = Scanner::new(text.as_bytes()).expect("UTF-8");
            let integer = scanner.integer().and_then(|value| scanner.end().map(|()| value));
            // -0 is a float to serde_json.
            let wanted = if text == "-0" { Some(0) } else { serde_json::from_str::<i64>(text).ok() };
            assert_eq!(integer.ok(), wanted, "{text}");
        }
    }

    #[test]
    fn values_are_those_of_json() {
        for text in [
            "0",
            "-0",
            "01",
            "1.",
            "1.5",
            ".5",
            "1e5",
            "1E+05",
            "1e",
            "-",
            "+1",
            "true",
            "false",
            "null",
            "nul",
            "truE",
            "{}",
            "[]",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\" : [1, {\"b\": null}, \"c\"] }",
            "{a:1}",
            "[1 2]",
            "[",
            "{\"a\"",
            "\"",
            "",
            " 1 ",
            "1 1",
        ] {
            let mut scanner = Scanner::new(text.as_bytes()).expect("UTF-8");
            let skipped = scanner.skip().and_then(|()| scanner.end());
            assert_eq!(skipped.is_ok(), serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}: {skipped:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(Scanner::new(deep.as_bytes()).expect("UTF-8").skip().unwrap_err().what.contains("deep"));
    }
}
