//! `${env:NAME}` and `${file:PATH}` inside strings, so that secrets stay out of the file. `$${` is a plain `${`.

use std::path::Path;

use crate::document::{Fault, Faults, Node, NodeValue, Table, Text};

/// What substitution may look at.
pub struct Outside<'a> {
    /// Where relative paths start.
    pub folder: &'a Path,
    pub env: &'a dyn Fn(&str) -> Option<String>,
}

/// Replaces in every string of the table; a name that cannot be replaced is a fault.
pub fn substitute(table: &mut Table, outside: &Outside<'_>, faults: &mut Faults) {
    for entry in &mut table.entries {
        in_node(&mut entry.node, &entry.key, outside, faults);
    }
}

fn in_node(node: &mut Node, key: &str, outside: &Outside<'_>, faults: &mut Faults) {
    match &mut node.value {
        NodeValue::Text(text) if text.value.contains("${") => match in_text(&text.value, outside) {
            Ok(value) => *text = Text { typed: Some(std::mem::take(&mut text.value)), value },
            Err(Unknown { message, help }) => {
                faults
                    .push(Fault::new(node.span.clone(), format!("`{key}`: {message}")).label("needed here").help(help));
            }
        },
        NodeValue::Array(items) => items.iter_mut().for_each(|item| in_node(item, key, outside, faults)),
        NodeValue::Table(table) => substitute(table, outside, faults),
        _ => {}
    }
}

struct Unknown {
    message: String,
    help: String,
}

fn in_text(text: &str, outside: &Outside<'_>) -> Result<String, Unknown> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            out.push_str(&rest[..at]);
            out.push('{');
            rest = &rest[at + 2..];
            continue;
        }
        out.push_str(&rest[..at]);
        let inner = &rest[at + 2..];
        let end = inner.find('}').ok_or_else(|| Unknown {
            message: "`${` without its `}`".into(),
            help: "write ${env:NAME} or ${file:PATH}; for a plain `${` write `$${`".into(),
        })?;
        out.push_str(&one(&inner[..end], outside)?);
        rest = &inner[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn one(reference: &str, outside: &Outside<'_>) -> Result<String, Unknown> {
    match reference.split_once(':') {
        Some(("env", name)) => (outside.env)(name).ok_or_else(|| Unknown {
            message: format!("the environment variable {name} is not set"),
            help: format!("set it before the start: export {name}=…"),
        }),
        Some(("file", path)) => {
            let path = outside.folder.join(path);
            let text = std::fs::read_to_string(&path).map_err(|error| Unknown {
                message: format!("read {}: {error}", path.display()),
                help: "the path starts in the folder of the configuration file".into(),
            })?;
            // Editors end a file with a newline that is no part of the secret.
            Ok(text.trim_end_matches(['\n', '\r']).to_owned())
        }
        _ => Err(Unknown {
            message: format!("${{{reference}}} is not known"),
            help: "write ${env:NAME} or ${file:PATH}; for a plain `${` write `$${`".into(),
        }),
    }
}
