//! Dead letters of a history in StarRocks, looked at and settled by commands beside the pipeline.
//!
//! Rows and letters are in two tables, which no transaction holds together. So a replay begins the rows' load, writes its label
//! beside the letters, sends the rows, and takes the letters away; the next one finds by the label what one that fell has left.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::body::Bytes;
use mysql_async::Row;
use serde_json::{Value, json};
use tracing::info;

use super::attempt::Outcome;
use super::cluster::Cluster;
use super::labels::Labels;
use super::letters::{self, COLUMNS, TABLE};
use super::load::{Loader, Target};
use super::reply::Reply;
use super::rows::RowWriter;
use super::{ddl, sql};
use crate::crash;
use crate::dead_letter::{Cause, DeadLetter, Schema};
use crate::event::Op;
use crate::groups::Moved;
use crate::history::{EntityRows, HistorySchema, Scope};
use crate::ledger::RuleVersion;
use crate::rows::Rows;
use crate::sink::{Chain, Kept, LetterBox, Settled, SinkError};

/// A pipeline's dead letters.
pub struct StarRocksLetters {
    cluster: Cluster,
    rows: Loader,
    letters: Loader,
    pipeline: String,
    table: String,
    sequence: Option<String>,
    labels: Labels,
    n_labels: u64,
    prepared: Option<(HistorySchema, RowWriter)>,
}

/// Tries of a load.
const TRIES_MAX: usize = 5;

impl StarRocksLetters {
    /// `target`: the history's table.
    pub fn new(cluster: Cluster, target: &Target, pipeline: &str) -> Self {
        let letters = Loader::new(Target { table: TABLE.into(), sequence: None, ..target.clone() });
        StarRocksLetters {
            cluster,
            rows: Loader::new(target.clone()),
            letters,
            pipeline: pipeline.to_owned(),
            table: target.table.clone(),
            sequence: target.sequence.clone(),
            labels: Labels::of_letters(pipeline),
            n_labels: 0,
            prepared: None,
        }
    }

    fn mine(&self) -> String {
        let pattern = format!("{}/%", self.pipeline.replace('_', "\\_"));
        // Without a topic it has no lanes.
        format!("(pipeline = {} OR pipeline LIKE {})", sql::text(&self.pipeline), sql::text(&pattern))
    }

    async fn select(&mut self, columns: &str, which: &str) -> Result<Vec<Row>, SinkError> {
        self.cluster.once(&format!("SELECT {columns} FROM {TABLE} WHERE {which}")).await
    }

    async fn kept(&mut self, which: &str) -> Result<Vec<Kept>, SinkError> {
        let columns: Vec<String> = COLUMNS.iter().map(|(name, _)| ddl::quote(name)).collect();
        let rows = self.select(&columns.join(", "), which).await?;
        rows.iter().map(kept).collect()
    }

    /// Loads a body that may be loaded twice.
    async fn load(&mut self, body: Bytes) -> Result<(), SinkError> {
        let mut why = String::new();
        for _ in 0..TRIES_MAX {
            let label = self.next_label();
            match self.letters.begin(&label).await {
                Reply::Done => {}
                reply => {
                    why = format!("{reply:?}");
                    continue;
                }
            }
            match self.letters.send(&label, body.clone()).await {
                Outcome::Applied => return Ok(()),
                outcome => why = format!("{outcome:?}"),
            }
        }
        Err(SinkError::Stop(format!("the dead letters in StarRocks cannot be written: {why}")))
    }

    fn next_label(&mut self) -> String {
        self.n_labels += 1;
        self.labels.next(self.n_labels)
    }

    async fn forget(&mut self, lane: &str, numbers: &[i64]) -> Result<(), SinkError> {
        self.load(letters::deletes(lane, numbers)).await
    }

    /// The letters of these numbers, which have to be there.
    async fn these(&mut self, lane: &str, numbers: &[i64]) -> Result<Vec<Kept>, SinkError> {
        let list: Vec<String> = numbers.iter().map(i64::to_string).collect();
        let which = format!("pipeline = {} AND n IN ({}) ORDER BY n", sql::text(lane), list.join(", "));
        let found = self.kept(&which).await?;
        if found.len() != numbers.len() {
            return Err(SinkError::Stop(format!(
                "dead letters of {lane} are gone: another command settles them. Nothing was written; look again with `hindsight \
                 dead-letters list`"
            )));
        }
        Ok(found)
    }

    /// What the rows' sequence column has to say, so that they replace what is there of their entities.
    async fn newest(&mut self, upserts: &Rows) -> Result<u64, SinkError> {
        let (Some(column), Some((history, _))) = (&self.sequence, &self.prepared) else { return Ok(0) };
        let mut keys = Rows::new(history.roles.entity_key.len());
        for row in upserts.iter() {
            keys.push_row(history.roles.entity_key.iter().map(|&column| row.get(column)));
        }
        let mut newest = 0;
        for question in sql::newest_questions(&self.table, column, history, &keys) {
            let rows = self.cluster.once(&question).await?;
            let found = rows.first().and_then(|row| sql::told(row, "newest").parse().ok());
            newest = newest.max(found.unwrap_or(0));
        }
        Ok(newest)
    }
}

#[async_trait::async_trait]
impl LetterBox for StarRocksLetters {
    async fn chains(&mut self) -> Result<Vec<Chain>, SinkError> {
        let which = format!("{} ORDER BY pipeline, n", self.mine());
        let rows = self.select("pipeline, n, entity, quarantines", &which).await?;
        // By lane and entity, or by number where nothing follows: the first number, and how many there are.
        let mut chains: BTreeMap<(String, String), (i64, u64)> = BTreeMap::new();
        for row in &rows {
            let (lane, n, entity) = (sql::told(row, "pipeline"), sql::told(row, "n"), sql::optional(row, "entity"));
            let number = n.parse().unwrap_or_default();
            let entity =
                entity.filter(|_| is_true(row, "quarantines")).map_or(format!("#{n}"), |entity| format!("={entity}"));
            chains.entry((lane, entity)).or_insert((number, 0)).1 += 1;
        }
        let mut found = Vec::new();
        for ((lane, _), (n, n_letters)) in chains {
            let first = self.these(&lane, &[n]).await?.remove(0);
            found.push(Chain { lane, n_letters, first });
        }
        found.sort_by(|one, other| {
            (&one.first.at, &one.lane, one.first.n).cmp(&(&other.first.at, &other.lane, other.first.n))
        });
        Ok(found)
    }

    async fn letters(&mut self, chain: &Chain, after: i64, n_max: usize) -> Result<Vec<Kept>, SinkError> {
        let which = match &chain.first.letter.entity {
            Some(entity) if chain.first.letter.quarantines => {
                format!("entity = {} AND quarantines = true", sql::text(entity))
            }
            _ => format!("n = {}", chain.first.n),
        };
        let lane = sql::text(&chain.lane);
        self.kept(&format!("pipeline = {lane} AND n > {after} AND {which} ORDER BY n LIMIT {n_max}")).await
    }

    async fn begin(&mut self) -> Result<(), SinkError> {
        let which = format!("{} AND replayed_by IS NOT NULL", self.mine());
        let mut by_label: BTreeMap<(String, String), Vec<i64>> = BTreeMap::new();
        for row in self.select("pipeline, n, replayed_by", &which).await? {
            let of = (sql::told(&row, "replayed_by"), sql::told(&row, "pipeline"));
            by_label.entry(of).or_default().extend(sql::told(&row, "n").parse::<i64>());
        }
        for ((label, lane), numbers) in by_label {
            match self.rows.settle(&label, true).await {
                Outcome::Applied => {
                    info!(label, "a replay that fell had written its rows: its letters go");
                    self.forget(&lane, &numbers).await?;
                }
                Outcome::Unknown(_) => {
                    return Err(SinkError::Stop(format!(
                        "a replay before has fallen while it wrote, and StarRocks has forgotten what became of its load {label}: are the \
                         entity's rows in {}? If they are, `hindsight dead-letters drop` these {} letters of {lane}; if not, UPDATE {TABLE} SET \
                         replayed_by = NULL WHERE replayed_by = '{label}'",
                        self.table,
                        numbers.len()
                    )));
                }
                // They are decided anew.
                _ => {}
            }
        }
        Ok(())
    }

    async fn active_rule(&mut self, _: &str) -> Result<Option<Arc<RuleVersion>>, SinkError> {
        Ok(None)
    }

    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        let sequence = self.sequence.clone();
        let columns = self.cluster.history_columns(&self.table, history, sequence.as_deref()).await?;
        self.prepared = Some((history.clone(), RowWriter::new(history, &columns, sequence.as_deref())));
        Ok(())
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        let (history, _) = self.prepared.as_ref().expect("prepare comes before entity_rows");
        self.cluster.entity_rows(&self.table, history, keys, scope, None).await
    }

    async fn settle(&mut self, settled: &Settled<'_>) -> Result<(), SinkError> {
        let Settled { lane, letters, upserts, deletes } = settled;
        let has_rows = !upserts.is_empty() || !deletes.is_empty();
        if letters.is_empty() && !has_rows {
            return Ok(());
        }
        let kept = self.these(lane, letters).await?;
        if !has_rows {
            return self.forget(lane, letters).await;
        }
        let sequence = self.newest(upserts).await?;
        let (_, writer) = self.prepared.as_ref().expect("prepare comes before rows");
        let mut body = Vec::new();
        let written = writer.write(&mut body, deletes, upserts, sequence);
        written.map_err(|misfit| SinkError::Stop(format!("{misfit}. Nothing was written")))?;
        let label = self.next_label();
        match self.rows.begin(&label).await {
            Reply::Done => {}
            reply => return Err(SinkError::Stop(format!("nothing was written: a load is not begun ({reply:?})"))),
        }
        let marked: Vec<Value> = kept.iter().map(|kept| object(kept, Some(&label))).collect();
        self.load(Value::from(marked).to_string().into()).await?;
        crash::point("letter-box.marked");
        match self.rows.send(&label, body.into()).await {
            Outcome::Applied => {}
            Outcome::Unknown(why) => {
                return Err(SinkError::Stop(format!("{why}: `hindsight dead-letters replay` again finds out more")));
            }
            outcome => return Err(SinkError::Stop(format!("nothing was written: {outcome:?}"))),
        }
        crash::point("letter-box.written");
        self.forget(lane, letters).await
    }
}

/// A letter as the table's row.
pub(super) fn object(kept: &Kept, replayed_by: Option<&str>) -> Value {
    let Kept { lane, n, letter, at } = kept;
    json!({
        "pipeline": lane,
        "n": n,
        "entity": letter.entity,
        "entity_key": &*letter.entity_key,
        "quarantines": letter.quarantines,
        "cause": letter.cause.name(),
        "reason": letter.reason,
        "op": letter.op.letter().to_string(),
        "side": letter.moved.side(),
        "place": letter.place,
        "rule": letter.rule,
        "schema_hash": letter.schema.hash,
        "schema_document": letter.schema.document,
        "event": letter.event,
        "at": at,
        "replayed_by": replayed_by,
    })
}

fn kept(row: &Row) -> Result<Kept, SinkError> {
    let text = |column: &str| sql::told(row, column);
    let unknown = |column: &str| {
        SinkError::Stop(format!("a dead letter's {column} {:?} is not known to this version", text(column)))
    };
    let op = Op::ALL.into_iter().find(|known| known.letter().to_string() == text("op"));
    let side = sql::optional(row, "side");
    let moved = Moved::of_side(side.as_deref());
    let letter = DeadLetter {
        entity: sql::optional(row, "entity"),
        entity_key: text("entity_key").into(),
        quarantines: is_true(row, "quarantines"),
        cause: Cause::of(&text("cause")).ok_or_else(|| unknown("cause"))?,
        reason: text("reason"),
        op: op.ok_or_else(|| unknown("op"))?,
        moved: moved.ok_or_else(|| unknown("side"))?,
        place: text("place"),
        rule: text("rule"),
        schema: Arc::new(Schema { hash: text("schema_hash"), document: text("schema_document") }),
        event: text("event"),
    };
    let n = text("n").parse().map_err(|_| unknown("n"))?;
    Ok(Kept { lane: text("pipeline"), n, letter, at: text("at") })
}

fn is_true(row: &Row, column: &str) -> bool {
    matches!(sql::told(row, column).as_str(), "1" | "true")
}
