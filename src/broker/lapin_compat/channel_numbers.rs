//! The channel numbers of a connection. lapin cannot use some of them again.
//!
//! When RabbitMQ has closed a channel, lapin answers each request on a later channel of the same number with the text
//! of that close. lapin hands out the numbers in turn. When it uses the second half of them, it soon reaches the unusable ones,
//! so the gateway then dials a successor.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// The numbers of one connection.
#[derive(Default)]
pub(in crate::broker) struct ChannelNumbers {
    /// Whether some numbers cannot be used again.
    has_lost: AtomicBool,
    run_out: CancellationToken,
}

impl ChannelNumbers {
    /// Records that lapin has given a channel this number, of at most `max`.
    pub(in crate::broker) fn given(&self, number: u16, max: u16) {
        if number > max / 2 && self.has_lost.load(Ordering::Relaxed) {
            self.run_out.cancel();
        }
    }

    /// Records that a number cannot be used again: RabbitMQ closed its channel, or has not answered on it.
    pub(in crate::broker) fn lose_one(&self) {
        self.has_lost.store(true, Ordering::Relaxed);
    }

    /// Resolves when the usable numbers will soon run out.
    pub(in crate::broker) async fn until_run_out(&self) {
        self.run_out.cancelled().await;
    }
}
