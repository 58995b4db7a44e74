//! One entity: what a rule sees of it, and what it says.

use std::ops::Range;

use crate::bindings::exports::hindsight::transform::transformer::{Batch, Reject};
use crate::columns::{Row, Value, View};

/// An entity's history rows and its new changes; collects the rule's decisions.
pub struct Entity<'e, 'a> {
    pub(crate) batch: &'a Reader<'a>,
    pub(crate) group: usize,
    pub(crate) out: &'e mut Decisions<'a>,
}

/// A history row of the entity, as it was before this batch.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    number: u32,
    /// The columns of the plan's `read`.
    pub row: Row<'a>,
}

/// A row that this batch brings: it can be changed until the batch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened(u32);

/// A source change, as this entity sees it.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// Its place in the batch: the cause of what is decided for it.
    pub place: u32,
    pub op: Op,
    pub moved: Moved,
    /// Commit time in the source: microseconds, a wall clock in the zone of the source's datetime columns.
    pub time: i64,
    /// Position of its table in the plan.
    pub table: usize,
    /// The columns of the table's `before` and `after` in the plan.
    pub before: Option<Row<'a>>,
    pub after: Option<Row<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Create,
    /// A row of the first snapshot.
    Read,
    Update,
    Delete,
}

/// Whether the change takes its row from one entity to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    Stays,
    Leaves,
    Arrives,
}

/// A value to be written: a borrowed one, or a text that the rule made.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    Value(Value<'a>),
    Made(Box<str>),
    /// In a revision: leave the value as it is.
    Unset,
}

impl<'a> Entity<'_, 'a> {
    /// The entity's key, in the order of the plan.
    pub fn key(&self) -> Row<'a> {
        Row::new(&self.batch.keys, self.group)
    }

    /// The history rows that the plan's scope asks for, in the order of the primary key.
    pub fn history(&self) -> impl ExactSizeIterator<Item = Shown<'a>> + use<'a> {
        let batch = self.batch;
        batch.history_rows(self.group).map(move |row| Shown { number: row as u32, row: Row::new(&batch.history, row) })
    }

    /// The changes, in the order of the source.
    pub fn changes(&self) -> impl ExactSizeIterator<Item = Change<'a>> + use<'a> {
        let batch = self.batch;
        batch.changes(self.group).map(move |place| batch.change(place))
    }

    /// Sets a column of a shown row, by its place in the plan's `revise`.
    #[inline]
    pub fn revise(&mut self, shown: Shown<'_>, cause: Change<'_>, column: usize, value: impl Into<Cell<'a>>) {
        let width = self.out.revise_width;
        let revision = match self.out.row_state[shown.number as usize] {
            RowState::Untouched => {
                let revision = self.out.revisions.len();
                self.out.revisions.push((shown.number, cause.place));
                self.out.revised.extend(std::iter::repeat_n(Cell::Unset, width));
                self.out.row_state[shown.number as usize] = RowState::Revised(revision as u32);
                revision
            }
            RowState::Revised(revision) => revision as usize,
            RowState::Deleted => panic!("a deleted row cannot be revised"),
        };
        self.out.revisions[revision].1 = cause.place;
        self.out.revised[revision * width + column] = value.into();
    }

    /// Opens a history row: all its columns, in the order of the plan's `history`. Of two rows with one primary key the later stands.
    #[inline]
    pub fn open<const N: usize>(&mut self, cause: Change<'_>, cells: [Cell<'a>; N]) -> Opened {
        self.open_row(cause, cells)
    }

    /// [`Entity::open`] for a row whose width is not known when the rule is compiled.
    ///
    /// # Panics
    /// When there are not as many cells as the plan has history columns.
    #[inline]
    pub fn open_row(&mut self, cause: Change<'_>, cells: impl IntoIterator<Item = Cell<'a>>) -> Opened {
        self.out.opened.extend(cells);
        self.out.causes.push(cause.place);
        let rows = self.out.causes.len();
        assert_eq!(self.out.opened.len(), rows * self.out.width, "a history row has {} columns", self.out.width);
        Opened(rows as u32 - 1)
    }

    /// Changes a column of a row that was opened in this batch, by its place in the plan's `history`.
    #[inline]
    pub fn set(&mut self, opened: Opened, cause: Change<'_>, column: usize, value: impl Into<Cell<'a>>) {
        self.out.causes[opened.0 as usize] = cause.place;
        let width = self.out.width;
        self.out.opened[opened.0 as usize * width + column] = value.into();
    }

    /// Deletes a shown row.
    pub fn delete(&mut self, shown: Shown<'_>, cause: Change<'_>) {
        self.out.row_state[shown.number as usize] = RowState::Deleted;
        self.out.deletes.push((shown.number, cause.place));
    }

    /// The change cannot be decided: it becomes a dead letter. Leave no trace of it.
    pub fn reject(&mut self, change: Change<'_>, reason: impl Into<String>) {
        self.out.rejects.push(Reject { change: change.place, reason: reason.into() });
    }
}

impl Change<'_> {
    /// The image after the change; every create and update has one.
    pub fn is_delete(&self) -> bool {
        self.op == Op::Delete
    }
}

impl<'a> From<Value<'a>> for Cell<'a> {
    fn from(value: Value<'a>) -> Self {
        Cell::Value(value)
    }
}

impl From<i64> for Cell<'_> {
    fn from(value: i64) -> Self {
        Cell::Value(Value::Int(value))
    }
}

impl From<bool> for Cell<'_> {
    fn from(value: bool) -> Self {
        Cell::Value(Value::Int(i64::from(value)))
    }
}

impl<'a> From<&'a str> for Cell<'a> {
    fn from(text: &'a str) -> Self {
        Cell::Value(Value::Text(text))
    }
}

impl From<String> for Cell<'_> {
    fn from(text: String) -> Self {
        Cell::Made(text.into())
    }
}

/// A batch made ready for reading.
pub(crate) struct Reader<'a> {
    pub batch: &'a Batch,
    pub keys: Vec<View<'a>>,
    pub history: Vec<View<'a>>,
    /// Per table.
    pub before: Vec<Vec<View<'a>>>,
    pub after: Vec<Vec<View<'a>>>,
}

/// A change without such an image.
const NO_ROW: u32 = u32::MAX;

impl<'a> Reader<'a> {
    fn history_rows(&self, group: usize) -> Range<usize> {
        self.batch.history_offsets[group] as usize..self.batch.history_offsets[group + 1] as usize
    }

    fn changes(&self, group: usize) -> Range<usize> {
        self.batch.change_offsets[group] as usize..self.batch.change_offsets[group + 1] as usize
    }

    #[inline]
    fn change(&'a self, place: usize) -> Change<'a> {
        let changes = &self.batch.changes;
        let table = changes.table.get(place).map_or(0, |&table| usize::from(table));
        let image = |rows: &[u32], columns: &'a [Vec<View<'a>>]| {
            let row = *rows.get(place)?;
            (row != NO_ROW).then(|| Row::new(&columns[table], row as usize))
        };
        Change {
            place: place as u32,
            op: match changes.op[place] {
                b'c' => Op::Create,
                b'r' => Op::Read,
                b'u' => Op::Update,
                _ => Op::Delete,
            },
            moved: match changes.moved.get(place) {
                Some(1) => Moved::Leaves,
                Some(2) => Moved::Arrives,
                _ => Moved::Stays,
            },
            time: changes.time[place],
            table,
            before: image(&changes.before_row, &self.before),
            after: image(&changes.after_row, &self.after),
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum RowState {
    Untouched,
    Revised(u32),
    Deleted,
}

/// What a rule decided so far, row by row; packed into columns at the end of the batch.
pub(crate) struct Decisions<'a> {
    pub width: usize,
    pub opened: Vec<Cell<'a>>,
    pub causes: Vec<u32>,
    pub revise_width: usize,
    pub revised: Vec<Cell<'a>>,
    /// Row and cause.
    pub revisions: Vec<(u32, u32)>,
    pub deletes: Vec<(u32, u32)>,
    pub row_state: Vec<RowState>,
    pub rejects: Vec<Reject>,
}
