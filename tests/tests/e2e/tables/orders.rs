//! Weights, by which the program tells which chunk a text is in: their bytes are in the server's own order of the texts.

use hindsight_tests::live::Live;
use hindsight_tests::mysql::Mysql;
use hindsight_tests::say::say;

use super::replay::place;

const COLLATIONS: &[&str] = &[
    "VARCHAR(12) COLLATE utf8mb4_0900_ai_ci",
    "VARCHAR(12) COLLATE utf8mb4_0900_as_cs",
    "VARCHAR(12) COLLATE utf8mb4_general_ci",
    "VARCHAR(12) COLLATE utf8mb4_unicode_ci",
    "VARCHAR(12) COLLATE utf8mb4_bin",
    "CHAR(12) CHARACTER SET latin1 COLLATE latin1_german2_ci",
    "VARCHAR(12) CHARACTER SET latin1",
];

const LETTERS: &[&str] = &["a", "A", "á", "ä", "e", "æ", "s", "S", "ß", "z", "ÿ", "0", " ", "\t", "-", "~", "\u{1}"];

#[test]
fn weights_compare_as_the_server_compares_the_texts() {
    let server = Mysql::start(&[]);
    server.add_reader();
    server.sql("CREATE DATABASE shop CHARACTER SET utf8mb4");
    let mut random: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut below = |n: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % n
    };
    for (at, declared) in COLLATIONS.iter().enumerate() {
        let mut rows = Vec::new();
        for id in 0..400 {
            let text: String = (0..below(5)).map(|_| LETTERS[below(LETTERS.len())]).collect();
            rows.push(format!("({id}, '{text}', '2025-01-01')"));
        }
        server.sql(&format!(
            "SET NAMES utf8mb4; CREATE TABLE shop.t{at} (id INT PRIMARY KEY, owner {declared} NOT NULL, registered_at DATETIME NOT NULL, KEY (owner));
             INSERT INTO shop.t{at} VALUES {}",
            rows.join(",")
        ));
        // What the program asks the server for.
        let table = format!("shop.t{at}");
        let live = Live { table: &table, snapshot: "snapshot = \"initial\"", ..Live::of(&server) };
        let answer = place(&live, "owner = \"owner\", columns = \"\"").0.hindsight(&["run", "--explain", "--json"]);
        assert_eq!(answer.exit, Some(0), "{}", answer.err);
        let statements = answer.json()["tables"][0]["statements"].clone();
        let boundary =
            statements.as_array().expect("a list").iter().find(|one| one["what"] == "a boundary between chunks");
        let boundary = boundary.and_then(|one| one["sql"].as_str()).expect("an SQL text").to_owned();
        let weight =
            boundary.strip_prefix("SELECT `owner`, ").and_then(|rest| rest.split_once(" FROM ")).expect("the weight").0;
        // As the program does where trailing blanks do not count: filled up with their weight.
        let collation = server.sql(&format!(
            "SELECT COLLATION_NAME, COLLATIONS.CHARACTER_SET_NAME, PAD_ATTRIBUTE
             FROM information_schema.COLUMNS JOIN information_schema.COLLATIONS USING (COLLATION_NAME)
             WHERE TABLE_NAME = 't{at}' AND COLUMN_NAME = 'owner'"
        ));
        let collation: Vec<&str> = collation.trim().split('\t').collect();
        let filled = |weight: &str| match collation[..] {
            [name, charset, "PAD SPACE"] => {
                format!("RPAD({weight}, 400, WEIGHT_STRING(CONVERT(' ' USING {charset}) COLLATE {name}))")
            }
            [_, _, "NO PAD"] => weight.to_owned(),
            _ => panic!("{collation:?}"),
        };
        let unlike = |weight: &str| -> u64 {
            let pairs = format!(
                "WITH w AS (SELECT owner, CAST({weight} AS BINARY) AS weight FROM shop.t{at})
                 SELECT COUNT(*) FROM w one JOIN w other
                 WHERE (one.owner < other.owner) <> (one.weight < other.weight) OR (one.owner = other.owner) <> (one.weight = other.weight)"
            );
            server.sql(&pairs).trim().parse().expect("a number")
        };
        let bytes = unlike("owner");
        say(&format!("{declared}: {weight}; {bytes} of 160000 pairs compare otherwise as bytes"));
        assert_eq!(unlike(&filled(weight)), 0, "{declared}: pairs that {weight} compares otherwise than the server");
        assert!(bytes > 1_000 || declared.ends_with("_bin"), "the texts show nothing");
    }
}
