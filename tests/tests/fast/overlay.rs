//! A history that is only looked at: with writes on top it reads as one into which they were written, and its file stays
//! as it is.

use std::fs;

use hindsight::history::{Load, Scope, SnapshotStep};
use hindsight::sink::{Overlay, Sink, SinkError, Snapshot, Sqlite};
use hindsight_tests::contract::sink::{KeyOrder, entities, history, load, meets, row, unmet};
use hindsight_tests::program::Folder;

fn sqlite(folder: &Folder) -> Sqlite {
    Sqlite::open(&folder.path().join("a history?.db"), "history", "a pipeline").expect("open the history")
}

fn overlay(folder: &Folder) -> Overlay {
    let base = Snapshot::open(&folder.path().join("a history?.db"), "history", "a pipeline");
    Overlay::over(base.expect("open the history"))
}

#[tokio::test]
async fn an_overlay_reads_as_a_history_into_which_its_loads_were_written() {
    for order in [KeyOrder::EntityFirst, KeyOrder::EntityLast] {
        let history = history(order);
        let first = [row(1, 1, 1, true, "closed"), row(1, 2, 1, true, "deleted"), row(2, 1, 1, true, "kept")];
        let loads = [
            load(&history, &[], &first, "1"),
            load(&history, &[first[1].clone()], &[row(1, 1, 1, false, "closed"), row(1, 1, 5, true, "new")], "2"),
            load(&history, &[row(1, 1, 5, true, "")], &[row(3, 9, 9, true, "other"), row(2, 1, 0, true, "early")], "3"),
            meets(&history, &[row(2, 1, 0, true, ""), row(4, 1, 0, true, "")], &[row(4, 2, 1, true, "unmet")], "4"),
            load(&history, &[], &[row(4, 1, 1, true, "met before"), row(1, 1, 1, true, "again")], "5"),
            Load { snapshot: Some(SnapshotStep::Ends), ..load(&history, &[], &[], "6") },
            meets(&history, &[row(1, 1, 0, true, "")], &[row(1, 1, 3, true, "met")], "7"),
            Load {
                snapshot: Some(SnapshotStep::Anew),
                ..load(&history, &[], &[row(1, 1, 1, true, "anew"), row(3, 1, 1, true, "anew")], "8")
            },
            meets(&history, &[row(3, 1, 0, true, "")], &[row(2, 2, 2, true, "later")], "9"),
        ];
        for n_written in 0..loads.len() {
            let (folder, whole) = (Folder::new(), Folder::new());
            let mut wanted = sqlite(&whole);
            wanted.prepare(&history).await.unwrap();
            if n_written > 0 {
                let mut base = sqlite(&folder);
                base.prepare(&history).await.unwrap();
                for load in &loads[..n_written] {
                    base.commit(load).await.unwrap();
                }
            }
            let files = || fs::read_dir(folder.path()).unwrap().count();
            let (bytes, n_files) = (fs::read(folder.path().join("a history?.db")).ok(), files());
            let mut overlay = overlay(&folder);
            overlay.prepare(&history).await.unwrap();
            let position = overlay.checkpoint().await.unwrap().checkpoint.map(|checkpoint| checkpoint.position.0);
            assert_eq!(position, (n_written > 0).then(|| n_written.to_string()));
            for (n, load) in loads.iter().enumerate() {
                wanted.commit(load).await.unwrap();
                if n < n_written {
                    continue;
                }
                overlay.commit(load).await.unwrap();
                for scope in [Scope::CurrentRows, Scope::AllRows] {
                    let owners = [3, 1, 4, 2];
                    let (found, wanted) =
                        (entities(&mut overlay, &owners, scope).await, entities(&mut wanted, &owners, scope).await);
                    assert_eq!(found, wanted, "{order:?}, {n_written} written, after load {n}, {scope:?}");
                }
                for (after, n_wanted) in [(None, 10), (None, 1), (Some(1), 10)] {
                    let found = unmet(&mut overlay, after, n_wanted).await;
                    let wanted = unmet(&mut wanted, after, n_wanted).await;
                    assert_eq!(found, wanted, "{order:?}, {n_written} written, after load {n}, behind {after:?}");
                }
            }
            drop(overlay);
            assert_eq!(fs::read(folder.path().join("a history?.db")).ok(), bytes, "the file");
            assert_eq!(files(), n_files, "what lies beside it");
        }
    }
}

#[tokio::test]
async fn a_history_that_somebody_begins_to_write_while_it_is_looked_at_is_no_picture() {
    let (folder, history) = (Folder::new(), history(KeyOrder::EntityFirst));
    let mut writer = sqlite(&folder);
    writer.prepare(&history).await.unwrap();
    writer.commit(&load(&history, &[], &[row(1, 1, 1, true, "first")], "1")).await.unwrap();
    // Beside a writer it is the moment at which it was opened.
    let mut beside = overlay(&folder);
    beside.prepare(&history).await.unwrap();
    writer.commit(&load(&history, &[], &[row(1, 1, 2, true, "second")], "2")).await.unwrap();
    assert_eq!(entities(&mut beside, &[1], Scope::AllRows).await[0].len(), 1);
    assert_eq!(beside.checkpoint().await.unwrap().checkpoint.unwrap().position.0, "1");
    drop(beside);
    writer.commit(&load(&history, &[], &[row(1, 1, 3, true, "third")], "3")).await.unwrap();
    drop(writer);

    let mut alone = overlay(&folder);
    alone.prepare(&history).await.unwrap();
    assert_eq!(entities(&mut alone, &[1], Scope::AllRows).await[0].len(), 3);
    let mut keys = hindsight::rows::Rows::new(1);
    keys.push_row([hindsight::rows::Value::Int(1)]);
    let _writer = sqlite(&folder);
    let error = alone.entity_rows(&keys, Scope::AllRows).await.unwrap_err();
    assert!(matches!(&error, SinkError::Stop(text) if text.contains("run this again")), "{error:?}");
}
