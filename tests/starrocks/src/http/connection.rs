//! One client's connection.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Node, Reply, Request};

const HEAD_BYTES_MAX: usize = 64 << 10;
const READ_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    pub(super) buffer: Vec<u8>,
    node: Node,
}

/// What becomes of a connection after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    KeepAlive,
    Close,
    /// RST: what was sent and not read is lost as well.
    Reset,
}

impl Connection {
    pub fn new(stream: TcpStream, node: Node) -> Self {
        Connection { stream, buffer: Vec::new(), node }
    }

    /// None: the client has ended it.
    pub async fn request(&mut self) -> io::Result<Option<Request>> {
        loop {
            match Request::parse(&self.buffer) {
                Ok(Some((request, length))) => {
                    self.buffer.drain(..length);
                    return Ok(Some(request));
                }
                Ok(None) if self.buffer.len() > HEAD_BYTES_MAX => return Err(io::Error::other("the head is too long")),
                Ok(None) => {}
                Err(error) => return Err(io::Error::other(error)),
            }
            if self.fill().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// Reads what is there into the buffer; 0: the client has ended its side.
    pub(super) async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_BYTES);
        let n = self.stream.read_buf(&mut self.buffer).await?;
        self.node.thawed().await;
        Ok(n)
    }

    pub async fn say_continue(&mut self) -> io::Result<()> {
        self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await
    }

    pub async fn reply(&mut self, reply: &Reply) -> io::Result<Next> {
        self.write(&reply.bytes()).await?;
        Ok(if reply.closes { Next::Close } else { Next::KeepAlive })
    }

    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.node.thawed().await;
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Until the client goes; what it sends meanwhile goes nowhere.
    pub async fn until_closed(&mut self) {
        let mut sink = [0; 4_096];
        while self.stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    }

    /// Ends it as `next` says.
    pub async fn end(mut self, next: Next) {
        match next {
            Next::Reset => {
                let _ = self.stream.set_zero_linger();
            }
            Next::KeepAlive | Next::Close => {
                let _ = self.stream.shutdown().await;
                // A close with bytes unread would be a reset, which may overtake the reply: so they are read first.
                let drained = async {
                    let mut sink = [0; 4_096];
                    let mut left = DRAINED_BYTES_MAX;
                    while left > 0 {
                        match self.stream.read(&mut sink).await {
                            Ok(n) if n > 0 => left = left.saturating_sub(n),
                            _ => break,
                        }
                    }
                };
                let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
            }
        }
    }
}

/// What is read after the last reply, and for how long.
const DRAINED_BYTES_MAX: usize = 1 << 20;
const DRAIN_MAX: std::time::Duration = std::time::Duration::from_secs(1);
