//! Tells the topic of dead letters what was set aside and what became of it, beside the lanes.
//!
//! What counts lies in the history's file, where it is committed with the rows; the topic is its copy. Whoever begins a session
//! there ends every other one, and reads behind that what there is to tell: so nothing older is ever written last.

use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::dead_letters;
use crate::assemble;
use crate::config::{Config, TopicConfig};
use crate::failure::{Failure, Outcome};
use crate::sink::DeadLetters;
use crate::topic::{LetterLog, TopicSettings};

/// How often it is looked for news: a command that settles letters is another process, which says nothing.
const LOOK: Duration = Duration::from_secs(1);

/// Letters that are told at once.
const AT_ONCE: usize = 1_000;

/// The task that tells.
pub struct Telling {
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Telling {
    pub fn begin(config: &Config, topic: &TopicConfig) -> Self {
        let settings = assemble::topic_settings(config, topic);
        let teller = Teller { config: config.clone(), settings, letters: None, log: None, said: None };
        let (end, ended) = oneshot::channel();
        Telling { end, task: tokio::spawn(teller.go_on(ended)) }
    }

    /// When what is there now was told, or could not be.
    pub async fn end(self) {
        let _ = self.end.send(());
        self.task.await.expect("telling does not panic");
    }
}

struct Teller {
    config: Config,
    settings: TopicSettings,
    /// Once there is a history.
    letters: Option<DeadLetters>,
    /// Once there was something to tell.
    log: Option<LetterLog>,
    /// What went wrong the last time.
    said: Option<String>,
}

impl Teller {
    async fn go_on(mut self, mut ended: oneshot::Receiver<()>) {
        let mut ends = false;
        while !ends {
            ends = tokio::select! {
                _ = &mut ended => true,
                () = tokio::time::sleep(LOOK) => false,
            };
            let had_begun = self.log.is_some();
            let mut told = self.tell().await;
            // Another process of the group may have told something since.
            if told.is_err() && had_begun {
                told = self.tell().await;
            }
            match told {
                Ok(()) => self.said = None,
                Err(failure) => {
                    let why = failure.to_string();
                    if self.said.as_ref() != Some(&why) {
                        warn!(
                            "topic {} waits for dead letters that are in the history's file: {why}",
                            self.settings.letters()
                        );
                    }
                    self.said = Some(why);
                }
            }
        }
    }

    /// All that there is to tell. With an error it begins anew.
    async fn tell(&mut self) -> Outcome<()> {
        loop {
            let letters = match self.letters.take() {
                Some(letters) => letters,
                None if self.config.sink.sqlite("telling", "").is_ok_and(|path| !path.exists()) => return Ok(()),
                None => assemble::dead_letters(&self.config)?,
            };
            if !letters.has_untold().map_err(|error| Failure::sink(error, true))? {
                self.letters = Some(letters);
                return Ok(());
            }
            let log = match self.log.take() {
                Some(log) => log,
                None => LetterLog::open(&self.settings).await.map_err(|error| Failure::topic(error, true))?,
            };
            let config = self.config.clone();
            let told =
                tokio::task::spawn_blocking(move || tell(&config, &letters, &log).map(|()| (letters, log))).await;
            let told = told.unwrap_or_else(|error| Err(Failure::run(anyhow!("telling dead letters: {error}"))));
            let (letters, log) = told?;
            (self.letters, self.log) = (Some(letters), Some(log));
        }
    }
}

fn tell(config: &Config, letters: &DeadLetters, log: &LetterLog) -> Outcome<()> {
    let untold = letters.untold(AT_ONCE).map_err(|error| Failure::sink(error, true))?;
    let record = |(lane, n, kept): &(String, i64, Option<_>)| {
        (format!("{lane}/{n}"), kept.as_ref().map(|kept| dead_letters::record(config, kept).to_string()))
    };
    let records: Vec<(String, Option<String>)> = untold.letters.iter().map(record).collect();
    if records.is_empty() {
        // Another process of the group was quicker.
        return Ok(());
    }
    log.write(&records).map_err(|error| Failure::topic(error, true))?;
    letters.told(&untold).map_err(|error| Failure::sink(error, true))?;
    info!(letters = records.len(), "the topic of dead letters was told");
    Ok(())
}
