//! Faults of a text, shown to a person as code frames and to a program as JSON.
//!
//! No secret reaches a frame: passwords that stand in the text itself are blanked before it is kept.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode};
use serde_json::json;

/// Everything found wrong with one text.
#[derive(Clone, Debug)]
pub struct Faults {
    /// The file's name as the user gave it.
    name: String,
    text: String,
    list: Vec<Fault>,
}

#[derive(Clone, Debug)]
pub struct Fault {
    /// Bytes of the text.
    span: Range<usize>,
    message: String,
    label: Option<String>,
    help: Option<String>,
}

impl Faults {
    pub fn new(name: &str, text: &str) -> Self {
        Faults { name: name.to_owned(), text: blank_passwords(text), list: Vec::new() }
    }

    pub fn push(&mut self, fault: Fault) {
        self.list.push(fault);
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The value, unless there are faults.
    pub fn or<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.list.is_empty() => Ok(value),
            _ => Err(self),
        }
    }

    /// One code frame per fault, in the order of the text.
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(100).with_links(false);
        let source = NamedSource::new(&self.name, self.text.clone());
        let mut out = String::new();
        for fault in self.in_order() {
            if !out.is_empty() {
                out.push('\n');
            }
            // Writing into a String cannot fail.
            let _ = handler.render_report(&mut out, &Frame { fault, source: &source });
        }
        out
    }

    pub fn to_json(&self) -> serde_json::Value {
        self.in_order()
            .map(|fault| {
                let (line, column) = self.line_and_column(fault);
                json!({ "file": self.name, "line": line, "column": column, "message": fault.message, "help": fault.help })
            })
            .collect()
    }

    fn in_order(&self) -> impl Iterator<Item = &Fault> {
        let mut faults: Vec<&Fault> = self.list.iter().collect();
        faults.sort_by_key(|fault| fault.span.start);
        faults.into_iter()
    }

    /// Both from 1; columns count characters.
    fn line_and_column(&self, fault: &Fault) -> (usize, usize) {
        let before = self.text.get(..fault.span.start).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, fault) in self.in_order().enumerate() {
            if number > 0 {
                writeln!(f)?;
            }
            let (line, column) = self.line_and_column(fault);
            write!(f, "{}:{line}:{column}: {}", self.name, fault.message)?;
            if let Some(help) = &fault.help {
                write!(f, "; {help}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

impl Fault {
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Fault { span, message: message.into(), label: None, help: None }
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// What to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

#[derive(Debug)]
struct Frame<'a> {
    fault: &'a Fault,
    source: &'a NamedSource<String>,
}

impl fmt::Display for Frame<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault.message)
    }
}

impl std::error::Error for Frame<'_> {}

impl Diagnostic for Frame<'_> {
    fn help<'b>(&'b self) -> Option<Box<dyn fmt::Display + 'b>> {
        self.fault.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(self.fault.label.clone(), self.fault.span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}

/// The text with `*` for every password written into it: the value of a `password` key, and what stands between user
/// and host in a URL. Lengths in bytes stay, so that places do; `${…}` is no secret and stays too.
fn blank_passwords(text: &str) -> String {
    let mut out = text.as_bytes().to_vec();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let mut blank = |range: Range<usize>| {
            if !line[range.clone()].starts_with("${") {
                out[line_start + range.start..line_start + range.end].fill(b'*');
            }
        };
        if let Some(at) = line.find("password")
            && let Some(equals) = line[at..].find('=')
        {
            let value = at + equals + 1;
            let start = value + line[value..].find(['"', '\'']).map_or(0, |quote| quote + 1);
            blank(start..start + line[start..].trim_end().trim_end_matches(['"', '\'']).len());
        }
        for (scheme, _) in line.match_indices("://") {
            let start = scheme + 3;
            let address = &line[start..];
            let end = address.find(['"', '\'', '\n']).unwrap_or(address.len());
            if let (Some(colon), Some(at)) = (address[..end].find(':'), address[..end].rfind('@'))
                && colon < at
            {
                blank(start + colon + 1..start + at);
            }
        }
        line_start += line.len();
    }
    // A range begins and ends at an ASCII character, so whole characters were replaced.
    String::from_utf8(out).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_blanked_in_frames_and_places_stay() {
        let text = "password = \"geheim-ä\" # why\nurl = \"mysql://u:p@ss@h:1\"\nurl = \"mysql://u:${env:P}@h:1/x\"\n";
        let blanked = blank_passwords(text);
        assert_eq!(blanked.len(), text.len());
        assert!(!blanked.contains("geheim") && !blanked.contains("p@ss"), "{blanked}");
        assert!(blanked.contains("mysql://u:****@h:1") && blanked.contains("u:${env:P}@h:1/x"), "{blanked}");
    }
}
