//! Messages that Debezium or Flink CDC wrote: with the schema beside each, or with none.

use std::ops::Range;
use std::sync::Arc;

use super::super::Forms;
use super::super::value::Form;
use super::parts::Parts;
use super::scan::Scanner;
use super::{Reader, connect, value};
use crate::event::{EntityKey, Field, TableSchema};

/// Says of a database and a table whether it is one of those that are wanted.
pub type Tables = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// What is known of a topic that others write.
#[derive(Clone)]
pub struct ForeignSettings {
    /// Whether it may hold changes of this table of this database.
    pub tables: Tables,
    /// The columns of each of them, where messages have no schema; empty: not said.
    pub columns: Vec<Field>,
    /// The same by a server, with the tables' names and keys.
    pub schemas: Vec<Arc<TableSchema>>,
    /// How values are written in messages without a schema.
    pub forms: Forms,
    pub entity_key: EntityKey,
}

/// Finds each message's table and where its envelope lies.
pub struct Foreign {
    settings: ForeignSettings,
    /// Of the topic: with several, messages of an entity have to be in one.
    partitions: u32,
    /// Schemas that messages had beside them; the last one met first.
    wrappers: Vec<Wrapper>,
    /// Tables of messages without a schema.
    plain: Vec<((String, String), Arc<str>)>,
}

/// Before the name of a table whose messages have no schema.
const PLAIN: &str = "table ";

struct Wrapper {
    schema: Vec<u8>,
    /// As the reader knows it.
    name: Arc<str>,
    /// What stands before the envelope, where nothing but a bracket stands behind it: then it need not be looked for.
    before: Option<Vec<u8>>,
}

/// What a message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// An envelope in these bytes, of the table that the reader knows by this name.
    Change { schema: Arc<str>, envelope: Range<usize> },
    /// A heartbeat, or a tombstone.
    Nothing,
}

impl Foreign {
    pub fn new(settings: ForeignSettings, partitions: u32) -> Self {
        Foreign { settings, partitions, wrappers: Vec::new(), plain: Vec::new() }
    }

    /// Makes the reader know the message's table.
    ///
    /// # Errors
    /// It is no change, its table is not known, or its key does not keep an entity's changes together.
    pub fn look(&mut self, key: Option<&[u8]>, message: &[u8], reader: &mut Reader) -> Result<Look, String> {
        if self.partitions > 1 && key.is_none() {
            return Err(self.unordered("it has no key"));
        }
        if let Some(Wrapper { name, before: Some(before), .. }) = self.wrappers.first()
            && message.starts_with(before)
            && message.last() == Some(&b'}')
        {
            return Ok(Look::Change { schema: name.clone(), envelope: before.len()..message.len() - 1 });
        }
        let parts = Parts::of(message).map_err(|fault| fault.to_string())?;
        if parts.is_heartbeat() {
            return Ok(Look::Nothing);
        }
        match (parts.schema, parts.payload) {
            (_, Some(payload)) if &message[payload.clone()] == b"null" => Ok(Look::Nothing),
            (Some(schema), Some(payload)) if &message[schema.clone()] != b"null" => {
                self.wrapped(key, message, schema, payload, reader)
            }
            (_, payload) => self.unwrapped(key, message, payload.unwrap_or(0..message.len()), reader),
        }
    }

    fn wrapped(
        &mut self,
        key: Option<&[u8]>,
        message: &[u8],
        schema: Range<usize>,
        envelope: Range<usize>,
        reader: &mut Reader,
    ) -> Result<Look, String> {
        let known = self.wrappers.iter().position(|known| known.schema == message[schema.clone()]);
        let name = match known {
            Some(known) => {
                let wrapper = self.wrappers.remove(known);
                let name = wrapper.name.clone();
                self.wrappers.insert(0, wrapper);
                name
            }
            None => {
                let schema = message[schema].to_vec();
                let (fields, forms) = connect::columns(&schema)?.into_iter().unzip();
                let (database, table) = self.table(&message[envelope.clone()])?;
                let name: Arc<str> = format!("wrapped {}", self.wrappers.len()).into();
                self.know(&name, key, (database, table), (fields, forms), reader)?;
                let is_last = &message[envelope.end..] == b"}";
                let before = is_last.then(|| message[..envelope.start].to_vec());
                self.wrappers.insert(0, Wrapper { schema, name: name.clone(), before });
                name
            }
        };
        Ok(Look::Change { schema: name, envelope })
    }

    fn unwrapped(
        &mut self,
        key: Option<&[u8]>,
        message: &[u8],
        envelope: Range<usize>,
        reader: &mut Reader,
    ) -> Result<Look, String> {
        let (database, table) = self.table(&message[envelope.clone()])?;
        let known = self.plain.iter().find(|((known, known_table), _)| *known == database && *known_table == table);
        if let Some((_, name)) = known {
            return Ok(Look::Change { schema: name.clone(), envelope });
        }
        let full = format!("{database}.{table}");
        let ForeignSettings { columns, schemas, forms, .. } = &self.settings;
        let fields = match schemas.iter().find(|schema| schema.name == full) {
            Some(schema) => schema.fields.clone(),
            None if columns.is_empty() => return Err(missing(&message[envelope])),
            None => columns.clone(),
        };
        let forms = fields.iter().map(|field| Form::of(field, *forms)).collect();
        let name: Arc<str> = format!("{PLAIN}{full}").into();
        self.know(&name, key, (database.clone(), table.clone()), (fields, forms), reader)?;
        self.plain.push(((database, table), name.clone()));
        Ok(Look::Change { schema: name, envelope })
    }

    fn know(
        &self,
        name: &str,
        key: Option<&[u8]>,
        (database, table): (String, String),
        (fields, forms): (Vec<Field>, Vec<Form>),
        reader: &mut Reader,
    ) -> Result<(), String> {
        let full = format!("{database}.{table}");
        let of_key = key.map(names).unwrap_or_default();
        let position = |name: &String| fields.iter().position(|field| field.name == *name);
        let primary_key = match self.settings.schemas.iter().find(|schema| schema.name == full) {
            Some(schema) => schema.primary_key.clone(),
            // A key with a column that no row has says nothing.
            None => of_key.iter().map(position).collect::<Option<Vec<_>>>().unwrap_or_default(),
        };
        let schema = Arc::new(TableSchema { name: full, fields, primary_key });
        if self.partitions > 1 {
            let keys = (self.settings.entity_key)(std::slice::from_ref(&schema))?;
            let entity: Vec<&str> = keys.iter().flatten().map(|&column| schema.fields[column].name.as_str()).collect();
            let fits = entity.len() == of_key.len() && entity.iter().all(|name| of_key.iter().any(|of| of == name));
            if !fits {
                return Err(self.unordered(&format!(
                    "its key is ({}), and the rule tells entities by ({})",
                    of_key.join(", "),
                    entity.join(", ")
                )));
            }
        }
        // Without a schema of its own a message may have columns that were not there when theirs were written down.
        reader.know_schema(name, schema, forms, name.starts_with(PLAIN));
        Ok(())
    }

    fn unordered(&self, why: &str) -> String {
        format!(
            "{why}: the topic has {} partitions, so an entity's changes lie in several of them, whose order is not the source's, and \
             no repartitioning brings it back. Have the topic written anew with one partition, or under the rule's key \
             (Debezium: message.key.columns)",
            self.partitions
        )
    }

    /// Whose change an envelope is.
    fn table(&self, envelope: &[u8]) -> Result<(String, String), String> {
        let (mut database, mut table) = (String::new(), String::new());
        let mut scanner = Scanner::new(envelope).map_err(|fault| fault.to_string())?;
        let mut escaped = String::new();
        let found = scanner.object(|scanner, name| {
            if name != "source" || scanner.peek() != Some(b'{') {
                return scanner.skip();
            }
            scanner.object(|scanner, name| {
                let to = match name {
                    "db" => &mut database,
                    "table" => &mut table,
                    _ => return scanner.skip(),
                };
                value::text(scanner, &mut escaped)?.clone_into(to);
                Ok(())
            })
        });
        found.map_err(|fault| fault.to_string())?;
        if table.is_empty() {
            return Err(
                "it is no change event: it has no source with db and table. A topic of rows alone (Debezium's \
                        ExtractNewRecordState) cannot be followed: have whole envelopes written"
                    .into(),
            );
        }
        if !(self.settings.tables)(&database, &table) {
            return Err(format!("it is a change of {database}.{table}, which source.tables does not name"));
        }
        Ok((database, table))
    }
}

/// The columns of a message's key, which is an object or has one beside its schema.
fn names(key: &[u8]) -> Vec<String> {
    let Ok(serde_json::Value::Object(mut key)) = serde_json::from_slice(key) else { return Vec::new() };
    if let (true, Some(payload)) = (key.contains_key("schema"), key.remove("payload")) {
        return payload.as_object().map(|payload| payload.keys().cloned().collect()).unwrap_or_default();
    }
    key.into_iter().map(|(name, _)| name).collect()
}

/// What to write, for a message without a schema: a type for each of its columns, as far as a value shows one.
fn missing(envelope: &[u8]) -> String {
    let envelope: serde_json::Value = serde_json::from_slice(envelope).unwrap_or_default();
    let row = ["after", "before"].iter().find_map(|image| envelope[*image].as_object());
    let lines = row.into_iter().flatten().map(|(name, value)| {
        let guess = match value {
            serde_json::Value::Number(number) if number.is_f64() => "double",
            // Milliseconds or microseconds of this century.
            serde_json::Value::Number(number) => match number.as_i64().unwrap_or(0) {
                946_684_800_000..4_102_444_800_000 => "datetime(3)",
                946_684_800_000_000..4_102_444_800_000_000 => "datetime(6)",
                _ => "bigint",
            },
            serde_json::Value::Bool(_) => "boolean",
            serde_json::Value::Object(_) => "geometry",
            _ => "text",
        };
        let is_bare = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        let name = if is_bare { name.clone() } else { serde_json::Value::from(name.as_str()).to_string() };
        let shown: String = value.to_string().chars().take(40).collect();
        format!("{name} = \"{guess}\"   # {shown}\n")
    });
    format!(
        "the message has no schema, and nothing else says what its columns are. Write them, each with the type that SHOW CREATE \
         TABLE says (these are guesses by one row):\n\n[topic.columns]\n{}\nor name the server in source.url, or have messages \
         written with their schema (value.converter.schemas.enable=true)",
        lines.collect::<String>()
    )
}
