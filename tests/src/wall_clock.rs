//! Wall-clock times as text, for the tests' own lists: counted as if their zone were UTC.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// `2025-01-31 12:00:00`, or with a fraction of up to six digits, as microseconds since 1970; none where there is no such time.
pub fn parse(text: &str) -> Option<i64> {
    let time = DateTime::strptime("%Y-%m-%d %H:%M:%S%.f", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// The other way; the fraction is left out where it is zero, and has six digits elsewhere.
pub fn text(us: i64) -> String {
    let time = Timestamp::from_microsecond(us).expect("a time of these centuries").to_zoned(TimeZone::UTC).datetime();
    let text = time.strftime("%Y-%m-%d %H:%M:%S");
    match us.rem_euclid(1_000_000) {
        0 => text.to_string(),
        micros => format!("{text}.{micros:06}"),
    }
}
