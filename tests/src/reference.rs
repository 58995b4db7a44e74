//! The default rule's history table, written down once for whoever needs no rule to have it.

use hindsight::event::{Field, Logical};
use hindsight::history::{HistoryColumn, HistorySchema, Roles};

/// With times to the microsecond.
pub fn history() -> HistorySchema {
    let column = |name: &str, logical, declared: &str, nullable| HistoryColumn {
        field: Field { name: name.into(), logical, nullable, declared: declared.into() },
        source: None,
    };
    HistorySchema {
        columns: vec![
            column("source_id", Logical::Int64, "int", false),
            column("owner_id", Logical::Int64, "int", false),
            column("effective_start_ts", Logical::Datetime, "datetime(6)", false),
            column("asset_info", Logical::Text, "varchar(255)", true),
            column("effective_end_ts", Logical::Datetime, "datetime(6)", true),
            column("is_current", Logical::Boolean, "boolean", false),
            column("op_type", Logical::Text, "varchar(1)", false),
        ],
        primary_key: vec![0, 1, 2],
        roles: Roles { entity_key: vec![1], start: 2, end: 4, current: Some(5) },
    }
}
