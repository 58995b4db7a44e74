//! Settings by name, and the plan built from column names.

use crate::bindings::exports::hindsight::transform::transformer::{self as wit, Description, Roles, Scope, TableUse};
use crate::bindings::hindsight::transform::types::{Field, LogicalType, Table};

/// The settings as the person wrote them, with the rule's defaults.
pub struct Settings {
    known: Description,
    given: Vec<(String, String)>,
}

impl Settings {
    pub(crate) fn new(known: Description, given: Vec<(String, String)>) -> Self {
        Settings { known, given }
    }

    /// A setting, or its default.
    ///
    /// # Panics
    /// When `describe` does not name it.
    pub fn get(&self, name: &str) -> &str {
        let known = self.known.settings.iter().find(|setting| setting.name == name);
        let known = known.unwrap_or_else(|| panic!("`describe` does not name the setting {name}"));
        let given = self.given.iter().find(|(given, _)| given == name);
        given.map(|(_, value)| value.as_str()).or(known.default.as_deref()).unwrap_or_default().trim()
    }

    /// A setting that lists names, separated by commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.get(name).split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
    }
}

/// What the rule wants to see and writes, by column names.
pub struct Plan {
    /// Source columns that say whose history a row belongs to.
    pub entity_key: Vec<String>,
    /// Source columns wanted of the image after and before a change.
    pub after: Vec<String>,
    pub before: Vec<String>,
    /// The history table.
    pub history: Vec<History>,
    pub primary_key: Vec<String>,
    /// History columns that hold the entity's key, in the order of `entity_key`.
    pub key: Vec<String>,
    pub start: String,
    pub end: String,
    pub current: Option<String>,
    pub scope: Scope,
    /// History columns to be shown, and those that [`Entity::revise`](crate::Entity::revise) may set.
    pub read: Vec<String>,
    pub revise: Vec<String>,
    pub replay_safe: bool,
    pub complete: bool,
}

/// A column of the history table.
pub struct History {
    pub name: String,
    kind: Kind,
}

enum Kind {
    /// Carries a source column, with its type.
    Source(String),
    Made(LogicalType, bool, String),
}

impl History {
    /// A column that carries the value of a source column, under another name or the same.
    pub fn carries(name: impl Into<String>, source: impl Into<String>) -> Self {
        History { name: name.into(), kind: Kind::Source(source.into()) }
    }

    /// A column whose values the rule makes. `declared`: its type in the source's words.
    pub fn made(name: impl Into<String>, logical: LogicalType, nullable: bool, declared: impl Into<String>) -> Self {
        History { name: name.into(), kind: Kind::Made(logical, nullable, declared.into()) }
    }
}

/// The field of a table, by name.
///
/// # Errors
/// Names the columns there are.
pub fn field<'t>(table: &'t Table, name: &str) -> Result<&'t Field, String> {
    position(table, name).map(|position| &table.fields[position as usize])
}

impl Plan {
    pub(crate) fn finish(self, tables: &[Table]) -> Result<wit::Plan, String> {
        let first = tables.first().ok_or("there is no table to make a plan for")?;
        let uses = tables.iter().map(|table| {
            let positions =
                |names: &[String]| names.iter().map(|name| position(table, name)).collect::<Result<Vec<_>, _>>();
            Ok(TableUse {
                entity_key: positions(&self.entity_key)?,
                after: positions(&self.after)?,
                before: positions(&self.before)?,
            })
        });
        let uses = uses.collect::<Result<Vec<_>, String>>()?;
        let history = self.history.iter().map(|column| {
            let (field, source) = match &column.kind {
                Kind::Source(source) => {
                    let field = field(first, source)?;
                    // A date that does not exist arrives as null even where the source says NOT NULL.
                    let may_be_null =
                        field.nullable || matches!(field.logical, LogicalType::Date | LogicalType::Datetime);
                    let nullable = may_be_null && !self.primary_key.contains(&column.name);
                    (Field { name: column.name.clone(), nullable, ..field.clone() }, Some(source.clone()))
                }
                Kind::Made(logical, nullable, declared) => {
                    let (logical, nullable, declared) = (*logical, *nullable, declared.clone());
                    (Field { name: column.name.clone(), logical, nullable, declared }, None)
                }
            };
            Ok(wit::HistoryColumn { field, source })
        });
        let history = history.collect::<Result<Vec<_>, String>>()?;
        let at = |name: &String| {
            let position = self.history.iter().position(|column| column.name == *name);
            position.map(|position| position as u32).ok_or_else(|| format!("the history table has no column {name}"))
        };
        let all = |names: &[String]| names.iter().map(at).collect::<Result<Vec<_>, _>>();
        Ok(wit::Plan {
            tables: uses,
            primary_key: all(&self.primary_key)?,
            roles: Roles {
                entity_key: all(&self.key)?,
                start: at(&self.start)?,
                end: at(&self.end)?,
                current: self.current.as_ref().map(at).transpose()?,
            },
            scope: self.scope,
            read: all(&self.read)?,
            revise: all(&self.revise)?,
            replay_safe: self.replay_safe,
            complete: self.complete,
            history,
        })
    }
}

fn position(table: &Table, name: &str) -> Result<u32, String> {
    let position = table.fields.iter().position(|field| field.name == name);
    position.map(|position| position as u32).ok_or_else(|| {
        let names: Vec<&str> = table.fields.iter().map(|field| field.name.as_str()).collect();
        format!("table {} has no column {name}; it has {}", table.name, names.join(", "))
    })
}
