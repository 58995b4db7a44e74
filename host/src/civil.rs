//! Dates and wall clocks: days and microseconds since 1970-01-01, their text, and the source's time zone.
//!
//! Years 0 to 9999 of the proleptic Gregorian calendar, as MySQL has them. Nothing is rounded or cut.

use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

pub const MICROS_PER_SECOND: i64 = 1_000_000;
pub const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// Days since 1970-01-01, none for a zero, partial or impossible date.
pub fn days(year: i64, month: u32, day: u32) -> Option<i64> {
    if !(0..=9999).contains(&year) || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year; 400 years have 146,097 days.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let month_from_march = (i64::from(month) + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Year, month and day of a day number.
pub fn date(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `YYYY-MM-DD`.
pub fn write_date(out: &mut String, days: i64) {
    let (year, month, day) = date(days);
    digits(out, year as u64, 4);
    out.push('-');
    digits(out, u64::from(month), 2);
    out.push('-');
    digits(out, u64::from(day), 2);
}

/// `YYYY-MM-DD HH:MM:SS`, followed by `.` and six digits exactly when the microseconds are not zero: text order is time order.
pub fn write_datetime(out: &mut String, micros: i64) {
    let (text, len) = datetime(micros);
    out.push_str(std::str::from_utf8(&text[..len]).expect("digits and their separators"));
}

/// The same into bytes.
pub fn datetime_into(out: &mut Vec<u8>, micros: i64) {
    let (text, len) = datetime(micros);
    out.extend(&text[..len]);
}

/// At once, as loads are made of such texts; and how much of it is there to say.
fn datetime(micros: i64) -> ([u8; 26], usize) {
    let (year, month, day) = date(micros.div_euclid(MICROS_PER_DAY));
    let of_day = micros.rem_euclid(MICROS_PER_DAY);
    let (seconds, fraction) = ((of_day / MICROS_PER_SECOND) as u32, (of_day % MICROS_PER_SECOND) as u32);
    let mut text = *b"0000-00-00 00:00:00.000000";
    for (at, number) in [
        (0, year as u32 / 100),
        (2, year as u32 % 100),
        (5, month),
        (8, day),
        (11, seconds / 3_600),
        (14, seconds / 60 % 60),
        (17, seconds % 60),
        (20, fraction / 10_000),
        (22, fraction / 100 % 100),
        (24, fraction % 100),
    ] {
        two(&mut text[at..], number);
    }
    (text, if fraction == 0 { 19 } else { 26 })
}

/// Two digits.
fn two(out: &mut [u8], number: u32) {
    out[0] = b'0' + (number / 10) as u8;
    out[1] = b'0' + (number % 10) as u8;
}

/// `[-]HH:MM:SS[.ffffff]`, hours up to 838.
pub fn write_time(out: &mut String, micros: i64) {
    if micros < 0 {
        out.push('-');
    }
    write_clock(out, micros.abs());
}

fn write_clock(out: &mut String, micros: i64) {
    let seconds = (micros / MICROS_PER_SECOND) as u64;
    digits(out, seconds / 3600, 2);
    out.push(':');
    digits(out, seconds / 60 % 60, 2);
    out.push(':');
    digits(out, seconds % 60, 2);
    let fraction = (micros % MICROS_PER_SECOND) as u64;
    if fraction != 0 {
        out.push('.');
        digits(out, fraction, 6);
    }
}

/// `number` with at least `width` digits.
fn digits(out: &mut String, number: u64, width: usize) {
    let mut text = [b'0'; 20];
    let (mut at, mut rest) = (text.len(), number);
    while rest > 0 || text.len() - at < width {
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend(text[at..].iter().map(|&digit| digit as char));
}

/// Reads `YYYY-MM-DD`.
pub fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, '-');
    let mut part = |width: usize| parts.next().and_then(|part| number(part, width..=width));
    let (year, month, day) = (part(4)?, part(2)?, part(2)?);
    days(year, month as u32, day as u32)
}

/// Reads `YYYY-MM-DD`, `YYYY-MM-DD HH:MM:SS` (or with `T`), with up to six digits of a fraction.
pub fn parse_datetime(text: &str) -> Option<i64> {
    let (date, clock) = match text.split_once([' ', 'T']) {
        Some((date, clock)) => (date, clock),
        None => (text, "00:00:00"),
    };
    let micros = parse_clock(clock, 2..=2).filter(|&micros| micros < MICROS_PER_DAY)?;
    Some(parse_date(date)? * MICROS_PER_DAY + micros)
}

/// Reads `[-]HH:MM:SS[.ffffff]`.
pub fn parse_time(text: &str) -> Option<i64> {
    match text.strip_prefix('-') {
        Some(text) => parse_clock(text, 2..=3).map(|micros| -micros),
        None => parse_clock(text, 2..=3),
    }
}

fn parse_clock(text: &str, hours: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = clock.split(':');
    let hour = number(parts.next()?, hours)?;
    let minute = number(parts.next()?, 2..=2).filter(|&minute| minute < 60)?;
    let second = number(parts.next()?, 2..=2).filter(|&second| second < 60)?;
    if parts.next().is_some() {
        return None;
    }
    let scale = 10_i64.pow(6_u32.checked_sub(fraction.len() as u32)?);
    Some(((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + number(fraction, 1..=6)? * scale)
}

fn number(text: &str, width: std::ops::RangeInclusive<usize>) -> Option<i64> {
    let fits = width.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// The zone in which a source's DATETIME columns are wall clocks.
#[derive(Clone, Debug)]
pub struct Zone(TimeZone);

impl Zone {
    pub const UTC: Zone = Zone(TimeZone::UTC);

    /// An IANA name (`Europe/Berlin`), `UTC`, or an offset (`+09:00`).
    pub fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("utc") {
            return Some(Self::UTC);
        }
        let signed =
            [('+', 1), ('-', -1)].into_iter().find_map(|(sign, factor)| Some((factor, text.strip_prefix(sign)?)));
        if let Some((factor, offset)) = signed {
            let (hours, minutes) = offset.split_once(':')?;
            let seconds = number(hours, 2..=2)? * 3600 + number(minutes, 2..=2).filter(|&minutes| minutes < 60)? * 60;
            let offset = Offset::from_seconds(i32::try_from(factor * seconds).ok()?).ok()?;
            return (seconds <= 14 * 3600).then(|| Zone(TimeZone::fixed(offset)));
        }
        TimeZone::get(text).ok().map(Zone)
    }

    /// The wall clock of this zone at an instant, both in microseconds.
    pub fn wall_clock(&self, instant_us: i64) -> i64 {
        if self.0 == TimeZone::UTC {
            return instant_us;
        }
        let Ok(instant) = Timestamp::from_duration_checked(instant_us) else { return instant_us };
        instant_us + i64::from(self.0.to_offset(instant).seconds()) * MICROS_PER_SECOND
    }

    /// The instant at which this zone's clock shows a time, both in microseconds. Of an hour that is there twice, when
    /// summer time ends, the first one.
    pub fn instant(&self, wall_us: i64) -> i64 {
        if self.0 == TimeZone::UTC {
            return wall_us;
        }
        let Ok(wall) = Timestamp::from_duration_checked(wall_us) else { return wall_us };
        let shown = self.0.to_ambiguous_timestamp(Offset::UTC.to_datetime(wall)).compatible();
        shown.map_or(wall_us, |instant| instant.as_microsecond())
    }
}

/// jiff's range is wider than MySQL's; an instant outside it keeps UTC.
trait FromMicros: Sized {
    fn from_duration_checked(micros: i64) -> Result<Self, jiff::Error>;
}

impl FromMicros for Timestamp {
    fn from_duration_checked(micros: i64) -> Result<Self, jiff::Error> {
        Timestamp::from_duration(SignedDuration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datetime_text(micros: i64) -> String {
        let mut text = String::new();
        write_datetime(&mut text, micros);
        text
    }

    #[test]
    fn every_day_from_year_0_to_9999_round_trips_in_order() {
        let first = days(0, 1, 1).unwrap();
        let last = days(9999, 12, 31).unwrap();
        assert_eq!((days(1970, 1, 1), last - first + 1), (Some(0), 3_652_425));
        for day in first..=last {
            let (year, month, date) = date(day);
            assert_eq!(days(year, month, date), Some(day));
        }
    }

    #[test]
    fn datetimes_are_written_with_a_fraction_exactly_when_there_is_one() {
        for text in
            ["1970-01-01 00:00:00", "0001-01-01 00:00:00.000001", "9999-12-31 23:59:59.999999", "1969-12-31 23:59:59"]
        {
            assert_eq!(datetime_text(parse_datetime(text).unwrap()), text);
        }
        assert_eq!(parse_datetime("2025-02-01 00:00:00.25"), parse_datetime("2025-02-01T00:00:00.250000"));
        for text in [
            "2025-02-30 00:00:00",
            "0000-00-00 00:00:00",
            "2025-01-01 24:00:00",
            "2025-1-01",
            "2025-01-01 00:00",
            "",
            "x",
        ] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
    }

    #[test]
    fn times_may_be_negative_and_longer_than_a_day() {
        for text in ["-838:59:59", "00:00:00", "-00:00:00.100000", "838:59:59"] {
            let mut written = String::new();
            write_time(&mut written, parse_time(text).unwrap());
            assert_eq!(written, text);
        }
    }

    #[test]
    fn a_zone_is_a_name_or_an_offset() {
        let instant = parse_datetime("2025-07-01 00:00:00").unwrap();
        for (zone, wall) in [
            ("UTC", "2025-07-01 00:00:00"),
            ("+09:00", "2025-07-01 09:00:00"),
            ("-03:30", "2025-06-30 20:30:00"),
            ("Europe/Berlin", "2025-07-01 02:00:00"),
        ] {
            assert_eq!(datetime_text(Zone::parse(zone).unwrap().wall_clock(instant)), wall);
        }
        for zone in ["", "Mars/Base", "+9", "+15:00", "09:00"] {
            assert!(Zone::parse(zone).is_none(), "{zone}");
        }
    }
}
