//! A rule for the tests: each change adds one to its entity's row and is folded into a running digest there.
//!
//! SCD2's upserts hide a change that was done twice; this rule shows it. The digest's text form is in `../README.md`.

use std::fmt::Write;

use hindsight_rule::{
    Cell, Change, Description, Entity, History, LogicalType, Moved, Op, Plan, Row, Rule, Scope, Setting, Settings,
    Table, Value,
};

pub struct CountChanges {
    /// What goes before the digests of this rule; none: nothing.
    mark: Option<String>,
}

/// The setting `mark` where none is set, and no mark. Tests make another component of this one by writing over these
/// bytes, so they have to stand in it as they are.
const UNMARKED: &str = "unmarked";

/// Places in `read` and of the last columns of `history`.
const CHANGES: usize = 0;
const DIGEST: usize = 1;

impl Rule for CountChanges {
    fn describe() -> Description {
        let setting = |name: &str, default: &str, summary: &str| Setting {
            name: name.into(),
            summary: summary.into(),
            default: Some(default.into()),
        };
        Description {
            name: "count-changes".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: "Counts an entity's changes and folds each into a digest: shows a change that was done twice."
                .into(),
            settings: vec![
                setting("owner", "owner_id", "the entity key"),
                setting("columns", "id,owner_id,asset_info,registered_at", "the columns folded, separated by commas"),
                setting(
                    "mark",
                    std::hint::black_box(UNMARKED),
                    "goes before the digest, to tell which rule wrote a row",
                ),
            ],
        }
    }

    fn configure(_: &[Table], settings: &Settings) -> Result<(Self, Plan), String> {
        let owner = settings.get("owner");
        let columns = settings.list("columns");
        let plan = Plan {
            entity_key: vec![owner.into()],
            after: columns.clone(),
            before: columns,
            history: vec![
                History::carries(owner, owner),
                History::made("since", LogicalType::Datetime, false, "datetime(6)"),
                History::made("until", LogicalType::Datetime, true, "datetime(6)"),
                History::made("is_current", LogicalType::Boolean, false, "boolean"),
                History::made("changes", LogicalType::Int64, false, "bigint"),
                History::made("digest", LogicalType::Text, false, "varchar(64)"),
            ],
            primary_key: vec![owner.into()],
            key: vec![owner.into()],
            start: "since".into(),
            end: "until".into(),
            current: Some("is_current".into()),
            scope: Scope::AllRows,
            read: vec!["changes".into(), "digest".into()],
            revise: vec!["changes".into(), "digest".into()],
            replay_safe: false,
            complete: false,
        };
        let mark = Some(settings.get("mark").to_owned()).filter(|mark| mark != UNMARKED);
        Ok((CountChanges { mark }, plan))
    }

    fn entity(&self, entity: &mut Entity<'_, '_>) -> Result<(), String> {
        let shown = entity.history().next();
        let mut count = shown.and_then(|shown| shown.row.int(CHANGES)).unwrap_or(0);
        let mut digest = shown.and_then(|shown| shown.row.text(DIGEST)).unwrap_or_default().to_owned();
        let mut ends = None;
        for change in entity.changes() {
            count += 1;
            let hash = fnv1a(&format!("{digest}|{}", text(&change)));
            digest = match &self.mark {
                Some(mark) => format!("{mark}:{hash:016x}"),
                None => format!("{hash:016x}"),
            };
            ends = Some((ends.map_or(change, |(first, _)| first), change));
        }
        let Some((first, last)) = ends else { return Ok(()) };
        match shown {
            Some(shown) => {
                entity.revise(shown, last, 0, count);
                entity.revise(shown, last, 1, digest);
            }
            None => {
                let key = Cell::Value(entity.key().value(0));
                let until = Cell::Value(Value::Null);
                entity.open(last, [key, first.time.into(), until, true.into(), count.into(), digest.into()]);
            }
        }
        Ok(())
    }
}

/// `op|moved|time|before|after`; see the README.
fn text(change: &Change<'_>) -> String {
    let op = match change.op {
        Op::Create => 'c',
        Op::Read => 'r',
        Op::Update => 'u',
        Op::Delete => 'd',
    };
    let moved = match change.moved {
        Moved::Stays => 0,
        Moved::Leaves => 1,
        Moved::Arrives => 2,
    };
    let mut text = format!("{op}|{moved}|{}", change.time);
    for image in [change.before, change.after] {
        text.push('|');
        write_image(&mut text, image);
    }
    text
}

fn write_image(text: &mut String, image: Option<Row<'_>>) {
    let Some(image) = image else { return text.push('~') };
    for (i, value) in image.values().enumerate() {
        if i > 0 {
            text.push(',');
        }
        // Writing to a String cannot fail.
        let _ = match value {
            Value::Null => write!(text, "~"),
            Value::Int(value) => write!(text, "{value}"),
            Value::UInt(value) => write!(text, "{value}"),
            Value::Float(value) => write!(text, "{value:?}"),
            Value::Text(value) => write!(text, "{}:{value}", value.len()),
            Value::Bytes(value) => write!(text, "{}:{value:02x?}", value.len()),
        };
    }
}

/// FNV-1a, 64 bits.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

hindsight_rule::export!(CountChanges);
