//! The two signals that end the gateway: SIGTERM drains first, SIGINT does not wait for load balancers.
//!
//! The handlers stand as soon as [`signal`] returns, so a signal that comes before the first poll is not lost.

use std::io;

use tokio::signal::unix::{SignalKind, signal as listen};

/// What asked the gateway to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, as sent by an orchestrator.
    Terminate,
    /// SIGINT, as sent by Ctrl-C.
    Interrupt,
}

/// A future that ends at the first SIGTERM or SIGINT from now on.
///
/// # Errors
/// The operating system refuses a handler.
///
/// # Panics
/// Outside a tokio runtime with I/O enabled.
pub fn signal() -> io::Result<impl Future<Output = Signal> + Send + 'static> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Signal::Terminate,
            _ = interrupt.recv() => Signal::Interrupt,
        }
    })
}
