//! Which dead letters came or went since the topic of dead letters was told of it: noted in the transaction in which they do.
//!
//! Of a pipeline with lanes only: without a topic there is nobody to tell.

use rusqlite::{Connection, OptionalExtension, params};

use super::letters::{COLUMNS, DeadLetters, MINE, kept};
use crate::sink::{Kept, SinkError};

pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS hindsight_dead_letters_untold (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,      -- never the same again
    pipeline TEXT NOT NULL,                     -- a lane
    n INTEGER NOT NULL
);";

pub fn note(connection: &Connection, lane: &str, n: i64) -> rusqlite::Result<()> {
    if is_lane(lane) {
        let text = "INSERT INTO hindsight_dead_letters_untold (pipeline, n) VALUES (?, ?)";
        connection.prepare_cached(text)?.execute(params![lane, n])?;
    }
    Ok(())
}

/// All that are there, before they go.
pub fn note_all(connection: &Connection, lane: &str) -> rusqlite::Result<()> {
    if is_lane(lane) {
        let text = "INSERT INTO hindsight_dead_letters_untold (pipeline, n)
                    SELECT pipeline, n FROM hindsight_dead_letters WHERE pipeline = ? ORDER BY n";
        connection.execute(text, [lane])?;
    }
    Ok(())
}

/// A pipeline's own name has no stroke.
fn is_lane(name: &str) -> bool {
    name.contains('/')
}

/// What a topic has to be told.
pub struct Untold {
    /// Lane, number, and the letter where it is still there; each once.
    pub letters: Vec<(String, i64, Option<Kept>)>,
    /// Behind the last note.
    up_to: i64,
}

impl DeadLetters {
    /// Whether there is anything to tell.
    pub fn has_untold(&self) -> Result<bool, SinkError> {
        let text = format!("SELECT EXISTS (SELECT 1 FROM hindsight_dead_letters_untold WHERE {MINE})");
        let found = self.connection.query_row(&text, [&self.pipeline], |row| row.get(0));
        found.map_err(|error| self.failed("read", error))
    }

    /// The oldest notes, at most so many, as one moment shows their letters.
    pub fn untold(&self, n_max: usize) -> Result<Untold, SinkError> {
        self.read_untold(n_max).map_err(|error| self.failed("read", error))
    }

    fn read_untold(&self, n_max: usize) -> rusqlite::Result<Untold> {
        let moment = self.connection.unchecked_transaction()?;
        let text =
            format!("SELECT seq, pipeline, n FROM hindsight_dead_letters_untold WHERE {MINE} ORDER BY seq LIMIT ?2");
        let mut select = moment.prepare_cached(&text)?;
        let notes = select.query_map(params![self.pipeline, n_max as i64], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
        })?;
        let text = format!(
            "SELECT {COLUMNS} FROM hindsight_dead_letters AS letter JOIN hindsight_dead_letter_schemas ON hash = letter.schema
             WHERE pipeline = ? AND letter.n = ?"
        );
        let mut find = moment.prepare_cached(&text)?;
        let mut untold = Untold { letters: Vec::new(), up_to: 0 };
        for note in notes {
            let (seq, lane, n) = note?;
            untold.up_to = seq;
            if !untold.letters.iter().any(|(known, number, _)| *known == lane && *number == n) {
                let letter = find.query_row(params![lane, n], kept).optional()?;
                untold.letters.push((lane, n, letter));
            }
        }
        Ok(untold)
    }

    /// These were told.
    pub fn told(&self, untold: &Untold) -> Result<(), SinkError> {
        let text = format!("DELETE FROM hindsight_dead_letters_untold WHERE {MINE} AND seq <= ?2");
        let deleted = self.connection.execute(&text, params![self.pipeline, untold.up_to]);
        deleted.map(drop).map_err(|error| self.failed("write", error))
    }
}
