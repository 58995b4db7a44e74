//! curl with `--location-trusted`, as StarRocks' own documentation has it.

use std::io::Write;

use crate::clients::{cluster, in_path, n_rows, printed};

const ROWS: &str = "1\t7\t2026-01-01 00:00:00\ta\n2\t7\t2026-01-01 00:00:01\t\\N\n";
const COLUMNS: &str = "columns: source_id, owner_id, effective_start_ts, asset_info";

#[test]
fn curl_loads_by_one_request_from_leader_and_follower() {
    let Some(curl) = in_path("curl") else { return };
    let cluster = cluster();
    let mut file = tempfile::NamedTempFile::new().expect("make a file");
    file.write_all(ROWS.as_bytes()).expect("write rows");
    let path = file.path().display().to_string();
    for (n, fe) in cluster.ports().fe.iter().enumerate() {
        let (url, label) = (format!("http://127.0.0.1:{fe}/api/d/t/_stream_load"), format!("label: l{n}"));
        let plain =
            ["-sS", "--location-trusted", "-u", "root:", "-H", "Expect: 100-continue", "-H", &label, "-H", COLUMNS];
        let said = printed(&curl, &[&plain[..], &["-T", &path, &url]].concat());
        assert!(said.contains("\"Status\": \"Success\""), "{said}");
    }
    assert_eq!(n_rows(&cluster), "2");
}

#[test]
fn curl_goes_through_the_transaction_interface() {
    let Some(curl) = in_path("curl") else { return };
    let cluster = cluster();
    let mut file = tempfile::NamedTempFile::new().expect("make a file");
    file.write_all(ROWS.as_bytes()).expect("write rows");
    let path = file.path().display().to_string();
    for operation in ["begin", "load", "prepare", "commit"] {
        let url = format!("http://127.0.0.1:{}/api/transaction/{operation}", cluster.ports().fe[1]);
        let mut arguments = vec!["-sS", "--location-trusted", "-u", "root:", "-H", "Expect: 100-continue"];
        arguments.extend(["-H", "label: x", "-H", "db: d", "-H", "table: t", "-H", COLUMNS]);
        arguments.extend(if operation == "load" { ["-T", &path] } else { ["-X", "POST"] });
        arguments.push(&url);
        let said = printed(&curl, &arguments);
        assert!(said.contains("\"Status\": \"OK\""), "{operation}: {said}");
    }
    assert_eq!(n_rows(&cluster), "2");
}
