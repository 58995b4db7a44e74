//! What becomes of rows.

use crate::raw::{Ask, Got, cluster};

#[test]
fn the_last_row_of_a_key_wins_upsert_or_deletion_alike() {
    let cluster = cluster();
    cluster.loaded(
        "a",
        r#"[{"k":1,"name":"a","must":"m"},{"k":1,"name":"b","must":"m"},
            {"k":2,"name":"c","must":"m"},{"k":2,"__op":1},
            {"k":3,"__op":1},{"k":3,"name":"d","must":"m","__op":0}]"#,
    );
    assert_eq!(cluster.shown(0, "k, name"), ["1,b", "3,d"]);
    cluster.loaded("b", r#"[{"k":3,"__op":"delete"}]"#);
    assert_eq!(cluster.shown(0, "k"), ["1"]);
}

#[test]
fn rows_that_do_not_fit_are_filtered_and_the_error_log_says_why() {
    let cluster = cluster();
    let rows = r#"[{"k":1,"must":"m"},{"k":2},{"k":3,"must":"too long"},{"k":4,"must":"m","price":"1000.00"}]"#;
    let got = cluster.plain("a", rows).follow();
    assert_eq!((got.status().as_str(), got.message().as_str()), ("Fail", "too many filtered rows"));
    assert_eq!(got.json()["NumberFilteredRows"], 3);
    let url = got.json()["ErrorURL"].as_str().expect("an ErrorURL").to_owned();
    let (address, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL");
    let port = address.rsplit(':').next().unwrap().parse().unwrap();
    let Got::Reply { body, .. } = (Ask { port, ..cluster.ask("GET", &format!("/{path}")) }).send() else {
        panic!("no log")
    };
    let lines: Vec<&str> = body.lines().map(|line| line.split(". Row: ").next().unwrap()).collect();
    assert_eq!(
        lines,
        [
            "Error: NULL value in non-nullable column 'must'",
            "Error: String 'too long'(length=8) is too long. The max length of 'must' is 5",
            "Error: Decimal '1000.00' is out of range. The type of 'price' is DECIMAL(5,2)'",
        ]
    );
    assert_eq!(cluster.state("a"), "ABORTED");
    let mut some = cluster.plain("a", rows);
    some.headers.push(("max_filter_ratio", "0.75".into()));
    assert_eq!(some.follow().status(), "Success");
    assert_eq!(cluster.shown(0, "k"), ["1"]);
}

#[test]
fn what_cannot_be_converted_is_null_in_silence_unless_strict_mode_is_on() {
    let cluster = cluster();
    let rows = r#"[{"k":1,"at":"no time","must":"m"}]"#;
    cluster.loaded("a", rows);
    assert_eq!(cluster.shown(0, "k, at"), ["1,NULL"]);
    let mut strict = cluster.plain("b", rows);
    strict.headers.push(("strict_mode", "true".into()));
    assert_eq!(strict.follow().message(), "too many filtered rows");
}

#[test]
fn a_merge_condition_keeps_newer_rows_but_not_from_deletions() {
    let cluster = cluster();
    let load = |label: &str, rows: &'static str| {
        let mut ask = cluster.plain(label, rows);
        ask.headers.push(("merge_condition", "seq".into()));
        assert_eq!(ask.follow().status(), "Success");
    };
    load("a", r#"[{"k":1,"name":"new","seq":5,"must":"m"}]"#);
    load("b", r#"[{"k":1,"name":"old","seq":4,"must":"m"}]"#);
    assert_eq!(cluster.shown(0, "name"), ["new"]);
    load("c", r#"[{"k":1,"name":"same","seq":5,"must":"m"}]"#);
    assert_eq!(cluster.shown(0, "name"), ["same"]);
    load("d", r#"[{"k":1,"seq":1,"__op":1}]"#);
    assert!(cluster.shown(0, "name").is_empty());
}

#[test]
fn csv_has_its_own_nulls_separators_and_columns() {
    let cluster = cluster();
    let mut ask = cluster.plain("a", "1|a|0;2|\\N|0;3|c|1;2|b|1;");
    ask.headers.retain(|(name, _)| !["format", "strip_outer_array"].contains(name));
    ask.headers.extend([
        ("column_separator", "|".to_owned()),
        ("row_delimiter", ";".to_owned()),
        ("columns", "k, name, __op".to_owned()),
    ]);
    let got = ask.follow();
    assert_eq!((got.status().as_str(), got.json()["NumberLoadedRows"].as_u64()), ("Success", Some(4)));
    assert_eq!(cluster.shown(0, "k, name, must"), ["1,a,x"]);
}

#[test]
fn a_primary_key_that_is_too_long_fails_the_load() {
    let cluster = cluster();
    cluster.it.sql("CREATE TABLE d.long (k VARCHAR(200)) PRIMARY KEY (k) DISTRIBUTED BY HASH (k)").unwrap();
    let rows = format!("[{{\"k\":\"{}\"}}]", "x".repeat(129));
    let got = Ask { path: "/api/d/long/_stream_load".into(), ..cluster.plain("a", &rows) }.follow();
    assert_eq!(got.message(), "primary key size exceed the limit.");
}

#[test]
fn values_are_shown_as_starrocks_would_print_them() {
    let cluster = cluster();
    cluster.it
        .sql(
            "CREATE TABLE d.v (k BIGINT, b BOOLEAN, l LARGEINT, f FLOAT, x DOUBLE, d DATE, j JSON, c DECIMAL(20, 3), y VARBINARY) \
             PRIMARY KEY (k) DISTRIBUTED BY HASH (k)",
        )
        .unwrap();
    let rows = r#"[{"k":1,"b":true,"l":170141183460469231731687303715884105727,"f":1.1,"x":1.1,"d":"2026-02-28 01:02:03",
        "j":{"a":[1]},"c":12345678901234567.8915,"y":"é"}]"#;
    let got = Ask { path: "/api/d/v/_stream_load".into(), ..cluster.plain("a", rows) }.follow();
    assert_eq!(got.status(), "Success", "{got:?}");
    let shown = cluster.it.select(0, "d", "SELECT * FROM v").unwrap();
    let shown: Vec<&str> = shown[0].iter().map(|cell| cell.as_deref().unwrap_or("NULL")).collect();
    let largest = "170141183460469231731687303715884105727";
    assert_eq!(shown, ["1", "1", largest, "1.1", "1.1", "2026-02-28", "{\"a\": [1]}", "12345678901234567.892", "é"]);
}
