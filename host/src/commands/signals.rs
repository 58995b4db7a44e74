//! How a command that goes on for ever is ended.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

/// Turns true at the first SIGINT or SIGTERM; the second one ends the process.
pub fn stop_on_signal() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            warn!("cannot listen to signals: SIGINT ends the process at once");
            return;
        };
        let mut signals = 0;
        loop {
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
            signals += 1;
            if signals > 1 {
                std::process::exit(130);
            }
            info!("stopping after the batch in hand; once more to stop at once");
            if sender.send(true).is_err() {
                return;
            }
        }
    });
    receiver
}
