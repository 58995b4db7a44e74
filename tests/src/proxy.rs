//! A stand-in for a slow network: what a server sends arrives in small pieces, with pauses between them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Forwards connections to a server on this machine until its value is dropped.
pub struct Proxy {
    port: u16,
    ended: Arc<AtomicBool>,
}

/// How much of what the server sends goes on at once, and how long until the next piece.
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    pub bytes: usize,
    pub pause: Duration,
}

impl Proxy {
    pub fn start(server_port: u16, pieces: Pieces) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen on a free port");
        let port = listener.local_addr().expect("the port that was bound").port();
        let ended = Arc::new(AtomicBool::new(false));
        let is_ended = ended.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if is_ended.load(Ordering::Relaxed) {
                    break;
                }
                // A server that is down: the client's connection ends.
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else { continue };
                let clone = |stream: &TcpStream| stream.try_clone().expect("share a connection");
                let (from_client, to_server) = (clone(&client), clone(&server));
                thread::spawn(move || forward(from_client, to_server, None));
                thread::spawn(move || forward(server, client, Some(pieces)));
            }
        });
        Proxy { port, ended }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes the listener; its connections end with their own ends.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, pieces: Option<Pieces>) {
    let _ = to.set_nodelay(true);
    let mut buffer = vec![0; pieces.map_or(1 << 16, |pieces| pieces.bytes)];
    while let Ok(n) = from.read(&mut buffer) {
        if n == 0 || to.write_all(&buffer[..n]).is_err() {
            break;
        }
        if let Some(pieces) = pieces {
            thread::sleep(pieces.pause);
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
