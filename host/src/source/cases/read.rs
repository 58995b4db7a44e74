//! The parts of a case file, key by key, into what a [`Case`](super::Case) holds. A fault never ends the reading.

use super::values::{Reading, read_row};
use super::{CaseChange, ExpectedReject};
use crate::civil;
use crate::document::{Entry, Fault, Faults, Keys, Node, NodeValue, OneText, Table};
use crate::event::{Field, Op, TableSchema};
use crate::source::declared;

pub fn settings(table: &Table, keys: &mut Keys<'_, '_>) -> Vec<(String, String)> {
    let mut settings = Vec::new();
    for Entry { key, node, .. } in &table.entries {
        let text = match &node.value {
            NodeValue::Text(text) => text.value.clone(),
            NodeValue::Integer(number) => number.to_string(),
            NodeValue::Float(number) => number.to_string(),
            NodeValue::Boolean(flag) => flag.to_string(),
            _ => {
                keys.wrong_type::<()>(key, node, "a string, a number or a boolean");
                continue;
            }
        };
        settings.push((key.clone(), text));
    }
    settings
}

pub fn tables(root: &mut Keys<'_, '_>) -> Vec<TableSchema> {
    let nodes: Vec<&Node> = match root.get("table") {
        None => return vec![default_table()],
        Some(Node { value: NodeValue::Array(items), .. }) => items.iter().collect(),
        Some(node) => vec![node],
    };
    let mut tables: Vec<TableSchema> = Vec::new();
    for node in nodes {
        let NodeValue::Table(table) = &node.value else {
            root.wrong_type::<()>("table", node, "a table, or several as [[table]]");
            continue;
        };
        let mut keys = Keys::new(table, "the table", root.faults);
        let name = keys.require_text("name", "name = \"item_assets\"").map(|(text, _)| text.value.clone());
        let mut fields = columns(&mut keys);
        let primary_key = primary_key(&mut keys, &fields);
        primary_key.iter().for_each(|&column| fields[column].nullable = false);
        keys.end();
        let name = name.unwrap_or_default();
        if tables.iter().any(|table| table.name == name) {
            root.faults.push(Fault::new(node.span.clone(), format!("the table {name:?} is there twice")));
        }
        tables.push(TableSchema { name, fields, primary_key });
    }
    tables
}

/// The reference pipeline's source table.
pub fn default_table() -> TableSchema {
    let columns = [("id", "int"), ("owner_id", "int"), ("asset_info", "varchar(255)"), ("registered_at", "datetime")];
    let field = |(name, declared): (&str, &str)| Field {
        name: name.to_owned(),
        logical: declared::parse(declared).expect("the types above are known"),
        nullable: name != "id",
        declared: declared.to_owned(),
    };
    TableSchema { name: "item_assets".into(), fields: columns.map(field).into(), primary_key: vec![0] }
}

fn columns(keys: &mut Keys<'_, '_>) -> Vec<Field> {
    keys.require("columns", "columns = { id = \"int\", owner_id = \"int\" }");
    let Some(columns) = keys.table("columns") else { return Vec::new() };
    let mut fields = Vec::new();
    for Entry { key, node, .. } in &columns.entries {
        let NodeValue::Text(declared) = &node.value else {
            keys.wrong_type::<()>(key, node, "a column's type as a string");
            continue;
        };
        match declared::parse(&declared.value) {
            Ok(logical) => {
                fields.push(Field { name: key.clone(), logical, nullable: true, declared: declared.value.clone() })
            }
            Err(wrong) => keys.faults.push(Fault::new(node.span.clone(), wrong)),
        }
    }
    fields
}

fn primary_key(keys: &mut Keys<'_, '_>, fields: &[Field]) -> Vec<usize> {
    let mut positions = Vec::new();
    for (text, node) in keys.texts("primary-key", OneText::IsRefused).unwrap_or_default() {
        match fields.iter().position(|field| field.name == text.value) {
            Some(position) => positions.push(position),
            None => {
                let fault = Fault::new(node.span.clone(), format!("the primary key's {text:?} is not a column"));
                keys.faults.push(fault);
            }
        }
    }
    positions
}

/// A list of tables, each a row; its columns are read later.
pub fn rows(keys: &mut Keys<'_, '_>, key: &'static str) -> Vec<Node> {
    let Some(node) = keys.get(key) else { return Vec::new() };
    let NodeValue::Array(items) = &node.value else {
        keys.wrong_type::<()>(key, node, "a list of rows");
        return Vec::new();
    };
    for item in items {
        if !matches!(item.value, NodeValue::Table(_)) {
            keys.wrong_type::<()>(key, item, "a row: { column = value, … }");
        }
    }
    items.iter().filter(|item| matches!(item.value, NodeValue::Table(_))).cloned().collect()
}

pub fn changes(root: &mut Keys<'_, '_>, tables: &[TableSchema]) -> Vec<CaseChange> {
    let mut changes = Vec::new();
    for (number, node) in rows(root, "change").iter().enumerate() {
        let NodeValue::Table(table) = &node.value else { unreachable!("only tables were kept") };
        let mut keys = Keys::new(table, format!("change {number}"), root.faults);
        changes.extend(change(&mut keys, tables));
        keys.end();
    }
    changes
}

fn change(keys: &mut Keys<'_, '_>, tables: &[TableSchema]) -> Option<CaseChange> {
    let table = match keys.text("table") {
        Some((text, node)) => match tables.iter().position(|table| table.name == text.value) {
            Some(position) => position,
            None => {
                let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
                let fault = Fault::new(node.span.clone(), format!("{}: there is no table {text:?}", keys.place()))
                    .help(format!("the case has {}", names.join(", ")));
                keys.faults.push(fault);
                return None;
            }
        },
        None if tables.len() > 1 => {
            keys.require("table", "the case has several tables: table = \"…\" says which one changed");
            return None;
        }
        None => 0,
    };
    keys.require("op", "op is \"c\", \"u\", \"d\", or \"r\" for a row of the first snapshot");
    let op = keys.word("op", &["c", "u", "d", "r"]).map(|(letter, _)| match letter {
        "c" => Op::Create,
        "u" => Op::Update,
        "d" => Op::Delete,
        _ => Op::Read,
    });
    let time_us = source_time(keys);
    let fields: Vec<&Field> = tables.get(table)?.fields.iter().collect();
    let mut image = |side: &'static str| {
        let table = keys.table(side)?;
        let place = format!("{} {side}", keys.place());
        Some(read_row(table, &fields, &place, Reading::Image, keys.faults))
    };
    let (before, after) = (image("before"), image("after"));
    let op = op?;
    let (wants_before, wants_after) = (matches!(op, Op::Update | Op::Delete), op != Op::Delete);
    for (side, is_there, is_wanted) in
        [("before", before.is_some(), wants_before), ("after", after.is_some(), wants_after)]
    {
        if is_there != is_wanted {
            let (has, needs) = if is_wanted { ("lacks its", "needs one") } else { ("has a", "takes none") };
            let message = format!("{} {has} `{side}` image; op \"{}\" {needs}", keys.place(), op.letter());
            let span = keys.get(side).map_or(keys.heading(), |node| node.span.clone());
            keys.faults.push(Fault::new(span, message));
        }
    }
    Some(CaseChange { table, op, time_us: time_us?, before, after })
}

fn source_time(keys: &mut Keys<'_, '_>) -> Option<i64> {
    let help = "the change's time in the source: ts = \"2025-02-01 00:00:00.250\"";
    let node = keys.require("ts", help)?;
    let text = match &node.value {
        NodeValue::Text(text) => &text.value,
        NodeValue::Time(text) => text,
        _ => return keys.wrong_type("ts", node, "a time"),
    };
    let time = civil::parse_datetime(text);
    if time.is_none() {
        let message = format!("`ts` of {} is no wall clock time: {text:?}", keys.place());
        keys.faults.push(Fault::new(node.span.clone(), message).help(help));
    }
    time
}

pub fn expectation(table: &Table, n_changes: usize, faults: &mut Faults) -> (Vec<Node>, Vec<ExpectedReject>) {
    let mut keys = Keys::new(table, "[expect]", faults);
    keys.require("history", "history = [ … ]: the whole table after the changes, [] when it is empty");
    let history = rows(&mut keys, "history");
    let mut rejects = Vec::new();
    for node in rows(&mut keys, "rejects") {
        let NodeValue::Table(table) = &node.value else { unreachable!("only tables were kept") };
        let mut reject = Keys::new(table, "the reject", keys.faults);
        let change = reject.require("change", "the rejected change's place in the file, from 0");
        let reason = reject.text("reason").map(|(text, _)| text.value.clone()).filter(|reason| reason != "*");
        match change.map(|node| (&node.value, node)) {
            Some((NodeValue::Integer(number), _)) if (0..n_changes as i128).contains(number) => {
                rejects.push(ExpectedReject { change: *number as usize, reason });
            }
            Some((NodeValue::Integer(number), node)) => {
                let message = format!("there is no change {number}: the case has {n_changes}, counted from 0");
                reject.faults.push(Fault::new(node.span.clone(), message));
            }
            Some((_, node)) => {
                reject.wrong_type::<()>("change", node, "an integer");
            }
            None => {}
        }
        reject.end();
    }
    keys.end();
    (history, rejects)
}
