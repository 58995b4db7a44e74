//! Answers as the canonical ABI wants them returned: records field by field at their alignment, lists and texts as
//! address and length.

use hindsight_rule::native::{
    Column, Deletes, Description, HistoryColumn, LogicalType, Output, Plan, Reject, Revisions, Roles, Scope, Setting,
    TableUse, Upserts, Values,
};

/// A part of a component's memory that is filled from its beginning.
pub struct Memory {
    base: usize,
    pub bytes: Vec<u8>,
}

/// A record in the making; its fields come one after the other, at their alignment.
#[derive(Default)]
struct Record(Vec<u8>);

impl Record {
    fn align(mut self, n: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(n), 0);
        self
    }

    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    fn u32(self, value: u32) -> Self {
        let mut record = self.align(4);
        record.0.extend_from_slice(&value.to_le_bytes());
        record
    }

    /// A list or a text.
    fn list(self, (address, len): (usize, usize)) -> Self {
        self.u32(address as u32).u32(len as u32)
    }

    fn option<T>(self, value: Option<T>, put: impl FnOnce(Self, T) -> Self, empty: impl FnOnce(Self) -> Self) -> Self {
        let record = self.align(4).u8(u8::from(value.is_some())).align(4);
        match value {
            Some(value) => put(record, value),
            None => empty(record),
        }
    }
}

impl Memory {
    pub fn new(base: usize) -> Self {
        Memory { base, bytes: Vec::new() }
    }

    /// Places a `description`.
    pub fn description(&mut self, description: &Description) -> usize {
        let settings: Vec<Record> = description.settings.iter().map(|setting| self.setting(setting)).collect();
        let record = Record::default()
            .list(self.text(&description.name))
            .list(self.text(&description.version))
            .list(self.text(&description.summary))
            .list(self.records(settings));
        self.place(&record.0)
    }

    /// Places a `result<plan, string>`.
    pub fn planned(&mut self, answer: Result<&Plan, &str>) -> usize {
        let record = match answer {
            Ok(plan) => self.plan(plan),
            Err(sentence) => Record::default().u8(1).list(self.text(sentence)),
        };
        self.place(&record.0)
    }

    /// Places a `result<output, string>`.
    pub fn decided(&mut self, answer: Result<&Output, &str>) -> usize {
        let record = match answer {
            Ok(output) => self.output(output),
            Err(sentence) => Record::default().u8(1).list(self.text(sentence)),
        };
        self.place(&record.0)
    }

    fn setting(&mut self, Setting { name, summary, default }: &Setting) -> Record {
        let record = Record::default().list(self.text(name)).list(self.text(summary));
        let default = default.as_ref().map(|default| self.text(default));
        record.option(default, Record::list, |record| record.u32(0).u32(0))
    }

    fn plan(&mut self, plan: &Plan) -> Record {
        let Plan { tables, history, primary_key, roles, scope, read, revise, replay_safe, complete } = plan;
        let tables = tables.iter().map(|uses| self.table_use(uses)).collect();
        let history = history.iter().map(|column| self.history_column(column)).collect();
        let Roles { entity_key, start, end, current } = roles;
        Record::default()
            .u8(0)
            .list(self.records(tables))
            .list(self.records(history))
            .list(self.u32s(primary_key))
            .list(self.u32s(entity_key))
            .u32(*start)
            .u32(*end)
            .option(*current, Record::u32, |record| record.u32(0))
            .u8(match scope {
                Scope::CurrentRows => 0,
                Scope::AllRows => 1,
            })
            .list(self.u32s(read))
            .list(self.u32s(revise))
            .u8(u8::from(*replay_safe))
            .u8(u8::from(*complete))
            .align(4)
    }

    fn table_use(&mut self, TableUse { entity_key, after, before }: &TableUse) -> Record {
        Record::default().list(self.u32s(entity_key)).list(self.u32s(after)).list(self.u32s(before))
    }

    fn history_column(&mut self, HistoryColumn { field, source }: &HistoryColumn) -> Record {
        let record = Record::default()
            .list(self.text(&field.name))
            .u8(logical(field.logical))
            .u8(u8::from(field.nullable))
            .list(self.text(&field.declared));
        let source = source.as_ref().map(|source| self.text(source));
        record.option(source, Record::list, |record| record.u32(0).u32(0))
    }

    fn output(&mut self, output: &Output) -> Record {
        let Output {
            upserts: Upserts { cause: opened, columns: whole },
            revisions: Revisions { cause: revised, row, columns },
            deletes: Deletes { cause: deleted, row: gone },
            rejects,
        } = output;
        let whole = whole.iter().map(|column| self.column(column)).collect();
        let columns = columns.iter().map(|column| self.column(column)).collect();
        let reject = |memory: &mut Memory, Reject { change, reason }: &Reject| {
            Record::default().u32(*change).list(memory.text(reason))
        };
        let rejects = rejects.iter().map(|one| reject(self, one)).collect();
        Record::default()
            .u8(0)
            .list(self.u32s(opened))
            .list(self.records(whole))
            .list(self.u32s(revised))
            .list(self.u32s(row))
            .list(self.records(columns))
            .list(self.u32s(deleted))
            .list(self.u32s(gone))
            .list(self.records(rejects))
    }

    fn column(&mut self, Column { nulls, values }: &Column) -> Record {
        let nulls = (self.place(nulls), nulls.len());
        let eights = |memory: &mut Memory, values: Vec<[u8; 8]>| (memory.place(values.as_flattened()), values.len());
        let (case, list) = match values {
            Values::U8s(values) => (0, (self.place(values), values.len())),
            Values::S64s(values) => (1, eights(self, values.iter().map(|value| value.to_le_bytes()).collect())),
            Values::U64s(values) => (2, eights(self, values.iter().map(|value| value.to_le_bytes()).collect())),
            Values::F64s(values) => (3, eights(self, values.iter().map(|value| value.to_le_bytes()).collect())),
            Values::Packed(packed) => (4, self.u32s(&packed.offsets)),
        };
        let data = match values {
            Values::Packed(packed) => (self.place(&packed.data), packed.data.len()),
            _ => (0, 0),
        };
        Record::default().list(nulls).u8(case).list(list).list(data)
    }

    fn u32s(&mut self, values: &[u32]) -> (usize, usize) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        (self.place(&bytes), values.len())
    }

    fn text(&mut self, text: &str) -> (usize, usize) {
        (self.place(text.as_bytes()), text.len())
    }

    fn records(&mut self, records: Vec<Record>) -> (usize, usize) {
        let n = records.len();
        (self.place(&records.into_iter().flat_map(|record| record.0).collect::<Vec<_>>()), n)
    }

    /// Eight is the largest alignment that anything has.
    fn place(&mut self, bytes: &[u8]) -> usize {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let address = self.base + self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        address
    }
}

fn logical(logical: LogicalType) -> u8 {
    match logical {
        LogicalType::Boolean => 0,
        LogicalType::Int64 => 1,
        LogicalType::Uint64 => 2,
        LogicalType::Float64 => 3,
        LogicalType::Decimal => 4,
        LogicalType::Text => 5,
        LogicalType::Json => 6,
        LogicalType::Bytes => 7,
        LogicalType::Date => 8,
        LogicalType::Time => 9,
        LogicalType::Datetime => 10,
    }
}
