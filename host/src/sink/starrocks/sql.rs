//! What is read over the MySQL port: the table as it is, the cluster's members, and an entity's rows.
//!
//! By the text protocol only, and without a statement at connect time: prepared statements and `SET x = (SELECT …)` are refused
//! by many releases.

use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value as Told};
use tokio::time::timeout;

use super::columns::ColumnType;
use super::ddl::quote;
use super::http::Address;
use super::rows::TableColumn;
use crate::civil;
use crate::event::{Field, Logical};
use crate::history::{EntityRows, HistorySchema, Scope};
use crate::rows::{Rows, Value};

/// Entities of one question: StarRocks takes 10,000 expressions in a list (`expr_children_limit`).
const ENTITIES_MAX: usize = 10_000;

/// Bytes that a packet may have: what is asked for is bounded by the entities of a batch.
const PACKET_BYTES_MAX: usize = 1 << 30;

const CONNECT_MAX: Duration = Duration::from_secs(5);

/// Until a question is answered.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How to reach a frontend's MySQL port.
#[derive(Clone, Debug)]
pub struct Login {
    pub at: Address,
    pub user: String,
    pub password: String,
    pub database: String,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The server is not there, or ended the connection: it can be asked again.
    #[error("{at}: {why}")]
    Unreached { at: Address, why: String },
    /// It answers that this cannot be.
    #[error("{at}: {why}")]
    Refused { at: Address, why: String },
}

/// A connection to one frontend.
pub struct Session {
    conn: Conn,
    at: Address,
}

impl Session {
    /// # Errors
    /// Nobody is there, or the login is refused.
    pub async fn open(login: &Login) -> Result<Self, SqlError> {
        let Login { at, user, password, database } = login;
        let options = OptsBuilder::default()
            .ip_or_hostname(at.host.trim_matches(['[', ']']))
            .tcp_port(at.port)
            .user(Some(user))
            .pass(Some(password))
            .db_name(Some(database))
            .prefer_socket(Some(false))
            // What the client does not have to ask for when it connects.
            .max_allowed_packet(Some(PACKET_BYTES_MAX))
            .wait_timeout(Some(28_800));
        let connecting = timeout(CONNECT_MAX, Conn::new(options)).await;
        let conn = connecting.map_err(|_| silent(at, CONNECT_MAX))?.map_err(|error| failed(at, &error))?;
        Ok(Session { conn, at: at.clone() })
    }

    /// The rows of an answer.
    ///
    /// # Errors
    /// As [`SqlError`].
    pub async fn rows(&mut self, statement: &str) -> Result<Vec<Row>, SqlError> {
        let answered = timeout(ANSWER_MAX, self.conn.query(statement)).await;
        answered.map_err(|_| silent(&self.at, ANSWER_MAX))?.map_err(|error| failed(&self.at, &error))
    }
}

/// Whether there is a table of this name, and its columns: in this order.
pub fn table_questions(name: &str) -> [String; 2] {
    [format!("SHOW TABLES LIKE {}", text(name)), format!("DESC {}", quote(name))]
}

/// A table's columns and the names of its primary key, in key order, as `DESC` tells them.
///
/// # Errors
/// A column has a type that is not known here.
pub fn columns(rows: &[Row]) -> Result<(Vec<TableColumn>, Vec<String>), String> {
    let (mut columns, mut key) = (Vec::new(), Vec::new());
    for row in rows {
        let [name, declared, null, is_key] = ["Field", "Type", "Null", "Key"].map(|column| told(row, column));
        let holds = ColumnType::parse(&declared)
            .ok_or_else(|| format!("column {name} is {declared}, which is not known here"))?;
        if is_key.eq_ignore_ascii_case("true") || is_key.eq_ignore_ascii_case("pri") {
            key.push(name.clone());
        }
        columns.push(TableColumn { name, holds, nullable: null.eq_ignore_ascii_case("yes") });
    }
    Ok((columns, key))
}

/// Who is in the cluster. Releases without compute nodes do not know the last one.
pub const HOSTS: [&str; 3] = [FRONTENDS, "SHOW BACKENDS", "SHOW COMPUTE NODES"];

/// The hosts of the cluster's own servers, as redirects name them.
pub fn hosts(rows: &[Row]) -> impl Iterator<Item = String> {
    rows.iter().map(|row| told(row, "IP")).filter(|host| !host.is_empty())
}

pub const FRONTENDS: &str = "SHOW FRONTENDS";

/// Where the leader's MySQL port is, as the cluster names it; none leads.
pub fn leader(rows: &[Row]) -> Option<Address> {
    let leads = |row: &&Row| told(row, "Role") == "LEADER" || told(row, "IsMaster") == "true";
    let leader = rows.iter().find(leads)?;
    Some(Address { host: told(leader, "IP"), port: told(leader, "QueryPort").parse().ok()? })
}

/// What a frontend knows of a label's transaction.
pub fn transaction(label: &str) -> String {
    format!("SHOW TRANSACTION WHERE LABEL = {}", text(label))
}

/// Whether a table has a row at all, or one with this value.
pub fn any_row(table: &str, with: Option<(&str, u64)>) -> String {
    let with = with.map(|(column, value)| format!(" WHERE {} = {value}", quote(column))).unwrap_or_default();
    format!("SELECT 1 FROM {}{with} LIMIT 1", quote(table))
}

/// A frontend's setting.
pub fn setting(name: &str) -> String {
    format!("ADMIN SHOW FRONTEND CONFIG LIKE {}", text(name))
}

/// The questions for entities' rows, each with the entities that it asks for.
pub fn entity_questions(
    table: &str,
    history: &HistorySchema,
    keys: &Rows,
    scope: Scope,
) -> Vec<(std::ops::Range<usize>, String)> {
    questions(keys).map(|entities| (entities.clone(), select(table, history, keys, entities, scope))).collect()
}

/// The entities of each question.
fn questions(keys: &Rows) -> impl Iterator<Item = std::ops::Range<usize>> {
    let n_entities = keys.len();
    (0..n_entities).step_by(ENTITIES_MAX).map(move |first| first..n_entities.min(first + ENTITIES_MAX))
}

/// The questions for the largest value of a column among entities' rows: `newest`, NULL where there is none.
pub fn newest_questions(table: &str, column: &str, history: &HistorySchema, keys: &Rows) -> Vec<String> {
    let question = |entities| {
        let condition = condition(history, keys, entities);
        format!("SELECT MAX({}) AS newest FROM {} WHERE {condition}", quote(column), quote(table))
    };
    questions(keys).map(question).collect()
}

/// Appends an answer's rows, which come in the order of the primary key, to their entities. `found` begins with the offset 0.
///
/// # Errors
/// A value is none of its column's.
pub fn sort_in(
    found: &mut EntityRows,
    history: &HistorySchema,
    keys: &Rows,
    entities: std::ops::Range<usize>,
    rows: &[Row],
) -> Result<(), String> {
    let mut read = Rows::new(history.columns.len());
    // By the entity's encoding.
    let mut of_entity: rustc_hash::FxHashMap<Vec<u8>, Vec<usize>> = rustc_hash::FxHashMap::default();
    for row in rows {
        for (place, column) in history.columns.iter().enumerate() {
            let field = &column.field;
            let told = row.as_ref(place).ok_or_else(|| format!("no column {}", field.name))?;
            push(&mut read, told, field)
                .ok_or_else(|| format!("column {} of {} cannot be read: {told:?}", field.name, field.declared))?;
        }
        let number = read.end_row();
        let mut key = Vec::new();
        history.roles.entity_key.iter().for_each(|&column| read.row(number).get(column).encode(&mut key));
        of_entity.entry(key).or_default().push(number);
    }
    for entity in entities {
        let mut key = Vec::new();
        keys.row(entity).values().for_each(|value| value.encode(&mut key));
        for row in of_entity.remove(&key).into_iter().flatten() {
            found.rows.push_row(read.row(row).values());
        }
        found.offsets.push(found.rows.len() as u32);
    }
    // A key that comes back in another form, as of a column with more digits, would leave its entity without rows.
    match of_entity.into_values().flatten().next() {
        Some(row) => {
            Err(format!("a row is of no entity that was asked for: {:?}", read.row(row).values().collect::<Vec<_>>()))
        }
        None => Ok(()),
    }
}

/// The question for these entities' rows.
fn select(table: &str, history: &HistorySchema, keys: &Rows, entities: std::ops::Range<usize>, scope: Scope) -> String {
    let name = |column: usize| quote(&history.columns[column].field.name);
    let names = |columns: &[usize]| columns.iter().map(|&column| name(column)).collect::<Vec<_>>().join(", ");
    let all: Vec<usize> = (0..history.columns.len()).collect();
    let mut asked =
        format!("SELECT {} FROM {} WHERE {}", names(&all), quote(table), condition(history, keys, entities));
    if scope == Scope::CurrentRows {
        asked += &match history.roles.current {
            Some(current) => format!(" AND {} = true", name(current)),
            None => format!(" AND {} IS NULL", name(history.roles.end)),
        };
    }
    asked + &format!(" ORDER BY {}", names(&history.primary_key))
}

/// That a row is one of these entities'.
fn condition(history: &HistorySchema, keys: &Rows, entities: std::ops::Range<usize>) -> String {
    let name = |column: usize| quote(&history.columns[column].field.name);
    let mut asked = String::new();
    let key = &history.roles.entity_key;
    let literal =
        |entity: usize, place: usize| literal(keys.row(entity).get(place), history.columns[key[place]].field.logical);
    match key.as_slice() {
        [column] => {
            asked += &format!("{} IN (", name(*column));
            for entity in entities.clone() {
                asked += if entity == entities.start { "" } else { ", " };
                asked += &literal(entity, 0);
            }
        }
        columns => {
            asked += "(";
            for entity in entities.clone() {
                asked += if entity == entities.start { "" } else { " OR " };
                let equal: Vec<String> = columns
                    .iter()
                    .enumerate()
                    .map(|(place, &column)| format!("{} = {}", name(column), literal(entity, place)))
                    .collect();
                asked += &format!("({})", equal.join(" AND "));
            }
        }
    }
    asked + ")"
}

/// A value in a statement.
fn literal(value: Value<'_>, logical: Logical) -> String {
    let mut out = String::new();
    match (value, logical) {
        (Value::Int(days), Logical::Date) => civil::write_date(&mut out, days),
        (Value::Int(micros), Logical::Datetime) => civil::write_datetime(&mut out, micros),
        (Value::Int(micros), Logical::Time) => civil::write_time(&mut out, micros),
        (Value::Int(value), _) => return value.to_string(),
        (Value::UInt(value), _) => return value.to_string(),
        (Value::Float(value), _) => return value.to_string(),
        (Value::Text(digits), Logical::Decimal) => return digits.to_owned(),
        (Value::Text(value), _) => out.push_str(value),
        (Value::Bytes(_) | Value::Null | Value::Absent | Value::Undecoded, _) => return "NULL".into(),
    }
    text(&out)
}

/// A text in a statement. Backslashes are escapes there.
pub(super) fn text(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('\'');
    for char in value.chars() {
        match char {
            '\'' => out.push_str("\\'"),
            '\\' => out.push_str("\\\\"),
            '\0' => out.push_str("\\0"),
            char => out.push(char),
        }
    }
    out.push('\'');
    out
}

/// Appends what the server says of a value; none where it is not one of the column's.
fn push(rows: &mut Rows, told: &Told, field: &Field) -> Option<()> {
    let text = match told {
        Told::NULL => {
            rows.push(Value::Null);
            return Some(());
        }
        Told::Bytes(bytes) => std::str::from_utf8(bytes).ok()?,
        // The text protocol has nothing else.
        _ => return None,
    };
    rows.push(match field.logical {
        Logical::Boolean => Value::Int(match text {
            "0" | "false" => 0,
            "1" | "true" => 1,
            _ => return None,
        }),
        Logical::Int64 => Value::Int(text.parse().ok()?),
        Logical::UInt64 => Value::UInt(text.parse().ok()?),
        // As few digits as tell it from its neighbours in single precision.
        Logical::Float64 if field.declared.starts_with("float") => Value::Float(text.parse::<f32>().ok()?.into()),
        Logical::Float64 => Value::Float(text.parse().ok()?),
        Logical::Date => Value::Int(civil::parse_date(text)?),
        Logical::Time => Value::Int(civil::parse_time(text)?),
        Logical::Datetime => Value::Int(civil::parse_datetime(text)?),
        Logical::Decimal | Logical::Text | Logical::Json => Value::Text(text),
        Logical::Bytes => return None,
    });
    Some(())
}

/// A cell of an answer; empty where it is NULL, or there is no such column.
pub fn told(row: &Row, column: &str) -> String {
    optional(row, column).unwrap_or_default()
}

/// None where it is NULL.
pub(super) fn optional(row: &Row, column: &str) -> Option<String> {
    row.get_opt::<Option<String>, _>(column).and_then(Result::ok).flatten()
}

fn silent(at: &Address, max: Duration) -> SqlError {
    SqlError::Unreached { at: at.clone(), why: format!("it has not answered within {} s", max.as_secs()) }
}

fn failed(at: &Address, error: &mysql_async::Error) -> SqlError {
    let (at, why) = (at.clone(), error.to_string());
    match error {
        mysql_async::Error::Server(_) => SqlError::Refused { at, why },
        _ => SqlError::Unreached { at, why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{HistoryColumn, Roles};

    #[test]
    fn entities_are_asked_for_by_their_keys() {
        let column = |name: &str, logical| HistoryColumn {
            field: Field { name: name.into(), logical, nullable: true, declared: String::new() },
            source: None,
        };
        let mut history = HistorySchema {
            columns: vec![
                column("owner", Logical::Text),
                column("day", Logical::Date),
                column("end", Logical::Datetime),
            ],
            primary_key: vec![0, 1],
            roles: Roles { entity_key: vec![0], start: 1, end: 2, current: None },
        };
        let mut keys = Rows::new(1);
        keys.push_row([Value::Text("it's")]);
        keys.push_row([Value::Text("a\\b")]);
        assert_eq!(
            select("h`s", &history, &keys, 0..2, Scope::CurrentRows),
            "SELECT `owner`, `day`, `end` FROM `h``s` WHERE `owner` IN ('it\\'s', 'a\\\\b') AND `end` IS NULL ORDER BY `owner`, `day`"
        );
        history.roles.entity_key = vec![0, 1];
        history.roles.current = Some(2);
        let mut keys = Rows::new(2);
        keys.push_row([Value::Text("x"), Value::Int(0)]);
        assert_eq!(
            select("h", &history, &keys, 0..1, Scope::AllRows),
            "SELECT `owner`, `day`, `end` FROM `h` WHERE ((`owner` = 'x' AND `day` = '1970-01-01')) ORDER BY `owner`, `day`"
        );
    }
}
