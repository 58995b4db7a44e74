//! Packets of the MySQL protocol: three bytes of length, one of sequence, and no more than 16 MB in one.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;

use crate::http::Node;

const PIECE_BYTES: usize = 0xff_ffff;
/// A statement, all its pieces.
const PACKET_BYTES_MAX: usize = 1 << 30;

pub struct Packets {
    stream: Option<BufStream<TcpStream>>,
    node: Node,
    sequence: u8,
}

impl Packets {
    pub fn new(stream: TcpStream, node: Node) -> Self {
        Packets { stream: Some(BufStream::with_capacity(16 << 10, 64 << 10, stream)), node, sequence: 0 }
    }

    /// A new command: sequences begin anew.
    pub fn begin(&mut self) {
        self.sequence = 0;
    }

    /// None: the client has ended the connection.
    pub async fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(stream) = &mut self.stream else { return Ok(None) };
        let mut packet = Vec::new();
        loop {
            let mut head = [0; 4];
            match stream.read_exact(&mut head).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
                other => other?,
            };
            let length = u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize;
            self.sequence = head[3].wrapping_add(1);
            if packet.len() + length > PACKET_BYTES_MAX {
                return Err(io::Error::other("the packet is too large"));
            }
            let start = packet.len();
            packet.resize(start + length, 0);
            stream.read_exact(&mut packet[start..]).await?;
            if length < PIECE_BYTES {
                break;
            }
        }
        self.node.thawed().await;
        Ok(Some(packet))
    }

    pub async fn write(&mut self, packet: &[u8]) -> io::Result<()> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        let mut rest = packet;
        loop {
            let (piece, others) = rest.split_at(rest.len().min(PIECE_BYTES));
            let length = (piece.len() as u32).to_le_bytes();
            stream.write_all(&[length[0], length[1], length[2], self.sequence]).await?;
            stream.write_all(piece).await?;
            self.sequence = self.sequence.wrapping_add(1);
            // A piece of the full length is always followed by another one.
            if piece.len() < PIECE_BYTES {
                return Ok(());
            }
            rest = others;
        }
    }

    pub async fn flush(&mut self) -> io::Result<()> {
        self.node.thawed().await;
        match &mut self.stream {
            Some(stream) => stream.flush().await,
            None => Ok(()),
        }
    }

    pub async fn until_closed(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let mut sink = [0; 1_024];
        while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
    }

    pub fn reset(&mut self) {
        if let Some(stream) = self.stream.take() {
            let _ = stream.get_ref().set_zero_linger();
        }
    }
}

/// A length, in one to nine bytes.
pub fn put_length(packet: &mut Vec<u8>, n: u64) {
    match n {
        0..251 => packet.push(n as u8),
        251..0x1_0000 => {
            packet.push(0xfc);
            packet.extend_from_slice(&(n as u16).to_le_bytes());
        }
        0x1_0000..0x100_0000 => {
            packet.push(0xfd);
            packet.extend_from_slice(&(n as u32).to_le_bytes()[..3]);
        }
        _ => {
            packet.push(0xfe);
            packet.extend_from_slice(&n.to_le_bytes());
        }
    }
}

pub fn put_bytes(packet: &mut Vec<u8>, bytes: &[u8]) {
    put_length(packet, bytes.len() as u64);
    packet.extend_from_slice(bytes);
}
