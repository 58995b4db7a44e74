//! A TOML text as a tree that knows its places, and the faults found in it.
//!
//! Configuration and case files are read through [`Keys`], key by key: every fault is collected with its place, so
//! that a reader sees all of them at once, each with a code frame. Whoever reads a key makes it known; the rest are
//! refused by [`Keys::end`].

mod faults;

use std::ops::Range;

use toml::de::{DeTable, DeValue};

pub use faults::{Fault, Faults};

/// A value and the bytes of the text where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    pub span: Range<usize>,
    pub value: NodeValue,
}

#[derive(Clone, Debug)]
pub enum NodeValue {
    Text(Text),
    Integer(i128),
    Float(f64),
    Boolean(bool),
    /// A TOML date or time without quotes, in its text form.
    Time(String),
    Array(Vec<Node>),
    Table(Table),
}

/// A string. What is used may differ from what was typed: `${env:NAME}` stands for a secret, so messages and `Debug`
/// show what was typed.
#[derive(Clone, PartialEq, Eq)]
pub struct Text {
    pub value: String,
    pub typed: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct Table {
    pub span: Range<usize>,
    pub entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub node: Node,
}

/// Reads a text into a tree. Duplicate keys are the first faults, and the first of them stands.
///
/// # Errors
/// Syntax errors. What follows one is guesswork: faults found in it would only hide the error.
pub fn parse(name: &str, text: &str) -> Result<(Table, Faults), Faults> {
    let mut faults = Faults::new(name, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut readable = true;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let fault = if error.message() == DUPLICATE {
            let key = text.get(span.clone()).unwrap_or_default();
            Fault::new(span, format!("duplicate key `{key}`")).label("the second one").help("keep one of them")
        } else {
            readable = false;
            Fault::new(span, error.message()).label("here")
        };
        faults.push(fault);
    }
    if !readable {
        return Err(faults);
    }
    let entries = entries(table.into_inner(), &mut faults);
    Ok((Table { span: 0..0, entries }, faults))
}

/// The parser's message; there is no code to tell it by.
const DUPLICATE: &str = "duplicate key";

fn entries(table: DeTable<'_>, faults: &mut Faults) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| {
            let key_span = key.span();
            let span = value.span();
            let node = Node { value: node_value(value.into_inner(), &span, faults), span };
            Entry { key: key.into_inner().into_owned(), key_span, node }
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span.start);
    entries
}

fn node_value(value: DeValue<'_>, span: &Range<usize>, faults: &mut Faults) -> NodeValue {
    match value {
        DeValue::String(text) => NodeValue::Text(Text { value: text.into_owned(), typed: None }),
        DeValue::Integer(integer) => {
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            NodeValue::Integer(number.unwrap_or_else(|_| {
                faults.push(
                    Fault::new(span.clone(), "this integer has more than 38 digits").help("write it as a string"),
                );
                0
            }))
        }
        DeValue::Float(float) => NodeValue::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(flag) => NodeValue::Boolean(flag),
        DeValue::Datetime(time) => NodeValue::Time(time.to_string()),
        DeValue::Array(array) => NodeValue::Array(
            array
                .into_iter()
                .map(|item| {
                    let span = item.span();
                    Node { value: node_value(item.into_inner(), &span, faults), span }
                })
                .collect(),
        ),
        DeValue::Table(table) => NodeValue::Table(Table { span: span.clone(), entries: entries(table, faults) }),
    }
}

/// A table being read. Each `get` makes its key known; [`end`](Keys::end) refuses the keys that nobody asked for.
pub struct Keys<'a, 'f> {
    table: &'a Table,
    /// `[source]`, `change 3`: the table in messages.
    place: String,
    known: Vec<&'static str>,
    pub faults: &'f mut Faults,
}

impl<'a, 'f> Keys<'a, 'f> {
    pub fn new(table: &'a Table, place: impl Into<String>, faults: &'f mut Faults) -> Self {
        Keys { table, place: place.into(), known: Vec::new(), faults }
    }

    pub fn place(&self) -> &str {
        &self.place
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.entries.iter().any(|entry| entry.key == key)
    }

    pub fn get(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        self.table.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.node)
    }

    /// Like `get`; a fault when the key is missing, with what it is good for.
    pub fn require(&mut self, key: &'static str, help: &str) -> Option<&'a Node> {
        let node = self.get(key);
        if node.is_none() {
            let message = format!("`{key}` is missing in {}", self.place);
            self.faults.push(Fault::new(self.heading(), message).help(help));
        }
        node
    }

    pub fn text(&mut self, key: &'static str) -> Option<(&'a Text, &'a Node)> {
        let node = self.get(key)?;
        self.as_text(key, node).map(|text| (text, node))
    }

    pub fn require_text(&mut self, key: &'static str, help: &str) -> Option<(&'a Text, &'a Node)> {
        let node = self.require(key, help)?;
        self.as_text(key, node).map(|text| (text, node))
    }

    pub fn table(&mut self, key: &'static str) -> Option<&'a Table> {
        let node = self.get(key)?;
        match &node.value {
            NodeValue::Table(table) => Some(table),
            _ => self.wrong_type(key, node, "a table"),
        }
    }

    /// A list of strings; `one` says whether a single string stands for a list of one.
    pub fn texts(&mut self, key: &'static str, one: OneText) -> Option<Vec<(&'a Text, &'a Node)>> {
        let node = self.get(key)?;
        match (&node.value, one) {
            (NodeValue::Text(text), OneText::IsList) => Some(vec![(text, node)]),
            (NodeValue::Array(items), _) => {
                items.iter().map(|item| self.as_text(key, item).map(|text| (text, item))).collect()
            }
            (_, OneText::IsList) => self.wrong_type(key, node, "a string or a list of strings"),
            (_, OneText::IsRefused) => self.wrong_type(key, node, "a list of strings"),
        }
    }

    /// One of several words; the first names in messages the choice most wanted.
    pub fn word(&mut self, key: &'static str, words: &[&'static str]) -> Option<(&'static str, &'a Node)> {
        let (text, node) = self.text(key)?;
        if let Some(word) = words.iter().find(|word| **word == text.value) {
            return Some((*word, node));
        }
        let choices: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        let help = match nearest(&text.value, words.iter().copied()) {
            Some(word) => format!("did you mean \"{word}\"? it is one of {}", choices.join(", ")),
            None => format!("it is one of {}", choices.join(", ")),
        };
        let message = format!("`{key}` of {} cannot be {text:?}", self.place);
        self.faults.push(Fault::new(node.span.clone(), message).label("not known").help(help));
        None
    }

    pub fn boolean(&mut self, key: &'static str) -> Option<(bool, &'a Node)> {
        let node = self.get(key)?;
        match node.value {
            NodeValue::Boolean(flag) => Some((flag, node)),
            _ => self.wrong_type(key, node, "true or false"),
        }
    }

    pub fn wrong_type<T>(&mut self, key: &str, node: &Node, wanted: &str) -> Option<T> {
        let message = format!("`{key}` of {} is {wanted}, not {}", self.place, node.value.kind());
        self.faults.push(Fault::new(node.span.clone(), message).label(format!("expected {wanted}")));
        None
    }

    /// Refuses every key that was not asked for.
    pub fn end(self) {
        for entry in &self.table.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let mut known = self.known.clone();
            known.sort_unstable();
            known.dedup();
            let all = format!("known here: {}", known.join(", "));
            let help = match nearest(&entry.key, known.iter().copied()) {
                Some(key) => format!("did you mean `{key}`? {all}"),
                None => all,
            };
            let message = format!("unknown key `{}` in {}", entry.key, self.place);
            self.faults.push(Fault::new(entry.key_span.clone(), message).label("unknown key").help(help));
        }
    }

    /// The place for faults of the whole table.
    pub fn heading(&self) -> Range<usize> {
        self.table.span.clone()
    }

    fn as_text(&mut self, key: &str, node: &'a Node) -> Option<&'a Text> {
        match &node.value {
            NodeValue::Text(text) => Some(text),
            _ => self.wrong_type(key, node, "a string"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OneText {
    IsList,
    IsRefused,
}

impl NodeValue {
    /// The value's type in messages.
    pub fn kind(&self) -> &'static str {
        match self {
            NodeValue::Text(_) => "a string",
            NodeValue::Integer(_) => "an integer",
            NodeValue::Float(_) => "a float",
            NodeValue::Boolean(_) => "a boolean",
            NodeValue::Time(_) => "a date or time without quotes",
            NodeValue::Array(_) => "a list",
            NodeValue::Table(_) => "a table",
        }
    }
}

impl Text {
    /// As it stands in the file.
    pub fn as_typed(&self) -> &str {
        self.typed.as_deref().unwrap_or(&self.value)
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_typed())
    }
}

/// The candidate that a typing error most likely meant: at most a third of its letters differ.
pub fn nearest<'c>(typed: &str, candidates: impl Iterator<Item = &'c str>) -> Option<&'c str> {
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(typed, candidate), candidate))
        .filter(|(distance, candidate)| distance * 3 <= candidate.chars().count().max(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
