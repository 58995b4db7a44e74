//! GTID sets: which source transactions are done, as the server writes and compares them.
//!
//! The text form is the server's: `uuid:1-5:7,uuid:tag:1-3`, one entry per UUID, a tag holding for the intervals behind it
//! (<https://dev.mysql.com/doc/refman/9.7/en/replication-gtids-concepts.html>). Sets are small (a server's history is
//! one interval per UUID and tag), so intervals are sorted lists.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use mysql_async::{GnoInterval, Sid};
use uuid::Uuid;

use crate::event::Gtid;

/// A UUID and a tag; the empty tag sorts first, as the server prints it.
type Source = ([u8; 16], Arc<str>);

/// Transaction numbers of the server end here (2^63 - 1 is never used).
const NUMBER_MAX: u64 = i64::MAX as u64;

/// A tag has so many characters at most.
const TAG_CHARS_MAX: usize = 32;

/// A set of global transaction identifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet {
    /// Sorted, disjoint, not touching; never empty.
    intervals: BTreeMap<Source, Vec<Interval>>,
}

/// Numbers from `first` up to and including `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Interval {
    first: u64,
    last: u64,
}

impl GtidSet {
    pub fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    pub fn contains(&self, gtid: &Gtid) -> bool {
        let source = (gtid.uuid, gtid.tag.clone().unwrap_or_default());
        self.intervals.get(&source).is_some_and(|intervals| {
            let behind = intervals.partition_point(|interval| interval.first <= gtid.number);
            behind > 0 && gtid.number <= intervals[behind - 1].last
        })
    }

    /// The usual case, the number after the last one, moves one bound.
    pub fn add(&mut self, gtid: &Gtid) {
        let source = (gtid.uuid, gtid.tag.clone().unwrap_or_default());
        add(self.intervals.entry(source).or_default(), Interval { first: gtid.number, last: gtid.number });
    }

    #[must_use]
    pub fn union(&self, other: &GtidSet) -> GtidSet {
        let mut union = self.clone();
        for (source, intervals) in &other.intervals {
            let into = union.intervals.entry(source.clone()).or_default();
            intervals.iter().for_each(|interval| add(into, *interval));
        }
        union
    }

    /// What is in this set and not in the other.
    #[must_use]
    pub fn minus(&self, other: &GtidSet) -> GtidSet {
        let left = self.intervals.iter().filter_map(|(source, intervals)| {
            let taken = other.intervals.get(source).map_or(&[][..], Vec::as_slice);
            let left = subtract(intervals, taken);
            (!left.is_empty()).then(|| (source.clone(), left))
        });
        GtidSet { intervals: left.collect() }
    }

    pub fn is_subset_of(&self, other: &GtidSet) -> bool {
        self.intervals.iter().all(|(source, intervals)| {
            let covering = other.intervals.get(source).map_or(&[][..], Vec::as_slice);
            intervals.iter().all(|interval| {
                let behind = covering.partition_point(|cover| cover.first <= interval.first);
                behind > 0 && interval.last <= covering[behind - 1].last
            })
        })
    }

    /// As the binlog dump command takes it: a block per UUID and tag, intervals half open.
    pub(super) fn sids(&self) -> Vec<Sid<'static>> {
        let sids = self.intervals.iter().map(|((uuid, tag), intervals)| {
            let intervals = intervals.iter().map(|interval| GnoInterval::new(interval.first, interval.last + 1));
            let sid = Sid::new(*uuid).with_intervals(intervals.collect());
            if tag.is_empty() {
                sid
            } else {
                sid.with_tag(tag.to_string().try_into().expect("tags were checked when they were read"))
            }
        });
        sids.collect()
    }
}

impl FromStr for GtidSet {
    type Err = String;

    /// Whitespace may stand anywhere between the parts, as the server breaks its lines.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut set = GtidSet::default();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let wrong = |what: &str| format!("`{entry}` is no part of a GTID set: {what}");
            let mut parts = entry.split(':').map(str::trim);
            let uuid = parts.next().and_then(parse_uuid).ok_or_else(|| wrong("it begins with a UUID"))?;
            let mut tag: Arc<str> = Arc::default();
            let mut n_intervals = 0;
            for part in parts {
                if part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
                    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    if part.len() > TAG_CHARS_MAX || !part.chars().all(plain) {
                        return Err(wrong("a tag has letters, digits and `_`, at most 32"));
                    }
                    tag = part.to_ascii_lowercase().into();
                    continue;
                }
                let interval =
                    interval(part).ok_or_else(|| wrong("`:` is followed by a number, by first-last, or by a tag"))?;
                n_intervals += 1;
                // The server reads an interval that ends before it begins as an empty one.
                if interval.first <= interval.last {
                    add(set.intervals.entry((uuid, tag.clone())).or_default(), interval);
                }
            }
            if n_intervals == 0 {
                return Err(wrong("it has no transaction numbers"));
            }
        }
        Ok(set)
    }
}

impl serde::Serialize for GtidSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for GtidSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <String as serde::Deserialize>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for GtidSet {
    /// As the server prints it, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut of: Option<[u8; 16]> = None;
        for ((uuid, tag), intervals) in &self.intervals {
            if of != Some(*uuid) {
                f.write_str(if of.is_some() { "," } else { "" })?;
                write_uuid(f, uuid)?;
                of = Some(*uuid);
            }
            if !tag.is_empty() {
                write!(f, ":{tag}")?;
            }
            for Interval { first, last } in intervals {
                if first == last { write!(f, ":{first}")? } else { write!(f, ":{first}-{last}")? }
            }
        }
        Ok(())
    }
}

fn add(intervals: &mut Vec<Interval>, new: Interval) {
    if let Some(end) = intervals.last_mut()
        && end.last + 1 == new.first
    {
        end.last = new.last;
        return;
    }
    // Those that overlap or touch the new one become one with it.
    let begin = intervals.partition_point(|interval| interval.last + 1 < new.first);
    let end = intervals.partition_point(|interval| interval.first <= new.last + 1);
    let mut merged = new;
    if begin < end {
        merged.first = merged.first.min(intervals[begin].first);
        merged.last = merged.last.max(intervals[end - 1].last);
    }
    intervals.splice(begin..end, [merged]);
}

fn subtract(from: &[Interval], taken: &[Interval]) -> Vec<Interval> {
    let mut left = Vec::new();
    for &Interval { mut first, last } in from {
        let gaps = &taken[taken.partition_point(|gap| gap.last < first)..];
        for gap in gaps.iter().take_while(|gap| gap.first <= last) {
            if first < gap.first {
                left.push(Interval { first, last: gap.first - 1 });
            }
            first = gap.last + 1;
        }
        if first <= last {
            left.push(Interval { first, last });
        }
    }
    left
}

fn interval(text: &str) -> Option<Interval> {
    let number = |text: &str| {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number < NUMBER_MAX)
    };
    match text.split_once('-') {
        Some((first, last)) => Some(Interval { first: number(first)?, last: number(last)? }).filter(|of| of.first > 0),
        None => number(text).filter(|number| *number > 0).map(|number| Interval { first: number, last: number }),
    }
}

/// With or without hyphens and braces, as the server takes it.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    Uuid::try_parse(text).ok().map(Uuid::into_bytes)
}

fn write_uuid(f: &mut fmt::Formatter<'_>, uuid: &[u8; 16]) -> fmt::Result {
    write!(f, "{}", Uuid::from_bytes(*uuid).hyphenated())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4350f323-7565-4e59-8763-4b1b83a0ce0e";

    fn set(text: &str) -> GtidSet {
        text.parse().unwrap()
    }

    #[test]
    fn the_servers_text_reads_back_in_the_servers_form() {
        for (text, canonical) in [
            (String::new(), String::new()),
            (format!("{B}:3:1-2,\n{A}:7"), format!("{A}:7,{B}:1-3")),
            (format!("{A}:1-3:5:Blue:4-5:green:1,{A}:blue:1"), format!("{A}:1-3:5:blue:1:4-5:green:1")),
            (format!("{A}:5-1:9"), format!("{A}:9")),
            (A.replace('-', "").to_uppercase() + " : 1 - 2", format!("{A}:1-2")),
        ] {
            assert_eq!(set(&text).to_string(), canonical, "{text}");
        }
        for text in [
            "x",
            A,
            &format!("{A}:"),
            &format!("{A}:0"),
            &format!("{A}:1-"),
            &format!("{A}:1-2-3"),
            &format!("{A}:a b:1"),
            &format!("{A}:tag"),
            &format!("{A}:9223372036854775807"),
        ] {
            assert!(text.parse::<GtidSet>().is_err(), "{text}");
        }
    }

    #[test]
    fn sets_are_added_to_united_and_taken_from_each_other() {
        let gtid = |number| Gtid { uuid: parse_uuid(A).unwrap(), tag: None, number };
        let mut grown = set(&format!("{A}:1-3:9,{B}:1"));
        for number in [4, 8, 6, 4] {
            assert!(!grown.contains(&gtid(number)));
            grown.add(&gtid(number));
            assert!(grown.contains(&gtid(number)));
            if number == 6 {
                break;
            }
        }
        assert_eq!(grown.to_string(), format!("{A}:1-4:6:8-9,{B}:1"));
        assert!(!grown.contains(&gtid(5)) && !grown.contains(&gtid(10)));
        let other = set(&format!("{A}:2-8:blue:1"));
        assert_eq!(grown.minus(&other).to_string(), format!("{A}:1:9,{B}:1"));
        assert_eq!(other.minus(&grown).to_string(), format!("{A}:5:7:blue:1"));
        assert_eq!(grown.union(&other).to_string(), format!("{A}:1-9:blue:1,{B}:1"));
        assert!(set(&format!("{A}:2-3")).is_subset_of(&grown) && !other.is_subset_of(&grown));
    }
}
