//! The sink: what it loads, in which order, and what it does with every outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tracing::{debug, warn};

use super::attempt::Outcome;
use super::cache::{self, Cache};
use super::cluster::{Cluster, Door, Waiting};
use super::labels::Labels;
use super::letters::{self, Letters};
use super::load::{Loader, Target};
use super::progress::{Intent, MOVES_MAX, Mark, Progress};
use super::recovery::{Became, Redo};
use super::reply::Reply;
use super::rows::RowWriter;
use super::sql;
use crate::crash;
use crate::dead_letter::Quarantine;
use crate::event::Records;
use crate::history::{Checkpoint, EntityRows, HistorySchema, Load, Scope, SnapshotStep, Standing};
use crate::ledger::Ledger;
use crate::rows::{Row, Rows};
use crate::sink::{Sink, SinkError};

/// Where a lane's history is, and how it is loaded.
#[derive(Clone)]
pub struct Settings {
    pub door: Door,
    pub target: Target,
    /// The history table.
    pub table: String,
    /// Column of the table that keeps which change wrote a row; none: it has none.
    pub sequence: Option<String>,
    /// The pipeline's name, `/` and the partition.
    pub lane: String,
    /// How many there are.
    pub lanes: u32,
    pub labels: Labels,
    /// As checkpoints name the source.
    pub source: String,
    /// Labels of the whole pipeline that the server has to remember: loads a second in the time that a process may be away.
    pub labels_needed: u64,
}

/// A lane of a history in StarRocks.
pub struct StarRocks {
    pub(super) settings: Settings,
    pub(super) cluster: Cluster,
    pub(super) progress: Box<dyn Progress>,
    /// Loads into the history's table.
    pub(super) rows: Loader,
    letters: Letters,
    /// As it would be written next.
    pub(super) mark: Mark,
    /// Whether it is kept as it is.
    is_kept: bool,
    /// Until the batch that comes again is there.
    pub(super) redo: Option<Redo>,
    /// It is there, and not yet loaded.
    pub(super) is_redoing: bool,
    prepared: Option<Prepared>,
    cache: Cache,
    /// The server was asked how many labels it keeps.
    knows_labels: bool,
    /// Somebody says where it goes on, whatever is kept of it.
    pub(super) is_moved: bool,
}

struct Prepared {
    history: HistorySchema,
    writer: RowWriter,
    /// Whether rows are remembered.
    caches: bool,
}

impl StarRocks {
    /// # Errors
    /// [`SinkError::Unfit`]: no frontend is there, or none takes the login.
    pub async fn open(mut settings: Settings, progress: Box<dyn Progress>) -> Result<Self, SinkError> {
        let mut cluster = Cluster::new(settings.door.clone());
        settings.target.access.hosts.extend(cluster.hosts().await);
        let rows = Loader::new(settings.target.clone());
        let letters = Letters::new(&settings.target, &settings.lane);
        let cache = Cache::new((CACHE_BYTES / settings.lanes.max(1) as usize).max(CACHE_BYTES_MIN));
        let mark = Mark::new(settings.source.clone(), settings.lanes);
        Ok(StarRocks {
            settings,
            cluster,
            progress,
            rows,
            letters,
            mark,
            is_kept: true,
            redo: None,
            is_redoing: false,
            prepared: None,
            cache,
            knows_labels: false,
            is_moved: false,
        })
    }

    /// Whoever has it now moves it: what it does not know of its place is no fault, and what was under way is over.
    pub fn moved_by_hand(mut self) -> Self {
        self.is_moved = true;
        self
    }

    /// The rows of this intent are there, and can be read at the leader.
    pub(super) fn applied(&mut self, intent: &Intent) {
        self.mark.prev = Some(intent.label.clone());
        self.moved(&Checkpoint { source: self.settings.source.clone(), position: intent.to.clone() });
    }

    async fn move_to(&mut self, to: &Checkpoint) -> Result<(), SinkError> {
        if self.mark.moves == MOVES_MAX {
            return Err(SinkError::Stop(format!("a lane is moved {MOVES_MAX} times at the most: begin a new history")));
        }
        for label in
            [self.mark.load.take().map(|intent| intent.label), self.mark.letters_load.take()].into_iter().flatten()
        {
            self.rows.settle(&label, true).await;
        }
        self.mark.moves += 1;
        self.moved(to);
        Ok(())
    }

    fn moved(&mut self, checkpoint: &Checkpoint) {
        self.mark.at = Some(checkpoint.position.clone());
        (self.mark.load, self.mark.letters) = (None, None);
        (self.is_kept, self.is_redoing) = (false, false);
    }

    /// Loads a body under one label after the other, each kept in the mark before anything is sent, until one is applied.
    ///
    /// # Errors
    /// Nothing of it is there and nothing will be, unless another process has the lane: then nothing more is sent.
    async fn load(&mut self, mut what: What, body: Bytes) -> Result<(), SinkError> {
        // Since when the server takes loads, and not this one.
        let (mut waiting, mut refused) = (Waiting::new(), None::<Instant>);
        loop {
            let label = self.settings.labels.next(self.mark.n + 1);
            let loader = self.loader(&what);
            match loader.begin(&label).await {
                Reply::Done => {}
                Reply::Stop(why) => return Err(SinkError::Stop(format!("a load is not begun: {why}"))),
                // Nothing is sent under this label, whatever became of it.
                reply => {
                    refused = None;
                    end(loader, &label).await;
                    waiting.again(|| format!("a load is not begun: {reply:?}")).await;
                    continue;
                }
            }
            crash::point(what.point("starrocks.begun", "recovery.begun", self.is_redoing));
            let mut mark = self.mark.next();
            match &mut what {
                What::Rows(intent) => {
                    intent.label.clone_from(&label);
                    mark.load = Some(intent.clone());
                }
                What::Letters => mark.letters_load = Some(label.clone()),
            }
            if let Err(error) = self.progress.write(&mut mark).await {
                end(self.loader(&what), &label).await;
                return Err(error);
            }
            crash::point(what.point("starrocks.intended", "recovery.intended", self.is_redoing));
            self.mark.n = mark.n;
            let outcome = self.loader(&what).send(&label, body.clone()).await;
            if outcome != Outcome::Applied {
                self.cache.clear();
            }
            let why = match outcome {
                Outcome::Applied => {
                    self.mark.prev = Some(label);
                    return Ok(());
                }
                Outcome::NotApplied(why) => why,
                Outcome::NotNow(why) => {
                    waiting.longer();
                    refused = None;
                    why
                }
                Outcome::Rejected(rejection) => {
                    let why = self.loader(&what).reasons(&rejection).await;
                    return Err(SinkError::Rejected(format!("StarRocks does not take a row: {why}")));
                }
                Outcome::Unknown(why) => match &what {
                    What::Rows(intent) if self.ask_others(intent).await? == Became::Applied => {
                        self.mark.prev = Some(label);
                        return Ok(());
                    }
                    // These very rows again: of whole rows the second time changes nothing.
                    _ => why,
                },
                Outcome::Stop(why) => return Err(SinkError::Stop(why)),
            };
            if refused.get_or_insert_with(Instant::now).elapsed() > REFUSED_MAX {
                return Err(SinkError::Stop(format!("a load is refused again and again, the last time because {why}")));
            }
            waiting.again(|| format!("a load is not there and is made again: {why}")).await;
        }
    }

    fn loader(&self, what: &What) -> &Loader {
        match what {
            What::Rows(_) => &self.rows,
            What::Letters => &self.letters.loader,
        }
    }

    /// Takes away dead letters that go with a load that was not made.
    async fn forget_letters(&mut self) -> Result<(), SinkError> {
        let Some(first) = self.mark.letters else { return Ok(()) };
        let numbers = self.letters.numbers_from(&mut self.cluster, self.mark.prev.as_deref(), first).await?;
        if !numbers.is_empty() {
            let body = letters::deletes(&self.settings.lane, &numbers);
            self.load(What::Letters, body).await?;
        }
        self.mark.letters = None;
        Ok(())
    }

    /// A history begins with an empty table, also where it begins once more.
    async fn is_empty(&mut self) -> Result<(), SinkError> {
        let table = &self.settings.table;
        if self.cluster.where_shown(self.mark.prev.as_deref(), &sql::any_row(table, None)).await?.is_empty() {
            return Ok(());
        }
        Err(SinkError::Stop(format!(
            "the history begins with the rows that are in the source now, and the table {table} in StarRocks has rows already, of a \
             snapshot that was interrupted or of another history: TRUNCATE TABLE {table}, and start again; or name another table"
        )))
    }

    async fn remembers_enough(&mut self, replay_safe: bool) -> Result<(), SinkError> {
        if self.knows_labels || replay_safe || self.settings.sequence.is_some() {
            return Ok(());
        }
        let needed = self.settings.labels_needed;
        let keeps = self.cluster.setting("label_keep_max_num").await;
        match keeps.and_then(|keeps| keeps.parse::<u64>().ok()) {
            Some(keeps) if keeps < needed => {
                return Err(SinkError::Unfit(format!(
                    "StarRocks remembers {keeps} loads of a database (label_keep_max_num), and this pipeline makes up to {needed} in the \
                     time that a process may be away: what became of a load could be forgotten before it is asked for, and the rule \
                     does not say that deciding a batch a second time changes nothing. Mend one of it: ADMIN SET FRONTEND CONFIG \
                     (\"label_keep_max_num\" = \"{needed}\"), in fe.conf too; a longer sink.interval; or sink.sequence-column"
                )));
            }
            Some(_) => {}
            None => warn!(
                "StarRocks does not tell this user how many loads it remembers (label_keep_max_num): it should be {needed} at the \
                 least"
            ),
        }
        self.knows_labels = true;
        Ok(())
    }
}

/// What is loaded.
enum What {
    Rows(Intent),
    /// Dead letters, or that they go.
    Letters,
}

impl What {
    fn point(&self, usual: &'static str, of_redo: &'static str, is_redo: bool) -> &'static str {
        match self {
            What::Rows(_) if is_redo => of_redo,
            What::Rows(_) => usual,
            What::Letters => "starrocks.letters-load",
        }
    }
}

/// Ends what was begun and is not sent; where that fails, the server does it after a while.
async fn end(loader: &Loader, label: &str) {
    let ended = loader.roll_back(label).await;
    debug!(label, ?ended, "a load that is not sent is ended");
}

/// What the lanes of a process remember together, and one at the least.
const CACHE_BYTES: usize = 48 << 20;
const CACHE_BYTES_MIN: usize = 4 << 20;

/// A load that is refused for so long will be refused for ever.
const REFUSED_MAX: Duration = Duration::from_secs(600);

#[async_trait::async_trait]
impl Sink for StarRocks {
    async fn checkpoint(&mut self) -> Result<Standing, SinkError> {
        self.redo = self.recover().await?;
        let checkpoint =
            self.mark.at.clone().map(|position| Checkpoint { source: self.settings.source.clone(), position });
        self.letters.read(&mut self.cluster, &self.mark).await?;
        let redo_to = self.redo.as_ref().map(|redo| redo.intent.to.clone());
        Ok(Standing { checkpoint, ledger: Ledger::default(), redo_to })
    }

    async fn prepare(&mut self, history: &HistorySchema) -> Result<(), SinkError> {
        let Settings { table, sequence, .. } = &self.settings;
        let columns = self.cluster.history_columns(table, history, sequence.as_deref()).await?;
        let writer = RowWriter::new(history, &columns, sequence.as_deref());
        let caches = cache::comes_back(history, &columns);
        self.cache.clear();
        self.prepared = Some(Prepared { history: history.clone(), writer, caches });
        Ok(())
    }

    async fn quarantined(&mut self) -> Result<Arc<Quarantine>, SinkError> {
        let before = self.letters.quarantined();
        let quarantine = self.letters.look(&mut self.cluster, &self.mark).await?;
        // Whoever has settled letters has written rows.
        if quarantine.len() < before {
            self.cache.clear();
        }
        Ok(quarantine)
    }

    async fn entity_rows(&mut self, keys: &Rows, scope: Scope) -> Result<EntityRows, SinkError> {
        let Prepared { history, caches, .. } = self.prepared.as_ref().expect("prepare comes before entity_rows");
        let (table, shows) = (&self.settings.table, self.mark.prev.as_deref());
        if !caches {
            return self.cluster.entity_rows(table, history, keys, scope, shows).await;
        }
        let known = self.cache.look(history, keys, scope);
        let found = match known.missing.is_empty() {
            true => EntityRows::default(),
            false => self.cluster.entity_rows(table, history, &known.missing, scope, shows).await?,
        };
        Ok(self.cache.complete(history, keys, &known, &found))
    }

    async fn unmet(&mut self, _: Option<Row<'_>>, _: usize) -> Result<Rows, SinkError> {
        Err(no_snapshot())
    }

    async fn commit(&mut self, load: &Load) -> Result<(), SinkError> {
        match &load.snapshot {
            None => {}
            Some(SnapshotStep::Anew) => self.is_empty().await?,
            Some(SnapshotStep::Met(_) | SnapshotStep::Ends) => return Err(no_snapshot()),
        }
        if self.is_moved {
            return self.move_to(&load.checkpoint).await;
        }
        self.check_redo(load)?;
        let has_rows = !load.upserts.is_empty() || !load.deletes.is_empty();
        // Where the source gives none, marks count.
        let records = load.records.unwrap_or(Records { sequence: self.mark.n + 1, ..Records::default() });
        let mut body = Vec::new();
        if has_rows {
            self.remembers_enough(load.decided_by.replay_safe).await?;
            if self.settings.sequence.is_some() && !load.deletes.is_empty() {
                return Err(SinkError::Stop(
                    "the rule deletes rows, which a table with a sequence column does not keep from a load that comes late: leave out \
                     sink.sequence-column, and make the table without it"
                        .into(),
                ));
            }
            let Prepared { writer, .. } = self.prepared.as_ref().expect("prepare comes before rows");
            let sequence = self.mark.sequence(records.sequence);
            let written = writer.write(&mut body, &load.deletes, &load.upserts, sequence);
            written.map_err(|misfit| SinkError::Misfit(misfit.to_string()))?;
        }
        crash::point("starrocks.decided");
        if self.mark.digest != load.decided_by.digest && !load.decided_by.digest.is_empty() {
            self.mark.digest.clone_from(&load.decided_by.digest);
            self.mark.since.clone_from(&self.mark.at);
        }
        // What was set aside of a try that came to nothing is set aside anew, or is not at all.
        self.forget_letters().await?;
        if !load.dead_letters.is_empty() {
            let first = Letters::first(self.mark.n + 1);
            self.mark.letters = Some(first);
            let body = self.letters.upserts(first, &load.dead_letters)?;
            self.load(What::Letters, body).await?;
            crash::point("starrocks.letters");
        }
        if has_rows {
            let to = load.checkpoint.position.clone();
            let intent =
                Intent { label: String::new(), to, count: records.count, sum: records.sum, sequence: records.sequence };
            self.load(What::Rows(intent), body.into()).await?;
            crash::point("starrocks.visible");
            let Prepared { history, .. } = self.prepared.as_ref().expect("prepare comes before rows");
            self.cache.apply(history, &load.upserts, &load.deletes);
        }
        self.moved(&load.checkpoint);
        self.letters.committed(load);
        Ok(())
    }

    fn misfit(&self, upserts: &Rows, deletes: &Rows) -> Option<String> {
        let Prepared { writer, .. } = self.prepared.as_ref().expect("prepare comes before rows");
        writer.write(&mut Vec::new(), deletes, upserts, 0).err().map(|misfit| misfit.to_string())
    }

    async fn idle(&mut self) -> Result<(), SinkError> {
        if self.is_kept {
            return Ok(());
        }
        crash::point("starrocks.idle");
        let mut mark = self.mark.next();
        self.progress.write(&mut mark).await?;
        (self.mark, self.is_kept) = (mark, true);
        Ok(())
    }
}

fn no_snapshot() -> SinkError {
    SinkError::Stop(
        "a table that is read again is compared with its history, which is not built for one in StarRocks: begin a new history in another \
         table"
            .into(),
    )
}

/// Until a member that is gone is missed, a poll may last, and a process that has fallen is started again.
pub const AWAY: Duration = Duration::from_secs(45 + 300 + 600);
