//! The two signals that end the gateway: after SIGTERM it first waits for load balancers, after SIGINT it does not.
//!
//! [`first`] installs the handlers before it returns, so a signal that arrives before the first poll is not lost.

use std::io;

use tokio::signal::unix::{SignalKind, signal as listen};

/// The signal that asked the gateway to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, as an orchestrator sends it.
    Terminate,
    /// SIGINT, as Ctrl-C sends it.
    Interrupt,
}

/// A future that resolves at the first SIGTERM or SIGINT from now on.
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
    async fn each_signal_is_received_even_before_the_first_poll() {
        for (name, expected) in [("TERM", Signal::Terminate), ("INT", Signal::Interrupt)] {
            let end = first().expect("handlers");
            send(name);
            assert_eq!(end.await, expected);
        }
    }
}
