//! Ports for the servers of tests.

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;

/// Another process may take a port between its choice and the server's bind: so often another one is tried.
pub const TRIED_MAX: usize = 3;

/// Below the ports that the system gives to clients: while a killed server is down, one of those could take its port,
/// even a client that is about to connect to it.
pub fn free() -> u16 {
    let random = RandomState::new();
    let ports = (0..1_000_u32).map(|n| 12_000 + (random.hash_one(n) % 20_000) as u16);
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.into_iter().find(is_free).expect("find a free port")
}
