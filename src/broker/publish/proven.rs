//! What may share a channel with others: what went well a short while ago.
//!
//! A broker closes the channel on a missing exchange, a missing permission or a body over its limit,
//! and with it the publishes of everybody on it. So what has not been proven is published alone.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Publish;
use crate::domain::names::ExchangeName;

/// How long an exchange stays proven without another success.
const MEMORY: Duration = Duration::from_mins(1);
/// A body that no broker is set to refuse.
const SMALL_BODY: usize = 4 * 1024;
/// Exchanges remembered; with more, all are proven anew.
const MAX_EXCHANGES: usize = 10_000;

/// Exchanges that took a message, and the largest body that the broker took.
#[derive(Default)]
pub(super) struct Proven(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    exchanges: Recent,
    /// Exchanges that the broker refused by the routing key, as topic permissions have it: what one message
    /// proves says nothing of the next.
    choosy: Recent,
    largest_body: usize,
}

/// Exchanges of which something was seen within [`MEMORY`].
#[derive(Default)]
struct Recent(HashMap<ExchangeName, Instant>);

impl Recent {
    fn holds(&self, exchange: &ExchangeName) -> bool {
        self.0.get(exchange).is_some_and(|at| at.elapsed() < MEMORY)
    }

    fn note(&mut self, exchange: &ExchangeName) {
        if let Some(at) = self.0.get_mut(exchange) {
            *at = Instant::now();
            return;
        }
        if self.0.len() >= MAX_EXCHANGES {
            self.0.clear();
        }
        self.0.insert(exchange.clone(), Instant::now());
    }

    fn forget(&mut self, exchange: &ExchangeName) {
        self.0.remove(exchange);
    }
}

impl Proven {
    /// Whether the message will not end the channel, as far as can be known.
    pub(super) fn vouches_for(&self, publish: &Publish) -> bool {
        let memory = self.lock();
        let exchange = &publish.destination.exchange;
        publish.message.body.len() <= memory.largest_body.max(SMALL_BODY)
            && memory.exchanges.holds(exchange)
            && !memory.choosy.holds(exchange)
    }

    /// The broker took the message, whatever became of it then.
    pub(super) fn learn(&self, publish: &Publish) {
        let mut memory = self.lock();
        memory.largest_body = memory.largest_body.max(publish.message.body.len());
        memory.exchanges.note(&publish.destination.exchange);
    }

    /// The broker refused access to this exchange, perhaps for this routing key only.
    pub(super) fn distrust(&self, publish: &Publish) {
        self.lock().choosy.note(&publish.destination.exchange);
    }

    /// A message to this exchange ended its channel, or may have.
    pub(super) fn forget_exchange(&self, publish: &Publish) {
        self.lock().exchanges.forget(&publish.destination.exchange);
    }

    /// The broker takes no body as large as this.
    pub(super) fn forget_size(&self, publish: &Publish) {
        let below = publish.message.body.len().saturating_sub(1);
        let mut memory = self.lock();
        memory.largest_body = memory.largest_body.min(below);
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
