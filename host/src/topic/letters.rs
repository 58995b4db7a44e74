//! The topic of dead letters: a copy of what was set aside, for whoever looks at topics.

use super::producer::{Message, Transactions};
use super::{TopicError, TopicSettings, admin};
use crate::crash;

/// Writes dead letters under their names; one that is gone has no value.
pub struct LetterLog {
    transactions: Transactions,
    topic: String,
}

impl LetterLog {
    /// Makes or checks the topic, and keeps every writer that was opened before from writing.
    ///
    /// # Errors
    /// Broker or topic do not serve.
    pub async fn open(settings: &TopicSettings) -> Result<Self, TopicError> {
        // Transactions of its own: those of the change topic are the capture half's.
        let settings = TopicSettings { name: settings.letters(), ..settings.clone() };
        admin::see_to_letters(&settings).await?;
        let opened = tokio::task::spawn_blocking(move || {
            let transactions = Transactions::begin_session(&settings)?;
            Ok(LetterLog { transactions, topic: settings.name })
        });
        opened.await.expect("beginning a session does not panic")
    }

    /// All of them, or after an error none.
    ///
    /// # Errors
    /// This writer is of no use any more.
    pub fn write(&self, letters: &[(String, Option<String>)]) -> Result<(), TopicError> {
        self.transactions.begin()?;
        for (name, letter) in letters {
            let (key, value) = (Some(name.as_bytes()), letter.as_deref().map(str::as_bytes));
            self.transactions.send(Message { topic: &self.topic, partition: 0, key, value, headers: None })?;
        }
        crash::point("letters.sent");
        self.transactions.commit()?;
        crash::point("letters.committed");
        Ok(())
    }
}
