//! What events of a table have in common: all but a few values is the same text in one message after the other.
//!
//! Once an event was read by its members' names, the next one is compared with the texts between its values. One that differs
//! is read by names again; so a layout saves time and decides nothing.

use super::scan::{Fault, Scanner};

/// A value that differs from event to event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Before,
    After,
    Op,
    TimeMs,
    TimeUs,
    Server,
    File,
    Pos,
    Row,
    /// Nobody asks for it.
    Other,
}

/// An event's text without its values.
#[derive(Debug, Default)]
pub struct Layout {
    /// What stands before each value.
    runs: Vec<(Vec<u8>, Part)>,
    end: Vec<u8>,
}

impl Layout {
    /// Reads an event that is laid out like this. False: it is not, or something is wrong with a value.
    pub fn follow(
        &self,
        scanner: &mut Scanner<'_>,
        mut value: impl FnMut(&mut Scanner<'_>, Part) -> Result<(), Fault>,
    ) -> bool {
        let follows = |(run, part): &(Vec<u8>, Part)| scanner.take_exactly(run) && value(scanner, *part).is_ok();
        self.runs.iter().all(follows) && scanner.take_exactly(&self.end) && scanner.is_at_end()
    }

    pub fn is_known(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Begins to be that of another event.
    pub fn forget(&mut self) {
        self.runs.clear();
        self.end.clear();
    }

    /// `before`: what stands between the value before and this one.
    pub fn learn(&mut self, before: &[u8], part: Part) {
        self.runs.push((before.to_vec(), part));
    }

    #[cfg(test)]
    pub fn runs(&self) -> &[(Vec<u8>, Part)] {
        &self.runs
    }

    pub fn learn_end(&mut self, behind: &[u8]) {
        self.end.extend(behind);
    }
}
