//! StarRocks' dialect for SQLAlchemy, by the program of `python-check`.

use serde_json::{Value, json};

use crate::clients::{below_target, cluster, printed};

#[test]
fn sqlalchemy_reflects_a_table_and_selects_from_it() {
    let Some(python) = below_target("starrocks-clients/python/bin/python") else { return };
    let cluster = cluster();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python-check/reflect.py");
    let port = cluster.ports().mysql[0].to_string();
    let mysql = |sql: &str| cluster.insert("d", sql).expect("insert rows");
    mysql(
        "INSERT INTO t (source_id, owner_id, effective_start_ts, is_current, price) VALUES (1, 7, '2026-01-01 00:00:00.5', true, 1.5)",
    );
    let said: Value = serde_json::from_str(&printed(&python, &[script, &port, "d", "t"])).expect("JSON");
    assert_eq!(said["key"], json!(["source_id", "owner_id", "effective_start_ts"]));
    assert_eq!(said["distributed_by"], "HASH(`owner_id`) BUCKETS 4");
    let columns = said["columns"].as_array().expect("columns");
    assert_eq!(columns.len(), 8);
    assert_eq!(columns[3], json!(["asset_info", "VARCHAR(100)", true]));
    assert_eq!(columns[7], json!(["price", "DECIMAL(10, 2)", true]));
    let row = json!(["1", "7", "2026-01-01 00:00:00.500000", "None", "None", "True", "None", "1.50"]);
    assert_eq!((&said["rows"], &said["n_rows"], &said["tables"]), (&json!([row]), &json!(1), &json!(["t"])));
    assert_eq!(said["mode"], "shared_nothing");
    assert!(cluster.counters().keys().all(|name| !name.starts_with("unknown statement")), "{:?}", cluster.counters());
}
