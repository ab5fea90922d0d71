//! A pull, and its messages, which the caller holds for a time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc::UnboundedSender;

use crate::domain::lease::LeaseId;
use crate::domain::message::Delivery;
use crate::domain::names::QueueName;

/// A caller who asks for messages of a queue.
#[derive(Debug, Clone)]
pub struct Pull {
    /// The queue.
    pub queue: QueueName,
    /// The most messages, at least 1.
    pub max: usize,
    /// How long the caller waits for the first message.
    pub wait: Duration,
    /// How long the caller has time to settle the messages.
    pub lease: Duration,
}

/// A message that its caller has to settle.
#[derive(Debug, Clone)]
pub struct Leased {
    /// The id by which the caller settles it.
    pub id: LeaseId,
    /// When the lease expires.
    pub expires_at: SystemTime,
    /// The message.
    pub delivery: Arc<Delivery>,
}

/// The messages for one caller. When this is dropped before [`Self::taken`], the messages go to the next caller or back.
#[derive(Debug)]
pub struct Pulled {
    /// The messages; empty when none came in time.
    pub messages: Vec<Leased>,
    /// The way back to the worker of the queue. `None` after the caller has taken them.
    returned: Option<UnboundedSender<u64>>,
}

impl Pulled {
    /// Messages that go back to `returned`, by their numbers, unless their caller takes them.
    pub(super) fn new(messages: Vec<Leased>, returned: UnboundedSender<u64>) -> Self {
        Self { messages, returned: Some(returned) }
    }

    /// No message.
    pub(super) fn none() -> Self {
        Self { messages: Vec::new(), returned: None }
    }

    /// The connection has taken the messages.
    pub fn taken(mut self) {
        self.returned = None;
    }
}

impl Drop for Pulled {
    fn drop(&mut self) {
        let Some(returned) = self.returned.take() else { return };
        for message in &self.messages {
            // The worker ends only without leases, so it has lost this one already.
            let _lost = returned.send(message.id.serial);
        }
    }
}
