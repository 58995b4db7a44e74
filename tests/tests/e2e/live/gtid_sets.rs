//! Our GTID sets against the server's own: what it prints, subtracts, joins and compares.

use hindsight::source::mysql::GtidSet;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::say::say;

const PAIRS: usize = 1_500;

const UUIDS: [&str; 3] = [
    "3e11fa47-71ca-11e1-9e33-c80aa9429562",
    "3E11FA47-71CA-11E1-9E33-C80AA9429563",
    "f350f323-7565-4e59-8763-4b1b83a0ce0e",
];

const TAGS: [&str; 4] = ["billing", "_a", "Audit_2", "billing2"];

#[test]
fn sets_are_printed_subtracted_joined_and_compared_as_the_server_does_it() {
    let server = Mysql::start(&["--skip-log-bin"]);
    let mut random = Random(29);
    let pairs: Vec<[String; 2]> = (0..PAIRS).map(|_| [set(&mut random), set(&mut random)]).collect();
    let queries: String = pairs
        .iter()
        .map(|[a, b]| {
            // The server takes a tag from the set before where two are joined by text, so each begins with its UUID.
            let both = [a.as_str(), b.as_str()].into_iter().filter(|set| !set.is_empty()).collect::<Vec<_>>().join(",");
            format!(
                "SELECT GTID_SUBTRACT('{a}', ''), GTID_SUBTRACT('{a}', '{b}'), GTID_SUBTRACT('{both}', ''), GTID_SUBSET('{a}', '{b}');\n"
            )
        })
        .collect();
    let answers = server.sql(&queries);
    let mut counts = [0; 3];
    for ([a, b], answer) in pairs.iter().zip(answers.lines()) {
        let expected: Vec<String> = answer.split('\t').map(|text| text.replace("\\n", "")).collect();
        let [ours, other] =
            [a, b].map(|text| text.parse::<GtidSet>().unwrap_or_else(|error| panic!("{text}: {error}")));
        assert_eq!(ours.to_string(), expected[0], "the text of {a}");
        assert_eq!(expected[0].parse().as_ref(), Ok(&ours), "{} reads back", expected[0]);
        assert_eq!(ours.minus(&other).to_string(), expected[1], "{a} without {b}");
        assert_eq!(ours.union(&other).to_string(), expected[2], "{a} with {b}");
        assert_eq!(ours.is_subset_of(&other), expected[3] == "1", "{a} in {b}");
        counts[0] += usize::from(expected[3] == "1");
        counts[1] += usize::from(expected[0] != expected[1]);
        counts[2] += usize::from(expected[0].contains("billing"));
    }
    assert_eq!(answers.lines().count(), PAIRS);
    let [subsets, shared, tagged] = counts;
    say(&format!("{PAIRS} pairs of GTID sets: {subsets} subsets, {shared} that share something, {tagged} with a tag"));
    assert!(subsets >= 50 && shared >= 300 && tagged >= 300, "the pairs show something: {counts:?}");
}

/// Few numbers, so that intervals meet, touch and overlap.
fn set(random: &mut Random) -> String {
    let entries = (0..random.below(5)).map(|_| {
        let mut entry = UUIDS[(random.below(5) / 2) as usize].to_owned();
        for _ in 0..=random.below(3) {
            if random.below(3) == 0 {
                entry += &format!(":{}", TAGS[random.below(4) as usize]);
            }
            for _ in 0..=random.below(3) {
                let first = 1 + random.below(30);
                entry += &match random.below(5) {
                    0 => format!(":{first}"),
                    1 => format!(":{first}-{first}"),
                    2 => format!(":{first}-{}", first + random.below(4)),
                    // Not seen again by much.
                    3 => format!(":{}-{}", first << 40, (first << 40) + random.below(1 << 30)),
                    _ => format!(":{first}-{}", first + random.below(40)),
                };
            }
        }
        entry
    });
    entries.collect::<Vec<_>>().join(if random.below(2) == 0 { "," } else { ", " })
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}
