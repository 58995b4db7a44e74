//! Keys of rows from the log, in the order of their index: texts by the weight that the server gives them.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row as Sent, Value as SentValue};
use rustc_hash::FxHashMap;

use super::key::{Key, Part};
use super::statements;
use super::tables::Collation;
use crate::rows::{Row, Value};
use crate::source::mysql::connect::{Server, Unusable};

/// Texts asked about in one statement.
const ASKED_MAX: usize = 500;

/// Weights that are remembered; then all are forgotten.
const KNOWN_MAX: usize = 200_000;

/// What the server has said so far.
#[derive(Default)]
pub struct Weights {
    conn: Option<Conn>,
    /// By collation and text.
    known: FxHashMap<String, FxHashMap<Box<str>, Box<[u8]>>>,
}

/// The columns of a key in some rows, and how the server compares them.
#[derive(Clone, Copy)]
pub struct KeyColumns<'a> {
    pub columns: &'a [usize],
    /// One for each of the columns; none where it holds no text.
    pub collations: &'a [Option<Collation>],
}

impl Weights {
    /// Asks for what is not known yet of these rows' keys.
    ///
    /// # Errors
    /// The connection's.
    pub async fn learn(&mut self, server: &Server, rows: &[Row<'_>], key: KeyColumns<'_>) -> Result<(), Unusable> {
        for (&column, collation) in key.columns.iter().zip(key.collations) {
            let Some(collation) = collation else { continue };
            let known = self.known.entry(collation.name.clone()).or_default();
            if known.len() > KNOWN_MAX {
                known.clear();
            }
            let mut texts: Vec<&str> = Vec::new();
            for row in rows {
                if let Value::Text(text) = row.get(column)
                    && !known.contains_key(text)
                {
                    texts.push(text);
                }
            }
            texts.sort_unstable();
            texts.dedup();
            for some in texts.chunks(ASKED_MAX) {
                let weights = ask(server, &mut self.conn, some, collation).await?;
                let known = self.known.get_mut(&collation.name).expect("made above");
                known.extend(some.iter().map(|&text| Box::from(text)).zip(weights));
            }
        }
        Ok(())
    }

    /// A row's key; none where a value of it is not there or cannot be read. The row was learned.
    pub fn key(&self, row: Row<'_>, key: KeyColumns<'_>) -> Option<Key> {
        let parts = key.columns.iter().zip(key.collations).map(|(&column, collation)| {
            Some(match (row.get(column), collation) {
                (Value::Null, _) => Part::Null,
                (Value::Int(number), _) => Part::Int(number),
                (Value::UInt(number), _) => Part::UInt(number),
                (Value::Bytes(bytes), _) => Part::Bytes(bytes.into()),
                (Value::Text(text), Some(collation)) => {
                    let weight = self.known.get(&collation.name)?.get(text)?;
                    Part::Text { raw: text.into(), weight: weight.to_vec(), pad: collation.pad.clone() }
                }
                _ => return None,
            })
        });
        parts.collect::<Option<_>>().map(Key)
    }
}

async fn ask(
    server: &Server,
    conn: &mut Option<Conn>,
    texts: &[&str],
    collation: &Collation,
) -> Result<Vec<Box<[u8]>>, Unusable> {
    let mut asking = match conn.take() {
        Some(conn) => conn,
        None => server.connect().await?,
    };
    let statement = statements::weights(texts.iter().copied(), collation);
    let row: Option<Sent> = asking.query_first(statement).await.map_err(|error| server.unusable(&error))?;
    let weights: Option<Vec<Box<[u8]>>> = row.and_then(|row| {
        let one = |value| match value {
            SentValue::Bytes(weight) => Some(weight.into()),
            _ => None,
        };
        row.unwrap().into_iter().map(one).collect()
    });
    *conn = Some(asking);
    weights.filter(|weights| weights.len() == texts.len()).ok_or_else(|| {
        Unusable::Refused(format!("source {} gives no weights for texts of collation {}", server.name, collation.name))
    })
}
