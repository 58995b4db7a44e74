//! Single bits that turned over: the checksum finds each.

use hindsight_tests::contract::source::same;
use hindsight_tests::program::Folder;

use super::{NAME, one_of_each_kind, outcome};

#[tokio::test]
async fn any_flipped_bit_is_an_error_with_its_place_or_changes_nothing() {
    let log = one_of_each_kind();
    let folder = Folder::new();
    let path = folder.path().join(NAME);
    let (mut n_errors, mut n_harmless) = (0, Vec::new());
    for byte in 0..log.bytes.len() {
        for bit in 0..8 {
            let mut bytes = log.bytes.clone();
            bytes[byte] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            let got = outcome(&folder, &[NAME], 1000, None).await;
            let what = format!("bit {bit} of byte {byte}");
            match got.error {
                None => {
                    same(&got.changes, &log.changes, &what);
                    n_harmless.push((byte, bit));
                }
                Some(error) => {
                    let text = error.to_string();
                    // The file header has no place but the file itself.
                    let place = if byte < 4 { path.display().to_string() } else { format!("{NAME}:") };
                    assert!(text.contains(&place), "{what}: {text}");
                    let before = log.edges.iter().rev().find(|(edge, _)| *edge <= byte).map_or(0, |edge| edge.1);
                    same(&got.changes, &log.changes[..before], &what);
                    n_errors += 1;
                }
            }
        }
    }
    // The flag that says a server is still writing the file is in no checksum, on purpose.
    let in_use = 4 + 17;
    assert_eq!(n_harmless, [(in_use, 0)], "bits that nobody misses");
    assert_eq!(n_errors + 1, log.bytes.len() * 8);
}
