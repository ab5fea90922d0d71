//! How often a message was written.

use std::sync::atomic::{AtomicU32, Ordering};

/// Counts each time that a lane hands a message to a channel, before it does so. At 0 the message is certainly not
/// written.
#[derive(Debug, Default)]
pub struct Attempts(AtomicU32);

impl Attempts {
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Records that the channel has handed the message back unwritten.
    pub(super) fn take_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// The number of attempts so far.
    pub(in crate::broker) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
