//! The handle by which the process stops the server, in three steps that only go forward.
//!
//! When to take the next step is its holder's decision.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Time for a request that is on its way when the draining begins.
const GRACE: Duration = Duration::from_millis(250);

/// Stops a server: [`close`](Self::close), then [`drain`](Self::drain), then [`abort`](Self::abort). A later step
/// includes the earlier ones. Clones are handles to one server.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(Arc<Steps>);

#[derive(Debug)]
struct Steps {
    is_draining: AtomicBool,
    closing: CancellationToken,
    draining: CancellationToken,
    aborted: CancellationToken,
}

impl Default for Steps {
    fn default() -> Self {
        // Cancelling a token cancels its children: so each step is the child of the next one.
        let aborted = CancellationToken::new();
        let draining = aborted.child_token();
        let closing = draining.child_token();
        Self { is_draining: AtomicBool::new(false), closing, draining, aborted }
    }
}

impl Shutdown {
    /// Serves on, and asks every client to close: HTTP/1 answers carry `Connection: close`.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Accepts no more; idle connections close soon, see [`Self::drained`], others after the answers in flight.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Release);
        self.0.draining.cancel();
    }

    /// Drops what is left.
    pub fn abort(&self) {
        self.0.is_draining.store(true, Ordering::Release);
        self.0.aborted.cancel();
    }

    /// Whether the shutdown has begun.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.0.closing.is_cancelled()
    }

    /// Ends when the shutdown begins.
    pub async fn closing(&self) {
        self.0.closing.cancelled().await;
    }

    /// Ends when no more connections are accepted.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Ends when idle connections close: a client that has sent a request just now, or connected, gets its answer. To be
    /// polled by one task all along.
    pub async fn drained(&self) {
        let mut draining = pin!(self.draining());
        let mut is_polled = false;
        poll_fn(|cx| {
            // Its task is woken when the draining begins, and need not ask whenever its connection moves.
            if std::mem::replace(&mut is_polled, true) && !self.0.is_draining.load(Ordering::Acquire) {
                return Poll::Pending;
            }
            draining.as_mut().poll(cx)
        })
        .await;
        sleep(GRACE).await;
    }

    /// Ends when the connections that are left are dropped.
    pub async fn aborted(&self) {
        self.0.aborted.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_step_includes_the_earlier_ones() {
        let shutdown = Shutdown::default();
        shutdown.close();
        assert!(shutdown.is_closing() && !shutdown.0.draining.is_cancelled());
        let shutdown = Shutdown::default();
        shutdown.abort();
        assert!(shutdown.is_closing() && shutdown.0.draining.is_cancelled());
    }
}
