//! A load as SQL for the `mysql` client: few statements, several in a packet.

use std::io::{self, Write};

use super::{Load, NOT_NULL, SCHEMA, SECOND_US, Statement, Transaction, id};
use crate::mysql::Mysql;
use crate::oracle::Row;
use crate::wall_clock;

/// So much SQL goes to the server at once: a round trip a statement would be most of the time.
const PACKET_BYTES: usize = 48 << 10;

impl Load {
    /// The SQL that makes exactly this load of an empty table, for the `mysql` client.
    pub fn write_sql(&self, out: &mut dyn Write) -> io::Result<()> {
        write_transactions(self.transactions(), out)
    }
}

/// The SQL of some transactions, to follow those that were written before them.
pub fn write_transactions(
    transactions: impl IntoIterator<Item = impl std::borrow::Borrow<Transaction>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "USE shop;\nDELIMITER $$")?;
    let mut packet = String::new();
    for transaction in transactions {
        transaction.borrow().write_sql(&mut packet);
        if packet.len() > PACKET_BYTES {
            writeln!(out, "{packet}$$")?;
            packet.clear();
        }
    }
    writeln!(out, "{packet}DO 0;$$\nDELIMITER ;")
}

/// A server with the reference table, and an account that reads it.
#[track_caller]
pub fn served() -> Mysql {
    let server = Mysql::start(&[]);
    server.sql(SCHEMA);
    server.add_reader();
    server
}

/// Makes these transactions on a server, behind those that were made before.
#[track_caller]
pub fn play(server: &Mysql, transactions: &[Transaction]) {
    server
        .feed(|client| write_transactions(transactions, client))
        .unwrap_or_else(|error| panic!("play the load: {error}"));
}

impl Transaction {
    fn write_sql(&self, out: &mut String) {
        let (seconds, micros) = (self.commit_us / SECOND_US, self.commit_us % SECOND_US);
        *out += &format!(
            "SET timestamp = {seconds}.{micros:06}, SESSION original_commit_timestamp = {};\nBEGIN;\n",
            self.commit_us
        );
        for statement in &self.statements {
            statement.write_sql(out);
        }
        *out += "COMMIT;\n";
    }
}

impl Statement {
    fn write_sql(&self, out: &mut String) {
        match self {
            Statement::Insert(rows) => {
                *out += "INSERT INTO item_assets VALUES ";
                list(out, rows.iter(), tuple);
            }
            // Rows that are all there: the server logs updates, in this order.
            Statement::Update(rows) => {
                *out += "INSERT INTO item_assets VALUES ";
                list(out, rows.iter(), |out, (_, new)| tuple(out, new));
                *out += " AS n ON DUPLICATE KEY UPDATE owner_id = n.owner_id, asset_info = n.asset_info, registered_at = n.registered_at";
            }
            Statement::Rekey(old, new) => {
                *out += &format!("UPDATE item_assets SET id = {}, owner_id = {}, asset_info = ", id(new), owner(new));
                literal(out, new.info.as_deref().unwrap_or_default());
                *out += &format!(", registered_at = '{}' WHERE id = {}", registered(new), id(old));
            }
            Statement::Delete(rows) => {
                *out += "DELETE FROM item_assets WHERE id IN (";
                list(out, rows.iter(), |out, row| *out += &id(row).to_string());
                *out += ") ORDER BY id";
            }
        }
        *out += ";\n";
    }
}

fn list<T>(out: &mut String, items: impl Iterator<Item = T>, write: impl Fn(&mut String, T)) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(',');
        }
        write(out, item);
    }
}

fn tuple(out: &mut String, row: &Row) {
    *out += &format!("({},{},", id(row), owner(row));
    literal(out, row.info.as_deref().unwrap_or_default());
    *out += &format!(",'{}')", registered(row));
}

fn literal(out: &mut String, text: &str) {
    out.push('\'');
    for c in text.chars() {
        if matches!(c, '\'' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('\'');
}

fn owner(row: &Row) -> i64 {
    row.owner.expect(NOT_NULL)
}

fn registered(row: &Row) -> String {
    wall_clock::text(row.registered_us.expect(NOT_NULL))
}
