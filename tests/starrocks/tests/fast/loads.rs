//! The plain Stream Load.

use starrocks_stand_in::{Action, Settings, State};

use crate::raw::{Ask, Got, ROW, SILENCE, cluster, cluster_with};

#[test]
fn a_load_goes_by_way_of_a_redirect_and_is_visible_when_it_is_answered() {
    let cluster = cluster();
    let Got::Reply { status, continued, location, .. } = cluster.plain("a", ROW).send() else { panic!("no reply") };
    assert_eq!((status, continued), (307, false));
    let ports = cluster.it.ports();
    let location = location.expect("a Location");
    assert!(ports.be.iter().any(|be| location == format!("http://127.0.0.1:{be}/api/d/t/_stream_load")), "{location}");
    let got = cluster.plain("a", ROW).follow();
    assert_eq!((got.status().as_str(), got.message().as_str(), got.continued()), ("Success", "OK", true));
    assert_eq!((got.json()["NumberTotalRows"].as_u64(), got.json()["NumberLoadedRows"].as_u64()), (Some(1), Some(1)));
    assert_eq!(cluster.shown(0, "k, name, must"), ["1,a,m"]);
    let counts = cluster.counts("a");
    assert_eq!((counts.begun, counts.bodies, counts.commits, counts.visible), (1, 1, 1, 1));
}

#[test]
fn both_frontends_take_loads_and_turns_are_taken_among_backends() {
    let cluster = cluster();
    let target = |fe: usize| {
        let Got::Reply { location, .. } = Ask { port: cluster.it.ports().fe[fe], ..cluster.plain("a", ROW) }.send()
        else {
            panic!("no reply")
        };
        location
    };
    assert_ne!(target(0), target(1));
}

#[test]
fn a_load_is_begun_at_its_headers_before_the_100() {
    let cluster = cluster();
    let be = cluster.it.ports().be[0];
    // The head alone: the 100 is not followed by a body.
    let mut ask = cluster.plain("a", ROW);
    ask.port = be;
    let (mut stream, head) = (std::net::TcpStream::connect(("127.0.0.1", be)).unwrap(), head(&ask));
    use std::io::{Read, Write};
    stream.write_all(head.as_bytes()).unwrap();
    let mut line = [0; 25];
    stream.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(cluster.state("a"), "PREPARE");
    // Another one under the label is refused before it may send its body.
    let got = ask.send();
    assert_eq!((got.status().as_str(), got.continued()), ("Label Already Exists", false));
    assert_eq!(got.json()["ExistingJobStatus"], "RUNNING");
    // The client goes away: the BE gives up.
    drop(stream);
    cluster.until_state("a", "ABORTED");
}

#[test]
fn a_body_whose_transaction_is_cancelled_or_lost_is_refused() {
    use std::io::{Read, Write};
    for (is_cancelled, expected) in [(true, "already aborted"), (false, "transaction not found")] {
        let cluster = cluster();
        let mut ask = cluster.plain("a", ROW);
        ask.port = cluster.it.ports().be[0];
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", ask.port)).unwrap();
        stream.write_all(head(&ask).as_bytes()).unwrap();
        stream.read_exact(&mut [0; 25]).unwrap();
        if is_cancelled {
            assert_eq!(cluster.ask("POST", "/api/d/a/_cancel").send().status(), "OK");
            assert_eq!(cluster.state("a"), "ABORTED");
        } else {
            cluster.act(Action::SwitchLeader { to: None });
            assert_eq!(cluster.state("a"), "UNKNOWN");
        }
        stream.write_all(ROW.as_bytes()).unwrap();
        let mut reply = [0; 1_024];
        let n = stream.read(&mut reply).unwrap();
        let reply = String::from_utf8_lossy(&reply[..n]);
        assert!(reply.contains("\"Status\": \"Fail\"") && reply.contains(expected), "{reply}");
        assert!(cluster.shown(0, "k").is_empty() && cluster.shown(1, "k").is_empty());
    }
}

#[test]
fn what_the_real_one_refuses_is_refused_with_its_words() {
    let cluster = cluster();
    let without = Ask { unasked: true, ..cluster.plain("a", ROW) };
    let got = without.send();
    assert_eq!(got.status(), "FAILED");
    assert!(got.message().ends_with("There is no 100-continue header"), "{got:?}");
    let with = |name, value: &str| {
        let mut ask = cluster.plain("a", ROW);
        ask.headers.retain(|(own, _)| *own != name);
        ask.headers.push((name, value.into()));
        ask.follow()
    };
    assert_eq!(with("format", "xml").message(), "unknown data format, format=xml");
    assert!(with("label", "dots.are.not").message().starts_with("Label format error"));
    assert_eq!(with("strict_mode", "x").message(), "Invalid strict mode format. Must be bool type");
    assert!(matches!(with("Authorization", "Basic eDp5"), Got::Reply { status: 401, .. }));
    let at = |path: &str| Ask { path: path.into(), ..cluster.plain("a", ROW) }.follow().message();
    assert_eq!(at("/api/no/t/_stream_load"), "unknown database, database=no");
    assert_eq!(at("/api/d/no/_stream_load"), "unknown table \"d.no\"");
    assert_eq!(cluster.plain("e", "[]").follow().message(), "all partitions have no load data");
    assert_eq!(cluster.state("a"), "UNKNOWN");
}

#[test]
fn a_version_is_visible_after_its_delay_and_at_a_follower_later() {
    let cluster = cluster_with(Settings { publish_delay_ms: 60_000, publish_wait_ms: 50, ..Settings::default() });
    let got = cluster.plain("a", ROW).follow();
    assert_eq!((got.status().as_str(), cluster.state("a").as_str()), ("Publish Timeout", "COMMITTED"));
    assert!(cluster.shown(0, "k").is_empty());
    cluster.act(Action::PublishDelay { fe: 1, delay_ms: 3_600_000 });
    cluster.act(Action::Skip { ms: 60_000 });
    cluster.until_state("a", "VISIBLE");
    assert_eq!((cluster.shown(0, "k").len(), cluster.shown(1, "k").len()), (1, 0));
    // A follower that becomes leader has read the journal to its end.
    cluster.act(Action::SwitchLeader { to: Some(1) });
    assert_eq!(cluster.shown(1, "k").len(), 1);
    assert_eq!(cluster.it.transaction("d", "a").map(|found| found.state), Some(State::Visible));
}

#[test]
fn versions_become_visible_in_the_order_of_their_commits() {
    let cluster = cluster_with(Settings { publish_wait_ms: 0, ..Settings::default() });
    let held = starrocks_stand_in::Fault::PublishTimeout { visible_after_ms: None };
    cluster.rule(starrocks_stand_in::Rule::new("be.stream_load", held).nth(1));
    assert_eq!(cluster.plain("a", ROW).follow().status(), "Publish Timeout");
    let second = cluster.plain("b", r#"[{"k":1,"name":"later","must":"m"}]"#).follow();
    assert_eq!(second.status(), "Publish Timeout");
    std::thread::sleep(SILENCE);
    assert_eq!(cluster.state("b"), "COMMITTED");
    cluster.act(Action::Release);
    cluster.until_state("b", "VISIBLE");
    assert_eq!(cluster.shown(0, "name"), ["later"]);
}

fn head(ask: &Ask<'_>) -> String {
    let mut head = format!("PUT {} HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: {}\r\n", ask.path, ROW.len());
    ask.headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    head + "\r\n"
}
