//! A table's schema as the side topic holds it, under its content's hash, for whoever reads messages without one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::event::{Field, Logical, TableSchema};

/// The form's version.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    v: u32,
    /// `database.table`
    table: String,
    columns: Vec<Column>,
    /// Names, in key order.
    primary_key: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Column {
    name: String,
    /// In MySQL's words.
    declared: String,
    /// What it means, in the words of the contract with a rule.
    logical: String,
    nullable: bool,
}

/// A schema's text, and the hash of it by which messages name it: 16 hexadecimal digits.
pub fn document(schema: &TableSchema) -> (String, String) {
    let column = |field: &Field| Column {
        name: field.name.clone(),
        declared: field.declared.clone(),
        logical: field.logical.name().to_owned(),
        nullable: field.nullable,
    };
    let document = Document {
        v: VERSION,
        table: schema.name.clone(),
        columns: schema.fields.iter().map(column).collect(),
        primary_key: schema.primary_key.iter().map(|&column| schema.fields[column].name.clone()).collect(),
    };
    let text = serde_json::to_string(&document).expect("a schema is plain data");
    let digest = Sha256::digest(text.as_bytes());
    let hash = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    (hash, text)
}

/// The schema of a text that [`document`] wrote.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &[u8]) -> Result<Arc<TableSchema>, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if document.v != VERSION {
        return Err(format!("it has version {}, and this program knows version {VERSION}", document.v));
    }
    let field = |column: Column| {
        let logical = Logical::ALL.into_iter().find(|logical| logical.name() == column.logical);
        let logical =
            logical.ok_or_else(|| format!("column {} is {:?}, which is not known", column.name, column.logical))?;
        Ok(Field { name: column.name, declared: column.declared, logical, nullable: column.nullable })
    };
    let fields = document.columns.into_iter().map(field).collect::<Result<Vec<_>, String>>()?;
    let position = |name: &String| {
        fields.iter().position(|field| field.name == *name).ok_or_else(|| format!("there is no column {name} in it"))
    };
    let primary_key = document.primary_key.iter().map(position).collect::<Result<_, _>>()?;
    Ok(Arc::new(TableSchema { name: document.table, fields, primary_key }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_reads_back_and_another_one_has_another_hash() {
        let field = |name: &str, logical, declared: &str| Field {
            name: name.into(),
            logical,
            nullable: true,
            declared: declared.into(),
        };
        let fields = vec![
            field("id", Logical::UInt64, "int unsigned"),
            field("état", Logical::Text, "enum('a','b\"')"),
            field("at", Logical::Datetime, "datetime(3)"),
        ];
        let schema = TableSchema { name: "shop.a".into(), fields, primary_key: vec![2, 0] };
        let (hash, text) = document(&schema);
        assert_eq!(hash.len(), 16);
        assert_eq!(*read(text.as_bytes()).unwrap(), schema);
        assert_ne!(document(&TableSchema { primary_key: vec![0, 2], ..schema }).0, hash);
        assert!(read(text.replace("uint64", "int65").as_bytes()).unwrap_err().contains("int65"));
        assert!(read(text.replace("\"v\":1", "\"v\":2").as_bytes()).unwrap_err().contains("version 2"));
    }
}
