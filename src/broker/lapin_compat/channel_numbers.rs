//! The channel numbers of a connection, some of which lapin cannot use again.
//!
//! The text with which RabbitMQ closed a channel is lapin's answer to each request on a later channel of the same number. lapin
//! gives the numbers in turn: from the second half of them on it soon comes to those that cannot be used again, and the gateway
//! dials a successor meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// The numbers of one connection.
#[derive(Default)]
pub(in crate::broker) struct ChannelNumbers {
    /// Some cannot be used again.
    has_lost: AtomicBool,
    run_out: CancellationToken,
}

impl ChannelNumbers {
    /// lapin has given a channel this number, of at most `max`.
    pub(in crate::broker) fn given(&self, number: u16, max: u16) {
        if number > max / 2 && self.has_lost.load(Ordering::Relaxed) {
            self.run_out.cancel();
        }
    }

    /// A number cannot be used again: RabbitMQ closed its channel, or has not answered on it.
    pub(in crate::broker) fn lose_one(&self) {
        self.has_lost.store(true, Ordering::Relaxed);
    }

    /// Ends when the good numbers will soon be used up.
    pub(in crate::broker) async fn until_run_out(&self) {
        self.run_out.cancelled().await;
    }
}
