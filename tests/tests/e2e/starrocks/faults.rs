//! Every fault of StarRocks that a load can meet, while changes come: the table is the oracle's, and no label is sent twice.

use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::generator::{play, served};
use hindsight_tests::kafka;
use hindsight_tests::live::{Running, WAIT_MAX};
use hindsight_tests::say::say;
use hindsight_tests::starrocks::Cluster;
use hindsight_tests::starrocks::faults::{Then, faults};
use hindsight_tests::topic::Topic;
use starrocks_stand_in::{BadReply, Fault, Outage, Rule, Settings};

use super::{RULES, is_long, list, load, member, place, run, start};

/// Beside those of a load: of the questions what became of one, and of reading rows.
fn of_questions() -> Vec<(&'static str, Fault, Then)> {
    let of_state = [
        Fault::Unavailable { how: Outage::Error500 },
        Fault::Unavailable { how: Outage::Reset },
        Fault::BadReply { how: BadReply::HalfJson },
        Fault::LoseReply,
    ];
    let states = of_state.into_iter().map(|fault| ("get_load_state", fault, Then::GoesOn));
    states.chain([("mysql.query", Fault::Unavailable { how: Outage::Reset }, Then::GoesOn)]).collect()
}

#[test]
fn whatever_goes_wrong_in_starrocks_the_table_is_the_oracles() {
    let server = served();
    let cluster = Cluster::with(Settings {
        transaction_clean_interval_ms: 100,
        label_keep_max_num: 1_000_000,
        ..Settings::default()
    });
    let topic = Topic::on(kafka::shared());
    let timings = if is_long() { 20 } else { 2 };
    // What waits for ten seconds is for the long form.
    let is_slow = |fault: &Fault| matches!(fault, Fault::RedirectToHungBe | Fault::NeverContinue);
    let cases: Vec<_> = faults().into_iter().filter(|(_, fault, _)| is_long() || !is_slow(fault)).collect();
    let n_cases = cases.len() * timings;
    let transactions = load(727, n_cases * if is_long() { 260 } else { 130 });
    let places = RULES.map(|rule| place(&cluster, &server, &member(&topic), rule, ""));
    let mut capture = start(&places[0].0, "capture", None);
    let mut applying: Vec<Running> = places.iter().map(|(place, _)| start(place, "apply", None)).collect();
    let (mut played, mut stops, mut rest) = (0, 0, &transactions[..]);
    for (endpoint, fault, then) in cases {
        for nth in 1..=timings as u64 {
            let id = cluster.stand.fault(Rule::new(endpoint, fault.clone()).nth(nth)).expect("the rule");
            let case = format!("{endpoint} {fault:?}, call {nth}");
            let (begun, mut has_stopped) = (Instant::now(), false);
            // Changes come until it is met; what asks what became of a load is only met where another fault is.
            while cluster.stand.faults().iter().any(|listed| listed.id == id && listed.played == 0) {
                let (some, others) = rest.split_at(rest.len().min(10));
                assert!(!some.is_empty(), "{case}: the load is at its end");
                rest = others;
                play(&server, some);
                thread::sleep(Duration::from_millis(60));
                assert!(begun.elapsed() < WAIT_MAX, "{case} is not met");
                capture.assert_runs();
                for (running, (place, _)) in applying.iter_mut().zip(&places) {
                    if !running.is_running() {
                        let ended = std::mem::replace(running, start(place, "apply", None)).end();
                        assert_eq!(ended.exit, Some(1), "{case}: {}", ended.err);
                        has_stopped = true;
                    }
                }
            }
            played += 1;
            cluster.stand.clear_faults(Some(id));
            // One that has to stop has its moment to.
            if then == Then::Stops && !has_stopped {
                let mut ended = None;
                while ended.is_none() {
                    ended = applying.iter_mut().position(|running| !running.is_running());
                    assert!(begun.elapsed() < WAIT_MAX, "{case}: nobody stops");
                    thread::sleep(Duration::from_millis(5));
                }
                let at = ended.expect("it was found");
                let ended = std::mem::replace(&mut applying[at], start(&places[at].0, "apply", None)).end();
                assert_eq!(ended.exit, Some(1), "{case}: {}", ended.err);
                has_stopped = true;
            }
            assert_eq!(has_stopped, then == Then::Stops, "{case}");
            stops += usize::from(has_stopped);
        }
    }
    for (endpoint, fault, _) in of_questions() {
        // A lost reply of a commit has the label asked for.
        for rule in [Rule::new(endpoint, fault.clone()).nth(1), Rule::new("be.commit", Fault::LoseReply).nth(1)] {
            cluster.stand.fault(rule).expect("the rule");
        }
        let (some, others) = rest.split_at(rest.len().min(40));
        rest = others;
        play(&server, some);
        thread::sleep(Duration::from_millis(100));
    }
    topic.wait_until_all_is_captured(&server, &mut capture);
    capture.stop();
    applying.into_iter().for_each(|running| _ = running.stop());
    cluster.stand.clear_faults(None);
    let done = &transactions[..transactions.len() - rest.len()];
    for ((place, table), rule) in places.iter().zip(RULES) {
        run(place, "apply");
        cluster.assert_is(table, rule, &list(done), &format!("{rule:?} after {played} faults"));
    }
    let n_labels = cluster.assert_each_label_sent_once();
    say(&format!("{played} faults, {stops} stops, {} changes, {n_labels} labels, each sent once", list(done).len()));
    assert_eq!((played, cluster.n_dead_letters()), (n_cases, 0));
}
