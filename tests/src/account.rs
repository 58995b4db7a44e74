//! Judges emitted events by the server's own account of its log.
//!
//! Each entity's events must be rows that were read (`r`), and behind them the end of what the log tells of this entity:
//! each event once, in order. So the log says at which point of it the rows were read (the *cut*), and which rows there were:
//! one `r` for each at one point, nothing lost, nothing twice. Where chunks were read, that point is the high watermark of
//! the entity's chunk.

use std::collections::BTreeMap;
use std::fmt;

use crate::dump::Dump;
use crate::events::{Checkpoint, Chunk, Emitted, Recorded, Snapshot, TableRead};
use crate::gtids::GtidSet;
use crate::oracle::{self, Change, Op, Row, Side};

/// A change of a table like `shop.item_assets`, as the server's log has it.
#[derive(Clone, Debug)]
pub struct Logged {
    pub table: String,
    pub gtid: Option<String>,
    pub change: Change,
}

/// What a judgement found, and how much there was to find.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    pub faults: Vec<Fault>,
    pub n_entities: usize,
    pub n_reads: usize,
    /// Events of the log that were emitted.
    pub n_followed: usize,
    /// Those that are in rows that were read between the snapshot's begin and their chunk's high watermark.
    pub n_held: usize,
    /// Moves of which one side only was emitted.
    pub n_halves: usize,
    /// Points of the log at which rows were read: the chunks' different watermarks.
    pub n_points: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub what: What,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// An event that is not at its place in what the log tells of the entity: one is lost, doubled, or another one.
    NotTheLog,
    /// The rows that were read are not those of the point behind which the entity's events begin.
    OtherRows,
    ReadTwice,
    /// A row that was read behind a change of its entity.
    ReadLate,
    /// Events of one entity and another are not in the log's order.
    OutOfOrder,
    /// The chunks are not the whole table once.
    Chunks,
    /// An entity's rows are not of its chunk's high watermark.
    OtherCut,
}

/// Judges a run that has read the whole log. `snapshot`: whether one was made; then its watermarks are judged too.
pub fn judge(log: &[Logged], recorded: &Recorded, snapshot: bool) -> Judgement {
    let parts: Vec<Part> = log.iter().flat_map(parts).enumerate().map(|(at, part)| Part { at, ..part }).collect();
    let mut entities: BTreeMap<(&str, Option<i64>), Entity<'_>> = BTreeMap::new();
    for part in &parts {
        entities.entry((&part.table, part.event.owner())).or_default().log.push(part);
    }
    for (at, emitted) in recorded.events.iter().enumerate() {
        let entity = entities.entry((&emitted.table, emitted.event.owner())).or_default();
        let events = if emitted.event.change.op == Op::Read { &mut entity.reads } else { &mut entity.followed };
        events.push((at, emitted));
    }
    let mut judgement = Judgement { n_entities: entities.len(), ..Judgement::default() };
    // For each event of the file that is of the log: which one.
    let mut places = vec![None; recorded.events.len()];
    let marks = snapshot.then(|| Watermarks::of(recorded, &mut judgement.faults)).flatten();
    for ((table, owner), entity) in &entities {
        let mut faults = Vec::new();
        if let Some(cut) = entity.judge(&mut faults, &mut places) {
            judgement.n_reads += entity.reads.len();
            judgement.n_followed += entity.followed.len();
            if let Some(marks) = &marks {
                marks.judge(table, *owner, &entity.log, cut, &mut faults);
                judgement.n_held += entity.log[..cut].iter().filter(|part| !marks.low.has(part)).count();
            }
        }
        let name = format!("{table}, owner {}", owner.map_or("NULL".into(), |owner| owner.to_string()));
        judgement.faults.extend(faults.into_iter().map(|(what, text)| Fault { what, text: format!("{name}: {text}") }));
    }
    let mut last = None;
    for (at, place) in places.iter().enumerate().filter_map(|(at, place)| Some((at, (*place)?))) {
        if last >= Some(place) {
            let text = format!("event {at} comes too late: {:?}", recorded.events[at]);
            judgement.faults.push(Fault { what: What::OutOfOrder, text });
        }
        last = last.max(Some(place));
    }
    judgement.n_halves = halves(&parts, &places);
    judgement.n_points = marks.map_or(0, |marks| marks.points());
    judgement
}

impl Judgement {
    /// No fault, or a failure that shows some of them.
    #[track_caller]
    pub fn assert_fine(&self, what: &str) {
        let mut kinds: BTreeMap<What, usize> = BTreeMap::new();
        self.faults.iter().for_each(|fault| *kinds.entry(fault.what).or_default() += 1);
        let shown: Vec<String> = self.faults.iter().take(8).map(Fault::to_string).collect();
        assert!(self.faults.is_empty(), "{what}: faults {kinds:?}, such as\n{}", shown.join("\n"));
    }
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Judgement { faults, n_entities, n_reads, n_followed, n_held, n_halves, n_points } = self;
        write!(
            f,
            "{} faults; {n_entities} entities, {n_reads} rows read at {n_points} points, {n_held} events that these rows hold, \
             {n_followed} events behind them, {n_halves} halves of moves",
            faults.len()
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.what, self.text)
    }
}

impl Dump {
    /// The changes of the tables of a name, in every database.
    pub fn logged(&self, table: &str) -> Vec<Logged> {
        let of_table = |name: &str| name.split_once('.').is_some_and(|(_, name)| name == table);
        let changes = self.changes.iter().filter(|change| of_table(&change.table));
        changes
            .map(|change| Logged { table: change.table.clone(), gtid: change.gtid.clone(), change: change.reference() })
            .collect()
    }
}

/// An event of the log, as an entity sees it.
#[derive(Clone, Debug)]
struct Part {
    /// Its place in the log.
    at: usize,
    table: String,
    gtid: Option<String>,
    event: oracle::Event,
}

fn parts(logged: &Logged) -> impl Iterator<Item = Part> {
    let Logged { table, gtid, change } = logged.clone();
    oracle::events(&change).into_iter().map(move |event| Part {
        at: 0,
        table: table.clone(),
        gtid: gtid.clone(),
        event,
    })
}

impl Part {
    fn is(&self, emitted: &Emitted) -> bool {
        (&self.event, &self.gtid) == (&emitted.event, &emitted.gtid)
    }
}

/// What the log tells of an entity, and what was emitted of it, with its place in the file.
#[derive(Default)]
struct Entity<'a> {
    log: Vec<&'a Part>,
    reads: Vec<(usize, &'a Emitted)>,
    followed: Vec<(usize, &'a Emitted)>,
}

impl Entity<'_> {
    /// Gives how many events of the log are in the rows that were read; none where it has more than the log.
    fn judge(&self, faults: &mut Vec<(What, String)>, places: &mut [Option<usize>]) -> Option<usize> {
        let Some(cut) = self.log.len().checked_sub(self.followed.len()) else {
            let text = format!("{} events of {} in the log: {:?}", self.followed.len(), self.log.len(), self.followed);
            faults.push((What::NotTheLog, text));
            return None;
        };
        for (part, (at, _)) in self.log[cut..].iter().zip(&self.followed) {
            places[*at] = Some(part.at);
        }
        // From the end: there the log and the file must meet.
        let pairs = self.log[cut..].iter().zip(&self.followed).rev();
        if let Some((part, (at, emitted))) = pairs.into_iter().find(|(part, (_, emitted))| !part.is(emitted)) {
            faults.push((What::NotTheLog, format!("event {at} is {emitted:?}, and the log has {part:?}")));
            return Some(cut);
        }
        let (last_read, first_followed) = (self.reads.last(), self.followed.first());
        if let (Some((read, row)), Some((followed, change))) = (last_read, first_followed)
            && read > followed
        {
            faults.push((What::ReadLate, format!("event {read} is {row:?}, behind event {followed}, {change:?}")));
        }
        let mut found = BTreeMap::new();
        for (at, emitted) in &self.reads {
            let row = emitted.event.change.after.as_ref().expect("a row that was read has an image");
            if found.insert(row.id, row).is_some() {
                faults.push((What::ReadTwice, format!("event {at} is {emitted:?}")));
            }
        }
        let wanted = rows(&self.log[..cut]);
        if found != wanted {
            let behind = self.log[..cut].last();
            faults.push((What::OtherRows, format!("read were {found:?}, and behind {behind:?} are {wanted:?}")));
        }
        Some(cut)
    }
}

/// An entity's rows behind what the log tells of it.
fn rows<'a>(log: &[&'a Part]) -> BTreeMap<Option<i64>, &'a Row> {
    let mut rows = BTreeMap::new();
    for part in log.iter().copied() {
        let event = &part.event;
        let (before, after) = (event.change.before.as_ref(), event.change.after.as_ref());
        let before = before.filter(|_| event.side != Side::Arrives);
        let after = after.filter(|_| event.side != Side::Leaves);
        before.into_iter().for_each(|row| _ = rows.remove(&row.id));
        after.into_iter().for_each(|row| _ = rows.insert(row.id, row));
    }
    rows
}

/// Moves with one side in the file.
fn halves(parts: &[Part], places: &[Option<usize>]) -> usize {
    let mut is_emitted = vec![false; parts.len()];
    places.iter().flatten().for_each(|&at| is_emitted[at] = true);
    let is_half =
        |pair: &[Part]| pair[0].event.side == Side::Leaves && is_emitted[pair[0].at] != is_emitted[pair[1].at];
    parts.windows(2).filter(|pair| is_half(pair)).count()
}

/// Up to where the rows of a snapshot hold.
struct Watermarks<'a> {
    low: Low,
    tables: &'a BTreeMap<String, TableRead>,
}

/// The transactions before the snapshot.
struct Low(GtidSet);

impl<'a> Watermarks<'a> {
    /// None, and a fault, where the file does not tell them.
    fn of(recorded: &'a Recorded, faults: &mut Vec<Fault>) -> Option<Self> {
        let mut fault = |text: String| faults.push(Fault { what: What::Chunks, text });
        // While rows are read the log stands still; a snapshot that began anew has left a line of the one before.
        let reads = |checkpoint: &&Checkpoint| checkpoint.snapshot.as_ref().is_some_and(Snapshot::is_reading);
        let low = recorded.checkpoints.iter().rev().find(reads);
        let (Some(low), Some(snapshot)) = (low, recorded.snapshot()) else {
            fault("no checkpoint tells of a snapshot".into());
            return None;
        };
        if snapshot.is_reading() {
            fault(format!("its last checkpoint is inside the snapshot: {snapshot:?}"));
        }
        for (name, table) in &snapshot.tables {
            let ends = |chunk: &Chunk| (chunk.from, chunk.to);
            let all: Vec<_> = table.done.iter().map(ends).collect();
            let joined = all.windows(2).all(|pair| pair[0].1.is_some() && pair[0].1 == pair[1].0);
            let whole = matches!((all.first(), all.last()), (Some((None, _)), Some((_, None))));
            if !joined || !whole {
                fault(format!("{name}: the chunks are {all:?}"));
            }
            if !table.key.is_empty() && table.key != ["owner_id"] {
                fault(format!("{name}: the chunks are cut by {:?}", table.key));
            }
        }
        Some(Watermarks { low: Low(GtidSet::parse(&low.gtids)), tables: &snapshot.tables })
    }

    fn points(&self) -> usize {
        let mut points: Vec<&GtidSet> = Vec::new();
        for chunk in self.tables.values().flat_map(|table| &table.done) {
            if !points.contains(&&chunk.high) {
                points.push(&chunk.high);
            }
        }
        points.len()
    }

    /// The cut is where the log leaves the high watermark.
    fn judge(&self, table: &str, owner: Option<i64>, log: &[&Part], cut: usize, faults: &mut Vec<(What, String)>) {
        let owner = owner.expect("the table has no NULL");
        let holds =
            |chunk: &&Chunk| chunk.from.is_none_or(|from| from <= owner) && chunk.to.is_none_or(|to| owner < to);
        let Some(chunk) = self.tables.get(table).and_then(|table| table.done.iter().find(holds)) else {
            faults.push((What::Chunks, "it is in no chunk".into()));
            return;
        };
        let is_held = |part: &Part| self.low.has(part) || has(&chunk.high, part);
        let wanted = log.iter().take_while(|part| is_held(part)).count();
        let gaps = log[wanted..].iter().any(|part| is_held(part));
        if wanted != cut || gaps {
            let text =
                format!("{cut} of its events are in its rows, and {wanted} are behind the high watermark of {chunk:?}");
            faults.push((What::OtherCut, text));
        }
    }
}

impl Low {
    fn has(&self, part: &Part) -> bool {
        has(&self.0, part)
    }
}

fn has(set: &GtidSet, part: &Part) -> bool {
    part.gtid.as_ref().is_some_and(|gtid| set.contains(gtid))
}
