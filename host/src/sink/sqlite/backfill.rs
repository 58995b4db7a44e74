//! Carries the write-ahead log over into the database file, in a thread and with a connection of its own: beside the
//! next batch's reading and deciding instead of inside its commit. (SQLite calls it a checkpoint; that word is taken.)

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

/// Pages in the write-ahead log from which on it is carried over, 128 MiB: rarely, so that a page which many commits
/// wrote is carried once; little enough to be read again in a moment after a kill.
const LOG_PAGES_MAX: i32 = 32_768;

pub struct Backfill {
    path: PathBuf,
    /// Pages in the log after the last commit.
    log_pages: Arc<AtomicI32>,
    running: Option<JoinHandle<rusqlite::Result<()>>>,
}

impl Backfill {
    /// Takes the carrying over out of this connection's commits.
    pub fn of(connection: &mut Connection, path: &Path) -> rusqlite::Result<Self> {
        let log_pages = Arc::new(AtomicI32::new(0));
        let seen = log_pages.clone();
        connection.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Backfill { path: path.to_owned(), log_pages, running: None })
    }

    /// After a commit: begins where the log has grown enough.
    pub fn begin_if_due(&mut self) {
        if self.log_pages.load(Ordering::Relaxed) >= LOG_PAGES_MAX && self.running.is_none() {
            let path = self.path.clone();
            self.running = Some(thread::spawn(move || carry_over(&path)));
        }
    }

    /// Before the next commit: the log begins anew, instead of growing, only where all of it was carried over.
    pub fn wait(&mut self) -> rusqlite::Result<()> {
        match self.running.take() {
            Some(running) => running.join().expect("the thread only calls SQLite"),
            None => Ok(()),
        }
    }
}

impl Drop for Backfill {
    /// The last connection to close removes the log: that is the writer's, not the thread's.
    fn drop(&mut self) {
        let _ = self.wait();
    }
}

fn carry_over(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open(path)?;
    // A reader of another process may keep a part from being carried over: the next time, then.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
