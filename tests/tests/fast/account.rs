//! The judge of a snapshot finds each kind of fault in a run that was right.

use hindsight_tests::account::{Judgement, Logged, What, judge};
use hindsight_tests::events::{Checkpoint, Emitted, Recorded, parse};
use hindsight_tests::oracle::{self, Change, Event, Op, Row, Side};

const TABLE: &str = "shop.item_assets";

/// The log: transaction n is `aa:n`. Owners below 10 are one chunk, whose high watermark is 5; the others another, with 7.
/// Both were read behind 3.
fn log() -> Vec<Logged> {
    let mut made = Vec::new();
    let mut add = |n: u64, op, before: Option<Row>, after: Option<Row>| {
        let change = Change { op, time_us: n as i64 * 1_000, before, after };
        made.push(Logged { table: TABLE.into(), gtid: Some(format!("aa:{n}")), change });
    };
    add(1, Op::Create, None, row(1, 5, "a"));
    add(1, Op::Create, None, row(2, 5, "b"));
    add(2, Op::Create, None, row(3, 15, "c"));
    add(3, Op::Create, None, row(4, 16, "d"));
    add(4, Op::Update, row(1, 5, "a"), row(1, 5, "a4"));
    // Between the chunks, inside the high watermark of the one that it leaves, behind that of the one at which it arrives.
    add(6, Op::Update, row(3, 15, "c"), row(3, 5, "c6"));
    add(6, Op::Update, row(2, 5, "b"), row(2, 5, "b6"));
    add(7, Op::Delete, row(4, 16, "d"), None);
    add(8, Op::Update, row(2, 5, "b6"), row(20, 15, "b8"));
    add(9, Op::Update, row(1, 5, "a4"), row(1, 5, "a9"));
    add(10, Op::Delete, row(1, 5, "a9"), None);
    made
}

/// What a run over it emits: rows first, and then the changes that are in none of them.
fn emitted() -> Vec<Emitted> {
    let read = |row: Option<Row>| {
        let change = Change { op: Op::Read, time_us: 7, before: None, after: row };
        Emitted { table: TABLE.into(), event: Event { change, side: Side::Stays }, gtid: None }
    };
    let mut events = vec![read(row(1, 5, "a4")), read(row(2, 5, "b"))];
    for logged in log() {
        let number: u64 = logged.gtid.as_ref().unwrap()[3..].parse().unwrap();
        for event in oracle::events(&logged.change) {
            if number > if event.owner() < Some(10) { 5 } else { 7 } {
                events.push(Emitted { table: TABLE.into(), event, gtid: logged.gtid.clone() });
            }
        }
    }
    events
}

fn row(id: i64, owner: i64, info: &str) -> Option<Row> {
    Some(Row { id: Some(id), owner: Some(owner), info: Some(info.into()), registered_us: Some(0) })
}

fn judged(events: Vec<Emitted>) -> Judgement {
    judged_with(events, "[\"owner_id\"]", "[\"i10\"]")
}

/// `to`: where the first chunk ends.
fn judged_with(events: Vec<Emitted>, key: &str, to: &str) -> Judgement {
    let position = |stage: &str, done: &str| {
        format!(
            "mysql/1 skip=0 crc=00000000 time=0 file=f at=4 gtids=aa:1-3 snapshot={{\"again\":false,\"tables\":[{{\
             \"name\":\"{TABLE}\",\"stage\":\"{stage}\",\"key\":{key},\"done\":[{done}],\"rows\":2}}]}}"
        )
    };
    let first = format!("{{\"from\":null,\"to\":{to},\"high\":\"aa:1-5\"}}");
    let second = "{\"from\":[\"i10\"],\"to\":null,\"high\":\"aa:1-7\"}";
    let checkpoint = |position: String| Checkpoint::parse(&position, events.len()).unwrap();
    let checkpoints =
        vec![checkpoint(position("reading", &first)), checkpoint(position("ended", &format!("{first},{second}")))];
    judge(&log(), &Recorded { events: events.clone(), checkpoints }, true)
}

fn whats(judgement: &Judgement) -> Vec<What> {
    let mut whats: Vec<What> = judgement.faults.iter().map(|fault| fault.what).collect();
    whats.sort_unstable();
    whats.dedup();
    whats
}

#[test]
fn a_run_that_is_right_has_no_fault() {
    let judgement = judged(emitted());
    judgement.assert_fine("as it should be");
    let Judgement { n_entities, n_reads, n_followed, n_held, n_halves, n_points, .. } = judgement;
    assert_eq!((n_entities, n_reads, n_followed, n_held, n_halves, n_points), (3, 2, 6, 3, 1, 2));
}

#[test]
fn each_event_that_is_lost_doubled_or_exchanged_is_found() {
    let right = emitted();
    for at in 0..right.len() {
        let mut lost = right.clone();
        lost.remove(at);
        assert!(!judged(lost).faults.is_empty(), "{:?} was lost", right[at]);
        let mut doubled = right.clone();
        doubled.insert(at, right[at].clone());
        assert!(!judged(doubled).faults.is_empty(), "{:?} came twice", right[at]);
        for other in at + 1..right.len() {
            let mut exchanged = right.clone();
            exchanged.swap(at, other);
            // Rows of a chunk have no order.
            assert_eq!(judged(exchanged).faults.is_empty(), other < 2, "{at} and {other} were exchanged");
        }
    }
}

#[test]
fn each_kind_of_fault_is_named() {
    let right = emitted();
    let arrives = right.iter().position(|emitted| emitted.event.side == Side::Arrives).unwrap();
    type Spoil<'a> = &'a dyn Fn(&mut Vec<Emitted>);
    let cases: [(&str, Spoil<'_>, &[What]); 9] = [
        ("a stale row", &|events| events[0].event.change.after = row(1, 5, "a"), &[What::OtherRows]),
        (
            "a row of an owner who had none",
            &|events| events[1].event.change.after = row(4, 16, "d"),
            &[What::OtherRows],
        ),
        ("a row read twice", &|events| events.insert(1, events[0].clone()), &[What::ReadTwice]),
        ("a row read late", &|events| events.swap(0, arrives), &[What::ReadLate]),
        (
            "the side of a move that is not held",
            &|events| _ = events.remove(arrives),
            &[What::OtherRows, What::OtherCut],
        ),
        ("another time", &|events| events[arrives].event.change.time_us += 1, &[What::NotTheLog]),
        ("another transaction", &|events| events[arrives].gtid = Some("aa:5".into()), &[What::NotTheLog]),
        (
            "a change that nobody made",
            &|events| events[arrives].event.change.after = row(3, 6, "c6"),
            &[What::NotTheLog],
        ),
        ("owners out of order", &|events| events.swap(4, 5), &[What::OutOfOrder]),
    ];
    for (name, spoil, wanted) in cases {
        let mut events = right.clone();
        spoil(&mut events);
        let found = whats(&judged(events));
        assert!(wanted.iter().all(|what| found.contains(what)), "{name}: {found:?}");
    }
}

/// Rows that are those of one point, and every change behind it: but the point is not the chunk's.
#[test]
fn a_cut_that_is_not_the_high_watermark_is_found() {
    let mut early = emitted();
    early[0].event.change.after = row(1, 5, "a");
    let held = &log()[4];
    let event = oracle::events(&held.change).remove(0);
    early.insert(2, Emitted { table: TABLE.into(), event, gtid: held.gtid.clone() });
    assert_eq!(whats(&judged(early.clone())), [What::OtherCut]);
    // Without the watermarks it is as good as any.
    judge(&log(), &Recorded { events: early, checkpoints: Vec::new() }, false).assert_fine("one point is one point");
}

#[test]
fn chunks_that_are_not_the_table_once_are_found() {
    for to in ["null", "[\"i9\"]", "[\"i11\"]"] {
        let judgement = judged_with(emitted(), "[\"owner_id\"]", to);
        assert!(whats(&judgement).contains(&What::Chunks), "{to}: {:?}", judgement.faults);
    }
    assert_eq!(whats(&judged_with(emitted(), "[\"id\"]", "[\"i10\"]")), [What::Chunks]);
    let none = judge(&log(), &Recorded { events: emitted(), checkpoints: Vec::new() }, true);
    assert_eq!(whats(&none), [What::Chunks]);
}

const EVENT: &str = r#"{"key":{"owner_id":5},"value":{"before":null,"after":{"id":1,"owner_id":5,"asset_info":"a","registered_at":1000},"source":{"ts_ms":2,"ts_us":2001,"snapshot":"false","db":"shop","table":"item_assets","gtid":"aa:1"},"op":"c"},"headers":{}}"#;
const CHECKPOINT: &str =
    r#"{"checkpoint":{"source":"s","position":"mysql/1 skip=0 crc=0 time=0 file=f at=4 gtids=aa:1"}}"#;

#[test]
fn a_file_of_events_is_read_strictly() {
    let recorded = parse(&format!("{EVENT}\n{CHECKPOINT}\n")).unwrap();
    let change = Change {
        op: Op::Create,
        time_us: 2_001,
        before: None,
        after: Some(Row { registered_us: Some(1_000_000), ..row(1, 5, "a").unwrap() }),
    };
    let event = Event { change, side: Side::Stays };
    assert_eq!(recorded.events, [Emitted { table: TABLE.into(), event, gtid: Some("aa:1".into()) }]);
    assert_eq!((recorded.checkpoints[0].n_events, recorded.checkpoints[0].gtids.as_str()), (1, "aa:1"));
    for (name, text) in [
        ("no checkpoint behind it", format!("{CHECKPOINT}\n{EVENT}\n")),
        ("half a line", format!("{EVENT}\n{CHECKPOINT}\n{{\"key\"")),
        ("no break at the end", format!("{EVENT}\n{CHECKPOINT}")),
        ("another key", line(EVENT, "\"owner_id\":5},\"value\"", "\"owner_id\":6},\"value\"")),
        ("an unknown field", line(EVENT, "\"headers\":{}", "\"headers\":{},\"more\":1")),
        ("an unknown header", line(EVENT, "\"headers\":{}", "\"headers\":{\"hindsight.x\":\"leaves\"}")),
        ("a move that is none", line(EVENT, "\"headers\":{}", "\"headers\":{\"hindsight.move\":\"leaves\"}")),
        ("an absent column", line(EVENT, "\"asset_info\":\"a\",", "")),
        ("an image that the op does not have", line(EVENT, "\"op\":\"c\"", "\"op\":\"u\"")),
        ("a read that is of no snapshot", line(EVENT, "\"op\":\"c\"", "\"op\":\"r\"")),
        ("times that do not agree", line(EVENT, "\"ts_ms\":2", "\"ts_ms\":3")),
    ] {
        assert!(parse(&text).is_err(), "{name}: {text}");
    }
}

fn line(event: &str, part: &str, other: &str) -> String {
    assert!(event.contains(part), "{part}");
    format!("{}\n{CHECKPOINT}\n", event.replacen(part, other, 1))
}
