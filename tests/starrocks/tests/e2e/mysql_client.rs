//! MySQL's own command-line client.

use crate::clients::{below_target, cluster, printed, run};

#[test]
fn mysqls_client_makes_fills_and_reads_a_table() {
    let Some(mysql) = below_target("mysql/bin/mysql") else { return };
    let cluster = cluster();
    let port = format!("--port={}", cluster.ports().mysql[0]);
    let client = ["--no-defaults", "--host=127.0.0.1", "--user=root", &port, "--batch", "--skip-column-names", "-e"];
    let sql = "CREATE TABLE d.u (k BIGINT, v VARCHAR(5)) PRIMARY KEY (k) DISTRIBUTED BY HASH (k); USE d; \
               INSERT INTO u VALUES (1, 'a'), (2, NULL); SELECT * FROM u ORDER BY k; SHOW TABLES; SELECT COUNT(*) FROM u";
    assert_eq!(printed(&mysql, &[&client[..], &[sql]].concat()), "1\ta\n2\tNULL\nt\nu\n2\n");
    let refused = run(&mysql, &[&client[..], &["KILL 1"]].concat());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("ERROR 1064"), "{refused:?}");
}
