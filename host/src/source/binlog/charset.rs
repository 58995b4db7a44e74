//! Character sets by collation id (`INFORMATION_SCHEMA.COLLATIONS`), and their texts as UTF-8.

use std::borrow::Cow;

use encoding_rs::Encoding;

/// A column's character set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Charset {
    pub encoding: Text,
    /// Bytes that the longest character takes: a VARCHAR's length in bytes is this times its declared length.
    pub bytes_max: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Text {
    Utf8,
    /// `binary`: bytes, not text.
    Binary,
    Other(&'static Encoding),
    /// No converter is known.
    Unknown,
}

impl Text {
    /// Whether there is a converter.
    pub fn is_read(&self) -> bool {
        matches!(self, Text::Utf8 | Text::Other(_))
    }

    /// None: no text, or not in this character set, or in one without a converter.
    pub fn read<'a>(&self, bytes: &'a [u8]) -> Option<Cow<'a, str>> {
        match self {
            Text::Utf8 => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Text::Other(encoding) => {
                let (text, broken) = encoding.decode_without_bom_handling(bytes);
                (!broken).then_some(text)
            }
            Text::Binary | Text::Unknown => None,
        }
    }
}

impl Charset {
    pub fn of(collation: u64) -> Self {
        use encoding_rs as e;
        let (encoding, bytes_max) = match collation {
            45 | 46 | 224..=247 | 255..=323 => (Text::Utf8, 4),
            33 | 76 | 83 | 192..=215 | 223 => (Text::Utf8, 3),
            11 | 65 => (Text::Utf8, 1),
            63 => (Text::Binary, 1),
            // MySQL's latin1 is cp1252.
            5 | 8 | 15 | 31 | 47..=49 | 94 => (Text::Other(e::WINDOWS_1252), 1),
            1 | 84 => (Text::Other(e::BIG5), 2),
            2 | 9 | 21 | 27 | 77 => (Text::Other(e::ISO_8859_2), 1),
            7 | 74 => (Text::Other(e::KOI8_R), 1),
            12 | 91 | 97 | 98 => (Text::Other(e::EUC_JP), 3),
            13 | 88 | 95 | 96 => (Text::Other(e::SHIFT_JIS), 2),
            14 | 23 | 50..=52 => (Text::Other(e::WINDOWS_1251), 1),
            18 | 89 => (Text::Other(e::WINDOWS_874), 1),
            19 | 85 => (Text::Other(e::EUC_KR), 2),
            24 | 28 | 86 | 87 => (Text::Other(e::GBK), 2),
            25 | 70 => (Text::Other(e::ISO_8859_7), 1),
            26 | 34 | 44 | 66 | 99 => (Text::Other(e::WINDOWS_1250), 1),
            29 | 58 | 59 => (Text::Other(e::WINDOWS_1257), 1),
            30 | 78 => (Text::Other(e::WINDOWS_1254), 1),
            57 | 67 => (Text::Other(e::WINDOWS_1256), 1),
            35 | 90 | 128..=151 | 159 => (Text::Other(e::UTF_16BE), 2),
            54 | 55 | 101..=124 => (Text::Other(e::UTF_16BE), 4),
            56 | 62 => (Text::Other(e::UTF_16LE), 4),
            248..=250 => (Text::Other(e::GB18030), 4),
            60 | 61 | 160..=183 => (Text::Unknown, 4),
            _ => (Text::Unknown, 1),
        };
        Charset { encoding, bytes_max }
    }
}
