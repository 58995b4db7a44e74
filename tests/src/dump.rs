//! Reads what the server's `mysqlbinlog -vv --base64-output=decode-rows` prints: an account of a log that owes nothing to
//! the host's decoder.
//!
//! [`read`] gives every row change of every table with its values as text; [`Dump::reference`] those of the reference
//! table, in the oracle's form.

use std::path::Path;

use crate::mysql::mysqlbinlog;
use crate::oracle::{Change, Op, Row};
use crate::wall_clock;

/// A log's row changes, in order.
#[derive(Clone, Debug)]
pub struct Dump {
    pub changes: Vec<Dumped>,
    pub n_transactions: usize,
}

/// One row change.
#[derive(Clone, Debug, PartialEq)]
pub struct Dumped {
    /// `database.table`
    pub table: String,
    pub op: Op,
    /// Of its transaction, as the server prints it; none without GTIDs.
    pub gtid: Option<String>,
    /// Commit time where it was committed first, microseconds since 1970, UTC.
    pub time_us: i64,
    /// Its transaction, counted from 0, and the byte at which that ends.
    pub transaction: usize,
    pub transaction_end: u64,
    pub before: Option<Vec<Value>>,
    pub after: Option<Vec<Value>>,
}

/// A column's value as text; None is NULL.
pub type Value = Option<String>;

/// Reads finished files.
#[track_caller]
pub fn read(files: &[impl AsRef<Path>]) -> Dump {
    parse(&mysqlbinlog(&["-vv", "--base64-output=decode-rows"], files))
}

impl Dump {
    /// The changes of `shop.item_assets` as they stand in the log. DATETIME columns and times are UTC.
    pub fn reference(&self) -> Vec<Change> {
        let of_table = self.changes.iter().filter(|change| change.table == "shop.item_assets");
        of_table.map(Dumped::reference).collect()
    }
}

impl Dumped {
    /// A change of a table like `shop.item_assets`, in the oracle's form.
    pub fn reference(&self) -> Change {
        let row = |image: &Vec<Value>| {
            let [id, owner, info, registered] = &image[..] else { panic!("not the reference table: {image:?}") };
            let number = |value: &Value| value.as_ref().map(|text| text.parse().expect("an INT"));
            Row {
                id: number(id),
                owner: number(owner),
                info: info.clone(),
                registered_us: registered.as_ref().and_then(|text| wall_clock::parse(text)),
            }
        };
        let (before, after) = (self.before.as_ref().map(row), self.after.as_ref().map(row));
        Change { op: self.op, time_us: self.time_us, before, after }
    }
}

/// `text`: what `mysqlbinlog -vv --base64-output=decode-rows` prints.
pub fn parse(text: &str) -> Dump {
    let mut reading = Reading::default();
    text.lines().for_each(|line| reading.line(line));
    reading.dump()
}

#[derive(Default)]
struct Reading {
    changes: Vec<Dumped>,
    n_transactions: usize,
    /// Changes before this one belong to whole transactions.
    whole: usize,
    gtid: Option<String>,
    time_us: i64,
    /// Where the last event ends that was printed.
    end: u64,
    /// The image that the next values belong to.
    after: bool,
}

impl Reading {
    fn line(&mut self, line: &str) {
        if let Some(values) = line.strip_prefix("###   @") {
            self.value(values);
        } else if let Some(change) = line.strip_prefix("### ") {
            self.change(change);
        } else if line.starts_with('#') {
            // An event's header. Those in a compressed transaction have no end of their own.
            match number_after(line, "end_log_pos ") {
                Some(0) | None => {}
                Some(end) => self.end = end,
            }
            if let Some(time_us) = number_after(line, "original_committed_timestamp=") {
                self.time_us = time_us as i64;
            }
        } else if let Some(next) = line.strip_prefix("SET @@SESSION.GTID_NEXT= '") {
            let gtid = next.split('\'').next().expect("a piece at least");
            self.gtid = gtid.contains(':').then(|| gtid.to_owned());
        } else if line.starts_with("COMMIT") {
            self.commit();
        }
    }

    fn change(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let (op, table) = match words[..] {
            ["INSERT", "INTO", table] => (Op::Create, table),
            ["UPDATE", table] => (Op::Update, table),
            ["DELETE", "FROM", table] => (Op::Delete, table),
            ["WHERE"] => return self.image(false),
            ["SET"] => return self.image(true),
            _ => panic!("mysqlbinlog prints a line that is not known: {line}"),
        };
        let table = table.replace('`', "");
        let (gtid, time_us, transaction) = (self.gtid.clone(), self.time_us, self.n_transactions);
        let (before, after) = (None, None);
        self.changes.push(Dumped { table, op, gtid, time_us, transaction, transaction_end: 0, before, after });
    }

    fn image(&mut self, after: bool) {
        self.after = after;
        *self.current() = Some(Vec::new());
    }

    /// `1=-5 (4294967291) /* INT meta=0 nullable=0 is_null=0 */`
    fn value(&mut self, line: &str) {
        let (number, rest) = line.split_once('=').expect("mysqlbinlog prints @number=value");
        let (value, kind) = rest.rsplit_once(" /* ").expect("mysqlbinlog -vv prints the type");
        let image = self.current().as_mut().expect("WHERE or SET comes first");
        assert_eq!(number.parse(), Ok(image.len() + 1), "columns in order, none absent: {line}");
        image.push(plain(value, kind));
    }

    fn current(&mut self) -> &mut Option<Vec<Value>> {
        let change = self.changes.last_mut().expect("a value belongs to a change");
        if self.after { &mut change.after } else { &mut change.before }
    }

    /// The event before this line has ended the transaction.
    fn commit(&mut self) {
        for change in &mut self.changes[self.whole..] {
            change.transaction_end = self.end;
        }
        self.whole = self.changes.len();
        self.n_transactions += 1;
    }

    fn dump(self) -> Dump {
        assert_eq!(self.whole, self.changes.len(), "the log ends inside a transaction");
        Dump { changes: self.changes, n_transactions: self.n_transactions }
    }
}

fn plain(value: &str, kind: &str) -> Value {
    if value == "NULL" {
        return None;
    }
    let plain = match value.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')) {
        Some(text) => unescaped(text),
        // An integer below zero has its unsigned reading behind it.
        None => value.split_once(" (").map_or(value, |(signed, _)| signed).to_owned(),
    };
    Some(if kind.starts_with("DATE ") { plain.replace(':', "-") } else { plain })
}

/// `it\'s`, `a \\ b`, `\n`, and `\x1a` for what has no letter.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        plain.push(match (char, chars.as_str()) {
            ('\\', rest) if rest.starts_with('x') => {
                let number = chars.by_ref().take(3).skip(1).collect::<String>();
                char::from(u8::from_str_radix(&number, 16).expect("two hex digits"))
            }
            ('\\', _) => match chars.next().expect("something is escaped") {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                char if char.is_ascii_alphanumeric() => panic!("mysqlbinlog escapes what is not known here: {text}"),
                char => char,
            },
            _ => char,
        });
    }
    plain
}

/// The number right behind `word`.
fn number_after(line: &str, word: &str) -> Option<u64> {
    let rest = &line[line.find(word)? + word.len()..];
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..digits].parse().ok()
}
