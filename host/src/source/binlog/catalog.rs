//! A table's shape as `information_schema` tells it: the same one that its table map has, so that a row is the same by
//! both ways.

use super::charset::Charset;
use super::row::Column;
use super::table_map::{More, Shape, Type, code};
use crate::event::{Field, GEOMETRIES, TableSchema};

/// A row of `information_schema.COLUMNS`.
#[derive(Clone, Debug, Default)]
pub struct CatalogColumn {
    pub name: String,
    /// DATA_TYPE: `varchar`
    pub data_type: String,
    /// COLUMN_TYPE: `int unsigned`, `enum('a','b')`
    pub column_type: String,
    pub nullable: bool,
    /// CHARACTER_OCTET_LENGTH
    pub octets: Option<u64>,
    /// NUMERIC_PRECISION and NUMERIC_SCALE
    pub precision: Option<u64>,
    pub scale: Option<u64>,
    /// DATETIME_PRECISION: fractional digits
    pub digits: Option<u64>,
    /// Of `information_schema.COLLATIONS`; none: bytes, or no text at all.
    pub collation: Option<u64>,
}

/// `name`: `database.table`; `primary_key`: positions in `columns`, in key order.
///
/// # Errors
/// The column whose type is not known.
pub fn shape(name: String, columns: &[CatalogColumn], primary_key: Vec<usize>) -> Result<Shape, String> {
    let mut fields = Vec::with_capacity(columns.len());
    let mut decoded: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        let CatalogColumn { name: column_name, data_type, column_type, nullable, collation, .. } = column;
        let found = column.found().ok_or_else(|| {
            format!("{name} has a column {column_name} of type {data_type}, which is not known; use a newer version of hindsight")
        })?;
        let charset = Charset::of(collation.unwrap_or(BINARY));
        let names = choices(column_type).filter(|_| charset.encoding.is_read());
        let detail = column.detail();
        let more = More { unsigned: column_type.ends_with(" unsigned"), charset, names: names.map(Into::into), detail };
        let (logical, declared, column) = found.describe(more);
        fields.push(Field { name: column_name.clone(), logical, nullable: *nullable, declared });
        decoded.push(column);
    }
    Ok(Shape { schema: TableSchema { name, fields, primary_key }, columns: decoded })
}

/// The collation `binary`.
const BINARY: u64 = 63;

impl CatalogColumn {
    /// As a table map has it.
    fn found(&self) -> Option<Type> {
        let of = |code, a: Option<u64>, b| Some(Type { code, a: a.unwrap_or(0) as u16, b });
        let plain = |code| of(code, None, 0);
        match self.data_type.as_str() {
            "tinyint" => plain(code::TINY),
            "smallint" => plain(code::SHORT),
            "mediumint" => plain(code::INT24),
            "int" => plain(code::LONG),
            "bigint" => plain(code::LONGLONG),
            "year" => plain(code::YEAR),
            "float" => plain(code::FLOAT),
            "double" => plain(code::DOUBLE),
            "decimal" => of(code::NEWDECIMAL, self.precision, self.scale.unwrap_or(0) as u8),
            "varchar" | "varbinary" => of(code::VARCHAR, self.octets, 0),
            "char" | "binary" => of(code::STRING, self.octets, 0),
            "tinytext" | "tinyblob" => of(code::BLOB, None, 1),
            "text" | "blob" => of(code::BLOB, None, 2),
            "mediumtext" | "mediumblob" => of(code::BLOB, None, 3),
            "longtext" | "longblob" => of(code::BLOB, None, 4),
            "date" => plain(code::DATE),
            "time" => of(code::TIME2, self.digits, 0),
            "datetime" => of(code::DATETIME2, self.digits, 0),
            "timestamp" => of(code::TIMESTAMP2, self.digits, 0),
            "bit" => of(code::BIT, self.precision, 0),
            "enum" => of(code::ENUM, Some(1), 0),
            "set" => of(code::SET, Some(1), 0),
            "json" => of(code::JSON, None, 4),
            "vector" => of(code::VECTOR, None, 4),
            "geometrycollection" => of(code::GEOMETRY, None, 4),
            geometry if GEOMETRIES.contains(&geometry) => of(code::GEOMETRY, None, 4),
            _ => None,
        }
    }

    /// Of a geometry its place among [`GEOMETRIES`], of a vector how many numbers it has.
    fn detail(&self) -> u64 {
        match self.data_type.as_str() {
            "vector" => {
                let number = self.column_type.trim_start_matches("vector(").trim_end_matches(')');
                number.parse().unwrap_or(0)
            }
            "geometrycollection" => GEOMETRIES.len() as u64 - 1,
            geometry => GEOMETRIES.iter().position(|known| *known == geometry).unwrap_or(0) as u64,
        }
    }
}

/// The names of `enum('a','it''s')`; none of another type.
fn choices(column_type: &str) -> Option<Vec<String>> {
    let names = column_type.strip_prefix("enum(").or_else(|| column_type.strip_prefix("set("))?;
    let mut letters = names.strip_suffix(')')?.chars().peekable();
    let mut names = Vec::new();
    while letters.next()? == '\'' {
        let mut name = String::new();
        loop {
            name.push(match letters.next()? {
                '\'' if letters.next_if_eq(&'\'').is_none() => break,
                // As `append_unescaped` writes them.
                '\\' => match letters.next()? {
                    '0' => '\0',
                    'n' => '\n',
                    'r' => '\r',
                    letter => letter,
                },
                letter => letter,
            });
        }
        names.push(name);
        match letters.next() {
            None => return Some(names),
            Some(',') => {}
            Some(_) => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_the_server_writes_them() {
        let read = |text: &str| choices(text).map(|names| names.join("|"));
        assert_eq!(read("enum('a','b')").as_deref(), Some("a|b"));
        assert_eq!(read("set('it''s','','한글')").as_deref(), Some("it's||한글"));
        assert_eq!(read("enum('with,comma','),','\\\\')").as_deref(), Some("with,comma|),|\\"));
        for wrong in ["int", "enum()", "enum('a'", "enum('a'b)", "enum(a)"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
