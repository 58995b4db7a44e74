//! The files one after the other, and the compressed transaction that is open in them.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::frame::{FrameError, Framer};
use super::header::{self, Compression, Event, EventError, kind};
use super::position::Place;
use crate::event::Progress;
use crate::source::SourceError;

const MAGIC: &[u8; 4] = &[0xfe, b'b', b'i', b'n'];

/// Inner events of a compressed transaction, read as they are needed.
type Unpacked = Framer<Box<dyn Read + Send>>;

pub struct Log {
    files: Vec<PathBuf>,
    current: usize,
    framer: Framer<File>,
    size: u64,
    name: String,
    fingerprint: u32,
    checksum: bool,
    /// The file says that it is finished, and by what name the next one goes.
    finished: Option<Option<String>>,
    unpacked: Option<Unpacked>,
    /// How many bytes it has, as its envelope says.
    unpacked_bytes: Option<u64>,
    entered: bool,
    /// Bytes of the file's event that was peeked, and of the inner one.
    peeked: usize,
    peeked_inner: usize,
    /// Sizes of the files before, for progress.
    bytes_before: u64,
    bytes_total: u64,
}

/// An event where it stands.
pub struct Placed<'a> {
    /// Of the event, or of the envelope it was packed in.
    pub at: u64,
    pub event: Event<'a>,
}

impl Log {
    pub fn open(files: Vec<PathBuf>, place: Option<&Place>) -> Result<Self, SourceError> {
        let mut sizes = Vec::with_capacity(files.len());
        for file in &files {
            let metadata = std::fs::metadata(file);
            let metadata = metadata
                .map_err(|error| SourceError::Unfit(format!("open binlog file {}: {error}", file.display())))?;
            if metadata.is_dir() {
                return Err(SourceError::Unfit(format!("{} is a folder; name the binlog files in it", file.display())));
            }
            sizes.push(metadata.len());
        }
        let first = match place {
            None => 0,
            Some(place) => files.iter().position(|file| base_name(file) == place.file).ok_or_else(|| {
                SourceError::Unfit(format!(
                    "the checkpoint is in binlog file {}, which is not among source.files; add it, and all that come after it",
                    place.file
                ))
            })?,
        };
        let opened = OpenFile::open(&files[first])?;
        let mut log = Log {
            bytes_total: sizes.iter().sum(),
            bytes_before: sizes[..first].iter().sum(),
            current: first,
            framer: opened.framer,
            size: opened.size,
            name: opened.name,
            fingerprint: opened.fingerprint,
            checksum: opened.checksum,
            finished: None,
            unpacked: None,
            unpacked_bytes: None,
            entered: false,
            peeked: 0,
            peeked_inner: 0,
            files,
        };
        if let Some(place) = place {
            if log.fingerprint != place.log {
                return Err(SourceError::Unfit(format!(
                    "{} is another log than the one that was read before (its first events differ); \
                     give the file that belongs to this history, or start a new history",
                    log.path().display()
                )));
            }
            if place.at > log.size {
                return Err(SourceError::Unfit(format!(
                    "{} has {} bytes, but it was read up to byte {} before; give the whole file",
                    log.path().display(),
                    log.size,
                    place.at
                )));
            }
            log.seek(place.at)?;
        }
        Ok(log)
    }

    /// Where the next event of the file stands.
    pub fn place(&self) -> Place {
        Place { file: self.name.clone(), at: self.framer.offset(), skip: 0, crc: 0, log: self.fingerprint }
    }

    pub fn read_bytes(&self) -> u64 {
        self.bytes_before + self.framer.offset()
    }

    pub fn progress(&self) -> Progress {
        Progress::Log { done_bytes: self.read_bytes(), total_bytes: self.bytes_total }
    }

    /// Reads until the next event is at hand; false at the end of the last file.
    pub fn advance(&mut self) -> Result<bool, SourceError> {
        while self.unpacked.is_some() {
            if self.peek_inner()? {
                return Ok(true);
            }
            self.unpacked = None;
            self.framer.consume(self.peeked);
        }
        loop {
            match self.framer.peek(self.size - self.framer.offset()) {
                Ok(Some(frame)) => {
                    self.peeked = frame.bytes.len();
                    return Ok(true);
                }
                Ok(None) if self.current + 1 == self.files.len() => return Ok(false),
                Ok(None) => self.open_next()?,
                Err(error) => return Err(frame_error(error, &self.name, &self.files[self.current])),
            }
        }
    }

    /// The event that [`Log::advance`] has read.
    pub fn event(&mut self) -> Result<Placed<'_>, SourceError> {
        let at = self.framer.offset();
        let inside = self.unpacked.is_some();
        let (peeked, checksum) = match &mut self.unpacked {
            // Inner events have no checksum: the envelope's covers them.
            Some(inner) => (inner.peek(u64::MAX), false),
            None => (self.framer.peek(self.size - at), self.checksum),
        };
        let Ok(Some(frame)) = peeked else { unreachable!("`advance` has read this event") };
        let event = header::parse(frame.bytes, checksum).map_err(|error| event_error(error, &self.name, at))?;
        let end = at + frame.bytes.len() as u64;
        // Its own end in the file, of which 32 bits are written. What was made on the way to the file has none.
        if !inside && event.end != 0 && event.end != end as u32 {
            return Err(SourceError::Stop(format!(
                "{}:{at}: the event says that it ends at byte {}, but it ends at {end}: a part of the file is missing before it; \
                 copy it from the server again",
                self.name, event.end
            )));
        }
        Ok(Placed { at, event })
    }

    /// Whether another file was begun since the last call.
    pub fn entered_file(&mut self) -> bool {
        std::mem::take(&mut self.entered)
    }

    /// Goes past the event that was peeked.
    pub fn consume(&mut self) {
        match &mut self.unpacked {
            Some(inner) => inner.consume(self.peeked_inner),
            None => self.framer.consume(self.peeked),
        }
    }

    /// Goes into a compressed transaction; its envelope is consumed when its last event is.
    pub fn unpack(
        &mut self,
        compression: Compression,
        unpacked_bytes: Option<u64>,
        data: Vec<u8>,
    ) -> Result<(), SourceError> {
        if self.unpacked.is_some() {
            return Err(self.broken_payload("it holds another compressed transaction"));
        }
        let events: Box<dyn Read + Send> = match compression {
            Compression::None => Box::new(Cursor::new(data)),
            Compression::Zstd => match zstd::stream::read::Decoder::new(Cursor::new(data)) {
                Ok(decoder) => Box::new(BufReader::new(decoder)),
                Err(error) => return Err(self.broken_payload(&error.to_string())),
            },
            Compression::Unknown(unknown) => {
                return Err(SourceError::Stop(format!(
                    "{}:{}: the transaction is compressed by method {unknown}, which is not known; use a newer version of hindsight",
                    self.name,
                    self.framer.offset()
                )));
            }
        };
        self.unpacked = Some(Framer::new(events, 0));
        self.unpacked_bytes = unpacked_bytes;
        Ok(())
    }

    /// The transaction that is over ended its payload too: what comes next stands behind the envelope.
    pub fn leave_payload(&mut self) -> Result<(), SourceError> {
        if self.unpacked.is_none() {
            return Ok(());
        }
        if self.peek_inner()? {
            return Err(self.broken_payload("it goes on after its transaction's end"));
        }
        self.unpacked = None;
        self.framer.consume(self.peeked);
        Ok(())
    }

    /// The file's last event named the next one.
    pub fn rotated(&mut self, next: &str) -> Result<(), SourceError> {
        self.finished = Some(Some(next.to_owned()));
        Ok(())
    }

    /// The server was stopped at the file's end.
    pub fn stopped(&mut self) {
        self.finished = Some(None);
    }

    /// Back to the beginning of a transaction in the current file.
    pub fn seek(&mut self, at: u64) -> Result<(), SourceError> {
        let opened = File::open(self.path()).and_then(|mut file| file.seek(SeekFrom::Start(at)).map(|_| file));
        let file = opened
            .map_err(|error| SourceError::Stop(format!("read {} at byte {at}: {error}", self.path().display())))?;
        self.framer = Framer::new(file, at);
        self.unpacked = None;
        Ok(())
    }

    pub fn ends_inside_transaction(&self, transaction: &str) -> SourceError {
        SourceError::Stop(format!(
            "{} ends inside {transaction}; everything before it is done. Give the whole file and run again: it goes on from there",
            self.path().display()
        ))
    }

    fn path(&self) -> &Path {
        &self.files[self.current]
    }

    fn peek_inner(&mut self) -> Result<bool, SourceError> {
        let Some(inner) = &mut self.unpacked else { return Ok(false) };
        match inner.peek(u64::MAX) {
            Ok(Some(frame)) => {
                self.peeked_inner = frame.bytes.len();
                Ok(true)
            }
            Ok(None) => {
                let got = inner.offset();
                match self.unpacked_bytes {
                    Some(packed) if packed != got => {
                        Err(self.broken_payload(&format!("{packed} bytes were packed, {got} came out")))
                    }
                    _ => Ok(false),
                }
            }
            Err(FrameError::Truncated { .. }) => Err(self.broken_payload("it ends inside an event")),
            Err(FrameError::Corrupt { size, .. }) => Err(self.broken_payload(&format!("an event of {size} bytes"))),
            Err(FrameError::Io(error)) => Err(self.broken_payload(&error.to_string())),
        }
    }

    fn broken_payload(&self, reason: &str) -> SourceError {
        SourceError::Stop(format!(
            "{}:{}: the compressed transaction cannot be unpacked ({reason}); the file is damaged, copy it from the server again",
            self.name,
            self.framer.offset()
        ))
    }

    fn open_next(&mut self) -> Result<(), SourceError> {
        let next = &self.files[self.current + 1];
        match &self.finished {
            Some(Some(name)) if *name != base_name(next) => {
                return Err(SourceError::Unfit(format!(
                    "{} goes on in {name}, but the next of source.files is {}; the rows between them would be lost. List every file in order",
                    self.name,
                    next.display()
                )));
            }
            Some(None) if successor(&self.name, &base_name(next)).is_some_and(|name| name != base_name(next)) => {
                return Err(SourceError::Unfit(format!(
                    "{} is followed by {}, but the next of source.files is {}; the rows between them would be lost. List every file in order",
                    self.name,
                    successor(&self.name, &base_name(next)).unwrap_or_default(),
                    next.display()
                )));
            }
            Some(_) => {}
            None => {
                return Err(SourceError::Unfit(format!(
                    "{} is not finished (it has no ROTATE or STOP event at its end), but {} follows it in source.files; copy it from the server again",
                    self.path().display(),
                    next.display()
                )));
            }
        }
        let opened = OpenFile::open(next)?;
        self.bytes_before += self.size;
        self.current += 1;
        self.framer = opened.framer;
        self.size = opened.size;
        self.name = opened.name;
        self.fingerprint = opened.fingerprint;
        self.checksum = opened.checksum;
        self.finished = None;
        self.entered = true;
        Ok(())
    }
}

/// A file whose first events were read, standing behind the magic number.
struct OpenFile {
    framer: Framer<File>,
    size: u64,
    name: String,
    fingerprint: u32,
    checksum: bool,
}

impl OpenFile {
    fn open(path: &Path) -> Result<Self, SourceError> {
        let unfit = |text: String| SourceError::Unfit(format!("{}: {text}", path.display()));
        let mut file = File::open(path).map_err(|error| unfit(error.to_string()))?;
        let size = file.metadata().map_err(|error| unfit(error.to_string()))?.len();
        let mut magic = [0; 4];
        let is_binlog = file.read_exact(&mut magic).is_ok() && &magic == MAGIC;
        if !is_binlog {
            let encrypted = if &magic == b"\xfdbin" {
                "it is encrypted; decrypt it on the server first"
            } else {
                "it does not begin with fe 62 69 6e"
            };
            return Err(unfit(format!("is no MySQL binlog: {encrypted}")));
        }
        let name = base_name(path);
        let mut framer = Framer::new(file, MAGIC.len() as u64);
        let mut hasher = crc32fast::Hasher::new();
        let mut left = size - MAGIC.len() as u64;
        let (bytes, checksum) = {
            let frame = framer.peek(left).map_err(|error| frame_error(error, &name, path))?;
            let frame = frame.ok_or_else(|| unfit("is a binlog without any event".into()))?;
            if frame.bytes[4] != kind::FORMAT_DESCRIPTION {
                return Err(unfit(format!(
                    "begins with an event of type {}, not with a format description",
                    frame.bytes[4]
                )));
            }
            let format = header::format(&frame.bytes[super::frame::HEADER..])
                .map_err(|_| unfit("its format description is too short".into()))?;
            if format.server_version.contains("MariaDB") {
                return Err(unfit(format!(
                    "was written by {}; hindsight reads MySQL's binlog (8.0.14 and later)",
                    format.server_version
                )));
            }
            // This event has a checksum whatever the others have: else one flipped bit would turn theirs off.
            let event = header::parse(frame.bytes, true).map_err(|error| event_error(error, &name, frame.at))?;
            hasher.update(&frame.bytes[..4]);
            hasher.update(event.body);
            let checksum = match format.checksum_algorithm {
                0 => false,
                1 => true,
                unknown => {
                    return Err(unfit(format!(
                        "its events have checksum algorithm {unknown}, which is not known; use a newer version of hindsight"
                    )));
                }
            };
            (frame.bytes.len(), checksum)
        };
        framer.consume(bytes);
        left -= bytes as u64;
        if let Ok(Some(frame)) = framer.peek(left)
            && frame.bytes[4] == kind::PREVIOUS_GTIDS
            && let Ok(event) = header::parse(frame.bytes, checksum)
        {
            hasher.update(event.body);
        }
        Ok(OpenFile { framer, size, name, fingerprint: hasher.finalize(), checksum })
    }
}

fn event_error(error: EventError, name: &str, at: u64) -> SourceError {
    SourceError::Stop(match error {
        EventError::Checksum { written, computed } => format!(
            "{name}:{at}: the event's checksum is {computed:08x}, but {written:08x} is written; the file is damaged, copy it from the server again"
        ),
        EventError::Short => {
            format!("{name}:{at}: the event is too short; the file is damaged, copy it from the server again")
        }
    })
}

fn frame_error(error: FrameError, name: &str, path: &Path) -> SourceError {
    SourceError::Stop(match error {
        FrameError::Truncated { at, have } => format!(
            "{} ends inside an event: at {name}:{at} it has {have} more bytes. Every whole transaction before it is done. \
             Give the whole file and run again: it goes on from there",
            path.display()
        ),
        FrameError::Corrupt { at, size } => {
            format!(
                "{name}:{at}: an event of {size} bytes cannot be; the file is damaged, copy it from the server again"
            )
        }
        FrameError::Io(error) => format!("read {}: {error}", path.display()),
    })
}

fn base_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// After `binlog.000007` the server writes `binlog.000008`; none where `next` is not of that form, a copy with a name of its own.
fn successor(name: &str, next: &str) -> Option<String> {
    let ((stem, number), (next_stem, next_number)) = (name.rsplit_once('.')?, next.rsplit_once('.')?);
    next_number.parse::<u64>().ok().filter(|_| stem == next_stem)?;
    Some(format!("{stem}.{:0width$}", number.parse::<u64>().ok()? + 1, width = number.len()))
}
