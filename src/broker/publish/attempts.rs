//! How often a message was written.

use std::sync::atomic::{AtomicU32, Ordering};

/// Counts each time that a message is handed to a channel, before that happens: a message with none is
/// certainly not written.
#[derive(Debug, Default)]
pub struct Attempts(AtomicU32);

impl Attempts {
    pub(super) fn begin(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The channel has handed it back unwritten.
    pub(super) fn take_back(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub(in crate::broker) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
