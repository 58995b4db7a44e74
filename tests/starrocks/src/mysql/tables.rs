//! What SHOW says of tables and nodes.

use super::result::{Answer, Field, FieldKind, Rows};
use crate::catalog::{Table, create_statement};
use crate::stand::Stand;
use crate::view::Cell;

pub fn create(table: &Table) -> Answer {
    Answer::table(&["Table", "Create Table"], vec![vec![table.name.clone(), create_statement(table)]])
}

pub fn describe(table: &Table) -> Answer {
    texts(
        &["Field", "Type", "Null", "Key", "Default", "Extra"],
        table.columns.iter().enumerate().map(|(at, column)| {
            let is_key = at < table.n_keys;
            vec![
                Some(column.name.clone()),
                Some(column.kind.name()),
                Some(if column.nullable { "YES" } else { "NO" }.into()),
                Some(if is_key { "true" } else { "false" }.into()),
                column.default.clone(),
                Some(String::new()),
            ]
        }),
    )
}

/// `SHOW [FULL] COLUMNS`
pub fn columns(table: &Table, is_full: bool) -> Answer {
    if !is_full {
        return describe(table);
    }
    let names = ["Field", "Type", "Collation", "Null", "Key", "Default", "Extra", "Privileges", "Comment"];
    texts(
        &names,
        table.columns.iter().enumerate().map(|(at, column)| {
            vec![
                Some(column.name.clone()),
                Some(column.kind.name()),
                None,
                Some(if column.nullable { "YES" } else { "NO" }.into()),
                Some(if at < table.n_keys { "PRI" } else { "" }.into()),
                column.default.clone(),
                Some(String::new()),
                Some(String::new()),
                Some(column.comment.clone().unwrap_or_default()),
            ]
        }),
    )
}

fn texts(names: &[&str], rows: impl Iterator<Item = Vec<Option<String>>>) -> Answer {
    let columns = names.iter().map(|name| Field { name: (*name).to_owned(), kind: FieldKind::Text }).collect();
    let cell = |text: Option<String>| -> Cell { text.map(String::into_bytes) };
    Answer::Rows(Rows { columns, rows: rows.map(|row| row.into_iter().map(cell).collect()).collect() })
}

/// Older releases say `Role` LEADER or FOLLOWER and nothing more; newer ones have `IsMaster` no longer. Here are both.
pub fn frontends(stand: &Stand) -> Answer {
    let names = [
        "Id",
        "Name",
        "IP",
        "EditLogPort",
        "HttpPort",
        "QueryPort",
        "RpcPort",
        "Role",
        "IsMaster",
        "ClusterId",
        "Join",
        "Alive",
        "ReplayedJournalId",
        "LastHeartbeat",
        "IsHelper",
        "ErrMsg",
        "StartTime",
        "Version",
    ];
    let leader = stand.look(|cluster| cluster.leader);
    let row = |fe: usize| {
        let leads = fe == leader;
        let texts = [
            (fe + 1).to_string(),
            format!("127.0.0.1_{}", stand.ports.fe[fe]),
            "127.0.0.1".into(),
            "9010".into(),
            stand.ports.fe[fe].to_string(),
            stand.ports.mysql[fe].to_string(),
            "9020".into(),
            if leads { "LEADER" } else { "FOLLOWER" }.into(),
            leads.to_string(),
            "1".into(),
            "true".into(),
            stand.frontends[fe].borrow().is_up.to_string(),
            "1".into(),
            "2026-01-01 00:00:00".into(),
            "true".into(),
            String::new(),
            "2026-01-01 00:00:00".into(),
            super::variables::STARROCKS_VERSION.into(),
        ];
        texts.to_vec()
    };
    Answer::table(&names, (0..stand.frontends.len()).map(row).collect())
}

pub fn backends(stand: &Stand) -> Answer {
    let names = [
        "BackendId",
        "IP",
        "HeartbeatPort",
        "BePort",
        "HttpPort",
        "BrpcPort",
        "LastStartTime",
        "LastHeartbeat",
        "Alive",
        "SystemDecommissioned",
        "ClusterDecommissioned",
        "TabletNum",
        "DataUsedCapacity",
        "AvailCapacity",
        "TotalCapacity",
        "UsedPct",
        "MaxDiskUsedPct",
        "ErrMsg",
        "Version",
        "Status",
    ];
    let alive: Vec<(u64, bool)> =
        stand.look(|cluster| cluster.backends.iter().map(|backend| (backend.id, backend.is_alive)).collect());
    let row = |(be, (id, is_alive)): (usize, (u64, bool))| {
        let mut texts: Vec<String> = vec![id.to_string(), "127.0.0.1".into(), "9050".into(), "9060".into()];
        texts.extend([
            stand.ports.be[be].to_string(),
            "8060".into(),
            "2026-01-01 00:00:00".into(),
            "2026-01-01 00:00:00".into(),
        ]);
        texts.extend([is_alive.to_string(), "false".into(), "false".into(), "0".into(), "0.000 ".into()]);
        texts.extend(["100.000 GB", "200.000 GB", "50.00 %", "50.00 %", ""].map(str::to_owned));
        texts.extend([super::variables::STARROCKS_VERSION.into(), "{}".into()]);
        texts
    };
    Answer::table(&names, alive.into_iter().enumerate().map(row).collect())
}
