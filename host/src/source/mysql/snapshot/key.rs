//! Entity keys in the order of their index, as the server compares them.
//!
//! Numbers and bytes have one order everywhere. A text's order is its collation's, which only the server knows: it gives
//! each text's weight (`WEIGHT_STRING`), and weights are compared byte by byte, as the server's own sorting does. Where its
//! trailing blanks do not count, the shorter weight is filled up with those of a blank. (`WEIGHT_STRING(x AS CHAR(n))` would not
//! do: it fills up texts, and `ß` has the weight of `ss`.)

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// The values of an entity key's columns, in the key's order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Key(pub Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Before everything.
    Null,
    Int(i64),
    UInt(u64),
    Bytes(Vec<u8>),
    /// Bytes in the column's character set, and their weight under its collation, and that of a blank.
    Text {
        raw: Vec<u8>,
        weight: Vec<u8>,
        pad: Vec<u8>,
    },
}

impl Key {
    /// The order of the index. Both are keys of one table, with weights where they are texts.
    pub fn cmp_known(&self, other: &Key) -> Ordering {
        let parts = self.0.iter().zip(&other.0).map(|(one, other)| one.cmp_known(other));
        parts.fold(Ordering::Equal, Ordering::then)
    }
}

impl Part {
    fn cmp_known<'a>(&'a self, other: &'a Part) -> Ordering {
        match (self, other) {
            (Part::Null, Part::Null) => Ordering::Equal,
            (Part::Null, _) => Ordering::Less,
            (_, Part::Null) => Ordering::Greater,
            (Part::Int(one), Part::Int(other)) => one.cmp(other),
            (Part::UInt(one), Part::UInt(other)) => one.cmp(other),
            (Part::Bytes(one), Part::Bytes(other)) => one.cmp(other),
            (Part::Text { weight: one, pad, .. }, Part::Text { weight: other, .. }) => {
                let length = one.len().max(other.len());
                let padded = |weight: &'a [u8]| weight.iter().chain(pad.iter().cycle()).take(length);
                padded(one).cmp(padded(other))
            }
            _ => unreachable!("a column has one type"),
        }
    }
}

/// `n`, `i-5`, `u5`, `b00ff`, `t6162.1c471c60.0209`: bytes in hexadecimal.
impl Serialize for Part {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&match self {
            Part::Null => "n".to_owned(),
            Part::Int(number) => format!("i{number}"),
            Part::UInt(number) => format!("u{number}"),
            Part::Bytes(bytes) => format!("b{}", hex(bytes)),
            Part::Text { raw, weight, pad } => format!("t{}.{}.{}", hex(raw), hex(weight), hex(pad)),
        })
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = || {
            let rest = text.get(1..)?;
            Some(match text.as_bytes()[0] {
                b'n' => Part::Null,
                b'i' => Part::Int(rest.parse().ok()?),
                b'u' => Part::UInt(rest.parse().ok()?),
                b'b' => Part::Bytes(unhex(rest)?),
                b't' => {
                    let (raw, weights) = rest.split_once('.')?;
                    let (weight, pad) = weights.split_once('.')?;
                    Part::Text { raw: unhex(raw)?, weight: unhex(weight)?, pad: unhex(pad)? }
                }
                _ => return None,
            })
        };
        parsed().ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no part of a key")))
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect::<Option<_>>()?;
    (digits.len().is_multiple_of(2)).then(|| digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_part_by_part_null_first_texts_by_weight_and_read_back() {
        let text = |raw: &[u8], weight: &[u8]| Part::Text { raw: raw.into(), weight: weight.into(), pad: vec![] };
        let ordered = [
            Key(vec![Part::Null, text(b"z", &[9])]),
            Key(vec![Part::Int(-5), text(b"B", &[2])]),
            Key(vec![Part::Int(-5), text(b"a", &[3])]),
            Key(vec![Part::Int(3), text(b"a", &[1])]),
        ];
        for (i, one) in ordered.iter().enumerate() {
            for (j, other) in ordered.iter().enumerate() {
                assert_eq!(one.cmp_known(other), i.cmp(&j), "{one:?} {other:?}");
            }
            let json = serde_json::to_string(one).unwrap();
            assert_eq!(&serde_json::from_str::<Key>(&json).unwrap(), one, "{json}");
        }
        assert!(serde_json::from_str::<Part>("\"bxy\"").is_err() && serde_json::from_str::<Part>("\"\"").is_err());
        assert_eq!(text(b"A", &[7]).cmp_known(&text(b"a", &[7])), Ordering::Equal);
    }

    #[test]
    fn trailing_blanks_do_not_count_where_they_have_a_weight() {
        let text = |weight: &[u8], pad: &[u8]| Part::Text { raw: vec![], weight: weight.into(), pad: pad.into() };
        // A tab is before a blank, a letter behind it.
        let (tab, blank, letter) = ([0, 5], [2, 9], [3, 1]);
        for (one, other, wanted) in [
            (vec![letter], vec![letter, blank, blank], Ordering::Equal),
            (vec![letter], vec![letter, tab], Ordering::Greater),
            (vec![letter], vec![letter, blank, tab], Ordering::Greater),
            (vec![letter], vec![letter, blank, letter], Ordering::Less),
            (vec![], vec![blank], Ordering::Equal),
        ] {
            let (one, other) = (one.as_flattened(), other.as_flattened());
            assert_eq!(text(one, &blank).cmp_known(&text(other, &blank)), wanted, "{one:?} {other:?}");
            assert_eq!(text(other, &blank).cmp_known(&text(one, &blank)), wanted.reverse(), "{other:?} {one:?}");
            assert_eq!(text(one, &[]).cmp_known(&text(other, &[])), Ordering::Less, "where they count");
        }
    }
}
