//! The two signals that end the gateway: SIGTERM drains first, SIGINT does not wait for load balancers.
//!
//! The handlers stand as soon as [`first`] returns, so a signal that comes before the first poll is not lost.

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
pub fn first() -> io::Result<impl Future<Output = Signal> + Send + 'static> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => Signal::Terminate,
            _ = interrupt.recv() => Signal::Interrupt,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::process::{self, Command};

    use super::*;

    fn send(name: &str) {
        let kill = format!("kill -{name} {}", process::id());
        assert!(Command::new("sh").args(["-c", &kill]).status().is_ok_and(|status| status.success()));
    }

    #[tokio::test]
    async fn each_signal_is_told_even_when_it_comes_before_the_first_poll() {
        for (name, expected) in [("TERM", Signal::Terminate), ("INT", Signal::Interrupt)] {
            let end = first().expect("handlers");
            send(name);
            assert_eq!(end.await, expected);
        }
    }
}
