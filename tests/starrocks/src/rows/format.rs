//! What a load's headers say about its rows. Headers that the stand-in does not play are refused by name, never ignored:
//! a test would else believe in them.

/// How the bytes are to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Format {
    pub layout: Layout,
    /// None, `gzip`, `lz4_frame`, `zstd`
    pub compression: Option<String>,
    pub strict: bool,
    pub max_filter_ratio: f64,
    pub merge_condition: Option<String>,
    /// A column that a fault makes NULL, as a value that cannot be converted would be.
    pub nulled: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Layout {
    Json { strip_outer_array: bool },
    Csv { column_separator: String, row_delimiter: String, columns: Option<Vec<Mapped>>, n_skipped: usize, trim: bool },
}

/// One item of the header `columns`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mapped {
    /// The next field of a row.
    Field(String),
    /// A column that takes a constant, `__op=1`.
    Constant(String, String),
    /// A column that takes another field, `__op=deleted`.
    Copy(String, String),
}

const NOT_PLAYED: [&str; 9] = [
    "jsonpaths",
    "json_root",
    "where",
    "enclose",
    "escape",
    "partial_update",
    "enable_merge_commit",
    "envelope",
    "partial_update_mode",
];

impl Default for Format {
    fn default() -> Self {
        Format {
            layout: Layout::Json { strip_outer_array: false },
            compression: None,
            strict: false,
            max_filter_ratio: 0.0,
            merge_condition: None,
            nulled: None,
        }
    }
}

impl Format {
    /// Whether another load of the same transaction may have these headers. Of max_filter_ratio the first one's counts.
    pub fn is_same_request(&self, other: &Format) -> bool {
        let other = Format { max_filter_ratio: self.max_filter_ratio, nulled: self.nulled.clone(), ..other.clone() };
        *self == other
    }

    /// The headers by a function; the error is the load's message.
    pub fn of_headers<'h>(header: impl Fn(&str) -> Option<&'h str>) -> Result<Self, String> {
        for name in NOT_PLAYED {
            if let Some(value) = header(name).filter(|value| !value.eq_ignore_ascii_case("false")) {
                return Err(format!("the stand-in does not play the header {name}: {value}"));
            }
        }
        let flag = |name: &str, refusal: &str| match header(name) {
            None => Ok(false),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(refusal.to_owned()),
        };
        let mut compression = match (header("compression"), header("content-encoding")) {
            (Some(_), Some(_)) => return Err("compression and Content-Encoding cannot be set together".into()),
            (one, other) => one.or(other).map(str::to_ascii_lowercase),
        };
        let layout = match header("format").map(str::to_ascii_lowercase).as_deref() {
            Some("json") => Layout::Json {
                strip_outer_array: flag("strip_outer_array", "Invalid strip outer array format. Must be bool type")?,
            },
            None | Some("csv") => csv(&header)?,
            Some("gzip") => {
                compression = Some("gzip".into());
                csv(&header)?
            }
            Some(other) => return Err(format!("unknown data format, format={other}")),
        };
        let ratio = header("max_filter_ratio").map_or(Ok(0.0), str::parse::<f64>);
        let ratio = ratio.ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        Ok(Format {
            layout,
            compression: compression.filter(|name| name != "identity"),
            strict: flag("strict_mode", "Invalid strict mode format. Must be bool type")?,
            max_filter_ratio: ratio.ok_or("Invalid max_filter_ratio. Must be between 0 and 1")?,
            merge_condition: header("merge_condition").map(str::to_owned),
            nulled: None,
        })
    }
}

fn csv<'h>(header: &impl Fn(&str) -> Option<&'h str>) -> Result<Layout, String> {
    Ok(Layout::Csv {
        column_separator: separator(header("column_separator").unwrap_or("\t"))?,
        row_delimiter: separator(header("row_delimiter").unwrap_or("\n"))?,
        columns: header("columns").map(columns).transpose()?,
        n_skipped: header("skip_header")
            .map_or(Ok(0), str::parse)
            .map_err(|_| "Invalid csv format. skip_header must be a number")?,
        trim: header("trim_space").is_some_and(|value| value.eq_ignore_ascii_case("true")),
    })
}

/// `\t`, `\n`, `\x01` are written out in a header.
fn separator(text: &str) -> Result<String, String> {
    if let Some(hex) = text.strip_prefix("\\x").or_else(|| text.strip_prefix("\\X")) {
        let bytes: Option<Vec<u8>> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect();
        return bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| format!("Invalid separator {text}"));
    }
    let text = text.replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r");
    if text.is_empty() { Err("a separator is empty".into()) } else { Ok(text) }
}

fn columns(text: &str) -> Result<Vec<Mapped>, String> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    let items = items.map(|item| {
        let plain = |name: &str| name.trim().trim_matches('`').to_owned();
        let is_name = |name: &str| name.trim().trim_matches('`').chars().all(|c| c.is_alphanumeric() || c == '_');
        let Some((name, value)) = item.split_once('=') else { return Ok(Mapped::Field(plain(item))) };
        let value = value.trim();
        let quoted = value.strip_prefix(['\'', '"']).and_then(|value| value.strip_suffix(['\'', '"']));
        match quoted {
            Some(text) => Ok(Mapped::Constant(plain(name), text.to_owned())),
            None if value.parse::<f64>().is_ok() => Ok(Mapped::Constant(plain(name), value.to_owned())),
            None if is_name(value) => Ok(Mapped::Copy(plain(name), plain(value))),
            None => Err(format!("the stand-in does not play the expression {value} in columns")),
        }
    });
    items.collect()
}
