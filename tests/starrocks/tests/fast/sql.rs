//! The MySQL port, asked by mysql_async.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};

use crate::raw::{Cluster, ROW, cluster};

async fn connected(cluster: &Cluster, fe: usize) -> Conn {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(cluster.it.ports().mysql[fe])
        .user(Some("root"))
        .db_name(Some("d"));
    Conn::new(options).await.expect("connect")
}

#[test]
fn a_client_connects_with_the_queries_it_has_at_that_time_and_reads_rows() {
    let cluster = cluster();
    cluster.loaded("a", r#"[{"k":1,"name":"it's","at":"2026-01-01 00:00:00.500","price":1.5,"must":"m"}]"#);
    cluster.block_on(async {
        let mut conn = connected(&cluster, 0).await;
        let sql = "SELECT `k`, name, at, price FROM t WHERE k IN (1, 2) AND name = 'it\\'s' AND at = '2026-01-01 00:00:00.500'";
        let rows: Vec<(i64, String, String, String)> = conn.query(sql).await.expect("rows");
        assert_eq!(rows, [(1, "it's".into(), "2026-01-01 00:00:00.500000".into(), "1.50".into())]);
        let refused = conn.exec_drop("SELECT k FROM t WHERE k = ?", (1,)).await.unwrap_err().to_string();
        assert!(refused.contains("1064") && refused.contains("Unsupported command(COM_STMT_PREPARE)"), "{refused}");
        let state: Option<mysql_async::Row> = conn.query_first("SHOW TRANSACTION FROM d WHERE label = 'a'").await.unwrap();
        assert_eq!(state.unwrap().get::<String, _>("TransactionStatus").as_deref(), Some("VISIBLE"));
        conn.query_drop("FLUSH TABLES").await.unwrap_err();
        conn.query_drop("ADMIN SET FRONTEND CONFIG (\"label_keep_max_num\" = \"0\")").await.unwrap();
    });
    cluster.act(starrocks_stand_in::Action::Clean);
    assert_eq!(cluster.state("a"), "UNKNOWN");
    assert_eq!(cluster.it.counters().get("unknown statement: FLUSH TABLES"), Some(&1));
}

#[test]
fn a_follower_answers_with_what_it_shows() {
    let cluster = cluster();
    cluster.act(starrocks_stand_in::Action::PublishDelay { fe: 1, delay_ms: 3_600_000 });
    cluster.loaded("a", ROW);
    cluster.block_on(async {
        let mut n = Vec::new();
        let mut states = Vec::new();
        for fe in [0, 1] {
            let mut conn = connected(&cluster, fe).await;
            n.push(conn.query_first::<i64, _>("SELECT COUNT(*) FROM t").await.unwrap().unwrap());
            let row: mysql_async::Row = conn.query_first("SHOW TRANSACTION WHERE label = 'a'").await.unwrap().unwrap();
            states.push(row.get::<String, _>("TransactionStatus").unwrap());
        }
        assert_eq!((n, states), (vec![1, 0], vec!["VISIBLE".to_owned(), "COMMITTED".to_owned()]));
    });
}

#[test]
fn a_table_is_shown_as_it_was_made() {
    let cluster = cluster();
    cluster.block_on(async {
        let mut conn = connected(&cluster, 0).await;
        let made = "CREATE TABLE `u` (
  `source_id` bigint(20) NOT NULL COMMENT \"\",
  `owner_id` bigint(20) NOT NULL COMMENT \"who\",
  `price` decimal(10, 2) NULL DEFAULT \"0\" COMMENT \"\"
) ENGINE=OLAP 
PRIMARY KEY(`source_id`, `owner_id`)
COMMENT \"history\"
DISTRIBUTED BY HASH(`owner_id`) BUCKETS 4 
ORDER BY(`owner_id`)
PROPERTIES (
\"compression\" = \"LZ4\",
\"enable_persistent_index\" = \"true\",
\"replication_num\" = \"1\"
);";
        conn.query_drop(made).await.expect("make it");
        let (_, shown): (String, String) = conn.query_first("SHOW CREATE TABLE u").await.unwrap().unwrap();
        assert_eq!(shown, made);
        let names: Vec<String> = conn.query("SHOW TABLES LIKE 'u%'").await.unwrap();
        assert_eq!(names, ["u"]);
    });
}
