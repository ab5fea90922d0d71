//! The order of the messages of one request: a batch or a stream.
//!
//! Messages with one routing key are handed in in the order of the request. As long as a message has no result, the
//! later ones with its routing key use its lane. If they need another lane, they wait for that result first. A message
//! that is handed in again keeps its place in front of the later ones. Messages with different routing keys do not wait
//! for one another.

mod destination;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use self::destination::DestinationOrder;
use super::lane::Lane;
use super::request::Publish;
use crate::broker::error::Error;
use crate::domain::names::ShortText;

/// At this number of remembered routing keys the sequence forgets those without a message that waits or is in flight.
const REMEMBERED: usize = 1024;

/// The messages of one request to one exchange, in their order. Clones are the same sequence.
#[derive(Clone, Default)]
pub struct PublishSequence(Arc<Inner>);

#[derive(Default)]
struct Inner {
    destinations: Mutex<HashMap<ShortText, Arc<DestinationOrder<Lane>>>>,
    next: AtomicU64,
}

/// The place of one message in the order of its destination. Dropping it lets the later messages go on.
pub struct Place {
    position: u64,
    /// When the message took its place.
    since: Instant,
    order: Arc<DestinationOrder<Lane>>,
    sequence: PublishSequence,
}

impl PublishSequence {
    /// A place for a message, behind all messages so far.
    #[must_use]
    pub fn place(&self, publish: &Publish) -> Place {
        let position = self.0.next.fetch_add(1, Ordering::Relaxed);
        let order = self.order(&publish.destination.routing_key);
        order.enter(position);
        Place { position, since: Instant::now(), order, sequence: self.clone() }
    }

    fn order(&self, routing_key: &ShortText) -> Arc<DestinationOrder<Lane>> {
        let mut destinations = self.0.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(order) = destinations.get(routing_key) {
            return Arc::clone(order);
        }
        if destinations.len() >= REMEMBERED {
            destinations.retain(|_, order| Arc::strong_count(order) > 1);
        }
        Arc::clone(destinations.entry(routing_key.clone()).or_default())
    }

    /// Gives RabbitMQ's refusal of the exchange to all messages that waited for their turn when the gateway asked.
    fn refuse(&self, asked: Instant, error: &Error) {
        let destinations = self.0.destinations.lock().unwrap_or_else(PoisonError::into_inner);
        destinations.values().for_each(|order| order.refuse(asked, error));
    }
}

impl Place {
    /// Whether every earlier message has been handed in, or has ended.
    pub(super) fn is_first(&self) -> bool {
        self.order.is_first(self.position)
    }

    /// Waits until every earlier message has been handed in, or has ended.
    ///
    /// # Errors
    /// RabbitMQ's refusal of the exchange, if RabbitMQ was asked for an earlier message after this one took its place.
    pub(super) async fn turn(&self) -> Result<(), Error> {
        poll_fn(|cx| self.order.poll_turn(self.position, self.since, cx)).await
    }

    /// The lane with the earlier messages that have no result.
    pub(super) fn lane(&self) -> Option<Arc<Lane>> {
        self.order.lane()
    }

    /// Waits until every earlier message has its result. The message must have its turn.
    pub(super) async fn until_settled(&self) {
        poll_fn(|cx| self.order.poll_settled(self.position, cx)).await;
    }

    /// Records that the message was handed in to this lane, so that the next one has its turn.
    pub(super) fn handed_in(&self, lane: &Arc<Lane>) {
        self.order.handed_in(self.position, lane);
    }

    /// Takes the place again: the message has to be handed in again.
    pub(super) fn take_again(&self) {
        self.order.enter_again(self.position);
    }

    /// Gives RabbitMQ's refusal of the exchange to the messages of the request that wait for their turn.
    pub(super) fn refuse_waiting(&self, asked: Instant, error: &Error) {
        if error.refuses_the_exchange() {
            self.sequence.refuse(asked, error);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.order.leave(self.position);
    }
}
