//! Where in the source's log a change comes from, by which its repeat in a topic is told: Debezium writes some changes again
//! after it was restarted.

use std::fmt;
use std::str::FromStr;

/// The place that a message names in `source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub server: i64,
    /// `binlog.000012`
    pub file: String,
    pub pos: i64,
    /// Within its event.
    pub row: i64,
    /// The create of a changed primary key, which comes from the place of its delete.
    pub is_second: bool,
    pub time_us: i64,
}

/// How a change stands to the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Next,
    /// It was there already.
    Repeat,
    /// It is newer, and its place lies before the last one's: the server's log began anew.
    Anew,
}

impl Origin {
    /// Of changes of one server in one partition. Another server's places are not compared: it follows.
    pub fn step(&self, last: &Origin) -> Step {
        let (name, last_name) = (parts(&self.file), parts(&last.file));
        if self.server != last.server || name.0 != last_name.0 {
            return Step::Next;
        }
        let place = |origin: &Origin, number| (number, origin.pos, origin.row, origin.is_second);
        match place(self, name.1) > place(last, last_name.1) {
            true => Step::Next,
            false if self.time_us > last.time_us => Step::Anew,
            false => Step::Repeat,
        }
    }
}

/// `binlog.000012` as `binlog.` and 12.
fn parts(file: &str) -> (&str, u64) {
    let digits = file.bytes().rev().take_while(u8::is_ascii_digit).count();
    let (name, number) = file.split_at(file.len() - digits);
    (name, number.parse().unwrap_or(0))
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { server, file, pos, row, is_second, time_us } = self;
        write!(f, "server={server} file={file} pos={pos} row={row} second={} time={time_us}", u8::from(*is_second))
    }
}

impl FromStr for Origin {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split_whitespace();
        let mut next = |name: &str| words.next()?.strip_prefix(name)?.strip_prefix('=');
        let mut parse = || {
            let server = next("server")?.parse().ok()?;
            let file = next("file")?.to_owned();
            let (pos, row) = (next("pos")?.parse().ok()?, next("row")?.parse().ok()?);
            let (is_second, time_us) = (next("second")? == "1", next("time")?.parse().ok()?);
            Some(Origin { server, file, pos, row, is_second, time_us })
        };
        parse().ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(file: &str, pos: i64, row: i64, time_us: i64) -> Origin {
        Origin { server: 1, file: file.into(), pos, row, is_second: false, time_us }
    }

    #[test]
    fn a_repeat_lies_at_or_before_the_last_one_and_is_not_newer() {
        let last = origin("binlog.000012", 428, 1, 50);
        for (next, step) in [
            (origin("binlog.000012", 428, 2, 50), Step::Next),
            (origin("binlog.000012", 900, 0, 40), Step::Next),
            (origin("binlog.1000000", 4, 0, 60), Step::Next),
            (origin("other.000001", 4, 0, 60), Step::Next),
            (Origin { server: 2, ..origin("binlog.000001", 4, 0, 10) }, Step::Next),
            (Origin { is_second: true, ..last.clone() }, Step::Next),
            (last.clone(), Step::Repeat),
            (origin("binlog.000012", 428, 0, 50), Step::Repeat),
            (origin("binlog.000011", 900, 9, 30), Step::Repeat),
            (origin("binlog.000001", 428, 1, 51), Step::Anew),
        ] {
            assert_eq!(next.step(&last), step, "{next}");
        }
    }

    #[test]
    fn it_reads_back() {
        let origin = Origin { is_second: true, ..origin("binlog.000012", 428, 1, 50) };
        assert_eq!(origin.to_string().parse(), Ok(origin));
        assert_eq!("server=1".parse::<Origin>(), Err(()));
    }
}
