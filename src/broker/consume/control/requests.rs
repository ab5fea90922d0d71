//! The requests that wait at the control queue. They are bounded by their bytes, and not by their number: a request that waits for
//! RabbitMQ holds no place that another one needs.
//!
//! Requests for copies and replies have a budget of their own. They can be large, and can wait long for the queues that the copies go
//! to, so that they never keep the other requests waiting. The sender of a request without room is told so by its header.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc::{
    Receiver as BoundedReceiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::protocol;
use crate::broker::consume::counts::ControlResult;
use crate::broker::convert::received;
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

/// The requests without room whose senders are not told yet. Senders of further ones get no answer.
const MAX_REFUSED: usize = 64;

/// Why a request is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::broker) enum NoRoom {
    /// Others take the room now.
    Now,
    /// It is larger than this number of bytes, which all requests of its type may take together.
    Ever {
        /// The number of bytes.
        limit: usize,
    },
}

/// The requests of other replicas, and the headers of those that found no room.
pub(in crate::broker) struct Incoming {
    waiting: UnboundedReceiver<ReceivedMessage>,
    refused: BoundedReceiver<(ReceivedMessage, NoRoom)>,
}

impl Incoming {
    /// The next one; `None` when no more can come.
    pub(in crate::broker::consume) async fn next(&mut self) -> Option<(ReceivedMessage, Option<NoRoom>)> {
        tokio::select! {
            Some(request) = self.waiting.recv() => Some((request, None)),
            Some((header, why)) = self.refused.recv() => Some((header, Some(why))),
            else => None,
        }
    }
}

/// The ways of requests to [`Incoming`].
#[derive(Clone)]
pub(super) struct Outgoing {
    waiting: UnboundedSender<ReceivedMessage>,
    refused: Sender<(ReceivedMessage, NoRoom)>,
}

/// The two ends of the way of requests to the task that answers them.
pub(super) fn way() -> (Outgoing, Incoming) {
    let (waiting, requests) = unbounded_channel();
    let (refused, headers) = channel(MAX_REFUSED);
    (Outgoing { waiting, refused }, Incoming { waiting: requests, refused: headers })
}

/// The bytes that requests may still take, until they are answered.
#[derive(Clone)]
pub(super) struct Budgets {
    quick: Budget,
    copies: Budget,
}

#[derive(Clone)]
struct Budget {
    free: Arc<Semaphore>,
    limit: usize,
}

impl Budget {
    fn new(limit: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), limit }
    }

    fn take(&self, bytes: u64) -> Result<OwnedSemaphorePermit, NoRoom> {
        let limit = self.limit;
        let fits = u32::try_from(bytes).ok().filter(|bytes| *bytes as usize <= limit);
        let bytes = fits.ok_or(NoRoom::Ever { limit })?;
        Arc::clone(&self.free).try_acquire_many_owned(bytes).map_err(|_| NoRoom::Now)
    }
}

impl Budgets {
    /// All requests for copies together take at most `bytes`.
    pub(super) fn new(bytes: usize) -> Self {
        let copies = bytes.clamp(MIN_COPY_BYTES, Semaphore::MAX_PERMITS);
        Self { quick: Budget::new(QUICK_BYTES), copies: Budget::new(copies) }
    }

    /// Takes the room for a request.
    fn take(&self, header: &ContentHeader<'_>) -> Result<OwnedSemaphorePermit, NoRoom> {
        let kind = header.properties.kind().as_ref();
        let is_copy = kind.is_some_and(|kind| kind.as_str() == protocol::COPY_REQUEST);
        let budget = if is_copy { &self.copies } else { &self.quick };
        let bytes = header.body_bytes.saturating_add(header.bytes as u64).saturating_add(OVERHEAD);
        budget.take(bytes)
    }
}

/// Passes requests on.
pub(super) struct Requests {
    pub(super) owner: Arc<str>,
    pub(super) budgets: Budgets,
    pub(super) outgoing: Outgoing,
    pub(super) metrics: Metrics,
}

impl Receiver for Requests {
    type Kept = OwnedSemaphorePermit;

    fn keep(&self, header: &ContentHeader<'_>) -> Option<OwnedSemaphorePermit> {
        let why = match self.budgets.take(header) {
            Ok(room) => return Some(room),
            Err(why) => why,
        };
        let request = received(header.properties, Bytes::new());
        if self.outgoing.refused.try_send((request, why)).is_err() {
            ControlResult::Dropped.count(&self.metrics.consume);
        }
        None
    }

    fn receive(&self, room: OwnedSemaphorePermit, mut request: ReceivedMessage) {
        request.body = guarded(request.body, room);
        // The gateway is closed, and has lost its leases.
        let _closed = self.outgoing.waiting.send(request);
    }
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;
    use crate::broker::convert::short_string;

    #[test]
    fn a_request_waits_for_room_or_can_never_have_it_and_copies_take_no_room_of_others() {
        let budgets = Budgets::new(3 * MIN_COPY_BYTES);
        let take = |kind: &str, body_bytes: usize| {
            let properties = BasicProperties::default().with_type(short_string(kind));
            let body_bytes = body_bytes as u64;
            budgets.take(&ContentHeader { properties: &properties, bytes: 100, body_bytes })
        };
        let limit = 3 * MIN_COPY_BYTES;
        assert_eq!(take(protocol::COPY_REQUEST, limit).err(), Some(NoRoom::Ever { limit }));
        let large = take(protocol::COPY_REQUEST, limit - 2000).expect("room");
        assert_eq!(take(protocol::COPY_REQUEST, 2000).err(), Some(NoRoom::Now));
        assert!(take(protocol::REQUEST, 2000).is_ok());
        drop(large);
        assert!(take(protocol::COPY_REQUEST, 2000).is_ok());
    }
}
