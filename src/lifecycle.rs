//! The phases of the process: Running → Closing → Draining → Aborting. One lifecycle for HTTP, broker, handlers and workers.
//!
//! [`app`](crate::app) alone decides when the next phase begins; a phase never ends in an earlier one. All others see the phase
//! and act on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// The lifecycle. Clones are the same.
///
/// - [Closing](Self::close): the gateway is not ready and serves on; HTTP/1 answers carry `Connection: close`.
/// - [Draining](Self::drain): it accepts no more connections, and no caller waits for a RabbitMQ that is away.
/// - [Aborting](Self::abort): each caller gets its outcome so far at once, then the connections that are left are dropped.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle(Arc<Phases>);

#[derive(Debug)]
struct Phases {
    /// Kept beside the token, for each request asks.
    is_draining: AtomicBool,
    closing: CancellationToken,
    draining: CancellationToken,
    aborting: CancellationToken,
}

impl Default for Phases {
    fn default() -> Self {
        // Cancelling a token cancels its children: so each phase is the child of the next one.
        let aborting = CancellationToken::new();
        let draining = aborting.child_token();
        let closing = draining.child_token();
        Self { is_draining: AtomicBool::new(false), closing, draining, aborting }
    }
}

impl Lifecycle {
    /// Begins to close.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Begins to drain.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Release);
        self.0.draining.cancel();
    }

    /// Begins to abort.
    pub fn abort(&self) {
        self.0.is_draining.store(true, Ordering::Release);
        self.0.aborting.cancel();
    }

    /// Whether the process is closing, or further.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.0.closing.is_cancelled()
    }

    /// Whether the process is draining, or further.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Acquire)
    }

    /// Whether the process is aborting.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        self.0.aborting.is_cancelled()
    }

    /// Ends when the process begins to drain.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Ends when the process begins to abort.
    pub async fn aborting(&self) {
        self.0.aborting.cancelled().await;
    }

    /// A token that is cancelled when the process begins to drain, or earlier by its holder.
    #[must_use]
    pub fn draining_token(&self) -> CancellationToken {
        self.0.draining.child_token()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_phase_includes_the_earlier_ones() {
        let lifecycle = Lifecycle::default();
        lifecycle.close();
        assert!(lifecycle.is_closing() && !lifecycle.is_draining());
        let lifecycle = Lifecycle::default();
        lifecycle.drain();
        assert!(lifecycle.is_closing() && lifecycle.is_draining() && !lifecycle.is_aborting());
        let lifecycle = Lifecycle::default();
        lifecycle.abort();
        assert!(lifecycle.is_closing() && lifecycle.is_draining() && lifecycle.is_aborting());
    }
}
