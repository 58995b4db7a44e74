//! GTID sets as the server prints them, for judging which transactions a snapshot holds. None of the host's code is asked.

use std::collections::BTreeMap;

/// `uuid:1-3:5,uuid:tag:7`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GtidSet(
    /// First and last number of each interval, by `uuid` or `uuid:tag`.
    BTreeMap<String, Vec<(u64, u64)>>,
);

impl GtidSet {
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let mut set = GtidSet::default();
        for of_server in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut parts = of_server.split(':');
            let uuid = parts.next().expect("a piece at least");
            let mut name = uuid.to_owned();
            for part in parts {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                match (first.parse(), last.parse()) {
                    (Ok(first), Ok(last)) => set.0.entry(name.clone()).or_default().push((first, last)),
                    // What is no interval is a tag.
                    _ => name = format!("{uuid}:{part}"),
                }
            }
        }
        set
    }

    /// `gtid`: `uuid:7` or `uuid:tag:7`.
    #[track_caller]
    pub fn contains(&self, gtid: &str) -> bool {
        let (name, number) = gtid.rsplit_once(':').expect("a GTID has a number");
        let number: u64 = number.parse().expect("a GTID's number");
        self.0
            .get(name)
            .is_some_and(|intervals| intervals.iter().any(|&(first, last)| (first..=last).contains(&number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_contains_what_its_intervals_say_of_each_server_and_tag() {
        let set = GtidSet::parse("aa-1:1-3:5:blue:7-8, bb-2:4");
        for (gtid, wanted) in [
            ("aa-1:1", true),
            ("aa-1:3", true),
            ("aa-1:4", false),
            ("aa-1:5", true),
            ("aa-1:7", false),
            ("aa-1:blue:7", true),
            ("aa-1:blue:1", false),
            ("bb-2:4", true),
            ("cc-3:1", false),
        ] {
            assert_eq!(set.contains(gtid), wanted, "{gtid}");
        }
        assert_eq!(GtidSet::parse(""), GtidSet::default());
    }
}
