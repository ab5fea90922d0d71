//! The requests that wait at the control queue. They are bounded by their bytes, and not by their number: a request that waits for
//! RabbitMQ holds no place that another one needs.
//!
//! Requests for copies and replies have a budget of their own. They can be large, and can wait long for the queues that the copies go
//! to, so that they never keep the other requests waiting.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::protocol;
use crate::broker::consume::counts::ControlResult;
use crate::broker::own_queue::Receiver;
use crate::broker::wire::ContentHeader;
use crate::domain::guarded::guarded;
use crate::domain::message::ReceivedMessage;
use crate::metrics::Metrics;

/// The bytes that a request takes beside its header and body.
const OVERHEAD: u64 = 1024;
/// The bytes that requests without copies may take: that is 60 requests with the largest number of leases.
const QUICK_BYTES: usize = 8 * 1024 * 1024;
/// The bytes that requests for copies may take at least.
const MIN_COPY_BYTES: usize = 1024 * 1024;

/// The bytes that requests may still take, until they are answered.
#[derive(Clone)]
pub(super) struct Budgets {
    quick: Arc<Semaphore>,
    copies: Arc<Semaphore>,
}

impl Budgets {
    /// All requests for copies together take at most `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        let copies = bytes.clamp(MIN_COPY_BYTES, Semaphore::MAX_PERMITS);
        Self { quick: Arc::new(Semaphore::new(QUICK_BYTES)), copies: Arc::new(Semaphore::new(copies)) }
    }

    /// Takes the room for a request; `None` if there is none now.
    fn take(&self, header: &ContentHeader<'_>) -> Option<OwnedSemaphorePermit> {
        let kind = header.properties.kind().as_ref();
        let is_copy = kind.is_some_and(|kind| kind.as_str() == protocol::COPY_REQUEST);
        let budget = if is_copy { &self.copies } else { &self.quick };
        let bytes = header.body_bytes.saturating_add(header.bytes as u64).saturating_add(OVERHEAD);
        Arc::clone(budget).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()
    }
}

/// Passes requests on. One that finds no room is dropped, and its caller gets no answer.
pub(super) struct Requests {
    pub(super) owner: Arc<str>,
    pub(super) budgets: Budgets,
    pub(super) waiting: UnboundedSender<ReceivedMessage>,
    pub(super) metrics: Metrics,
}

impl Receiver for Requests {
    type Kept = OwnedSemaphorePermit;

    fn keep(&self, header: &ContentHeader<'_>) -> Option<OwnedSemaphorePermit> {
        let room = self.budgets.take(header);
        if room.is_none() {
            ControlResult::Dropped.count(&self.metrics.consume);
        }
        room
    }

    fn receive(&self, room: OwnedSemaphorePermit, mut request: ReceivedMessage) {
        request.body = guarded(request.body, room);
        // The gateway is closed, and has lost its leases.
        let _closed = self.waiting.send(request);
    }
}
