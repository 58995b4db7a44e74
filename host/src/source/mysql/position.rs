//! Where a live source goes on: the text that only this source reads.

use std::fmt;
use std::str::FromStr;

use super::GtidSet;
use super::snapshot::Progress;
use crate::event::Position;

/// The transactions that are done, and how far the next one is where it is larger than a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    pub gtids: GtidSet,
    /// Row changes of the next transaction that are done, and the CRC-32 of the last one's bytes.
    pub skip: u64,
    pub crc: u32,
    /// When the last of them was committed, microseconds since 1970, UTC; 0 where none was read yet.
    pub time_us: i64,
    /// Where reading stood in the server's own files: for people, servers number them differently.
    pub file: String,
    pub at: u64,
    /// The snapshot that is being read, or that the log is not behind yet.
    pub snapshot: Option<Progress>,
}

/// The same position with a word that this table's rows are to be read again: for a pipeline that does not run.
///
/// # Errors
/// Why that cannot be, and what to do.
pub fn read_again(position: &Position, table: &str) -> Result<Position, String> {
    let mut place: Place = position.0.parse()?;
    place.ask_again(table)?;
    Ok(Position::from(&place))
}

/// Behind these transactions, and nothing else.
pub fn behind(gtids: GtidSet) -> Position {
    Position::from(&Place { gtids, ..Place::default() })
}

/// The form's version.
const FORMAT: &str = "mysql/1";

impl Place {
    /// Whether rows are to be read now: one that is asked for waits until the log is read up to where the server was.
    pub fn is_reading_from(&self, executed: &GtidSet) -> bool {
        self.snapshot
            .as_ref()
            .is_some_and(|snapshot| snapshot.is_reading() && (snapshot.begun || executed.is_subset_of(&self.gtids)))
    }

    /// # Errors
    /// A snapshot is under way.
    pub fn ask_again(&mut self, table: &str) -> Result<(), String> {
        match &mut self.snapshot {
            None => self.snapshot = Some(Progress::asked(true, false, [table.to_owned()])),
            Some(snapshot) if snapshot.again && !snapshot.begun => {
                if snapshot.tables.iter().all(|asked| asked.name != table) {
                    snapshot.tables.extend(Progress::asked(true, false, [table.to_owned()]).tables);
                }
            }
            Some(snapshot) => {
                let what = if snapshot.is_reading() { "being read" } else { "not behind the log yet" };
                return Err(format!(
                    "a snapshot is {what} already; ask again when `hindsight status` shows a position without a snapshot"
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { gtids, skip, crc, time_us, file, at, snapshot } = self;
        write!(f, "{FORMAT} skip={skip} crc={crc:08x} time={time_us} file={file} at={at} gtids={gtids}")?;
        snapshot.as_ref().map_or(Ok(()), |snapshot| write!(f, " snapshot={snapshot}"))
    }
}

impl From<&Place> for Position {
    fn from(place: &Place) -> Self {
        Position(place.to_string())
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| format!("the checkpoint's position `{text}` is not one of this version ({FORMAT})"))
    }
}

fn parse(text: &str) -> Option<Place> {
    let rest = text.strip_prefix(FORMAT)?.strip_prefix(" skip=")?;
    let (skip, rest) = rest.split_once(" crc=")?;
    let (crc, rest) = rest.split_once(" time=")?;
    let (time_us, rest) = rest.split_once(" file=")?;
    // From the end: a file's name may hold anything, the last words hold no blank.
    let (rest, snapshot) = match rest.rsplit_once(" snapshot=") {
        Some((rest, snapshot)) if !snapshot.contains(' ') => (rest, Some(snapshot.parse().ok()?)),
        _ => (rest, None),
    };
    let (rest, gtids) = rest.rsplit_once(" gtids=")?;
    let (file, at) = rest.rsplit_once(" at=")?;
    Some(Place {
        gtids: gtids.parse().ok()?,
        skip: skip.parse().ok()?,
        crc: u32::from_str_radix(crc, 16).ok()?,
        time_us: time_us.parse().ok()?,
        file: file.to_owned(),
        at: at.parse().ok()?,
        snapshot,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back() {
        let place = Place {
            gtids: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7:blue:1".parse().unwrap(),
            skip: 3,
            crc: 0xdead_beef,
            time_us: 1_700_000_000_000_000,
            file: "my at= snapshot= log.000001".into(),
            at: 4711,
            snapshot: None,
        };
        assert_eq!(place.to_string().parse(), Ok(place.clone()));
        let again = read_again(&Position::from(&place), "my shop.a").unwrap();
        let snapshot = Some(Progress::asked(true, false, ["my shop.a".to_owned()]));
        assert_eq!(again.0.parse(), Ok(Place { snapshot, ..place }));
        assert_eq!(Place::default().to_string().parse(), Ok(Place::default()));
        assert!("mysql/2 skip=1".parse::<Place>().unwrap_err().contains("mysql/2"));
    }
}
