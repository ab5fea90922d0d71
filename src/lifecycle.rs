//! The phases of the process: Running → Closing → Draining → Aborting. HTTP, broker, handlers and workers share one
//! lifecycle.
//!
//! Only [`app`](crate::app) begins the next phase, and the process never returns to an earlier one. The other modules
//! read the phase and act on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// The lifecycle. Clones share the phase.
///
/// - [Closing](Self::close): the gateway is not ready and still serves; HTTP/1 answers carry `Connection: close`.
/// - [Draining](Self::drain): it accepts no more connections, and no caller waits for a RabbitMQ that is absent.
/// - [Aborting](Self::abort): each caller gets its outcome so far at once, then the gateway drops the remaining
///   connections.
#[derive(Debug, Clone, Default)]
pub struct Lifecycle(Arc<Phases>);

#[derive(Debug)]
struct Phases {
    /// Kept beside the token, because each request reads it.
    is_draining: AtomicBool,
    closing: CancellationToken,
    draining: CancellationToken,
    aborting: CancellationToken,
}

impl Default for Phases {
    fn default() -> Self {
        // Cancelling a token cancels its children, so each phase is the child of the next one.
        let aborting = CancellationToken::new();
        let draining = aborting.child_token();
        let closing = draining.child_token();
        Self { is_draining: AtomicBool::new(false), closing, draining, aborting }
    }
}

impl Lifecycle {
    /// Begins the phase Closing.
    pub fn close(&self) {
        self.0.closing.cancel();
    }

    /// Begins the phase Draining.
    pub fn drain(&self) {
        self.0.is_draining.store(true, Ordering::Release);
        self.0.draining.cancel();
    }

    /// Begins the phase Aborting.
    pub fn abort(&self) {
        self.0.is_draining.store(true, Ordering::Release);
        self.0.aborting.cancel();
    }

    /// Whether the process is in the phase Closing or a later one.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.0.closing.is_cancelled()
    }

    /// Whether the process is in the phase Draining or a later one.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.is_draining.load(Ordering::Acquire)
    }

    /// Whether the process is in the phase Aborting.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        self.0.aborting.is_cancelled()
    }

    /// Resolves when the process begins to drain.
    pub async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Resolves when the process begins to abort.
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
