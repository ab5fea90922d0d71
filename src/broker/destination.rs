//! A destination, an exchange with a routing key, as the publish path knows it.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::names::{ExchangeName, ShortText};

/// A destination with at least one publish, and the time when RabbitMQ last answered a publish to it. Clones are the same
/// destination.
#[derive(Debug, Clone)]
pub(super) struct KnownDestination(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    exchange: ExchangeName,
    routing_key: ShortText,
    since: Instant,
    answered: AtomicInstant,
    confirmed: AtomicInstant,
}

/// Milliseconds after the destination's `since`, plus 1; 0 for never.
#[derive(Debug, Default)]
struct AtomicInstant(AtomicU64);

impl AtomicInstant {
    fn set(&self, milliseconds: u64) {
        self.0.store(milliseconds + 1, Ordering::Relaxed);
    }

    fn after(&self, since: Instant) -> Option<Instant> {
        let milliseconds = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        Some(since + Duration::from_millis(milliseconds))
    }
}

impl KnownDestination {
    /// A destination without an answer yet.
    pub(super) fn new(exchange: ExchangeName, routing_key: ShortText) -> Self {
        let (answered, confirmed) = (AtomicInstant::default(), AtomicInstant::default());
        Self(Arc::new(Inner { exchange, routing_key, since: Instant::now(), answered, confirmed }))
    }

    /// Its exchange.
    pub(super) fn exchange(&self) -> &ExchangeName {
        &self.0.exchange
    }

    /// Its routing key.
    pub(super) fn routing_key(&self) -> &ShortText {
        &self.0.routing_key
    }

    /// Records that RabbitMQ has answered a publish to it.
    pub(super) fn note_answer(&self, now: Instant, is_confirm: bool) {
        let milliseconds = now.saturating_duration_since(self.0.since).as_millis();
        let milliseconds = u64::try_from(milliseconds).unwrap_or(u64::MAX - 1);
        self.0.answered.set(milliseconds);
        if is_confirm {
            self.0.confirmed.set(milliseconds);
        }
    }

    /// When RabbitMQ last answered a publish to it, to the millisecond.
    pub(super) fn last_answer(&self) -> Option<Instant> {
        self.0.answered.after(self.0.since)
    }

    /// When RabbitMQ last confirmed a publish to it, to the millisecond.
    pub(super) fn last_confirm(&self) -> Option<Instant> {
        self.0.confirmed.after(self.0.since)
    }

    /// Whether a publish in flight refers to it, in addition to the table of destinations.
    pub(super) fn is_in_use(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl PartialEq for KnownDestination {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for KnownDestination {}

impl Hash for KnownDestination {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}
