//! A listener that can go away and come back on its port, and the state that its connections share with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections of one listener.
const CONNECTIONS_MAX: usize = 4_096;
/// Ports that are tried for one that is to be chosen.
const TRIED_MAX: usize = 1_000;
/// Until a port that was given up can be had again.
const REBIND_PAUSE: Duration = Duration::from_millis(10);

/// An FE or BE as a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeState {
    pub is_up: bool,
    /// Connections are taken and nothing is answered.
    pub is_frozen: bool,
    /// Another one is another process: the old one's connections are reset.
    pub epoch: u64,
}

/// What a connection holds of its node.
#[derive(Clone, Debug)]
pub struct Node(pub watch::Receiver<NodeState>);

impl Node {
    /// Until the node is not frozen.
    pub async fn thawed(&mut self) {
        // The sender outlives every connection but at the end of all.
        let _ = self.0.wait_for(|state| !state.is_frozen).await;
    }

    /// Until the node is another process.
    pub async fn gone(mut self) {
        let epoch = self.0.borrow().epoch;
        let _ = self.0.wait_for(|state| state.epoch != epoch || !state.is_up).await;
    }
}

/// A listener on a port, or on one that is chosen. Chosen ports are below those that the system gives to clients, so that
/// none takes the port of a node that is down.
pub async fn bind(port: u16) -> Result<TcpListener> {
    if port != 0 {
        return TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| format!("listen on port {port}"));
    }
    for _ in 0..TRIED_MAX {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(12_000..32_000))).await {
            return Ok(listener);
        }
    }
    anyhow::bail!("no port is free")
}

/// Serves connections until the node's sender is gone.
pub async fn listen<F>(first: TcpListener, node: Node, serve: impl Fn(TcpStream, Node) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(address) = first.local_addr() else { return };
    let limit = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut listener = Some(first);
    let mut watched = node.0.clone();
    loop {
        // A node that went down before this began must not hold a port at which nobody answers.
        if !watched.borrow().is_up {
            listener = None;
        }
        if watched.wait_for(|state| state.is_up).await.is_err() {
            return;
        }
        let open = match listener.take() {
            Some(open) => open,
            None => bind_again(address).await,
        };
        loop {
            let accepted = tokio::select! {
                accepted = open.accept() => accepted,
                changed = watched.wait_for(|state| !state.is_up) => match changed {
                    Ok(_) => break,
                    Err(_) => return,
                },
            };
            let (Ok((stream, _)), Ok(permit)) = (accepted, limit.clone().acquire_owned().await) else { continue };
            let _ = stream.set_nodelay(true);
            let (gone, served) = (node.clone().gone(), serve(stream, node.clone()));
            tokio::spawn(async move {
                // What is dropped unread resets its connection, as a killed process does.
                tokio::select! {
                    () = served => {}
                    () = gone => {}
                }
                drop(permit);
            });
        }
    }
}

async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(REBIND_PAUSE).await,
        }
    }
}
