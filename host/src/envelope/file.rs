//! A file of JSON lines: events, and a checkpoint behind those of each batch.
//!
//! It goes on behind one of its checkpoints; what was written after that is cut away and comes again. So it may end
//! anywhere, also within a line. One process writes it, by a lock on the file. A write is not waited for on a disk: what a
//! killed process had written is there, what a machine without power had is known by its last checkpoint.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::event::Position;
use crate::failure::Failure;
use crate::history::Checkpoint;

pub(super) struct EventFile {
    file: File,
    path: PathBuf,
}

/// Each text names the file and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not what was asked for: another file should have been named.
    #[error("{0}")]
    Foreign(String),
    #[error("{0}")]
    Unusable(String),
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Foreign(_) => Failure::usage(error),
            FileError::Unusable(_) => Failure::outside(error),
        }
    }
}

/// How our lines begin. No other place of a file has these bytes behind a newline: JSON texts have none.
const EVENT: &[u8] = br#"{"key":"#;
const CHECKPOINT: &[u8] = br#"{"checkpoint":"#;

/// Read at once, from the end on, bytes: mostly the last line is all that is looked for.
const BLOCK: u64 = 256 << 10;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointLine<T> {
    checkpoint: Reached<T>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reached<T> {
    source: T,
    position: T,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventLine {
    #[serde(rename = "key")]
    _key: IgnoredAny,
    #[serde(rename = "value")]
    _value: IgnoredAny,
    #[serde(rename = "headers")]
    _headers: IgnoredAny,
}

pub(super) fn write_checkpoint(out: &mut Vec<u8>, checkpoint: &Checkpoint) {
    let Checkpoint { source, position: Position(position) } = checkpoint;
    crate::json::write(out, &CheckpointLine { checkpoint: Reached { source, position } });
    out.push(b'\n');
}

impl EventFile {
    /// Opens or makes the file, and locks it.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let shown = path.display();
        let unusable = |error: io::Error| FileError::Unusable(format!("open the events file {shown}: {error}"));
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(unusable)?;
        if !file.metadata().map_err(unusable)?.is_file() {
            return Err(FileError::Foreign(format!(
                "{shown} is no plain file: events could not go on in it. Name another"
            )));
        }
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(FileError::Unusable(format!(
                    "another process writes {shown}. End it before you start another, or name another file"
                )));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let file = EventFile { file, path: path.to_owned() };
        if !file.begins_as_ours().map_err(unusable)? {
            return Err(file.foreign());
        }
        Ok(file)
    }

    /// Cuts the file behind its last checkpoint, or to nothing where it has none yet. Gives that checkpoint.
    ///
    /// # Errors
    /// It is no file of events, or one of another source.
    pub fn cut_to_last(&mut self, source: &str) -> Result<Option<Checkpoint>, FileError> {
        let last = self.last_of(source)?;
        self.cut(last.as_ref().map_or(0, |(end, _)| *end))?;
        Ok(last.map(|(_, checkpoint)| checkpoint))
    }

    /// Cuts the file behind this checkpoint. An empty file begins there, with that checkpoint.
    ///
    /// # Errors
    /// It is no file of events, or it does not hold the checkpoint.
    pub fn cut_to(&mut self, checkpoint: &Checkpoint) -> Result<(), FileError> {
        if let Some((end, _)) = self.find(|found| found == checkpoint)? {
            return self.cut(end);
        }
        if self.last_of(&checkpoint.source)?.is_some() {
            return Err(FileError::Foreign(format!(
                "the events file {} does not hold the history's checkpoint `{}`: from there on events would be missing in it, \
                 or be there twice. Name another file, which will begin at that checkpoint",
                self.path.display(),
                checkpoint.position.0
            )));
        }
        self.cut(0)?;
        let mut line = Vec::new();
        write_checkpoint(&mut line, checkpoint);
        self.append(&line).map_err(|error| self.unusable(error))
    }

    /// Cuts the file to nothing.
    ///
    /// # Errors
    /// It is no file of events, or one of another source.
    pub fn cut_to_nothing(&mut self, source: &str) -> Result<(), FileError> {
        self.last_of(source)?;
        self.cut(0)
    }

    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.file.write_all(lines)
    }

    /// Forgets everything.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last checkpoint and where its line ends; none in a file that was begun and has none yet.
    fn last_of(&mut self, source: &str) -> Result<Option<(u64, Checkpoint)>, FileError> {
        let last = self.find(|_| true)?;
        match &last {
            Some((_, last)) if last.source != source => Err(FileError::Foreign(format!(
                "{} holds events of another source: its checkpoint was written for `{}`, and the configuration says `{source}`. \
                 Restore the configuration, or name another file",
                self.path.display(),
                last.source
            ))),
            None if !self.holds_events_only().map_err(|error| self.unusable(error))? => Err(self.foreign()),
            _ => Ok(last),
        }
    }

    /// The last checkpoint that is wanted, and where its line ends, looked for from the end on.
    fn find(&self, wanted: impl Fn(&Checkpoint) -> bool) -> Result<Option<(u64, Checkpoint)>, FileError> {
        let unusable = |error| self.unusable(error);
        let len = self.len().map_err(unusable)?;
        let (mut unread, mut block) = (len, Vec::new());
        // Of the line that is being looked at; a line without one is not whole.
        let mut newline = None;
        while unread > 0 {
            let begin = unread.saturating_sub(BLOCK);
            // A newline at the end of the block is followed by its line's first bytes.
            let end = len.min(unread + CHECKPOINT.len() as u64);
            block.resize((end - begin) as usize, 0);
            self.file.read_exact_at(&mut block, begin).map_err(unusable)?;
            let mut at = (unread - begin) as usize;
            loop {
                let before = block[..at].iter().rposition(|&byte| byte == b'\n');
                let first = before.map_or(0, |before| before + 1);
                let is_first = before.is_some() || begin == 0;
                if let (true, Some(end)) = (is_first && block[first..].starts_with(CHECKPOINT), newline) {
                    let checkpoint = self.checkpoint(begin + first as u64, end)?;
                    if wanted(&checkpoint) {
                        return Ok(Some((end + 1, checkpoint)));
                    }
                }
                let Some(before) = before else { break };
                newline = Some(begin + before as u64);
                at = before;
            }
            unread = begin;
        }
        Ok(None)
    }

    fn checkpoint(&self, begin: u64, end: u64) -> Result<Checkpoint, FileError> {
        let mut line = vec![0; (end - begin) as usize];
        self.file.read_exact_at(&mut line, begin).map_err(|error| self.unusable(error))?;
        match serde_json::from_slice::<CheckpointLine<String>>(&line) {
            Ok(CheckpointLine { checkpoint: Reached { source, position } }) => {
                Ok(Checkpoint { source, position: Position(position) })
            }
            Err(error) => Err(FileError::Foreign(format!(
                "{}, byte {begin}: a line begins as a checkpoint and is none ({error}). The file was changed: name another",
                self.path.display()
            ))),
        }
    }

    fn cut(&mut self, end: u64) -> Result<(), FileError> {
        let unusable = |error| self.unusable(error);
        let len = self.len().map_err(unusable)?;
        if len > end {
            info!(file = %self.path.display(), bytes = len - end, "cut away what was written behind the checkpoint");
            self.file.set_len(end).map_err(unusable)?;
        }
        Ok(())
    }

    /// Whether the first bytes, as far as they are there, are those of a line of ours.
    fn begins_as_ours(&self) -> io::Result<bool> {
        let mut first = vec![0; self.len()?.min(CHECKPOINT.len() as u64) as usize];
        self.file.read_exact_at(&mut first, 0)?;
        let agrees = |line: &[u8]| first.iter().zip(line).all(|(byte, other)| byte == other);
        Ok(agrees(EVENT) || agrees(CHECKPOINT))
    }

    /// Whether every whole line is an event.
    fn holds_events_only(&self) -> io::Result<bool> {
        let mut file = &self.file;
        file.rewind()?;
        let (mut lines, mut line) = (BufReader::new(file), Vec::new());
        while lines.read_until(b'\n', &mut line)? > 0 {
            if line.ends_with(b"\n") && serde_json::from_slice::<EventLine>(&line).is_err() {
                return Ok(false);
            }
            line.clear();
        }
        Ok(true)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn foreign(&self) -> FileError {
        FileError::Foreign(format!(
            "{} is there and holds no events of hindsight. Name another file, or remove this one",
            self.path.display()
        ))
    }

    fn unusable(&self, error: io::Error) -> FileError {
        FileError::Unusable(format!("the events file {}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "mysql shop.item_assets";
    const LINE: &str = "{\"key\":{\"owner_id\":7},\"value\":{\"a\":\"\\n{\\\"checkpoint\\\":\"},\"headers\":{}}\n";

    fn checkpoint(position: &str) -> Checkpoint {
        Checkpoint { source: SOURCE.into(), position: Position(position.into()) }
    }

    fn line(position: &str) -> String {
        let mut line = Vec::new();
        write_checkpoint(&mut line, &checkpoint(position));
        String::from_utf8(line).unwrap()
    }

    /// The file after it was opened to go on behind its last checkpoint, and that one.
    fn last(content: &[u8]) -> (Result<Option<Checkpoint>, FileError>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        std::fs::write(&path, content).unwrap();
        let found = EventFile::open(&path).and_then(|mut file| file.cut_to_last(SOURCE));
        (found, std::fs::read(&path).unwrap())
    }

    #[test]
    fn a_file_goes_on_behind_its_last_whole_checkpoint_wherever_it_ends() {
        // Lines longer and shorter than a block, and a newline on its every edge.
        for n in [0, BLOCK as usize - 40, BLOCK as usize, 2 * BLOCK as usize] {
            let long = LINE.replace("\"a\"", &format!("\"{}\"", "a".repeat(n)));
            let (one, two) = (format!("{long}{}", line("1")), format!("{long}{LINE}{}", line("2")));
            let whole = format!("{one}{two}{long}");
            let edges = [one.len(), one.len() + two.len()];
            let ends = (0..=whole.len()).filter(|end| n == 0 || edges.iter().any(|edge| edge.abs_diff(*end) < 20));
            for end in ends {
                let (found, kept) = last(&whole.as_bytes()[..end]);
                let (position, len) = match end {
                    _ if end >= edges[1] => (Some("2"), edges[1]),
                    _ if end >= edges[0] => (Some("1"), edges[0]),
                    _ => (None, 0),
                };
                assert_eq!(found.unwrap(), position.map(checkpoint), "n {n}, cut at {end}");
                assert_eq!(kept, &whole.as_bytes()[..len]);
            }
        }
    }

    #[test]
    fn what_is_not_ours_is_refused_and_left_as_it_is() {
        for content in [
            "id,owner_id\n",
            "{\"key\":1,\"payload\":2}\n",
            "{\"checkpoint\":7}\n",
            "{}\n",
            "{\"checkpoint\":{\"source\":\"mysql shop.other\",\"position\":\"1\"}}\n",
        ] {
            let (found, kept) = last(content.as_bytes());
            assert!(matches!(found, Err(FileError::Foreign(_))), "{content}: {found:?}");
            assert_eq!(kept, content.as_bytes());
        }
    }

    #[test]
    fn a_file_goes_on_behind_the_checkpoint_that_is_asked_for_or_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let all = format!("{LINE}{}{LINE}{}{LINE}", line("1"), line("2"));
        std::fs::write(&path, &all).unwrap();
        let mut file = EventFile::open(&path).unwrap();
        let error = EventFile::open(&path).err().expect("it is locked").to_string();
        assert!(error.contains("another process writes") && error.contains("events.jsonl"), "{error}");
        let error = file.cut_to(&checkpoint("3")).unwrap_err().to_string();
        assert!(error.contains("does not hold the history's checkpoint `3`"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), all);
        file.cut_to(&checkpoint("1")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{LINE}{}", line("1")));
        file.cut_to_nothing(SOURCE).unwrap();
        file.cut_to(&checkpoint("3")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), line("3"));
    }
}
