//! A snapshot whose connections are cut by the server again and again, and whose server falls.

use std::thread;
use std::time::{Duration, Instant};

use hindsight_tests::dump;
use hindsight_tests::live::{Live, Running, WAIT_MAX};
use hindsight_tests::mysql::{Client, Mysql, OUTLIVES_KILLS};
use hindsight_tests::pipeline::Rule;
use hindsight_tests::say::say;
use hindsight_tests::writers::Writing;

use super::follower::{COMMANDS, Command, Follower, Phase};

/// Of the connections of all followers at once.
const CUTS: usize = 12;

#[test]
fn a_snapshot_goes_on_after_lost_connections_and_a_fallen_server() {
    let writing = Writing { seed: 13, rows: 3_000, ..Writing::default() };
    let mut server = Mysql::start(OUTLIVES_KILLS);
    server.add_reader();
    writing.fill(&server);
    // As fast as a kill comes again: reading takes some seconds.
    let snapshot = "snapshot = \"initial\"\nsnapshot-chunk-rows = 20\nsnapshot-rows-per-second = 500";
    let live = Live { snapshot, batch: 60, source: "heartbeat = \"1s\"", ..Live::of(&server) };
    let followers = COMMANDS.map(|command| Follower::new(command, &live));
    let mut running = followers.each_ref().map(|follower| follower.start(|_| {}));
    let writers = writing.start(&server);
    wait_until_all_read_on(&followers, &mut running);
    writers.stop();
    let reading = || followers.iter().filter(|follower| follower.stands().phase == Phase::Reading).count();
    assert!(reading() > 0, "the server falls while chunks are open");
    server.kill();
    server.start_again(&[]);
    let writers = writing.start(&server);
    let client = server.client();
    let mut cut_while_reading = 0;
    for cut in 0..CUTS {
        wait_until_all_read_on(&followers, &mut running);
        cut_while_reading += reading().min(1);
        let n = cut_connections(&client);
        let stand: Vec<String> = followers.iter().map(|follower| follower.stands().to_string()).collect();
        say(&format!("cut {cut:>2}: {n} connections, {}", stand.join(", ")));
    }
    assert!(cut_while_reading > 0, "connections are cut while chunks are open");
    writers.stop();
    for (follower, process) in followers.iter().zip(&mut running) {
        follower.wait_until_all_is_done(&server, process);
    }
    running.into_iter().for_each(|process| _ = process.stop());
    let log = dump::read(&server.finished_logs()).logged("item_assets");
    for follower in &followers {
        follower.assert_is(&log, true);
    }
}

/// What a chunk's rows hold is not in the position's transactions yet: a server without it is another history all the same.
#[test]
fn a_replica_that_lacks_what_rows_hold_is_waited_for() {
    // One writer has one interval of GTIDs.
    let writing = Writing { seed: 19, rows: 1_000, writers: 1, ..Writing::default() };
    let mut first = Mysql::start(OUTLIVES_KILLS);
    first.add_reader();
    writing.fill(&first);
    let second = Mysql::start(&["--server-id=2"]);
    second.follow(&first);
    second.wait_until_executed(&first.executed());
    let snapshot = "snapshot = \"initial\"\nsnapshot-chunk-rows = 20\nsnapshot-rows-per-second = 200";
    let live = Live {
        urls: vec![first.url(), second.url()],
        snapshot,
        batch: 60,
        source: "heartbeat = \"1s\"",
        ..Live::default()
    };
    let follower = Follower::new(Command::Run(Rule::ByOwner), &live);
    let mut running = follower.start(|_| {});
    let begun = follower.wait_until(&mut running, |stands| stands.rows > 0);
    second.lag();
    let writers = writing.start(&first);
    follower.wait_until(&mut running, |stands| stands.rows > begun.rows + 100);
    writers.stop();
    let executed = first.executed();
    second.wait_until_received(&executed);
    first.kill();
    let tried = running.wait_for_log(&["does not have the transactions", &second.port().to_string()]);
    let stands = follower.stands();
    assert_eq!(stands.phase, Phase::Reading);
    running.wait_for_log_after(tried, &["does not have the transactions"]);
    assert_eq!(follower.stands(), stands, "nothing is read meanwhile");

    second.stop_lagging();
    second.wait_until_executed(&executed);
    second.stop_following();
    let writers = writing.start(&second);
    follower.wait_until(&mut running, |stands| stands.phase > Phase::Reading);
    writers.stop();
    follower.wait_until_all_is_done(&second, &mut running);
    running.stop();
    follower.assert_is(&dump::read(&second.finished_logs()).logged("item_assets"), true);
}

/// Each reads a chunk more, or has read all.
fn wait_until_all_read_on(followers: &[Follower; 3], running: &mut [Running; 3]) {
    for (follower, process) in followers.iter().zip(running) {
        let rows = follower.stands().rows;
        follower.wait_until(process, |stands| stands.phase > Phase::Reading || stands.rows > rows);
    }
}

/// Those of the followers' account; gives how many there were.
#[track_caller]
fn cut_connections(client: &Client) -> usize {
    let begun = Instant::now();
    loop {
        let ids =
            client.try_sql("SELECT id FROM information_schema.processlist WHERE user = 'repl'").expect("list them");
        let ids: Vec<&str> = ids.lines().collect();
        // One may have ended by itself meanwhile: no such thread.
        let kills = ids.iter().map(|id| format!("KILL {id};")).collect::<String>();
        client.feed_through(&[1094], |client| client.write_all(kills.as_bytes())).expect("kill them");
        if !ids.is_empty() {
            return ids.len();
        }
        assert!(begun.elapsed() < WAIT_MAX, "nobody is connected");
        thread::sleep(Duration::from_millis(5));
    }
}
