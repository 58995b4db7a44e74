//! Sizes (`"64MiB"`) and durations (`"500ms"`), as text with a unit.

use std::time::Duration;

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("kB", 1_000),
    ("KiB", 1 << 10),
    ("MB", 1_000_000),
    ("MiB", 1 << 20),
    ("GB", 1_000_000_000),
    ("GiB", 1 << 30),
];
const DURATIONS_MS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("min", 60_000), ("h", 3_600_000)];

/// Bytes, or what is wrong with the text.
pub fn size(text: &str) -> Result<u64, String> {
    with_unit(text, &SIZES).ok_or_else(|| "a size is a whole number with a unit: \"64MiB\", \"512KiB\"".into())
}

pub fn duration(text: &str) -> Result<Duration, String> {
    with_unit(text, &DURATIONS_MS)
        .map(Duration::from_millis)
        .ok_or_else(|| "a duration is a whole number with a unit: \"500ms\", \"1s\", \"2min\"".into())
}

/// `"1%"` as 0.01, from 0 to 1.
pub fn share(text: &str) -> Option<f64> {
    let percent: f64 = text.strip_suffix('%')?.trim_end().parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(percent / 100.0)
}

/// `64MiB`: the form that [`size`] reads, in the largest unit that keeps it whole.
pub fn size_text(bytes: usize) -> String {
    let unit = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .into_iter()
        .find(|(_, unit)| bytes.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) if bytes > 0 => format!("{}{name}", bytes / unit),
        _ => format!("{bytes}B"),
    }
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_need_a_unit() {
        assert_eq!((size("64MiB"), size("0B"), size("1 kB")), (Ok(64 << 20), Ok(0), Ok(1000)));
        assert_eq!(
            (duration("500ms"), duration("2min")),
            (Ok(Duration::from_millis(500)), Ok(Duration::from_secs(120)))
        );
        for text in ["64", "MiB", "-1s", "1.5s", "1d", "", "99999999999999999999s", "18446744073709551615GiB"] {
            assert!(size(text).is_err() && duration(text).is_err(), "{text}");
        }
        for bytes in [0, 1, 1023, 1024, 64 << 20, 3 << 30] {
            assert_eq!(size(&size_text(bytes)), Ok(bytes as u64));
        }
    }
}
