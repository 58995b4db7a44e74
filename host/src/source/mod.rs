//! The `Source` seam: where change events come from.

mod binlog;
pub mod cases;
pub mod declared;
pub mod mysql;
mod tables;

use tokio::sync::oneshot;

use crate::event::{Batch, Position};

pub use binlog::{BinlogFile, BinlogFileSettings};
pub use mysql::{GtidSet, Mysql, MysqlSettings, Start, Tls};
pub use tables::TableFilter;

/// Hands out changes in the source's order. Opened at a position (or at the beginning) by `assemble`.
///
/// The pipeline calls `next` again and again, from one task. A batch ends at a source transaction's end unless that
/// transaction is larger than `limits.batch`; its position then says how many of the transaction's changes are done,
/// and a source opened there goes on with the next. A batch may hold no changes, to let the position move on.
/// Tables keep one schema throughout a batch; another schema starts another batch.
#[async_trait::async_trait]
pub trait Source: Send {
    /// The next batch with the position after it, or none at the log's end. After an error there is no next call;
    /// every whole transaction before the place of the error has been handed out already.
    async fn next(&mut self) -> Result<Option<(Batch, Position)>, SourceError>;
}

/// Whether a source has its server, for people and for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceState {
    /// With the server's address, or what else the source reads.
    Connected(String),
    /// It tries again; with the reason.
    Away(String),
}

/// Asks a running source to read a table's rows again. It answers when the position that says so is handed out.
pub struct Resnapshot {
    /// `database.table`, one of those that are captured.
    pub table: String,
    /// What will happen, or why it cannot.
    pub reply: oneshot::Sender<Result<String, String>>,
}

/// Each text says what, where (file:pos, GTID) and what to do.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The source as a whole cannot serve (missing file, foreign format, a server setting). Before the first batch the
    /// program ends with exit code 3, afterwards with 1.
    #[error("{0}")]
    Unfit(String),
    /// The log cannot be followed past this place: the program ends with exit code 1.
    #[error("{0}")]
    Stop(String),
}
