//! The types of columns: their names, how SQLite keeps them so that comparisons come out right, and what the MySQL
//! protocol calls them.

/// A STRING is a VARCHAR of this length.
const STRING_BYTES_MAX: u32 = 65_533;
const VARBINARY_BYTES_MAX: u32 = 1_048_576;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    Boolean,
    TinyInt,
    SmallInt,
    Int,
    BigInt,
    LargeInt,
    Float,
    Double,
    Decimal { precision: u32, scale: u32 },
    Date,
    DateTime,
    Char(u32),
    Varchar(u32),
    Json,
    Varbinary(u32),
}

impl ColumnType {
    /// By its name and the numbers behind it.
    pub fn named(name: &str, numbers: &[u32]) -> Result<Self, String> {
        let first = numbers.first().copied();
        Ok(match name.to_ascii_uppercase().as_str() {
            "BOOLEAN" | "BOOL" => ColumnType::Boolean,
            "TINYINT" if first == Some(1) => ColumnType::Boolean,
            "TINYINT" => ColumnType::TinyInt,
            "SMALLINT" => ColumnType::SmallInt,
            "INT" | "INTEGER" => ColumnType::Int,
            "BIGINT" => ColumnType::BigInt,
            "LARGEINT" => ColumnType::LargeInt,
            "FLOAT" => ColumnType::Float,
            "DOUBLE" => ColumnType::Double,
            "DECIMAL" | "DECIMALV2" | "DECIMAL32" | "DECIMAL64" | "DECIMAL128" => {
                let (precision, scale) = (first.unwrap_or(10), numbers.get(1).copied().unwrap_or(0));
                if precision == 0 || precision > 38 || scale > precision {
                    return Err(format!("DECIMAL({precision},{scale}) is out of range"));
                }
                ColumnType::Decimal { precision, scale }
            }
            "DATE" => ColumnType::Date,
            "DATETIME" => ColumnType::DateTime,
            "CHAR" => ColumnType::Char(first.unwrap_or(1)),
            "VARCHAR" => ColumnType::Varchar(first.unwrap_or(1)),
            "STRING" | "TEXT" => ColumnType::Varchar(STRING_BYTES_MAX),
            "JSON" => ColumnType::Json,
            "VARBINARY" | "BINARY" => ColumnType::Varbinary(first.unwrap_or(VARBINARY_BYTES_MAX)),
            other => return Err(format!("the stand-in has no type {other}")),
        })
    }

    /// As StarRocks prints it.
    pub fn name(self) -> String {
        match self {
            ColumnType::Boolean => "boolean".into(),
            ColumnType::TinyInt => "tinyint(4)".into(),
            ColumnType::SmallInt => "smallint(6)".into(),
            ColumnType::Int => "int(11)".into(),
            ColumnType::BigInt => "bigint(20)".into(),
            ColumnType::LargeInt => "largeint(40)".into(),
            ColumnType::Float => "float".into(),
            ColumnType::Double => "double".into(),
            ColumnType::Decimal { precision, scale } => format!("decimal({precision}, {scale})"),
            ColumnType::Date => "date".into(),
            ColumnType::DateTime => "datetime".into(),
            ColumnType::Char(n) => format!("char({n})"),
            ColumnType::Varchar(n) => format!("varchar({n})"),
            ColumnType::Json => "json".into(),
            ColumnType::Varbinary(n) if n == VARBINARY_BYTES_MAX => "varbinary".into(),
            ColumnType::Varbinary(n) => format!("varbinary({n})"),
        }
    }

    /// `information_schema.columns.data_type`
    pub fn plain_name(self) -> &'static str {
        match self {
            // As StarRocks has it: its BOOLEAN is a TINYINT to clients of MySQL.
            ColumnType::Boolean | ColumnType::TinyInt => "tinyint",
            ColumnType::SmallInt => "smallint",
            ColumnType::Int => "int",
            ColumnType::BigInt => "bigint",
            ColumnType::LargeInt => "bigint unsigned",
            ColumnType::Float => "float",
            ColumnType::Double => "double",
            ColumnType::Decimal { .. } => "decimal",
            ColumnType::Date => "date",
            ColumnType::DateTime => "datetime",
            ColumnType::Char(_) => "char",
            ColumnType::Varchar(_) => "varchar",
            ColumnType::Json => "json",
            ColumnType::Varbinary(_) => "varbinary",
        }
    }

    /// What the column is declared as in SQLite. The affinity follows from words in it (TEXT, INT, REAL, BLOB); numbers
    /// that SQLite has no type for are texts with a collation that compares them as numbers.
    pub fn declared(self) -> String {
        match self {
            ColumnType::Boolean => "SR_BOOL_INT".into(),
            ColumnType::TinyInt => "SR_TINYINT".into(),
            ColumnType::SmallInt => "SR_SMALLINT".into(),
            ColumnType::Int => "SR_INT".into(),
            ColumnType::BigInt => "SR_BIGINT".into(),
            ColumnType::LargeInt => "SR_LARGE_TEXT COLLATE decimal".into(),
            ColumnType::Float => "SR_FLOAT_REAL".into(),
            ColumnType::Double => "SR_DOUBLE_REAL".into(),
            ColumnType::Decimal { .. } => "SR_DECIMAL_TEXT COLLATE decimal".into(),
            ColumnType::Date => "SR_DATE_TEXT".into(),
            ColumnType::DateTime => "SR_DATETIME_TEXT".into(),
            ColumnType::Char(_) => "SR_CHAR_TEXT".into(),
            ColumnType::Varchar(_) | ColumnType::Json => "SR_VARCHAR_TEXT".into(),
            ColumnType::Varbinary(_) => "SR_BINARY_BLOB".into(),
        }
    }

    /// The range of a whole number of this type.
    pub fn range(self) -> Option<(i64, i64)> {
        match self {
            ColumnType::TinyInt => Some((i8::MIN.into(), i8::MAX.into())),
            ColumnType::SmallInt => Some((i16::MIN.into(), i16::MAX.into())),
            ColumnType::Int => Some((i32::MIN.into(), i32::MAX.into())),
            ColumnType::BigInt => Some((i64::MIN, i64::MAX)),
            _ => None,
        }
    }

    /// Bytes that a key column of this type takes, where that does not depend on the value.
    pub fn key_bytes(self) -> usize {
        match self {
            ColumnType::Boolean | ColumnType::TinyInt => 1,
            ColumnType::SmallInt => 2,
            ColumnType::Int | ColumnType::Date | ColumnType::Float => 4,
            ColumnType::LargeInt | ColumnType::Decimal { .. } => 16,
            _ => 8,
        }
    }
}
