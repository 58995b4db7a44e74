//! Cuts a stream into events: their header, their length, and their bytes in one buffer.

use std::io::Read;

/// Bytes of the common header.
pub const HEADER: usize = 19;

/// How much is read at once.
const CHUNK: usize = 1 << 20;

/// An event's bytes where they stand in the stream.
#[derive(Clone, Copy)]
pub struct Frame<'a> {
    /// Of the event's first byte in its file; of the envelope in a compressed transaction.
    pub at: u64,
    /// Header and body, the checksum included where the log has one.
    pub bytes: &'a [u8],
}

pub struct Framer<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Where `start` stands in the stream.
    offset: u64,
}

pub enum FrameError {
    /// The stream ends after so many bytes of an event.
    Truncated {
        at: u64,
        have: usize,
    },
    /// A length that no event can have.
    Corrupt {
        at: u64,
        size: u32,
    },
    Io(std::io::Error),
}

impl<R: Read> Framer<R> {
    /// `offset`: where the reader stands in its stream.
    pub fn new(reader: R, offset: u64) -> Self {
        Framer { reader, buffer: Vec::new(), start: 0, end: 0, offset }
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next event, which stays the next one until it is consumed; none at the stream's end.
    /// `left`: bytes that the stream can still give from here, so that a broken length asks for no memory.
    pub fn peek(&mut self, left: u64) -> Result<Option<Frame<'_>>, FrameError> {
        if !self.fill(HEADER).map_err(FrameError::Io)? {
            let have = self.end - self.start;
            return if have == 0 { Ok(None) } else { Err(FrameError::Truncated { at: self.offset, have }) };
        }
        let size = u32::from_le_bytes(self.buffer[self.start + 9..self.start + 13].try_into().expect("four bytes"));
        if (size as usize) < HEADER {
            return Err(FrameError::Corrupt { at: self.offset, size });
        }
        if u64::from(size) > left || !self.fill(size as usize).map_err(FrameError::Io)? {
            return Err(FrameError::Truncated {
                at: self.offset,
                have: left.min((self.end - self.start) as u64) as usize,
            });
        }
        Ok(Some(Frame { at: self.offset, bytes: &self.buffer[self.start..self.start + size as usize] }))
    }

    /// Goes past the event that was peeked.
    pub fn consume(&mut self, n_bytes: usize) {
        self.start += n_bytes;
        self.offset += n_bytes as u64;
    }

    /// Makes `wanted` bytes contiguous from `start`; false where the stream ends before.
    fn fill(&mut self, wanted: usize) -> std::io::Result<bool> {
        if self.end - self.start >= wanted {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < wanted {
            // Grows with what is there, not with what a length promises.
            if self.end == self.buffer.len() {
                self.buffer.resize((2 * self.end).clamp(CHUNK, wanted.max(CHUNK)), 0);
            }
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(n) => self.end += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Reads integers and strings from a body; a body that ends too early is an error, never a panic.
#[derive(Clone, Copy)]
pub struct Bytes<'a>(pub &'a [u8]);

/// The body ends before what it should hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Short;

impl<'a> Bytes<'a> {
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Short> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Short)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    pub fn u8(&mut self) -> Result<u8, Short> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of `n` bytes, at most 8.
    #[inline]
    pub fn le(&mut self, n: usize) -> Result<u64, Short> {
        let mut bytes = [0; 8];
        bytes[..n].copy_from_slice(self.take(n)?);
        Ok(u64::from_le_bytes(bytes))
    }

    /// A big-endian number of `n` bytes, at most 8.
    #[inline]
    pub fn be(&mut self, n: usize) -> Result<u64, Short> {
        Ok(self.take(n)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// MySQL's length-encoded integer.
    pub fn lenenc(&mut self) -> Result<u64, Short> {
        match self.u8()? {
            small @ 0..=250 => Ok(u64::from(small)),
            0xfc => self.le(2),
            0xfd => self.le(3),
            0xfe => self.le(8),
            _ => Err(Short),
        }
    }

    pub fn lenenc_bytes(&mut self) -> Result<&'a [u8], Short> {
        let n = usize::try_from(self.lenenc()?).map_err(|_| Short)?;
        self.take(n)
    }
}
