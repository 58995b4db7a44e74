//! A table's schema as the side topic holds it, under its content's hash, for whoever reads messages without one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::envelope::{Decimals, Forms, Times};
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
    /// How values are written, where that is not the usual form.
    #[serde(skip_serializing_if = "Option::is_none")]
    decimals: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<String>,
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
pub fn document(schema: &TableSchema, forms: Forms) -> (String, String) {
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
        decimals: (forms.decimals != Decimals::default()).then(|| forms.decimals.name().to_owned()),
        times: (forms.times != Times::default()).then(|| forms.times.name().to_owned()),
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
pub fn read(text: &[u8]) -> Result<(Arc<TableSchema>, Forms), String> {
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
    let unknown = |what: &str, word: &str| format!("{what} {word:?} is not known");
    let decimals = document
        .decimals
        .as_deref()
        .map_or(Ok(Decimals::default()), |word| Decimals::of(word).ok_or_else(|| unknown("decimals", word)))?;
    let times = document
        .times
        .as_deref()
        .map_or(Ok(Times::default()), |word| Times::of(word).ok_or_else(|| unknown("times", word)))?;
    Ok((Arc::new(TableSchema { name: document.table, fields, primary_key }), Forms { decimals, times }))
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
        let (hash, text) = document(&schema, Forms::default());
        assert_eq!(hash.len(), 16);
        assert_eq!(
            read(text.as_bytes()).map(|(schema, forms)| ((*schema).clone(), forms)),
            Ok((schema.clone(), Forms::default()))
        );
        let forms = Forms { decimals: Decimals::String, times: Times::Iso };
        let (of_forms, text_of_forms) = document(&schema, forms);
        assert_ne!(of_forms, hash);
        assert_eq!(read(text_of_forms.as_bytes()).unwrap().1, forms);
        assert_ne!(document(&TableSchema { primary_key: vec![0, 2], ..schema }, Forms::default()).0, hash);
        assert!(read(text.replace("uint64", "int65").as_bytes()).unwrap_err().contains("int65"));
        assert!(read(text.replace("\"v\":1", "\"v\":2").as_bytes()).unwrap_err().contains("version 2"));
    }
}
