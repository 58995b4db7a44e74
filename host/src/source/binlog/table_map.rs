//! TABLE_MAP events: a table's shape as it was when its rows were written.
//!
//! Format: `libs/mysql/binlog/event/rows_event.h` (`Table_map_event`). Names and keys come from the optional metadata that
//! `binlog_row_metadata=FULL` writes.

use std::sync::Arc;

use super::charset::{Charset, Text};
use super::decimal;
use super::frame::{Bytes, Short};
use super::row::Column;
use crate::event::{Field, GEOMETRIES, Logical, TableSchema};

/// A table map taken apart as far as every map can be.
pub struct TableMap<'a> {
    pub database: &'a [u8],
    pub table: &'a [u8],
    n_columns: usize,
    types: &'a [u8],
    metadata: &'a [u8],
    null_bits: &'a [u8],
    optional: &'a [u8],
}

/// What a captured table's map says.
#[derive(Debug)]
pub struct Shape {
    pub schema: TableSchema,
    pub columns: Vec<Column>,
}

pub enum ShapeError {
    Corrupt,
    /// The map has no column names: `binlog_row_metadata` was MINIMAL.
    Minimal,
    UnknownType(u8),
}

impl From<Short> for ShapeError {
    fn from(_: Short) -> Self {
        ShapeError::Corrupt
    }
}

/// Type codes of `enum_field_types`.
pub mod code {
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    pub const TIME: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEWDATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    pub const TIMESTAMP2: u8 = 17;
    pub const DATETIME2: u8 = 18;
    pub const TIME2: u8 = 19;
    pub const VECTOR: u8 = 242;
    pub const JSON: u8 = 245;
    pub const NEWDECIMAL: u8 = 246;
    pub const ENUM: u8 = 247;
    pub const SET: u8 = 248;
    pub const BLOB: u8 = 252;
    pub const VAR_STRING: u8 = 253;
    pub const STRING: u8 = 254;
    pub const GEOMETRY: u8 = 255;
}

/// Kinds of optional metadata that are read.
mod optional {
    pub const SIGNEDNESS: u8 = 1;
    pub const DEFAULT_CHARSET: u8 = 2;
    pub const COLUMN_CHARSET: u8 = 3;
    pub const COLUMN_NAME: u8 = 4;
    pub const SET_STR_VALUE: u8 = 5;
    pub const ENUM_STR_VALUE: u8 = 6;
    pub const GEOMETRY_TYPE: u8 = 7;
    pub const SIMPLE_PRIMARY_KEY: u8 = 8;
    pub const PRIMARY_KEY_WITH_PREFIX: u8 = 9;
    pub const ENUM_AND_SET_DEFAULT_CHARSET: u8 = 10;
    pub const ENUM_AND_SET_COLUMN_CHARSET: u8 = 11;
    pub const VECTOR_DIMENSIONALITY: u8 = 13;
}

impl<'a> TableMap<'a> {
    /// `body`: after the table id and flags.
    pub fn parse(body: &'a [u8]) -> Result<Self, Short> {
        let mut body = Bytes(body);
        let n = usize::from(body.u8()?);
        let database = body.take(n)?;
        body.take(1)?;
        let n = usize::from(body.u8()?);
        let table = body.take(n)?;
        body.take(1)?;
        let n_columns = usize::try_from(body.lenenc()?).map_err(|_| Short)?;
        let types = body.take(n_columns)?;
        let metadata = body.lenenc_bytes()?;
        let null_bits = body.take(n_columns.div_ceil(8))?;
        Ok(TableMap { database, table, n_columns, types, metadata, null_bits, optional: body.0 })
    }

    /// `name`: `database.table`.
    pub fn shape(&self, name: String) -> Result<Shape, ShapeError> {
        let mut metadata = Bytes(self.metadata);
        let types = self.types.iter().map(|&code| column_type(code, &mut metadata)).collect::<Result<Vec<_>, _>>()?;
        let optional = self.optional(&types)?;
        if optional.names.len() != self.n_columns {
            return Err(ShapeError::Minimal);
        }
        let mut fields = Vec::with_capacity(self.n_columns);
        let mut columns = Vec::with_capacity(self.n_columns);
        for (i, (name, found)) in optional.names.into_iter().zip(&types).enumerate() {
            let charset = Charset::of(optional.collations[i]);
            let names = optional.choices[i].iter().map(|name| charset.encoding.read(name).map(Into::into)).collect();
            let more = More { unsigned: optional.unsigned[i], charset, names, detail: optional.details[i] };
            let (logical, declared, column) = found.describe(more);
            let nullable = self.null_bits[i / 8] >> (i % 8) & 1 == 1;
            fields.push(Field { name, logical, nullable, declared });
            columns.push(column);
        }
        if optional.primary_key.iter().any(|&column| column >= self.n_columns) {
            return Err(ShapeError::Corrupt);
        }
        Ok(Shape { schema: TableSchema { name, fields, primary_key: optional.primary_key }, columns })
    }

    fn optional(&self, types: &[Type]) -> Result<Optional<'a>, ShapeError> {
        let mut result = Optional {
            names: Vec::new(),
            unsigned: vec![false; self.n_columns],
            collations: vec![63; self.n_columns],
            choices: vec![Vec::new(); self.n_columns],
            details: vec![0; self.n_columns],
            primary_key: Vec::new(),
        };
        let those = |wanted: fn(&Type) -> bool| (0..types.len()).filter(|&i| wanted(&types[i])).collect::<Vec<_>>();
        let (numeric, character, chosen) = (those(Type::is_numeric), those(Type::is_character), those(Type::is_chosen));
        let of = |wanted: u8| (0..types.len()).filter(move |&i| types[i].code == wanted);
        let mut rest = Bytes(self.optional);
        while !rest.0.is_empty() {
            let kind = rest.u8()?;
            let mut value = Bytes(rest.lenenc_bytes()?);
            match kind {
                optional::SIGNEDNESS => {
                    for (bit, &column) in numeric.iter().enumerate() {
                        let byte = value.0.get(bit / 8).ok_or(Short)?;
                        result.unsigned[column] = byte >> (7 - bit % 8) & 1 == 1;
                    }
                }
                optional::DEFAULT_CHARSET => result.default_collation(&character, value)?,
                optional::ENUM_AND_SET_DEFAULT_CHARSET => result.default_collation(&chosen, value)?,
                optional::COLUMN_CHARSET => result.each_collation(&character, value)?,
                optional::ENUM_AND_SET_COLUMN_CHARSET => result.each_collation(&chosen, value)?,
                optional::COLUMN_NAME => {
                    while !value.0.is_empty() {
                        result.names.push(String::from_utf8_lossy(value.lenenc_bytes()?).into_owned());
                    }
                }
                optional::ENUM_STR_VALUE | optional::SET_STR_VALUE => {
                    for column in of(if kind == optional::SET_STR_VALUE { code::SET } else { code::ENUM }) {
                        let n = value.lenenc()?;
                        let names = (0..n).map(|_| value.lenenc_bytes());
                        result.choices[column] = names.collect::<Result<_, _>>()?;
                    }
                }
                optional::GEOMETRY_TYPE | optional::VECTOR_DIMENSIONALITY => {
                    let is_vector = kind == optional::VECTOR_DIMENSIONALITY;
                    for column in of(if is_vector { code::VECTOR } else { code::GEOMETRY }) {
                        result.details[column] = value.lenenc()?;
                    }
                }
                optional::SIMPLE_PRIMARY_KEY => {
                    while !value.0.is_empty() {
                        result.primary_key.push(value.lenenc()? as usize);
                    }
                }
                optional::PRIMARY_KEY_WITH_PREFIX => {
                    while !value.0.is_empty() {
                        // A key by prefix is not the row's identity: the whole column is taken.
                        result.primary_key.push(value.lenenc()? as usize);
                        value.lenenc()?;
                    }
                }
                _ => {}
            }
        }
        Ok(result)
    }
}

struct Optional<'a> {
    names: Vec<String>,
    unsigned: Vec<bool>,
    collations: Vec<u64>,
    /// Of an ENUM or SET, in its character set.
    choices: Vec<Vec<&'a [u8]>>,
    /// Which geometry, or how many numbers a vector has.
    details: Vec<u64>,
    primary_key: Vec<usize>,
}

impl Optional<'_> {
    /// The one of most of these columns, then those of the others, by their place among these.
    fn default_collation(&mut self, columns: &[usize], mut value: Bytes<'_>) -> Result<(), Short> {
        let default = value.lenenc()?;
        columns.iter().for_each(|&column| self.collations[column] = default);
        while !value.0.is_empty() {
            let index = usize::try_from(value.lenenc()?).map_err(|_| Short)?;
            self.collations[*columns.get(index).ok_or(Short)?] = value.lenenc()?;
        }
        Ok(())
    }

    fn each_collation(&mut self, columns: &[usize], mut value: Bytes<'_>) -> Result<(), Short> {
        for &column in columns {
            self.collations[column] = value.lenenc()?;
        }
        Ok(())
    }
}

/// A type code with its metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type {
    pub code: u8,
    /// Length in bytes, precision, or fractional digits; by type.
    pub a: u16,
    /// Scale, or bytes of a length.
    pub b: u8,
}

fn column_type(code: u8, metadata: &mut Bytes<'_>) -> Result<Type, ShapeError> {
    let plain = |a, b| Ok(Type { code, a, b });
    match code {
        code::TINY | code::SHORT | code::LONG | code::NULL | code::LONGLONG | code::INT24 | code::YEAR => plain(0, 0),
        code::DATE | code::NEWDATE | code::TIME | code::DATETIME | code::TIMESTAMP => plain(0, 0),
        code::FLOAT | code::DOUBLE => plain(u16::from(metadata.u8()?), 0),
        code::VARCHAR | code::VAR_STRING => plain(metadata.le(2)? as u16, 0),
        code::BIT => {
            let (bits, bytes) = (metadata.u8()?, metadata.u8()?);
            plain(u16::from(bytes) * 8 + u16::from(bits), 0)
        }
        code::NEWDECIMAL => {
            let (precision, scale) = (metadata.u8()?, metadata.u8()?);
            plain(u16::from(precision), scale)
        }
        code::BLOB | code::GEOMETRY | code::JSON | code::VECTOR => plain(0, metadata.u8()?),
        code::TIMESTAMP2 | code::DATETIME2 | code::TIME2 => plain(u16::from(metadata.u8()?), 0),
        code::STRING => {
            let (high, low) = (metadata.u8()?, metadata.u8()?);
            // A CHAR of more than 255 bytes hides two bits of its length in the type's byte.
            let (code, length) = if high & 0x30 == 0x30 {
                (high, u16::from(low))
            } else {
                (high | 0x30, u16::from(low) | (u16::from(high & 0x30) ^ 0x30) << 4)
            };
            Ok(Type { code, a: length, b: 0 })
        }
        unknown => Err(ShapeError::UnknownType(unknown)),
    }
}

impl Type {
    /// The types that have a bit in SIGNEDNESS.
    fn is_numeric(&self) -> bool {
        matches!(
            self.code,
            code::TINY
                | code::SHORT
                | code::INT24
                | code::LONG
                | code::LONGLONG
                | code::NEWDECIMAL
                | code::FLOAT
                | code::DOUBLE
                | code::YEAR
        )
    }

    fn is_chosen(&self) -> bool {
        matches!(self.code, code::ENUM | code::SET)
    }

    /// The types that have a collation in the charset fields; the server lists one for VECTOR too.
    fn is_character(&self) -> bool {
        matches!(self.code, code::VARCHAR | code::VAR_STRING | code::STRING | code::BLOB | code::VECTOR)
    }

    pub fn describe(&self, more: More) -> (Logical, String, Column) {
        let More { unsigned, charset, names, detail } = more;
        let integer = |name: &str, bytes: u8| match unsigned {
            // All but BIGINT fit int64; one logical type for a column whatever its values.
            true if bytes == 8 => (Logical::UInt64, format!("{name} unsigned"), Column::Unsigned(bytes)),
            true => (Logical::Int64, format!("{name} unsigned"), Column::UnsignedAsInt(bytes)),
            false => (Logical::Int64, name.to_owned(), Column::Signed(bytes)),
        };
        let with_fraction = |name: &str| match self.a {
            0 => name.to_owned(),
            digits => format!("{name}({digits})"),
        };
        let string = |text: &str, binary: &str, column: fn(Text) -> Column| match charset.encoding {
            Text::Binary => (Logical::Bytes, binary.to_owned(), column(Text::Binary)),
            encoding => (Logical::Text, text.to_owned(), column(encoding)),
        };
        let characters = u32::from(self.a) / charset.bytes_max;
        let undecoded = |declared: &str, bytes| (Logical::Bytes, declared.to_owned(), Column::Undecoded(bytes));
        let bytes = |declared: String| (Logical::Bytes, declared, Column::string(self.b, Text::Binary));
        let size = self.a as u8;
        match self.code {
            code::TINY => integer("tinyint", 1),
            code::SHORT => integer("smallint", 2),
            code::INT24 => integer("mediumint", 3),
            code::LONG => integer("int", 4),
            code::LONGLONG => integer("bigint", 8),
            code::YEAR => (Logical::Int64, "year".into(), Column::Year),
            code::FLOAT => (Logical::Float64, "float".into(), Column::Float),
            code::DOUBLE => (Logical::Float64, "double".into(), Column::Double),
            code::NEWDECIMAL => {
                let (precision, scale) = (self.a as u8, self.b);
                let size = decimal::size(precision, scale) as u8;
                let sign = if unsigned { " unsigned" } else { "" };
                (
                    Logical::Decimal,
                    format!("decimal({precision},{scale}){sign}"),
                    Column::Decimal { precision, scale, size },
                )
            }
            code::VARCHAR | code::VAR_STRING => {
                let (text, binary) = (format!("varchar({characters})"), format!("varbinary({})", self.a));
                let length = if self.a > 255 { 2 } else { 1 };
                let (logical, declared, _) = string(&text, &binary, Column::Char1);
                (logical, declared, Column::string(length, charset.encoding))
            }
            code::STRING => {
                let (text, binary) = (format!("char({characters})"), format!("binary({})", self.a));
                let length = if self.a > 255 { 2 } else { 1 };
                match charset.encoding {
                    Text::Binary => (Logical::Bytes, binary, Column::Binary { length, size: self.a }),
                    encoding => (Logical::Text, text, Column::string(length, encoding)),
                }
            }
            code::BLOB => {
                let size = ["tiny", "", "medium", "long"][usize::from(self.b.clamp(1, 4)) - 1];
                let (logical, declared, _) = string(&format!("{size}text"), &format!("{size}blob"), Column::Char1);
                (logical, declared, Column::string(self.b, charset.encoding))
            }
            code::DATE | code::NEWDATE => (Logical::Date, "date".into(), Column::Date),
            code::TIME2 => (Logical::Time, with_fraction("time"), Column::Time(self.a as u8)),
            code::DATETIME2 => (Logical::Datetime, with_fraction("datetime"), Column::Datetime(self.a as u8)),
            code::TIMESTAMP2 => (Logical::Datetime, with_fraction("timestamp"), Column::Timestamp(self.a as u8)),
            code::TIME => undecoded("time of an old format", 3),
            code::TIMESTAMP => undecoded("timestamp of an old format", 4),
            code::DATETIME => undecoded("datetime of an old format", 8),
            code::NULL => undecoded("null", 0),
            code::BIT if self.a == 1 => (Logical::Boolean, "bit(1)".into(), Column::Truth),
            code::BIT => (Logical::UInt64, format!("bit({})", self.a), Column::Bits(self.a.div_ceil(8) as u8)),
            code::ENUM | code::SET => {
                let word = if self.code == code::ENUM { "enum" } else { "set" };
                match names {
                    // In a character set without a converter.
                    None => undecoded(word, self.a),
                    Some(names) => {
                        let declared = declared_choices(word, &names);
                        let column = match self.code {
                            code::ENUM => Column::Enum { size, names },
                            _ => Column::Set { size, names },
                        };
                        (Logical::Text, declared, column)
                    }
                }
            }
            code::JSON => (Logical::Json, "json".into(), Column::Json(self.b)),
            code::GEOMETRY => bytes(GEOMETRIES.get(detail as usize).unwrap_or(&GEOMETRIES[0]).to_string()),
            _ => bytes(format!("vector({detail})")),
        }
    }
}

/// What else a column's type is made of; each matters to some types only.
pub(super) struct More {
    pub unsigned: bool,
    pub charset: Charset,
    /// Of an ENUM or SET; none where they cannot be read.
    pub names: Option<Arc<[String]>>,
    /// Which of [`GEOMETRIES`], or how many numbers a vector has.
    pub detail: u64,
}

/// `enum('a','b')`
fn declared_choices(word: &str, names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("'{}'", name.replace('\'', "''"))).collect();
    format!("{word}({})", names.join(","))
}
