//! How long a single change takes from its commit on the server until another SQLite connection sees its history row.
//!
//! The commit time is the server's own (`immediate_commit_timestamp`, which it takes before it makes the commit durable), read
//! by its own `mysqlbinlog`. `HINDSIGHT_TEST_LONG=1` takes 1,200 changes instead of 200.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hindsight_tests::live::Live;
use hindsight_tests::mysql::{Mysql, OUTLIVES_KILLS, mysqlbinlog};
use hindsight_tests::oracle::Change;
use hindsight_tests::pipeline::{Place, Rule, TABLE};
use hindsight_tests::say::say;
use hindsight_tests::steps::Steps;
use rusqlite::{Connection, OpenFlags};

/// At most twenty changes a second.
const PAUSE: Duration = Duration::from_millis(50);

/// Loose: the machine may be busy with other tests. The figure that counts is printed.
const P99_MAX: Duration = Duration::from_millis(500);

#[test]
fn a_single_change_is_visible_soon_after_its_commit() {
    let n_changes = if std::env::var_os("HINDSIGHT_TEST_LONG").is_some() { 1_200 } else { 200 };
    let server = Mysql::start(OUTLIVES_KILLS);
    server.sql(Steps::SCHEMA);
    server.add_reader();
    let place = Live::of(&server).place();
    let mut running = place.follow();
    let mut steps = Steps::default();
    server.sql(&steps.insert(1, 1, "the first one makes the table"));
    place.wait_until_all_is_done(&server, &mut running);
    server.finished_logs();

    let changes: Vec<String> = (0..n_changes).map(|n| steps.insert(2 + n, n % 50, "a single change")).collect();
    let seen_us = thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&place, 1 + n_changes));
        let written = server.feed(|client| {
            for sql in &changes {
                writeln!(client, "{sql}")?;
                client.flush()?;
                // The pace is the test's condition.
                thread::sleep(PAUSE);
            }
            Ok(())
        });
        written.unwrap_or_else(|error| panic!("write single changes: {error}"));
        watching.join().expect("watch the history")
    });
    place.wait_until_all_is_done(&server, &mut running);
    running.stop();
    place.assert_is(Rule::ByOwner, &steps.changes as &[Change], "single changes");

    let committed_us = commit_times(&server);
    assert_eq!(committed_us.len(), seen_us.len());
    let mut taken: Vec<Duration> = committed_us
        .iter()
        .zip(&seen_us)
        .map(|(committed_us, seen_us)| Duration::from_micros(seen_us.saturating_sub(*committed_us)))
        .collect();
    taken.sort();
    let at = |percent: usize| taken[(taken.len() * percent / 100).min(taken.len() - 1)];
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    say(&format!(
        "commit to visible, {} single changes: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        taken.len(),
        ms(at(50)),
        ms(at(90)),
        ms(at(99)),
        ms(at(100))
    ));
    assert!(at(99) < P99_MAX, "p99 is {:?}", at(99));
}

/// When each row from id 2 to `last` was first seen, microseconds since 1970.
fn watch(place: &Place, last: i64) -> Vec<u64> {
    let history =
        Connection::open_with_flags(place.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).expect("open the history");
    let mut newest = history.prepare(&format!("SELECT MAX(source_id) FROM {TABLE}")).expect("read the history");
    let (mut seen_us, begun) = (Vec::new(), Instant::now());
    while (seen_us.len() as i64) < last - 1 {
        let id: i64 = newest.query_row([], |row| row.get(0)).expect("read the history");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_micros() as u64;
        seen_us.resize((id - 1) as usize, now);
        assert!(
            begun.elapsed() < PAUSE * last as u32 + Duration::from_secs(60),
            "row {} is not there",
            seen_us.len() + 2
        );
        thread::sleep(Duration::from_micros(200));
    }
    seen_us
}

/// Of the transactions in the log that was just written.
fn commit_times(server: &Mysql) -> Vec<u64> {
    let text = mysqlbinlog(&[], &[server.finished_log()]);
    let times = text.lines().filter_map(|line| line.strip_prefix("# immediate_commit_timestamp="));
    times.filter_map(|rest| rest.split_whitespace().next()?.parse().ok()).collect()
}
