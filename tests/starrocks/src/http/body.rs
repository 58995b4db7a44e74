//! A request's body, by its length or in chunks, as fast as it is allowed to come.

use std::io;
use std::time::Duration;

use super::{Connection, Length, Request};

/// How a body is read.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub bytes_max: usize,
    /// A slow BE.
    pub bytes_per_s: Option<u64>,
    /// Reading ends here, with what there is: a fault takes over.
    pub stop_after: Option<usize>,
}

#[derive(Debug)]
pub enum BodyLost {
    /// The connection broke or ended before the body did; so many bytes had come.
    Broken(usize),
    TooLong {
        bytes: u64,
        limit: usize,
    },
    /// Chunks that are none.
    Malformed,
    /// As many bytes as the pace allows are there.
    Stopped(usize),
}

/// A slow reader reads so often.
const SLOW_STEP: Duration = Duration::from_millis(10);
const CHUNK_LINE_BYTES_MAX: usize = 1_024;

impl Connection {
    pub async fn body(&mut self, request: &Request, pace: Pace) -> Result<Vec<u8>, BodyLost> {
        let mut body = Vec::new();
        match request.length() {
            Length::None => {}
            Length::Bytes(bytes) => {
                let too_long = BodyLost::TooLong { bytes, limit: pace.bytes_max };
                let length = usize::try_from(bytes).ok().filter(|length| *length <= pace.bytes_max).ok_or(too_long)?;
                self.take(&mut body, length, pace).await?;
            }
            Length::Chunked => loop {
                let line = self.line(body.len()).await?;
                let size = line.split(';').next().unwrap_or_default().trim();
                let size = usize::from_str_radix(size, 16).map_err(|_| BodyLost::Malformed)?;
                if size == 0 {
                    // Trailers, to the empty line.
                    while !self.line(body.len()).await?.is_empty() {}
                    break;
                }
                let bytes = body.len().saturating_add(size);
                if bytes > pace.bytes_max {
                    return Err(BodyLost::TooLong { bytes: bytes as u64, limit: pace.bytes_max });
                }
                self.take(&mut body, size, pace).await?;
                self.line(body.len()).await?;
            },
        }
        Ok(body)
    }

    /// Moves so many bytes to the body's end.
    async fn take(&mut self, body: &mut Vec<u8>, n: usize, pace: Pace) -> Result<(), BodyLost> {
        let mut left = n;
        while left > 0 {
            if pace.stop_after.is_some_and(|limit| body.len() >= limit) {
                return Err(BodyLost::Stopped(body.len()));
            }
            if self.buffer.is_empty() && self.filled(body.len()).await? == 0 {
                return Err(BodyLost::Broken(body.len()));
            }
            let mut step = left.min(self.buffer.len());
            if let Some(limit) = pace.stop_after {
                step = step.min(limit.saturating_sub(body.len()).max(1));
            }
            if let Some(bytes_per_s) = pace.bytes_per_s {
                step = step.min((bytes_per_s * SLOW_STEP.as_millis() as u64 / 1_000).max(1) as usize);
                tokio::time::sleep(SLOW_STEP).await;
            }
            body.extend(self.buffer.drain(..step));
            left -= step;
        }
        Ok(())
    }

    async fn line(&mut self, n_read: usize) -> Result<String, BodyLost> {
        loop {
            if let Some(at) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=at).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.buffer.len() > CHUNK_LINE_BYTES_MAX {
                return Err(BodyLost::Malformed);
            }
            if self.filled(n_read).await? == 0 {
                return Err(BodyLost::Broken(n_read));
            }
        }
    }

    async fn filled(&mut self, n_read: usize) -> Result<usize, BodyLost> {
        let filled: io::Result<usize> = self.fill().await;
        filled.map_err(|_| BodyLost::Broken(n_read))
    }
}
