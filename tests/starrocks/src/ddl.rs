//! Statements that change the catalog: at once, at every FE.

use std::sync::Arc;

use crate::catalog::{Database, Table};
use crate::sql::{Tokens, create_table, table_name, tokens};
use crate::stand::Stand;

/// Runs one; the error is a MySQL error's text. `current`: the session's database.
pub fn run(stand: &Stand, current: Option<&str>, text: &str) -> Result<(), String> {
    let found = tokens(text)?;
    let mut tokens = Tokens::new(&found);
    if tokens.words("CREATE DATABASE") {
        let if_not_exists = tokens.words("IF NOT EXISTS");
        let name = tokens.name().ok_or("a database's name is missing")?;
        let exists = stand.look(|cluster| cluster.databases.contains_key(&name));
        return match (exists, if_not_exists) {
            (true, true) => Ok(()),
            (true, false) => Err(format!("Can't create database '{name}'; database exists")),
            (false, _) => create_database(stand, &name),
        };
    }
    if tokens.words("CREATE TABLE") {
        let if_not_exists = tokens.words("IF NOT EXISTS");
        let (database, name) = named(&mut tokens, current)?;
        let table = create_table(&mut tokens, name.clone())?;
        return add_table(stand, &database, table, if_not_exists);
    }
    if tokens.words("DROP DATABASE") {
        let if_exists = tokens.words("IF EXISTS");
        let name = tokens.name().ok_or("a database's name is missing")?;
        let dropped = stand.update(|cluster| {
            cluster.transactions.remove(&name);
            cluster.databases.remove(&name)
        });
        stand.views.iter().for_each(|view| view.drop_database(&name));
        return if dropped.is_some() || if_exists {
            Ok(())
        } else {
            Err(format!("Can't drop database '{name}'; database doesn't exist"))
        };
    }
    if tokens.words("DROP TABLE") {
        let if_exists = tokens.words("IF EXISTS");
        let (database, name) = named(&mut tokens, current)?;
        let dropped = stand.update(|cluster| cluster.databases.get_mut(&database)?.tables.remove(&name));
        return match dropped {
            Some(table) => at_every_view(stand, |view| view.drop_table(&table)),
            None if if_exists => Ok(()),
            None => Err(format!("Unknown table '{database}.{name}'")),
        };
    }
    if tokens.words("TRUNCATE TABLE") {
        let (database, name) = named(&mut tokens, current)?;
        let table = table(stand, &database, &name)?;
        return at_every_view(stand, |view| view.truncate(&table));
    }
    Err("no statement of the catalog".into())
}

/// `db.table`, with the session's database where none is said.
pub fn named(tokens: &mut Tokens<'_>, current: Option<&str>) -> Result<(String, String), String> {
    let (database, name) = table_name(tokens).ok_or("a table's name is missing")?;
    let database = database.or_else(|| current.map(str::to_owned)).ok_or("No database selected")?;
    Ok((database, name))
}

pub fn table(stand: &Stand, database: &str, name: &str) -> Result<Arc<Table>, String> {
    stand.look(|cluster| {
        let known = cluster.databases.get(database).ok_or_else(|| format!("Unknown database '{database}'"))?;
        known.tables.get(name).cloned().ok_or_else(|| format!("Unknown table '{database}.{name}'"))
    })
}

pub fn create_database(stand: &Stand, name: &str) -> Result<(), String> {
    at_every_view(stand, |view| view.create_database(name))?;
    stand.update(|cluster| {
        let id = cluster.new_id();
        cluster.databases.insert(name.to_owned(), Database { id, ..Database::default() });
        cluster.transactions.entry(name.to_owned()).or_default();
    });
    Ok(())
}

fn add_table(stand: &Stand, database: &str, new: crate::catalog::NewTable, if_not_exists: bool) -> Result<(), String> {
    let name = new.name.clone();
    let known = stand.update(|cluster| {
        let id = cluster.new_id();
        let known = cluster.databases.get(database).ok_or_else(|| format!("Unknown database '{database}'"))?;
        if known.tables.contains_key(&name) {
            return Ok(None);
        }
        Ok::<_, String>(Some(Table::new(id, database, new)))
    })?;
    let Some(table) = known else {
        return if if_not_exists { Ok(()) } else { Err(format!("Table '{name}' already exists")) };
    };
    at_every_view(stand, |view| view.create_table(&table))?;
    stand.update(|cluster| {
        if let Some(database) = cluster.databases.get_mut(database) {
            database.tables.insert(name, Arc::new(table));
        }
    });
    Ok(())
}

fn at_every_view(stand: &Stand, change: impl Fn(&crate::view::View) -> anyhow::Result<()>) -> Result<(), String> {
    stand.views.iter().try_for_each(change).map_err(|error| format!("{error:#}"))
}
